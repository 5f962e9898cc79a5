//! Packages: their revisions, files and manifests.

use std::sync::Arc;

use artifactstore_registry::actions::request::{PackageCursor, PackageFilter};
use artifactstore_registry::model::manifest::Manifest;
use artifactstore_registry::model::name::{Key, PackageId, PackageName, ProducerName};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Admin;
use super::accept;
use super::document::{Binary, ManifestDocument};
use super::extract::{Caller, InPath, InQuery, cursor, cursor_parts, page_limit};
use super::problem::{Problem, ProblemBody};
use super::shape::{FileShape, PackageShape, PackageState};

/// Which packages of a producer.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PackageQuery {
    /// Only revisions of exactly this package; empty for the root package.
    name: Option<String>,
    /// Only open ones, or only finalized ones.
    #[param(inline)]
    state: Option<PackageState>,
    /// How many at most; 100 when not said, 1000 at most.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// A page of packages.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PackagePage {
    /// The revisions of packages, by name and revision.
    packages: Vec<PackageShape>,
    /// Where the next page begins; null at the end.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// The packages of a producer, by name and revision.
#[utoipa::path(get, path = "/v1/producers/{producer}/packages", tag = "packages", operation_id = "package_list",
    params(("producer" = String, Path, description = "The producer's name."), PackageQuery),
    responses(
        (status = 200, description = "A page of packages.", body = PackagePage),
        (status = 400, description = "A name or a parameter is wrong.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "There is no such producer.", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn list(
    State(admin): State<Arc<Admin>>,
    Caller(actor): Caller,
    InPath(producer): InPath<String>,
    InQuery(query): InQuery<PackageQuery>,
) -> Result<Json<PackagePage>, Problem> {
    let producer = ProducerName::parse(&producer)?;
    let limit = page_limit(query.limit)?;
    let filter = PackageFilter {
        name: query.name.as_deref().map(PackageName::parse).transpose()?,
        finalized: query.state.map(|state| state == PackageState::Finalized),
    };
    let after = match query.cursor {
        Some(text) => {
            let [name, revision] = cursor_parts(&text)?;
            let revision = revision.parse().map_err(|_| Problem::argument("The cursor is not one of this list."))?;
            Some(PackageCursor { name: PackageName::parse(&name)?, revision })
        }
        None => None,
    };
    let found = admin.registry.package_list(&actor, &producer, &filter, after.as_ref(), limit).await?;
    let last = found.last().filter(|_| found.len() == limit);
    let next_cursor = last.map(|last| cursor(&[last.name.as_str(), &last.revision.to_string()]));
    Ok(Json(PackagePage { packages: found.iter().map(Into::into).collect(), next_cursor }))
}

/// One revision of a package.
#[utoipa::path(get, path = "/v1/packages/{id}", tag = "packages", operation_id = "package_show",
    params(("id" = String, Path, description = "The revision's identifier, a UUID in lower case.")),
    responses(
        (status = 200, description = "The package.", body = PackageShape),
        (status = 400, description = "That is no identifier.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "There is no such package.", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn show(
    State(admin): State<Arc<Admin>>,
    Caller(actor): Caller,
    InPath(id): InPath<String>,
) -> Result<Json<PackageShape>, Problem> {
    let package = admin.registry.package_stat(&actor, &PackageId::parse(&id)?).await?;
    Ok(Json((&package).into()))
}

/// Which page of a package's files.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct FileQuery {
    /// How many at most; 100 when not said, 1000 at most.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

impl FileQuery {
    /// The key behind which the page begins, and its size.
    pub(super) fn page(&self) -> Result<(Option<Key>, usize), Problem> {
        let limit = page_limit(self.limit)?;
        let Some(cursor) = &self.cursor else { return Ok((None, limit)) };
        let [key] = cursor_parts(cursor)?;
        Ok((Some(Key::parse(&key)?), limit))
    }
}

/// A page of files.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FilePage {
    /// The files, in key order.
    files: Vec<FileShape>,
    /// Where the next page begins; null at the end.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// The files of a package, in key order: of a finalized one those of its manifest, of an open one those named now.
#[utoipa::path(get, path = "/v1/packages/{id}/files", tag = "packages", operation_id = "package_files",
    params(("id" = String, Path, description = "The revision's identifier, a UUID in lower case."), FileQuery),
    responses(
        (status = 200, description = "A page of files.", body = FilePage),
        (status = 400, description = "The identifier or a parameter is wrong.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "There is no such package.", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn files(
    State(admin): State<Arc<Admin>>,
    Caller(actor): Caller,
    InPath(id): InPath<String>,
    InQuery(query): InQuery<FileQuery>,
) -> Result<Json<FilePage>, Problem> {
    let (id, (after, limit)) = (PackageId::parse(&id)?, query.page()?);
    let found = admin.registry.package_files(&actor, &id, after.as_ref(), limit).await?;
    let next_cursor = found.last().filter(|_| found.len() == limit).map(|last| cursor(&[last.name.key.as_str()]));
    Ok(Json(FilePage { files: found.iter().map(Into::into).collect(), next_cursor }))
}

const MANIFEST_TYPES: [&str; 2] = ["application/cbor", "application/json"];

/// The manifest of a finalized package: canonical CBOR, or its JSON projection (JCS) when `Accept` prefers that.
///
/// The ETag is the manifest's digest, the BLAKE3 of the CBOR, for both.
#[utoipa::path(get, path = "/v1/packages/{id}/manifest", tag = "packages", operation_id = "package_manifest",
    params(
        ("id" = String, Path, description = "The revision's identifier, a UUID in lower case."),
        ("If-None-Match" = Option<String>, Header, description = "The ETag of a manifest that is here already."),
    ),
    responses(
        (status = 200, description = "The manifest.",
            headers(("ETag" = String, description = "The manifest's digest, `\"blake3:<hex>\"`.")),
            content((Binary = "application/cbor"), (ManifestDocument = "application/json"))),
        (status = 304, description = "It is the one that is there already."),
        (status = 400, description = "That is no identifier.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "There is no such package.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 406, description = "Neither CBOR nor JSON will do.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "The package is open, so it has no manifest yet.", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn manifest(
    State(admin): State<Arc<Admin>>,
    Caller(actor): Caller,
    InPath(id): InPath<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id = PackageId::parse(&id)?;
    let media_type = accept::choose(&headers, &MANIFEST_TYPES)?;
    let bytes = admin.registry.package_manifest(&actor, &id).await?;
    let etag = format!("\"{}\"", Manifest::digest(&bytes));
    let known = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = known.flat_map(|value| value.split(',')).map(|tag| tag.trim().trim_start_matches("W/"));
    if tags.any(|tag| tag == etag || tag == "*") {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, etag), (VARY, "accept".to_owned())]).into_response());
    }
    let body = if media_type == "application/json" { projection(&bytes)? } else { bytes };
    let head = [(CONTENT_TYPE, media_type.to_owned()), (ETAG, etag), (VARY, "accept".to_owned())];
    Ok((head, body).into_response())
}

fn projection(bytes: &[u8]) -> Result<Vec<u8>, Problem> {
    let manifest = Manifest::decode(bytes).map_err(|error| {
        tracing::error!(%error, "a stored manifest cannot be read");
        let detail = "The stored manifest cannot be read; `artifactstore verify` says more.";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "manifest-damaged", detail)
    })?;
    Ok(manifest.to_json())
}
