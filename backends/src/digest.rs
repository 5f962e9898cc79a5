//! The digests: names of content, and the running hashers that make them in one pass.
//!
//! BLAKE3 names blobs, chunks and objects; SHA-256 is the second digest that outsiders can check with any tool; MD5 is
//! the ETag that S3 clients expect. All of them are newtypes, so that none is taken for another.
//!
//! Invariant: every digest prints as lower-case hex, and what prints parses back.

use std::fmt;
use std::str::FromStr;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A text that does not name a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a digest: {0:?}")]
pub struct InvalidDigest(pub String);

/// Takes exactly so many bytes, from wherever they are read.
struct Bytes<const LENGTH: usize>;

impl<const LENGTH: usize> Visitor<'_> for Bytes<LENGTH> {
    type Value = [u8; LENGTH];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{LENGTH} bytes")
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
        bytes.try_into().map_err(|_| E::invalid_length(bytes.len(), &self))
    }
}

macro_rules! digest_type {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// The digest's bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }

            /// Takes exactly the digest's number of bytes, else nothing.
            #[must_use]
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                Some(Self(bytes.try_into().ok()?))
            }

            /// The digest as lower-case hex, without a prefix.
            #[must_use]
            pub fn to_hex(&self) -> String {
                hex::encode(self.0)
            }

            /// Parses lower-case hex of exactly the digest's length.
            ///
            /// # Errors
            /// When the text has another length, upper-case digits or anything else that is not hex.
            pub fn from_hex(text: &str) -> Result<Self, InvalidDigest> {
                let mut bytes = [0_u8; $len];
                if text.bytes().any(|b| b.is_ascii_uppercase()) || hex::decode_to_slice(text, &mut bytes).is_err() {
                    return Err(InvalidDigest(text.chars().take(128).collect()));
                }
                Ok(Self(bytes))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.to_hex())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.serialize_str(&self.to_hex())
                } else {
                    serializer.serialize_bytes(&self.0)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    let text = String::deserialize(deserializer)?;
                    Self::from_hex(&text).map_err(serde::de::Error::custom)
                } else {
                    deserializer.deserialize_bytes(Bytes::<$len>).map(Self)
                }
            }
        }
    };
}

digest_type!(
    /// A SHA-256 digest.
    Sha256Digest,
    32
);
digest_type!(
    /// An MD5 digest: the ETag of a body that came in one piece.
    Md5Digest,
    16
);
digest_type!(
    /// The name of a blob or a chunk: the BLAKE3 of its bytes, written `blake3:<64 hex>`.
    ContentAddress,
    32
);
digest_type!(
    /// The name of a backend object: the BLAKE3 of the object's own bytes, written as 64 hex digits.
    ObjectKey,
    32
);

impl ContentAddress {
    /// The address of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

impl fmt::Display for ContentAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "blake3:{}", self.to_hex())
    }
}

impl FromStr for ContentAddress {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        text.strip_prefix("blake3:")
            .map_or_else(|| Err(InvalidDigest(text.chars().take(128).collect())), Self::from_hex)
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

/// The flexible checksums that S3 clients declare for a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChecksumAlgorithm {
    /// CRC-32 (ISO-HDLC), four bytes, big-endian.
    Crc32,
    /// CRC-32C (Castagnoli), four bytes, big-endian.
    Crc32c,
    /// CRC-64/NVME, eight bytes, big-endian.
    Crc64Nvme,
    /// SHA-1, twenty bytes.
    Sha1,
    /// SHA-256, thirty-two bytes.
    Sha256,
    /// MD5, sixteen bytes.
    Md5,
    /// SHA-512, sixty-four bytes.
    Sha512,
    /// `XXH64` with seed 0, eight bytes, big-endian.
    XxHash64,
    /// `XXH3` of 64 bits with seed 0, eight bytes, big-endian.
    XxHash3,
    /// `XXH3` of 128 bits with seed 0, sixteen bytes, big-endian.
    XxHash128,
}

impl ChecksumAlgorithm {
    /// All there are.
    pub const ALL: [Self; 10] = [
        Self::Crc32,
        Self::Crc32c,
        Self::Crc64Nvme,
        Self::Sha1,
        Self::Sha256,
        Self::Md5,
        Self::Sha512,
        Self::XxHash64,
        Self::XxHash3,
        Self::XxHash128,
    ];

    /// The name, as S3 and operators write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
            Self::Md5 => "MD5",
            Self::Sha512 => "SHA512",
            Self::XxHash64 => "XXHASH64",
            Self::XxHash3 => "XXHASH3",
            Self::XxHash128 => "XXHASH128",
        }
    }

    /// How many bytes a checksum has.
    #[must_use]
    pub const fn size_bytes(self) -> usize {
        match self {
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64Nvme | Self::XxHash64 | Self::XxHash3 => 8,
            Self::Md5 | Self::XxHash128 => 16,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    /// Whether the checksum of a whole can be told from those of its pieces and their lengths.
    #[must_use]
    pub const fn combines(self) -> bool {
        match self {
            Self::Crc32 | Self::Crc32c | Self::Crc64Nvme => true,
            Self::Sha1 | Self::Sha256 | Self::Md5 | Self::Sha512 | Self::XxHash64 | Self::XxHash3 | Self::XxHash128 => {
                false
            }
        }
    }
}

/// A flexible checksum and its algorithm; the value is raw bytes, in the order in which S3 encodes them as base64.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Checksum {
    /// The raw digest.
    #[serde(with = "serde_bytes")]
    pub value: Vec<u8>,
    /// Which algorithm made it.
    pub algorithm: ChecksumAlgorithm,
}
