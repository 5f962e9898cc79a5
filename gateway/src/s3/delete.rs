//! Deletes: of names, and of single versions. What is deleted stays in the log.

use artifactstore_registry::actions::request::Removal;
use artifactstore_registry::model::access::Permission;
use artifactstore_registry::model::command::{Removed, WriteCondition};
use artifactstore_registry::model::name::{FileName, Key, ProducerName};
use artifactstore_registry::model::row::Versioning;
use s3s::dto::{
    self, DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, Error,
    ObjectIdentifier,
};
use s3s::{S3Request, S3Response};

use super::{Answer, Gateway, Use, conditions, encoding, face, faces, request_id, version};
use crate::error::Failure;

/// How many names one request may delete.
const NAMES_MAX: usize = 1_000;

/// What a delete may ask for besides an ETag.
fn condition(
    if_match: Option<Vec<String>>,
    size: Option<i64>,
    modified: Option<&dto::Timestamp>,
) -> Result<WriteCondition, Failure> {
    let invalid = |_| Failure::request(400, "InvalidArgument", "A size is not negative.");
    Ok(WriteCondition {
        if_match,
        size_bytes: size.map(u64::try_from).transpose().map_err(invalid)?,
        ingested_second: modified.map(|at| time::OffsetDateTime::from(at.clone()).unix_timestamp()),
        ..WriteCondition::default()
    })
}

pub(super) async fn one(gateway: &Gateway, req: S3Request<DeleteObjectInput>) -> Answer<DeleteObjectOutput> {
    let actor = gateway.actor(&req)?;
    let input = &req.input;
    let name = FileName::parse(&input.bucket, &input.key)?;
    let if_match = conditions::of_write(&req.headers).if_match;
    let removal = Removal {
        key: name.key,
        version: version(input.version_id.as_deref())?,
        condition: condition(if_match, input.if_match_size, input.if_match_last_modified_time.as_ref())?,
        bypass: input.bypass_governance_retention == Some(true),
    };
    let removed = gateway.registry.file_remove(&actor, &name.producer, removal).await?;
    let marker = marker_id(&removed, input.version_id.as_deref());
    let output = DeleteObjectOutput {
        delete_marker: marker.is_some().then_some(true),
        version_id: input.version_id.clone().or(marker),
        ..DeleteObjectOutput::default()
    };
    Ok(S3Response::with_headers(output, faces::removal_headers(removed.sequence)))
}

/// The version id of the delete marker that was made, or that was deleted under this id.
fn marker_id(removed: &Removed, asked: Option<&str>) -> Option<String> {
    let made = |sequence| faces::version_name(removed.versioning == Versioning::Enabled, sequence);
    removed.marker.map(|sequence| asked.map_or_else(|| made(sequence), str::to_owned))
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
    let bypass = req.input.bypass_governance_retention == Some(true);
    let (mut asked, mut removals) = (Vec::new(), Vec::new());
    for object in named {
        let version = object.version_id.as_deref().filter(|id| !id.is_empty());
        let (bucket, key) = (req.input.bucket.as_str(), object.key.as_str());
        // A policy may take its time over each of a thousand names.
        tokio::task::yield_now().await;
        let wanted = Use { operation: "DeleteObject", permission: Permission::Delete, bucket, key, version };
        if let Err(refused) = gateway.admit_here(&req.extensions, &req.headers, &wanted).await {
            outcome.add(object, Err(refused));
            continue;
        }
        match removal(object, bypass) {
            Ok(removal) => {
                asked.push(object);
                removals.push(removal);
            }
            Err(failure) => outcome.add(object, Err(failure)),
        }
    }
    let removed = gateway.registry.files_remove(&actor, &producer, removals).await?;
    for (object, removed) in asked.into_iter().zip(removed) {
        outcome.add(object, removed.map_err(Failure::from));
    }
    Ok(S3Response::new(outcome.output))
}

fn removal(object: &ObjectIdentifier, bypass: bool) -> Result<Removal, Failure> {
    let if_match = object.e_tag.as_ref().map(|etag| vec![etag.value().to_owned()]);
    Ok(Removal {
        key: Key::parse(&object.key)?,
        version: version(object.version_id.as_deref().filter(|id| !id.is_empty()))?,
        condition: condition(if_match, object.size, object.last_modified_time.as_ref())?,
        bypass,
    })
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
    fn add(&mut self, object: &ObjectIdentifier, removed: Result<Removed, Failure>) {
        let key = Some(encoding::xml_text(&object.key).into_owned());
        let version_id = object.version_id.clone().filter(|id| !id.is_empty());
        match removed {
            Ok(_) if self.quiet => {}
            Ok(removed) => {
                let marker = marker_id(&removed, version_id.as_deref());
                let deleted = DeletedObject {
                    delete_marker: marker.is_some().then_some(true),
                    delete_marker_version_id: marker,
                    key,
                    version_id,
                };
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

    fn object(key: &str, version_id: Option<&str>) -> ObjectIdentifier {
        ObjectIdentifier {
            key: key.to_owned(),
            version_id: version_id.map(str::to_owned),
            ..ObjectIdentifier::default()
        }
    }

    #[test]
    fn each_name_has_its_own_outcome_and_quiet_keeps_the_errors() {
        for quiet in [false, true] {
            let mut outcome = Outcome::new(quiet, "");
            let made = Removed { sequence: Some(7), marker: Some(7), versioning: Versioning::Enabled };
            outcome.add(&object("marked", None), Ok(made));
            outcome.add(&object("not-there", None), Ok(Removed::default()));
            outcome
                .add(&object("bad", Some("x")), removal(&object("bad", Some("x")), false).map(|_| Removed::default()));
            let deleted = outcome.output.deleted.unwrap_or_default();
            assert_eq!(deleted.len(), if quiet { 0 } else { 2 });
            if let Some(first) = deleted.first() {
                assert_eq!(first.delete_marker_version_id.as_deref(), Some("7"));
                assert_eq!(deleted[1].delete_marker, None);
            }
            let errors = outcome.output.errors.unwrap();
            assert_eq!(errors.len(), 1);
            assert_eq!(errors[0].code.as_deref(), Some("InvalidArgument"));
            assert_eq!(errors[0].version_id.as_deref(), Some("x"));
            assert!(errors[0].message.is_some());
        }
    }

    #[test]
    fn a_marker_has_the_id_that_its_bucket_gives() {
        let made = |versioning| Removed { sequence: Some(7), marker: Some(7), versioning };
        assert_eq!(marker_id(&made(Versioning::Enabled), None).as_deref(), Some("7"));
        assert_eq!(marker_id(&made(Versioning::Suspended), None).as_deref(), Some("null"));
        assert_eq!(marker_id(&made(Versioning::Suspended), Some("5")).as_deref(), Some("5"));
        assert_eq!(marker_id(&Removed::default(), Some("5")), None);
    }
}
