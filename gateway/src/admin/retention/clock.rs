//! The clock that expiry goes by, and its jumps.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::shape::{ClockShape, JumpShape};
use crate::admin::Admin;
use crate::admin::extract::{Caller, InBody, InPath};
use crate::admin::problem::{Problem, ProblemBody};

/// What the clock shows, the time that expiry goes by, and every jump that was recorded.
#[utoipa::path(get, path = "/v1/clock", tag = "retention", operation_id = "clock_show",
    responses((status = 200, description = "The clock.", body = ClockShape)))]
pub(in crate::admin) async fn show(State(admin): State<Arc<Admin>>) -> Result<Json<ClockShape>, Problem> {
    Ok(Json((&admin.registry.clock_report().await?).into()))
}

/// What an operator says of a jump.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::admin) struct SettleRequest {
    /// Whether the clock was right: the time did pass, and the gateway was stopped or its clock was wrong before.
    genuine: bool,
    /// Why, for the log; at most 1,024 bytes.
    #[serde(default)]
    reason: String,
}

/// Says of a jump whether the clock was right, so that expiry goes on. It can be said otherwise later. That it was
/// wrong is said once it is right again.
#[utoipa::path(post, path = "/v1/clock/{event}/settle", tag = "retention", operation_id = "clock_settle",
    params(("event" = u64, Path, description = "The event that recorded the jump.")),
    request_body = SettleRequest,
    responses(
        (status = 200, description = "The jump as it is now.", body = JumpShape),
        (status = 400, description = "That is no number, or the body is no JSON.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "That event recorded no jump.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "It was to be settled as wrong, and the clock still shows that time, or a later one.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "The body is larger than 1 MiB.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "The body is not said to be JSON.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A field is unknown, missing or of the wrong type.", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(in crate::admin) async fn settle(
    State(admin): State<Arc<Admin>>,
    Caller(actor): Caller,
    InPath(event): InPath<u64>,
    InBody(request): InBody<SettleRequest>,
) -> Result<Json<JumpShape>, Problem> {
    let jump = admin.registry.clock_settle(&actor, event, request.genuine, request.reason).await?;
    Ok(Json((&jump).into()))
}
