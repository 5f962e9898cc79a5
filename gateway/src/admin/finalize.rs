//! Finalizing packages. Finalizing one again answers the same.

use std::sync::Arc;

use artifactstore_registry::model::command::PackageChoice;
use artifactstore_registry::model::name::{PackageId, PackageName, ProducerName};
use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::Admin;
use super::extract::{Caller, InBody, InPath};
use super::problem::{Problem, ProblemBody};
use super::shape::PackageShape;

/// Which package of the producer to finalize.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FinalizeRequest {
    /// The package's name; empty for the root package.
    #[schema(example = "run-42")]
    package: String,
}

/// Finalizes the latest revision of a package, by name.
#[utoipa::path(post, path = "/v1/producers/{producer}/finalize", tag = "packages", operation_id = "package_finalize_by_name",
    params(("producer" = String, Path, description = "The producer's name.")),
    request_body = FinalizeRequest,
    responses(
        (status = 200, description = "It is finalized, now or since before.", body = PackageShape),
        (status = 400, description = "A name is wrong, or the body is no JSON.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "There is no such producer, or no such package.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "The body is larger than 1 MiB.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "The body is not said to be JSON.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A field is unknown, missing or of the wrong type.", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn by_name(
    State(admin): State<Arc<Admin>>,
    Caller(actor): Caller,
    InPath(producer): InPath<String>,
    InBody(request): InBody<FinalizeRequest>,
) -> Result<Json<PackageShape>, Problem> {
    let choice = PackageChoice::Name(ProducerName::parse(&producer)?, PackageName::parse(&request.package)?);
    let package = admin.registry.package_finalize(&actor, choice).await?;
    Ok(Json((&package).into()))
}

/// Finalizes exactly this revision.
#[utoipa::path(post, path = "/v1/packages/{id}/finalize", tag = "packages", operation_id = "package_finalize",
    params(("id" = String, Path, description = "The revision's identifier, a UUID in lower case.")),
    responses(
        (status = 200, description = "It is finalized, now or since before.", body = PackageShape),
        (status = 400, description = "That is no identifier.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "There is no such package.", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn by_id(
    State(admin): State<Arc<Admin>>,
    Caller(actor): Caller,
    InPath(id): InPath<String>,
) -> Result<Json<PackageShape>, Problem> {
    let package = admin.registry.package_finalize(&actor, PackageChoice::Id(PackageId::parse(&id)?)).await?;
    Ok(Json((&package).into()))
}
