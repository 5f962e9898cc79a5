//! Retention classes: shown, made, changed, and tried out.

use std::sync::Arc;

use artifactstore_registry::model::name::ClassName;
use artifactstore_registry::model::retention::RetentionClass;
use artifactstore_registry::{Error, Refusal};
use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::shape::{ClassShape, ModeShape, PeriodShape, SimulationShape, StartShape, ThenShape};
use crate::admin::Admin;
use crate::admin::extract::{Caller, InBody, InPath};
use crate::admin::problem::{Problem, ProblemBody};

/// What a class is to be. What is left out has its default: a PUT replaces, it does not merge.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::admin) struct ClassRequest {
    /// How firmly it keeps.
    mode: ModeShape,
    /// How long.
    period: PeriodShape,
    /// What begins the period.
    #[serde(default = "ingest")]
    #[schema(default = "ingest")]
    start: StartShape,
    /// What follows.
    #[serde(default = "eligible")]
    #[schema(default = "eligible")]
    then: ThenShape,
    /// For people; at most 1,024 bytes.
    #[serde(default)]
    description: String,
    /// Whether its period may be shortened, in governance, by whoever may bypass it; can only be said when it is made.
    #[serde(default)]
    may_shorten: bool,
    /// Whether a class of governance may be shortened by this.
    #[serde(default)]
    bypass_governance: bool,
    /// Why, for the log; at most 1,024 bytes.
    #[serde(default)]
    reason: String,
}

const fn ingest() -> StartShape {
    StartShape::Ingest
}

const fn eligible() -> ThenShape {
    ThenShape::Eligible
}

impl ClassRequest {
    /// The class; whether governance is bypassed, and why.
    fn split(self) -> (RetentionClass, (bool, String)) {
        let class = RetentionClass {
            mode: self.mode.into(),
            then: self.then.into(),
            start: self.start.into(),
            period: self.period.into(),
            description: self.description,
            may_shorten: self.may_shorten,
        };
        (class, (self.bypass_governance, self.reason))
    }
}

/// All classes.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::admin) struct ClassList {
    /// The classes, by name.
    retention_classes: Vec<ClassShape>,
}

/// A class that is named in the path is looked for; one that a body names is an argument.
fn absent(error: Error) -> Problem {
    match error {
        Error::Refused(refusal @ Refusal::ClassMissing(_)) => {
            Problem::new(StatusCode::NOT_FOUND, "no-such-retention-class", format!("Here, {refusal}."))
        }
        error => error.into(),
    }
}

/// The retention classes, by name.
#[utoipa::path(get, path = "/v1/retention-classes", tag = "retention", operation_id = "retention_class_list",
    responses((status = 200, description = "The classes.", body = ClassList)))]
pub(in crate::admin) async fn list(State(admin): State<Arc<Admin>>) -> Result<Json<ClassList>, Problem> {
    let classes = admin.registry.class_list().await?;
    Ok(Json(ClassList { retention_classes: classes.iter().map(Into::into).collect() }))
}

/// A retention class.
#[utoipa::path(get, path = "/v1/retention-classes/{name}", tag = "retention", operation_id = "retention_class_show",
    params(("name" = String, Path, description = "The class's name.")),
    responses(
        (status = 200, description = "The class.", body = ClassShape),
        (status = 400, description = "That is no class's name.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "There is no such class.", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(in crate::admin) async fn show(
    State(admin): State<Arc<Admin>>,
    InPath(name): InPath<String>,
) -> Result<Json<ClassShape>, Problem> {
    let row = admin.registry.class_stat(&ClassName::parse(&name)?).await.map_err(absent)?;
    Ok(Json((&row).into()))
}

/// Makes a retention class, or changes one. What has the class is kept by it as it is now, whenever it was given it.
///
/// A class can always be made to keep more. It can be made to keep less only in governance, when it says of itself that
/// it may be shortened, and with `bypass_governance`.
#[utoipa::path(put, path = "/v1/retention-classes/{name}", tag = "retention", operation_id = "retention_class_put",
    params(("name" = String, Path, description = "The class's name: 1 to 63 lower-case letters, digits and hyphens.")),
    request_body = ClassRequest,
    responses(
        (status = 200, description = "The class as it is now.", body = ClassShape),
        (status = 400, description = "That is no class's name, no JSON, or a value that cannot be.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "It would keep less, and may not.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "The body is larger than 1 MiB.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "The body is not said to be JSON.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A field is unknown, missing or of the wrong type.", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(in crate::admin) async fn put(
    State(admin): State<Arc<Admin>>,
    Caller(actor): Caller,
    InPath(name): InPath<String>,
    InBody(request): InBody<ClassRequest>,
) -> Result<Json<ClassShape>, Problem> {
    let (class, by_right) = request.split();
    let row = admin.registry.class_set(&actor, &ClassName::parse(&name)?, class, by_right).await?;
    Ok(Json((&row).into()))
}

/// What would be let go if a class were so. Nothing is changed, and it is not asked whether the change would be allowed.
#[utoipa::path(post, path = "/v1/retention-classes/{name}/simulate", tag = "retention", operation_id = "retention_class_simulate",
    params(("name" = String, Path, description = "The class's name.")),
    request_body = ClassRequest,
    responses(
        (status = 200, description = "What would be let go.", body = SimulationShape),
        (status = 400, description = "That is no class's name, or no JSON.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "There is no such class.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "The body is larger than 1 MiB.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "The body is not said to be JSON.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A field is unknown, missing or of the wrong type.", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(in crate::admin) async fn simulate(
    State(admin): State<Arc<Admin>>,
    InPath(name): InPath<String>,
    InBody(request): InBody<ClassRequest>,
) -> Result<Json<SimulationShape>, Problem> {
    let (class, _) = request.split();
    let simulation = admin.registry.class_simulate(&ClassName::parse(&name)?, class).await.map_err(absent)?;
    Ok(Json((&simulation).into()))
}
