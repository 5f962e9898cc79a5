//! `artifactstore health`.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use super::{CliError, Outcome, output};
use crate::admin::HealthShape;
use crate::config::Settings;
use crate::telemetry::chain;

/// Asks the gateway at --admin-listen how it is; exit code 0 when files can be ingested and read
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Answer with JSON
    #[arg(long)]
    json: bool,
    /// How many seconds to wait for the answer
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    timeout_seconds: u64,
}

/// How large an answer may be.
const ANSWER_LIMIT_BYTES: usize = 1 << 20;

pub(super) async fn run(args: &Args, settings: &Settings) -> Outcome {
    let address = reachable(settings.admin_listen);
    if address.port() == 0 {
        return Err(CliError::Other("port 0 names no gateway: say --admin-listen with the port it took".to_owned()));
    }
    let url = format!("http://{address}/health");
    let silent = |why: &str| CliError::Other(format!("no gateway answers at {url}: {why}"));
    let asked = tokio::time::timeout(Duration::from_secs(args.timeout_seconds), ask(&url)).await;
    let answer = asked.map_err(|_| silent("it took too long"))?.map_err(|why| silent(&why))?;
    let health: HealthShape = serde_json::from_slice(&answer).map_err(|_| silent("it is something else"))?;
    let ready = health.status == "ready";
    if args.json {
        output::json(&health)?;
    } else {
        let head = health.head_sequence.map_or_else(|| "unknown".to_owned(), |head| head.to_string());
        output::line(format_args!(
            "{}: version {}, {head} events, backend {} in {} us",
            if ready { "ready" } else { "not ready" },
            health.version,
            health.backend.name,
            health.backend.latency_micros,
        ))?;
        let problems = [("database", health.database.problem), ("backend", health.backend.problem)];
        for (what, problem) in problems.into_iter().filter_map(|(what, problem)| Some((what, problem?))) {
            output::line(format_args!("{what}: {problem}"))?;
        }
    }
    Ok(if ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// An address that listens everywhere is reached on this machine's own.
pub(super) fn reachable(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => (Ipv4Addr::LOCALHOST, v4.port()).into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => (Ipv6Addr::LOCALHOST, v6.port()).into(),
        other => other,
    }
}

async fn ask(url: &str) -> Result<Bytes, String> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let url = url.parse().map_err(|_| "the address is no URL".to_owned())?;
    let response = client.get(url).await.map_err(|error| chain(&error))?;
    let body = Limited::new(response.into_body(), ANSWER_LIMIT_BYTES).collect().await;
    body.map(http_body_util::Collected::to_bytes).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_that_listens_everywhere_is_asked_here() {
        assert_eq!(reachable("0.0.0.0:9001".parse().unwrap()).to_string(), "127.0.0.1:9001");
        assert_eq!(reachable("[::]:9001".parse().unwrap()).to_string(), "[::1]:9001");
        assert_eq!(reachable("10.0.0.1:9001".parse().unwrap()).to_string(), "10.0.0.1:9001");
    }
}
