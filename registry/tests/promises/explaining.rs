//! Asking why: every reason is told, wherever it stands, with the event to look up; and none is missed by who asks at the
//! commit.

use artifactstore_registry::actions::eligibility::Eligibility;
use artifactstore_registry::model::attributes::UploadAttributes;
use artifactstore_registry::model::command::{RetentionChange, SubjectChoice};
use artifactstore_registry::model::name::{ClassName, HoldName, Key, PackageId, PackageName};
use artifactstore_registry::model::retention::Reason;
use artifactstore_registry::model::row::{OnFinalized, Package, ProducerSettings, VersionChoice, Versioning};
use artifactstore_registry::{Error, Refusal};
use futures::future::join_all;

use crate::harness::{Harness, name, producer};

impl Harness {
    async fn hold(&self, subject: SubjectChoice, hold: &str) {
        let hold = HoldName::parse(hold).unwrap();
        self.registry.hold_place(&self.actor, subject, &hold, "why".to_owned()).await.unwrap();
    }

    /// The first page of what is told of a package.
    pub(crate) async fn explained(&self, package: &PackageId) -> Eligibility {
        self.registry.package_eligibility(&self.actor, package, None, 1_000).await.unwrap()
    }

    async fn begin_upload(&self, path: &str) -> String {
        let attributes = UploadAttributes::default();
        self.registry.upload_create(&self.actor, &name(path), attributes).await.unwrap().id.to_string()
    }
}

fn of(package: &Package) -> SubjectChoice {
    SubjectChoice::Package(package.id.clone())
}

/// What is told of reasons in a word each: the hold's name, or the revision that is sealed.
fn words(reasons: &[Reason]) -> Vec<String> {
    let word = |reason: &Reason| match reason {
        Reason::Hold { hold, .. } => hold.to_string(),
        Reason::Sealed { revision, .. } => format!("sealed {revision}"),
        other => other.to_string(),
    };
    reasons.iter().map(word).collect()
}

#[tokio::test]
async fn every_revision_that_has_a_file_is_asked_and_those_that_stand_in_the_way_of_a_release() {
    let settings = ProducerSettings { on_finalized: OnFinalized::NewRevision, ..ProducerSettings::default() };
    let harness = Harness::start_with(settings).await;
    harness.put("board/run/x", "one").await.unwrap();
    let first = harness.finalize("run").await.unwrap();
    harness.put("board/run/y", "two").await.unwrap();
    let second = harness.finalize("run").await.unwrap();
    harness.put("board/run/z", "three").await.unwrap();
    harness.hold(of(&second), "middle").await;
    harness.hold(of(&first), "early").await;
    let file = harness.registry.file_eligibility(&harness.actor, &name("board/run/x"), None).await.unwrap();
    assert_eq!(
        (file.eligible, words(&file.reasons)),
        (false, vec!["sealed 1".into(), "early".into(), "middle".into()])
    );
    let told = async |package: &Package| {
        let told = harness.explained(&package.id).await;
        (told.eligible, words(&told.reasons), told.seal.map(|seal| seal.event()))
    };
    let event = |package: &Package| package.seal.as_ref().map(|seal| seal.sequence);
    assert_eq!(told(&first).await, (false, vec!["early".into(), "sealed 2".into()], event(&first)));
    assert_eq!(told(&second).await, (false, vec!["middle".into(), "early".into()], event(&second)));
    for (package, hold) in [(&first, "early"), (&second, "middle")] {
        let hold = HoldName::parse(hold).unwrap();
        harness.registry.hold_release(&harness.actor, of(package), &hold, String::new()).await.unwrap();
    }
    assert_eq!(told(&second).await, (true, vec![], event(&second)));
    harness.registry.package_release(&harness.actor, &second.id, "over".to_owned()).await.unwrap();
    assert_eq!(told(&second).await, (true, vec![], None));
    harness.finish().await;
}

#[tokio::test]
async fn what_keeps_a_later_revision_is_told_of_a_released_one_as_the_deletion_of_its_files_meets_it() {
    let settings = ProducerSettings { on_finalized: OnFinalized::NewRevision, ..ProducerSettings::default() };
    let harness = Harness::start_with(settings).await;
    harness.put("board/run/x", "one").await.unwrap();
    let first = harness.finalize("run").await.unwrap();
    harness.registry.package_release(&harness.actor, &first.id, "over".to_owned()).await.unwrap();
    harness.put("board/run/y", "two").await.unwrap();
    let second = harness.store.package_latest(&producer("board"), &first.name).await.unwrap().unwrap();
    let told = async || {
        let told = harness.explained(&first.id).await;
        (told.eligible, told.reasons)
    };
    let refused = async || match harness.remove("board/run/x").await {
        Err(Error::Refused(Refusal::Kept(reasons))) => (false, reasons),
        other => panic!("{other:?}"),
    };
    assert_eq!((second.revision, told().await), (2, (true, vec![])));
    harness.hold(of(&second), "late").await;
    assert_eq!(words(&told().await.1), ["late"]);
    assert_eq!(told().await, refused().await);
    let late = HoldName::parse("late").unwrap();
    harness.registry.hold_release(&harness.actor, of(&second), &late, String::new()).await.unwrap();
    assert_eq!(told().await, (true, vec![]));
    // Its period begins with the ingest of each file, though the second revision has no seal that it could begin with.
    let class = RetentionChange::Class(ClassName::parse("permanent").unwrap());
    harness.change(of(&second), class, false).await.unwrap();
    assert_eq!(told().await, refused().await);
    harness.finish().await;
}

#[tokio::test]
async fn the_files_of_others_that_have_the_bytes_of_a_package_are_named() {
    let harness = Harness::start().await;
    for number in 0..300 {
        harness.put(&format!("board/run/{number}"), format!("the bytes of {}", number % 290)).await.unwrap();
    }
    let package = harness.finalize("run").await.unwrap();
    let told = async || harness.explained(&package.id).await;
    let alone = told().await;
    assert_eq!((alone.references.len(), alone.frees_bytes), (0, true), "its own files are none of others");
    let other = harness.put("board/other/x", "the bytes of 289").await.unwrap().file;
    let shared = told().await;
    let named: Vec<u64> = shared.references.iter().map(|reference| reference.event).collect();
    assert_eq!((named, shared.frees_bytes), (vec![other.sequence], false));
    harness.finish().await;
}

#[tokio::test]
async fn a_large_package_is_told_of_in_pages_each_of_which_looks_at_so_much_and_no_more() {
    let harness = Harness::start().await;
    let paths: Vec<String> = (0..500).map(|number| format!("board/run/{number:03}")).collect();
    for put in join_all(paths.iter().map(|path| harness.put(path, "all the same"))).await {
        put.unwrap();
    }
    harness.hold(SubjectChoice::File(name("board/run/007"), None), "early").await;
    harness.hold(SubjectChoice::File(name("board/run/499"), None), "late").await;
    let package = harness.finalize("run").await.unwrap();
    let page = async |after: Option<Key>, limit| {
        harness.registry.package_eligibility(&harness.actor, &package.id, after.as_ref(), limit).await.unwrap()
    };
    let whole = page(None, 1_000).await;
    let held: Vec<&str> = whole.files.iter().map(|file| file.key.as_str()).collect();
    assert_eq!((held, whole.eligible, whole.next), (vec!["run/007", "run/499"], false, None));
    assert_eq!((whole.references, whole.references_more), (vec![], false), "its own files are none of others");
    let (mut after, mut pages, mut held) = (None, 0, Vec::new());
    loop {
        let part = page(after, 60).await;
        assert_eq!((part.eligible, part.frees_bytes), (part.files.is_empty(), false));
        assert!(part.references_more, "four hundred of the others were looked at, and not all");
        held.extend(part.files.into_iter().map(|file| file.key));
        (after, pages) = (part.next, pages + 1);
        if after.is_none() {
            break;
        }
    }
    assert_eq!((held, pages), (vec!["run/007".to_owned(), "run/499".to_owned()], 9));
    harness.finish().await;
}

#[tokio::test]
async fn the_files_of_a_package_that_was_released_are_those_of_its_manifest() {
    let harness = Harness::start().await;
    harness.put("board/run/x", "one").await.unwrap();
    harness.put("board/run/y", "two").await.unwrap();
    let package = harness.finalize("run").await.unwrap();
    harness.registry.package_release(&harness.actor, &package.id, "over".to_owned()).await.unwrap();
    harness.remove("board/run/x").await.unwrap();
    let files = harness.registry.package_files(&harness.actor, &package.id, None, 9).await.unwrap();
    let keys: Vec<&str> = files.iter().map(|file| file.name.key.as_str()).collect();
    assert_eq!(keys, ["run/x", "run/y"]);
    harness.finish().await;
}

#[tokio::test]
async fn uploads_are_those_into_the_package_that_is_asked_for() {
    let harness = Harness::start().await;
    harness.put("board/top", "in the root package").await.unwrap();
    harness.put("board/run/x", "in another").await.unwrap();
    for path in ["board/a/1", "board/run/1", "board/running/1"] {
        harness.begin_upload(path).await;
    }
    let into_root = harness.begin_upload("board/zzz").await;
    for (package, expected) in [(PackageName::root(), vec!["zzz"]), (PackageName::parse("run").unwrap(), vec!["run/1"])]
    {
        let package = harness.store.package_latest(&producer("board"), &package).await.unwrap().unwrap();
        let told = harness.explained(&package.id).await;
        let keys: Vec<&str> = told.uploads.iter().map(|upload| upload.key.as_str()).collect();
        assert_eq!(keys, expected);
        assert!(package.name.as_str() == "run" || told.uploads[0].upload == into_root);
    }
    harness.finish().await;
}

#[tokio::test]
async fn the_null_version_is_the_one_that_is_asked_for_also_when_it_does_not_have_the_name() {
    let harness = Harness::start().await;
    harness.put("board/run/x", "null").await.unwrap();
    harness.registry.versioning_set(&harness.actor, &producer("board"), Versioning::Enabled).await.unwrap();
    harness.put("board/run/x", "numbered").await.unwrap();
    let null = Some(VersionChoice::Null);
    harness.hold(SubjectChoice::File(name("board/run/x"), null), "case").await;
    let told = async |version| {
        let told = harness.registry.file_eligibility(&harness.actor, &name("board/run/x"), version).await.unwrap();
        words(&told.reasons)
    };
    assert_eq!((told(null).await, told(None).await), (vec!["case".to_owned()], vec![]));
    harness.finish().await;
}

#[tokio::test]
async fn a_hold_that_comes_a_moment_before_a_release_is_seen_by_it() {
    let settings = ProducerSettings { on_finalized: OnFinalized::NewRevision, ..ProducerSettings::default() };
    let harness = Harness::start_with(settings).await;
    harness.put("board/run/x", "one").await.unwrap();
    let first = harness.finalize("run").await.unwrap();
    harness.put("board/run/y", "two").await.unwrap();
    let second = harness.finalize("run").await.unwrap();
    let (registry, case) = (&harness.registry, HoldName::parse("case").unwrap());
    let (held, released) = futures::join!(
        registry.hold_place(&harness.actor, of(&first), &case, "why".to_owned()),
        registry.package_release(&harness.actor, &second.id, "over".to_owned()),
    );
    held.unwrap();
    let Err(Error::Refused(Refusal::Kept(reasons))) = released else { panic!("{released:?}") };
    assert_eq!(words(&reasons), ["case"]);
    harness.finish().await;
}
