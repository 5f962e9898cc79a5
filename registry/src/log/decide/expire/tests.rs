//! What was found without a lock is looked at again: on states that changed since, made by hand.

use std::sync::Arc;

use artifactstore_backends::digest::{ContentAddress, Sha256Digest};

use super::expire;
use crate::clock::Timestamp;
use crate::error::Refusal;
use crate::model::attributes::Attributes;
use crate::model::event::{Actor, Event};
use crate::model::lifecycle::{
    DayLength, Expiration, Expiry, LifecycleRule, NoncurrentExpiration, Outdated, RuleFilter,
};
use crate::model::name::{FileName, PackageId, PackageName, ProducerName, TenantName};
use crate::model::retention::{ClockJump, Keeping, Lock, LockTerms, Mode};
use crate::model::row::{
    File, HistoryRow, Package, Producer, ProducerSettings, Sequence, Subresource, SubresourceRow, Versioning,
};
use crate::model::state::{NameRow, State};

const SECOND: i64 = 1_000_000;
/// The rules that are in force.
const DOCUMENT: &str = "<rules/>";

fn name() -> FileName {
    FileName::parse("board", "run/x").unwrap()
}

fn package_id() -> PackageId {
    PackageId::from_random([1; 16])
}

fn package_name() -> PackageName {
    PackageName::parse("run").unwrap()
}

fn file(sequence: Sequence) -> File {
    File {
        sequence,
        name: name(),
        package_id: package_id(),
        package: package_name(),
        relative_path: "x".to_owned(),
        size_bytes: 5,
        content_address: ContentAddress([1; 32]),
        sha256: Sha256Digest([1; 32]),
        etag: "etag".to_owned(),
        attributes: Attributes::default(),
        ingested_at: Timestamp(0),
        client: None,
        ended_sequence: None,
        versioned: true,
        deleted_sequence: None,
        keeping: Keeping::default(),
        released_sequence: None,
    }
}

/// A key with these versions, of which the newest has the name and the others are behind it; ten seconds later.
fn state(versioning: Versioning, versions: &[Sequence]) -> State {
    let mut state = State {
        now: Timestamp(10 * SECOND),
        clock: Timestamp(10 * SECOND),
        retention_loaded: true,
        ..State::default()
    };
    let (board, tenant) = (ProducerName::parse("board").unwrap(), TenantName::parse("default").unwrap());
    let producer = Producer {
        name: board.clone(),
        tenant,
        settings: ProducerSettings::default(),
        created_at: Timestamp(0),
        created_sequence: 1,
        file_count: 1,
        size_bytes: 5,
        upload_count: 0,
        package_count: 1,
        finalized_count: 0,
        versioning,
        history_count: 0,
        object_lock: false,
        keeping: Keeping::default(),
    };
    state.producers.put(board.clone(), producer);
    put_rules(&mut state, DOCUMENT);
    let package = Package {
        id: package_id(),
        producer: board.clone(),
        name: package_name(),
        revision: 1,
        opened_at: Timestamp(0),
        opened_sequence: 2,
        changed_at: Timestamp(0),
        last_sequence: 9,
        file_count: 1,
        size_bytes: 5,
        seal: None,
        keeping: Keeping::default(),
        released_sequence: None,
    };
    state.packages.put(package_id(), package);
    state.latest.insert((board, package_name()), Some(package_id()));
    state.names.load(name(), None);
    state.histories.insert(name());
    for (at, version) in versions.iter().enumerate() {
        state.files.put(*version, file(*version));
        if at == 0 {
            state.names.put(name(), NameRow { name: name(), package: package_name(), sequence: *version });
            state.history.load((name(), *version), None);
        } else {
            put_history(&mut state, *version, false);
            state.files.change(version, |row| row.ended_sequence = Some(version + 1));
        }
    }
    state
}

fn put_history(state: &mut State, sequence: Sequence, marker: bool) {
    let row = HistoryRow { name: name(), sequence, marker, versioned: true, occurred_at: Timestamp(0) };
    state.history.put((name(), sequence), row);
}

fn put_rules(state: &mut State, document: &str) {
    let (producer, document) = (ProducerName::parse("board").unwrap(), document.to_owned());
    let row = SubresourceRow { producer: producer.clone(), name: Subresource::Lifecycle, document, sequence: 3 };
    state.subresources.put((producer, Subresource::Lifecycle), row);
}

fn rule() -> LifecycleRule {
    LifecycleRule {
        id: "r".to_owned(),
        filter: RuleFilter::default(),
        expiration: Some(Expiration::Days(10)),
        noncurrent: Some(NoncurrentExpiration { days: 5, newer: 1 }),
        abort_days: None,
    }
}

fn decided(state: &State, rule: LifecycleRule, what: Outdated) -> Result<Vec<&'static str>, Refusal> {
    let tenant = TenantName::parse("default").unwrap();
    let actor = Actor { tenant, name: "lifecycle:r".to_owned(), request_id: "1".to_owned(), client: None };
    let (rule, document) = (Arc::new(rule), Arc::from(DOCUMENT));
    let expiry = Expiry::Rule { rule, document, day: DayLength::of_seconds(1), what };
    Ok(expire(state, &actor, &name(), &expiry)?.events.iter().map(Event::kind).collect())
}

fn former(version: Sequence, spared: &[Sequence]) -> Outdated {
    Outdated::Noncurrent { version, since: Timestamp(5 * SECOND), front: version + 1, spared: spared.to_vec() }
}

#[test]
fn a_name_goes_only_if_it_is_that_version_s_still_and_fits_the_rule() {
    let there = state(Versioning::Off, &[7]);
    assert_eq!(decided(&there, rule(), Outdated::Current(7)).unwrap(), ["v1.file.removed"]);
    assert!(decided(&there, rule(), Outdated::Current(6)).unwrap().is_empty(), "it was written over");
    let larger = RuleFilter { larger_than_bytes: Some(5), ..RuleFilter::default() };
    assert!(decided(&there, LifecycleRule { filter: larger, ..rule() }, Outdated::Current(7)).unwrap().is_empty());
    let later = LifecycleRule { expiration: Some(Expiration::Days(11)), ..rule() };
    assert!(decided(&there, later, Outdated::Current(7)).unwrap().is_empty(), "it is not time yet");
    assert!(decided(&state(Versioning::Off, &[]), rule(), Outdated::Current(7)).unwrap().is_empty());
    let versioned = state(Versioning::Enabled, &[7]);
    assert_eq!(decided(&versioned, rule(), Outdated::Current(7)).unwrap(), ["v1.file.marked"]);
}

#[test]
fn a_lock_and_a_clock_that_jumped_are_asked_as_for_anybody() {
    let mut locked = state(Versioning::Off, &[7]);
    let terms = LockTerms { mode: Mode::Governance, retain_until: Timestamp(11 * SECOND) };
    locked.files.change(&7, |row| row.keeping.lock = Some(Lock { terms, sequence: 8 }));
    assert!(matches!(decided(&locked, rule(), Outdated::Current(7)), Err(Refusal::Kept(_))));
    let mut jumped = state(Versioning::Off, &[7]);
    let (from, to) = (Timestamp(9 * SECOND), Timestamp(10 * SECOND));
    jumped.jumps.put(8, ClockJump { sequence: 8, from, to, settled_sequence: None, genuine: false });
    assert!(decided(&jumped, rule(), Outdated::Current(7)).unwrap().is_empty());
}

#[test]
fn an_older_version_goes_only_as_long_as_those_that_are_spared_are_there() {
    let there = state(Versioning::Enabled, &[9, 8, 7]);
    assert_eq!(decided(&there, rule(), former(7, &[8])).unwrap(), ["v1.version.removed"]);
    assert!(decided(&there, rule(), former(7, &[])).unwrap().is_empty(), "one is to be spared");
    assert!(decided(&there, rule(), former(9, &[8])).unwrap().is_empty(), "it has the name");
    let mut gone = there.clone();
    gone.history.remove((name(), 8));
    assert!(decided(&gone, rule(), former(7, &[8])).unwrap().is_empty(), "somebody deleted the one that was spared");
    let mut taken = there.clone();
    taken.history.remove((name(), 7));
    assert!(decided(&taken, rule(), former(7, &[8])).unwrap().is_empty(), "somebody deleted it");
    let mut sealed = there;
    sealed.packages.change(&package_id(), |row| row.opened_sequence = 8);
    assert!(matches!(decided(&sealed, rule(), former(7, &[8])), Err(Refusal::VersionSealed { .. })));
}

#[test]
fn what_came_forward_meanwhile_and_was_replaced_once_more_is_behind_for_less_long() {
    let mut there = state(Versioning::Enabled, &[20, 8, 7]);
    assert_eq!(decided(&there, rule(), former(7, &[8])).unwrap(), ["v1.version.removed"]);
    there.files.change(&7, |row| row.ended_sequence = Some(20));
    assert!(decided(&there, rule(), former(7, &[8])).unwrap().is_empty());
    // What it was behind may be gone: it is behind since then.
    let mut gone = state(Versioning::Enabled, &[20, 8, 7]);
    let at_once = LifecycleRule { noncurrent: Some(NoncurrentExpiration { days: 5, newer: 0 }), ..rule() };
    gone.history.remove((name(), 8));
    assert_eq!(decided(&gone, at_once.clone(), former(7, &[])).unwrap(), ["v1.version.removed"]);
    // Of a marker only what is in front of it now tells.
    let mut marker = state(Versioning::Enabled, &[20]);
    put_history(&mut marker, 9, true);
    marker.files.load(9, None);
    assert_eq!(decided(&marker, at_once.clone(), former(9, &[])).unwrap(), ["v1.version.removed"]);
    marker.files.change(&20, |row| row.ingested_at = Timestamp(6 * SECOND));
    assert!(decided(&marker, at_once, former(9, &[])).unwrap().is_empty());
}

#[test]
fn rules_that_were_changed_or_taken_away_since_let_nothing_go() {
    let mut state = state(Versioning::Off, &[7]);
    assert_eq!(decided(&state, rule(), Outdated::Current(7)).unwrap(), ["v1.file.removed"]);
    put_rules(&mut state, "<others/>");
    assert!(decided(&state, rule(), Outdated::Current(7)).unwrap().is_empty());
    state.subresources.remove((ProducerName::parse("board").unwrap(), Subresource::Lifecycle));
    assert!(decided(&state, rule(), Outdated::Current(7)).unwrap().is_empty());
}

#[test]
fn a_delete_marker_goes_only_alone() {
    let mut alone = state(Versioning::Enabled, &[]);
    put_history(&mut alone, 9, true);
    alone.files.load(9, None);
    assert_eq!(decided(&alone, rule(), Outdated::LoneMarker(9)).unwrap(), ["v1.version.removed"]);
    let mut behind = alone.clone();
    put_history(&mut behind, 7, false);
    assert!(decided(&behind, rule(), Outdated::LoneMarker(9)).unwrap().is_empty());
    let mut named = state(Versioning::Enabled, &[10]);
    put_history(&mut named, 9, true);
    named.files.load(9, None);
    assert!(decided(&named, rule(), Outdated::LoneMarker(9)).unwrap().is_empty());
    // As one of several it goes by the days since it is behind.
    let several = LifecycleRule { noncurrent: Some(NoncurrentExpiration { days: 5, newer: 0 }), ..rule() };
    assert_eq!(decided(&named, several.clone(), former(9, &[])).unwrap(), ["v1.version.removed"]);
    assert!(decided(&alone, several, former(9, &[])).unwrap().is_empty(), "it is in front");
}
