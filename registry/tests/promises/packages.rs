//! Packages: sealed once, with a clean cut, by every road.

use artifactstore_registry::actions::lease::LEASE_TERM;
use artifactstore_registry::actions::request::{FileUpload, Removal};
use artifactstore_registry::backends::digest::ContentAddress;
use artifactstore_registry::model::command::PackageChoice;
use artifactstore_registry::model::manifest::Manifest;
use artifactstore_registry::model::row::{OnFinalized, ProducerSettings, VersionChoice};
use artifactstore_registry::store::lease::Work;
use artifactstore_registry::{Error, Refusal};
use futures::future::join_all;

use crate::harness::{Harness, actor, name, producer, upload};

async fn manifest(harness: &Harness, package: &artifactstore_registry::model::row::Package) -> Manifest {
    let bytes = harness.registry.package_manifest(&harness.actor, &package.id).await.unwrap();
    let seal = package.seal.as_ref().unwrap();
    assert_eq!(Manifest::digest(&bytes), seal.manifest_digest);
    assert_eq!(bytes.len() as u64, seal.manifest_size_bytes);
    Manifest::decode(&bytes).unwrap()
}

#[tokio::test]
async fn a_manifest_names_every_file_in_key_order_by_both_digests() {
    let harness = Harness::start().await;
    for path in ["z", "a/b", "a", "é", "a0"] {
        harness.put(&format!("board/run/{path}"), path.to_owned()).await.unwrap();
    }
    harness.put("board/run/gone", "gone").await.unwrap();
    harness.remove("board/run/gone").await.unwrap();
    harness.put("board/run-2/other", "other").await.unwrap();
    let package = harness.finalize("run").await.unwrap();
    let manifest = manifest(&harness, &package).await;
    let paths: Vec<&str> = manifest.files.iter().map(|file| file.relative_path.as_str()).collect();
    assert_eq!(paths, ["a", "a/b", "a0", "z", "é"]);
    for file in &manifest.files {
        let address = ContentAddress::of(file.relative_path.as_bytes());
        assert_eq!(file.content_address, address.to_string());
        assert_eq!(file.digest_primary, address.to_hex());
        assert_eq!(file.digest_sha256.len(), 64);
    }
    let listed = harness.registry.package_files(&harness.actor, &package.id, None, 100).await.unwrap();
    assert_eq!(listed.len(), 5);
    for document in ["manifest.cbor", "manifest.json"] {
        let found = harness.stat(&format!("board/run/.artifact/{document}")).await.unwrap();
        let bytes = harness.read_found(&found).await.unwrap();
        assert_eq!(found.file.content_address, ContentAddress::of(&bytes));
    }
    harness.finish().await;
}

#[tokio::test]
async fn finalizing_again_answers_the_same_and_records_nothing() {
    let harness = Harness::start().await;
    harness.put("board/run/x", "x").await.unwrap();
    let first = harness.finalize("run").await.unwrap();
    let events = harness.events().await.len();
    assert_eq!(harness.finalize("run").await.unwrap(), first);
    let by_id = harness.registry.package_finalize(&harness.actor, PackageChoice::Id(first.id.clone())).await.unwrap();
    assert_eq!(by_id, first);
    let by_key = harness.put("board/run/.artifact/finalize", "").await.unwrap();
    assert_eq!(by_key.finalized, Some(first));
    assert_eq!(harness.events().await.len(), events);
    assert!(matches!(harness.finalize("none").await, Err(Error::Refused(Refusal::PackageMissing))));
    harness.finish().await;
}

#[tokio::test]
async fn writing_into_a_finalized_package_is_refused_and_records_nothing() {
    let harness = Harness::start().await;
    harness.put("board/run/x", "x").await.unwrap();
    let digest = harness.finalize("run").await.unwrap().seal.unwrap().manifest_digest.to_string();
    let events = harness.events().await.len();
    let source = harness.stat("board/run/x").await.unwrap();
    let (registry, who) = (&harness.registry, &harness.actor);
    let copied = registry
        .file_copy(who, &source, &name("board/run/y"), None, Default::default(), Default::default())
        .await
        .map(drop);
    let begun = registry.upload_create(who, &name("board/run/z"), Default::default()).await.map(drop);
    let outcomes = [
        harness.put("board/run/late", "x").await.map(drop),
        harness.put("board/run/x", "y").await.map(drop),
        harness.remove("board/run/x").await.map(drop),
        copied,
        begun,
    ];
    for outcome in outcomes {
        let Err(Error::Refused(refusal @ Refusal::PackageFinalized { .. })) = outcome else { panic!("{outcome:?}") };
        let text = refusal.to_string();
        assert!(text.contains("\"run\"") && text.contains(&digest), "{text}");
    }
    assert_eq!(harness.events().await.len(), events);
    harness.finish().await;
}

#[tokio::test]
async fn a_finalize_that_races_writes_has_a_clean_cut() {
    for round in 0..6_usize {
        let harness = Harness::start().await;
        harness.put("board/run/first", "first").await.unwrap();
        let writes = join_all((0..60).map(|n| {
            let harness = &harness;
            async move {
                let path = format!("file-{n:03}");
                let outcome = harness.put(&format!("board/run/{path}"), format!("{round}-{n}")).await;
                (path, outcome)
            }
        }));
        let finalize = async {
            for _ in 0..round * 7 {
                tokio::task::yield_now().await;
            }
            harness.finalize("run").await.unwrap()
        };
        let (outcomes, package) = futures::join!(writes, finalize);
        let sealed = manifest(&harness, &package).await;
        assert_eq!(sealed.files.len() as u64, package.file_count);
        for (path, outcome) in outcomes {
            let listed = sealed.files.iter().find(|file| file.relative_path == path);
            match outcome {
                Ok(receipt) => assert_eq!(listed.unwrap().sequence, receipt.file.sequence, "acknowledged: in it"),
                Err(Error::Refused(Refusal::PackageFinalized { .. })) => {
                    assert!(listed.is_none(), "refused: not in it")
                }
                Err(error) => panic!("{error:?}"),
            }
        }
        harness.finish().await;
    }
}

/// A package of more files than are sealed within one batch.
async fn large(harness: &Harness) {
    for hundred in 0..11 {
        let writes = (0..100).map(|n| async move { harness.put(&format!("board/run/{hundred:02}/{n:02}"), "x").await });
        for outcome in join_all(writes).await {
            outcome.unwrap();
        }
    }
}

#[tokio::test]
async fn a_large_package_is_sealed_as_it_is_at_its_cut_however_busy_it_is() {
    for writers in [0, 1, 8] {
        let harness = Harness::start_limited(ProducerSettings::default(), 100_000).await;
        large(&harness).await;
        let rewrite = |writer: usize| {
            let harness = &harness;
            async move {
                let (mut last, path) = (None, format!("board/run/00/{writer:02}"));
                for round in 0.. {
                    match harness.put(&path, format!("{writer}-{round}")).await {
                        Ok(receipt) => last = Some(receipt.file),
                        Err(Error::Refused(Refusal::PackageFinalized { .. })) => break,
                        Err(error) => panic!("{error:?}"),
                    }
                }
                last
            }
        };
        let (kept, package) = futures::join!(join_all((0..writers).map(rewrite)), async {
            // Others write to other packages all the while, and do not wait for this one.
            let other = harness.put("board/other/file", "y");
            let (package, other) = futures::join!(harness.finalize("run"), other);
            other.unwrap();
            package.unwrap()
        });
        let sealed = manifest(&harness, &package).await;
        assert_eq!((sealed.files.len(), package.file_count), (1100, 1100));
        for file in kept.into_iter().flatten() {
            let listed = sealed.files.iter().find(|listed| listed.relative_path == file.relative_path).unwrap();
            assert_eq!(listed.sequence, file.sequence, "the last that was acknowledged is in it");
        }
        let seal = package.seal.as_ref().unwrap();
        assert_eq!(seal.finalized_at.0, sealed.package.finalized_at);
        let records = harness.events().await;
        let record = records.iter().find(|record| record.sequence == seal.sequence).unwrap();
        assert!(record.payload.len() < 1000, "the manifest is a blob");
        assert_eq!(harness.finalize("run").await.unwrap(), package);
        harness.replay(false).await.unwrap();
        assert_eq!(manifest(&harness, &package).await, sealed);
        harness.finish().await;
    }
}

#[tokio::test]
async fn a_marker_seals_a_large_package_too() {
    let settings = ProducerSettings { finalize_marker: Some("*.done".to_owned()), ..ProducerSettings::default() };
    let harness = Harness::start_with(settings).await;
    large(&harness).await;
    let package = harness.put("board/run/all.done", "").await.unwrap().finalized.unwrap();
    let sealed = manifest(&harness, &package).await;
    assert_eq!(sealed.files.len(), 1101);
    assert_eq!(sealed.files[1100].relative_path, "all.done");
    let refused = harness.put("board/run/late", "").await.unwrap_err();
    assert!(matches!(refused, Error::Refused(Refusal::PackageFinalized { .. })), "{refused:?}");
    harness.finish().await;
}

#[tokio::test]
async fn a_new_revision_begins_with_the_files_before_and_leaves_the_sealed_one_readable() {
    let settings = ProducerSettings { on_finalized: OnFinalized::NewRevision, ..ProducerSettings::default() };
    let harness = Harness::start_with(settings).await;
    let kept = harness.put("board/run/kept", "kept").await.unwrap().file;
    let old = harness.put("board/run/x", "old").await.unwrap().file;
    harness.put("board/run/gone", "gone").await.unwrap();
    let first = harness.finalize("run").await.unwrap();
    let sealed = manifest(&harness, &first).await;

    harness.put("board/run/x", "new").await.unwrap();
    harness.remove("board/run/gone").await.unwrap();
    let second = harness.finalize("run").await.unwrap();
    assert_eq!((first.revision, second.revision), (1, 2));
    assert_eq!((second.file_count, second.size_bytes), (2, 7));
    let now = manifest(&harness, &second).await;
    let paths: Vec<&str> = now.files.iter().map(|file| file.relative_path.as_str()).collect();
    assert_eq!(paths, ["kept", "x"]);
    assert_eq!(now.files[0].sequence, kept.sequence);

    assert_eq!(manifest(&harness, &first).await, sealed);
    let files = harness.registry.package_files(&harness.actor, &first.id, None, 100).await.unwrap();
    let paths: Vec<&str> = files.iter().map(|file| file.relative_path.as_str()).collect();
    assert_eq!(paths, ["gone", "kept", "x"]);
    let page = harness.registry.package_files(&harness.actor, &first.id, Some(&files[0].name.key), 1).await.unwrap();
    assert_eq!(page[0].relative_path, "kept");
    let found = harness
        .registry
        .file_stat(&harness.actor, &name("board/run/x"), Some(VersionChoice::Numbered(old.sequence)))
        .await
        .unwrap();
    assert_eq!(harness.read_found(&found).await.unwrap(), b"old");

    harness.put("board/run/third", "3").await.unwrap();
    let shown = harness.stat("board/run/.artifact/manifest.cbor").await.unwrap();
    assert_eq!(shown.file.content_address, second.seal.unwrap().manifest_digest, "the latest sealed one is shown");
    harness.finish().await;
}

#[tokio::test]
async fn a_marker_seals_its_package_with_itself_in_it() {
    let settings = ProducerSettings { finalize_marker: Some("*.done".to_owned()), ..ProducerSettings::default() };
    let harness = Harness::start_with(settings).await;
    harness.put("board/run/x", "x").await.unwrap();
    assert_eq!(harness.put("board/run/sub/not.done", "").await.unwrap().finalized, None);
    let package = harness.put("board/run/all.done", "").await.unwrap().finalized.unwrap();
    let sealed = manifest(&harness, &package).await;
    let paths: Vec<&str> = sealed.files.iter().map(|file| file.relative_path.as_str()).collect();
    assert_eq!(paths, ["all.done", "sub/not.done", "x"]);
    // Everything at once: the marker seals what was acknowledged before it.
    let writes = join_all((0..20).map(|n| {
        let path = if n == 10 { "board/next/b.done".to_owned() } else { format!("board/next/{n}") };
        let harness = &harness;
        async move { harness.put(&path, "y").await }
    }))
    .await;
    let sealed_by = writes.iter().flatten().find_map(|receipt| receipt.finalized.clone()).unwrap();
    let accepted = writes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(manifest(&harness, &sealed_by).await.files.len(), accepted);
    harness.finish().await;
}

#[tokio::test]
async fn a_quiet_period_seals_what_nobody_wrote_to() {
    let settings = ProducerSettings { finalize_after_idle_seconds: Some(60), ..ProducerSettings::default() };
    let harness = Harness::start_with(settings).await;
    harness.clock.set_seconds(2_000_000);
    harness.put("board/a/x", "x").await.unwrap();
    harness.clock.set_seconds(2_000_030);
    harness.put("board/b/x", "x").await.unwrap();
    harness.clock.set_seconds(2_000_059);
    assert_eq!(harness.registry.packages_finalize_idle().await.unwrap(), 0);
    harness.clock.set_seconds(2_000_060);
    assert_eq!(harness.registry.packages_finalize_idle().await.unwrap(), 1);
    assert!(matches!(harness.put("board/a/y", "y").await, Err(Error::Refused(Refusal::PackageFinalized { .. }))));
    harness.put("board/b/y", "y").await.unwrap();
    harness.clock.set_seconds(2_000_119);
    assert_eq!(harness.registry.packages_finalize_idle().await.unwrap(), 0, "a write begins the period again");
    // A package that lost its last file stays open, and does not stand in the way of those behind it.
    harness.put("board/empty/x", "x").await.unwrap();
    harness.remove("board/empty/x").await.unwrap();
    harness.clock.set_seconds(2_000_400);
    let (one, two) =
        futures::join!(harness.registry.packages_finalize_idle(), harness.registry.packages_finalize_idle());
    assert!(one.unwrap() + two.unwrap() >= 1);
    assert_eq!(harness.kinds().await.iter().filter(|kind| *kind == "v1.package.finalized").count(), 2);
    harness.finish().await;
}

#[tokio::test]
async fn a_gateway_that_slept_past_its_lease_seals_nothing() {
    let settings = ProducerSettings { finalize_after_idle_seconds: Some(60), ..ProducerSettings::default() };
    let harness = Harness::start_with(settings).await;
    harness.clock.set_seconds(2_000_000);
    harness.put("board/a/x", "x").await.unwrap();
    harness.clock.set_seconds(2_000_100);
    assert_eq!(harness.registry.packages_finalize_idle().await.unwrap(), 1, "now it has the lease");
    harness.put("board/b/x", "x").await.unwrap();
    harness.clock.set_seconds(2_000_200);
    let events = harness.kinds().await.len();
    // What it believes of its lease is what it was told a moment ago; that another has it, only the commit finds.
    harness.tamper("UPDATE leases SET expires_at = 0").await;
    let other = harness.store.lease_take(Work::FinalizeIdle, "another gateway", LEASE_TERM).await.unwrap().unwrap();
    assert_eq!(harness.registry.packages_finalize_idle().await.unwrap(), 0);
    assert_eq!(harness.registry.packages_finalize_idle().await.unwrap(), 0, "the other one has it");
    assert_eq!(harness.kinds().await.len(), events);
    harness.store.lease_end(&other).await.unwrap();
    assert_eq!(harness.registry.packages_finalize_idle().await.unwrap(), 1);
    harness.finish().await;
}

#[tokio::test]
async fn a_manifest_too_large_for_an_event_is_a_blob_and_reads_back() {
    let harness = Harness::start_limited(ProducerSettings::default(), 512).await;
    for n in 0..12 {
        harness.put(&format!("board/run/{n}"), format!("{n}")).await.unwrap();
    }
    let package = harness.finalize("run").await.unwrap();
    assert_eq!(manifest(&harness, &package).await.files.len(), 12);
    let record = harness.events().await.pop().unwrap();
    assert_eq!(record.kind, "v1.package.finalized");
    assert!(record.payload.len() < package.seal.as_ref().unwrap().manifest_size_bytes as usize);
    let address = package.seal.as_ref().unwrap().manifest_digest;
    assert!(harness.store.blob(&address).await.unwrap().is_some());
    let bytes = harness.read("board/run/.artifact/manifest.cbor").await.unwrap();
    assert_eq!(Manifest::digest(&bytes), address);
    // A producer that uploads its own manifest names the very same blob.
    assert!(harness.put("board/other/copy.cbor", bytes).await.unwrap().deduplicated);
    harness.replay(false).await.unwrap();
    assert_eq!(manifest(&harness, &package).await.files.len(), 12);
    harness.finish().await;
}

#[tokio::test]
async fn nothing_but_finalize_is_written_under_the_reserved_prefix() {
    let harness = Harness::start().await;
    harness.put("board/run/x", "x").await.unwrap();
    let events = harness.events().await.len();
    for path in ["board/run/.artifact/manifest.cbor", "board/.artifact/x", "board/run/.artifact/a/b"] {
        assert!(matches!(harness.put(path, "x").await, Err(Error::Refused(Refusal::KeyReserved(_)))), "{path}");
    }
    assert!(matches!(
        harness.stat("board/run/.artifact/manifest.cbor").await,
        Err(Error::Refused(Refusal::FileMissing))
    ));
    assert_eq!(harness.events().await.len(), events);
    harness.finish().await;
}

#[tokio::test]
async fn another_tenant_finds_and_changes_nothing() {
    let harness = Harness::start().await;
    harness.put("board/run/x", "x").await.unwrap();
    let package = harness.finalize("run").await.unwrap();
    let (stranger, registry) = (actor("stranger"), &harness.registry);
    let events = harness.events().await.len();
    let write = FileUpload { ..upload("board/new/x", "x") };
    assert!(matches!(registry.file_ingest(&stranger, write).await, Err(Error::Refused(Refusal::ProducerForeign(_)))));
    let read = registry.file_stat(&stranger, &name("board/run/x"), None).await;
    assert!(matches!(read, Err(Error::Refused(Refusal::ProducerForeign(_)))));
    let stat = registry.package_stat(&stranger, &package.id).await;
    assert!(matches!(stat, Err(Error::Refused(Refusal::PackageMissing))));
    let finalize = registry.package_finalize(&stranger, PackageChoice::Id(package.id)).await;
    assert!(matches!(finalize, Err(Error::Refused(Refusal::PackageMissing))));
    let remove = {
        let removal =
            Removal { key: name("board/run/x").key, version: None, condition: Default::default(), bypass: false };
        registry.file_remove(&stranger, &producer("board"), removal).await
    };
    assert!(matches!(remove, Err(Error::Refused(Refusal::ProducerForeign(_)))));
    assert!(registry.producer_list(&stranger, None, 10).await.unwrap().is_empty());
    assert!(registry.producer_delete(&stranger, &producer("board")).await.is_err());
    assert_eq!(harness.events().await.len(), events);
    harness.finish().await;
}
