//! The servers: how each is started on a folder of its own, asked, and stopped.
//!
//! Invariant: a server that this module started is stopped when its [`Running`] is dropped, and its folder is gone.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use artifactstore_tests::sign::Keys;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::client::Target;
use super::http::Connection;
use crate::folder::Folder;
use crate::measure::{family, named};

/// A server that can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[value(rename_all = "kebab-case")]
pub enum Peer {
    /// This project's gateway, as it is by default.
    Artifactstore,
    /// s3s-fs: files in a folder, nothing synced.
    S3sFs,
    /// Garage as it is by default: nothing synced.
    Garage,
    /// Garage with `metadata_fsync` and `data_fsync`.
    GarageSynced,
    /// Ceph's S3 gateway.
    Rgw,
    /// nginx with the same files: the bound for reads.
    Nginx,
}

/// Where the servers are found.
#[derive(Debug, Clone, clap::Args)]
pub struct Programs {
    /// The gateway to measure
    #[arg(long, env = "BENCH_ARTIFACTSTORE", value_name = "FILE", default_value = "target/release/artifactstore")]
    pub artifactstore: PathBuf,
    /// The program of s3s-fs
    #[arg(long, env = "BENCH_S3S_FS", value_name = "FILE", default_value = "s3s-fs")]
    pub s3s_fs: PathBuf,
    /// The program of Garage
    #[arg(long, env = "BENCH_GARAGE", value_name = "FILE", default_value = "garage")]
    pub garage: PathBuf,
    /// The program of nginx
    #[arg(long, env = "BENCH_NGINX", value_name = "FILE", default_value = "nginx")]
    pub nginx: PathBuf,
    /// A shell command that starts RGW and prints `export RGW_ENDPOINT=...`, `RGW_ACCESS_KEY`, `RGW_SECRET_KEY`;
    /// `{dir}` in it is a fresh folder
    #[arg(long, env = "BENCH_RGW_START", value_name = "COMMAND")]
    pub rgw_start: Option<String>,
    /// A shell command that stops RGW
    #[arg(long, env = "BENCH_RGW_STOP", value_name = "COMMAND")]
    pub rgw_stop: Option<String>,
}

/// A server that runs.
#[derive(Debug)]
pub struct Running {
    /// How to ask it.
    pub target: Target,
    /// Its processes.
    pub pids: Vec<u32>,
    /// Its folder.
    pub folder: Folder,
    child: Option<Child>,
    stop: Option<String>,
}

/// The processes of a Ceph cluster that take part in a request.
const CEPH: [&str; 3] = ["ceph-mon", "ceph-osd", "radosgw"];
const BUCKET: &str = "bench";
const READY: Duration = Duration::from_secs(60);

impl Peer {
    /// What it is called in tables.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Artifactstore => "artifact-store",
            Self::S3sFs => "s3s-fs (no syncs)",
            Self::Garage => "Garage (no syncs)",
            Self::GarageSynced => "Garage (with syncs)",
            Self::Rgw => "Ceph RGW",
            Self::Nginx => "nginx (files)",
        }
    }

    /// Why it cannot be measured here, if so.
    #[must_use]
    pub fn absence(self, programs: &Programs) -> Option<String> {
        let program = match self {
            Self::Artifactstore => &programs.artifactstore,
            Self::S3sFs => &programs.s3s_fs,
            Self::Garage | Self::GarageSynced => &programs.garage,
            Self::Nginx => &programs.nginx,
            Self::Rgw => {
                let start = programs.rgw_start.as_deref().unwrap_or_default();
                return start.is_empty().then(|| "no command that starts it: BENCH_RGW_START".to_owned());
            }
        };
        // Asking for its version is asking whether it is there.
        let found = Command::new(program).arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
        found.err().map(|error| format!("{}: {error}", program.display()))
    }

    /// Starts it in a fresh folder below this one, and waits until it takes requests.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(self, programs: &Programs, below: &Path) -> anyhow::Result<Running> {
        let folder = Folder::fresh(below)?;
        let mut running = match self {
            Self::Rgw => rgw(programs, folder)?,
            _ => self.local(programs, folder)?,
        };
        let started = Instant::now();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        loop {
            let target = &running.target;
            let asked: anyhow::Result<()> = runtime.block_on(async {
                if target.keys.is_none() {
                    tokio::net::TcpStream::connect(target.address).await?;
                    return Ok(());
                }
                target.make_bucket(&mut Connection::new(target.address)).await
            });
            let Err(error) = asked else { break };
            let ended = running.child.as_mut().map(Child::try_wait).transpose()?.flatten();
            if ended.is_some() || started.elapsed() > READY {
                let log = std::fs::read_to_string(running.folder.path().join("log")).unwrap_or_default();
                let last: Vec<&str> = log.lines().rev().take(5).collect();
                bail!("it does not take requests: {error:#}; its last words: {last:?}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        running.pids = running.child.as_ref().map_or_else(|| named(&CEPH), |child| family(child.id()));
        Ok(running)
    }

    fn local(self, programs: &Programs, folder: Folder) -> anyhow::Result<Running> {
        let address = free_address()?;
        let keys = Keys {
            access_key: format!("GK{}", "ab".repeat(12)),
            secret_key: "cd".repeat(32),
            region: "us-east-1".to_owned(),
        };
        let path = folder.path();
        let mut command = match self {
            Self::Artifactstore => artifactstore(programs, path, address, &keys)?,
            Self::S3sFs => s3s_fs(programs, path, address, &keys)?,
            Self::Nginx => nginx(programs, path, address)?,
            Self::Garage => garage(programs, path, address, &keys, false)?,
            Self::GarageSynced => garage(programs, path, address, &keys, true)?,
            Self::Rgw => bail!("RGW is no single program"),
        };
        let log = std::fs::File::create(path.join("log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().context("start")?;
        let keys = (self != Self::Nginx).then_some(keys);
        let target = Target { address, keys, bucket: BUCKET.to_owned(), signed_payload: false };
        Ok(Running { target, pids: Vec::new(), folder, child: Some(child), stop: None })
    }
}

impl Running {
    /// Where nginx serves files from.
    #[must_use]
    pub fn files(&self) -> PathBuf {
        self.folder.path().join("files").join(BUCKET)
    }

    /// Stops the server and waits for its end; its folder stays.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
            if let Some(pid) = pid {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            }
            let begun = Instant::now();
            while matches!(child.try_wait(), Ok(None)) {
                if begun.elapsed() > Duration::from_secs(20) {
                    let _ = child.kill();
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        if let Some(stop) = self.stop.take() {
            let _ = Command::new("sh").args(["-c", &stop]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn artifactstore(programs: &Programs, path: &Path, address: SocketAddr, keys: &Keys) -> anyhow::Result<Command> {
    let mut command = Command::new(&programs.artifactstore);
    command
        .args(["serve", "--log-level", "error", "--admin-listen", "127.0.0.1:0", "--s3-listen", &address.to_string()])
        .arg("--data-dir")
        .arg(path.join("data"))
        .env("ARTIFACTSTORE_ROOT_ACCESS_KEY", &keys.access_key)
        .env("ARTIFACTSTORE_ROOT_SECRET_KEY", &keys.secret_key);
    Ok(command)
}

fn s3s_fs(programs: &Programs, path: &Path, address: SocketAddr, keys: &Keys) -> anyhow::Result<Command> {
    let root = path.join("root");
    std::fs::create_dir(&root)?;
    let mut command = Command::new(&programs.s3s_fs);
    command
        .args(["--host", "127.0.0.1", "--port", &address.port().to_string()])
        .args(["--access-key", &keys.access_key, "--secret-key", &keys.secret_key])
        .arg(root)
        .env("RUST_LOG", "error");
    Ok(command)
}

fn nginx(programs: &Programs, path: &Path, address: SocketAddr) -> anyhow::Result<Command> {
    std::fs::create_dir_all(path.join("files").join(BUCKET))?;
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    let folder = path.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {folder}/{kind};"))
        .concat();
    let settings = format!(
        "{user} daemon off; worker_processes auto; pid {folder}/pid; error_log {folder}/log; events {{}}
        http {{ access_log off; {temporary} sendfile on; tcp_nopush on; keepalive_requests 1000000000;
        open_file_cache max=10000; server {{ listen {address}; root {folder}/files; }} }}"
    );
    std::fs::write(path.join("nginx.conf"), settings)?;
    let mut command = Command::new(&programs.nginx);
    command.arg("-p").arg(path).arg("-c").arg(path.join("nginx.conf")).arg("-e").arg(path.join("log"));
    Ok(command)
}

fn garage(programs: &Programs, path: &Path, address: SocketAddr, keys: &Keys, synced: bool) -> anyhow::Result<Command> {
    let (folder, rpc, region) = (path.display(), free_address()?, &keys.region);
    let settings = format!(
        "metadata_dir = \"{folder}/meta\"\ndata_dir = \"{folder}/blocks\"\nreplication_factor = 1\n\
        metadata_fsync = {synced}\ndata_fsync = {synced}\n\
        rpc_bind_addr = \"{rpc}\"\nrpc_public_addr = \"{rpc}\"\nrpc_secret = \"{}\"\n\
        [s3_api]\ns3_region = \"{region}\"\napi_bind_addr = \"{address}\"\n",
        "ef".repeat(32)
    );
    std::fs::write(path.join("garage.toml"), settings)?;
    let mut command = Command::new(&programs.garage);
    command
        .arg("-c")
        .arg(path.join("garage.toml"))
        .args(["server", "--single-node", "--default-bucket"])
        .env("GARAGE_DEFAULT_ACCESS_KEY", &keys.access_key)
        .env("GARAGE_DEFAULT_SECRET_KEY", &keys.secret_key)
        .env("GARAGE_DEFAULT_BUCKET", BUCKET)
        .env("RUST_LOG", "error");
    Ok(command)
}

fn rgw(programs: &Programs, folder: Folder) -> anyhow::Result<Running> {
    let start = programs.rgw_start.as_deref().context("--rgw-start")?;
    let place = folder.path().display().to_string();
    let output = Command::new("sh").args(["-c", &start.replace("{dir}", &place)]).output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let value = |name: &str| {
        let found =
            said.lines().find_map(|line| line.trim_start_matches("export ").strip_prefix(name)?.strip_prefix('='));
        found.map(|value| value.trim_matches(['\'', '"']).to_owned()).with_context(|| {
            let error = String::from_utf8_lossy(&output.stderr);
            format!("the command that starts RGW does not print {name}: {}", error.trim())
        })
    };
    let endpoint = value("RGW_ENDPOINT")?;
    let address = endpoint.trim_start_matches("http://").trim_end_matches('/').parse().context("RGW_ENDPOINT")?;
    let region = value("RGW_REGION").unwrap_or_else(|_| "us-east-1".to_owned());
    let keys = Keys { access_key: value("RGW_ACCESS_KEY")?, secret_key: value("RGW_SECRET_KEY")?, region };
    let target = Target { address, keys: Some(keys), bucket: BUCKET.to_owned(), signed_payload: false };
    let stop = programs.rgw_stop.as_ref().map(|stop| stop.replace("{dir}", &place));
    Ok(Running { target, pids: Vec::new(), folder, child: None, stop })
}
