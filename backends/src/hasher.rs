//! The running digests of a body: every digest that somebody asked for, in one pass over its bytes.
//!
//! A body is read once, from the network, and cannot be read again before it is judged; so whatever is to be compared
//! or kept is computed while the bytes pass.
//!
//! Invariant: the digests depend on the bytes alone, never on how they were split into updates.
//! Invariant: no digest is computed twice, and none that nobody asked for.

use std::fmt;

use crc_fast::CrcAlgorithm;
use sha1::Sha1;
use sha2::{Digest as _, Sha256, Sha512};
use xxhash_rust::xxh3::Xxh3;
use xxhash_rust::xxh64::Xxh64;

use crate::digest::{Checksum, ChecksumAlgorithm, ContentAddress, Md5Digest, Sha256Digest};
use crate::md5::Md5;

/// Every digest sees so many bytes at a time, so that the next one finds them in the cache.
const STEP_BYTES: usize = 128 * 1024;
/// From so many bytes on, asking another thread for help costs less than it brings.
const BESIDE_BYTES: usize = 256 * 1024;

/// Digests of one body, on their way.
#[derive(Clone)]
pub struct BodyHasher {
    size_bytes: u64,
    md5: Option<Md5>,
    others: Others,
}

/// All but MD5, which takes longer than the rest together and may run beside them.
#[derive(Clone)]
struct Others {
    blake3: blake3::Hasher,
    sha256: Option<Sha256>,
    checksums: Vec<(ChecksumAlgorithm, Running)>,
}

/// The digests of a whole body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyDigests {
    /// The length of the body in bytes.
    pub size_bytes: u64,
    /// The BLAKE3 of the body.
    pub content_address: ContentAddress,
    /// The MD5, when it was asked for, also when only as a checksum.
    pub md5: Option<Md5Digest>,
    /// The SHA-256, when it was asked for, also when only as a checksum.
    pub sha256: Option<Sha256Digest>,
    /// The checksums that were asked for, each once, in the order of asking.
    pub checksums: Vec<Checksum>,
}

/// A checksum on its way. What has a block of its own is boxed: most bodies have one small checksum.
#[derive(Clone)]
enum Running {
    Crc32(crc_fast::Digest),
    Crc64(crc_fast::Digest),
    Sha1(Sha1),
    Sha512(Box<Sha512>),
    Xxh64(Xxh64),
    Xxh3(Box<Xxh3>),
    Xxh128(Box<Xxh3>),
    /// The SHA-256 of the body serves as the checksum, too.
    Sha256OfBody,
    /// And so does its MD5.
    Md5OfBody,
}

impl Running {
    fn new(algorithm: ChecksumAlgorithm) -> Self {
        match algorithm {
            ChecksumAlgorithm::Crc32 => Self::Crc32(crc_fast::Digest::new(CrcAlgorithm::Crc32IsoHdlc)),
            ChecksumAlgorithm::Crc32c => Self::Crc32(crc_fast::Digest::new(CrcAlgorithm::Crc32Iscsi)),
            ChecksumAlgorithm::Crc64Nvme => Self::Crc64(crc_fast::Digest::new(CrcAlgorithm::Crc64Nvme)),
            ChecksumAlgorithm::Sha1 => Self::Sha1(Sha1::new()),
            ChecksumAlgorithm::Sha256 => Self::Sha256OfBody,
            ChecksumAlgorithm::Md5 => Self::Md5OfBody,
            ChecksumAlgorithm::Sha512 => Self::Sha512(Box::default()),
            ChecksumAlgorithm::XxHash64 => Self::Xxh64(Xxh64::new(0)),
            ChecksumAlgorithm::XxHash3 => Self::Xxh3(Box::default()),
            ChecksumAlgorithm::XxHash128 => Self::Xxh128(Box::default()),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Crc32(crc) | Self::Crc64(crc) => crc.update(bytes),
            Self::Sha1(sha1) => sha1.update(bytes),
            Self::Sha512(sha512) => sha512.update(bytes),
            Self::Xxh64(xxh64) => xxh64.update(bytes),
            Self::Xxh3(xxh3) | Self::Xxh128(xxh3) => xxh3.update(bytes),
            Self::Sha256OfBody | Self::Md5OfBody => {}
        }
    }

    /// The checksum, as S3 orders its bytes.
    fn finish(self, md5: Option<Md5Digest>, sha256: Option<Sha256Digest>) -> Vec<u8> {
        match self {
            // The widths are part of each CRC's name: the upper half of a 32-bit one is empty.
            Self::Crc32(crc) => crc.finalize().to_be_bytes()[4..].to_vec(),
            Self::Crc64(crc) => crc.finalize().to_be_bytes().to_vec(),
            Self::Sha1(sha1) => sha1.finalize().to_vec(),
            Self::Sha512(sha512) => sha512.finalize().to_vec(),
            Self::Xxh64(xxh64) => xxh64.digest().to_be_bytes().to_vec(),
            Self::Xxh3(xxh3) => xxh3.digest().to_be_bytes().to_vec(),
            Self::Xxh128(xxh3) => xxh3.digest128().to_be_bytes().to_vec(),
            Self::Sha256OfBody => sha256.map(|digest| digest.0.to_vec()).unwrap_or_default(),
            Self::Md5OfBody => md5.map(|digest| digest.0.to_vec()).unwrap_or_default(),
        }
    }
}

impl fmt::Debug for BodyHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let checksums: Vec<_> = self.others.checksums.iter().map(|(algorithm, _)| algorithm).collect();
        f.debug_struct("BodyHasher")
            .field("size_bytes", &self.size_bytes)
            .field("checksums", &checksums)
            .finish_non_exhaustive()
    }
}

impl BodyHasher {
    /// Begins with BLAKE3 alone; ask for more with the other constructors, before the first byte.
    #[must_use]
    pub fn new() -> Self {
        let others = Others { blake3: blake3::Hasher::new(), sha256: None, checksums: Vec::new() };
        Self { size_bytes: 0, md5: None, others }
    }

    /// Asks for the MD5.
    #[must_use]
    pub fn with_md5(mut self) -> Self {
        self.md5 = Some(Md5::new());
        self
    }

    /// Asks for the SHA-256.
    #[must_use]
    pub fn with_sha256(mut self) -> Self {
        self.others.sha256 = Some(Sha256::new());
        self
    }

    /// Asks for these checksums; asking twice for one computes it once.
    #[must_use]
    pub fn with_checksums(mut self, algorithms: impl IntoIterator<Item = ChecksumAlgorithm>) -> Self {
        for algorithm in algorithms {
            if self.others.checksums.iter().any(|(known, _)| *known == algorithm) {
                continue;
            }
            let running = Running::new(algorithm);
            if matches!(running, Running::Sha256OfBody) {
                self.others.sha256.get_or_insert_default();
            }
            if matches!(running, Running::Md5OfBody) {
                self.md5.get_or_insert_with(Md5::new);
            }
            self.others.checksums.push((algorithm, running));
        }
        self
    }

    /// Takes the next bytes of the body. On a thread of a rayon pool, MD5 runs beside the other digests when another
    /// thread of it is idle, and before them when none is.
    pub fn update(&mut self, bytes: &[u8]) {
        self.size_bytes += bytes.len() as u64;
        match &mut self.md5 {
            Some(md5) if is_worth_sharing(bytes) => {
                rayon::join(|| md5.update(bytes), || self.others.update(bytes));
            }
            Some(md5) => bytes.chunks(STEP_BYTES).for_each(|step| {
                md5.update(step);
                self.others.update(step);
            }),
            None => self.others.update(bytes),
        }
    }

    /// The BLAKE3 of the bytes so far.
    #[must_use]
    pub fn address_so_far(&self) -> ContentAddress {
        ContentAddress(*self.others.blake3.finalize().as_bytes())
    }

    /// Leaves the MD5 to somebody else, who gives it to [`BodyHasher::finish_with_md5`]; to be said last of all.
    #[must_use]
    pub(crate) fn md5_elsewhere(mut self) -> Self {
        self.md5 = None;
        self
    }

    /// The digests of all the bytes there were.
    #[must_use]
    pub fn finish(mut self) -> BodyDigests {
        let md5 = self.md5.take().map(Md5::finalize);
        self.finish_beside(md5)
    }

    /// The digests of all the bytes there were, whose MD5 was made elsewhere.
    #[must_use]
    pub(crate) fn finish_with_md5(self, md5: Md5Digest) -> BodyDigests {
        self.finish_beside(Some(md5))
    }

    fn finish_beside(self, md5: Option<Md5Digest>) -> BodyDigests {
        let content_address = self.address_so_far();
        let Others { sha256, checksums, .. } = self.others;
        let sha256 = sha256.map(|sha256| Sha256Digest(sha256.finalize().into()));
        let checksums = checksums.into_iter();
        let checksums =
            checksums.map(|(algorithm, running)| Checksum { value: running.finish(md5, sha256), algorithm });
        let checksums = checksums.collect();
        BodyDigests { size_bytes: self.size_bytes, content_address, md5, sha256, checksums }
    }
}

impl Others {
    fn update(&mut self, bytes: &[u8]) {
        match &mut self.sha256 {
            Some(sha256) if is_worth_sharing(bytes) => {
                let (blake3, checksums) = (&mut self.blake3, &mut self.checksums);
                rayon::join(|| sha256.update(bytes), || update(blake3, checksums, bytes));
            }
            Some(sha256) => bytes.chunks(STEP_BYTES).for_each(|step| {
                sha256.update(step);
                update(&mut self.blake3, &mut self.checksums, step);
            }),
            None => update(&mut self.blake3, &mut self.checksums, bytes),
        }
    }
}

fn update(blake3: &mut blake3::Hasher, checksums: &mut [(ChecksumAlgorithm, Running)], bytes: &[u8]) {
    for step in bytes.chunks(STEP_BYTES) {
        blake3.update(step);
        for (_, running) in &mut *checksums {
            running.update(step);
        }
    }
}

/// Whether another thread is asked for help with these bytes: only on a thread of a pool, where that costs little.
pub(crate) fn is_worth_sharing(bytes: &[u8]) -> bool {
    bytes.len() >= BESIDE_BYTES && rayon::current_thread_index().is_some()
}

impl Default for BodyHasher {
    fn default() -> Self {
        Self::new()
    }
}

/// The CRC of bytes laid end to end, made of the CRCs of the pieces and their lengths; no byte is read. `None` for digests
/// that cannot be composed so, and for no pieces at all.
pub fn crc_combine<'a>(pieces: impl IntoIterator<Item = (&'a Checksum, u64)>) -> Option<Checksum> {
    let mut pieces = pieces.into_iter();
    let (first, _) = pieces.next()?;
    let width = first.algorithm.size_bytes();
    let algorithm = match first.algorithm {
        ChecksumAlgorithm::Crc32 => CrcAlgorithm::Crc32IsoHdlc,
        ChecksumAlgorithm::Crc32c => CrcAlgorithm::Crc32Iscsi,
        ChecksumAlgorithm::Crc64Nvme => CrcAlgorithm::Crc64Nvme,
        ChecksumAlgorithm::Sha1
        | ChecksumAlgorithm::Sha256
        | ChecksumAlgorithm::Md5
        | ChecksumAlgorithm::Sha512
        | ChecksumAlgorithm::XxHash64
        | ChecksumAlgorithm::XxHash3
        | ChecksumAlgorithm::XxHash128 => return None,
    };
    let number = |checksum: &Checksum| {
        let fits = checksum.algorithm == first.algorithm && checksum.value.len() == width;
        fits.then(|| checksum.value.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte)))
    };
    let mut whole = number(first)?;
    for (piece, size_bytes) in pieces {
        whole = crc_fast::checksum_combine(algorithm, whole, number(piece)?, size_bytes);
    }
    let value = whole.to_be_bytes()[8 - width..].to_vec();
    Some(Checksum { value, algorithm: first.algorithm })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::{BodyHasher, crc_combine};
    use crate::digest::Checksum;
    use crate::digest::ChecksumAlgorithm::{self, Md5, Sha256};

    fn everything() -> BodyHasher {
        BodyHasher::new().with_md5().with_sha256().with_checksums(ChecksumAlgorithm::ALL)
    }

    #[test]
    fn known_vectors_come_out() {
        let mut hasher = everything();
        hasher.update(b"123456789");
        let digests = hasher.finish();
        assert_eq!(digests.size_bytes, 9);
        let md5 = "25f9e794323b453885f5181f1b624d0b";
        assert_eq!(digests.md5.unwrap().to_hex(), md5);
        let sha256 = "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225";
        assert_eq!(digests.sha256.unwrap().to_hex(), sha256);
        let values: Vec<_> = digests.checksums.iter().map(|checksum| hex::encode(&checksum.value)).collect();
        let sha1 = "f7c3bc1d808e04732adf679965ccc34ca7ae3441";
        let sha512 = "d9e6762dd1c8eaf6d61b3c6192fc408d4d6d5f1176d0c29169bc24e71c3f274a\
                      d27fcd5811b313d681f7e55ec02d73d499c95455b6b5bb503acf574fba8ffe85";
        let xxh128 = "33119477ede5dcd5e9716427681d5860";
        let others = [md5, sha512, "8cb841db40e6ae83", "72dcb18b67a17dff", xxh128];
        assert_eq!(values[..5], ["cbf43926", "e3069283", "ae8b14860a799888", sha1, sha256]);
        assert_eq!(values[5..], others);
        for (checksum, algorithm) in digests.checksums.iter().zip(ChecksumAlgorithm::ALL) {
            assert_eq!((checksum.algorithm, checksum.value.len()), (algorithm, algorithm.size_bytes()));
        }
    }

    #[test]
    fn an_md5_that_is_made_elsewhere_is_the_checksum_too() {
        let mut hasher = BodyHasher::new().with_checksums([Md5]).md5_elsewhere();
        hasher.update(b"123456789");
        let elsewhere = crate::digest::Md5Digest([7; 16]);
        let digests = hasher.finish_with_md5(elsewhere);
        assert_eq!((digests.md5, &digests.checksums[0].value), (Some(elsewhere), &vec![7; 16]));
    }

    #[test]
    fn the_empty_body_has_the_address_of_nothing() {
        let digests = everything().finish();
        let address = "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
        assert_eq!(digests.content_address.to_string(), address);
        assert_eq!(digests.md5.unwrap().to_hex(), "d41d8cd98f00b204e9800998ecf8427e");
    }

    #[test]
    fn what_nobody_asked_for_is_not_there_and_what_was_asked_twice_is_there_once() {
        let digests = BodyHasher::new().with_checksums([Sha256, Sha256]).finish();
        assert_eq!(digests.md5, None);
        assert_eq!(digests.checksums.len(), 1);
        assert_eq!(digests.sha256.unwrap().0.to_vec(), digests.checksums[0].value);
    }

    proptest! {
        #[test]
        fn any_split_gives_the_digests_of_the_whole(body in any::<Vec<u8>>(), cuts in any::<Vec<u8>>()) {
            let mut whole = everything();
            whole.update(&body);
            let mut split = everything();
            let mut rest = body.as_slice();
            for cut in cuts {
                let (head, tail) = rest.split_at(usize::from(cut).min(rest.len()));
                split.update(head);
                rest = tail;
            }
            split.update(rest);
            prop_assert_eq!(whole.finish(), split.finish());
        }
    }

    #[test]
    fn digests_that_run_side_by_side_are_the_same() {
        let bytes: Vec<u8> = (0..3_000_001_u32).map(|n| (n * 31 % 251) as u8).collect();
        let mut alone = everything();
        bytes.chunks(1000).for_each(|piece| alone.update(piece));
        let (sender, receiver) = std::sync::mpsc::channel();
        rayon::spawn(move || {
            let mut beside = everything();
            beside.update(&bytes);
            sender.send(beside.finish()).unwrap();
        });
        assert_eq!(receiver.recv().unwrap(), alone.finish());
    }

    #[test]
    fn crcs_of_pieces_combine_to_the_crc_of_the_whole() {
        let bytes: Vec<u8> = (0..100_000_u32).map(|n| (n * 31 % 251) as u8).collect();
        let of = |algorithm, bytes: &[u8]| {
            let mut hasher = BodyHasher::new().with_checksums([algorithm]);
            hasher.update(bytes);
            hasher.finish().checksums.remove(0)
        };
        for algorithm in ChecksumAlgorithm::ALL {
            let pieces: Vec<(Checksum, u64)> =
                bytes.chunks(30_001).map(|piece| (of(algorithm, piece), piece.len() as u64)).collect();
            let combined = crc_combine(pieces.iter().map(|(checksum, size)| (checksum, *size)));
            assert_eq!(combined, algorithm.combines().then(|| of(algorithm, &bytes)), "{algorithm:?}");
        }
        assert_eq!(crc_combine([]), None);
    }
}
