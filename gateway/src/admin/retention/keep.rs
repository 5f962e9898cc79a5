//! What keeps packages and files: classes and locks given to them, and the release of finalized packages.

use std::sync::Arc;

use artifactstore_registry::actions::retention::RetentionOrder;
use artifactstore_registry::model::command::{RetentionChange, SubjectChoice};
use artifactstore_registry::model::name::{ClassName, PackageId};
use artifactstore_registry::model::retention::LockTerms;
use artifactstore_registry::{Error, Refusal};
use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;

use super::shape::{KeptByShape, ModeShape};
use super::{FileQuery, parse_moment};
use crate::admin::Admin;
use crate::admin::extract::{Caller, InBody, InPath, InQuery};
use crate::admin::problem::{Problem, ProblemBody};
use crate::admin::shape::PackageShape;

/// Either a class that it is given besides those that it has, or a lock in the place of the one that it has.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::admin) struct RetentionRequest {
    /// The class.
    #[serde(default)]
    #[schema(example = "project-record")]
    class: Option<String>,
    /// Until when it is locked, in RFC 3339; null takes the lock from it.
    #[serde(default, deserialize_with = "said")]
    #[schema(value_type = Option<String>, format = DateTime)]
    retain_until: Option<Option<String>>,
    /// How firmly it is locked: `governance`, when not said, or `compliance`.
    #[serde(default)]
    mode: Option<ModeShape>,
    /// Whether governance may be bypassed by this.
    #[serde(default)]
    bypass_governance: bool,
    /// Why, for the log; at most 1,024 bytes.
    #[serde(default)]
    reason: String,
}

/// Tells what is null from what is left out.
fn said<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::<String>::deserialize(deserializer).map(Some)
}

impl RetentionRequest {
    fn order(self, subject: SubjectChoice) -> Result<RetentionOrder, Problem> {
        let unfit = |detail: &str| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-body", detail);
        let change = match (self.class, self.retain_until) {
            (Some(class), None) if self.mode.is_none() => RetentionChange::Class(ClassName::parse(&class)?),
            (Some(_), None) => return Err(unfit("The mode of a class is the class's: leave \"mode\" out.")),
            (None, Some(None)) => RetentionChange::Lock(None),
            (None, Some(Some(until))) => {
                let retain_until = parse_moment(&until).ok_or_else(|| {
                    Problem::argument("The retain_until takes a time in RFC 3339, such as 2035-12-31T00:00:00Z.")
                })?;
                let mode = self.mode.unwrap_or(ModeShape::Governance).into();
                RetentionChange::Lock(Some(LockTerms { mode, retain_until }))
            }
            _ => return Err(unfit("Say either \"class\" or \"retain_until\".")),
        };
        Ok(RetentionOrder { subject, change, bypass: self.bypass_governance, reason: self.reason })
    }
}

/// Gives a package a retention class, or locks it until a time.
#[utoipa::path(put, path = "/v1/packages/{id}/retention", tag = "retention", operation_id = "package_retention_put",
    params(("id" = String, Path, description = "The revision's identifier, a UUID in lower case.")),
    request_body = RetentionRequest,
    responses(
        (status = 200, description = "What the package is kept by now.", body = KeptByShape),
        (status = 400, description = "A name or a time is wrong, there is no such class, or the body is no JSON.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "It would be kept less, and may not; the reasons say why.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "There is no such package.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "Its files were released: keep them one by one.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "The body is larger than 1 MiB.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "The body is not said to be JSON.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A field is unknown, missing or of the wrong type.", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(in crate::admin) async fn package(
    State(admin): State<Arc<Admin>>,
    Caller(actor): Caller,
    InPath(id): InPath<String>,
    InBody(request): InBody<RetentionRequest>,
) -> Result<Json<KeptByShape>, Problem> {
    let order = request.order(SubjectChoice::Package(PackageId::parse(&id)?))?;
    Ok(Json((&admin.registry.retention_set(&actor, order).await?).into()))
}

/// Gives a version of a file a retention class, or locks it until a time.
#[utoipa::path(put, path = "/v1/producers/{producer}/retention", tag = "retention", operation_id = "file_retention_put",
    params(("producer" = String, Path, description = "The producer's name."), FileQuery),
    request_body = RetentionRequest,
    responses(
        (status = 200, description = "What the version is kept by now.", body = KeptByShape),
        (status = 400, description = "A name or a time is wrong, no key is said, there is no such class, or the body is no JSON.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "It would be kept less, and may not; the reasons say why.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "There is no such producer, key or version.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 405, description = "The version is a delete marker.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "The body is larger than 1 MiB.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "The body is not said to be JSON.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A field is unknown, missing or of the wrong type.", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(in crate::admin) async fn file(
    State(admin): State<Arc<Admin>>,
    Caller(actor): Caller,
    InPath(producer): InPath<String>,
    InQuery(query): InQuery<FileQuery>,
    InBody(request): InBody<RetentionRequest>,
) -> Result<Json<KeptByShape>, Problem> {
    let (name, version) = query.file_needed(&producer)?;
    let order = request.order(SubjectChoice::File(name, version))?;
    Ok(Json((&admin.registry.retention_set(&actor, order).await?).into()))
}

/// Why.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::admin) struct ReleaseRequest {
    /// Why, for the log; at most 1,024 bytes.
    reason: String,
}

/// Lets the files of a finalized package be removed, as far as nothing keeps them one by one.
///
/// The seal and the manifest stay, and the package takes no new files by it. Doing it again answers the same.
#[utoipa::path(post, path = "/v1/packages/{id}/release", tag = "retention", operation_id = "package_release",
    params(("id" = String, Path, description = "The revision's identifier, a UUID in lower case.")),
    request_body = ReleaseRequest,
    responses(
        (status = 200, description = "It is released, now or since before.", body = PackageShape),
        (status = 400, description = "That is no identifier, or the body is no JSON.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "Something keeps it; the reasons say what.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "There is no such package.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "The package is open, so that it keeps nothing; or a later revision is finalized, and is the one to release.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "The body is larger than 1 MiB.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "The body is not said to be JSON.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A field is unknown, missing or of the wrong type.", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(in crate::admin) async fn release(
    State(admin): State<Arc<Admin>>,
    Caller(actor): Caller,
    InPath(id): InPath<String>,
    InBody(request): InBody<ReleaseRequest>,
) -> Result<Json<PackageShape>, Problem> {
    let released = admin.registry.package_release(&actor, &PackageId::parse(&id)?, request.reason).await;
    let package = released.map_err(|error| match error {
        Error::Refused(Refusal::PackageOpen) => {
            let detail = "The package is not finalized, so that there is nothing to release.";
            Problem::new(StatusCode::CONFLICT, "package-open", detail)
        }
        error => error.into(),
    })?;
    Ok(Json((&package).into()))
}
