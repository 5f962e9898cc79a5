//! The log, as it is read from outside: pages of JSON, an endless stream of server-sent events, or a CBOR sequence.
//!
//! Invariant: events come in order and without gaps, and what a client saw last is all it needs to go on.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use artifactstore_registry::model::cbor;
use artifactstore_registry::model::event::Record;
use artifactstore_registry::model::row::Sequence;
use artifactstore_registry::{Registry, Result};
use axum::Json;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::Stream;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Admin;
use super::accept;
use super::document::Binary;
use super::extract::{InQuery, page_limit};
use super::problem::{Problem, ProblemBody};
use super::shape::EventShape;
use crate::telemetry::chain;

/// How long a request may wait for an event at most.
const WAIT_LIMIT: Duration = Duration::from_secs(60);

/// How many events are in memory at once while a page or a stream is made: a manifest may have 16 MiB.
const BATCH: usize = 32;

/// From how many bytes of payload on a page takes no more events.
const PAGE_BYTES_LIMIT: usize = 16 << 20;

/// How often a stream without events says that it is there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

const MEDIA_TYPES: [&str; 3] = ["application/json", "text/event-stream", "application/cbor-seq"];

/// Which events.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct EventQuery {
    /// Only events behind this number; 0, which is the default, for all.
    #[param(default = 0)]
    since: Option<u64>,
    /// How many at most; 100 when not said, 1000 at most. A page may have fewer where events are large. A stream
    /// of server-sent events takes no notice of it.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
    /// How many seconds to wait for an event when there is none, 60 at most; 0, which is the default, for not at all.
    #[param(maximum = 60, default = 0)]
    wait_seconds: Option<u64>,
}

/// A page of events.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EventPage {
    /// The events, in order.
    events: Vec<EventShape>,
    /// What to give as `since` for the page behind this one.
    next: u64,
}

/// One event as canonical CBOR: what the chain covers, and the chain itself.
///
/// Without `hash`, the map's bytes are those that the event's hash covers, behind the hash of the event before.
#[derive(Serialize)]
struct CborEvent<'a> {
    #[serde(with = "serde_bytes")]
    hash: &'a [u8],
    kind: &'a str,
    actor: &'a str,
    tenant: &'a str,
    package: Option<&'a str>,
    #[serde(with = "serde_bytes")]
    payload: &'a [u8],
    producer: Option<&'a str>,
    sequence: Sequence,
    request_id: &'a str,
    occurred_at: i64,
}

/// Events of the log, in order.
///
/// As JSON a page; as `text/event-stream` a stream that never ends by itself, each event with its number as `id` and
/// the event of the JSON page as `data`; as `application/cbor-seq` (RFC 8742) a page of canonical CBOR maps with
/// `payload` and `hash` as bytes.
#[utoipa::path(get, path = "/v1/events", tag = "events", operation_id = "event_list",
    params(
        EventQuery,
        ("Last-Event-ID" = Option<u64>, Header, description = "For a stream that goes on: the last event that came. Goes before `since`."),
    ),
    responses(
        (status = 200, description = "Events, in order.",
            content((EventPage = "application/json"), (String = "text/event-stream"), (Binary = "application/cbor-seq"))),
        (status = 400, description = "A parameter is wrong.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 406, description = "None of the three media types will do.", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn list(
    State(admin): State<Arc<Admin>>,
    InQuery(query): InQuery<EventQuery>,
    headers: HeaderMap,
) -> std::result::Result<Response, Problem> {
    let since = query.since.unwrap_or(0);
    let limit = page_limit(query.limit)?;
    let media_type = accept::choose(&headers, &MEDIA_TYPES)?;
    if media_type == "text/event-stream" {
        let since = last_event_id(&headers)?.unwrap_or(since);
        let keep_alive = KeepAlive::new().interval(KEEP_ALIVE).text("still here");
        return Ok(Sse::new(stream(admin, since)).keep_alive(keep_alive).into_response());
    }
    let patience = Duration::from_secs(query.wait_seconds.unwrap_or(0)).min(WAIT_LIMIT);
    let records = page_or_wait(&admin, since, limit, patience).await?;
    if media_type == "application/cbor-seq" {
        let sequence: Vec<u8> = records.iter().flat_map(encode).collect();
        return Ok(([(CONTENT_TYPE, media_type)], sequence).into_response());
    }
    let next = records.last().map_or(since, |last| last.sequence);
    Ok(Json(EventPage { events: records.iter().map(Into::into).collect(), next }).into_response())
}

fn last_event_id(headers: &HeaderMap) -> std::result::Result<Option<Sequence>, Problem> {
    let Some(value) = headers.get("last-event-id") else { return Ok(None) };
    let number = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    number.map(Some).ok_or_else(|| Problem::argument("Last-Event-ID is the number of an event."))
}

async fn page_or_wait(admin: &Admin, since: Sequence, limit: usize, patience: Duration) -> Result<Vec<Record>> {
    let records = page(&admin.registry, since, limit).await?;
    if !records.is_empty() || patience.is_zero() {
        return Ok(records);
    }
    tokio::select! {
        // A gateway that stops does not wait for those who wait.
        () = admin.stop.cancelled() => return Ok(records),
        came = admin.registry.event_wait(since, patience) => { came?; }
    }
    page(&admin.registry, since, limit).await
}

async fn page(registry: &Registry, since: Sequence, limit: usize) -> Result<Vec<Record>> {
    let mut records: Vec<Record> = Vec::new();
    let mut size_bytes = 0;
    while records.len() < limit && size_bytes < PAGE_BYTES_LIMIT {
        let asked = BATCH.min(limit - records.len());
        let after = records.last().map_or(since, |last| last.sequence);
        let batch = registry.event_list(after, asked).await?;
        let last = batch.len() < asked;
        size_bytes += batch.iter().map(|record| record.payload.len()).sum::<usize>();
        records.extend(batch);
        if last {
            break;
        }
    }
    Ok(records)
}

fn encode(record: &Record) -> Vec<u8> {
    cbor::encode(&CborEvent {
        hash: &record.hash,
        kind: &record.kind,
        actor: &record.actor,
        tenant: record.tenant.as_str(),
        package: record.package.as_ref().map(|name| name.as_str()),
        payload: &record.payload,
        producer: record.producer.as_ref().map(|name| name.as_str()),
        sequence: record.sequence,
        request_id: &record.request_id,
        occurred_at: record.occurred_at.0,
    })
}

/// Follows the log until the gateway stops or the registry fails; the client then comes again with its last event.
fn stream(admin: Arc<Admin>, since: Sequence) -> impl Stream<Item = std::result::Result<Event, Infallible>> {
    async_stream::stream! {
        let mut since = since;
        while !admin.stop.is_cancelled() {
            let waited = tokio::select! {
                () = admin.stop.cancelled() => return,
                waited = admin.registry.event_wait(since, WAIT_LIMIT) => waited,
            };
            let batch = match waited {
                Ok(true) => admin.registry.event_list(since, BATCH).await,
                Ok(false) => continue,
                Err(error) => Err(error),
            };
            match batch {
                Ok(records) => {
                    for record in &records {
                        since = record.sequence;
                        yield Ok(message(record));
                    }
                }
                Err(error) => {
                    tracing::error!(error = chain(&error), since, "a stream of events ends early");
                    return;
                }
            }
        }
    }
}

fn message(record: &Record) -> Event {
    // One line: JSON escapes line breaks, and SSE has no other way to hold one.
    let data = serde_json::to_string(&EventShape::from(record)).unwrap_or_default();
    Event::default().id(record.sequence.to_string()).data(data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use artifactstore_registry::clock::Timestamp;
    use artifactstore_registry::model::event::GENESIS_HASH;
    use artifactstore_registry::model::name::TenantName;

    #[test]
    fn a_cbor_event_is_canonical_and_holds_what_the_chain_covers() {
        let mut record = Record {
            sequence: 7,
            occurred_at: Timestamp(1_700_000_000_000_001),
            tenant: TenantName::parse("root").unwrap(),
            producer: None,
            package: None,
            actor: "cli".into(),
            request_id: "r1".into(),
            kind: "v1.test".into(),
            payload: vec![0xa0],
            hash: [0; 32],
        };
        record.hash = record.chained(&GENESIS_HASH);
        let bytes = encode(&record);
        cbor::check(&bytes).unwrap();
        let json = cbor::to_json(&bytes).unwrap();
        assert_eq!(json["hash"], hex::encode(record.hash));
        assert_eq!((&json["payload"], &json["sequence"]), (&"a0".into(), &7.into()));
        let mut without = json;
        without.as_object_mut().unwrap().remove("hash");
        assert_eq!(without, cbor::to_json(&record.canonical()).unwrap());
        assert_eq!(EventShape::from(&record).occurred_at, "2023-11-14T22:13:20.000001Z");
    }
}
