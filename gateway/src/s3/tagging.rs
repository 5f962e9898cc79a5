//! Tags of objects and of buckets.

use std::collections::BTreeMap;

use artifactstore_registry::model::cbor::TextMap;
use artifactstore_registry::model::name::{FileName, ProducerName};
use artifactstore_registry::model::retention::Retention;
use artifactstore_registry::model::row::{File, Subresource};
use http::HeaderMap;
use s3s::dto::{
    DeleteBucketTaggingInput, DeleteBucketTaggingOutput, DeleteObjectTaggingInput, DeleteObjectTaggingOutput,
    GetBucketTaggingInput, GetBucketTaggingOutput, GetObjectTaggingInput, GetObjectTaggingOutput,
    PutBucketTaggingInput, PutBucketTaggingOutput, PutObjectTaggingInput, PutObjectTaggingOutput, Tag, Tagging,
};
use s3s::{S3Request, S3Response};

use super::{Answer, Gateway, anonymous, configuration, faces, header, lock, version};
use crate::error::Failure;

/// The most tags of an object.
const OBJECT_TAGS_MAX: usize = 10;
/// The most tags of a bucket.
const BUCKET_TAGS_MAX: usize = 50;
/// The longest key and the longest value, in characters.
const KEY_MAX: usize = 128;
const VALUE_MAX: usize = 256;

fn invalid(message: impl Into<String>) -> Failure {
    Failure::request(400, "InvalidTag", message)
}

fn checked(tags: impl IntoIterator<Item = (String, String)>, most: usize) -> Result<TextMap, Failure> {
    let mut map = BTreeMap::new();
    for (key, value) in tags {
        if key.is_empty() || key.chars().count() > KEY_MAX {
            return Err(invalid("The TagKey you have provided is invalid: it takes 1 to 128 characters."));
        }
        if value.chars().count() > VALUE_MAX {
            return Err(invalid("The TagValue you have provided is invalid: it takes up to 256 characters."));
        }
        if map.insert(key, value).is_some() {
            return Err(invalid("Cannot provide multiple Tags with the same key."));
        }
    }
    if map.len() > most {
        return Err(invalid(format!("Object tags cannot be greater than {most}.")));
    }
    Ok(TextMap(map))
}

fn of_set(set: Vec<Tag>, most: usize) -> Result<TextMap, Failure> {
    checked(set.into_iter().map(|tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default())), most)
}

/// Tags of a file in S3's terms.
fn to_set(tags: &TextMap) -> Vec<Tag> {
    tags.0.iter().map(|(key, value)| Tag { key: Some(key.clone()), value: Some(value.clone()) }).collect()
}

/// The tags that a write's header names, written as the query of a URL.
pub(super) fn of_request(headers: &HeaderMap) -> Result<TextMap, Failure> {
    let text = header(headers, "x-amz-tagging").unwrap_or_default();
    checked(form_urlencoded::parse(text.as_bytes()).into_owned(), OBJECT_TAGS_MAX).map_err(|failure| {
        // A header is an argument; only a document holds tags.
        Failure::request(400, "InvalidArgument", failure.to_string())
    })
}

/// The tags of a document, as the header names them that a PUT would have.
pub(super) fn header_of(document: &str) -> Result<String, Failure> {
    let malformed = |_| Failure::request(400, "MalformedXML", "The tagging of the form is no Tagging document.");
    let tagging: Tagging = configuration::read(document).map_err(malformed)?;
    let tags = of_set(tagging.tag_set, OBJECT_TAGS_MAX)?;
    Ok(form_urlencoded::Serializer::new(String::new()).extend_pairs(&tags.0).finish())
}

fn version_id(asked: Option<String>, file: &File) -> Option<String> {
    asked.or_else(|| file.versioned.then(|| file.sequence.to_string()))
}

pub(super) async fn get(gateway: &Gateway, req: S3Request<GetObjectTaggingInput>) -> Answer<GetObjectTaggingOutput> {
    let actor = gateway.actor(&req)?;
    let input = &req.input;
    let name = FileName::parse(&input.bucket, &input.key)?;
    let found = gateway.registry.file_stat(&actor, &name, version(input.version_id.as_deref())?).await;
    let found = found.map_err(|error| anonymous::not_found(&actor, error))?;
    let tag_set = to_set(&found.file.attributes.tags);
    Ok(S3Response::new(GetObjectTaggingOutput { tag_set, version_id: faces::found_version(&found) }))
}

pub(super) async fn set(
    gateway: &Gateway,
    mut req: S3Request<PutObjectTaggingInput>,
) -> Answer<PutObjectTaggingOutput> {
    let actor = gateway.actor(&req)?;
    let name = FileName::parse(&req.input.bucket, &req.input.key)?;
    let tags = of_set(std::mem::take(&mut req.input.tagging.tag_set), OBJECT_TAGS_MAX)?;
    lock::permit(gateway, &req, &name, &Retention::default(), Some(&tags))?;
    let input = req.input;
    let file = gateway.registry.file_tag(&actor, &name, version(input.version_id.as_deref())?, tags).await?;
    Ok(S3Response::new(PutObjectTaggingOutput { version_id: version_id(input.version_id, &file) }))
}

pub(super) async fn remove(
    gateway: &Gateway,
    req: S3Request<DeleteObjectTaggingInput>,
) -> Answer<DeleteObjectTaggingOutput> {
    let actor = gateway.actor(&req)?;
    let input = req.input;
    let name = FileName::parse(&input.bucket, &input.key)?;
    let tags = TextMap::default();
    let file = gateway.registry.file_tag(&actor, &name, version(input.version_id.as_deref())?, tags).await?;
    Ok(S3Response::new(DeleteObjectTaggingOutput { version_id: version_id(input.version_id, &file) }))
}

/// A bucket's tags as they are kept.
pub(super) fn bucket_document(set: Vec<Tag>) -> Result<String, Failure> {
    of_set(set.clone(), BUCKET_TAGS_MAX)?;
    configuration::write(&Tagging { tag_set: set })
}

pub(super) async fn get_bucket(
    gateway: &Gateway,
    req: S3Request<GetBucketTaggingInput>,
) -> Answer<GetBucketTaggingOutput> {
    let found: Option<Tagging> = configuration::find(gateway, &req, &req.input.bucket, Subresource::Tagging).await?;
    let tagging = found.ok_or_else(|| Failure::request(404, "NoSuchTagSet", "The TagSet does not exist."))?;
    Ok(S3Response::new(GetBucketTaggingOutput { tag_set: tagging.tag_set }))
}

pub(super) async fn set_bucket(
    gateway: &Gateway,
    req: S3Request<PutBucketTaggingInput>,
) -> Answer<PutBucketTaggingOutput> {
    let document = bucket_document(req.input.tagging.tag_set.clone())?;
    configuration::set(gateway, &req, &req.input.bucket, Subresource::Tagging, Some(document)).await?;
    Ok(S3Response::new(PutBucketTaggingOutput::default()))
}

pub(super) async fn remove_bucket(
    gateway: &Gateway,
    req: S3Request<DeleteBucketTaggingInput>,
) -> Answer<DeleteBucketTaggingOutput> {
    let producer = ProducerName::parse(&req.input.bucket)?;
    configuration::set(gateway, &req, producer.as_str(), Subresource::Tagging, None).await?;
    Ok(S3Response::new(DeleteBucketTaggingOutput::default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(text: &str) -> Result<TextMap, Failure> {
        of_request(&[(http::HeaderName::from_static("x-amz-tagging"), text.parse().unwrap())].into_iter().collect())
    }

    #[test]
    fn a_header_names_tags_as_a_query_does() {
        let got = tags("a=1&b=x%20y+z&%C3%A9=").unwrap();
        assert_eq!((got.get("a"), got.get("b"), got.get("é")), (Some("1"), Some("x y z"), Some("")));
        assert!(tags("").unwrap().is_empty());
        let eleven: Vec<String> = (0..11).map(|number| format!("k{number}=v")).collect();
        for bad in ["a=1&a=2".to_owned(), "=v".to_owned(), "k".repeat(129), format!("k={}", "v".repeat(257))] {
            assert_eq!(tags(&bad).unwrap_err().face().code, "InvalidArgument", "{bad}");
        }
        assert!(tags(&eleven.join("&")).is_err() && tags(&eleven[..10].join("&")).is_ok());
    }
}
