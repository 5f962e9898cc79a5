//! Puts the gateway together: with its storage beside it, the only file that names a concrete backend or database.
//!
//! Invariant: at most one process serves a data folder.

mod background;
mod storage;

pub use storage::{Storage, Storages};

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use artifactstore_backends::dataplane::inproc::{InProcessDataPlane, PlaneOptions};
use artifactstore_registry::actions::request::{Collection, Progress};
use artifactstore_registry::clock::{Entropy, SystemClock};
use artifactstore_registry::log::transfer::{Transferred, transfer};
use artifactstore_registry::model::command::FinalizeFacts;
use artifactstore_registry::model::event::Actor;
use artifactstore_registry::model::name::TenantName;
use artifactstore_registry::model::storage::Storage as Moves;
pub use artifactstore_registry::store::OpenMode;
use artifactstore_registry::store::postgres::PostgresStore;
use artifactstore_registry::store::sqlite::SqliteStore;
use artifactstore_registry::store::{Schema, Store, StoreCatalog};
use artifactstore_registry::{Error, MANIFEST_INLINE_LIMIT_BYTES, Registry, RegistryParts};
use s3s::auth::SecretKey;
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::VERSION;
use crate::admin::{self, AdminParts};
use crate::config::credentials::{Credentials, CredentialsError};
use crate::config::{Database, Settings, StorageKind};
use crate::edge;
use crate::edge::auth::AccessKey;
use crate::edge::keys::RegistryKeys;
use crate::edge::serve::ServeLimits;
use crate::edge::service::{Edge, InvalidRegion, S3Settings, s3_service};
use crate::edge::tls::{Tls, TlsError};
use crate::secrets::Sealer;
use crate::telemetry::RequestCounts;

/// Why the gateway, or a command, did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder cannot be made or written.
    #[error("cannot use the folder {}", .path.display())]
    FolderUnusable {
        /// The folder, or the file in it that failed.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another process serves the folder.
    #[error("the folder {} is in use by another `artifactstore serve`", .path.display())]
    FolderInUse {
        /// The folder.
        path: PathBuf,
    },
    /// A command looks for a registry where there is none.
    #[error("there is no registry at {} (`artifactstore serve` or `artifactstore migrate` makes one)", .path.display())]
    RegistryMissing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// An address cannot be listened on.
    #[error("cannot listen on {address} ({setting})")]
    ListenFailed {
        /// The address.
        address: SocketAddr,
        /// The setting that names it.
        setting: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// A bucket is asked for, and the settings describe none.
    #[error("the settings describe no S3 storage: set storage_s3_endpoint and those that go with it")]
    StorageUnknown,
    /// The log knows bytes in a storage that the settings do not name.
    #[error("the registry keeps bytes in the storage `{name}`: name it in the setting storage")]
    StorageNeeded {
        /// The storage's name.
        name: String,
    },
    /// The credentials.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The region.
    #[error(transparent)]
    Region(#[from] InvalidRegion),
    /// The registry.
    #[error(transparent)]
    Registry(#[from] Error),
}

/// A registry that was opened, and what became of its schema.
#[derive(Debug)]
pub struct Opened {
    /// The registry.
    pub registry: Registry,
    /// Where its bytes are.
    pub storage: Storages,
    /// The newest migration that was found; `None` when there was no database.
    pub schema_found: Option<i64>,
    /// The newest migration now.
    pub schema_now: i64,
    /// Where the database is, without secrets.
    pub place: String,
}

/// A store that was opened, and where it is.
struct OpenedStore {
    store: Arc<dyn Store>,
    schema: Schema,
    place: String,
}

async fn open_store(database: &Database, mode: OpenMode) -> Result<OpenedStore, StartError> {
    let path = match database {
        Database::Sqlite(path) => path,
        Database::Postgres(url) => {
            let store = PostgresStore::open(url.expose(), mode).await?;
            let (schema, place) = (store.schema(), store.url().to_owned());
            return Ok(OpenedStore { store: Arc::new(store), schema, place });
        }
    };
    if mode == OpenMode::Existing && !path.exists() {
        return Err(StartError::RegistryMissing { path: path.clone() });
    }
    let store = SqliteStore::open(path, mode).await?;
    let schema = store.schema();
    if schema.found.is_none() {
        // SQLite syncs what it writes into a new file, and not the folder that has to name it.
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        sync_folder(folder.unwrap_or(Path::new(".")))?;
    }
    Ok(OpenedStore { store: Arc::new(store), schema, place: path.display().to_string() })
}

/// What copying a registry did.
#[derive(Debug, Clone)]
pub struct Copied {
    /// The events.
    pub events: Transferred,
    /// Where they are now, without secrets.
    pub place: String,
}

/// Copies the registry of another database into the one of these settings, which is made if it is missing. The bytes
/// stay where they are.
///
/// # Errors
/// When either cannot be opened, or the target has events that the source does not have.
pub async fn copy_registry(
    settings: &Settings,
    from: &Database,
    on_progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Copied, StartError> {
    let source = open_store(from, OpenMode::Existing).await?.store;
    make_folder(&settings.data_dir)?;
    let OpenedStore { store: target, place, .. } = open_store(&settings.database, OpenMode::Create).await?;
    let events = async {
        let mut snapshot = source.snapshot().await?;
        transfer(&mut *snapshot, &*target, on_progress).await
    };
    let events = events.await;
    source.close().await;
    target.close().await;
    Ok(Copied { events: events?, place })
}

/// Opens the registry over its database and its backend.
///
/// # Errors
/// When either cannot be opened in this mode.
pub async fn open_registry(settings: &Settings, mode: OpenMode) -> Result<Opened, StartError> {
    if mode == OpenMode::Create {
        make_folder(&settings.data_dir)?;
    }
    let OpenedStore { store, schema, place } = open_store(&settings.database, mode).await?;
    for name in Moves::new(store.moves().await?).needed() {
        let wanted = StorageKind::parse(name).ok().filter(|kind| settings.storage.contains(kind));
        if wanted.is_none() {
            return Err(StartError::StorageNeeded { name: name.to_owned() });
        }
    }
    let storage = Storages::open(settings, mode).await?;
    let backends = storage.backends()?;
    let facts = FinalizeFacts { gateway_version: VERSION.to_owned(), backend: backends.first().name().to_owned() };
    let budget = usize::try_from(settings.buffer_budget_bytes).unwrap_or(usize::MAX);
    let options = PlaneOptions { buffer_budget_bytes: budget, ..PlaneOptions::default() };
    let catalog = Arc::new(StoreCatalog::new(Arc::clone(&store)));
    let plane = Arc::new(InProcessDataPlane::over(backends, catalog, &options));
    let registry = Registry::open(RegistryParts {
        store,
        plane,
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        facts,
        manifest_inline_limit_bytes: MANIFEST_INLINE_LIMIT_BYTES,
    });
    Ok(Opened { registry, storage, schema_found: schema.found, schema_now: schema.now, place })
}

/// The operating system's random bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fresh(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        let filled = getrandom::fill(&mut bytes);
        assert!(filled.is_ok(), "the operating system gives random bytes");
        bytes
    }
}

/// The tenant that the root's keys, the admin token and the command line act for.
///
/// # Panics
/// Never: the name is a constant that parses.
#[must_use]
#[expect(clippy::expect_used, reason = "a constant")]
pub fn root_tenant() -> TenantName {
    TenantName::parse("root").expect("a tenant's name")
}

/// The actor of the command line.
#[must_use]
pub fn cli_actor() -> Actor {
    Actor {
        tenant: root_tenant(),
        name: "cli".to_owned(),
        request_id: hex::encode(SystemEntropy.fresh()),
        client: Some(format!("artifactstore/{VERSION}")),
    }
}

fn make_folder(path: &Path) -> Result<(), StartError> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| StartError::FolderUnusable { path: path.to_owned(), source })
}

fn sync_folder(path: &Path) -> Result<(), StartError> {
    let synced = File::open(path).and_then(|folder| folder.sync_all());
    synced.map_err(|source| StartError::FolderUnusable { path: path.to_owned(), source })
}

/// Keeps every other `serve` out of a data folder, for as long as it lives; the operating system lets go of it however
/// the process ends.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Takes the folder, making it first when it is not there.
    ///
    /// # Errors
    /// When another process has it, or it cannot be written.
    pub fn take(data_dir: &Path) -> Result<Self, StartError> {
        make_folder(data_dir)?;
        let path = data_dir.join("gateway.lock");
        let unusable = |source| StartError::FolderUnusable { path: data_dir.to_owned(), source };
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path).map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(StartError::FolderInUse { path: data_dir.to_owned() }),
            Err(TryLockError::Error(source)) => Err(unusable(source)),
        }
    }
}

/// A gateway that serves.
#[derive(Debug)]
pub struct Gateway {
    /// Where S3 clients reach it.
    pub s3_address: SocketAddr,
    /// Where the admin REST is.
    pub admin_address: SocketAddr,
    /// What clients sign with.
    pub credentials: Credentials,
    /// What its listeners speak TLS with; `None` when they speak plain HTTP.
    pub tls: Option<Arc<Tls>>,
    registry: Registry,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    grace: Duration,
    // Declared last, and so let go of last.
    _lock: FolderLock,
}

/// From what age on a temporary file is a dead process's. Over SQLite this process alone serves the folder, so that
/// all of them are; over PostgreSQL other gateways may be writing into the same one.
const fn temporaries_age(database: &Database) -> Duration {
    match database {
        Database::Sqlite(_) => Duration::ZERO,
        Database::Postgres(_) => Duration::from_hours(24),
    }
}

/// Starts the gateway: takes the folder, settles the credentials, opens the registry, listens.
///
/// # Errors
/// When any of that fails. Nothing is served then.
pub async fn serve(settings: &Settings) -> Result<Gateway, StartError> {
    let lock = FolderLock::take(&settings.data_dir)?;
    // What can fail without a trace does so first.
    let tls = settings.tls.clone().map(Tls::open).transpose()?.map(Arc::new);
    // Ports come before everything that writes: a start that cannot succeed leaves no credentials behind.
    let s3_listener = listen(settings.s3_listen, "s3_listen")?;
    let admin_listener = listen(settings.admin_listen, "admin_listen")?;
    let s3_address = local_address(&s3_listener, settings.s3_listen, "s3_listen")?;
    let admin_address = local_address(&admin_listener, settings.admin_listen, "admin_listen")?;
    let Opened { registry, storage, .. } = open_registry(settings, OpenMode::Create).await?;
    storage.sweep_temporaries(temporaries_age(&settings.database)).await?;
    let credentials = Credentials::settle(settings)?;

    let stop = CancellationToken::new();
    let counts = Arc::new(RequestCounts::default());
    let s3_counts = Arc::new(RequestCounts::default());
    let router = admin::router(AdminParts {
        registry: registry.clone(),
        tenant: root_tenant(),
        token: credentials.admin_token.clone(),
        sealer: sealer(&credentials),
        collect_grace: settings.collect.grace,
        lifecycle_day: settings.lifecycle.day,
        stop: stop.clone(),
        counts: vec![("admin", Arc::clone(&counts)), ("s3", Arc::clone(&s3_counts))],
        own_counts: counts,
    });
    let s3 = s3_side(settings, &registry, &credentials)?;
    let s3 = tower::ServiceBuilder::new()
        .map_response(move |response: http::Response<_>| {
            s3_counts.count(response.status());
            response
        })
        .service(s3);
    let limits = ServeLimits {
        connections: settings.edge.connections_limit,
        header_timeout: settings.edge.header_timeout,
        write_timeout: settings.edge.body_idle_timeout,
        grace: settings.shutdown_grace,
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(edge::serve::serve(s3_listener, tls.clone(), s3, limits, stop.clone()));
    tasks.spawn(edge::serve::serve(admin_listener, tls.clone(), router, limits, stop.clone()));
    tasks.spawn(background::finalize_idle(registry.clone(), stop.clone()));
    if let Some(interval) = settings.collect.interval {
        let how = Collection { grace: settings.collect.grace, dry: false, under_lease: true };
        tasks.spawn(background::collect(registry.clone(), interval, how, stop.clone()));
    }
    if let Some(interval) = settings.lifecycle.interval {
        tasks.spawn(background::expire(registry.clone(), interval, settings.lifecycle, stop.clone()));
    }
    tasks.spawn(background::note_time(registry.clone(), stop.clone()));
    tasks.spawn(background::scrub(registry.clone(), settings.scrub.clone(), stop.clone()));
    let grace = settings.shutdown_grace;
    Ok(Gateway { s3_address, admin_address, credentials, tls, registry, stop, tasks, grace, _lock: lock })
}

impl Gateway {
    /// Takes no more requests, finishes those in flight for as long as the grace lasts, and closes the registry.
    pub async fn stop(mut self) {
        self.stop.cancel();
        let finished = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(self.grace, finished).await.is_err() {
            tracing::warn!("some requests did not finish in time and are given up");
            self.tasks.shutdown().await;
        }
        self.registry.stop().await;
    }
}

/// How many connections may wait to be accepted. When more come at once, the system resets some of them.
const BACKLOG: u32 = 4096;

fn listen(address: SocketAddr, setting: &'static str) -> Result<TcpListener, StartError> {
    let listening = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listening().map_err(|source| StartError::ListenFailed { address, setting, source })
}

fn local_address(listener: &TcpListener, address: SocketAddr, setting: &'static str) -> Result<SocketAddr, StartError> {
    listener.local_addr().map_err(|source| StartError::ListenFailed { address, setting, source })
}

/// What seals the secrets of access keys; `None` when no key to seal with is known.
pub fn sealer(credentials: &Credentials) -> Option<Arc<Sealer>> {
    credentials.secrets_key.as_ref().map(|key| Arc::new(Sealer::new(key)))
}

/// The S3 side over a registry, for the root's key and those of the registry.
fn s3_side(settings: &Settings, registry: &Registry, credentials: &Credentials) -> Result<Edge, StartError> {
    let secret = SecretKey::from(credentials.secret_key.expose());
    let root = (credentials.access_key.clone(), AccessKey { secret, tenant: root_tenant(), grants: None });
    let keys = RegistryKeys::new(registry.clone(), sealer(credentials), root);
    let s3_settings = S3Settings {
        region: settings.region.clone(),
        checksum_sha256: settings.checksum_sha256,
        domain: settings.s3_domain.clone(),
        body_idle_timeout: settings.edge.body_idle_timeout,
        trusted_proxies: settings.edge.trusted_proxies.clone(),
        sigv2_presigned: settings.edge.sigv2_presigned,
        sigv2_headers: settings.edge.sigv2_headers,
        form_head_timeout: settings.edge.header_timeout,
        ..S3Settings::default()
    };
    Ok(s3_service(registry.clone(), s3_settings, Arc::new(keys))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::chain;

    #[test]
    fn a_folder_is_served_by_one() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().join("a/b");
        let held = FolderLock::take(&data_dir).unwrap();
        let refused = FolderLock::take(&data_dir).unwrap_err();
        assert!(matches!(refused, StartError::FolderInUse { .. }), "{refused}");
        drop(held);
        assert!(FolderLock::take(&data_dir).is_ok());
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "").unwrap();
        let refused = FolderLock::take(&folder.path().join("file/below")).unwrap_err();
        assert!(chain(&refused).contains("file/below"), "{refused}");
    }
}
