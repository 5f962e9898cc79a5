//! Failures on the admin side: `application/problem+json` (RFC 9457), from the same table as S3's error XML.
//!
//! Invariant: a 5xx body says nothing of the cause; the cause is logged once, with the request's id.

use std::sync::Arc;

use artifactstore_registry::model::name::InvalidName;
use artifactstore_registry::{Error, Refusal};
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use super::retention::shape::ReasonShape;
use crate::error::Failure;
use crate::telemetry::chain;

/// The media type of a problem.
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";

/// What went wrong, as the client gets to see it (RFC 9457).
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody {
    /// `urn:artifactstore:problem:` and a name that stays the same: what a program may act on.
    #[serde(rename = "type")]
    #[schema(example = "urn:artifactstore:problem:package-open")]
    kind: String,
    /// The name in words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What is wrong with this request, for people.
    detail: String,
    /// `urn:artifactstore:request:` and the request's id, which the log names too.
    instance: String,
    /// Where something is kept: every reason that forbids what was asked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<ReasonShape>,
}

/// A problem on its way out. It becomes a body once the request's id is known, in [`Problem::render`].
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    status: StatusCode,
    name: String,
    detail: String,
    cause: Option<Arc<Failure>>,
}

impl Problem {
    /// A problem of the request itself; the name is in kebab case.
    pub(crate) fn new(status: StatusCode, name: &str, detail: impl Into<String>) -> Self {
        Self { status, name: name.to_owned(), detail: detail.into(), cause: None }
    }

    /// An argument of the request has a value that it cannot have.
    pub(crate) fn argument(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid-argument", detail)
    }

    /// Puts the problem that a response carries into its body; any other response stays as it is.
    pub(crate) fn render(mut response: Response, request_id: &str) -> Response {
        let Some(problem) = response.extensions_mut().remove::<Self>() else { return response };
        if let Some(cause) = problem.cause.as_deref().filter(|_| problem.status.is_server_error()) {
            tracing::error!(request_id, error = chain(cause), "an admin request failed");
        }
        let body = problem.body(request_id);
        if !body.reasons.is_empty() {
            tracing::warn!(request_id, reason = body.detail, "something that is kept was not let go");
        }
        let headers = response.headers_mut();
        headers.remove(CONTENT_LENGTH);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if problem.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        *response.body_mut() = Body::from(serde_json::to_vec(&body).unwrap_or_default());
        response
    }

    fn body(&self, request_id: &str) -> ProblemBody {
        let words = self.name.replace('-', " ");
        let (first, rest) = words.split_at(words.len().min(1));
        ProblemBody {
            kind: format!("urn:artifactstore:problem:{}", self.name),
            title: first.to_uppercase() + rest,
            status: self.status.as_u16(),
            detail: self.detail.clone(),
            instance: format!("urn:artifactstore:request:{request_id}"),
            reasons: match self.cause.as_deref() {
                Some(Failure::Registry(Error::Refused(Refusal::Kept(reasons)))) => {
                    reasons.iter().map(Into::into).collect()
                }
                _ => Vec::new(),
            },
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        let face = failure.face();
        Self { status: face.status, name: kebab(face.code), detail: face.message, cause: Some(Arc::new(failure)) }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Failure::from(error).into()
    }
}

impl From<InvalidName> for Problem {
    fn from(invalid: InvalidName) -> Self {
        Failure::from(invalid).into()
    }
}

/// `NoSuchBucket` as `no-such-bucket`.
fn kebab(code: &str) -> String {
    let mut name = String::with_capacity(code.len() + 4);
    let mut before_was_lower = false;
    for c in code.chars() {
        if c.is_ascii_uppercase() && before_was_lower {
            name.push('-');
        }
        before_was_lower = c.is_ascii_lowercase();
        name.push(c.to_ascii_lowercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_becomes_a_problem_with_its_words() {
        let problem = Problem::from(Failure::from(Refusal::PackageOpen));
        let body = serde_json::to_value(problem.body("r1")).unwrap();
        assert_eq!(
            body,
            serde_json::json!({
                "type": "urn:artifactstore:problem:package-open",
                "title": "Package open",
                "status": 409,
                "detail": "The package is not finalized, so it has no manifest.",
                "instance": "urn:artifactstore:request:r1",
            })
        );
        assert_eq!(kebab("MalformedXML"), "malformed-xml");
    }

    #[test]
    fn a_server_error_keeps_its_cause_to_itself() {
        let body = Problem::from(Error::LogUnwritable(std::sync::Arc::new(Error::SchemaOlder))).body("r1");
        assert_eq!(body.status, 500);
        assert!(!body.detail.contains("log"), "{}", body.detail);
    }
}
