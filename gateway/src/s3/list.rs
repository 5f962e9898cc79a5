//! The two listings of a bucket's names.

use artifactstore_registry::actions::request::{ListPage, ListRequest};
use artifactstore_registry::model::event::Actor;
use artifactstore_registry::model::name::ProducerName;
use artifactstore_registry::model::row::Listed;
use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use http::Uri;
use s3s::dto::{
    CommonPrefix, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output, Object,
    ObjectStorageClass, Owner,
};
use s3s::{S3Request, S3Response};

use super::encoding::Spelling;
use super::{Answer, Gateway, attributes, checksum, faces};
use crate::error::Failure;

/// The most entries of one page, and what is taken when the client names no number.
pub(super) const ENTRIES_MAX: i32 = 1_000;

/// How many entries a page has, from what the client asked for.
pub(super) fn page_size(asked: Option<i32>, argument: &str) -> Result<i32, Failure> {
    match asked {
        None => Ok(ENTRIES_MAX),
        Some(number) if number < 0 => {
            let message = format!("Argument {argument} must be an integer between 0 and 2147483647.");
            Err(Failure::request(400, "InvalidArgument", message))
        }
        Some(number) => Ok(number.min(ENTRIES_MAX)),
    }
}

/// An empty delimiter is none.
pub(super) fn delimiter(text: Option<&String>) -> Option<String> {
    text.filter(|text| !text.is_empty()).cloned()
}

/// Names come in order, also for whoever allows them not to (an extension of Ceph RGW); it goes with no delimiter.
fn check_unordered(uri: &Uri, delimiter: Option<&String>) -> Result<(), Failure> {
    let mut pairs = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    if delimiter.is_some() && pairs.any(|(name, value)| name == "allow-unordered" && value == "true") {
        let message = "allow-unordered goes with no delimiter.";
        return Err(Failure::request(400, "InvalidArgument", message));
    }
    Ok(())
}

async fn page(
    gateway: &Gateway,
    actor: &Actor,
    bucket: &str,
    (prefix, delimiter): (Option<&str>, Option<String>),
    after: Option<String>,
    limit: i32,
) -> Result<ListPage, Failure> {
    let producer = ProducerName::parse(bucket)?;
    let limit = usize::try_from(limit).unwrap_or(0);
    if limit == 0 {
        // An empty page is the last one, but it is still a page of a bucket that must be there.
        gateway.registry.producer_stat(actor, &producer).await?;
        return Ok(ListPage::default());
    }
    let prefix = prefix.unwrap_or_default().to_owned();
    let after = after.filter(|after| !after.is_empty());
    Ok(gateway.registry.file_list(actor, &ListRequest { producer, prefix, delimiter, after, limit }).await?)
}

pub(super) async fn v1(gateway: &Gateway, req: S3Request<ListObjectsInput>) -> Answer<ListObjectsOutput> {
    let actor = gateway.actor(&req)?;
    check_unordered(&req.uri, req.input.delimiter.as_ref())?;
    let input = req.input;
    let max_keys = page_size(input.max_keys, "max-keys")?;
    let by = (input.prefix.as_deref(), delimiter(input.delimiter.as_ref()));
    let page = page(gateway, &actor, &input.bucket, by, input.marker.clone(), max_keys).await?;
    let given = [&input.prefix, &input.marker, &input.delimiter, &page.next].into_iter().flatten().map(String::as_str);
    let spelling = Spelling::choose(input.encoding_type.as_ref(), given.chain(names(&page)))?;
    let say = |text: Option<String>| text.map(|text| spelling.say(&text));
    let owner = faces::owner(&actor.tenant);
    Ok(S3Response::new(ListObjectsOutput {
        name: Some(input.bucket),
        prefix: say(Some(input.prefix.unwrap_or_default())),
        marker: say(Some(input.marker.unwrap_or_default())),
        max_keys: Some(max_keys),
        is_truncated: Some(page.next.is_some()),
        contents: Some(objects(&page, spelling, Some(&owner))),
        common_prefixes: Some(prefixes(&page.prefixes, spelling)),
        delimiter: say(delimiter(input.delimiter.as_ref())),
        next_marker: say(page.next),
        encoding_type: spelling.declared(),
        request_charged: None,
    }))
}

pub(super) async fn v2(gateway: &Gateway, req: S3Request<ListObjectsV2Input>) -> Answer<ListObjectsV2Output> {
    let actor = gateway.actor(&req)?;
    check_unordered(&req.uri, req.input.delimiter.as_ref())?;
    let input = req.input;
    let max_keys = page_size(input.max_keys, "max-keys")?;
    let by = (input.prefix.as_deref(), delimiter(input.delimiter.as_ref()));
    // The token goes on where the last page ended, which is never before `start-after`.
    let token = input.continuation_token.as_deref().filter(|token| !token.is_empty()).map(token_after).transpose()?;
    let after = token.or_else(|| input.start_after.clone());
    let page = page(gateway, &actor, &input.bucket, by, after, max_keys).await?;
    let given = [&input.prefix, &input.start_after, &input.delimiter].into_iter().flatten().map(String::as_str);
    let spelling = Spelling::choose(input.encoding_type.as_ref(), given.chain(names(&page)))?;
    let say = |text: Option<String>| text.map(|text| spelling.say(&text));
    let owner = (input.fetch_owner == Some(true)).then(|| faces::owner(&actor.tenant));
    Ok(S3Response::new(ListObjectsV2Output {
        name: Some(input.bucket),
        prefix: say(Some(input.prefix.unwrap_or_default())),
        max_keys: Some(max_keys),
        key_count: i32::try_from(page.files.len() + page.prefixes.len()).ok(),
        continuation_token: input.continuation_token,
        is_truncated: Some(page.next.is_some()),
        next_continuation_token: page.next.as_ref().map(|next| URL_SAFE_NO_PAD.encode(next)),
        contents: Some(objects(&page, spelling, owner.as_ref())),
        common_prefixes: Some(prefixes(&page.prefixes, spelling)),
        delimiter: say(delimiter(input.delimiter.as_ref())),
        encoding_type: spelling.declared(),
        start_after: say(input.start_after),
        request_charged: None,
    }))
}

/// A continuation token is the base64 of where the page begins, so that any gateway can go on with it.
fn token_after(token: &str) -> Result<String, Failure> {
    let bytes = URL_SAFE_NO_PAD.decode(token).or_else(|_| URL_SAFE.decode(token)).ok();
    bytes
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| Failure::request(400, "InvalidArgument", "The continuation token provided is incorrect."))
}

fn names(page: &ListPage) -> impl Iterator<Item = &str> {
    page.files.iter().map(|file| file.key.as_str()).chain(page.prefixes.iter().map(String::as_str))
}

pub(super) fn prefixes(prefixes: &[String], spelling: Spelling) -> Vec<CommonPrefix> {
    prefixes.iter().map(|prefix| CommonPrefix { prefix: Some(spelling.say(prefix)) }).collect()
}

fn objects(page: &ListPage, spelling: Spelling, owner: Option<&Owner>) -> Vec<Object> {
    page.files.iter().map(|file| object(file, spelling, owner)).collect()
}

fn object(file: &Listed, spelling: Spelling, owner: Option<&Owner>) -> Object {
    let known = file.attributes.checksum.as_ref();
    let class = file.attributes.headers.get(attributes::STORAGE_CLASS).unwrap_or(ObjectStorageClass::STANDARD);
    Object {
        checksum_algorithm: known.map(|known| vec![checksum::said(known.checksum.algorithm)]),
        checksum_type: known.map(|known| checksum::kind(known.kind)),
        e_tag: Some(faces::etag(&file.etag)),
        key: Some(spelling.say(file.key.as_str())),
        last_modified: Some(faces::time(file.ingested_at)),
        owner: owner.cloned(),
        restore_status: None,
        size: i64::try_from(file.size_bytes).ok(),
        storage_class: Some(ObjectStorageClass::from(class.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_at_most_a_thousand_entries() {
        for (asked, expected) in [(None, 1000), (Some(0), 0), (Some(7), 7), (Some(5000), 1000)] {
            assert_eq!(page_size(asked, "max-keys").unwrap(), expected);
        }
        assert_eq!(page_size(Some(-1), "max-keys").unwrap_err().face().code, "InvalidArgument");
    }

    #[test]
    fn a_token_gives_back_where_the_page_begins() {
        for after in ["a/b", "é \u{1}+&", "x"] {
            assert_eq!(token_after(&URL_SAFE_NO_PAD.encode(after)).unwrap(), after);
            assert_eq!(token_after(&URL_SAFE.encode(after)).unwrap(), after);
        }
        assert_eq!(token_after("*").unwrap_err().face().code, "InvalidArgument");
        assert_eq!(delimiter(Some(&String::new())), None);
    }
}
