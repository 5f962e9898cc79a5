//! `/openapi.json`: the description of every route, made from the handlers themselves.

use axum::Extension;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Content, OpenApi as Document, Ref, RefOr, ResponseBuilder};
use utoipa::{Modify, OpenApi, PartialSchema, ToSchema};

use super::problem::{self, ProblemBody};

/// What the description begins with; the routes add themselves.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "artifact-store admin REST",
        description = "Producers, packages, manifests, retention and the event log of an artifact-store gateway. Every answer has an `x-request-id`; every error is a problem (RFC 9457)."
    ),
    components(schemas(ProblemBody)),
    modifiers(&Token),
    security(("token" = [])),
    tags(
        (name = "health", description = "How the gateway is; needs no token."),
        (name = "producers", description = "Producers, which S3 calls buckets."),
        (name = "keys", description = "Access keys of tenants, and what each may do."),
        (name = "packages", description = "Packages, their files and manifests."),
        (name = "retention", description = "Why things are kept, and until when."),
        (name = "events", description = "The append-only log."),
        (name = "garbage", description = "What nothing keeps, and its collection; what goes by itself."),
        (name = "scrub", description = "Whether the bytes are as they were stored."),
    ),
)]
pub(super) struct Base;

struct Token;

impl Modify for Token {
    fn modify(&self, document: &mut Document) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("The admin token: `ARTIFACTSTORE_ADMIN_TOKEN`, or the one in `<data dir>/credentials`."))
            .build();
        document.components.get_or_insert_default().add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

/// The JSON projection of a manifest, which the registry defines; here is only its description.
pub(super) struct ManifestDocument;

const MANIFEST_SCHEMA: &str = include_str!("manifest.schema.json");

impl PartialSchema for ManifestDocument {
    fn schema() -> RefOr<Schema> {
        let parsed: Result<Schema, _> = serde_json::from_str(MANIFEST_SCHEMA);
        assert!(parsed.is_ok(), "the schema next to this file is one: {:?}", parsed.err());
        RefOr::T(parsed.unwrap_or_default())
    }
}

impl ToSchema for ManifestDocument {
    fn name() -> std::borrow::Cow<'static, str> {
        "Manifest".into()
    }
}

/// Adds what every route behind the token can answer.
pub(super) fn complete(mut document: Document) -> Document {
    for (path, item) in &mut document.paths.paths {
        if !path.starts_with("/v1/") {
            continue;
        }
        for operation in [&mut item.get, &mut item.put, &mut item.post, &mut item.delete].into_iter().flatten() {
            add(operation, "401", "The token is missing or wrong.");
            add(operation, "500", "The gateway failed; its log says why.");
            add(operation, "503", "The gateway is busy or stopping; try again.");
        }
    }
    document
}

fn add(operation: &mut Operation, status: &str, description: &str) {
    let schema = Ref::from_schema_name(ProblemBody::name());
    let response = ResponseBuilder::new()
        .description(description)
        .content(problem::MEDIA_TYPE, Content::new(Some(schema)))
        .build();
    operation.responses.responses.entry(status.to_owned()).or_insert_with(|| response.into());
}

/// Bytes, which JSON Schema has no better words for.
pub(super) struct Binary;

impl PartialSchema for Binary {
    fn schema() -> RefOr<Schema> {
        let format = SchemaFormat::KnownFormat(KnownFormat::Binary);
        Schema::from(ObjectBuilder::new().schema_type(Type::String).format(Some(format))).into()
    }
}

impl ToSchema for Binary {}

/// The description, ready to be sent.
#[derive(Debug, Clone)]
pub(super) struct Ready(pub(super) Bytes);

/// This description.
#[utoipa::path(get, path = "/openapi.json", tag = "health", operation_id = "openapi", security(()),
    responses((status = 200, description = "An OpenAPI document.", body = Object, content_type = "application/json")))]
pub(super) async fn show(Extension(Ready(document)): Extension<Ready>) -> Response {
    ([(CONTENT_TYPE, "application/json")], document).into_response()
}
