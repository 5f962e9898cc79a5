//! Multipart uploads under chance: whatever the parts' order, sizes, repeats and aborts, the completed file has the
//! digests of the chosen parts, end to end. The digests are made a second time here, by the crates and not by the store.

use artifactstore_registry::actions::request::{CompletedPart, UploadCompletion};
use artifactstore_registry::backends::dataplane::spi::{IngestFrame, IngestHints, IngestStream};
use artifactstore_registry::backends::digest::{ChecksumAlgorithm, ContentAddress};
use artifactstore_registry::model::attributes::{ChecksumKind, UploadAttributes};
use artifactstore_registry::model::command::WriteCondition;
use artifactstore_registry::model::name::{PartNumber, UploadId};
use artifactstore_registry::model::row::Part;
use artifactstore_registry::{Error, Refusal};
use bytes::Bytes;
use crc_fast::CrcAlgorithm;
use futures::{StreamExt, future, stream};
use md5::Md5;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::test_runner::TestCaseError;
use sha2::{Digest as _, Sha256};

use crate::harness::{CHUNK_SIZE_BYTES, Harness, name};

const PATH: &str = "board/run/large.bin";
const MINIMUM: usize = 5 << 20;
/// Part numbers have gaps, so that nothing can lean on their being counted up.
const STRIDE: usize = 3;

/// A part on its way in.
#[derive(Debug, Clone)]
struct Sent {
    /// Which of the upload's parts it is.
    slot: usize,
    /// Bytes above or, for a small part, instead of the least size of one that is not last.
    extra: usize,
    small: bool,
    seed: u64,
    /// How its body is cut into frames.
    frame: usize,
}

impl Sent {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; if self.small { self.extra } else { MINIMUM + self.extra }];
        blake3::Hasher::new().update(&self.seed.to_be_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    }

    fn number(&self) -> PartNumber {
        PartNumber::new((1 + self.slot * STRIDE) as i64).unwrap()
    }
}

/// What the clients of one upload do, one line after the other.
#[derive(Debug, Clone)]
enum Deed {
    /// These parts are sent at once; of two for one slot only the first.
    Send(Vec<Sent>),
    /// The upload is given up, and another begun in its place.
    Abort,
}

fn sent() -> impl Strategy<Value = Sent> {
    let extra = prop_oneof![Just(0), 1_usize..40, (CHUNK_SIZE_BYTES - 2)..(CHUNK_SIZE_BYTES + 3)];
    // Few seeds: parts repeat each other's bytes, and their own.
    (0_usize..4, extra, any::<bool>(), 0_u64..5, 1_usize..3_000_000)
        .prop_map(|(slot, extra, small, seed, frame)| Sent { slot, extra, small, seed, frame })
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        6 => prop::collection::vec(sent(), 1..4).prop_map(Deed::Send),
        1 => Just(Deed::Abort),
    ];
    prop::collection::vec(deed, 1..5)
}

fn crc(algorithm: ChecksumAlgorithm, bytes: &[u8]) -> Vec<u8> {
    let narrow = |kind| u32::try_from(crc_fast::checksum(kind, bytes)).unwrap().to_be_bytes().to_vec();
    match algorithm {
        ChecksumAlgorithm::Crc32 => narrow(CrcAlgorithm::Crc32IsoHdlc),
        ChecksumAlgorithm::Crc32c => narrow(CrcAlgorithm::Crc32Iscsi),
        ChecksumAlgorithm::Crc64Nvme => crc_fast::checksum(CrcAlgorithm::Crc64Nvme, bytes).to_be_bytes().to_vec(),
        ChecksumAlgorithm::Sha256 => Sha256::digest(bytes).to_vec(),
        ChecksumAlgorithm::Sha1
        | ChecksumAlgorithm::Md5
        | ChecksumAlgorithm::Sha512
        | ChecksumAlgorithm::XxHash64
        | ChecksumAlgorithm::XxHash3
        | ChecksumAlgorithm::XxHash128 => unreachable!("not chosen here"),
    }
}

fn framed(bytes: Vec<u8>, frame: usize) -> IngestStream {
    let bytes = Bytes::from(bytes);
    let cuts = (0..bytes.len()).step_by(frame);
    let frames: Vec<_> = cuts.map(|at| bytes.slice(at..bytes.len().min(at + frame))).collect();
    stream::iter(frames.into_iter().map(|frame| Ok(IngestFrame::Data(frame)))).boxed()
}

/// An upload as a client remembers it: per slot what was acknowledged last.
struct Client<'a> {
    harness: &'a Harness,
    attributes: UploadAttributes,
    upload: UploadId,
    slots: [Option<(Vec<u8>, Part)>; 4],
}

impl<'a> Client<'a> {
    async fn begin(harness: &'a Harness, attributes: UploadAttributes) -> Self {
        let upload = harness.registry.upload_create(&harness.actor, &name(PATH), attributes.clone()).await.unwrap().id;
        Self { harness, attributes, upload, slots: Default::default() }
    }

    async fn send(&mut self, mut sent: Vec<Sent>) {
        let mut taken = [false; 4];
        sent.retain(|sent| !std::mem::replace(&mut taken[sent.slot], true));
        let algorithm = self.attributes.algorithm;
        let (harness, upload) = (self.harness, &self.upload);
        let parts = future::join_all(sent.iter().map(|sent| async move {
            let bytes = sent.bytes();
            let hints = IngestHints { compute: algorithm.into_iter().collect(), ..IngestHints::default() };
            let body = framed(bytes.clone(), sent.frame);
            let (path, number) = (name(PATH), sent.number());
            let part = harness.registry.part_ingest(&harness.actor, &path, upload, number, body, hints).await.unwrap();
            (sent.slot, bytes, part)
        }))
        .await;
        for (slot, bytes, part) in parts {
            self.slots[slot] = Some((bytes, part));
        }
    }

    /// The given-up upload takes no part and no completion any more.
    async fn abort(&mut self) -> Result<(), TestCaseError> {
        let harness = self.harness;
        harness.registry.upload_abort(&harness.actor, &name(PATH), &self.upload).await.unwrap();
        let late = harness.registry.upload_complete(&harness.actor, self.completion()).await;
        prop_assert!(matches!(late, Err(Error::Refused(Refusal::UploadMissing(_)))), "{late:?}");
        *self = Self::begin(harness, self.attributes.clone()).await;
        Ok(())
    }

    /// The parts that make a file: those that are large enough, and a small one if it is the last of all.
    fn chosen(&self) -> Vec<&(Vec<u8>, Part)> {
        let there: Vec<_> = self.slots.iter().flatten().collect();
        let last = there.len().saturating_sub(1);
        let fits = |(at, part): &(usize, &(Vec<u8>, Part))| *at == last || part.0.len() >= MINIMUM;
        there.into_iter().enumerate().filter(fits).map(|(_, part)| part).collect()
    }

    fn completion(&self) -> UploadCompletion {
        let part = |(_, part): &(Vec<u8>, Part)| CompletedPart {
            number: part.number,
            etag: part.md5.to_hex(),
            checksum: part.checksum.clone(),
        };
        UploadCompletion {
            name: name(PATH),
            upload: self.upload.clone(),
            parts: self.chosen().into_iter().map(part).collect(),
            condition: WriteCondition::default(),
            checksum: None,
            checksum_kind: None,
            size_bytes: None,
        }
    }

    async fn complete(&self) -> Result<(), TestCaseError> {
        let parts: Vec<&[u8]> = self.chosen().into_iter().map(|(bytes, _)| bytes.as_slice()).collect();
        let receipt = self.harness.registry.upload_complete(&self.harness.actor, self.completion()).await;
        if parts.is_empty() {
            prop_assert!(matches!(receipt, Err(Error::Refused(Refusal::PartsMissing))), "{receipt:?}");
            return Ok(());
        }
        let (file, whole) = (receipt.unwrap().file, parts.concat());
        prop_assert_eq!(file.content_address, ContentAddress(*blake3::hash(&whole).as_bytes()));
        prop_assert_eq!(file.sha256.0, <[u8; 32]>::from(Sha256::digest(&whole)));
        prop_assert_eq!(file.size_bytes, whole.len() as u64);
        let of_parts: Vec<u8> = parts.iter().flat_map(|part| Md5::digest(part).to_vec()).collect();
        prop_assert_eq!(file.etag, format!("{}-{}", hex::encode(Md5::digest(&of_parts)), parts.len()));
        let found = file.attributes.checksum.map(|checksum| checksum.checksum.value);
        let made = self.attributes.algorithm.map(|algorithm| match self.attributes.checksum_kind {
            Some(ChecksumKind::FullObject) => crc(algorithm, &whole),
            _ => crc(algorithm, &parts.iter().flat_map(|part| crc(algorithm, part)).collect::<Vec<_>>()),
        });
        prop_assert_eq!(found, made);
        prop_assert!(self.harness.read(PATH).await.unwrap() == whole);
        Ok(())
    }
}

const CHECKSUMS: [Option<(ChecksumAlgorithm, ChecksumKind)>; 6] = [
    None,
    Some((ChecksumAlgorithm::Crc64Nvme, ChecksumKind::FullObject)),
    Some((ChecksumAlgorithm::Crc32, ChecksumKind::FullObject)),
    Some((ChecksumAlgorithm::Crc32c, ChecksumKind::FullObject)),
    Some((ChecksumAlgorithm::Crc32, ChecksumKind::Composite)),
    Some((ChecksumAlgorithm::Sha256, ChecksumKind::Composite)),
];

proptest! {
    #![proptest_config(ProptestConfig { cases: crate::dialect::cases(32), max_shrink_iters: 40, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_interleaving_of_parts_makes_the_file_of_the_parts_that_are_chosen(
        deeds in deeds(),
        checksum in prop::sample::select(&CHECKSUMS[..]),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let harness = Harness::start().await;
            let attributes = UploadAttributes {
                algorithm: checksum.map(|(algorithm, _)| algorithm),
                checksum_kind: checksum.map(|(_, kind)| kind),
                ..UploadAttributes::default()
            };
            let mut client = Client::begin(&harness, attributes).await;
            for deed in deeds {
                match deed {
                    Deed::Send(sent) => client.send(sent).await,
                    Deed::Abort => client.abort().await?,
                }
            }
            client.complete().await?;
            harness.finish().await;
            Ok::<(), TestCaseError>(())
        })?;
    }
}
