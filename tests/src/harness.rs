//! One gateway with a folder, ports and keys of its own.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::admin::Admin;
use crate::command::{self, Outcome};
use crate::ground::Ground;
use crate::request::{Refused, S3};
use crate::sign::Keys;
use crate::wire::Reply;

/// The longest that a gateway may take to listen, and to stop.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A gateway under test.
#[derive(Debug)]
pub struct Harness {
    /// Its S3 side.
    pub s3: S3,
    /// Its admin side.
    pub admin: Admin,
    program: PathBuf,
    /// What is put before the program, so that it runs elsewhere.
    launcher: Vec<String>,
    folder: TempDir,
    settings: Vec<(String, String)>,
    scheme: &'static str,
    process: Option<Child>,
    producers: Mutex<BTreeSet<String>>,
}

impl Harness {
    /// Starts a gateway on a new, empty folder.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts a gateway on a new, empty folder with settings besides the harness's own; on the database and the storage
    /// of the [`Ground`](crate::ground::Ground), where these do not name any.
    ///
    /// # Panics
    /// When it does not listen in time.
    pub async fn start_with(settings: &[(&str, &str)]) -> Self {
        let ground = Ground::of_the_environment().settings(settings).await;
        let all: Vec<(&str, &str)> = ground.iter().map(|(name, value)| (&**name, &**value)).collect();
        let mut harness = Self::prepare_in(&std::env::temp_dir(), command::binary(), &[&all, settings].concat());
        harness.resume().await;
        harness
    }

    /// A new, empty folder in this one for this program, and no gateway on it yet: [`Harness::resume`] starts one.
    ///
    /// # Panics
    /// When there is no room for a folder.
    #[must_use]
    pub fn prepare_in(parent: &Path, program: PathBuf, settings: &[(&str, &str)]) -> Self {
        let folder = TempDir::with_prefix_in("artifactstore-", parent).expect("a folder for the test");
        let keys = Keys {
            access_key: "HARNESSACCESSKEY".to_owned(),
            secret_key: "harness/secret+key0123456789".to_owned(),
            region: "us-east-1".to_owned(),
        };
        let token = "harness-admin-token-0123456789".to_owned();
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut all = own_settings(&folder.path().join("data"), &keys, &token);
        all.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        Self {
            program,
            launcher: Vec::new(),
            s3: S3 { address: nowhere, keys },
            admin: Admin { address: nowhere, token },
            folder,
            settings: all,
            scheme: "http",
            process: None,
            producers: Mutex::new(BTreeSet::new()),
        }
    }

    /// Has this put before the program and every subcommand.
    #[must_use]
    pub fn launched_by(mut self, launcher: Vec<String>) -> Self {
        self.launcher = launcher;
        self
    }

    /// Starts the gateway again on the same folder after [`Harness::stop`] or [`Harness::kill`]. Its ports change.
    ///
    /// # Panics
    /// When it does not listen in time.
    pub async fn resume(&mut self) {
        if let Err(status) = self.resume_with(&[]).await {
            panic!("the gateway does not listen ({status}); its log ends:\n{}", self.log_tail());
        }
    }

    /// Starts the gateway as [`Harness::resume`] does, with this in its environment besides.
    ///
    /// # Errors
    /// With how it ended, when it ended before it listened.
    ///
    /// # Panics
    /// When it neither listens nor ends in time.
    pub async fn resume_with(&mut self, environment: &[(&str, &str)]) -> Result<(), ExitStatus> {
        assert!(self.process.is_none(), "the gateway runs already");
        let log = File::options().create(true).append(true).open(self.log_path()).expect("the log file");
        let mut command = self.command(&["serve"]);
        command.envs(environment.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).kill_on_drop(true);
        let mut child = command.spawn().expect("the gateway starts");
        let stdout = child.stdout.take().expect("its output is piped");
        let endpoints = timeout(PATIENCE, endpoints(stdout)).await;
        let (scheme, s3, admin) = match endpoints {
            Ok(Some(found)) => found,
            Ok(None) => return Err(child.wait().await.expect("the gateway can be waited for")),
            Err(_) => panic!("the gateway does not listen; its log ends:\n{}", self.log_tail()),
        };
        self.scheme = scheme;
        self.s3.address = s3;
        self.admin.address = admin;
        self.process = Some(child);
        Ok(())
    }

    /// Waits so long for the gateway to end by itself; `None` when it still runs.
    ///
    /// # Panics
    /// When it cannot be waited for.
    pub async fn ended(&mut self, patience: Duration) -> Option<ExitStatus> {
        let status = timeout(patience, self.process.as_mut()?.wait()).await.ok()?;
        self.process = None;
        Some(status.expect("the gateway can be waited for"))
    }

    /// Stops the gateway as an operator would, and checks that it ends well.
    ///
    /// # Panics
    /// When it does not end in time, or not with code 0.
    pub async fn stop(&mut self) {
        let Some(mut child) = self.process.take() else { return };
        signal(&child, Signal::TERM);
        let status = timeout(PATIENCE, child.wait()).await;
        let status = status.unwrap_or_else(|_| panic!("it does not stop; its log ends:\n{}", self.log_tail()));
        let code = status.expect("the gateway can be waited for").code();
        assert_eq!(code, Some(0), "a stopped gateway exits 0; its log ends:\n{}", self.log_tail());
    }

    /// Ends the gateway with no warning.
    ///
    /// # Panics
    /// When it cannot be waited for.
    pub async fn kill(&mut self) {
        let Some(mut child) = self.process.take() else { return };
        signal(&child, Signal::KILL);
        child.wait().await.expect("the gateway can be waited for");
    }

    /// Makes the gateway stand still wherever it is, until it is woken up.
    pub fn pause(&self) {
        if let Some(child) = &self.process {
            signal(child, Signal::STOP);
        }
    }

    /// Wakes the gateway up after [`Harness::pause`].
    pub fn wake(&self) {
        if let Some(child) = &self.process {
            signal(child, Signal::CONT);
        }
    }

    /// Asks the gateway to stop, and does not wait for it.
    pub fn terminate(&self) {
        if let Some(child) = &self.process {
            signal(child, Signal::TERM);
        }
    }

    /// Stops and starts.
    pub async fn restart(&mut self) {
        self.stop().await;
        self.resume().await;
    }

    /// Closes a test with the audit: the gateway stops with code 0, the live views equal their replay, every blob matches
    /// its digests, every manifest its files, and the log's chain holds.
    ///
    /// # Panics
    /// When any of it is not so.
    pub async fn finish(mut self) {
        self.stop().await;
        self.audit().await;
    }

    /// The audit alone, over a gateway that is stopped.
    ///
    /// # Panics
    /// When it finds anything.
    pub async fn audit(&self) {
        assert!(self.process.is_none(), "the audit wants the gateway stopped");
        for arguments in [["replay", "--check"], ["verify", "--json"]] {
            let mut command = self.command(&arguments);
            // However little a gateway was to wait for its storage, the audit is about what lies there.
            let _ = command.env_remove("ARTIFACTSTORE_STORAGE_S3_TIMEOUT_SECONDS");
            let _ = command::run(command).await.succeeded();
        }
    }

    /// Runs a subcommand on this gateway's folder.
    pub async fn cli(&self, arguments: &[&str]) -> Outcome {
        command::run(self.command(arguments)).await
    }

    /// A subcommand with this gateway's settings and nothing else of the environment.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = match self.launcher.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(&self.program);
                command
            }
            None => Command::new(&self.program),
        };
        command.args(arguments).env_clear().current_dir(self.folder.path());
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        command
    }

    /// The test's own folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The gateway's data folder.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The file with the authority that clients have to trust; `None` when the gateway speaks plain HTTP.
    #[must_use]
    pub fn authority(&self) -> Option<PathBuf> {
        (self.scheme == "https").then(|| self.data().join("tls-authority.pem"))
    }

    /// Asks the gateway to read its certificate again.
    pub fn hang_up(&self) {
        if let Some(child) = &self.process {
            signal(child, Signal::HUP);
        }
    }

    /// The S3 endpoint as a URL.
    #[must_use]
    pub fn s3_url(&self) -> String {
        format!("{}://{}", self.scheme, self.s3.address)
    }

    /// The admin endpoint as a URL.
    #[must_use]
    pub fn admin_url(&self) -> String {
        format!("{}://{}", self.scheme, self.admin.address)
    }

    /// Creates the producer of a name unless this harness did before.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn producer(&self, name: &str) {
        let producer = name.split('/').next().unwrap_or_default();
        let mut known = self.producers.lock().await;
        if !known.contains(producer) {
            self.s3.put(producer, b"").await.expect("the producer is created");
            known.insert(producer.to_owned());
        }
    }

    /// Creates a producer with settings, or changes those that are named here.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn configure(&self, producer: &str, settings: Value) {
        let reply = self.admin.give("PUT", &format!("/v1/producers/{producer}"), &settings).await;
        assert!(reply.status < 300, "{} {}", reply.status, reply.text());
        self.producers.lock().await.insert(producer.to_owned());
    }

    /// Uploads `producer/key`, creating the producer if need be.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn put(&self, name: &str, body: &[u8]) -> Result<Reply, Refused> {
        self.producer(name).await;
        self.s3.put(name, body).await
    }

    /// Reads `producer/key`.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn get(&self, name: &str) -> Result<Reply, Refused> {
        self.s3.get(name).await
    }

    /// Deletes `producer/key`.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn delete(&self, name: &str) -> Result<Reply, Refused> {
        self.s3.delete(name).await
    }

    /// All keys of a producer under a prefix.
    pub async fn list(&self, producer: &str, prefix: &str) -> Vec<String> {
        self.s3.list(producer, prefix).await
    }

    /// Finalizes a package by admin REST and gives the answer.
    ///
    /// # Errors
    /// With the answer, when it is refused.
    pub async fn finalize(&self, producer: &str, package: &str) -> Result<Value, Reply> {
        let path = format!("/v1/producers/{producer}/finalize");
        let reply = self.admin.give("POST", &path, &json!({ "package": package })).await;
        if reply.status == 200 { Ok(reply.json()) } else { Err(reply) }
    }

    /// How many events the log has.
    pub async fn event_count(&self) -> usize {
        self.admin.events(0).await.len()
    }

    /// The kinds of the events behind a number, in order.
    pub async fn kinds_since(&self, since: usize) -> Vec<String> {
        let events = self.admin.events(since as u64).await;
        events.iter().map(|event| event["kind"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Collects what nothing keeps beside the gateway, and lists the object files that are left, temporary ones included.
    ///
    /// # Panics
    /// When it fails.
    pub async fn sweep(&mut self) -> Vec<PathBuf> {
        let _ = self.cli(&["gc", "--grace", "0"]).await.succeeded();
        self.object_files()
    }

    fn setting(&self, name: &str) -> Option<&str> {
        self.settings.iter().rev().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    /// Every file under the objects folder.
    ///
    /// # Panics
    /// When the objects are not in the data folder: then there is nothing that this could say of them.
    #[must_use]
    pub fn object_files(&self) -> Vec<PathBuf> {
        let local = |storage: &str| storage.split(',').any(|one| one == "local");
        let elsewhere = self.setting("ARTIFACTSTORE_STORAGE").is_some_and(|storage| !local(storage));
        assert!(!elsewhere, "a test that looks at the files of objects wants them in a folder");
        let mut files = Vec::new();
        let mut folders = vec![self.data().join("objects")];
        while let Some(folder) = folders.pop() {
            let Ok(entries) = std::fs::read_dir(&folder) else { continue };
            for path in entries.flatten().map(|entry| entry.path()) {
                if path.is_dir() { folders.push(path) } else { files.push(path) }
            }
        }
        files.sort();
        files
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("gateway.log")
    }

    /// The gateway's log as it is now.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    /// The last lines of the gateway's log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let text = self.log();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the gateway's log ends:\n{}", self.log_tail());
        }
    }
}

/// The settings that keep a gateway to itself.
fn own_settings(data: &Path, keys: &Keys, token: &str) -> Vec<(String, String)> {
    let settings = [
        ("DATA_DIR", data.display().to_string()),
        ("S3_LISTEN", "127.0.0.1:0".to_owned()),
        ("ADMIN_LISTEN", "127.0.0.1:0".to_owned()),
        ("ROOT_ACCESS_KEY", keys.access_key.clone()),
        ("ROOT_SECRET_KEY", keys.secret_key.clone()),
        ("ADMIN_TOKEN", token.to_owned()),
        ("SECRETS_KEY", "harness-secrets-key-0123456789abcdef".to_owned()),
        ("LOG_LEVEL", "info".to_owned()),
        // A test that sets the clock forward is not about what is due then.
        ("SCRUB_INTERVAL_DAYS", "0".to_owned()),
    ];
    settings.map(|(name, value)| (format!("ARTIFACTSTORE_{name}"), value)).to_vec()
}

/// Reads the lines that say where the gateway listens, and keeps its output flowing afterwards.
pub async fn endpoints(
    output: impl AsyncRead + Unpin + Send + 'static,
) -> Option<(&'static str, SocketAddr, SocketAddr)> {
    let mut lines = BufReader::new(output).lines();
    let (mut scheme, mut s3, mut admin) = ("http", None, None);
    while let Ok(Some(line)) = lines.next_line().await {
        let mut address = |name: &str| {
            let (found, address) = line.strip_prefix(name)?.trim().split_once("://")?;
            scheme = if found == "https" { "https" } else { "http" };
            address.parse().ok()
        };
        s3 = s3.or_else(|| address("s3 "));
        admin = admin.or_else(|| address("admin "));
        if let (Some(s3), Some(admin)) = (s3, admin) {
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return Some((scheme, s3, admin));
        }
    }
    None
}

/// Sends a signal to a child that was not waited for yet, so that its number is still its own.
pub fn signal(child: &Child, signal: Signal) {
    let number = child.id().and_then(|id| i32::try_from(id).ok());
    if let Some(pid) = number.and_then(Pid::from_raw) {
        // One that ended by itself meanwhile is told apart by its exit code.
        let _ = kill_process(pid, signal);
    }
}
