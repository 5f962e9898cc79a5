//! Deletes, which remove names. The files stay in the log, so a version cannot be deleted.

use artifactstore_registry::model::access::Permission;
use artifactstore_registry::model::command::WriteCondition;
use artifactstore_registry::model::event::Actor;
use artifactstore_registry::model::name::{FileName, Key, ProducerName};
use artifactstore_registry::model::row::Sequence;
use s3s::dto::{
    DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, Error,
    ObjectIdentifier,
};
use s3s::{S3Request, S3Response};

use super::{Answer, Gateway, conditions, encoding, face, faces, request_id};
use crate::error::Failure;

/// How many names one request may delete.
const NAMES_MAX: usize = 1_000;

/// `null` is the current version, as in a bucket that was never versioned.
fn refuse_version(version_id: Option<&str>) -> Result<(), Failure> {
    match version_id {
        None | Some("null") => Ok(()),
        Some(_) => Err(Failure::request(
            501,
            "NotImplemented",
            "Versions are the log's history and stay; only a name can be deleted, without a version id.",
        )),
    }
}

pub(super) async fn one(gateway: &Gateway, req: S3Request<DeleteObjectInput>) -> Answer<DeleteObjectOutput> {
    let actor = gateway.actor(&req)?;
    let name = FileName::parse(&req.input.bucket, &req.input.key)?;
    refuse_version(req.input.version_id.as_deref())?;
    if req.input.if_match_size.is_some() || req.input.if_match_last_modified_time.is_some() {
        let message = "Deletes can be conditional on If-Match, not on a size or a time.";
        return Err(Failure::request(501, "NotImplemented", message));
    }
    let condition = WriteCondition { if_match: conditions::of_write(&req.headers).if_match, ..Default::default() };
    let removed = gateway.registry.file_remove(&actor, &name, condition).await?;
    Ok(S3Response::with_headers(DeleteObjectOutput::default(), faces::removal_headers(removed)))
}

pub(super) async fn many(gateway: &Gateway, req: S3Request<DeleteObjectsInput>) -> Answer<DeleteObjectsOutput> {
    let actor = gateway.actor(&req)?;
    let producer = ProducerName::parse(&req.input.bucket)?;
    let named = &req.input.delete.objects;
    if named.is_empty() || named.len() > NAMES_MAX {
        let message = format!("A request names 1 to {NAMES_MAX} objects; this one names {}.", named.len());
        return Err(Failure::request(400, "MalformedXML", message));
    }
    let mut outcome = Outcome::new(req.input.delete.quiet == Some(true), request_id(&req));
    let mut plain = Vec::new();
    let mut special = Vec::new();
    for object in named {
        if let Err(refused) = gateway.permit(&req, Permission::Delete, &req.input.bucket, &object.key) {
            outcome.add(&object.key, object.version_id.as_deref(), Err(refused));
            continue;
        }
        match Key::parse(&object.key) {
            Ok(_) if is_special(object) => special.push(object),
            Ok(key) => plain.push(key),
            Err(invalid) => outcome.add(&object.key, object.version_id.as_deref(), Err(invalid.into())),
        }
    }
    if plain.is_empty() {
        // Nothing else would find out that the bucket is missing.
        gateway.registry.producer_stat(&actor, &producer).await?;
    } else {
        for (key, removed) in gateway.registry.files_remove(&actor, &producer, plain).await? {
            outcome.add(key.as_str(), None, removed.map_err(Failure::from));
        }
    }
    for object in special {
        let removed = remove(gateway, &actor, &req.input.bucket, object).await;
        outcome.add(&object.key, object.version_id.as_deref(), removed);
    }
    Ok(S3Response::new(outcome.output))
}

fn is_special(object: &ObjectIdentifier) -> bool {
    object.version_id.is_some()
        || object.e_tag.is_some()
        || object.size.is_some()
        || object.last_modified_time.is_some()
}

async fn remove(
    gateway: &Gateway,
    actor: &Actor,
    bucket: &str,
    object: &ObjectIdentifier,
) -> Result<Option<Sequence>, Failure> {
    refuse_version(object.version_id.as_deref())?;
    if object.size.is_some() || object.last_modified_time.is_some() {
        let message = "Deletes can be conditional on an ETag, not on a size or a time.";
        return Err(Failure::request(501, "NotImplemented", message));
    }
    let if_match = object.e_tag.as_ref().map(|etag| vec![etag.value().to_owned()]);
    let name = FileName::parse(bucket, &object.key)?;
    Ok(gateway.registry.file_remove(actor, &name, WriteCondition { if_match, ..Default::default() }).await?)
}

/// What became of each name.
struct Outcome<'a> {
    quiet: bool,
    request_id: &'a str,
    output: DeleteObjectsOutput,
}

impl<'a> Outcome<'a> {
    fn new(quiet: bool, request_id: &'a str) -> Self {
        Self { quiet, request_id, output: DeleteObjectsOutput::default() }
    }

    /// Removing a name that is not there succeeds.
    fn add(&mut self, key: &str, version_id: Option<&str>, removed: Result<Option<Sequence>, Failure>) {
        let key = Some(encoding::xml_text(key).into_owned());
        let version_id = version_id.map(str::to_owned);
        match removed {
            Ok(_) if self.quiet => {}
            Ok(_) => {
                let deleted = DeletedObject { key, version_id, ..DeletedObject::default() };
                self.output.deleted.get_or_insert_default().push(deleted);
            }
            Err(failure) => {
                let face = face(&failure, self.request_id);
                let code = Some(face.code.to_owned());
                let message = Some(encoding::xml_text(&face.message).into_owned());
                self.output.errors.get_or_insert_default().push(Error { code, key, message, version_id });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_has_its_own_outcome_and_quiet_keeps_the_errors() {
        for quiet in [false, true] {
            let mut outcome = Outcome::new(quiet, "");
            outcome.add("there", None, Ok(Some(7)));
            outcome.add("not-there", None, Ok(None));
            outcome.add("versioned", Some("3"), refuse_version(Some("3")).map(|()| None));
            assert_eq!(outcome.output.deleted.map_or(0, |deleted| deleted.len()), if quiet { 0 } else { 2 });
            let errors = outcome.output.errors.unwrap();
            assert_eq!(errors.len(), 1);
            assert_eq!(errors[0].code.as_deref(), Some("NotImplemented"));
            assert_eq!(errors[0].version_id.as_deref(), Some("3"));
            assert!(errors[0].message.is_some());
        }
        assert!(refuse_version(Some("null")).is_ok());
    }
}
