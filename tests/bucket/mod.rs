//! The promises that hold for every S3 store that bytes are kept in: tried on moto by `make test`, and the same on Ceph
//! RGW by `make test-rgw`. `crate::store` is the store that is tried.

mod conformance;
pub(crate) mod faults;
mod moving;
mod relocating;
mod serving;

use artifactstore_tests::{Harness, Proxy, Store};

/// A gateway that keeps its bytes in a store.
pub(crate) async fn gateway_on(store: &Store) -> Harness {
    gateway(store.settings(), &[]).await
}

/// A gateway that reaches its store through a proxy, and has little patience.
pub(crate) async fn gateway_behind(store: &Store, proxy: &Proxy) -> Harness {
    gateway(store.settings_by(proxy.address), &IMPATIENT).await
}

/// A gateway on a store for which it has little patience.
#[allow(dead_code, reason = "for stores that can be killed")]
pub(crate) async fn impatient_gateway_on(store: &Store) -> Harness {
    gateway(store.settings(), &IMPATIENT).await
}

/// The settings of a gateway on a store for which it has little patience.
#[allow(dead_code, reason = "for several gateways on a store")]
pub(crate) fn impatient_settings(store: &Store) -> Vec<(String, String)> {
    let mut settings = store.settings();
    settings.extend(IMPATIENT.map(|(name, value)| (name.to_owned(), value.to_owned())));
    settings
}

const IMPATIENT: [(&str, &str); 1] = [("ARTIFACTSTORE_STORAGE_S3_TIMEOUT_SECONDS", "2")];

async fn gateway(settings: Vec<(String, String)>, more: &[(&str, &str)]) -> Harness {
    let mut all: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (&**name, &**value)).collect();
    all.extend(more);
    Harness::start_with(&all).await
}
