//! `artifactstore serve`.

use std::io::{self, Write};
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

use super::health::reachable;
use super::{CliError, Outcome};
use crate::VERSION;
use crate::compose::{self, Gateway};
use crate::config::Settings;
use crate::config::credentials::Origin;
use crate::telemetry::chain;

/// Serves S3 and the admin REST until SIGTERM or Ctrl-C; the first start makes the data folder and the credentials
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) async fn run(_: Args, settings: &Settings) -> Outcome {
    // The signals are caught before anything starts, so that one that comes early still ends in order.
    let mut terminate = signal(SignalKind::terminate()).map_err(CliError::System)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(CliError::System)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(CliError::System)?;
    let gateway = compose::serve(settings).await?;
    if let Err(error) = announce(&gateway, settings) {
        // A closed standard output is no reason not to serve.
        tracing::warn!(%error, "the endpoints could not be printed");
    }
    tracing::info!(version = VERSION, s3 = %gateway.s3_address, admin = %gateway.admin_address, "serving");
    let name = loop {
        tokio::select! {
            _ = terminate.recv() => break "SIGTERM",
            _ = interrupt.recv() => break "SIGINT",
            Some(()) = hangup.recv() => reload(&gateway),
        }
    };
    tracing::info!(signal = name, "stopping");
    gateway.stop().await;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// SIGHUP: new connections get the certificate that is in the files now. What is open stays, and so does everything when
/// the files cannot be used.
fn reload(gateway: &Gateway) {
    match gateway.tls.as_ref().map(|tls| tls.reload()) {
        None => tracing::info!(signal = "SIGHUP", "there is no certificate to read again"),
        Some(Ok(())) => tracing::info!(signal = "SIGHUP", "the certificate was read again"),
        Some(Err(error)) => {
            tracing::error!(signal = "SIGHUP", error = chain(&error), "the certificate stays as it was");
        }
    }
}

fn announce(gateway: &Gateway, settings: &Settings) -> io::Result<()> {
    let text = announcement(gateway, &settings.region);
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

fn announcement(gateway: &Gateway, region: &str) -> String {
    let (s3, admin) = (gateway.s3_address, gateway.admin_address);
    let scheme = if gateway.tls.is_some() { "https" } else { "http" };
    let credentials = &gateway.credentials;
    // Only a start that made the keys shows them: the output of later ones is kept by supervisors and terminals.
    let (access, secret, words) = match &credentials.origin {
        Origin::Made(path) => {
            let words = format!("made just now and kept in {} (mode 0600), with the admin token", path.display());
            (credentials.access_key.as_str(), credentials.secret_key.expose(), words)
        }
        Origin::Kept(path) => ("ACCESS_KEY", "SECRET_KEY", format!("in {}", path.display())),
        Origin::Settings => ("ACCESS_KEY", "SECRET_KEY", "as the settings give them".to_owned()),
    };
    let lines = paste_lines(&format!("{scheme}://{}", reachable(s3)), region, access, secret);
    let trust = gateway.tls.as_ref().and_then(|tls| tls.authority()).map_or_else(String::new, |authority| {
        format!("\n# what clients trust: export AWS_CA_BUNDLE={0} SSL_CERT_FILE={0}\n", authority.display())
    });
    format!(
        "artifactstore {VERSION}\ns3 {scheme}://{s3}\nadmin {scheme}://{admin}\ncredentials {words}\n{trust}\n\
         # aws CLI\n{}\n# boto3\n{}\n# rclone\n{}\n",
        lines[0], lines[1], lines[2]
    )
}

/// Three lines to paste, each of which lists the buckets or is one call away from it.
fn paste_lines(url: &str, region: &str, access: &str, secret: &str) -> [String; 3] {
    [
        format!(
            "AWS_ACCESS_KEY_ID={access} AWS_SECRET_ACCESS_KEY={secret} AWS_DEFAULT_REGION={region} aws --endpoint-url {url} s3 ls"
        ),
        format!(
            "import boto3; s3 = boto3.client(\"s3\", endpoint_url=\"{url}\", region_name=\"{region}\", \
             aws_access_key_id=\"{access}\", aws_secret_access_key=\"{secret}\")"
        ),
        format!(
            "rclone lsd ':s3,provider=Other,endpoint=\"{url}\",region={region},access_key_id={access},secret_access_key={secret}:'"
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_to_paste_are_single_lines_that_reach_this_machine() {
        let lines =
            paste_lines(&format!("http://{}", reachable("0.0.0.0:9000".parse().unwrap())), "us-east-1", "AK1", "hush");
        for line in &lines {
            assert!(!line.contains('\n') && line.contains("http://127.0.0.1:9000"), "{line}");
            assert!(line.contains("AK1") && line.contains("hush"), "{line}");
            assert!(!line.starts_with("s3 ") && !line.starts_with("admin "), "{line}");
        }
    }
}
