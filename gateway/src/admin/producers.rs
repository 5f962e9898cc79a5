//! Producers: what they are set to, and what they hold.

use std::sync::Arc;

use artifactstore_registry::model::name::{ClassName, InvalidName, ProducerName};
use artifactstore_registry::model::retention::RetentionRule;
use artifactstore_registry::model::row::{OnFinalized, ProducerSettings};
use artifactstore_registry::{Error, Refusal};
use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Admin;
use super::extract::{Caller, InBody, InPath, InQuery, cursor, cursor_parts, page_limit};
use super::problem::{Problem, ProblemBody};
use super::shape::{AnonymousReadShape, OnFinalizedShape, ProducerShape, RetentionRuleShape};

/// A producer's settings. What is left out has its default: a PUT replaces, it does not merge.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ProducerSettings)]
pub(super) struct ProducerSettingsShape {
    /// How many leading segments of a key name its package, 0 to 16; 0 makes the whole bucket one package.
    #[serde(default = "default_depth")]
    #[schema(default = 1, maximum = 16)]
    package_depth: u32,
    /// The retention class that new files are given; null or `none` for no class.
    #[serde(default)]
    retention_class: Option<String>,
    /// Retention classes that new files are given besides, by what their keys begin with; at most 100.
    #[serde(default)]
    retention_rules: Vec<RetentionRuleShape>,
    /// A pattern of relative paths (`_SUCCESS`, `*.done`): a file that matches finalizes its package.
    #[serde(default)]
    finalize_marker: Option<String>,
    /// How many seconds without a write finalize a package by themselves.
    #[serde(default)]
    finalize_after_idle_seconds: Option<u64>,
    /// What a write under a finalized package does.
    #[serde(default = "default_on_finalized")]
    #[schema(default = "refuse")]
    on_finalized: OnFinalizedShape,
    /// What anyone may read without a key.
    #[serde(default)]
    #[schema(default = "off")]
    anonymous_read: AnonymousReadShape,
    /// Null: this version checks no schemas.
    #[serde(default)]
    schema: Option<serde_json::Value>,
}

fn default_depth() -> u32 {
    ProducerSettings::default().package_depth
}

fn default_on_finalized() -> OnFinalizedShape {
    OnFinalized::default().into()
}

impl TryFrom<ProducerSettingsShape> for ProducerSettings {
    type Error = Problem;

    fn try_from(shape: ProducerSettingsShape) -> Result<Self, Problem> {
        let refuse = |detail: String| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "setting-not-available", detail);
        let class = shape.retention_class.filter(|class| class != "none");
        let retention_class = class.as_deref().map(ClassName::parse).transpose()?;
        let rules = shape.retention_rules.into_iter();
        let rules = rules.map(|rule| Ok(RetentionRule { class: ClassName::parse(&rule.class)?, prefix: rule.prefix }));
        let retention_rules = rules.collect::<Result<Vec<_>, InvalidName>>()?;
        if shape.schema.is_some_and(|schema| !schema.is_null()) {
            return Err(refuse("This version checks no metadata schemas: leave \"schema\" out, or null.".to_owned()));
        }
        Ok(Self {
            on_finalized: shape.on_finalized.into(),
            package_depth: shape.package_depth,
            anonymous_read: shape.anonymous_read.into(),
            finalize_marker: shape.finalize_marker,
            retention_class,
            retention_rules,
            finalize_after_idle_seconds: shape.finalize_after_idle_seconds,
        })
    }
}

/// Which page of the producers.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ProducerQuery {
    /// How many at most; 100 when not said, 1000 at most.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// A page of producers.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ProducerPage {
    /// The producers, by name.
    producers: Vec<ProducerShape>,
    /// Where the next page begins; null at the end.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// The producers, by name.
#[utoipa::path(get, path = "/v1/producers", tag = "producers", operation_id = "producer_list", params(ProducerQuery),
    responses(
        (status = 200, description = "A page of producers.", body = ProducerPage),
        (status = 400, description = "A parameter is wrong.", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn list(
    State(admin): State<Arc<Admin>>,
    Caller(actor): Caller,
    InQuery(query): InQuery<ProducerQuery>,
) -> Result<Json<ProducerPage>, Problem> {
    let limit = page_limit(query.limit)?;
    let after = match query.cursor {
        Some(text) => {
            let [name] = cursor_parts(&text)?;
            Some(ProducerName::parse(&name)?)
        }
        None => None,
    };
    let found = admin.registry.producer_list(&actor, after.as_ref(), limit).await?;
    let next_cursor = found.last().filter(|_| found.len() == limit).map(|last| cursor(&[last.name.as_str()]));
    Ok(Json(ProducerPage { producers: found.iter().map(Into::into).collect(), next_cursor }))
}

/// A producer.
#[utoipa::path(get, path = "/v1/producers/{producer}", tag = "producers", operation_id = "producer_show",
    params(("producer" = String, Path, description = "The producer's name.")),
    responses(
        (status = 200, description = "The producer.", body = ProducerShape),
        (status = 400, description = "That is no producer's name.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "There is no such producer.", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn show(
    State(admin): State<Arc<Admin>>,
    Caller(actor): Caller,
    InPath(producer): InPath<String>,
) -> Result<Json<ProducerShape>, Problem> {
    let producer = admin.registry.producer_stat(&actor, &ProducerName::parse(&producer)?).await?;
    Ok(Json((&producer).into()))
}

/// Creates a producer with these settings, or replaces the settings of one that is there.
#[utoipa::path(put, path = "/v1/producers/{producer}", tag = "producers", operation_id = "producer_put",
    params(("producer" = String, Path, description = "The producer's name.")),
    request_body = ProducerSettingsShape,
    responses(
        (status = 200, description = "It was there, and has these settings now.", body = ProducerShape),
        (status = 201, description = "It was created.", body = ProducerShape),
        (status = 400, description = "That is no producer's name, no JSON, or a setting that cannot be so.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "The producer belongs to someone else.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "The body is larger than 1 MiB.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "The body is not said to be JSON.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A field is unknown, of the wrong type, or not available in this version.", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn put(
    State(admin): State<Arc<Admin>>,
    Caller(actor): Caller,
    InPath(producer): InPath<String>,
    InBody(shape): InBody<ProducerSettingsShape>,
) -> Result<(StatusCode, Json<ProducerShape>), Problem> {
    let name = ProducerName::parse(&producer)?;
    let settings = ProducerSettings::try_from(shape)?;
    // Asked to create it first, the log itself says whether it was there: a look before would race with others.
    match admin.registry.producer_create(&actor, &name, settings.clone()).await {
        Ok(created) => Ok((StatusCode::CREATED, Json((&created).into()))),
        Err(Error::Refused(Refusal::ProducerOwned(_))) => {
            let configured = admin.registry.producer_configure(&actor, &name, settings).await?;
            Ok((StatusCode::OK, Json((&configured).into())))
        }
        Err(error) => Err(error.into()),
    }
}
