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

/// Runs a script of `tests/clients` with the gateway's endpoints and keys in its environment.
///
/// # Panics
/// When it cannot be started.
pub async fn script(gateway: &Harness, name: &str, arguments: &[&str]) -> Outcome {
    let interpreter = if name.ends_with(".cjs") { PathBuf::from("node") } else { program("python") };
    let mut command = Command::new(interpreter);
    command.arg(workspace().join("tests/clients").join(name)).args(arguments);
    command::run(with_environment(gateway, command)).await
}

/// Runs the suite of the AWS SDK for Rust, which is built beside the gateway.
///
/// # Panics
/// When it is not there, or cannot be started.
pub async fn sdk(gateway: &Harness) -> Outcome {
    let program = profile_folder().join("../sdk/debug/artifactstore-sdk-suite");
    assert!(program.exists(), "{} is missing: `make sdk` builds it", program.display());
    command::run(with_environment(gateway, Command::new(program))).await
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
