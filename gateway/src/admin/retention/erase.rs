//! Erasing bytes because somebody has a right to that, and what was erased.

use std::sync::Arc;

use artifactstore_registry::actions::erase::{ErasedVersion, ErasureOutcome};
use artifactstore_registry::model::command::Erase;
use artifactstore_registry::model::erasure::Erasure;
use artifactstore_registry::model::name::PackageId;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::FileQuery;
use crate::admin::Admin;
use crate::admin::extract::{Caller, InBody, InPath, InQuery};
use crate::admin::problem::{Problem, ProblemBody};

/// Why, and how far.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::admin) struct EraseRequest {
    /// Why, for the log and for whoever asks for the file; 1 to 1,024 bytes.
    reason: String,
    /// Who demanded it, for the log; at most 1,024 bytes.
    #[serde(default)]
    requested_by: String,
    /// Whether every version that has the same bytes is meant, too. Without, there must be no other.
    #[serde(default)]
    all_copies: bool,
    /// Whether governance is bypassed by this.
    #[serde(default)]
    bypass_governance: bool,
    /// Only say what would be erased.
    #[serde(default)]
    dry_run: bool,
}

/// A version whose bytes were erased, or would be.
#[derive(Debug, Serialize, ToSchema)]
struct ErasedFile {
    /// The producer.
    producer: String,
    /// The key.
    key: String,
    /// The version.
    version: u64,
    /// The event that erased it; null when it is only said what would be done.
    #[schema(required)]
    event: Option<u64>,
}

impl From<&ErasedVersion> for ErasedFile {
    fn from(erased: &ErasedVersion) -> Self {
        Self {
            producer: erased.name.producer.to_string(),
            key: erased.name.key.to_string(),
            version: erased.version,
            event: erased.event,
        }
    }
}

/// What became of an erasure.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Erased)]
pub(crate) struct ErasedShape {
    /// The versions that lost their bytes.
    versions: Vec<ErasedFile>,
    /// Whether that had been recorded before.
    recorded_before: bool,
    /// Objects that are gone.
    deleted_objects: u64,
    /// Their bytes, those of what lay beside and was written elsewhere not counted.
    deleted_bytes: u64,
    /// Objects whose storage did not say that they are gone; the next collection asks again.
    left_objects: u64,
    /// Bytes that stay because they are part of other content, too.
    shared_bytes: u64,
    /// Whether the same content was stored again meanwhile, and so is there.
    stored_again: bool,
}

impl From<&ErasureOutcome> for ErasedShape {
    fn from(outcome: &ErasureOutcome) -> Self {
        Self {
            versions: outcome.versions.iter().map(Into::into).collect(),
            recorded_before: outcome.recorded_before,
            deleted_objects: outcome.deleted_objects,
            deleted_bytes: outcome.deleted_bytes,
            left_objects: outcome.left_objects,
            shared_bytes: outcome.shared_bytes,
            stored_again: outcome.stored_again,
        }
    }
}

/// Erases the bytes of a version of a file for good, where no compliance and no hold forbids it.
///
/// A finalized package does not forbid it: its manifest stays as it is and shows the gap. Doing it again goes on where it broke
/// off, and else answers the same.
#[utoipa::path(post, path = "/v1/producers/{producer}/erase", tag = "retention", operation_id = "file_erase",
    params(("producer" = String, Path, description = "The producer's name."), FileQuery),
    request_body = EraseRequest,
    responses(
        (status = 200, description = "They are erased, now or since before; of a dry run: they may be.", body = ErasedShape),
        (status = 400, description = "A name is wrong, no key is said, the reason is empty or too long, or the body is no JSON.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "Something keeps it, or another file that has the same bytes; the reasons say what.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "There is no such producer, key or version.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "Other files have the same bytes and were not meant, or they cannot be erased now.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "The body is larger than 1 MiB.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "The body is not said to be JSON.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A field is unknown, missing or of the wrong type.", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(in crate::admin) async fn file(
    State(admin): State<Arc<Admin>>,
    Caller(actor): Caller,
    InPath(producer): InPath<String>,
    InQuery(query): InQuery<FileQuery>,
    InBody(request): InBody<EraseRequest>,
) -> Result<Json<ErasedShape>, Problem> {
    let (name, version) = query.file_needed(&producer)?;
    let EraseRequest { reason, requested_by, all_copies, bypass_governance, dry_run } = request;
    let order = Erase { name, version, reason, requested_by, all_copies, bypass: bypass_governance };
    Ok(Json((&admin.registry.file_erase(&actor, order, dry_run).await?).into()))
}

/// A file of a sealed package that was erased.
#[derive(Debug, Serialize, ToSchema)]
struct ErasureShape {
    /// Its path within the package.
    relative_path: String,
    /// The version.
    version: u64,
    /// The event that erased it.
    event: u64,
    /// When that was.
    #[schema(format = DateTime)]
    erased_at: String,
    /// Why.
    reason: String,
    /// The blob that it had, `blake3:<hex>`.
    content_address: String,
}

/// What was erased of a sealed package.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::admin) struct ErasurePage {
    /// The files, by version.
    erasures: Vec<ErasureShape>,
}

impl From<(String, Erasure)> for ErasureShape {
    fn from((relative_path, row): (String, Erasure)) -> Self {
        Self {
            relative_path,
            version: row.version,
            event: row.sequence,
            erased_at: row.erased_at.to_string(),
            reason: row.reason,
            content_address: row.content_address.to_string(),
        }
    }
}

/// Which files of a sealed package were erased: `artifactstore verify --manifest` takes the answer.
#[utoipa::path(get, path = "/v1/packages/{id}/erasures", tag = "retention", operation_id = "package_erasures",
    params(("id" = String, Path, description = "The revision's identifier, a UUID in lower case.")),
    responses(
        (status = 200, description = "The files; mostly none.", body = ErasurePage),
        (status = 400, description = "That is no identifier.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "There is no such package.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "The package is open.", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(in crate::admin) async fn of_package(
    State(admin): State<Arc<Admin>>,
    Caller(actor): Caller,
    InPath(id): InPath<String>,
) -> Result<Json<ErasurePage>, Problem> {
    let found = admin.registry.package_erasures(&actor, &PackageId::parse(&id)?).await?;
    Ok(Json(ErasurePage { erasures: found.into_iter().map(Into::into).collect() }))
}
