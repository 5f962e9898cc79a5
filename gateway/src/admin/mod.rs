//! The admin REST: one file per resource. A listener of its own; S3 clients never reach it.
//!
//! Invariant: without the token, nothing but health, metrics and the description is answered.

mod accept;
mod collect;
mod document;
mod events;
mod extract;
mod finalize;
mod health;
pub(crate) mod keys;
mod lifecycle;
mod packages;
mod problem;
mod producers;
pub(crate) mod retention;
mod scrub;
pub(crate) mod shape;

pub(crate) use health::HealthShape;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use artifactstore_registry::Registry;
use artifactstore_registry::clock::Entropy;
use artifactstore_registry::model::lifecycle::DayLength;
use artifactstore_registry::model::name::TenantName;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use subtle::ConstantTimeEq;
use tokio_util::sync::CancellationToken;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::compose::SystemEntropy;
use crate::config::Secret;
use crate::secrets::Sealer;
use crate::telemetry::RequestCounts;
use extract::RequestId;
use problem::Problem;

/// How large a body may be: settings and names, never files.
const BODY_LIMIT_BYTES: usize = 1 << 20;

/// What the admin REST is made of.
#[derive(Debug)]
pub struct AdminParts {
    /// Whom it asks.
    pub registry: Registry,
    /// The tenant that it acts for.
    pub tenant: TenantName,
    /// The bearer token.
    pub token: Secret,
    /// What seals the secrets of access keys; `None` when none can be made.
    pub sealer: Option<Arc<Sealer>>,
    /// How long what is condemned is kept, when whoever asks does not say.
    pub collect_grace: Duration,
    /// How long the days of lifecycle rules are.
    pub lifecycle_day: DayLength,
    /// Ends what would wait or stream on, when the gateway stops.
    pub stop: CancellationToken,
    /// The counts that `/metrics` shows, by listener.
    pub counts: Vec<(&'static str, Arc<RequestCounts>)>,
    /// Where its own requests are counted.
    pub own_counts: Arc<RequestCounts>,
}

/// What every handler shares.
struct Admin {
    registry: Registry,
    tenant: TenantName,
    token_hash: blake3::Hash,
    sealer: Option<Arc<Sealer>>,
    collect_grace: Duration,
    lifecycle_day: DayLength,
    stop: CancellationToken,
    counts: Vec<(&'static str, Arc<RequestCounts>)>,
    own_counts: Arc<RequestCounts>,
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").field("tenant", &self.tenant).finish_non_exhaustive()
    }
}

/// The admin REST.
pub fn router(parts: AdminParts) -> Router {
    let admin = Arc::new(Admin {
        registry: parts.registry,
        tenant: parts.tenant,
        token_hash: blake3::hash(parts.token.expose().as_bytes()),
        sealer: parts.sealer,
        collect_grace: parts.collect_grace,
        lifecycle_day: parts.lifecycle_day,
        stop: parts.stop,
        counts: parts.counts,
        own_counts: parts.own_counts,
    });
    let (open, behind_token) = routes();
    let behind_token = behind_token.route_layer(middleware::from_fn_with_state(Arc::clone(&admin), require_token));
    let (router, document) =
        OpenApiRouter::with_openapi(document::Base::openapi()).merge(open).merge(behind_token).split_for_parts();
    let document = serde_json::to_vec(&document::complete(document)).unwrap_or_default();
    router
        .fallback(unknown_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(Extension(document::Ready(document.into())))
        .layer(DefaultBodyLimit::max(BODY_LIMIT_BYTES))
        .layer(middleware::from_fn_with_state(Arc::clone(&admin), at_the_door))
        .with_state(admin)
}

/// The routes that anyone may take, and those behind the token.
fn routes() -> (OpenApiRouter<Arc<Admin>>, OpenApiRouter<Arc<Admin>>) {
    let open = OpenApiRouter::default()
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(health::detail))
        .routes(routes!(health::metrics))
        .routes(routes!(document::show));
    let behind_token = OpenApiRouter::default()
        .routes(routes!(producers::list))
        .routes(routes!(producers::show, producers::put))
        .routes(routes!(packages::list))
        .routes(routes!(finalize::by_name))
        .routes(routes!(packages::show))
        .routes(routes!(packages::files))
        .routes(routes!(packages::manifest))
        .routes(routes!(finalize::by_id))
        .routes(routes!(events::list))
        .routes(routes!(keys::list, keys::create))
        .routes(routes!(keys::show, keys::revoke))
        .routes(routes!(keys::rotate))
        .routes(routes!(collect::collect))
        .routes(routes!(lifecycle::lifecycle))
        .routes(routes!(scrub::verify))
        .routes(routes!(scrub::show, scrub::begin))
        .routes(routes!(scrub::one))
        .merge(retention::routes());
    (open, behind_token)
}

/// Gives the request its id, and the answer the same; puts problems into words; counts.
async fn at_the_door(State(admin): State<Arc<Admin>>, mut request: Request, next: Next) -> Response {
    let id = hex::encode(SystemEntropy.fresh());
    request.extensions_mut().insert(RequestId(id.clone()));
    let mut response = Problem::render(next.run(request).await, &id);
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert("x-request-id", value);
    }
    admin.own_counts.count(response.status());
    response
}

async fn require_token(State(admin): State<Arc<Admin>>, request: Request, next: Next) -> Response {
    let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = header.and_then(|header| header.split_once(' '));
    let token = given.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
    // Hashes are compared, so that neither the token's bytes nor its length can be told from how long it takes.
    let hash = blake3::hash(token.unwrap_or_default().as_bytes());
    let right = hash.as_bytes().ct_eq(admin.token_hash.as_bytes());
    if token.is_some() && bool::from(right) {
        return next.run(request).await;
    }
    let (challenge, detail) = match token {
        Some(_) => ("Bearer realm=\"artifactstore\", error=\"invalid_token\"", "The token is wrong."),
        None => ("Bearer realm=\"artifactstore\"", "Send `Authorization: Bearer <admin token>`."),
    };
    let problem = Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail);
    let mut response = problem.into_response();
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    response
}

async fn unknown_route() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "unknown-route",
        "There is nothing at this path; /openapi.json lists what there is.",
    )
}

async fn wrong_method() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "This path does not take this method.")
}

#[cfg(test)]
mod tests;
