//! How the gateway is: for load balancers, for people, for Prometheus. Needs no token, and tells no secrets.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use artifactstore_registry::actions::request::{Health, LifecycleTotals};
use artifactstore_registry::actions::scrub::{ScrubReport, ScrubTotals};
use artifactstore_registry::model::retention::ClockJump;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Admin;
use super::retention::shape::jump_warning;
use crate::VERSION;

/// One word on how the gateway is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Status)]
pub(super) struct StatusShape {
    /// `live`, `ready` or `not_ready`.
    status: &'static str,
}

/// How the gateway is, in detail.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = Health)]
pub(crate) struct HealthShape {
    /// `ready` when files can be ingested and read, else `not_ready`.
    pub(crate) status: String,
    /// The version of the program.
    pub(crate) version: String,
    /// The last event's number; null when the database does not answer.
    #[schema(required)]
    pub(crate) head_sequence: Option<u64>,
    /// When that event was committed; null when there is none.
    #[schema(format = DateTime, required)]
    pub(crate) head_at: Option<String>,
    /// How the database is.
    pub(crate) database: DatabaseShape,
    /// How the backend is.
    pub(crate) backend: BackendShape,
    /// What an operator should look at, each in one line; files can be ingested and read all the same.
    #[serde(default)]
    pub(crate) warnings: Vec<String>,
}

/// How the database is.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = DatabaseHealth)]
pub(crate) struct DatabaseShape {
    /// Whether it answers.
    pub(crate) ready: bool,
    /// What is wrong, in one line.
    #[schema(required)]
    pub(crate) problem: Option<String>,
}

/// How the backend is.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = BackendHealth)]
pub(crate) struct BackendShape {
    /// Its name.
    pub(crate) name: String,
    /// Whether objects can be written and read now.
    pub(crate) ready: bool,
    /// How long the probe took, in microseconds.
    pub(crate) latency_micros: u64,
    /// Bytes still free, where the backend can tell.
    #[schema(required)]
    pub(crate) free_bytes: Option<u64>,
    /// What is wrong, in one line.
    #[schema(required)]
    pub(crate) problem: Option<String>,
}

impl HealthShape {
    fn new(health: Health, warnings: Vec<String>) -> Self {
        Self {
            status: if health.ready() { "ready" } else { "not_ready" }.to_owned(),
            version: VERSION.to_owned(),
            head_sequence: health.head,
            head_at: health.head_at.map(|at| at.to_string()),
            database: DatabaseShape { ready: health.database_ready(), problem: health.database_problem },
            backend: BackendShape {
                name: health.backend.backend,
                ready: health.backend.ready,
                latency_micros: health.backend.latency_micros,
                free_bytes: health.backend.free_bytes,
                problem: health.backend.problem,
            },
            warnings,
        }
    }
}

const fn status_of(ready: bool) -> StatusCode {
    if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

/// Whether the process runs.
#[utoipa::path(get, path = "/health/live", tag = "health", operation_id = "health_live", security(()),
    responses((status = 200, description = "It runs.", body = StatusShape)))]
pub(super) async fn live() -> Json<StatusShape> {
    Json(StatusShape { status: "live" })
}

/// Whether files can be ingested and read.
#[utoipa::path(get, path = "/health/ready", tag = "health", operation_id = "health_ready", security(()),
    responses(
        (status = 200, description = "They can.", body = StatusShape),
        (status = 503, description = "They cannot now.", body = StatusShape),
    ))]
pub(super) async fn ready(State(admin): State<Arc<Admin>>) -> (StatusCode, Json<StatusShape>) {
    let ready = admin.registry.health().await.ready();
    (status_of(ready), Json(StatusShape { status: if ready { "ready" } else { "not_ready" } }))
}

/// How the gateway is, in detail.
#[utoipa::path(get, path = "/health", tag = "health", operation_id = "health", security(()),
    responses(
        (status = 200, description = "Files can be ingested and read.", body = HealthShape),
        (status = 503, description = "They cannot now; the body says what is wrong.", body = HealthShape),
    ))]
pub(super) async fn detail(State(admin): State<Arc<Admin>>) -> (StatusCode, Json<HealthShape>) {
    let health = admin.registry.health().await;
    let mut warnings: Vec<String> = unsettled(&admin, &health).await.iter().filter_map(jump_warning).collect();
    if let Some(report) = scrubbed(&admin, &health).await.filter(|report| report.damaged > 0) {
        warnings.push(damage_warning(&admin, report.damaged).await);
    }
    (status_of(health.ready()), Json(HealthShape::new(health, warnings)))
}

/// How long an answer about health waits for the jumps of the clock.
const CLOCK_PATIENCE: Duration = Duration::from_secs(2);

/// The jumps of the clock that nobody has settled. A database that does not answer is told of by itself.
async fn unsettled(admin: &Admin, health: &Health) -> Vec<ClockJump> {
    if !health.database_ready() {
        return Vec::new();
    }
    let asked = tokio::time::timeout(CLOCK_PATIENCE, admin.registry.clock_report()).await;
    let jumps = asked.ok().and_then(Result::ok).map(|report| report.jumps).unwrap_or_default();
    jumps.into_iter().filter(|jump| jump.settled_sequence.is_none()).collect()
}

/// What scrubbing found. As of [`unsettled`].
async fn scrubbed(admin: &Admin, health: &Health) -> Option<ScrubReport> {
    if !health.database_ready() {
        return None;
    }
    let asked = tokio::time::timeout(CLOCK_PATIENCE, admin.registry.scrub_report()).await;
    asked.ok().and_then(Result::ok)
}

/// How many damaged objects a warning names.
const DAMAGE_NAMED: usize = 5;

/// How many objects are damaged, and which: the first of them.
async fn damage_warning(admin: &Admin, count: u64) -> String {
    let asked = tokio::time::timeout(CLOCK_PATIENCE, admin.registry.damage_list(None, DAMAGE_NAMED)).await;
    let named = asked.ok().and_then(Result::ok).unwrap_or_default();
    let named: Vec<String> =
        named.iter().map(|row| format!("{} in {}: {}", row.object.to_hex(), row.backend, row.finding)).collect();
    let objects = if count == 1 { "1 object is damaged" } else { &format!("{count} objects are damaged") };
    format!("{objects}; GET /v1/scrub names their files ({})", named.join("; "))
}

/// Figures for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "health", operation_id = "metrics", security(()),
    responses((status = 200, description = "The figures, in the text format 0.0.4.", body = String, content_type = "text/plain")))]
pub(super) async fn metrics(State(admin): State<Arc<Admin>>) -> Response {
    let health = admin.registry.health().await;
    let scrubbed = scrubbed(&admin, &health).await;
    let text = exposition(&admin, &health, unsettled(&admin, &health).await.len(), scrubbed.as_ref());
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

fn exposition(admin: &Admin, health: &Health, unsettled: usize, scrubbed: Option<&ScrubReport>) -> String {
    let mut text = String::with_capacity(2048);
    let mut figure = |name: &str, kind: &str, help: &str, samples: &[(String, String)]| {
        if samples.is_empty() {
            return;
        }
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# HELP artifactstore_{name} {help}\n# TYPE artifactstore_{name} {kind}");
        for (labels, value) in samples {
            let _ = writeln!(text, "artifactstore_{name}{labels} {value}");
        }
    };
    let plain = |value: String| vec![(String::new(), value)];
    let flag = |up: bool| plain(u8::from(up).to_string());
    let build = vec![(format!("{{version=\"{VERSION}\"}}"), "1".to_owned())];
    figure("build_info", "gauge", "The version of the program.", &build);
    figure("database_up", "gauge", "Whether the log can be read and written.", &flag(health.database_ready()));
    figure("backend_up", "gauge", "Whether the backend can be written and read.", &flag(health.backend.ready));
    if let Some(head) = health.head {
        figure("events_total", "counter", "Events in the log.", &plain(head.to_string()));
    }
    let micros = health.backend.latency_micros;
    let seconds = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    figure("backend_probe_seconds", "gauge", "How long the last probe of the backend took.", &plain(seconds));
    if let Some(free) = health.backend.free_bytes {
        figure("backend_free_bytes", "gauge", "Bytes still free in the backend.", &plain(free.to_string()));
    }
    if health.database_ready() {
        let help = "Jumps of the clock that nobody has settled: expiry does not go along with them.";
        figure("clock_jumps_unsettled", "gauge", help, &plain(unsettled.to_string()));
    }
    let totals = admin.registry.collect_totals();
    figure(
        "gc_runs_total",
        "counter",
        "Collections of this process that came to their end.",
        &plain(totals.runs.to_string()),
    );
    if let Some(last) = totals.last_run {
        let (seconds, _) = last.to_parts();
        figure("gc_last_run_timestamp_seconds", "gauge", "When the last of them did.", &plain(seconds.to_string()));
    }
    for (name, help, count) in [
        ("gc_released_versions_total", "Versions that let go of their bytes.", totals.released),
        ("gc_swept_blobs_total", "Blobs that were swept.", totals.swept_blobs),
        ("gc_deleted_objects_total", "Objects that were deleted.", totals.deleted_objects),
        ("gc_deleted_bytes_total", "Bytes of the objects that were deleted.", totals.deleted_bytes),
        ("gc_swept_orphans_total", "Objects that no event named, and that were deleted.", totals.swept_orphans),
    ] {
        figure(name, "counter", help, &plain(count.to_string()));
    }
    let lifecycle = lifecycle_figures(&admin.registry.lifecycle_totals());
    let scrub = scrub_figures(admin.registry.scrub_totals(), scrubbed);
    for (name, kind, help, value) in lifecycle.into_iter().chain(scrub) {
        figure(name, kind, help, &plain(value));
    }
    let mut requests = Vec::new();
    for (listener, counts) in &admin.counts {
        requests.extend(
            counts
                .read()
                .map(|(class, count)| (format!("{{listener=\"{listener}\",status=\"{class}\"}}"), count.to_string())),
        );
    }
    figure("http_requests_total", "counter", "Requests answered, by listener and class of status.", &requests);
    text
}

/// A figure: its name, kind, help and value.
type Figure = (&'static str, &'static str, &'static str, String);

/// What went by itself.
fn lifecycle_figures(totals: &LifecycleTotals) -> Vec<Figure> {
    let counter = |name, help, count: u64| (name, "counter", help, count.to_string());
    let mut figures = vec![
        counter("lifecycle_runs_total", "Runs of this process that let go what goes by itself.", totals.runs),
        counter("lifecycle_expired_names_total", "Names that lifecycle rules removed or hid.", totals.expired_names),
        counter(
            "lifecycle_removed_versions_total",
            "Older versions and delete markers that lifecycle rules removed.",
            totals.removed_versions,
        ),
        counter("lifecycle_aborted_uploads_total", "Uploads that lifecycle rules gave up.", totals.aborted_uploads),
        counter(
            "retention_outlived_versions_total",
            "Versions that went because their retention classes say so.",
            totals.outlived_versions,
        ),
        ("lifecycle_kept", "gauge", "What the last run found kept.", totals.kept_last.to_string()),
    ];
    if let Some(last) = totals.last_run {
        let (seconds, _) = last.to_parts();
        let help = "When the last of them came to its end.";
        figures.push(("lifecycle_last_run_timestamp_seconds", "gauge", help, seconds.to_string()));
    }
    figures
}

fn scrub_figures(totals: ScrubTotals, report: Option<&ScrubReport>) -> Vec<Figure> {
    let mut figures = vec![
        ("scrub_objects_total", "counter", "Objects that this process read again.", totals.objects.to_string()),
        ("scrub_bytes_total", "counter", "Their bytes.", totals.bytes.to_string()),
    ];
    let Some(report) = report else { return figures };
    let running = u8::from(report.under_way().is_some()).to_string();
    figures.push(("scrub_running", "gauge", "Whether a pass over all objects is under way.", running));
    let help = "Objects that are known to be damaged or missing.";
    figures.push(("scrub_damaged_objects", "gauge", help, report.damaged.to_string()));
    if let Some(ended) = report.ended.as_ref().and_then(|pass| pass.ended_at) {
        let help = "When the last whole pass ended; its age is time() less this.";
        figures.push(("scrub_last_pass_timestamp_seconds", "gauge", help, ended.to_parts().0.to_string()));
    }
    figures
}
