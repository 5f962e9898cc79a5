//! Bodies that no compression or dedup can shorten, and their digests.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use crc_fast::CrcAlgorithm;
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};
use xxhash_rust::xxh64::xxh64;

/// Bytes that are the same in every run for the same seed, and look random.
pub(crate) fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut output = vec![0; length];
    let mut reader = blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof();
    reader.fill(&mut output);
    output
}

pub(crate) fn md5_hex(bytes: &[u8]) -> String {
    hex::encode(Md5::digest(bytes))
}

pub(crate) fn md5_base64(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(Md5::digest(bytes))
}

pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// The content address that the gateway must give these bytes.
pub(crate) fn address(bytes: &[u8]) -> String {
    format!("blake3:{}", blake3::hash(bytes).to_hex())
}

/// The ETag of a file that came in these parts.
pub(crate) fn multipart_etag(parts: &[Vec<u8>]) -> String {
    let joined: Vec<u8> = parts.iter().flat_map(|part| Md5::digest(part).to_vec()).collect();
    format!("{}-{}", md5_hex(&joined), parts.len())
}

/// The checksum headers that S3 knows, without their prefix.
pub(crate) const ALGORITHMS: [&str; 10] =
    ["crc32", "crc32c", "crc64nvme", "sha1", "sha256", "md5", "sha512", "xxhash64", "xxhash3", "xxhash128"];

/// A checksum as S3 writes it.
pub(crate) fn checksum(algorithm: &str, bytes: &[u8]) -> String {
    let narrow = |algorithm| {
        let value = u32::try_from(crc_fast::checksum(algorithm, bytes)).expect("a CRC-32 has 32 bits");
        value.to_be_bytes().to_vec()
    };
    BASE64_STANDARD.encode(match algorithm {
        "crc32" => narrow(CrcAlgorithm::Crc32IsoHdlc),
        "crc32c" => narrow(CrcAlgorithm::Crc32Iscsi),
        "crc64nvme" => crc_fast::checksum(CrcAlgorithm::Crc64Nvme, bytes).to_be_bytes().to_vec(),
        "sha1" => Sha1::digest(bytes).to_vec(),
        "sha256" => Sha256::digest(bytes).to_vec(),
        "md5" => Md5::digest(bytes).to_vec(),
        "sha512" => Sha512::digest(bytes).to_vec(),
        "xxhash64" => xxh64(bytes, 0).to_be_bytes().to_vec(),
        "xxhash3" => xxh3_64(bytes).to_be_bytes().to_vec(),
        "xxhash128" => xxh3_128(bytes).to_be_bytes().to_vec(),
        other => panic!("no checksum is called {other}"),
    })
}
