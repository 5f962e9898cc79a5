//! Collecting what nothing keeps, because somebody asks for it.

use std::sync::Arc;
use std::time::Duration;

use artifactstore_registry::actions::request::{CollectSummary, Collection};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Admin;
use super::extract::{Caller, InBody};
use super::problem::{Problem, ProblemBody};

/// How to collect.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CollectRequest {
    /// How many seconds what is condemned, or was left behind, is kept; the gateway's setting when left out.
    #[serde(default)]
    grace_seconds: Option<u32>,
    /// Only say what would be done now.
    #[serde(default)]
    dry_run: bool,
}

/// What was collected; of a dry run, what would have been.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Collected)]
pub(super) struct CollectedShape {
    /// Versions that let go of their bytes.
    released: u64,
    /// Blobs that were condemned.
    condemned_blobs: u64,
    /// Chunks that no blob uses, and that were condemned.
    condemned_chunks: u64,
    /// Blobs that were swept.
    swept_blobs: u64,
    /// Chunks that were swept.
    swept_chunks: u64,
    /// Objects that are gone.
    deleted_objects: u64,
    /// Their bytes.
    deleted_bytes: u64,
    /// Objects whose backend did not say that they are gone; the next run asks again.
    left_objects: u64,
    /// Objects of the backend that were looked at.
    examined_objects: u64,
    /// Objects that no event names, and that were noted.
    noted_orphans: u64,
    /// Objects that no event named for long enough, and that were swept.
    swept_orphans: u64,
    /// Whether nothing was swept because the bytes are being moved to another storage.
    waits_for_move: bool,
}

impl From<CollectSummary> for CollectedShape {
    fn from(summary: CollectSummary) -> Self {
        Self {
            released: summary.released,
            condemned_blobs: summary.condemned_blobs,
            condemned_chunks: summary.condemned_chunks,
            swept_blobs: summary.swept_blobs,
            swept_chunks: summary.swept_chunks,
            deleted_objects: summary.deleted_objects,
            deleted_bytes: summary.deleted_bytes,
            left_objects: summary.left_objects,
            examined_objects: summary.examined_objects,
            noted_orphans: summary.noted_orphans,
            swept_orphans: summary.swept_orphans,
            waits_for_move: summary.waits_for_move,
        }
    }
}

/// Collects what nothing keeps, and answers when it is done. A caller that hangs up ends it between two steps; asked again,
/// it goes on.
#[utoipa::path(post, path = "/v1/gc", tag = "garbage", operation_id = "collect",
    request_body = CollectRequest,
    responses(
        (status = 200, description = "It is done.", body = CollectedShape),
        (status = 400, description = "The body is no JSON.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "The body is larger than 1 MiB.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "The body is not said to be JSON.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A field is unknown or of the wrong type.", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn collect(
    State(admin): State<Arc<Admin>>,
    Caller(actor): Caller,
    InBody(request): InBody<CollectRequest>,
) -> Result<Json<CollectedShape>, Problem> {
    let grace = request.grace_seconds.map_or(admin.collect_grace, |seconds| Duration::from_secs(seconds.into()));
    let how = Collection { grace, dry: request.dry_run, under_lease: false };
    Ok(Json(admin.registry.collect(&actor, &how, &|_, _| {}).await?.into()))
}
