//! What only a real cluster does: it is killed, it fills up, its quota ends.

use std::time::Duration;

use artifactstore_tests::command::{self, workspace};
use artifactstore_tests::{Harness, Store};
use tokio::process::Command;

use crate::body;
use crate::bucket::faults::nothing_acknowledged_is_lost;
use crate::bucket::{gateway_on, impatient_gateway_on};
use crate::store;

/// The program that runs the cluster, on the cluster under test.
pub(crate) async fn cluster(verb: &str, arguments: &[&str]) -> String {
    let folder = std::env::var_os("ARTIFACTSTORE_RGW_CLUSTER").expect("`make test-rgw` names the cluster's folder");
    let mut program = Command::new(workspace().join("tests/rgw/cluster"));
    program.args([verb, "--dir"]).arg(folder).args(arguments);
    command::run(program).await.succeeded()
}

async fn expect_refused(gateway: &Harness, name: &str, size: usize, status: u16, code: &str) {
    let refused = gateway.put(name, &body::bytes(size as u64, size)).await.unwrap_err();
    assert_eq!((refused.status(), refused.code()), (status, code), "{}", refused.reply.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_rgw_and_its_osd_are_killed_under_load() {
    let store = store().await;
    let gateway = impatient_gateway_on(&store).await;
    nothing_acknowledged_is_lost(gateway, async {
        for victim in ["rgw", "osd", "rgw"] {
            tokio::time::sleep(Duration::from_secs(3)).await;
            let _ = cluster("kill", &[victim]).await;
            tokio::time::sleep(Duration::from_secs(5)).await;
            let _ = cluster("start", &[]).await;
        }
        tokio::time::sleep(Duration::from_secs(3)).await;
    })
    .await;
}

#[tokio::test]
async fn a_cluster_that_is_full_makes_clients_wait_and_goes_on_when_there_is_room() {
    let store = store().await;
    let gateway = impatient_gateway_on(&store).await;
    let kept = body::bytes(1, 300_000);
    gateway.put("full/run/kept", &kept).await.unwrap();
    let events = gateway.event_count().await;
    fill(true).await;
    // A full cluster answers no write at all: it holds them until there is room.
    expect_refused(&gateway, "full/run/small", 4096, 503, "SlowDown").await;
    expect_refused(&gateway, "full/run/large", 9 << 20, 503, "SlowDown").await;
    assert!(gateway.get("full/run/kept").await.unwrap().body == kept, "reads go on");
    assert_eq!(gateway.event_count().await, events);
    assert_eq!(gateway.admin.get("/health/ready").await.status, 503);
    fill(false).await;
    gateway.put("full/run/small", &body::bytes(4096, 4096)).await.unwrap();
    assert_eq!(gateway.admin.get("/health/ready").await.status, 200);
    gateway.finish().await;
}

#[tokio::test]
async fn a_quota_that_is_used_up_is_a_full_storage_and_reads_go_on() {
    let store = store().await;
    let gateway = gateway_on(&store).await;
    let kept = body::bytes(1, 300_000);
    gateway.put("quota/run/kept", &kept).await.unwrap();
    quota(&store, "1").await;
    expect_refused(&gateway, "quota/run/more", 20_000, 507, "InsufficientStorage").await;
    expect_refused(&gateway, "quota/run/large", 20 << 20, 507, "InsufficientStorage").await;
    assert!(gateway.get("quota/run/kept").await.unwrap().body == kept, "reads go on");
    assert_eq!(gateway.list("quota", "").await, ["run/kept"]);
    quota(&store, "-1").await;
    gateway.put("quota/run/more", &kept[1..]).await.unwrap();
    gateway.finish().await;
}

/// Makes the cluster take the little that it holds for too much, or no longer, and waits until it does.
pub(crate) async fn fill(full: bool) {
    const RATIOS: [&str; 3] = ["set-nearfull-ratio", "set-backfillfull-ratio", "set-full-ratio"];
    let values = if full { ["0.000001", "0.000002", "0.000003"] } else { ["0.85", "0.9", "0.95"] };
    for (ratio, value) in RATIOS.iter().zip(values) {
        let _ = cluster("run", &["--", "ceph", "osd", ratio, value]).await;
    }
    for _ in 0..100 {
        let dump = cluster("run", &["--", "ceph", "osd", "dump"]).await;
        let pools = dump.lines().filter(|line| line.starts_with("pool "));
        if pools.clone().count() > 0 && pools.clone().all(|pool| pool.contains("hashpspool,full") == full) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("the cluster does not notice");
}

/// How many objects the bucket may have.
async fn quota(store: &Store, objects: &str) {
    let bucket = format!("--bucket={}", store.bucket);
    let most = format!("--max-objects={objects}");
    for words in [vec!["quota", "set", &most], vec!["quota", "enable"]] {
        let mut command = vec!["--", "radosgw-admin", "--name", "client.rgw"];
        command.extend(words);
        command.extend(["--quota-scope=bucket", &bucket]);
        let _ = cluster("run", &command).await;
    }
}
