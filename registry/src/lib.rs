//! Floor 1 of artifact-store: meaning.
//!
//! Commands become events, events become views, packages are finalized into manifests. Knows nothing of HTTP, and works
//! with no server: open a store and a data plane, and call [`Registry`].

pub mod actions;
pub mod clock;
pub mod error;
pub mod log;
pub mod model;
pub mod store;

pub use artifactstore_backends as backends;
pub use error::{Error, Refusal, Result};

use std::sync::Arc;

use actions::lease::Leases;
use actions::request::{CollectTotals, LifecycleTotals};
use actions::scrub::ScrubTotals;
use backends::dataplane::spi::DataPlane;
use clock::{Clock, Entropy, Timestamp};
use log::writer::{LogWriter, Vault, WriterParts};
use model::command::FinalizeFacts;
use store::Store;

/// From how many bytes a manifest is stored as a blob and not in its event. The crash tests want both kinds.
pub const MANIFEST_INLINE_LIMIT_BYTES: usize = if cfg!(feature = "failpoints") { 2 << 10 } else { 16 << 20 };

/// What a registry stands on.
#[derive(Debug)]
pub struct RegistryParts {
    /// The log and its views.
    pub store: Arc<dyn Store>,
    /// The bytes.
    pub plane: Arc<dyn DataPlane>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Fresh identifiers.
    pub entropy: Arc<dyn Entropy>,
    /// What manifests say of the program and its backend.
    pub facts: FinalizeFacts,
    /// From how many bytes a manifest is stored as a blob: [`MANIFEST_INLINE_LIMIT_BYTES`].
    pub manifest_inline_limit_bytes: usize,
}

/// The registry: all that floor 2 may call.
///
/// Cheap to clone. Every method that changes something returns only after its event is committed and its bytes are
/// synced; dropping its future neither tears nor undoes what was on its way. Every method that takes an actor refuses
/// what belongs to another tenant than the actor's. Lists are in order and hold at most what was asked for.
#[derive(Debug, Clone)]
pub struct Registry {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) plane: Arc<dyn DataPlane>,
    pub(crate) log: LogWriter,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) facts: FinalizeFacts,
    pub(crate) vault: Arc<dyn Vault>,
    pub(crate) leases: Leases,
    /// What was collected since this process began.
    pub(crate) collected: std::sync::Mutex<CollectTotals>,
    /// What went by itself since then.
    pub(crate) expired: std::sync::Mutex<LifecycleTotals>,
    /// What was read again since this process began.
    pub(crate) scrubbed: std::sync::Mutex<ScrubTotals>,
    /// Held by whoever makes the seal of a large package: each holds all of its manifest in memory.
    pub(crate) sealing: tokio::sync::Mutex<()>,
    pub(crate) manifest_inline_limit_bytes: usize,
}

impl Inner {
    /// The time that the gateways of this registry agree on.
    pub(crate) async fn now(&self) -> Result<Timestamp> {
        Ok(self.clock.agreed(self.store.time().await?))
    }
}

impl Registry {
    /// Starts the log writer; must be called within a tokio runtime.
    #[must_use]
    pub fn open(parts: RegistryParts) -> Self {
        let vault: Arc<dyn Vault> = Arc::new(actions::PlaneVault::new(Arc::clone(&parts.plane)));
        let log = LogWriter::start(WriterParts {
            store: Arc::clone(&parts.store),
            clock: Arc::clone(&parts.clock),
            vault: Arc::clone(&vault),
            inline_limit_bytes: parts.manifest_inline_limit_bytes,
        });
        let RegistryParts { store, plane, clock, entropy, facts, manifest_inline_limit_bytes } = parts;
        let sealing = tokio::sync::Mutex::default();
        let leases = Leases::new(hex::encode(entropy.fresh()));
        let inner = Inner {
            store,
            plane,
            log,
            clock,
            entropy,
            facts,
            vault,
            leases,
            collected: std::sync::Mutex::default(),
            expired: std::sync::Mutex::default(),
            scrubbed: std::sync::Mutex::default(),
            sealing,
            manifest_inline_limit_bytes,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Takes no more commands, waits for those on their way, and closes the store.
    pub async fn stop(&self) {
        self.inner.log.stop().await;
        self.inner.leases.end(&*self.inner.store).await;
        self.inner.store.close().await;
    }
}
