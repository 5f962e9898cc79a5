//! Whether the bytes are as they were stored: what was read again, and what was found damaged.

use std::sync::Arc;

use artifactstore_registry::Registry;
use artifactstore_registry::actions::scrub::ScrubReport;
use artifactstore_registry::backends::digest::{ContentAddress, ObjectKey};
use artifactstore_registry::model::row::{File, Package};
use artifactstore_registry::model::scrub::{DamagedObject, ScrubPass};
use artifactstore_registry::store::scrubbing::FileCursor;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Admin;
use super::extract::{Caller, InPath, InQuery, cursor, cursor_parts, page_limit};
use super::problem::{Problem, ProblemBody};

/// How many files of each damaged object stand in the list of all; the others are at the object's own.
const FILES_LISTED: usize = 100;
/// How many manifests of a damaged object are named.
const MANIFESTS_LISTED: usize = 100;

/// One pass over all objects.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ScrubPass)]
struct PassShape {
    /// The event that began it.
    event: u64,
    /// When that was.
    #[schema(format = DateTime)]
    begun_at: String,
    /// Objects that were read. Of a pass that is under way: when it was last recorded.
    objects: u64,
    /// Bytes that were read, as recorded.
    bytes: u64,
    /// Objects that were found damaged or missing, as recorded.
    damaged: u64,
    /// When it ended; null while it is under way.
    #[schema(format = DateTime, required)]
    ended_at: Option<String>,
}

impl From<&ScrubPass> for PassShape {
    fn from(pass: &ScrubPass) -> Self {
        Self {
            event: pass.sequence,
            begun_at: pass.begun_at.to_string(),
            objects: pass.tally.objects,
            bytes: pass.tally.bytes,
            damaged: pass.tally.damaged,
            ended_at: pass.ended_at.map(|at| at.to_string()),
        }
    }
}

/// A file whose bytes are damaged.
#[derive(Debug, Serialize, ToSchema)]
struct DamagedFile {
    /// The producer.
    producer: String,
    /// The key.
    key: String,
    /// The version.
    version: u64,
    /// The package.
    package: String,
    /// The blob that is damaged, `blake3:<hex>`.
    content_address: String,
    /// Whether the key stands for this version now.
    current: bool,
}

impl From<&File> for DamagedFile {
    fn from(file: &File) -> Self {
        Self {
            producer: file.name.producer.to_string(),
            key: file.name.key.to_string(),
            version: file.sequence,
            package: file.package.to_string(),
            content_address: file.content_address.to_string(),
            current: file.ended_sequence.is_none(),
        }
    }
}

/// A sealed revision whose manifest is damaged.
#[derive(Debug, Serialize, ToSchema)]
struct DamagedManifest {
    /// The revision's identifier.
    id: String,
    /// The producer.
    producer: String,
    /// The package.
    package: String,
    /// The revision.
    revision: u32,
}

impl From<&Package> for DamagedManifest {
    fn from(package: &Package) -> Self {
        Self {
            id: package.id.to_string(),
            producer: package.producer.to_string(),
            package: package.name.to_string(),
            revision: package.revision,
        }
    }
}

/// An object in which bytes are not as they were stored, and every file that they belong to.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Damage)]
pub(super) struct DamageShape {
    /// The object: the BLAKE3, in hex, that its bytes should have.
    object: String,
    /// The storage that holds it.
    backend: String,
    /// What was found.
    finding: String,
    /// The event that says so.
    event: u64,
    /// When that was.
    #[schema(format = DateTime)]
    found_at: String,
    /// The versions that its damaged bytes belong to.
    files: Vec<DamagedFile>,
    /// The sealed revisions whose stored manifests they belong to, a hundred at most.
    manifests: Vec<DamagedManifest>,
    /// Where the files go on, at `/v1/scrub/damage/{object}`; null when they are all here.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// How the store is, as far as it was read.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Scrub)]
pub(super) struct ScrubShape {
    /// `running` while a pass is under way, else `idle`.
    state: &'static str,
    /// The newest pass; null when there was none.
    #[schema(required)]
    pass: Option<PassShape>,
    /// The newest pass that came to its end; null when there was none.
    #[schema(required)]
    last_whole_pass: Option<PassShape>,
    /// How many objects are known to be damaged.
    damaged_objects: u64,
    /// Them, by name.
    damage: Vec<DamageShape>,
    /// Where the list of them goes on; null at the end.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// How many at most; 100 when not said, 1000 at most.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

fn object(text: &str) -> Result<ObjectKey, Problem> {
    ObjectKey::from_hex(text)
        .map_err(|_| Problem::argument("An object is named by 64 hexadecimal digits in lower case."))
}

async fn damage(
    registry: &Registry,
    row: &DamagedObject,
    after: Option<&FileCursor>,
    limit: usize,
) -> Result<DamageShape, Problem> {
    let files = registry.damage_files(&row.object, after, limit).await?;
    let manifests = registry.damage_manifests(&row.object, MANIFESTS_LISTED).await?;
    let last = files.last().filter(|_| files.len() == limit);
    Ok(DamageShape {
        object: row.object.to_hex(),
        backend: row.backend.clone(),
        finding: row.finding.clone(),
        event: row.sequence,
        found_at: row.seen_at.to_string(),
        files: files.iter().map(Into::into).collect(),
        manifests: manifests.iter().map(Into::into).collect(),
        next_cursor: last.map(|last| cursor(&[&last.content_address.to_string(), &last.sequence.to_string()])),
    })
}

async fn shape(admin: &Admin, after: Option<&ObjectKey>, limit: usize) -> Result<ScrubShape, Problem> {
    let report: ScrubReport = admin.registry.scrub_report().await?;
    let rows = admin.registry.damage_list(after, limit).await?;
    let mut damaged = Vec::with_capacity(rows.len());
    for row in &rows {
        damaged.push(damage(&admin.registry, row, None, FILES_LISTED).await?);
    }
    let last = rows.last().filter(|_| rows.len() == limit);
    Ok(ScrubShape {
        state: if report.under_way().is_some() { "running" } else { "idle" },
        pass: report.newest.as_ref().map(Into::into),
        last_whole_pass: report.ended.as_ref().map(Into::into),
        damaged_objects: report.damaged,
        damage: damaged,
        next_cursor: last.map(|last| cursor(&[&last.object.to_hex()])),
    })
}

/// Whether all objects are being read again, when that was last done, and what is damaged, with every file that it belongs to.
#[utoipa::path(get, path = "/v1/scrub", tag = "scrub", operation_id = "scrub_show", params(PageQuery),
    responses(
        (status = 200, description = "How the store is.", body = ScrubShape),
        (status = 400, description = "A parameter is wrong.", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn show(
    State(admin): State<Arc<Admin>>,
    InQuery(query): InQuery<PageQuery>,
) -> Result<Json<ScrubShape>, Problem> {
    let limit = page_limit(query.limit)?;
    let after = match query.cursor {
        Some(text) => {
            let [text] = cursor_parts(&text)?;
            Some(object(&text)?)
        }
        None => None,
    };
    Ok(Json(shape(&admin, after.as_ref(), limit).await?))
}

/// Begins to read all objects again, unless that is being done, and answers at once; a gateway takes it up within seconds, and
/// `GET /v1/scrub` tells what it finds.
#[utoipa::path(post, path = "/v1/verify", tag = "scrub", operation_id = "verify",
    responses((status = 202, description = "A pass is under way.", body = ScrubShape)))]
pub(super) async fn verify(
    state: State<Arc<Admin>>,
    caller: Caller,
) -> Result<(http::StatusCode, Json<ScrubShape>), Problem> {
    begin(state, caller).await
}

/// The same as `POST /v1/verify`, beside what tells of it.
#[utoipa::path(post, path = "/v1/scrub", tag = "scrub", operation_id = "scrub_begin",
    responses((status = 202, description = "A pass is under way.", body = ScrubShape)))]
pub(super) async fn begin(
    State(admin): State<Arc<Admin>>,
    Caller(actor): Caller,
) -> Result<(http::StatusCode, Json<ScrubShape>), Problem> {
    admin.registry.scrub_begin(&actor).await?;
    let shape = shape(&admin, None, page_limit(None)?).await?;
    Ok((http::StatusCode::ACCEPTED, Json(shape)))
}

/// One damaged object, and a page of the files that its damaged bytes belong to.
#[utoipa::path(get, path = "/v1/scrub/damage/{object}", tag = "scrub", operation_id = "scrub_damage",
    params(("object" = String, Path, description = "The object, 64 hexadecimal digits."), PageQuery),
    responses(
        (status = 200, description = "What is damaged.", body = DamageShape),
        (status = 400, description = "A parameter is wrong.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "That object is not known to be damaged.", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn one(
    State(admin): State<Arc<Admin>>,
    InPath(name): InPath<String>,
    InQuery(query): InQuery<PageQuery>,
) -> Result<Json<DamageShape>, Problem> {
    let object = object(&name)?;
    let limit = page_limit(query.limit)?;
    let wrong = || Problem::argument("The cursor is not one of this list.");
    let after: Option<FileCursor> = match query.cursor {
        Some(text) => {
            let [address, version] = cursor_parts(&text)?;
            let address: ContentAddress = address.parse().map_err(|_| wrong())?;
            Some((address, version.parse().map_err(|_| wrong())?))
        }
        None => None,
    };
    let Some(row) = admin.registry.damage_stat(&object).await? else {
        let detail = "That object is not known to be damaged.";
        return Err(Problem::new(http::StatusCode::NOT_FOUND, "no-such-damage", detail));
    };
    Ok(Json(damage(&admin.registry, &row, after.as_ref(), limit).await?))
}
