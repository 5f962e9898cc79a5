//! Commands, events and states as a busy gateway has them, made of numbers.
//!
//! Invariant: the same number makes the same; two numbers never share a key or content.

use artifactstore_registry::backends::digest::{ContentAddress, ObjectKey, Sha256Digest};
use artifactstore_registry::backends::recipe::{Chunk, Codec, LocatedChunk, Location, Recipe, RetrievalTier};
use artifactstore_registry::clock::Timestamp;
use artifactstore_registry::log::decide::decide;
use artifactstore_registry::model::attributes::Attributes;
use artifactstore_registry::model::cbor::TextMap;
use artifactstore_registry::model::command::{Command, Content, FileIngest, FinalizeFacts, WriteCondition};
use artifactstore_registry::model::event::{Actor, Event};
use artifactstore_registry::model::manifest::{
    MANIFEST_VERSION, Manifest, ManifestFile, ManifestPackage, Provenance, RetentionSummary, StorageReceipt,
};
use artifactstore_registry::model::name::{FileName, InvalidName, PackageId, PackageName, ProducerName, TenantName};
use artifactstore_registry::model::row::{Package, Producer, ProducerSettings, Versioning};
use artifactstore_registry::model::state::State;

/// How many files go into one package.
pub const FILES_A_PACKAGE: u64 = 1000;
const PRODUCER: &str = "guide-board";
const FILE_BYTES: u64 = 4096;

/// Who does it all.
///
/// # Errors
/// Never, as long as `root` names a tenant.
pub fn actor() -> Result<Actor, InvalidName> {
    Ok(Actor {
        tenant: TenantName::parse("root")?,
        name: "AKIAEXAMPLE".to_owned(),
        request_id: "0198f0c2b7d47c0e".to_owned(),
        client: Some("aws-cli/2.31 md/awscrt#0.27 ua/2.1 os/linux".to_owned()),
    })
}

/// The producer's name.
///
/// # Errors
/// Never, as long as it is a producer's name.
pub fn producer() -> Result<ProducerName, InvalidName> {
    ProducerName::parse(PRODUCER)
}

fn bytes(of: &str, number: u64) -> [u8; 32] {
    *blake3::hash(format!("{of} {number}").as_bytes()).as_bytes()
}

fn package_name(number: u64) -> String {
    format!("run-{:05}", number / FILES_A_PACKAGE)
}

fn package_id(number: u64) -> PackageId {
    let mut random = [0; 16];
    random.copy_from_slice(&bytes("package", number / FILES_A_PACKAGE)[..16]);
    PackageId::from_random(random)
}

fn path(number: u64) -> String {
    format!("results/report-{number:08}.xml")
}

/// The command that creates the producer.
///
/// # Errors
/// Never, as long as it is a producer's name.
pub fn create() -> Result<Command, InvalidName> {
    Ok(Command::ProducerCreate { producer: producer()?, settings: ProducerSettings::default(), object_lock: false })
}

/// The command that ingests a file of 4 KiB with new content.
///
/// # Errors
/// Never, as long as its names are names.
pub fn ingest(number: u64) -> Result<Command, InvalidName> {
    let address = ContentAddress(bytes("content", number));
    let chunk = Chunk { size_bytes: FILE_BYTES, address };
    let location = Location {
        tier: RetrievalTier::Online,
        codec: Codec::None,
        object: ObjectKey(address.0),
        offset_bytes: 0,
        backend: "local".to_owned(),
        stored_length_bytes: FILE_BYTES,
    };
    Ok(Command::FileIngest(Box::new(FileIngest {
        name: FileName::parse(PRODUCER, &format!("{}/{}", package_name(number), path(number)))?,
        content: Content {
            content_address: address,
            sha256: Sha256Digest(bytes("sha256", number)),
            size_bytes: FILE_BYTES,
            recipe: Some(Recipe { chunks: vec![chunk] }),
            written: vec![LocatedChunk { chunk, location }],
        },
        etag: ContentAddress(bytes("etag", number)).to_hex()[..32].to_owned(),
        attributes: Attributes { media_type: "application/xml".to_owned(), ..Attributes::default() },
        retention: Default::default(),
        condition: WriteCondition::default(),
        upload: None,
        copied_from: None,
        fresh_package: package_id(number),
        finalize: FinalizeFacts { gateway_version: "0.1.0".to_owned(), backend: "local".to_owned() },
    })))
}

/// The state of a batch that ingests this file into a package that is open: all that the command and its events touch.
///
/// # Errors
/// Never, as long as its names are names.
pub fn state(number: u64) -> Result<State, InvalidName> {
    let mut state = State { now: Timestamp(1_760_000_000_000_000), moves_loaded: true, ..State::default() };
    let (actor, name) = (actor()?, producer()?);
    let created_at = state.now;
    let row = Producer {
        name: name.clone(),
        tenant: actor.tenant,
        settings: ProducerSettings::default(),
        created_at,
        created_sequence: 1,
        file_count: 10,
        size_bytes: 40_960,
        upload_count: 0,
        package_count: 1,
        finalized_count: 0,
        versioning: Versioning::Off,
        history_count: 0,
        object_lock: false,
        keeping: Default::default(),
    };
    state.producers.load(name.clone(), Some(row));
    let package = Package {
        id: package_id(number),
        producer: name.clone(),
        name: PackageName::parse(&package_name(number))?,
        revision: 1,
        opened_at: created_at,
        opened_sequence: 2,
        changed_at: created_at,
        last_sequence: 12,
        file_count: 10,
        size_bytes: 40_960,
        seal: None,
        keeping: Default::default(),
        released_sequence: None,
    };
    state.latest.insert((name, package.name.clone()), Some(package.id.clone()));
    state.packages.load(package.id.clone(), Some(package));
    if let Command::FileIngest(ingest) = ingest(number)? {
        state.names.load(ingest.name, None);
        state.blobs.load(ingest.content.content_address, None);
        state.chunks.load(ingest.content.content_address, None);
        state.swept.load(ObjectKey(ingest.content.content_address.0), None);
    }
    Ok(state)
}

/// The event that a file is ingested by.
///
/// # Errors
/// When the command is refused, which would be a mistake of this module.
pub fn event(number: u64) -> anyhow::Result<Event> {
    events(number)?.pop().ok_or_else(|| anyhow::anyhow!("the sample makes no event"))
}

/// The events that a file is ingested by: before the first of a package, that the package is opened.
///
/// # Errors
/// When the command is refused, which would be a mistake of this module.
pub fn events(number: u64) -> anyhow::Result<Vec<Event>> {
    let mut state = state(number)?;
    if number.is_multiple_of(FILES_A_PACKAGE) {
        state.latest.values_mut().for_each(|latest| *latest = None);
        state.packages = Default::default();
    }
    let decision = decide(&state, &actor()?, &ingest(number)?)
        .map_err(|refusal| anyhow::anyhow!("the sample is refused: {refusal:?}"))?;
    Ok(decision.events)
}

/// A manifest of so many files.
#[must_use]
pub fn manifest(files: u64) -> Manifest {
    let file = |number: u64| {
        let digest = ContentAddress(bytes("content", number));
        ManifestFile {
            etag: digest.to_hex()[..32].to_owned(),
            size: FILE_BYTES,
            metadata: TextMap::default(),
            sequence: number + 3,
            media_type: "application/xml".to_owned(),
            digest_sha256: Sha256Digest(bytes("sha256", number)).to_hex(),
            relative_path: path(number),
            digest_primary: digest.to_hex(),
            content_address: digest.to_string(),
            digest_algorithm: "blake3".to_owned(),
        }
    };
    Manifest {
        files: (0..files).map(file).collect(),
        package: ManifestPackage {
            id: PackageId::from_random([7; 16]).as_str().to_owned(),
            name: package_name(0),
            producer: PRODUCER.to_owned(),
            revision: 1,
            opened_at: 1_760_000_000_000_000,
            finalized_at: 1_760_000_001_000_000,
        },
        provenance: Provenance {
            actor: "AKIAEXAMPLE".to_owned(),
            client: None,
            tenant: "root".to_owned(),
            clients: vec!["aws-cli/2.31".to_owned()],
            last_sequence: files + 2,
            first_sequence: 2,
            gateway_version: "0.1.0".to_owned(),
        },
        manifest_version: MANIFEST_VERSION,
        storage_receipts: vec![StorageReceipt {
            blobs: files,
            backend: "local".to_owned(),
            size_bytes: files * FILE_BYTES,
        }],
        retention_summary: RetentionSummary { mode: "none".to_owned(), class: "none".to_owned(), holds: Vec::new() },
    }
}

#[cfg(test)]
mod tests {
    use artifactstore_registry::model::event::Event;
    use artifactstore_registry::model::manifest::Manifest;

    use super::{event, events, manifest};

    #[test]
    fn the_samples_are_what_the_registry_takes() {
        let sample = event(5).unwrap();
        assert_eq!(sample.kind(), "v1.file.ingested");
        assert_eq!(Event::decode(sample.kind(), &sample.encode()).unwrap().unwrap(), sample);
        assert_ne!(event(6).unwrap(), sample);
        let kinds = |number| events(number).unwrap().iter().map(Event::kind).collect::<Vec<_>>();
        assert_eq!(kinds(2000), ["v1.package.opened", "v1.file.ingested"]);
        assert_eq!(kinds(2001), ["v1.file.ingested"]);
        let sample = manifest(3);
        assert_eq!(Manifest::decode(&sample.encode()).unwrap(), sample);
    }
}
