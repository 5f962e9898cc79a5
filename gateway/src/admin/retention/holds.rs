//! Holds: named reasons to keep a producer, a package or a version of a file.

use std::sync::Arc;

use artifactstore_registry::model::command::SubjectChoice;
use artifactstore_registry::model::event::Actor;
use artifactstore_registry::model::name::{HoldName, PackageId};
use artifactstore_registry::model::retention::Keeping;
use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::shape::HoldShape;
use super::{FileQuery, FileReasonQuery, ReasonQuery};
use crate::admin::Admin;
use crate::admin::extract::{Caller, InBody, InPath, InQuery};
use crate::admin::problem::{Problem, ProblemBody};

/// Why a hold is placed.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::admin) struct HoldRequest {
    /// Why; at most 1,024 bytes.
    #[schema(example = "Case 42: wanted as evidence")]
    reason: String,
}

/// The holds of one thing.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::admin) struct HoldList {
    /// The holds, in the order in which they were placed.
    holds: Vec<HoldShape>,
}

impl Admin {
    /// What keeps a thing by itself.
    async fn keeping(&self, actor: &Actor, subject: SubjectChoice) -> Result<Keeping, Problem> {
        Ok(match subject {
            SubjectChoice::File(name, version) => self.registry.file_stat(actor, &name, version).await?.file.keeping,
            SubjectChoice::Package(id) => self.registry.package_stat(actor, &id).await?.keeping,
            SubjectChoice::Producer(name) => self.registry.producer_stat(actor, &name).await?.keeping,
        })
    }

    async fn holds(&self, actor: &Actor, subject: SubjectChoice) -> Result<Json<HoldList>, Problem> {
        let keeping = self.keeping(actor, subject).await?;
        Ok(Json(HoldList { holds: keeping.holds.iter().map(Into::into).collect() }))
    }

    async fn hold(&self, actor: &Actor, subject: SubjectChoice, name: &str) -> Result<Json<HoldShape>, Problem> {
        let name = HoldName::parse(name)?;
        let keeping = self.keeping(actor, subject).await?;
        let missing = || Problem::new(StatusCode::NOT_FOUND, "no-such-hold", format!("There is no hold {name} on it."));
        Ok(Json(keeping.hold(&name).ok_or_else(missing)?.into()))
    }

    async fn place(
        &self,
        actor: &Actor,
        subject: SubjectChoice,
        name: &str,
        request: HoldRequest,
    ) -> Result<Json<HoldShape>, Problem> {
        let name = HoldName::parse(name)?;
        let keeping = self.registry.hold_place(actor, subject, &name, request.reason).await?;
        let gone = || Problem::new(StatusCode::CONFLICT, "hold-released", "It was placed, and released meanwhile.");
        Ok(Json(keeping.hold(&name).ok_or_else(gone)?.into()))
    }

    async fn unhold(
        &self,
        actor: &Actor,
        subject: SubjectChoice,
        name: &str,
        reason: String,
    ) -> Result<StatusCode, Problem> {
        self.registry.hold_release(actor, subject, &HoldName::parse(name)?, reason).await?;
        Ok(StatusCode::NO_CONTENT)
    }
}

fn package(id: &str) -> Result<SubjectChoice, Problem> {
    Ok(SubjectChoice::Package(PackageId::parse(id)?))
}

/// The holds of a package itself.
#[utoipa::path(get, path = "/v1/packages/{id}/holds", tag = "retention", operation_id = "package_hold_list",
    params(("id" = String, Path, description = "The revision's identifier, a UUID in lower case.")),
    responses(
        (status = 200, description = "The holds.", body = HoldList),
        (status = 400, description = "That is no identifier.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "There is no such package.", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(in crate::admin) async fn package_list(
    State(admin): State<Arc<Admin>>,
    Caller(actor): Caller,
    InPath(id): InPath<String>,
) -> Result<Json<HoldList>, Problem> {
    admin.holds(&actor, package(&id)?).await
}

/// A hold of a package.
#[utoipa::path(get, path = "/v1/packages/{id}/holds/{name}", tag = "retention", operation_id = "package_hold_show",
    params(("id" = String, Path, description = "The revision's identifier, a UUID in lower case."), ("name" = String, Path, description = "The hold's name.")),
    responses(
        (status = 200, description = "The hold.", body = HoldShape),
        (status = 400, description = "That is no identifier, or no hold's name.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "There is no such package, or no such hold on it.", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(in crate::admin) async fn package_show(
    State(admin): State<Arc<Admin>>,
    Caller(actor): Caller,
    InPath((id, name)): InPath<(String, String)>,
) -> Result<Json<HoldShape>, Problem> {
    admin.hold(&actor, package(&id)?, &name).await
}

/// Places a hold on a package. One of that name that is there already stays as it is.
#[utoipa::path(put, path = "/v1/packages/{id}/holds/{name}", tag = "retention", operation_id = "package_hold_put",
    params(("id" = String, Path, description = "The revision's identifier, a UUID in lower case."), ("name" = String, Path, description = "The hold's name: 1 to 63 lower-case letters, digits and hyphens.")),
    request_body = HoldRequest,
    responses(
        (status = 200, description = "The hold, placed now or before.", body = HoldShape),
        (status = 400, description = "A name is wrong, no reason is given, or the body is no JSON.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "There is no such package.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "Its files were released: hold them one by one.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "The body is larger than 1 MiB.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "The body is not said to be JSON.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A field is unknown, missing or of the wrong type.", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(in crate::admin) async fn package_put(
    State(admin): State<Arc<Admin>>,
    Caller(actor): Caller,
    InPath((id, name)): InPath<(String, String)>,
    InBody(request): InBody<HoldRequest>,
) -> Result<Json<HoldShape>, Problem> {
    admin.place(&actor, package(&id)?, &name, request).await
}

/// Releases a hold of a package. One that is not there is released already.
#[utoipa::path(delete, path = "/v1/packages/{id}/holds/{name}", tag = "retention", operation_id = "package_hold_delete",
    params(("id" = String, Path, description = "The revision's identifier, a UUID in lower case."), ("name" = String, Path, description = "The hold's name."), ReasonQuery),
    responses(
        (status = 204, description = "It is not held by it."),
        (status = 400, description = "That is no identifier, or no hold's name.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "There is no such package.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "Its files were released: they are held one by one.", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(in crate::admin) async fn package_delete(
    State(admin): State<Arc<Admin>>,
    Caller(actor): Caller,
    InPath((id, name)): InPath<(String, String)>,
    InQuery(query): InQuery<ReasonQuery>,
) -> Result<StatusCode, Problem> {
    admin.unhold(&actor, package(&id)?, &name, query.reason.unwrap_or_default()).await
}

/// The holds of a producer itself, or of a version of a file of it.
#[utoipa::path(get, path = "/v1/producers/{producer}/holds", tag = "retention", operation_id = "producer_hold_list",
    params(("producer" = String, Path, description = "The producer's name."), FileQuery),
    responses(
        (status = 200, description = "The holds.", body = HoldList),
        (status = 400, description = "A name or a version is wrong.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "There is no such producer, key or version.", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(in crate::admin) async fn producer_list(
    State(admin): State<Arc<Admin>>,
    Caller(actor): Caller,
    InPath(producer): InPath<String>,
    InQuery(query): InQuery<FileQuery>,
) -> Result<Json<HoldList>, Problem> {
    admin.holds(&actor, query.subject(&producer)?).await
}

/// A hold of a producer, or of a version of a file of it.
#[utoipa::path(get, path = "/v1/producers/{producer}/holds/{name}", tag = "retention", operation_id = "producer_hold_show",
    params(("producer" = String, Path, description = "The producer's name."), ("name" = String, Path, description = "The hold's name."), FileQuery),
    responses(
        (status = 200, description = "The hold.", body = HoldShape),
        (status = 400, description = "A name or a version is wrong.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "There is no such producer, key or version, or no such hold on it.", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(in crate::admin) async fn producer_show(
    State(admin): State<Arc<Admin>>,
    Caller(actor): Caller,
    InPath((producer, name)): InPath<(String, String)>,
    InQuery(query): InQuery<FileQuery>,
) -> Result<Json<HoldShape>, Problem> {
    admin.hold(&actor, query.subject(&producer)?, &name).await
}

/// Places a hold on a producer, with all that it has and gets, or on a version of a file of it. One of that name that is
/// there already stays as it is.
#[utoipa::path(put, path = "/v1/producers/{producer}/holds/{name}", tag = "retention", operation_id = "producer_hold_put",
    params(("producer" = String, Path, description = "The producer's name."), ("name" = String, Path, description = "The hold's name: 1 to 63 lower-case letters, digits and hyphens."), FileQuery),
    request_body = HoldRequest,
    responses(
        (status = 200, description = "The hold, placed now or before.", body = HoldShape),
        (status = 400, description = "A name or a version is wrong, no reason is given, or the body is no JSON.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "The producer belongs to someone else.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "There is no such producer, key or version.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 405, description = "The version is a delete marker.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "The body is larger than 1 MiB.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "The body is not said to be JSON.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A field is unknown, missing or of the wrong type.", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(in crate::admin) async fn producer_put(
    State(admin): State<Arc<Admin>>,
    Caller(actor): Caller,
    InPath((producer, name)): InPath<(String, String)>,
    InQuery(query): InQuery<FileQuery>,
    InBody(request): InBody<HoldRequest>,
) -> Result<Json<HoldShape>, Problem> {
    admin.place(&actor, query.subject(&producer)?, &name, request).await
}

/// Releases a hold of a producer, or of a version of a file of it. One that is not there is released already.
#[utoipa::path(delete, path = "/v1/producers/{producer}/holds/{name}", tag = "retention", operation_id = "producer_hold_delete",
    params(("producer" = String, Path, description = "The producer's name."), ("name" = String, Path, description = "The hold's name."), FileReasonQuery),
    responses(
        (status = 204, description = "It is not held by it."),
        (status = 400, description = "A name or a version is wrong.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "The producer belongs to someone else.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "There is no such producer, key or version.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 405, description = "The version is a delete marker.", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(in crate::admin) async fn producer_delete(
    State(admin): State<Arc<Admin>>,
    Caller(actor): Caller,
    InPath((producer, name)): InPath<(String, String)>,
    InQuery(query): InQuery<FileReasonQuery>,
) -> Result<StatusCode, Problem> {
    let (query, reason) = query.split();
    admin.unhold(&actor, query.subject(&producer)?, &name, reason).await
}
