//! Starting: with nothing configured it works, and what is wrong is said in one clear line.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use artifactstore_tests::command::{self, Outcome};
use artifactstore_tests::harness::{self, Harness};
use artifactstore_tests::sign::Keys;
use artifactstore_tests::{Admin, S3};
use tempfile::TempDir;
use tokio::process::Command;

/// `artifactstore` in a folder of its own with these settings and no others.
fn program(folder: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> Command {
    let mut program = Command::new(command::binary());
    program.args(arguments).env_clear().current_dir(folder).stdin(Stdio::null()).kill_on_drop(true);
    for (name, value) in settings {
        program.env(format!("ARTIFACTSTORE_{name}"), value);
    }
    program
}

const ANY_PORT: [(&str, &str); 2] = [("S3_LISTEN", "127.0.0.1:0"), ("ADMIN_LISTEN", "127.0.0.1:0")];

async fn serve(folder: &Path, settings: &[(&str, &str)]) -> Outcome {
    let mut all: Vec<(&str, &str)> = ANY_PORT.to_vec();
    all.retain(|(name, _)| settings.iter().all(|(other, _)| other != name));
    all.extend(settings);
    command::run(program(folder, &["serve"], &all)).await
}

/// Puts an object where versions before this one had it.
fn displace(object: &Path) {
    let name = object.file_name().unwrap().to_str().unwrap();
    let leaf = object.with_file_name(&name[2..4]);
    std::fs::create_dir_all(&leaf).unwrap();
    std::fs::rename(object, leaf.join(name)).unwrap();
}

#[tokio::test]
async fn objects_of_an_earlier_version_are_brought_up_by_who_serves_or_migrates_and_by_nobody_else() {
    let mut gateway = Harness::start_with(&[("ARTIFACTSTORE_STORAGE", "local")]).await;
    gateway.put("lab/run/x", b"kept").await.unwrap();
    gateway.stop().await;
    let objects = gateway.object_files();
    for brings_up in ["migrate", "serve"] {
        displace(&objects[0]);
        for command in [&["verify"][..], &["gc"], &["gc", "--dry-run"], &["replay", "--check"]] {
            gateway.cli(command).await.failed_with_one_line("`artifactstore migrate`");
        }
        assert!(!objects[0].exists(), "none of them moved it");
        if brings_up == "migrate" {
            let _ = gateway.cli(&["migrate"]).await.succeeded();
        } else {
            gateway.resume().await;
            assert_eq!(gateway.get("lab/run/x").await.unwrap().body, b"kept");
            let _ = gateway.cli(&["verify"]).await.succeeded();
            gateway.stop().await;
        }
        assert_eq!(gateway.object_files(), objects);
    }
    // What lies behind a link would be written and read, and found by nobody who looks for what is there.
    let branch = objects[0].parent().unwrap();
    let elsewhere = gateway.folder().join("elsewhere");
    std::fs::rename(branch, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, branch).unwrap();
    for command in ["verify", "migrate", "serve"] {
        gateway.cli(&[command]).await.failed_with_one_line("is a symbolic link");
    }
    std::fs::remove_file(branch).unwrap();
    std::fs::rename(&elsewhere, branch).unwrap();
    gateway.audit().await;
}

#[tokio::test]
async fn the_first_start_makes_a_folder_and_credentials_that_work_and_are_kept() {
    let folder = TempDir::new().unwrap();
    let mut first = String::new();
    for round in 0..2 {
        let mut gateway = program(folder.path(), &["serve"], &ANY_PORT).stdout(Stdio::piped()).spawn().unwrap();
        let output = gateway.stdout.take().unwrap();
        let (_, s3, admin) = harness::endpoints(output).await.expect("it listens");
        let credentials = folder.path().join("data/credentials");
        let mode = std::fs::metadata(&credentials).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        let text = std::fs::read_to_string(&credentials).unwrap();
        if round == 0 {
            first.clone_from(&text);
        }
        assert_eq!(text, first, "a second start keeps them");
        let keys = Keys {
            access_key: value(&text, "access_key"),
            secret_key: value(&text, "secret_key"),
            region: "us-east-1".to_owned(),
        };
        let client = S3 { address: s3, keys };
        if round == 0 {
            client.put("first", b"").await.unwrap();
        }
        assert_eq!(client.get("").await.unwrap().elements("Name"), ["first"]);
        let admin = Admin { address: admin, token: value(&text, "admin_token") };
        assert_eq!(admin.get("/v1/producers").await.status, 200);
        harness::signal(&gateway, rustix::process::Signal::TERM);
        assert_eq!(gateway.wait().await.unwrap().code(), Some(0));
    }
}

/// The value behind the first name that ends with `name`, however the file writes pairs.
fn value(text: &str, name: &str) -> String {
    let line = text
        .lines()
        .find(|line| line.split(['=', ':']).next().is_some_and(|key| key.trim().to_lowercase().ends_with(name)));
    let line = line.unwrap_or_else(|| panic!("the credentials name no {name}"));
    let (_, value) = line.split_once(['=', ':']).unwrap();
    value.trim().trim_matches('"').to_owned()
}

#[tokio::test]
async fn a_first_start_prints_lines_to_paste() {
    let folder = TempDir::new().unwrap();
    let log = std::fs::File::create(folder.path().join("said")).unwrap();
    let mut gateway =
        program(folder.path(), &["serve"], &ANY_PORT).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
    let mut said = String::new();
    for _ in 0..600 {
        said = std::fs::read_to_string(folder.path().join("said")).unwrap();
        if ["aws ", "boto3", "rclone"].iter().all(|client| said.contains(client)) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    harness::signal(&gateway, rustix::process::Signal::TERM);
    assert_eq!(gateway.wait().await.unwrap().code(), Some(0));
    for client in ["aws ", "boto3", "rclone"] {
        assert!(said.contains(client), "no line for {client} in:\n{said}");
    }
}

#[tokio::test]
async fn a_bad_setting_is_one_clear_line() {
    let folder = TempDir::new().unwrap();
    let cases = [
        ("S3_LISTEN", "not an address", "s3"),
        ("ADMIN_LISTEN", "127.0.0.1:99999", "admin"),
        ("STORAGE", "tape", "storage"),
        ("DATABASE_URL", "mysql://nowhere", "database"),
        ("LOG_LEVEL", "shouting", "log"),
    ];
    for (name, value, part) in cases {
        serve(folder.path(), &[(name, value)]).await.failed_with_one_line(part);
    }
}

#[tokio::test]
async fn a_taken_port_is_one_clear_line() {
    let folder = TempDir::new().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    serve(folder.path(), &[("S3_LISTEN", &address)]).await.failed_with_one_line(&address);
    serve(folder.path(), &[("ADMIN_LISTEN", &address)]).await.failed_with_one_line(&address);
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_one_clear_line() {
    // A file where the folder should be stops even root, whom permissions do not.
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("occupied");
    std::fs::write(&file, b"").unwrap();
    let path = file.join("data").display().to_string();
    serve(folder.path(), &[("DATA_DIR", &path)]).await.failed_with_one_line("occupied");
}

#[tokio::test]
async fn a_newer_schema_is_one_clear_line_and_is_left_alone() {
    let mut gateway = Harness::start().await;
    gateway.put("newer/run/a", b"a").await.unwrap();
    gateway.stop().await;
    let registry = gateway.data().join("registry.db");
    let kept = std::fs::read(&registry).unwrap();
    let newer = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute(\"INSERT INTO _sqlx_migrations \
        (version, description, success, checksum, execution_time) VALUES (9999, 'of the future', 1, x'00', 1)\"); \
        c.commit(); c.close()";
    let mut python = Command::new(artifactstore_tests::clients::program("python"));
    python.args(["-c", newer]).arg(&registry);
    let _ = command::run(python).await.succeeded();
    gateway.cli(&["serve"]).await.failed_with_one_line("newer");
    std::fs::write(&registry, kept).unwrap();
    gateway.finish().await;
}

#[tokio::test]
async fn the_small_commands_answer_without_a_gateway() {
    let folder = TempDir::new().unwrap();
    let version = command::run(program(folder.path(), &["version"], &[])).await.succeeded();
    assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
    let help = command::run(program(folder.path(), &["--help"], &[])).await.succeeded();
    let commands =
        ["serve", "version", "migrate", "replay", "health", "verify", "finalize", "manifest", "events", "producer"];
    for name in commands {
        assert!(help.contains(name), "{name} is not in:\n{help}");
    }
    let _ = command::run(program(folder.path(), &["migrate"], &[])).await.succeeded();
    let _ = command::run(program(folder.path(), &["replay", "--check"], &[])).await.succeeded();
    let unhealthy = command::run(program(folder.path(), &["health"], &[("ADMIN_LISTEN", "127.0.0.1:9")])).await;
    assert_ne!(unhealthy.code, Some(0), "nobody listens there");
}

#[tokio::test]
async fn health_tells_a_running_gateway() {
    let gateway = Harness::start().await;
    let address = gateway.admin.address.to_string();
    let mut health = gateway.command(&["health"]);
    health.env("ARTIFACTSTORE_ADMIN_LISTEN", &address);
    let _ = command::run(health).await.succeeded();
    gateway.finish().await;
}
