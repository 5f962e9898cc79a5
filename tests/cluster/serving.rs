//! To their clients, several gateways are one store.

use artifactstore_tests::Harness;

use super::fleet::Fleet;
use super::{PRODUCER, Site};
use crate::body;

async fn put(gateway: &Harness, name: &str, bytes: &[u8]) {
    gateway.s3.put(&format!("{PRODUCER}/{name}"), bytes).await.unwrap();
}

/// An upload begun at one, its parts sent to the others, completed at a third, which the first does not outlive; every
/// write seen by all at once; a seal made at one and kept by all.
pub(crate) async fn any_gateway_goes_on_with_what_another_began(site: &Site) {
    let mut fleet = Fleet::start(site).await;
    let [one, two, three] = &fleet.gateways[..] else { panic!("three gateways") };
    one.producer(PRODUCER).await;

    // Reads after writes, through any.
    for (turn, writer) in fleet.gateways.iter().enumerate() {
        for round in 0..5_u64 {
            let bytes = body::bytes(round, 3000 * (turn + 1));
            put(writer, "shared/key", &bytes).await;
            for reader in &fleet.gateways {
                assert!(reader.get(&format!("{PRODUCER}/shared/key")).await.unwrap().body == bytes, "{turn} {round}");
            }
        }
    }
    put(two, "listed/b", b"b").await;
    put(three, "listed/a", b"a").await;
    assert_eq!(one.list(PRODUCER, "listed/").await, ["listed/a", "listed/b"]);
    three.delete(&format!("{PRODUCER}/listed/a")).await.unwrap();
    assert_eq!(two.list(PRODUCER, "listed/").await, ["listed/b"]);

    // Parts, out of order, at every gateway.
    let name = &format!("{PRODUCER}/parts/whole");
    let pieces: Vec<Vec<u8>> =
        (0..).zip([5 << 20, (8 << 20) + 77, 123]).map(|(seed, size)| body::bytes(seed, size)).collect();
    let upload = one.s3.upload_create(name).await.unwrap();
    let second = two.s3.upload_part(name, &upload, 2, &pieces[1]).await.unwrap();
    let third = three.s3.upload_part(name, &upload, 3, &pieces[2]).await.unwrap();
    let first = one.s3.upload_part(name, &upload, 1, &pieces[0]).await.unwrap();
    fleet.kill(0).await;
    let [_, two, three] = &fleet.gateways[..] else { panic!("three gateways") };
    let parts = [(1, first), (2, second), (3, third)];
    let done = three.s3.upload_complete(name, &upload, &parts).await.unwrap();
    let again = two.s3.upload_complete(name, &upload, &parts).await.unwrap();
    assert_eq!(done.element("ETag"), again.element("ETag"), "asked again at another, it answers the same");
    let whole = two.get(name).await.unwrap();
    assert!(whole.body == pieces.concat());
    assert_eq!(whole.etag(), body::multipart_etag(&pieces));
    assert_eq!(whole.header_or_empty("x-artifact-sha256"), body::sha256_hex(&pieces.concat()));

    // A seal is everybody's.
    two.finalize(PRODUCER, "parts").await.unwrap();
    let refused = three.s3.put(&format!("{PRODUCER}/parts/late"), b"late").await.unwrap_err();
    assert_eq!(refused.code(), "AccessDenied");
    fleet.resume(0).await;
    let manifest = |gateway: &Harness| {
        let (s3, name) = (gateway.s3.clone(), format!("{PRODUCER}/parts/.artifact/manifest.cbor"));
        async move { s3.get(&name).await.unwrap().body }
    };
    let sealed = manifest(&fleet.gateways[0]).await;
    assert!(sealed == manifest(&fleet.gateways[1]).await && sealed == manifest(&fleet.gateways[2]).await);
    fleet.finish().await;
}
