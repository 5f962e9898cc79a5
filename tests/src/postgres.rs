//! A PostgreSQL of one's own: a private cluster in a temporary folder, on a port of its own, gone with the test.
//!
//! PostgreSQL does not run as root; then it runs as a user who may do nothing. A process that does nothing but wait for
//! the end of this one stops the server and removes the folder, however this one ends.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The cluster's superuser, and the password that TCP connections want.
const USER: &str = "artifactstore";
const PASSWORD: &str = "hush-hush";

/// How long a server may take to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server.
#[derive(Debug)]
pub struct Cluster {
    folder: PathBuf,
    port: u16,
    programs: Programs,
    keeper: Child,
    alive: Option<ChildStdin>,
    serial: AtomicU64,
}

/// Where PostgreSQL's programs are, and who runs them.
#[derive(Debug)]
struct Programs {
    folder: PathBuf,
    user: Option<&'static str>,
}

/// A folder for a server's data and its socket.
fn private_folder(programs: &Programs) -> PathBuf {
    let folder = tempfile::Builder::new().prefix("artifactstore-pg-").tempdir().expect("a folder for PostgreSQL");
    let folder = folder.keep();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).expect("a private folder");
    programs.own(&folder);
    folder
}

impl Programs {
    /// Gives a file or a folder to whoever runs the programs.
    fn own(&self, path: &Path) {
        if let Some(user) = self.user {
            let owned = Command::new("chown").arg(user).arg(path).status().expect("chown runs");
            assert!(owned.success(), "{} is given to {user}", path.display());
        }
    }

    fn find() -> Self {
        let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
            .map(|found| found.flatten().map(|entry| entry.path().join("bin")).collect())
            .unwrap_or_default();
        versions.sort();
        let elsewhere: Vec<PathBuf> = std::env::var_os("PATH").iter().flat_map(std::env::split_paths).collect();
        let mut versions = [elsewhere, versions].concat();
        versions.retain(|folder| ["initdb", "pg_ctl", "psql"].iter().all(|program| folder.join(program).is_file()));
        let folder = versions.pop().unwrap_or_else(|| {
            panic!("PostgreSQL is missing, and these tests want a real one: `apt install postgresql-15`")
        });
        let user = rustix::process::geteuid().is_root().then_some("nobody");
        Self { folder, user }
    }

    /// A program that may run for root as well.
    fn command(&self, program: &Path) -> Command {
        let Some(user) = self.user else { return Command::new(program) };
        let mut command = Command::new("setpriv");
        command.args(["--reuid", user, "--regid", "nogroup", "--clear-groups", "--"]).arg(program);
        command
    }

    fn run(&self, program: &str, arguments: &[&str]) -> String {
        let mut command = self.command(&self.folder.join(program));
        command.args(arguments).env("PGPASSWORD", PASSWORD).current_dir("/").stdin(Stdio::null());
        let output = command.output().unwrap_or_else(|error| panic!("{program}: {error}"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {arguments:?}: {said}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Cluster {
    /// The one that the tests of a process share, each with a database of its own. What it commits is not on disk: it
    /// is for tests that are not about power cuts.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(&["fsync=off"]))
    }

    /// Starts one with these settings besides.
    ///
    /// # Panics
    /// When PostgreSQL is not there or does not start.
    #[must_use]
    pub fn start(settings: &[&str]) -> Self {
        let programs = Programs::find();
        let folder = private_folder(&programs);
        let password = folder.join("password");
        std::fs::write(&password, PASSWORD).expect("the password's file");
        programs.own(&password);
        let data = folder.join("data").display().to_string();
        let password = format!("--pwfile={}", password.display());
        // A collation that is not bytewise: whoever leans on the default order is found out.
        let order = ["--encoding=UTF8", "--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en"];
        let own = [
            "-D",
            &data,
            "-U",
            USER,
            "--auth-local=trust",
            "--auth-host=scram-sha-256",
            &password,
            "--no-sync",
            "--no-instructions",
        ];
        programs.run("initdb", &[&own[..], &order[..]].concat());
        Self::on(programs, folder, settings)
    }

    /// Starts one that follows this one, as it is now, and takes no writes before it is promoted.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn standby(&self) -> Self {
        let programs = Programs::find();
        let folder = private_folder(&programs);
        let data = folder.join("data").display().to_string();
        let (host, port) = (self.folder.display().to_string(), self.port.to_string());
        let from = ["-h", &host, "-p", &port, "-U", USER, "-D", &data];
        let how = ["--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync"];
        programs.run("pg_basebackup", &[&from[..], &how[..]].concat());
        Self::on(programs, folder, &[])
    }

    /// Lets one that followed another one go on by itself.
    pub fn promote(&self) {
        self.programs.run("pg_ctl", &["-D", &self.data(), "-w", "promote"]);
    }

    /// Changes a setting of the running server.
    pub fn configure(&self, setting: &str, value: &str) {
        self.sql("postgres", &format!("ALTER SYSTEM SET {setting} = '{value}'"));
        self.sql("postgres", "SELECT pg_reload_conf()");
    }

    /// The server whose data are in this folder, with these settings besides.
    fn on(programs: Programs, folder: PathBuf, settings: &[&str]) -> Self {
        let data = folder.join("data").display().to_string();
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
        let mut text = format!(
            "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{}'\n\
             shared_buffers = 32MB\nmax_connections = 100\nlogging_collector = off\n",
            folder.display()
        );
        settings.iter().for_each(|setting| text.push_str(&format!("{setting}\n")));
        // Written by whoever owns the folder.
        let configured = format!("cat >>{data}/postgresql.conf <<'END'\n{text}END");
        let written = programs.command(Path::new("sh")).args(["-c", &configured]).current_dir("/").status();
        assert!(written.is_ok_and(|status| status.success()), "the settings are written");
        let (keeper, alive) = keep(&programs, &folder);
        let cluster = Self { folder, port, programs, keeper, alive: Some(alive), serial: AtomicU64::new(0) };
        cluster.resume();
        cluster
    }

    fn data(&self) -> String {
        self.folder.join("data").display().to_string()
    }

    /// A new, empty database: its URL, over the socket, where no password is asked for.
    pub fn database(&self) -> String {
        let name = format!("test_{}", self.serial.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name} STRATEGY file_copy"));
        let folder = self.folder.display();
        format!("postgres:///{name}?host={folder}&port={}&user={USER}", self.port)
    }

    /// The URL over TCP of a database that may be there or not; with the password that is wanted there.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        let database = name_of(database);
        format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{}/{database}", self.port)
    }

    /// Where it listens.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Runs a statement in a database that is named by itself or by its URL: the rows, their columns divided by `|`.
    pub fn sql(&self, database: &str, statement: &str) -> String {
        let database = name_of(database);
        let (host, port) = (self.folder.display().to_string(), self.port.to_string());
        let own = ["-h", &host, "-p", &port, "-U", USER, "-d", database, "-XqAt", "-v", "ON_ERROR_STOP=1"];
        self.programs.run("psql", &[&own[..], &["-c", statement]].concat()).trim_end().to_owned()
    }

    /// Stops it at once, as a crash would.
    pub fn crash(&self) {
        self.programs.run("pg_ctl", &["-D", &self.data(), "-m", "immediate", "-w", "stop"]);
    }

    /// Starts it again, and waits until it answers.
    ///
    /// # Panics
    /// When it does not in time.
    pub fn resume(&self) {
        let log = self.folder.join("server.log").display().to_string();
        let patience = PATIENCE.as_secs().to_string();
        self.programs.run("pg_ctl", &["-D", &self.data(), "-l", &log, "-w", "-t", &patience, "start"]);
    }

    /// Ends the sessions of a database that this condition on `pg_stat_activity` picks; says how many.
    pub fn terminate(&self, database: &str, condition: &str) -> usize {
        let name = name_of(database);
        let text = format!(
            "SELECT count(*) FROM (SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = '{name}' AND pid <> pg_backend_pid() AND {condition}) AS ended"
        );
        self.sql("postgres", &text).parse().expect("a count")
    }
}

/// The name of the database that a URL, or itself, names.
#[must_use]
pub fn name_of(database: &str) -> &str {
    let path = database.split('?').next().unwrap_or(database);
    path.rsplit('/').next().unwrap_or(path)
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.alive.take());
        let begun = Instant::now();
        while matches!(self.keeper.try_wait(), Ok(None)) && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// What outlives this process: it stops the server and removes the folder once its input ends.
fn keep(programs: &Programs, folder: &Path) -> (Child, ChildStdin) {
    let script = format!(
        "cat >/dev/null; '{}' -D '{folder}/data' -m immediate -w stop; rm -rf '{folder}'",
        programs.folder.join("pg_ctl").display(),
        folder = folder.display()
    );
    let mut command = programs.command(Path::new("setsid"));
    command.args(["sh", "-c", &script]).current_dir("/");
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut keeper = command.spawn().expect("what stops PostgreSQL starts");
    let alive = keeper.stdin.take().expect("its input is piped");
    (keeper, alive)
}
