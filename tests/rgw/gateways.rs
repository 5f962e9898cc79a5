//! Several gateways on one PostgreSQL and one Ceph RGW.

use std::time::Duration;

use tokio::net::TcpStream;

use crate::bucket::impatient_settings;
use crate::ceph::{cluster, fill};
use crate::cluster::faults::{self, Fault};
use crate::cluster::{Site, serving};
use crate::store;

/// How long the fault run takes, by default.
const FAULT_SECONDS: u64 = 75;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_gateway_goes_on_with_what_another_began() {
    let store = store().await;
    let site = Site { settings: store.settings(), server: Some(store.s3.address) };
    serving::any_gateway_goes_on_with_what_another_began(&site).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_while_gateways_database_network_and_rgw_come_and_go() {
    let store = store().await;
    let site = Site { settings: impatient_settings(&store), server: Some(store.s3.address) };
    let faults = [
        Fault::Killed,
        Fault::StorageCrashed,
        Fault::Killed,
        Fault::DatabaseCrashed,
        Fault::Asleep,
        Fault::NetworkCut,
        Fault::Killed,
        Fault::StorageFull,
    ];
    let storage = async |fault| {
        if fault == Fault::StorageFull {
            // Which waits until the cluster takes itself for full.
            fill(true).await;
            tokio::time::sleep(Duration::from_secs(3)).await;
            fill(false).await;
            return true;
        }
        let _ = cluster("kill", &["rgw"]).await;
        let seen = TcpStream::connect(store.s3.address).await.is_err();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let _ = cluster("start", &[]).await;
        seen
    };
    faults::run(&site, faults::time(FAULT_SECONDS), &faults, storage).await;
}
