//! Deciding about retention: what new files are given, what keeps a version, and who may change that.
//!
//! Invariant: compliance and holds give way to nobody; governance gives way only to whoever says that it should.

use super::version::{meant, of_file};
use super::{Decision, file_path, package_chosen, producer_owned};
use crate::error::Refusal;
use crate::model::attributes::Attributes;
use crate::model::command::{PackageChoice, RetentionChange, SubjectChoice};
use crate::model::event::{
    Actor, ClassSet, ClockSettled, Event, HoldPlaced, HoldReleased, LockEnabled, PackageReleased, ProducerConfigured,
    RetentionSet, Subject,
};
use crate::model::name::{ClassName, FileName, HoldName, PackageId, ProducerName};
use crate::model::retention::{
    Afterwards, CLASS_TAG, ClockJump, Keeping, LockTerms, Mode, Period, Reason, Reckoning, Retention, RetentionClass,
    Scope, Sources, Start, accounting, believed_micros, package_reasons, reasons,
};
use crate::model::row::{File, Package, Producer, ProducerSettings, Sequence, Versioning};
use crate::model::state::State;

/// The most bytes of a reason or a description.
const TEXT_LIMIT: usize = 1024;
/// The most retention rules of a producer, and classes or holds of one thing.
const COUNT_LIMIT: usize = 100;
/// What the names of classes begin with that are made for S3's default retention.
const S3_PREFIX: &str = "s3-";

/// Every reason why a version is kept, seals left out.
pub fn kept(state: &State, owner: Option<&Producer>, file: &File) -> Vec<Reason> {
    let packages = packages(state, owner, file);
    let keepings = packages.into_iter().flatten().map(|package| &package.keeping);
    let of_owner = owner.map(|owner| &owner.keeping);
    if keepings.chain([&file.keeping]).chain(of_owner).all(Keeping::is_empty) {
        return Vec::new();
    }
    reasons(&sources(state, owner, file), &|name| state.class(name))
}

/// The revisions that keep a version: that it was written into, and the latest.
fn packages<'a>(state: &'a State, owner: Option<&Producer>, file: &File) -> [Option<&'a Package>; 2] {
    let latest = owner.and_then(|owner| state.package_latest(&(owner.name.clone(), file.package.clone())));
    [state.packages.find(&file.package_id), latest]
}

/// The revisions that have a version besides, and are kept by something of their own: those between the one that it was
/// written into and the latest. For who has loaded them all, if there are any.
pub(super) fn between<'a>(state: &'a State, owner: Option<&Producer>, file: &File) -> Vec<&'a Package> {
    let [Some(first), latest] = packages(state, owner, file) else { return Vec::new() };
    if latest.is_some_and(|latest| !first.is_apart_from(latest)) {
        return Vec::new();
    }
    let package = (file.name.producer.clone(), file.package.clone());
    let is_between = |later: &&Package| {
        let is_later = later.revision > first.revision;
        is_later && latest.is_none_or(|latest| latest.id != later.id) && later.has(file)
    };
    state.keepers(&package).filter(is_between).collect()
}

/// What keeps a version of those.
pub(super) fn kept_between(state: &State, owner: Option<&Producer>, file: &File) -> Vec<Reason> {
    let reasons = |later| package_reasons(later, None, state.expiry(), &|name| state.class(name));
    between(state, owner, file).into_iter().flat_map(reasons).collect()
}

/// All that a version can be kept by.
pub(super) fn sources<'a>(state: &'a State, owner: Option<&'a Producer>, file: &'a File) -> Sources<'a> {
    Sources { file, producer: owner, packages: packages(state, owner, file), expiry: state.expiry() }
}

/// Refuses to take a version from sight because something keeps it.
pub(super) fn check_removable(state: &State, owner: &Producer, file: &File, bypass: bool) -> Result<(), Refusal> {
    let mut forbidding = kept(state, Some(owner), file);
    forbidding.extend(kept_between(state, Some(owner), file));
    forbidding.retain(|reason| reason.forbids(bypass));
    if forbidding.is_empty() { Ok(()) } else { Err(Refusal::Kept(forbidding)) }
}

/// Refuses a write that would take a version from S3's sight which something keeps: the one that has the name where
/// versions are not kept, and the null version where they are not kept any more.
pub(super) fn check_replaceable(
    state: &State,
    owner: &Producer,
    name: &FileName,
    former: Option<&File>,
) -> Result<(), Refusal> {
    let gives_way = |file: &&File| match owner.versioning {
        Versioning::Off => true,
        Versioning::Enabled => false,
        Versioning::Suspended => !file.versioned,
    };
    if let Some(file) = former.filter(gives_way) {
        check_removable(state, owner, file, false)?;
    }
    if owner.versioning == Versioning::Suspended
        && let Some(row) = state.history_null(name)
        && let Some(file) = state.files.get(&row.sequence)
    {
        check_removable(state, owner, file, false)?;
    }
    Ok(())
}

fn class_there(state: &State, name: &ClassName) -> Result<(), Refusal> {
    if state.class(name).is_some() { Ok(()) } else { Err(Refusal::ClassMissing(name.clone())) }
}

fn check_lock(state: &State, terms: &LockTerms) -> Result<(), Refusal> {
    if terms.mode == Mode::None {
        let reason = "a lock is of governance or of compliance".to_owned();
        return Err(Refusal::SettingInvalid { setting: "mode", reason });
    }
    if terms.retain_until <= state.now { Err(Refusal::RetainUntilPast) } else { Ok(()) }
}

/// What a new file is given to be kept by: what was asked for, and what its producer says. What was asked for long ago,
/// when its upload began, may be over by now.
pub(super) fn given(
    state: &State,
    owner: &Producer,
    name: &FileName,
    (asked, long_ago): (&Retention, bool),
    attributes: &Attributes,
) -> Result<Retention, Refusal> {
    let mut classes = Vec::new();
    let mut add = |class: &ClassName| {
        if !classes.contains(class) {
            classes.push(class.clone());
        }
    };
    owner.settings.retention_class.iter().for_each(&mut add);
    let rules = owner.settings.retention_rules.iter();
    rules.filter(|rule| name.key.as_str().starts_with(&rule.prefix)).for_each(|rule| add(&rule.class));
    for class in &asked.classes {
        class_there(state, class)?;
        add(class);
    }
    if let Some(class) = attributes.tags.get(CLASS_TAG) {
        let class = ClassName::parse(class).map_err(|invalid| tag_invalid(&invalid.to_string()))?;
        class_there(state, &class)?;
        add(&class);
    }
    if (asked.lock.is_some() || asked.legal_hold) && !owner.object_lock {
        return Err(Refusal::LockMissing(owner.name.clone()));
    }
    if let Some(terms) = asked.lock.as_ref().filter(|_| !long_ago) {
        check_lock(state, terms)?;
    }
    Ok(Retention { lock: asked.lock, classes, legal_hold: asked.legal_hold })
}

fn tag_invalid(reason: &str) -> Refusal {
    Refusal::SettingInvalid { setting: CLASS_TAG, reason: reason.to_owned() }
}

/// The event that gives a version the class of its new tags, if they name one.
pub(super) fn tagged(state: &State, file: &File, class: Option<&str>) -> Result<Option<Event>, Refusal> {
    let Some(class) = class else { return Ok(None) };
    let class = ClassName::parse(class).map_err(|invalid| tag_invalid(&invalid.to_string()))?;
    class_there(state, &class)?;
    if file.keeping.classes.iter().any(|chosen| chosen.name == class) {
        return Ok(None);
    }
    Ok(Some(Event::RetentionSet(Box::new(RetentionSet {
        lock: file.keeping.lock.as_ref().map(|lock| lock.terms),
        adds: vec![class],
        drops: Vec::new(),
        reason: "tag".to_owned(),
        subject: of_version(file),
        bypassed: false,
    }))))
}

pub(super) fn check_settings(state: &State, settings: &ProducerSettings) -> Result<(), Refusal> {
    if settings.retention_rules.len() > COUNT_LIMIT {
        let reason = format!("it takes up to {COUNT_LIMIT} rules");
        return Err(Refusal::SettingInvalid { setting: "retention_rules", reason });
    }
    let ruled = settings.retention_rules.iter().map(|rule| &rule.class);
    settings.retention_class.iter().chain(ruled).try_for_each(|class| class_there(state, class))
}

/// The class for S3's default retention: one that is never changed, named by what it is.
fn s3_class(mode: Mode, period: Period) -> (ClassName, RetentionClass) {
    let length = match period {
        Period::Days(days) => format!("{days}d"),
        Period::Years(years) => format!("{years}y"),
        Period::Forever => "forever".to_owned(),
    };
    let name = ClassName::trusted(format!("{S3_PREFIX}{}-{length}", mode.as_str()));
    let class = RetentionClass {
        mode,
        then: Afterwards::Eligible,
        start: Start::Ingest,
        period,
        description: "S3 default retention".to_owned(),
        may_shorten: mode == Mode::Governance,
    };
    (name, class)
}

pub(super) fn lock_configure(
    state: &State,
    actor: &Actor,
    producer: &ProducerName,
    default: Option<(Mode, Period)>,
) -> Result<Decision, Refusal> {
    let there = producer_owned(state, actor, producer)?;
    if there.versioning != Versioning::Enabled {
        return Err(Refusal::LockNeedsVersioning);
    }
    let mut events = Vec::new();
    if !there.object_lock {
        events.push(Event::LockEnabled(Box::new(LockEnabled { producer: producer.clone() })));
    }
    let now = there.settings.retention_class.as_ref();
    let fits = |name: &ClassName| {
        let class = state.class(name).map(|row| &row.class);
        class.is_some_and(|class| class.start == Start::Ingest && default == Some((class.mode, class.period)))
    };
    let class = match default {
        None => None,
        // A class of the producer's own that says the same stays.
        Some(_) if now.is_some_and(fits) => now.cloned(),
        Some((mode, period)) => {
            if mode == Mode::None || !period.is_sensible() || period == Period::Forever {
                let reason = "it takes governance or compliance, and 1 to 36500 days or 1 to 100 years".to_owned();
                return Err(Refusal::SettingInvalid { setting: "default retention", reason });
            }
            let (name, class) = s3_class(mode, period);
            if state.class(&name).is_none() {
                events.push(Event::ClassSet(Box::new(ClassSet { name: name.clone(), class, reason: String::new() })));
            }
            Some(name)
        }
    };
    if there.settings.retention_class != class {
        let settings = ProducerSettings { retention_class: class, ..there.settings.clone() };
        events.push(Event::ProducerConfigured(Box::new(ProducerConfigured { producer: producer.clone(), settings })));
    }
    Ok(Decision { events, ..Decision::default() })
}

pub(super) fn check_text(setting: &'static str, text: &str) -> Result<(), Refusal> {
    if text.len() <= TEXT_LIMIT {
        return Ok(());
    }
    Err(Refusal::SettingInvalid { setting, reason: format!("it takes up to {TEXT_LIMIT} bytes") })
}

pub(super) fn class_set(
    state: &State,
    name: &ClassName,
    class: &RetentionClass,
    (bypass, reason): (bool, &str),
) -> Result<Decision, Refusal> {
    let firm = |reason| Err(Refusal::ClassFirm { name: name.clone(), reason });
    check_text("description", &class.description)?;
    check_text("reason", reason)?;
    if name.as_str().starts_with(S3_PREFIX) {
        return firm("names that begin with s3- are made for S3's default retention, and stay as they are");
    }
    if !class.period.is_sensible() {
        let reason = "it takes 1 to 36500 days, 1 to 100 years, or forever".to_owned();
        return Err(Refusal::SettingInvalid { setting: "period", reason });
    }
    if let Some(there) = state.class(name) {
        if there.class == *class {
            return Ok(Decision::default());
        }
        if !class.keeps_all_of(&there.class) {
            match there.class.mode {
                Mode::Compliance => return firm("a class of compliance can only be extended"),
                Mode::Governance if !there.class.may_shorten => {
                    return firm("it says of itself that it may not be shortened");
                }
                Mode::Governance if !bypass => {
                    return firm("it would keep less than it does, which takes bypass_governance");
                }
                Mode::Governance | Mode::None => {}
            }
        }
        // What may be shortened is said when the class is made: to say it later would be to shorten it.
        let loosened = class.may_shorten && !there.class.may_shorten;
        if loosened && there.class.mode != Mode::None {
            return firm("may_shorten is said when the class is made");
        }
    }
    let set = ClassSet { name: name.clone(), class: class.clone(), reason: reason.to_owned() };
    Ok(Event::ClassSet(Box::new(set)).into())
}

fn of_version(file: &File) -> Subject {
    Subject::File {
        key: file.name.key.clone(),
        package: file.package.clone(),
        version: file.sequence,
        producer: file.name.producer.clone(),
    }
}

/// What is meant, what keeps it by itself, and the package whose seal begins its periods.
struct Target<'a> {
    subject: Subject,
    keeping: &'a Keeping,
    file: Option<&'a File>,
    package: Option<&'a Package>,
}

impl Target<'_> {
    const fn scope(&self) -> Scope {
        match self.subject {
            Subject::File { .. } => Scope::File,
            Subject::Package { .. } => Scope::Package,
            Subject::Producer(_) => Scope::Producer,
        }
    }
}

fn target<'a>(state: &'a State, actor: &Actor, choice: &SubjectChoice) -> Result<Target<'a>, Refusal> {
    match choice {
        SubjectChoice::File(name, version) => {
            let owner = producer_owned(state, actor, &name.producer)?;
            file_path(owner, name)?;
            let found = match version {
                None => of_file(state.file_current(name).ok_or(Refusal::FileMissing)?),
                Some(version) => meant(state, owner, name, *version).ok_or(Refusal::VersionMissing)?,
            };
            let file = found.file.ok_or(Refusal::MarkerMeant { made_at: found.made_at })?;
            let package = state.packages.find(&file.package_id);
            Ok(Target { subject: of_version(file), keeping: &file.keeping, file: Some(file), package })
        }
        SubjectChoice::Package(id) => {
            let chosen = package_chosen(state, actor, &PackageChoice::Id(id.clone()))?;
            let package = chosen.ok_or(Refusal::PackageMissing)?;
            // A revision is released with those before it.
            let latest = state.package_latest(&(package.producer.clone(), package.name.clone()));
            let released = package.released_sequence.or_else(|| latest?.released_sequence);
            if let Some(event) = released {
                return Err(Refusal::PackageWasReleased(event));
            }
            let subject = Subject::Package {
                package: package.name.clone(),
                producer: package.producer.clone(),
                package_id: package.id.clone(),
            };
            Ok(Target { subject, keeping: &package.keeping, file: None, package: Some(package) })
        }
        SubjectChoice::Producer(producer) => {
            let owner = producer_owned(state, actor, producer)?;
            let subject = Subject::Producer(producer.clone());
            Ok(Target { subject, keeping: &owner.keeping, file: None, package: None })
        }
    }
}

/// The classes that a lock on these terms would have to take the place of, because they keep longer than it does; a
/// refusal when one of them, or the lock before, does not give way.
fn superseded(
    state: &State,
    target: &Target<'_>,
    terms: Option<&LockTerms>,
    bypass: bool,
) -> Result<Vec<ClassName>, Refusal> {
    let expiry = state.expiry();
    let finalized_at = target.package.and_then(|package| package.seal.as_ref()).map(|seal| seal.finalized_at);
    // A package's files were ingested at different times, the last of them no later than now.
    let ingested_at = target.file.map_or(state.now, |file| file.ingested_at);
    let mut drops = Vec::new();
    let mut kept = Vec::new();
    if let Some(lock) = target.keeping.lock.as_ref().filter(|lock| lock.terms.retain_until > expiry) {
        let LockTerms { mode, retain_until } = lock.terms;
        let extends = terms.is_some_and(|new| new.mode == mode && new.retain_until >= retain_until);
        if !extends && (mode == Mode::Compliance || !bypass) {
            kept.push(Reason::Lock { mode, until: retain_until, scope: target.scope(), event: lock.sequence });
        }
    }
    for chosen in &target.keeping.classes {
        let Some(row) = state.class(&chosen.name).filter(|row| row.class.mode != Mode::None) else { continue };
        let begun = match row.class.start {
            Start::Ingest => Some(ingested_at),
            Start::Finalize => finalized_at,
        };
        let Some(begun) = begun else { continue };
        let until = row.class.period.after(begun);
        if until.is_some_and(|until| until <= expiry) {
            continue;
        }
        let longer = terms.is_none_or(|new| until.is_none_or(|until| new.retain_until < until));
        let firmer = terms.is_none_or(|new| new.mode < row.class.mode);
        if longer || firmer {
            if row.class.mode == Mode::Governance && bypass && row.class.may_shorten {
                drops.push(row.name.clone());
            } else {
                let (class, mode) = (row.name.clone(), row.class.mode);
                let scope = target.scope();
                kept.push(Reason::Class { class, mode, until, over: false, scope, event: chosen.sequence });
            }
        }
    }
    if kept.is_empty() { Ok(drops) } else { Err(Refusal::Kept(kept)) }
}

pub(super) fn retention_set(
    state: &State,
    actor: &Actor,
    choice: &SubjectChoice,
    change: &RetentionChange,
    (bypass, reason): (bool, &str),
) -> Result<Decision, Refusal> {
    check_text("reason", reason)?;
    let target = target(state, actor, choice)?;
    let lock = target.keeping.lock.as_ref().map(|lock| lock.terms);
    let mut set = RetentionSet {
        lock,
        adds: Vec::new(),
        drops: Vec::new(),
        reason: reason.to_owned(),
        subject: target.subject.clone(),
        bypassed: false,
    };
    match change {
        RetentionChange::Class(class) => {
            class_there(state, class)?;
            if target.keeping.classes.iter().any(|chosen| chosen.name == *class) {
                return Ok(Decision::default());
            }
            if target.keeping.classes.len() >= COUNT_LIMIT {
                let reason = format!("it has {COUNT_LIMIT} classes already");
                return Err(Refusal::SettingInvalid { setting: "class", reason });
            }
            set.adds.push(class.clone());
        }
        RetentionChange::Lock(terms) => {
            if let Some(terms) = terms {
                check_lock(state, terms)?;
            }
            if lock == *terms && terms.is_some() {
                return Ok(Decision::default());
            }
            set.drops = superseded(state, &target, terms.as_ref(), bypass)?;
            if lock.is_none() && terms.is_none() && set.drops.is_empty() {
                return Ok(Decision::default());
            }
            set.lock = *terms;
            set.bypassed = bypass;
        }
    }
    Ok(Event::RetentionSet(Box::new(set)).into())
}

pub(super) fn hold_place(
    state: &State,
    actor: &Actor,
    choice: &SubjectChoice,
    (name, reason): (&HoldName, &str),
) -> Result<Decision, Refusal> {
    check_text("reason", reason)?;
    if reason.trim().is_empty() {
        return Err(Refusal::SettingInvalid { setting: "reason", reason: "a hold says why it is placed".to_owned() });
    }
    let target = target(state, actor, choice)?;
    if target.keeping.hold(name).is_some() {
        return Ok(Decision::default());
    }
    if target.keeping.holds.len() >= COUNT_LIMIT {
        let reason = format!("it has {COUNT_LIMIT} holds already");
        return Err(Refusal::SettingInvalid { setting: "hold", reason });
    }
    let placed = HoldPlaced { name: name.clone(), reason: reason.to_owned(), subject: target.subject };
    Ok(Event::HoldPlaced(Box::new(placed)).into())
}

pub(super) fn hold_release(
    state: &State,
    actor: &Actor,
    choice: &SubjectChoice,
    (name, reason): (&HoldName, &str),
) -> Result<Decision, Refusal> {
    check_text("reason", reason)?;
    let target = target(state, actor, choice)?;
    if target.keeping.hold(name).is_none() {
        return Ok(Decision::default());
    }
    let released = HoldReleased { name: name.clone(), reason: reason.to_owned(), subject: target.subject };
    Ok(Event::HoldReleased(Box::new(released)).into())
}

pub(super) fn package_release(state: &State, actor: &Actor, id: &PackageId, reason: &str) -> Result<Decision, Refusal> {
    check_text("reason", reason)?;
    let chosen = package_chosen(state, actor, &PackageChoice::Id(id.clone()))?;
    let package = chosen.ok_or(Refusal::PackageMissing)?;
    if package.released_sequence.is_some() {
        return Ok(Decision::default());
    }
    if package.seal.is_none() {
        return Err(Refusal::PackageOpen);
    }
    // What this revision has, a later one may have as well; and nobody can release both but by that one.
    let latest = state.package_latest(&(package.producer.clone(), package.name.clone()));
    let sealed = latest.map_or(package.revision, |latest| latest.revision - u32::from(latest.seal.is_none()));
    if sealed > package.revision {
        return Err(Refusal::PackageSuperseded(sealed));
    }
    let owner = producer_owned(state, actor, &package.producer)?;
    // What its files are kept by counts when they are removed.
    let name = (package.producer.clone(), package.name.clone());
    let earlier = state.keepers(&name).filter(|earlier| earlier.revision < package.revision);
    let mut kept = package_reasons(package, Some(owner), state.expiry(), &|name| state.class(name));
    kept.extend(earlier.flat_map(|it| package_reasons(it, None, state.expiry(), &|name| state.class(name))));
    let forbidding: Vec<Reason> = kept.into_iter().filter(|reason| reason.forbids(false)).collect();
    if !forbidding.is_empty() {
        return Err(Refusal::Kept(forbidding));
    }
    Ok(Event::PackageReleased(Box::new(PackageReleased {
        reason: reason.to_owned(),
        package: package.name.clone(),
        producer: package.producer.clone(),
        package_id: package.id.clone(),
    }))
    .into())
}

pub(super) fn clock_settle(state: &State, jump: Sequence, genuine: bool, reason: &str) -> Result<Decision, Refusal> {
    check_text("reason", reason)?;
    let row = state.jumps.find(&jump).ok_or(Refusal::JumpMissing(jump))?;
    if row.is_believed() || row.settled_sequence.is_none() || row.genuine != genuine {
        // Whoever began by such a clock would take it for the time.
        if !genuine && state.clock >= row.to {
            return Err(Refusal::ClockStillAhead { jump, to: row.to });
        }
    } else {
        return Ok(Decision::default());
    }
    // Whoever vouches for the time vouches for all that had to be believed until now.
    let vouched = |row: &ClockJump| genuine && row.is_believed() && (row.sequence == jump || row.to <= state.clock);
    let (vouched, stay): (Vec<&ClockJump>, Vec<&ClockJump>) =
        state.clock_jumps().into_iter().partition(|row| vouched(row));
    let settled = |jump| {
        let settled = ClockSettled { jump, reason: reason.to_owned(), genuine };
        Event::ClockSettled(Box::new(settled))
    };
    let others = vouched.iter().map(|row| row.sequence).filter(|row| *row != jump);
    let mut events: Vec<Event> = others.chain([jump]).map(settled).collect();
    // What was vouched for leaves no row; with the last of them it would be forgotten until when the time is accounted
    // for.
    let last = accounting(&stay).map_or(0, |row| row.sequence);
    if let Some(reckoning) = state.reckoning
        && vouched.iter().any(|row| row.sequence > last)
    {
        let owed_micros = reckoning.owed_micros.saturating_sub(believed_micros(vouched)).max(0);
        let noted = Reckoning { owed_micros, ..reckoning }.noted(&stay);
        events.insert(0, Event::ClockNoted(Box::new(noted)));
    }
    Ok(Decision { events, ..Decision::default() })
}

pub(super) fn clock_note(state: &State, ends: bool) -> Decision {
    let jumps = state.clock_jumps();
    let news = state.reckoning.filter(|reckoning| reckoning.is_news(state.logged, &jumps, ends));
    news.map_or_else(Decision::default, |reckoning| Event::ClockNoted(Box::new(reckoning.noted(&jumps))).into())
}
