//! Real clients: the Python environment of `tests/clients/setup`, and the suites that run in it.

use std::path::PathBuf;

use tokio::process::Command;

use crate::Harness;
use crate::command::{self, Outcome, profile_folder, workspace};

/// A program of the clients' environment.
///
/// # Panics
/// When it is not there. A missing client is a failure, never a skipped test.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let environment = match std::env::var_os("ARTIFACTSTORE_CLIENTS") {
        Some(path) => PathBuf::from(path),
        None => profile_folder().join("../clients"),
    };
    let path = environment.join("bin").join(name);
    assert!(path.exists(), "{} is missing: `make clients` installs the clients", path.display());
    path
}

/// What stands between a client and the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Between {
    /// Nothing.
    Nothing,
    /// An nginx that takes whole requests, and whole answers, before it hands them on.
    BufferingNginx,
    /// An nginx that hands on what comes while it comes.
    Nginx,
}

/// Runs a script of `tests/clients` with the gateway's endpoints and keys in its environment.
///
/// # Panics
/// When it cannot be started.
pub async fn script(gateway: &Harness, name: &str, arguments: &[&str]) -> Outcome {
    script_across(gateway, Between::Nothing, name, arguments).await
}

/// As [`script`], across what stands between.
///
/// # Panics
/// When it cannot be started.
pub async fn script_across(gateway: &Harness, between: Between, name: &str, arguments: &[&str]) -> Outcome {
    let interpreter = if name.ends_with(".cjs") { PathBuf::from("node") } else { program("python") };
    let mut command = Command::new(interpreter);
    command.arg(workspace().join("tests/clients").join(name)).args(arguments);
    command::run(with_environment(gateway, across(between, command))).await
}

/// Runs the suite of the AWS SDK for Rust, which is built beside the gateway, across what stands between.
///
/// # Panics
/// When it is not there, or cannot be started.
pub async fn sdk(gateway: &Harness, between: Between) -> Outcome {
    let program = profile_folder().join("../sdk/debug/artifactstore-sdk-suite");
    assert!(program.exists(), "{} is missing: `make sdk` builds it", program.display());
    command::run(with_environment(gateway, across(between, Command::new(program)))).await
}

/// Has a program started by the one that starts nginx before it, unless there is nothing between.
fn across(between: Between, command: Command) -> Command {
    let buffers = match between {
        Between::Nothing => return command,
        Between::BufferingNginx => "on",
        Between::Nginx => "off",
    };
    let mut outer = Command::new(program("python"));
    outer.arg(workspace().join("tests/clients/behind_nginx.py")).arg(buffers);
    outer.arg(command.as_std().get_program()).args(command.as_std().get_args());
    outer
}

/// Gives a program the gateway's endpoints and keys, the clients on its path, and a home of its own: no setting of the
/// machine reaches it.
#[must_use]
pub fn with_environment(gateway: &Harness, mut command: Command) -> Command {
    let home = gateway.folder().join("home");
    // A folder that is there already is fine; one that cannot be made fails the client with a better message.
    let _ = std::fs::create_dir_all(&home);
    let programs = program("python").parent().map(PathBuf::from).unwrap_or_default();
    let environment = programs.parent().map(PathBuf::from).unwrap_or_default();
    let keys = &gateway.s3.keys;
    command
        .env_clear()
        .env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", programs.display()))
        .env("HOME", &home)
        .env("TMPDIR", &home)
        .env("LANG", "C.UTF-8")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("AWS_ACCESS_KEY_ID", &keys.access_key)
        .env("AWS_SECRET_ACCESS_KEY", &keys.secret_key)
        .env("AWS_DEFAULT_REGION", &keys.region)
        .env("AWS_REGION", &keys.region)
        .env("ARTIFACTSTORE_CLIENTS", environment)
        .env("AWS_ENDPOINT_URL", gateway.s3_url())
        .env("ARTIFACTSTORE_URL", gateway.admin_url())
        .env("ARTIFACTSTORE_ADMIN_TOKEN", &gateway.admin.token)
        .env("ARTIFACTSTORE_BINARY", command::binary());
    if let Some(authority) = gateway.authority() {
        // Each client asks for it under a name of its own.
        for name in ["AWS_CA_BUNDLE", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"] {
            command.env(name, &authority);
        }
    }
    command
}
