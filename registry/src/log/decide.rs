//! Whether a command may be, and which facts it makes. Reads the state, changes nothing; no IO, no clock.

pub mod collect;
pub mod erase;
mod expire;
mod key;
mod retention;
mod scrub;
mod version;

pub use retention::kept;

use artifactstore_backends::dataplane::spi::IngestResult;
use artifactstore_backends::digest::{Checksum, Sha256Digest};
use artifactstore_backends::recipe::LocatedChunk;

use super::storage::{check_places, storage_close, storage_direct, storage_end};
use crate::clock::Timestamp;
use crate::error::Refusal;
use crate::model::attributes::Attributes;
use crate::model::command::{Command, Content, FileIngest, FinalizeFacts, PackageChoice, PreparedSeal, WriteCondition};
use crate::model::event::{
    Actor, CopySource, Event, FileDescribed, FileIngested, FileRemoved, LockEnabled, PackageFinalized, PackageOpened,
    PartIngested, ProducerConfigured, ProducerCreated, ProducerDeleted, StoredManifest, UploadAborted, UploadCreated,
    VersioningSet,
};
use crate::model::glob;
use crate::model::name::{FileName, KeyMeaning, PackageId, PackageName, PartNumber, ProducerName, UploadId};
use crate::model::retention::Retention;
use crate::model::row::{
    File, OnFinalized, Package, Producer, ProducerSettings, Sequence, Upload, UploadState, Versioning,
};
use crate::model::state::State;

/// The facts of a command, and what is to be decided right behind them in the same batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// The facts, in order.
    pub events: Vec<Event>,
    /// Another command that follows from this one.
    pub then: Option<Box<Command>>,
    /// A package that is to be finalized because of this command, and is too large for this batch.
    pub to_finalize: Option<PackageId>,
}

impl From<Event> for Decision {
    fn from(event: Event) -> Self {
        Self { events: vec![event], ..Self::default() }
    }
}

/// How many files a package may have to be finalized within one batch, which others wait for; the seal of a larger one is
/// made before its batch. A program that is ended at every step is to be ended at those of both.
pub const FILES_IN_BATCH: u64 = if cfg!(feature = "failpoints") { 2 } else { 1000 };

/// The deepest package name, in segments.
pub const PACKAGE_DEPTH_LIMIT: u32 = 16;

/// Decides a command.
///
/// # Errors
/// With the reason, when the state refuses it; nothing is then recorded.
pub fn decide(state: &State, actor: &Actor, command: &Command) -> Result<Decision, Refusal> {
    match command {
        Command::ProducerCreate { producer, settings, object_lock } => {
            producer_create(state, actor, producer, (settings, *object_lock))
        }
        Command::ProducerConfigure { producer, settings } => producer_configure(state, actor, producer, settings),
        Command::ProducerDelete { producer } => producer_delete(state, actor, producer),
        Command::FileIngest(ingest) => file_ingest(state, actor, ingest),
        Command::FileDescribe { name, version, attributes, retention, condition, fresh_package } => {
            file_describe(state, actor, (name, *version), (attributes, retention), (condition, fresh_package))
        }
        Command::FileRemove { name, condition, bypass, fresh_package } => {
            file_remove(state, actor, name, (condition, *bypass), fresh_package)
        }
        Command::VersionRemove { name, version, condition, bypass, fresh_package, .. } => {
            version::version_remove(state, actor, (name, *version), (condition, *bypass), fresh_package)
        }
        Command::FileTag { name, version, tags } => version::file_tag(state, actor, (name, *version), tags),
        Command::VersioningSet { producer, versioning } => version::versioning_set(state, actor, producer, *versioning),
        Command::SubresourceSet { producer, name, document } => {
            version::subresource_set(state, actor, (producer, *name), document.as_ref())
        }
        Command::UploadCreate { upload, name, attributes } => {
            let owner = producer_of(state, actor, name)?;
            let (package, _) = file_path(owner, name)?;
            check_writable(state, owner, &package)?;
            retention::given(state, owner, name, (&attributes.retention, false), &attributes.file)?;
            Ok(Event::UploadCreated(Box::new(UploadCreated {
                key: name.key.clone(),
                producer: name.producer.clone(),
                upload: upload.clone(),
                attributes: (**attributes).clone(),
            }))
            .into())
        }
        Command::PartIngest { upload, name, number, stored, checksum, copied_from } => {
            part_ingest(state, actor, (upload, name, *number), stored, (checksum.as_ref(), copied_from.as_ref()))
        }
        Command::UploadAbort { upload, name } => {
            producer_of(state, actor, name)?;
            upload_open(state, name, upload)?;
            let aborted = UploadAborted { upload: upload.clone(), producer: name.producer.clone() };
            Ok(Event::UploadAborted(Box::new(aborted)).into())
        }
        Command::KeyCreate { id, tenant, grants, sealed } => key::create(state, id, tenant, grants, sealed),
        Command::KeyRotate { id, sealed } => key::rotate(state, id, sealed),
        Command::KeyRevoke { id } => key::revoke(state, id),
        Command::PackageFinalize { package, idle_since, facts, prepared } => {
            package_finalize(state, actor, package, *idle_since, (facts, prepared.as_deref()))
        }
        Command::StorageDirect { from, to } => storage_direct(state, from, to),
        Command::StorageClose { begun } => storage_close(state, *begun),
        Command::StorageEnd { begun } => storage_end(state, *begun),
        Command::LockConfigure { producer, default } => retention::lock_configure(state, actor, producer, *default),
        Command::ClassSet { name, class, bypass, reason } => {
            retention::class_set(state, name, class, (*bypass, reason))
        }
        Command::RetentionSet { subject, change, bypass, reason } => {
            retention::retention_set(state, actor, subject, change, (*bypass, reason))
        }
        Command::HoldPlace { subject, name, reason } => retention::hold_place(state, actor, subject, (name, reason)),
        Command::HoldRelease { subject, name, reason } => {
            retention::hold_release(state, actor, subject, (name, reason))
        }
        Command::PackageRelease { package, reason, .. } => retention::package_release(state, actor, package, reason),
        Command::ClockSettle { jump, genuine, reason } => retention::clock_settle(state, *jump, *genuine, reason),
        Command::Collect { step, .. } => collect::collect(state, step),
        Command::Erase { erase, .. } => erase::erase(state, actor, erase),
        Command::Expire { name, expiry, .. } => expire::expire(state, actor, name, expiry),
        Command::ClockNote { ends } => Ok(retention::clock_note(state, *ends)),
        Command::Scrub(step) => Ok(scrub::scrub(state, step)),
    }
}

fn part_ingest(
    state: &State,
    actor: &Actor,
    (upload, name, number): (&UploadId, &FileName, PartNumber),
    stored: &IngestResult,
    (checksum, copied_from): (Option<&Checksum>, Option<&CopySource>),
) -> Result<Decision, Refusal> {
    producer_of(state, actor, name)?;
    upload_open(state, name, upload)?;
    check_source(state, copied_from)?;
    let content = Content {
        content_address: stored.content_address,
        sha256: Sha256Digest([0; 32]),
        size_bytes: stored.size_bytes,
        recipe: Some(stored.recipe.clone()),
        written: stored.written.clone(),
    };
    if scrub::leans_on_damage(state, &content) {
        return Err(Refusal::ContentMissing);
    }
    let written = check_content(state, &content)?;
    let mut events: Vec<Event> = scrub::heal(state, &content.written)?.into_iter().collect();
    events.push(Event::PartIngested(Box::new(PartIngested {
        md5: stored.md5.ok_or(Refusal::ContentMissing)?,
        size_bytes: stored.size_bytes,
        chunks: stored.recipe.clone(),
        number,
        upload: upload.clone(),
        written,
        checksum: checksum.cloned(),
        producer: name.producer.clone(),
        copied_from: copied_from.cloned(),
    })));
    Ok(Decision { events, ..Decision::default() })
}

fn package_finalize(
    state: &State,
    actor: &Actor,
    choice: &PackageChoice,
    idle_since: Option<Timestamp>,
    (facts, prepared): (&FinalizeFacts, Option<&PreparedSeal>),
) -> Result<Decision, Refusal> {
    let Some(package) = package_chosen(state, actor, choice)? else { return Err(Refusal::PackageMissing) };
    let busy = idle_since.is_some_and(|since| package.changed_at > since);
    if package.seal.is_some() || busy {
        return Ok(Decision::default());
    }
    let fact = match prepared {
        Some(seal) if seal.package_id == package.id && seal.last_sequence == package.last_sequence => {
            if let PackageFinalized::Stored(stored) = &seal.fact {
                check_stored(state, stored)?;
            }
            seal.fact.clone()
        }
        // Somebody wrote to it meanwhile: whoever asked looks at it again.
        Some(_) => return Ok(Decision::default()),
        None => {
            let facts = facts.written_to(&state.storage());
            PackageFinalized::Inline(Box::new(super::seal::manifest(state, actor, package, &facts)))
        }
    };
    Ok(Event::PackageFinalized(Box::new(fact)).into())
}

fn check_settings(state: &State, settings: &ProducerSettings) -> Result<(), Refusal> {
    let refuse = |setting, reason: &str| Err(Refusal::SettingInvalid { setting, reason: reason.to_owned() });
    if settings.package_depth > PACKAGE_DEPTH_LIMIT {
        return refuse("package_depth", "it takes 0 to 16");
    }
    if settings.finalize_marker.as_ref().is_some_and(|marker| marker.is_empty() || marker.len() > 1024) {
        return refuse("finalize_marker", "it takes 1 to 1,024 bytes");
    }
    if settings.finalize_after_idle_seconds == Some(0) {
        return refuse("finalize_after_idle_seconds", "it takes at least 1");
    }
    retention::check_settings(state, settings)
}

fn producer_create(
    state: &State,
    actor: &Actor,
    name: &ProducerName,
    (settings, object_lock): (&ProducerSettings, bool),
) -> Result<Decision, Refusal> {
    if let Some(there) = state.producers.get(name) {
        let own = there.tenant == actor.tenant;
        return Err(if own { Refusal::ProducerOwned(name.clone()) } else { Refusal::ProducerForeign(name.clone()) });
    }
    check_settings(state, settings)?;
    let created = ProducerCreated { tenant: actor.tenant.clone(), producer: name.clone(), settings: settings.clone() };
    let mut events = vec![Event::ProducerCreated(Box::new(created))];
    if object_lock {
        let versioning = VersioningSet { producer: name.clone(), versioning: Versioning::Enabled };
        events.push(Event::VersioningSet(Box::new(versioning)));
        events.push(Event::LockEnabled(Box::new(LockEnabled { producer: name.clone() })));
    }
    Ok(Decision { events, ..Decision::default() })
}

fn producer_configure(
    state: &State,
    actor: &Actor,
    name: &ProducerName,
    settings: &ProducerSettings,
) -> Result<Decision, Refusal> {
    let there = producer_owned(state, actor, name)?;
    check_settings(state, settings)?;
    if there.settings == *settings {
        return Ok(Decision::default());
    }
    if there.settings.package_depth != settings.package_depth && there.package_count > 0 {
        return Err(Refusal::SettingInvalid {
            setting: "package_depth",
            reason: "the producer has packages already, and their names depend on it".to_owned(),
        });
    }
    let configured = ProducerConfigured { producer: name.clone(), settings: settings.clone() };
    Ok(Event::ProducerConfigured(Box::new(configured)).into())
}

fn producer_delete(state: &State, actor: &Actor, name: &ProducerName) -> Result<Decision, Refusal> {
    let there = producer_owned(state, actor, name)?;
    // What was finalized and released lets go once its files are gone; that it was, and its manifest, is in the log.
    let kept = there.package_count > 0 && state.still_keeps != Some(false);
    if there.file_count > 0 || there.upload_count > 0 || kept || there.history_count > 0 {
        return Err(Refusal::ProducerNotEmpty(name.clone()));
    }
    if let Some(hold) = there.keeping.holds.first() {
        return Err(Refusal::ProducerHeld { producer: name.clone(), hold: hold.name.to_string() });
    }
    Ok(Event::ProducerDeleted(Box::new(ProducerDeleted { producer: name.clone() })).into())
}

fn producer_owned<'a>(state: &'a State, actor: &Actor, name: &ProducerName) -> Result<&'a Producer, Refusal> {
    let producer = state.producers.get(name).ok_or_else(|| Refusal::ProducerMissing(name.clone()))?;
    if producer.tenant == actor.tenant { Ok(producer) } else { Err(Refusal::ProducerForeign(name.clone())) }
}

fn producer_of<'a>(state: &'a State, actor: &Actor, name: &FileName) -> Result<&'a Producer, Refusal> {
    producer_owned(state, actor, &name.producer)
}

/// The package and path of a key that files can have.
fn file_path(producer: &Producer, name: &FileName) -> Result<(PackageName, String), Refusal> {
    match name.key.meaning(producer.settings.package_depth) {
        KeyMeaning::File { package, relative_path } => Ok((package, relative_path)),
        KeyMeaning::Reserved { .. } => Err(Refusal::KeyReserved("nothing is stored under .artifact/")),
    }
}

/// Refuses when the latest revision is finalized and a write would not open the next one.
pub fn check_writable(state: &State, producer: &Producer, package: &PackageName) -> Result<(), Refusal> {
    let latest = state.package_latest(&(producer.name.clone(), package.clone()));
    match (latest.and_then(Package::refusal), producer.settings.on_finalized) {
        (Some(refusal), OnFinalized::Refuse) => Err(refusal),
        _ => Ok(()),
    }
}

/// The revision that a write goes into, and the event that opens it when it is new.
fn package_for_write(
    state: &State,
    producer: &Producer,
    package: &PackageName,
    fresh: &PackageId,
) -> Result<(Vec<Event>, PackageId), Refusal> {
    check_writable(state, producer, package)?;
    let latest = state.package_latest(&(producer.name.clone(), package.clone()));
    if let Some(open) = latest.filter(|latest| latest.seal.is_none()) {
        return Ok((Vec::new(), open.id.clone()));
    }
    let opened = PackageOpened {
        package: package.clone(),
        producer: producer.name.clone(),
        revision: latest.map_or(1, |latest| latest.revision + 1),
        package_id: fresh.clone(),
        previous_id: latest.map(|latest| latest.id.clone()),
    };
    Ok((vec![Event::PackageOpened(Box::new(opened))], fresh.clone()))
}

/// Refuses when the latest revision is finalized, was not released, and a removal would not open the next one.
fn check_removal(state: &State, producer: &Producer, package: &PackageName) -> Result<(), Refusal> {
    let latest = state.package_latest(&(producer.name.clone(), package.clone()));
    if latest.is_some_and(|latest| latest.released_sequence.is_some()) {
        return Ok(());
    }
    check_writable(state, producer, package)
}

/// The revision that a name is removed from, and the event that opens it when it is new: a sealed one that was released,
/// or else as for any other write.
fn package_for_removal(
    state: &State,
    producer: &Producer,
    package: &PackageName,
    fresh: &PackageId,
) -> Result<(Vec<Event>, PackageId), Refusal> {
    let latest = state.package_latest(&(producer.name.clone(), package.clone()));
    match latest.filter(|latest| latest.released_sequence.is_some()) {
        Some(released) => Ok((Vec::new(), released.id.clone())),
        None => package_for_write(state, producer, package, fresh),
    }
}

fn check_condition(current: Option<&File>, condition: &WriteCondition) -> Result<(), Refusal> {
    let fits = |etags: &[String], file: &File| etags.iter().any(|etag| etag == "*" || *etag == file.etag);
    if condition.absent && current.is_some() {
        return Err(Refusal::PreconditionFailed("If-None-Match"));
    }
    if let Some(etags) = &condition.if_match {
        let file = current.ok_or(Refusal::FileMissing)?;
        if !fits(etags, file) {
            return Err(Refusal::PreconditionFailed("If-Match"));
        }
    }
    if condition.size_bytes.is_some_and(|size| current.is_some_and(|file| file.size_bytes != size)) {
        return Err(Refusal::PreconditionFailed("If-Match-Size"));
    }
    let seconds = |file: &File| file.ingested_at.to_parts().0;
    if condition.ingested_second.is_some_and(|second| current.is_some_and(|file| seconds(file) != second)) {
        return Err(Refusal::PreconditionFailed("If-Match-Last-Modified-Time"));
    }
    if let (Some(etags), Some(file)) = (&condition.if_none_match, current)
        && fits(etags, file)
    {
        return Err(Refusal::PreconditionFailed("If-None-Match"));
    }
    Ok(())
}

/// Checks that what was stored before the batch as a manifest can still be leaned on.
///
/// # Errors
/// When some of it was swept meanwhile, or lies where nothing new may be recorded.
pub fn check_stored(state: &State, stored: &StoredManifest) -> Result<(), Refusal> {
    let content = Content {
        content_address: stored.manifest_address,
        sha256: stored.sha256,
        size_bytes: stored.manifest_size,
        recipe: Some(stored.chunks.clone()),
        written: stored.written.clone(),
    };
    check_content(state, &content).map(|_| ())
}

/// Checks that every chunk the content leans on is located, and gives those that are located by this very command. An
/// object that was swept since it was written is not leaned on: its deletion may be on its way.
fn check_content(state: &State, content: &Content) -> Result<Vec<LocatedChunk>, Refusal> {
    for chunk in content.recipe.iter().flat_map(|recipe| &recipe.chunks) {
        let located = state.chunks.get(&chunk.address).is_some()
            || content.written.iter().any(|written| written.chunk.address == chunk.address);
        if !located {
            return Err(Refusal::ContentMissing);
        }
    }
    let fresh = content.written.iter().filter(|written| state.chunks.get(&written.chunk.address).is_none());
    let fresh: Vec<LocatedChunk> = fresh.cloned().collect();
    if fresh.iter().any(|located| state.swept.get(&located.location.object).is_some()) {
        return Err(Refusal::ContentMissing);
    }
    check_places(state, &fresh)?;
    Ok(fresh)
}

/// A copy leans on its source: what let go of its bytes since it was found is not copied, even while they are there.
fn check_source(state: &State, source: Option<&CopySource>) -> Result<(), Refusal> {
    let gone = |source: &CopySource| state.files.get(&source.sequence).is_none_or(|it| it.released_sequence.is_some());
    if source.is_some_and(gone) { Err(Refusal::ContentMissing) } else { Ok(()) }
}

fn file_ingest(state: &State, actor: &Actor, ingest: &FileIngest) -> Result<Decision, Refusal> {
    let owner = producer_of(state, actor, &ingest.name)?;
    let (package, relative_path) = file_path(owner, &ingest.name)?;
    let marker = owner.settings.finalize_marker.as_ref();
    let finalizes = marker.is_some_and(|marker| glob::matches(marker, &relative_path));
    if finalizes && ingest.condition.finalizes_nothing {
        return Err(Refusal::FinalizeForbidden);
    }
    if let Some((upload, parts_sequence)) = &ingest.upload
        && upload_open(state, &ingest.name, upload)?.parts_sequence != *parts_sequence
    {
        // A part came between the join and this commit: what was joined is not what the upload is now.
        return Err(Refusal::ContentMissing);
    }
    let former = state.file_current(&ingest.name);
    check_condition(former, &ingest.condition)?;
    retention::check_replaceable(state, owner, &ingest.name, former)?;
    let asked = (&ingest.retention, ingest.upload.is_some());
    let retention = retention::given(state, owner, &ingest.name, asked, &ingest.attributes)?;
    let (mut events, package_id) = package_for_write(state, owner, &package, &ingest.fresh_package)?;
    events.extend(version::null_replaced(state, owner, &ingest.name, (&package, &package_id)));
    let content = &ingest.content;
    check_source(state, ingest.copied_from.as_ref())?;
    let recorded = state.blobs.get(&content.content_address).is_some();
    if !recorded && content.recipe.is_none() {
        return Err(Refusal::ContentMissing);
    }
    // A completion cannot bring its bytes again; whoever sent them now, can.
    if ingest.upload.is_none() && scrub::leans_on_damage(state, content) {
        return Err(Refusal::ContentMissing);
    }
    let written = if recorded { Vec::new() } else { check_content(state, content)? };
    events.extend(scrub::heal(state, &content.written)?);
    events.push(Event::FileIngested(Box::new(FileIngested {
        key: ingest.name.key.clone(),
        etag: ingest.etag.clone(),
        size_bytes: content.size_bytes,
        chunks: if recorded { None } else { content.recipe.clone() },
        client: actor.client.clone(),
        sha256: content.sha256,
        upload: ingest.upload.as_ref().map(|(upload, _)| upload.clone()),
        package: package.clone(),
        written,
        producer: ingest.name.producer.clone(),
        retention,
        copied_from: ingest.copied_from.clone(),
        package_id: package_id.clone(),
        supersedes: former.map(|file| file.sequence),
        attributes: ingest.attributes.clone(),
        relative_path,
        content_address: content.content_address,
    })));
    let files = state.package_latest(&(owner.name.clone(), package)).map_or(0, |latest| latest.file_count);
    if finalizes && files > FILES_IN_BATCH {
        return Ok(Decision { events, to_finalize: Some(package_id), ..Decision::default() });
    }
    let then = finalizes.then(|| {
        let (package, facts) = (PackageChoice::Id(package_id), ingest.finalize.clone());
        Box::new(Command::PackageFinalize { package, idle_since: None, facts, prepared: None })
    });
    Ok(Decision { events, then, ..Decision::default() })
}

fn file_describe(
    state: &State,
    actor: &Actor,
    (name, version): (&FileName, Sequence),
    (attributes, retention): (&Attributes, &Retention),
    (condition, fresh): (&WriteCondition, &PackageId),
) -> Result<Decision, Refusal> {
    let owner = producer_of(state, actor, name)?;
    let (package, _) = file_path(owner, name)?;
    // Of one that was erased there is nothing that could be described, and another was not meant.
    let is_meant = |former: &&File| former.sequence == version && former.released_sequence.is_none();
    let former = state.file_current(name).filter(is_meant).ok_or(Refusal::ContentMissing)?;
    check_condition(Some(former), condition)?;
    let retention = retention::given(state, owner, name, (retention, false), attributes)?;
    let (mut events, package_id) = package_for_write(state, owner, &package, fresh)?;
    // The version that has the name gives way to one with the same bytes, which is kept as it was. In another revision it is
    // not: what the revision before is kept by stays with that.
    let apart = Some(former).filter(|former| former.package_id != package_id);
    retention::check_replaceable(state, owner, name, apart)?;
    events.extend(version::null_replaced(state, owner, name, (&package, &package_id)));
    let mut attributes = attributes.clone();
    attributes.checksum.clone_from(&former.attributes.checksum);
    attributes.parts.clone_from(&former.attributes.parts);
    events.push(Event::FileDescribed(Box::new(FileDescribed {
        key: name.key.clone(),
        package,
        producer: name.producer.clone(),
        retention,
        package_id,
        supersedes: former.sequence,
        attributes,
    })));
    Ok(Decision { events, ..Decision::default() })
}

fn file_remove(
    state: &State,
    actor: &Actor,
    name: &FileName,
    (condition, bypass): (&WriteCondition, bool),
    fresh: &PackageId,
) -> Result<Decision, Refusal> {
    let owner = producer_of(state, actor, name)?;
    if owner.versioning != Versioning::Off {
        return version::file_mark(state, owner, name, condition, fresh);
    }
    let (package, _) = file_path(owner, name)?;
    let Some(former) = state.file_current(name) else {
        check_removal(state, owner, &package)?;
        return if condition.is_empty() { Ok(Decision::default()) } else { Err(Refusal::FileMissing) };
    };
    check_condition(Some(former), condition)?;
    let (mut events, package_id) = package_for_removal(state, owner, &package, fresh)?;
    retention::check_removable(state, owner, former, bypass)?;
    events.push(Event::FileRemoved(Box::new(FileRemoved {
        key: name.key.clone(),
        removes: former.sequence,
        package,
        producer: name.producer.clone(),
        package_id,
    })));
    Ok(Decision { events, ..Decision::default() })
}

fn upload_open<'a>(state: &'a State, name: &FileName, upload: &UploadId) -> Result<&'a Upload, Refusal> {
    state
        .uploads
        .get(upload)
        .filter(|row| row.name == *name && row.state == UploadState::Open)
        .ok_or_else(|| Refusal::UploadMissing(upload.clone()))
}

/// The revision that is meant, if there is one and it is the actor's.
pub fn package_chosen<'a>(
    state: &'a State,
    actor: &Actor,
    choice: &PackageChoice,
) -> Result<Option<&'a Package>, Refusal> {
    let package = match choice {
        PackageChoice::Name(producer, name) => {
            producer_owned(state, actor, producer)?;
            state.package_latest(&(producer.clone(), name.clone()))
        }
        PackageChoice::Id(id) => state.packages.get(id),
    };
    let Some(package) = package else { return Ok(None) };
    // Another tenant's package is not told apart from one that does not exist.
    let own = state.producers.get(&package.producer).is_some_and(|producer| producer.tenant == actor.tenant);
    Ok(own.then_some(package))
}
