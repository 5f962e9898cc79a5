//! Rows of the model to rows of PostgreSQL: columns by kind, in the order of the table's shape.

use artifactstore_backends::recipe::{Codec, RetrievalTier};

use super::statement::signed;
use crate::model::access::AccessKey;
use crate::model::cbor;
use crate::model::erasure::Erasure;
use crate::model::event::Record;
use crate::model::name::{FileName, PackageName, ProducerName};
use crate::model::retention::{ClassRow, ClockJump, Keeping};
use crate::model::row::{
    Blob, ChunkPlace, File, HistoryRow, Package, Part, Producer, SubresourceRow, Upload, UploadState,
};
use crate::model::scrub::{DamagedObject, ScrubPass};
use crate::model::state::NameRow;
use crate::model::storage::StorageMove;
use crate::model::sweep::{BlobChunk, OrphanObject, PartChunk, SweptObject};

/// A row's values.
pub(super) struct Values {
    pub(super) texts: Vec<Option<String>>,
    pub(super) numbers: Vec<Option<i64>>,
    pub(super) bytes: Vec<Option<Vec<u8>>>,
}

fn name(name: &FileName) -> [Option<String>; 2] {
    [Some(name.producer.to_string()), Some(name.key.to_string())]
}

pub(super) fn record(row: &Record) -> Values {
    Values {
        texts: vec![
            Some(row.kind.clone()),
            Some(row.tenant.to_string()),
            row.producer.as_ref().map(ProducerName::to_string),
            row.package.as_ref().map(PackageName::to_string),
            Some(row.actor.clone()),
            Some(row.request_id.clone()),
        ],
        numbers: vec![Some(signed(row.sequence)), Some(row.occurred_at.0)],
        bytes: vec![Some(row.payload.clone()), Some(row.hash.to_vec())],
    }
}

pub(super) fn access_key(row: &AccessKey) -> Values {
    let sequences = [row.created_sequence, row.changed_sequence];
    let mut numbers = vec![Some(row.created_at.0)];
    numbers.extend(sequences.map(|sequence| Some(signed(sequence))));
    Values {
        texts: vec![Some(row.id.to_string()), Some(row.tenant.to_string())],
        numbers,
        bytes: vec![Some(cbor::encode(&row.grants)), Some(row.sealed.clone())],
    }
}

pub(super) fn producer(row: &Producer) -> Values {
    let counts = [
        row.created_sequence,
        row.file_count,
        row.size_bytes,
        row.upload_count,
        row.package_count,
        row.finalized_count,
        row.history_count,
    ];
    let mut numbers = vec![Some(row.created_at.0)];
    numbers.extend(counts.map(|count| Some(signed(count))));
    numbers.push(Some(i64::from(row.object_lock)));
    Values {
        texts: vec![Some(row.name.to_string()), Some(row.tenant.to_string()), Some(row.versioning.as_str().to_owned())],
        numbers,
        bytes: vec![Some(cbor::encode(&row.settings)), keeping(&row.keeping)],
    }
}

pub(super) fn package(row: &Package) -> Values {
    let seal = row.seal.as_ref();
    Values {
        texts: vec![Some(row.id.to_string()), Some(row.producer.to_string()), Some(row.name.to_string())],
        numbers: vec![
            Some(i64::from(row.revision)),
            Some(row.opened_at.0),
            Some(signed(row.opened_sequence)),
            Some(row.changed_at.0),
            Some(signed(row.last_sequence)),
            Some(signed(row.file_count)),
            Some(signed(row.size_bytes)),
            seal.map(|seal| seal.finalized_at.0),
            seal.map(|seal| signed(seal.sequence)),
            seal.map(|seal| signed(seal.manifest_size_bytes)),
            row.released_sequence.map(signed),
        ],
        bytes: vec![seal.map(|seal| seal.manifest_digest.0.to_vec()), keeping(&row.keeping)],
    }
}

pub(super) fn named(row: &NameRow) -> Values {
    let [producer, key] = name(&row.name);
    Values {
        texts: vec![producer, key, Some(row.package.to_string())],
        numbers: vec![Some(signed(row.sequence))],
        bytes: Vec::new(),
    }
}

pub(super) fn file(row: &File) -> Values {
    let [producer, key] = name(&row.name);
    Values {
        texts: vec![
            producer,
            key,
            Some(row.package_id.to_string()),
            Some(row.package.to_string()),
            Some(row.relative_path.clone()),
            Some(row.etag.clone()),
            row.client.clone(),
        ],
        numbers: vec![
            Some(signed(row.sequence)),
            Some(signed(row.size_bytes)),
            Some(row.ingested_at.0),
            row.ended_sequence.map(signed),
            Some(i64::from(row.versioned)),
            row.deleted_sequence.map(signed),
            row.released_sequence.map(signed),
        ],
        bytes: vec![
            Some(row.content_address.0.to_vec()),
            Some(row.sha256.0.to_vec()),
            Some(cbor::encode(&row.attributes)),
            keeping(&row.keeping),
        ],
    }
}

fn keeping(keeping: &Keeping) -> Option<Vec<u8>> {
    (!keeping.is_empty()).then(|| cbor::encode(keeping))
}

pub(super) fn class(row: &ClassRow) -> Values {
    let (unit, count) = row.class.period.to_words();
    let words = [
        row.class.mode.as_str(),
        unit,
        row.class.start.as_str(),
        row.class.then.as_str(),
        row.class.description.as_str(),
    ];
    let mut texts = vec![Some(row.name.to_string())];
    texts.extend(words.map(|word| Some(word.to_owned())));
    let numbers = vec![Some(i64::from(count)), Some(i64::from(row.class.may_shorten)), Some(signed(row.sequence))];
    Values { texts, numbers, bytes: Vec::new() }
}

pub(super) fn clock_jump(row: &ClockJump) -> Values {
    Values {
        texts: Vec::new(),
        numbers: vec![
            Some(signed(row.sequence)),
            Some(row.from.0),
            Some(row.to.0),
            row.settled_sequence.map(signed),
            Some(i64::from(row.genuine)),
        ],
        bytes: Vec::new(),
    }
}

pub(super) fn history(row: &HistoryRow) -> Values {
    let [producer, key] = name(&row.name);
    Values {
        texts: vec![producer, key],
        numbers: vec![
            Some(signed(row.sequence)),
            Some(i64::from(row.marker)),
            Some(i64::from(row.versioned)),
            Some(row.occurred_at.0),
        ],
        bytes: Vec::new(),
    }
}

pub(super) fn subresource(row: &SubresourceRow) -> Values {
    Values {
        texts: vec![Some(row.producer.to_string()), Some(row.name.as_str().to_owned()), Some(row.document.clone())],
        numbers: vec![Some(signed(row.sequence))],
        bytes: Vec::new(),
    }
}

pub(super) fn blob(row: &Blob) -> Values {
    Values {
        texts: Vec::new(),
        numbers: vec![
            Some(signed(row.size_bytes)),
            Some(signed(row.sequence)),
            Some(signed(row.reference_count)),
            row.released_sequence.map(signed),
            row.condemned.map(|since| signed(since.sequence)),
            row.condemned.map(|since| since.at.0),
        ],
        bytes: vec![Some(row.content_address.0.to_vec()), Some(row.sha256.0.to_vec()), Some(cbor::encode(&row.recipe))],
    }
}

pub(super) fn chunk(row: &ChunkPlace) -> Values {
    let codec = match row.location.codec {
        Codec::None => "none",
    };
    let tier = match row.location.tier {
        RetrievalTier::Online => "online",
    };
    Values {
        texts: vec![Some(row.location.backend.clone()), Some(codec.to_owned()), Some(tier.to_owned())],
        numbers: vec![
            Some(signed(row.chunk.size_bytes)),
            Some(signed(row.location.offset_bytes)),
            Some(signed(row.location.stored_length_bytes)),
            Some(signed(row.sequence)),
            row.condemned.map(|since| signed(since.sequence)),
            row.condemned.map(|since| since.at.0),
            row.damaged_sequence.map(signed),
        ],
        bytes: vec![Some(row.chunk.address.0.to_vec()), Some(row.location.object.0.to_vec())],
    }
}

pub(super) fn scrub_pass(row: &ScrubPass) -> Values {
    Values {
        texts: Vec::new(),
        numbers: vec![
            Some(signed(row.sequence)),
            Some(row.begun_at.0),
            Some(signed(row.tally.objects)),
            Some(signed(row.tally.bytes)),
            Some(signed(row.tally.damaged)),
            row.ended_sequence.map(signed),
            row.ended_at.map(|at| at.0),
        ],
        bytes: vec![row.cursor.map(|object| object.0.to_vec())],
    }
}

pub(super) fn erasure(row: &Erasure) -> Values {
    Values {
        texts: vec![Some(row.actor.clone()), Some(row.reason.clone())],
        numbers: vec![Some(signed(row.version)), Some(signed(row.sequence)), Some(row.erased_at.0)],
        bytes: vec![Some(row.content_address.0.to_vec())],
    }
}

pub(super) fn damaged(row: &DamagedObject) -> Values {
    Values {
        texts: vec![Some(row.backend.clone()), Some(row.finding.clone())],
        numbers: vec![Some(signed(row.sequence)), Some(row.seen_at.0)],
        bytes: vec![Some(row.object.0.to_vec())],
    }
}

pub(super) fn blob_chunk(row: &BlobChunk) -> Values {
    let bytes = vec![Some(row.chunk.0.to_vec()), Some(row.blob.0.to_vec())];
    Values { texts: Vec::new(), numbers: Vec::new(), bytes }
}

pub(super) fn part_chunk(row: &PartChunk) -> Values {
    Values {
        texts: vec![Some(row.upload.to_string())],
        numbers: vec![Some(i64::from(row.number.get()))],
        bytes: vec![Some(row.chunk.0.to_vec())],
    }
}

pub(super) fn swept(row: &SweptObject) -> Values {
    Values {
        texts: vec![Some(row.backend.clone())],
        numbers: vec![Some(signed(row.begun_sequence)), row.ended_sequence.map(signed)],
        bytes: vec![Some(row.object.0.to_vec())],
    }
}

pub(super) fn orphan(row: &OrphanObject) -> Values {
    Values {
        texts: vec![Some(row.backend.clone())],
        numbers: vec![Some(signed(row.size_bytes)), Some(signed(row.sequence)), Some(row.seen_at.0)],
        bytes: vec![Some(row.object.0.to_vec())],
    }
}

pub(super) fn storage_move(row: &StorageMove) -> Values {
    Values {
        texts: vec![Some(row.from.clone()), Some(row.to.clone())],
        numbers: vec![Some(signed(row.sequence)), row.closed_sequence.map(signed), row.ended_sequence.map(signed)],
        bytes: vec![],
    }
}

pub(super) fn upload(row: &Upload) -> Values {
    let [producer, key] = name(&row.name);
    let completed = match row.state {
        UploadState::Open => None,
        UploadState::Completed(sequence) => Some(signed(sequence)),
    };
    Values {
        texts: vec![Some(row.id.to_string()), producer, key],
        numbers: vec![Some(row.created_at.0), Some(signed(row.sequence)), Some(signed(row.parts_sequence)), completed],
        bytes: vec![Some(cbor::encode(&row.attributes))],
    }
}

pub(super) fn part(row: &Part) -> Values {
    Values {
        texts: vec![Some(row.upload.to_string())],
        numbers: vec![
            Some(i64::from(row.number.get())),
            Some(signed(row.size_bytes)),
            Some(row.ingested_at.0),
            Some(signed(row.sequence)),
        ],
        bytes: vec![Some(row.md5.0.to_vec()), row.checksum.as_ref().map(cbor::encode), Some(cbor::encode(&row.recipe))],
    }
}
