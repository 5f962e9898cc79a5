//! What revisions keep for each other: a release lets go of what no later seal has, a revision is not got round by another,
//! and what keeps a package outlasts its producer's names.

use artifactstore_registry::actions::request::VersionListRequest;
use artifactstore_registry::model::attributes::Attributes;
use artifactstore_registry::model::command::{RetentionChange, SubjectChoice, WriteCondition};
use artifactstore_registry::model::name::{ClassName, HoldName};
use artifactstore_registry::model::row::{OnFinalized, ProducerSettings, VersionChoice, Versioning};
use artifactstore_registry::{Error, Refusal};

use crate::collecting::collect;
use crate::harness::{Harness, name, producer};

async fn reopening() -> Harness {
    let settings = ProducerSettings { on_finalized: OnFinalized::NewRevision, ..ProducerSettings::default() };
    Harness::start_with(settings).await
}

impl Harness {
    async fn release(&self, package: &artifactstore_registry::model::row::Package) {
        self.registry.package_release(&self.actor, &package.id, "over".to_owned()).await.unwrap();
    }

    async fn describe(&self, path: &str) -> Result<u64, Error> {
        let found = self.stat(path).await?;
        let attributes = Attributes { media_type: "text/plain".to_owned(), ..Attributes::default() };
        let (to, free) = (name(path), WriteCondition::default());
        let copied =
            self.registry.file_copy(&self.actor, &found, &to, Some(attributes), Default::default(), free).await;
        copied.map(|receipt| receipt.file.sequence)
    }
}

#[tokio::test]
async fn what_a_released_revision_has_is_kept_by_a_later_one_that_was_sealed_with_it() {
    for versioning in [Versioning::Off, Versioning::Suspended] {
        let harness = reopening().await;
        if versioning == Versioning::Suspended {
            harness.registry.versioning_set(&harness.actor, &producer("board"), Versioning::Enabled).await.unwrap();
            harness.registry.versioning_set(&harness.actor, &producer("board"), versioning).await.unwrap();
        }
        let file = harness.put("board/run/x", "one").await.unwrap().file;
        let first = harness.finalize("run").await.unwrap();
        harness.release(&first).await;
        harness.put("board/run/y", "two").await.unwrap();
        let second = harness.finalize("run").await.unwrap();
        // The third revision is open, and x is in the second one all the same.
        harness.put("board/run/x", "another").await.unwrap();
        let version = Some(VersionChoice::Numbered(file.sequence));
        let told = harness.registry.file_eligibility(&harness.actor, &name("board/run/x"), version).await.unwrap();
        assert!(!told.frees_bytes && !told.reasons.is_empty(), "{told:?}");
        assert_eq!(collect(&harness, 0).await.released, 0, "{versioning:?}");
        let row = harness.store.versions(&[file.sequence]).await.unwrap().remove(0);
        assert_eq!(row.released_sequence, None);
        let third = harness.finalize("run").await.unwrap();
        harness.release(&third).await;
        assert_eq!(collect(&harness, 0).await.released, 1, "released with the third, for it never was in that");
        assert!(second.revision < third.revision);
        harness.finish().await;
    }
}

#[tokio::test]
async fn a_copy_onto_itself_does_not_get_round_what_keeps_the_revision_before() {
    let harness = reopening().await;
    harness.put("board/run/x", "one").await.unwrap();
    harness.describe("board/run/x").await.unwrap();
    let first = harness.finalize("run").await.unwrap();
    let package = SubjectChoice::Package(first.id.clone());
    let hold = HoldName::parse("case-7").unwrap();
    harness.registry.hold_place(&harness.actor, package.clone(), &hold, "a case".to_owned()).await.unwrap();
    let refused = harness.describe("board/run/x").await;
    assert!(matches!(refused, Err(Error::Refused(Refusal::Kept(_)))), "{refused:?}");
    harness.registry.hold_release(&harness.actor, package, &hold, String::new()).await.unwrap();
    harness.describe("board/run/x").await.unwrap();
    harness.finish().await;
}

#[tokio::test]
async fn a_copy_onto_itself_replaces_what_it_read_and_nothing_that_came_since() {
    let harness = Harness::start().await;
    harness.put("board/run/x", "one").await.unwrap();
    let read = harness.stat("board/run/x").await.unwrap();
    harness.put("board/run/x", "two, from somebody else").await.unwrap();
    let attributes = Attributes { media_type: "text/plain".to_owned(), ..Attributes::default() };
    let (to, free) = (name("board/run/x"), WriteCondition::default());
    let copied = harness
        .registry
        .file_copy(&harness.actor, &read, &to, Some(attributes), Default::default(), free)
        .await
        .unwrap();
    assert_eq!(copied.file.content_address, read.file.content_address, "what was asked about is what is copied");
    assert_eq!(harness.read("board/run/x").await.unwrap(), b"one");
    assert_eq!(harness.kinds().await.last().unwrap(), "v1.file.ingested");
    harness.finish().await;
}

#[tokio::test]
async fn a_producer_goes_only_when_nothing_of_it_is_kept_any_more() {
    let harness = Harness::start().await;
    harness.put("board/run/x", "one").await.unwrap();
    let package = harness.stat("board/run/x").await.unwrap().file.package_id;
    harness.remove("board/run/x").await.unwrap();
    let (to, hold) = (SubjectChoice::Package(package), HoldName::parse("case-7").unwrap());
    harness.registry.hold_place(&harness.actor, to.clone(), &hold, "a case".to_owned()).await.unwrap();
    let board = producer("board");
    let delete = async || {
        let alone = harness.registry.producer_delete(&harness.actor, &board).await;
        let with_uploads = harness.registry.producer_delete_with_uploads(&harness.actor, &board).await;
        (alone.is_ok(), with_uploads.is_ok())
    };
    assert_eq!(delete().await, (false, false));
    assert_eq!(collect(&harness, 0).await.released, 0);
    harness.registry.hold_release(&harness.actor, to.clone(), &hold, String::new()).await.unwrap();
    // A class keeps the version that has no name any more, and the producer until that is collected.
    harness.set_period("month", 30).await;
    let class = ClassName::parse("month").unwrap();
    harness.change(to, RetentionChange::Class(class), false).await.unwrap();
    assert_eq!(delete().await, (false, false));
    harness.clock.pass_seconds(1_000_000 + 31 * 86_400);
    assert_eq!(collect(&harness, 0).await.released, 1);
    assert!(harness.registry.producer_delete(&harness.actor, &board).await.is_ok());
    harness.finish().await;
}

#[tokio::test]
async fn a_page_of_versions_has_nothing_beside_its_prefix_whatever_its_markers_are() {
    let harness = Harness::start().await;
    for path in ["board/a/x", "board/run/x", "board/run/y", "board/s/x"] {
        harness.put(path, path).await.unwrap();
    }
    let request = |marker: &str, version| VersionListRequest {
        producer: producer("board"),
        prefix: "run/".to_owned(),
        delimiter: None,
        key_marker: Some(marker.to_owned()),
        version_marker: Some(version),
        limit: 1000,
    };
    for (marker, found) in [("!", 2), ("a/x", 2), ("run/x", 1), ("s/x", 0)] {
        for version in [VersionChoice::Numbered(1), VersionChoice::Null] {
            let page = harness.registry.version_list(&harness.actor, &request(marker, version)).await.unwrap();
            let keys: Vec<_> = page.versions.iter().map(|(it, _)| it.listed.key.to_string()).collect();
            assert!(keys.iter().all(|key| key.starts_with("run/")), "{marker}: {keys:?}");
            assert_eq!(keys.len(), found, "{marker} {version:?}: {keys:?}");
        }
    }
    harness.finish().await;
}
