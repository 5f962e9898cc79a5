//! `artifactstore events`.

use std::process::ExitCode;
use std::time::Duration;

use artifactstore_registry::Registry;
use artifactstore_registry::backends::digest::ContentAddress;
use artifactstore_registry::model::event::Record;
use serde_json::Value;

use super::output::{self, shown};
use super::{CliError, Outcome, with_registry};
use crate::admin::shape::EventShape;
use crate::config::Settings;

/// Shows the event log, an event a line
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only events behind this number
    #[arg(long, value_name = "SEQUENCE", default_value_t = 0)]
    since: u64,
    /// So many events at most; all when left out
    #[arg(long, value_name = "COUNT")]
    limit: Option<u64>,
    /// Go on with new events as they are committed, until Ctrl-C
    #[arg(long)]
    follow: bool,
    /// Show each event as one line of JSON, with its payload
    #[arg(long)]
    json: bool,
}

/// How many events are asked for at once: one that carries a manifest may have 16 MiB.
const BATCH: u64 = 32;

/// How long one wait for events lasts; another follows.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) async fn run(args: &Args, settings: &Settings) -> Outcome {
    with_registry(settings, |registry| async move {
        tokio::select! {
            shown = show(&registry, args) => shown?,
            interrupted = tokio::signal::ctrl_c() => interrupted.map_err(CliError::System)?,
        }
        Ok(ExitCode::SUCCESS)
    })
    .await
}

async fn show(registry: &Registry, args: &Args) -> Result<(), CliError> {
    let mut since = args.since;
    let mut left = args.limit.unwrap_or(u64::MAX);
    while left > 0 {
        let asked = BATCH.min(left);
        let batch = registry.event_list(since, usize::try_from(asked).unwrap_or(usize::MAX)).await?;
        for record in &batch {
            since = record.sequence;
            left -= 1;
            if args.json {
                output::json(&EventShape::from(record))?;
            } else {
                output::line(describe(record))?;
            }
        }
        if batch.is_empty() {
            if !args.follow {
                return Ok(());
            }
            registry.event_wait(since, PATIENCE).await?;
        }
    }
    Ok(())
}

fn describe(record: &Record) -> String {
    let event = EventShape::from(record);
    let mut line = format!("{} {} {}", event.sequence, event.occurred_at, event.kind);
    if let Some(producer) = &event.producer {
        line.push_str(&format!(" {producer}"));
    }
    // The root package's name is empty; its slash alone shows that the event is about it.
    if let Some(package) = &event.package {
        line.push_str(&format!("/{}", shown(package)));
    }
    line.push_str(&format!(" by {}", shown(&event.actor)));
    for (name, fact) in facts(&event.payload, &record.payload) {
        line.push_str(&format!(" {name}={fact}"));
    }
    line
}

/// The facts that fit on a line.
fn facts(payload: &Value, bytes: &[u8]) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    for name in ["key", "upload", "number", "size", "etag", "supersedes", "removes", "revision", "package_id"] {
        match &payload[name] {
            Value::String(text) => facts.push((name, shown(text))),
            Value::Number(number) => facts.push((name, number.to_string())),
            _ => {}
        }
    }
    if let Some(address) = payload["content_address"].as_str() {
        facts.push(("content", format!("blake3:{address}")));
    }
    if let Some(files) = payload["files"].as_array().filter(|_| payload["manifest_version"].is_number()) {
        facts.push(("revision", payload["package"]["revision"].to_string()));
        facts.push(("files", files.len().to_string()));
        // The payload is the manifest, so its digest is the payload's.
        facts.push(("manifest", ContentAddress::of(bytes).to_string()));
    } else if let Some(address) = payload["manifest_address"].as_str() {
        facts.push(("manifest", format!("blake3:{address}")));
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;
    use artifactstore_registry::clock::Timestamp;
    use artifactstore_registry::model::event::{Event, FileRemoved};
    use artifactstore_registry::model::name::{Key, PackageId, PackageName, ProducerName, TenantName};

    #[test]
    fn an_event_is_one_line_with_its_key_facts() {
        let producer = ProducerName::parse("guide-board").unwrap();
        let package = PackageName::parse("run-42").unwrap();
        let event = Event::FileRemoved(Box::new(FileRemoved {
            key: Key::parse("run-42/a\nb").unwrap(),
            removes: 3,
            package: package.clone(),
            producer: producer.clone(),
            package_id: PackageId::from_random([7; 16]),
        }));
        let record = Record {
            sequence: 4,
            occurred_at: Timestamp(0),
            tenant: TenantName::parse("root").unwrap(),
            producer: Some(producer),
            package: Some(package),
            actor: "AK1".into(),
            request_id: "r".into(),
            kind: event.kind().into(),
            payload: event.encode(),
            hash: [0; 32],
        };
        let line = describe(&record);
        let head = "4 1970-01-01T00:00:00Z v1.file.removed guide-board/run-42 by AK1 key=run-42/a\\nb removes=3";
        assert!(line.starts_with(head), "{line}");
    }
}
