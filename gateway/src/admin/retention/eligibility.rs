//! Whether something may go, and every reason why not. Asking changes nothing.

use std::sync::Arc;

use artifactstore_registry::model::name::PackageId;
use axum::Json;
use axum::extract::State;

use super::FileQuery;
use super::shape::EligibilityShape;
use crate::admin::Admin;
use crate::admin::extract::{Caller, InPath, InQuery};
use crate::admin::packages::FileQuery as PageQuery;
use crate::admin::problem::{Problem, ProblemBody};

/// Whether a package may go, with its files, page by page: what is said of the package itself is the same on each page.
#[utoipa::path(get, path = "/v1/packages/{id}/eligibility", tag = "retention", operation_id = "package_eligibility",
    params(("id" = String, Path, description = "The revision's identifier, a UUID in lower case."), PageQuery),
    responses(
        (status = 200, description = "Yes or no, and why.", body = EligibilityShape),
        (status = 400, description = "The identifier or a parameter is wrong.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "There is no such package.", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(in crate::admin) async fn package(
    State(admin): State<Arc<Admin>>,
    Caller(actor): Caller,
    InPath(id): InPath<String>,
    InQuery(query): InQuery<PageQuery>,
) -> Result<Json<EligibilityShape>, Problem> {
    let (id, (after, limit)) = (PackageId::parse(&id)?, query.page()?);
    Ok(Json((&admin.registry.package_eligibility(&actor, &id, after.as_ref(), limit).await?).into()))
}

/// Whether a version of a file may go. One that was superseded or removed can be asked for by its number.
#[utoipa::path(get, path = "/v1/producers/{producer}/eligibility", tag = "retention", operation_id = "file_eligibility",
    params(("producer" = String, Path, description = "The producer's name."), FileQuery),
    responses(
        (status = 200, description = "Yes or no, and why.", body = EligibilityShape),
        (status = 400, description = "A name or a version is wrong, or no key is said.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "There is no such producer, key or version.", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(in crate::admin) async fn file(
    State(admin): State<Arc<Admin>>,
    Caller(actor): Caller,
    InPath(producer): InPath<String>,
    InQuery(query): InQuery<FileQuery>,
) -> Result<Json<EligibilityShape>, Problem> {
    let (name, version) = query.file_needed(&producer)?;
    Ok(Json((&admin.registry.file_eligibility(&actor, &name, version).await?).into()))
}
