//! What the admin REST answers before it asks the registry anything.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::{AdminParts, router};
use crate::compose::{OpenMode, open_registry, root_tenant};
use crate::config::{SettingArgs, Settings};
use crate::telemetry::RequestCounts;

mod retention;

async fn admin(folder: &tempfile::TempDir) -> Router {
    let args = SettingArgs { data_dir: Some(folder.path().to_owned()), ..SettingArgs::default() };
    let opened = open_registry(&Settings::resolve(args).unwrap(), OpenMode::Create).await.unwrap();
    let counts = Arc::new(RequestCounts::default());
    router(AdminParts {
        registry: opened.registry,
        tenant: root_tenant(),
        token: "token-token".into(),
        sealer: None,
        collect_grace: std::time::Duration::from_secs(60),
        lifecycle_day: artifactstore_registry::model::lifecycle::DayLength::REAL,
        stop: CancellationToken::new(),
        counts: vec![("admin", Arc::clone(&counts))],
        own_counts: counts,
    })
}

async fn ask(admin: &Router, request: http::request::Builder, body: &str) -> (StatusCode, Response<()>, Value) {
    let response = admin.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let json = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    (parts.status, Response::from_parts(parts, ()), json)
}

fn with_token(method: &str, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(path).header(AUTHORIZATION, "bearer token-token")
}

fn assert_problem(answer: &(StatusCode, Response<()>, Value), status: u16, name: &str) {
    let (given, response, body) = answer;
    assert_eq!(given.as_u16(), status, "{body}");
    assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
    assert_eq!(body["type"], format!("urn:artifactstore:problem:{name}"), "{body}");
    assert_eq!(body["status"], status);
    let id = response.headers()["x-request-id"].to_str().unwrap();
    assert_eq!(body["instance"], format!("urn:artifactstore:request:{id}"));
}

#[tokio::test]
async fn nothing_behind_the_token_is_answered_without_it() {
    let folder = tempfile::tempdir().unwrap();
    let admin = admin(&folder).await;
    for header in [None, Some("Bearer wrong"), Some("Basic dG9rZW4tdG9rZW4="), Some("Bearer "), Some("token-token")] {
        for path in ["/v1/producers", "/v1/producers/abc", "/v1/events", "/v1/packages/x/manifest"] {
            let mut request = Request::builder().uri(path);
            if let Some(header) = header {
                request = request.header(AUTHORIZATION, header);
            }
            let answer = ask(&admin, request, "").await;
            assert_problem(&answer, 401, "unauthorized");
            assert!(answer.1.headers()[WWW_AUTHENTICATE].to_str().unwrap().starts_with("Bearer "));
        }
    }
    assert_eq!(ask(&admin, Request::builder().uri("/health/live"), "").await.0, StatusCode::OK);
}

#[tokio::test]
async fn what_cannot_be_understood_is_a_problem() {
    let folder = tempfile::tempdir().unwrap();
    let admin = admin(&folder).await;
    assert_problem(&ask(&admin, with_token("GET", "/v1/nowhere"), "").await, 404, "unknown-route");
    let wrong = ask(&admin, with_token("DELETE", "/v1/producers/abc"), "").await;
    assert_problem(&wrong, 405, "method-not-allowed");
    let allowed = wrong.1.headers()[ALLOW].to_str().unwrap();
    assert!(allowed.contains("GET") && allowed.contains("PUT"), "{allowed}");

    for (path, name) in [
        ("/v1/producers?limit=0", "invalid-argument"),
        ("/v1/producers?limit=many", "invalid-argument"),
        ("/v1/producers?lmit=1", "invalid-argument"),
        ("/v1/producers?cursor=!!", "invalid-argument"),
        ("/v1/producers/NOT", "invalid-bucket-name"),
        ("/v1/packages/not-a-uuid", "invalid-argument"),
        ("/v1/producers/abc/packages?state=shut", "invalid-argument"),
        ("/v1/events?since=-1", "invalid-argument"),
    ] {
        assert_problem(&ask(&admin, with_token("GET", path), "").await, 400, name);
    }
    let picky = with_token("GET", "/v1/events").header("accept", "image/png");
    assert_problem(&ask(&admin, picky, "").await, 406, "not-acceptable");
}

#[tokio::test]
async fn a_body_that_does_not_fit_is_refused_in_clear_words() {
    let folder = tempfile::tempdir().unwrap();
    let admin = admin(&folder).await;
    let put = || with_token("PUT", "/v1/producers/guide-board").header(CONTENT_TYPE, "application/json");
    for (body, status, name, words) in [
        ("{\"package_depth\":", 400, "malformed-json", "JSON"),
        ("{\"package_dept\":1}", 422, "invalid-body", "package_dept"),
        ("{\"package_depth\":\"1\"}", 422, "invalid-body", "package_depth"),
        ("{\"on_finalized\":\"maybe\"}", 422, "invalid-body", "maybe"),
        ("{\"retention_class\":\"Gold\"}", 400, "invalid-argument", "retention class"),
        ("{\"schema\":{}}", 422, "setting-not-available", "schema"),
    ] {
        let answer = ask(&admin, put(), body).await;
        assert_problem(&answer, status, name);
        assert!(answer.2["detail"].as_str().unwrap().contains(words), "{}", answer.2);
    }
    let large = format!("{{\"finalize_marker\":\"{}\"}}", "x".repeat(1 << 20));
    assert_problem(&ask(&admin, put(), &large).await, 413, "body-too-large");
    let bare = with_token("PUT", "/v1/producers/guide-board");
    assert_problem(&ask(&admin, bare, "{}").await, 415, "unsupported-media-type");
    let finalize = with_token("POST", "/v1/producers/abc/finalize").header(CONTENT_TYPE, "application/json");
    assert_problem(&ask(&admin, finalize, "{}").await, 422, "invalid-body");
}

const ROUTES: [(&str, &str); 47] = [
    ("post", "/v1/producers/{producer}/erase"),
    ("get", "/v1/packages/{id}/erasures"),
    ("post", "/v1/gc"),
    ("post", "/v1/lifecycle"),
    ("post", "/v1/verify"),
    ("get", "/v1/scrub"),
    ("post", "/v1/scrub"),
    ("get", "/v1/scrub/damage/{object}"),
    ("get", "/health/live"),
    ("get", "/health/ready"),
    ("get", "/health"),
    ("get", "/metrics"),
    ("get", "/openapi.json"),
    ("get", "/v1/producers"),
    ("get", "/v1/producers/{producer}"),
    ("put", "/v1/producers/{producer}"),
    ("get", "/v1/producers/{producer}/packages"),
    ("post", "/v1/producers/{producer}/finalize"),
    ("get", "/v1/packages/{id}"),
    ("get", "/v1/packages/{id}/files"),
    ("get", "/v1/packages/{id}/manifest"),
    ("post", "/v1/packages/{id}/finalize"),
    ("get", "/v1/events"),
    ("get", "/v1/keys"),
    ("post", "/v1/keys"),
    ("get", "/v1/keys/{access_key}"),
    ("delete", "/v1/keys/{access_key}"),
    ("post", "/v1/keys/{access_key}/rotate"),
    ("get", "/v1/retention-classes"),
    ("get", "/v1/retention-classes/{name}"),
    ("put", "/v1/retention-classes/{name}"),
    ("post", "/v1/retention-classes/{name}/simulate"),
    ("put", "/v1/packages/{id}/retention"),
    ("get", "/v1/packages/{id}/holds"),
    ("get", "/v1/packages/{id}/holds/{name}"),
    ("put", "/v1/packages/{id}/holds/{name}"),
    ("delete", "/v1/packages/{id}/holds/{name}"),
    ("get", "/v1/packages/{id}/eligibility"),
    ("post", "/v1/packages/{id}/release"),
    ("put", "/v1/producers/{producer}/retention"),
    ("get", "/v1/producers/{producer}/holds"),
    ("get", "/v1/producers/{producer}/holds/{name}"),
    ("put", "/v1/producers/{producer}/holds/{name}"),
    ("delete", "/v1/producers/{producer}/holds/{name}"),
    ("get", "/v1/producers/{producer}/eligibility"),
    ("get", "/v1/clock"),
    ("post", "/v1/clock/{event}/settle"),
];

#[tokio::test]
async fn the_description_lists_every_route_with_its_problems_and_every_schema_it_names() {
    let folder = tempfile::tempdir().unwrap();
    let admin = admin(&folder).await;
    let (status, _, document) = ask(&admin, Request::builder().uri("/openapi.json"), "").await;
    assert_eq!(status, StatusCode::OK);
    let paths = document["paths"].as_object().unwrap();
    let described: usize = paths.values().map(|item| item.as_object().unwrap().len()).sum();
    assert_eq!(described, ROUTES.len(), "{paths:#?}");
    for (method, path) in ROUTES {
        let operation = &paths[path][method];
        assert!(operation["operationId"].is_string() && operation["summary"].is_string(), "{method} {path}");
        let open = operation["security"] == serde_json::json!([{}]);
        assert_eq!(open, !path.starts_with("/v1/"), "{path}");
        if !open {
            let problem = &operation["responses"]["401"]["content"]["application/problem+json"]["schema"];
            assert_eq!(problem["$ref"], "#/components/schemas/Problem", "{path}");
        }
    }
    let text = document.to_string();
    for reference in text.split("#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(document["components"]["schemas"][name].is_object(), "{name}");
    }
    let queried = &paths["/v1/producers/{producer}/packages"]["get"]["parameters"];
    let names: Vec<_> = queried.as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["producer", "name", "state", "limit", "cursor"]);
    assert_eq!(document["components"]["securitySchemes"]["token"]["scheme"], "bearer");
}
