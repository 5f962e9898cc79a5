//! The names of things, each parsed once at the door.
//!
//! Invariant: a key is its package's name, a slash and its relative path; for the root package it is the path alone.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// A name that cannot be one, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} is not valid: {reason}")]
pub struct InvalidName {
    /// What was to be named.
    pub what: &'static str,
    /// Why the name cannot be.
    pub reason: &'static str,
}

const fn invalid(what: &'static str, reason: &'static str) -> InvalidName {
    InvalidName { what, reason }
}

macro_rules! text_name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Takes a text that the registry itself wrote, and that was parsed then.
            pub(crate) fn trusted(text: impl Into<String>) -> Self {
                Self(text.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_name!(
    /// An account that owns producers and access keys.
    TenantName
);
text_name!(
    /// A producer: an S3 bucket.
    ProducerName
);
text_name!(
    /// An S3 key: 1 to 1,024 bytes of UTF-8 without NUL, taken verbatim.
    Key
);
text_name!(
    /// A package within its producer; empty for the root package.
    PackageName
);
text_name!(
    /// The name of one revision of a package, unique everywhere: a UUID.
    PackageId
);
text_name!(
    /// The name of an access key, which requests are signed under.
    AccessKeyId
);
text_name!(
    /// The name of a multipart upload: 32 hex digits.
    UploadId
);
text_name!(
    /// The name of a retention class.
    ClassName
);
text_name!(
    /// The name of a hold, unique on what it is placed on.
    HoldName
);

impl TenantName {
    /// Parses 1 to 63 lower-case letters, digits and hyphens.
    ///
    /// # Errors
    /// When the text is anything else.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        label("the tenant", text).map(Self)
    }
}

/// 1 to 63 lower-case letters, digits and hyphens.
fn label(what: &'static str, text: &str) -> Result<String, InvalidName> {
    let fits = (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if fits { Ok(text.to_owned()) } else { Err(invalid(what, "it takes 1 to 63 of a-z, 0-9 and -")) }
}

impl ClassName {
    /// Parses 1 to 63 lower-case letters, digits and hyphens.
    ///
    /// # Errors
    /// When the text is anything else.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        label("the retention class", text).map(Self)
    }
}

impl HoldName {
    /// Parses 1 to 63 lower-case letters, digits and hyphens.
    ///
    /// # Errors
    /// When the text is anything else.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        label("the hold", text).map(Self)
    }

    /// The hold that S3 calls legal hold.
    #[must_use]
    pub fn legal() -> Self {
        Self::trusted("s3-legal-hold")
    }
}

impl AccessKeyId {
    /// Parses 3 to 128 letters, digits, hyphens, dots and `_`: what can stand in a signature's credential.
    ///
    /// # Errors
    /// When the text is anything else.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let fits = (3..=128).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
        let reason = "it takes 3 to 128 letters, digits, hyphens, dots and _";
        if fits { Ok(Self(text.to_owned())) } else { Err(invalid("the access key", reason)) }
    }
}

impl ProducerName {
    /// Parses a bucket name by S3's rules.
    ///
    /// # Errors
    /// When it is no bucket name; the reason says which rule it breaks.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        const WHAT: &str = "the producer (bucket) name";
        if !(3..=63).contains(&text.len()) {
            return Err(invalid(WHAT, "it takes 3 to 63 characters"));
        }
        if !text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-')) {
            return Err(invalid(WHAT, "it takes lower-case letters, digits, dots and hyphens"));
        }
        let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
        if !edge(text.bytes().next()) || !edge(text.bytes().last()) {
            return Err(invalid(WHAT, "it begins and ends with a letter or a digit"));
        }
        if text.contains("..") {
            return Err(invalid(WHAT, "two dots do not stand side by side"));
        }
        if text.parse::<std::net::Ipv4Addr>().is_ok() {
            return Err(invalid(WHAT, "it does not look like an IP address"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl Key {
    /// Parses an S3 key.
    ///
    /// # Errors
    /// When it is empty, longer than 1,024 bytes, or holds a NUL.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        const WHAT: &str = "the key";
        if text.is_empty() {
            return Err(invalid(WHAT, "it is empty"));
        }
        if text.len() > 1024 {
            return Err(invalid(WHAT, "it is longer than 1,024 bytes"));
        }
        if text.contains('\0') {
            return Err(invalid(WHAT, "it holds a NUL"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl PackageName {
    /// Parses a package's name; empty for the root package.
    ///
    /// # Errors
    /// When it is longer than a key, holds a NUL, or ends with a slash.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        if text.len() > 1024 || text.contains('\0') || text.ends_with('/') {
            return Err(invalid("the package name", "it takes up to 1,024 bytes without NUL, and no slash at its end"));
        }
        Ok(Self(text.to_owned()))
    }

    /// The package of the keys that have too few segments for another.
    #[must_use]
    pub const fn root() -> Self {
        Self(String::new())
    }

    /// Whether this is the root package.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The prefix that this package's reserved keys begin with.
    #[must_use]
    pub fn reserved_prefix(&self) -> String {
        if self.is_root() { format!("{RESERVED}/") } else { format!("{}/{RESERVED}/", self.0) }
    }
}

impl PackageId {
    /// The identifier of these random bytes, as a UUID of version 4.
    #[must_use]
    pub fn from_random(mut bytes: [u8; 16]) -> Self {
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        let hex = hex::encode(bytes);
        Self(format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]))
    }

    /// Parses a UUID in lower case.
    ///
    /// # Errors
    /// When the text has another form.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let fits = text.len() == 36
            && text.bytes().enumerate().all(|(at, b)| match at {
                8 | 13 | 18 | 23 => b == b'-',
                _ => b.is_ascii_digit() || (b'a'..=b'f').contains(&b),
            });
        if fits { Ok(Self(text.to_owned())) } else { Err(invalid("the package id", "it is a UUID in lower case")) }
    }
}

impl UploadId {
    /// An identifier that sorts by when it was made, which is the order in which S3 lists uploads of one key, and that
    /// nobody guesses.
    #[must_use]
    pub fn fresh(now: Timestamp, mut random: [u8; 16]) -> Self {
        random[..8].copy_from_slice(&now.0.to_be_bytes());
        Self(hex::encode(random))
    }

    /// Parses an upload's identifier. One that was never given out parses too, and is then not found.
    ///
    /// # Errors
    /// When it is empty or longer than 128 bytes.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        if text.is_empty() || text.len() > 128 || text.contains('\0') {
            return Err(invalid("the upload id", "it takes 1 to 128 bytes"));
        }
        Ok(Self(text.to_owned()))
    }
}

/// A part's number: 1 to 10,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PartNumber(u32);

impl PartNumber {
    /// Takes a number from 1 to 10,000.
    ///
    /// # Errors
    /// When it is any other.
    pub const fn new(number: i64) -> Result<Self, InvalidName> {
        if number >= 1 && number <= 10_000 {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range was checked")]
            Ok(Self(number as u32))
        } else {
            Err(invalid("the part number", "it takes 1 to 10,000"))
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// The name of a file: its producer and its key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FileName {
    /// The producer.
    pub producer: ProducerName,
    /// The key.
    pub key: Key,
}

impl FileName {
    /// Parses a bucket and a key.
    ///
    /// # Errors
    /// When either is not a name.
    pub fn parse(producer: &str, key: &str) -> Result<Self, InvalidName> {
        Ok(Self { producer: ProducerName::parse(producer)?, key: Key::parse(key)? })
    }
}

/// The segment under which the registry shows a package's own documents.
pub const RESERVED: &str = ".artifact";

/// What a key stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyMeaning {
    /// A file of a package.
    File {
        /// The package.
        package: PackageName,
        /// The path within it.
        relative_path: String,
    },
    /// A reserved key of a package; the rest is what stands behind `.artifact/`.
    Reserved {
        /// The package.
        package: PackageName,
        /// What stands behind `.artifact/`.
        item: String,
    },
}

impl Key {
    /// Splits the key by the producer's package depth.
    #[must_use]
    pub fn meaning(&self, package_depth: u32) -> KeyMeaning {
        let depth = package_depth as usize;
        let segments: Vec<&str> = self.0.split('/').collect();
        // The reserved segment stands where a package's first path segment would, at whatever depth comes first.
        let reserved = segments.iter().take(depth + 1).position(|segment| *segment == RESERVED);
        // How many segments name the package.
        let named = reserved.unwrap_or(if segments.len() <= depth { 0 } else { depth });
        let package = segments[..named].join("/");
        if reserved.is_some() && (named == 0 || !package.is_empty()) {
            return KeyMeaning::Reserved { package: PackageName(package), item: segments[named + 1..].join("/") };
        }
        if package.is_empty() {
            // `/x` would be the path `x` of the package with no name, which is the root package's name: two keys, one
            // path. Such keys keep their whole text as their path, and `/.artifact/x` is one of them.
            return KeyMeaning::File { package: PackageName::root(), relative_path: self.0.clone() };
        }
        KeyMeaning::File { package: PackageName(package), relative_path: segments[named..].join("/") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(key: &str, depth: u32) -> (String, String) {
        match Key::parse(key).unwrap().meaning(depth) {
            KeyMeaning::File { package, relative_path } => (package.to_string(), relative_path),
            KeyMeaning::Reserved { package, item } => (format!("!{package}"), item),
        }
    }

    fn pair(a: &str, b: &str) -> (String, String) {
        (a.to_owned(), b.to_owned())
    }

    #[test]
    fn the_leading_segments_name_the_package() {
        assert_eq!(meaning("run-42/a/b.xml", 1), pair("run-42", "a/b.xml"));
        assert_eq!(meaning("run-42/a/b.xml", 2), pair("run-42/a", "b.xml"));
        assert_eq!(meaning("run-42/a/b.xml", 0), pair("", "run-42/a/b.xml"));
        assert_eq!(meaning("lone.txt", 1), pair("", "lone.txt"));
        assert_eq!(meaning("a/b", 2), pair("", "a/b"));
        assert_eq!(meaning("run-42/", 1), pair("run-42", ""));
        assert_eq!(meaning("/x", 1), pair("", "/x"));
        assert_eq!(meaning("//x", 2), pair("/", "x"));
    }

    #[test]
    fn the_reserved_segment_is_found_at_every_depth() {
        assert_eq!(meaning("run/.artifact/manifest.cbor", 1), pair("!run", "manifest.cbor"));
        assert_eq!(meaning(".artifact/finalize", 1), pair("!", "finalize"));
        assert_eq!(meaning("a/b/.artifact/x", 2), pair("!a/b", "x"));
        assert_eq!(meaning("a/b/.artifact/x", 1), pair("a", "b/.artifact/x"));
        assert_eq!(meaning(".artifact/finalize", 0), pair("!", "finalize"));
        // The root package is finalized by one key and no other.
        for depth in [1, 2, 7] {
            assert_eq!(meaning("/.artifact/finalize", depth), pair("", "/.artifact/finalize"));
        }
        assert_eq!(meaning("//.artifact/finalize", 2), pair("!/", "finalize"));
    }

    #[test]
    fn bucket_names_follow_the_rules_of_s3() {
        for good in ["abc", "a.b-c", "0ab", "guide-board"] {
            assert!(ProducerName::parse(good).is_ok(), "{good}");
        }
        for bad in ["ab", "Abc", "-ab", "ab-", "a..b", "192.168.0.1", "a_b", "", &"a".repeat(64)] {
            assert!(ProducerName::parse(bad).is_err(), "{bad}");
        }
    }
}
