//! What a handler takes of a request; what cannot be taken is a problem, in the words of the request.

use std::sync::Arc;

use artifactstore_registry::model::event::Actor;
use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use http::header::USER_AGENT;
use http::request::Parts;
use serde::de::DeserializeOwned;

use super::Admin;
use super::problem::Problem;

/// The request's id, made at the door.
#[derive(Debug, Clone)]
pub(super) struct RequestId(pub(super) String);

/// Who asks.
pub(super) struct Caller(pub(super) Actor);

/// How many bytes of a `User-Agent` are kept.
const CLIENT_LIMIT: usize = 256;

impl FromRequestParts<Arc<Admin>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, admin: &Arc<Admin>) -> Result<Self, Problem> {
        let client = parts.headers.get(USER_AGENT).and_then(|value| value.to_str().ok());
        Ok(Self(Actor {
            tenant: admin.tenant.clone(),
            name: "admin".to_owned(),
            request_id: parts.extensions.get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default(),
            // `to_str` lets visible ASCII through only, so a cut never splits a character.
            client: client.map(|client| client.chars().take(CLIENT_LIMIT).collect()),
        }))
    }
}

/// The parameters in the path.
pub(super) struct InPath<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for InPath<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(taken) = Path::from_request_parts(parts, state)
            .await
            .map_err(|rejection| Problem::argument(rejection.body_text()))?;
        Ok(Self(taken))
    }
}

/// The parameters behind the question mark.
pub(super) struct InQuery<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for InQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(taken) = Query::from_request_parts(parts, state)
            .await
            .map_err(|rejection| Problem::argument(rejection.body_text()))?;
        Ok(Self(taken))
    }
}

/// The body.
pub(super) struct InBody<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for InBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let Json(taken) = Json::from_request(request, state).await.map_err(|rejection| {
            let status = rejection.status();
            match rejection {
                JsonRejection::JsonDataError(_) => Problem::new(status, "invalid-body", rejection.body_text()),
                JsonRejection::JsonSyntaxError(_) => Problem::new(status, "malformed-json", rejection.body_text()),
                JsonRejection::MissingJsonContentType(_) => {
                    Problem::new(status, "unsupported-media-type", "Send `Content-Type: application/json`.")
                }
                other if status == StatusCode::PAYLOAD_TOO_LARGE => {
                    Problem::new(status, "body-too-large", other.body_text())
                }
                other => Problem::new(status, "body-unreadable", other.body_text()),
            }
        })?;
        Ok(Self(taken))
    }
}

/// How many entries a page has when nobody says.
pub(super) const PAGE_DEFAULT: u32 = 100;

/// How many entries a page has at most.
pub(super) const PAGE_LIMIT: u32 = 1_000;

/// The size of a page.
pub(super) fn page_limit(asked: Option<u32>) -> Result<usize, Problem> {
    match asked.unwrap_or(PAGE_DEFAULT) {
        0 => Err(Problem::argument("The limit takes 1 or more.")),
        limit => Ok(limit.min(PAGE_LIMIT) as usize),
    }
}

/// A cursor: opaque to clients, so that what is in it can change.
pub(super) fn cursor(parts: &[&str]) -> String {
    URL_SAFE_NO_PAD.encode(parts.join("\0"))
}

/// The parts that a cursor was made of. No name holds a NUL.
pub(super) fn cursor_parts<const N: usize>(cursor: &str) -> Result<[String; N], Problem> {
    let text = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let parts: Option<Vec<String>> = text.map(|text| text.split('\0').map(str::to_owned).collect());
    parts
        .and_then(|parts| parts.try_into().ok())
        .ok_or_else(|| Problem::argument("The cursor is not one that this list gave out."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_as_it_was_and_no_other_passes() {
        let given = cursor(&["run/42 ü", "7"]);
        assert_eq!(cursor_parts::<2>(&given).ok(), Some(["run/42 ü".to_owned(), "7".to_owned()]));
        assert!(cursor_parts::<1>(&given).is_err());
        assert!(cursor_parts::<1>("!!").is_err());
    }

    #[test]
    fn pages_are_bounded() {
        assert_eq!(page_limit(None).ok(), Some(100));
        assert_eq!(page_limit(Some(1_000_000)).ok(), Some(1_000));
        assert!(page_limit(Some(0)).is_err());
    }
}
