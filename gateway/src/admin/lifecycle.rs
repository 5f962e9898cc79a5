//! Letting go what goes by itself, because somebody asks for it.

use std::sync::Arc;

use artifactstore_registry::actions::request::{LifecycleRun, LifecycleSummary};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Admin;
use super::extract::{Caller, InBody};
use super::problem::{Problem, ProblemBody};
use crate::s3::lifecycle_rules;

/// How to let go what goes by itself.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LifecycleRequest {
    /// Only say what would go now.
    #[serde(default)]
    dry_run: bool,
}

/// What went by itself; of a dry run, what would have.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Expired)]
pub(super) struct ExpiredShape {
    /// Producers that have lifecycle rules in force.
    producers_with_rules: u64,
    /// Versions, delete markers and uploads that were looked at.
    examined: u64,
    /// Names that were removed, where versions are not kept.
    removed_names: u64,
    /// Names behind a new delete marker, where they are.
    marked_names: u64,
    /// Versions behind others that were removed.
    removed_versions: u64,
    /// Delete markers that were removed.
    removed_markers: u64,
    /// Uploads that were given up.
    aborted_uploads: u64,
    /// Versions that went because their retention classes say so.
    outlived_versions: u64,
    /// What would have gone, and is kept.
    kept: u64,
    /// Producers whose rules cannot be understood. Nothing went by those.
    unreadable_rules: u64,
}

impl From<LifecycleSummary> for ExpiredShape {
    fn from(summary: LifecycleSummary) -> Self {
        Self {
            producers_with_rules: summary.producers_with_rules,
            examined: summary.examined,
            removed_names: summary.removed_names,
            marked_names: summary.marked_names,
            removed_versions: summary.removed_versions,
            removed_markers: summary.removed_markers,
            aborted_uploads: summary.aborted_uploads,
            outlived_versions: summary.outlived_versions,
            kept: summary.kept,
            unreadable_rules: summary.unreadable_rules,
        }
    }
}

/// Lets go what goes by itself, and answers when it is done. A caller that hangs up ends it between two pages; asked again,
/// it goes on with what is left.
#[utoipa::path(post, path = "/v1/lifecycle", tag = "garbage", operation_id = "lifecycle",
    request_body = LifecycleRequest,
    responses(
        (status = 200, description = "It is done.", body = ExpiredShape),
        (status = 400, description = "The body is no JSON.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "The body is larger than 1 MiB.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "The body is not said to be JSON.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A field is unknown or of the wrong type.", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn lifecycle(
    State(admin): State<Arc<Admin>>,
    Caller(actor): Caller,
    InBody(request): InBody<LifecycleRequest>,
) -> Result<Json<ExpiredShape>, Problem> {
    let how = LifecycleRun { day: admin.lifecycle_day, dry: request.dry_run };
    Ok(Json(admin.registry.lifecycle_run(&actor, &how, &lifecycle_rules, &|_| {}).await?.into()))
}
