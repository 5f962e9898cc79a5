//! Canonical CBOR: RFC 8949 section 4.2.1, narrowed to what the registry writes.
//!
//! Shortest integers, definite lengths, text keys in the order of their encoded bytes, no floats, no tags. ciborium does
//! the encoding; the order of keys is ours.
//!
//! Invariant: what [`decode`] accepts re-encodes to the same bytes.

use std::collections::BTreeMap;

use ciborium::value::Value;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes that are not canonical CBOR of the wanted shape, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CborError {
    /// Not canonical, or not CBOR at all.
    #[error("not canonical CBOR at byte {at}: {reason}")]
    NotCanonical {
        /// The offset in bytes.
        at: usize,
        /// What is wrong there.
        reason: &'static str,
    },
    /// Canonical, but not what was expected.
    #[error("unexpected content: {0}")]
    Shape(String),
}

/// How deep arrays and maps may nest.
const DEPTH_LIMIT: u32 = 16;

/// Encodes a value canonically.
///
/// # Panics
/// When the value holds floats, tags or keys that are not text: such a type is a mistake in this crate.
#[must_use]
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(512);
    let written = ciborium::into_writer(value, &mut bytes);
    assert!(written.is_ok(), "the model's types encode as CBOR");
    if check(&bytes).is_ok() {
        return bytes;
    }
    // Fields that are not declared in canonical order, or of unknown length: sort what was written.
    let decoded: Result<Value, _> = ciborium::from_reader(bytes.as_slice());
    assert!(decoded.is_ok(), "what ciborium wrote, it reads");
    let mut sorted = decoded.unwrap_or(Value::Null);
    sort(&mut sorted);
    bytes.clear();
    let written = ciborium::into_writer(&sorted, &mut bytes);
    assert!(written.is_ok() && check(&bytes).is_ok(), "the model's types hold neither floats nor tags");
    bytes
}

/// Decodes a value, refusing anything that [`encode`] would have written otherwise.
///
/// # Errors
/// When the bytes are not canonical, or not of the wanted shape.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CborError> {
    check(bytes)?;
    ciborium::from_reader(bytes).map_err(|error| CborError::Shape(error.to_string()))
}

/// Decodes a value whose fields are declared in canonical order, refusing also what it would lose without a word: bytes
/// that it does not re-encode to.
///
/// # Errors
/// When the bytes are not canonical, not of the wanted shape, or hold more than it.
pub fn decode_whole<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<T, CborError> {
    let value: T = decode(bytes)?;
    let mut expected = Expected(bytes);
    if ciborium::into_writer(&value, &mut expected).is_ok() && expected.0.is_empty() {
        return Ok(value);
    }
    Err(CborError::Shape("it does not re-encode to the same bytes".to_owned()))
}

/// A sink that takes only these bytes.
struct Expected<'a>(&'a [u8]);

impl std::io::Write for Expected<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 = self.0.strip_prefix(bytes).ok_or(std::io::ErrorKind::InvalidData)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Checks that the bytes are exactly one canonical item.
///
/// # Errors
/// With the first offence and its offset.
pub fn check(bytes: &[u8]) -> Result<(), CborError> {
    let mut scan = Scan { bytes, at: 0 };
    scan.item(DEPTH_LIMIT)?;
    if scan.at == bytes.len() { Ok(()) } else { Err(scan.offence("bytes follow the item")) }
}

fn sort(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(sort),
        Value::Map(entries) => {
            entries.iter_mut().for_each(|(_, entry)| sort(entry));
            entries.sort_by(|(a, _), (b, _)| match (a.as_text(), b.as_text()) {
                (Some(a), Some(b)) => key_order(a, b),
                _ => std::cmp::Ordering::Equal,
            });
        }
        _ => {}
    }
}

/// Bytewise order of the encoded keys: for text, the shorter first, then the bytes.
fn key_order(a: &str, b: &str) -> std::cmp::Ordering {
    a.len().cmp(&b.len()).then_with(|| a.as_bytes().cmp(b.as_bytes()))
}

struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    const fn offence(&self, reason: &'static str) -> CborError {
        CborError::NotCanonical { at: self.at, reason }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], CborError> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| self.offence("the bytes end too early"))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    /// The major type and the argument of the next head, which must be the shortest that there is.
    fn head(&mut self) -> Result<(u8, u64), CborError> {
        let first = self.take(1)?[0];
        let (major, info) = (first >> 5, first & 0x1f);
        if major == 7 {
            return match info {
                20..=22 => Ok((major, u64::from(info))),
                _ => Err(self.offence("floats and simple values are not used")),
            };
        }
        let (width, least) = match info {
            0..=23 => return Ok((major, u64::from(info))),
            24 => (1, 24),
            25 => (2, 1 << 8),
            26 => (4, 1 << 16),
            27 => (8, 1 << 32),
            31 => return Err(self.offence("the length is indefinite")),
            _ => return Err(self.offence("the head is reserved")),
        };
        let argument = self.take(width)?.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        if argument < least {
            return Err(self.offence("the argument is not the shortest"));
        }
        Ok((major, argument))
    }

    fn item(&mut self, depth: u32) -> Result<(), CborError> {
        let (major, argument) = self.head()?;
        match major {
            0 | 1 | 7 => Ok(()),
            2 => self.take(self.length(argument)?).map(|_| ()),
            3 => self.text(argument).map(|_| ()),
            4 => {
                let depth = depth.checked_sub(1).ok_or_else(|| self.offence("it nests too deep"))?;
                (0..argument).try_for_each(|_| self.item(depth))
            }
            5 => self.map(argument, depth),
            _ => Err(self.offence("tags are not used")),
        }
    }

    fn map(&mut self, entries: u64, depth: u32) -> Result<(), CborError> {
        let depth = depth.checked_sub(1).ok_or_else(|| self.offence("it nests too deep"))?;
        let mut last: Option<&str> = None;
        for _ in 0..entries {
            let (major, length) = self.head()?;
            if major != 3 {
                return Err(self.offence("a key is not text"));
            }
            let key = self.text(length)?;
            if last.is_some_and(|last| key_order(last, key) != std::cmp::Ordering::Less) {
                return Err(self.offence("the keys are not in order, or one stands twice"));
            }
            last = Some(key);
            self.item(depth)?;
        }
        Ok(())
    }

    fn length(&self, argument: u64) -> Result<usize, CborError> {
        usize::try_from(argument).map_err(|_| self.offence("the length is out of range"))
    }

    fn text(&mut self, length: u64) -> Result<&'a str, CborError> {
        let bytes = self.take(self.length(length)?)?;
        std::str::from_utf8(bytes).map_err(|_| self.offence("the text is not UTF-8"))
    }
}

/// Text to text, kept in a map and written in canonical order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TextMap(pub BTreeMap<String, String>);

impl TextMap {
    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }
}

impl FromIterator<(String, String)> for TextMap {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(entries: I) -> Self {
        Self(entries.into_iter().collect())
    }
}

impl Serialize for TextMap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut entries: Vec<(&String, &String)> = self.0.iter().collect();
        entries.sort_by(|(a, _), (b, _)| key_order(a, b));
        serializer.collect_map(entries)
    }
}

impl<'de> Deserialize<'de> for TextMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        BTreeMap::deserialize(deserializer).map(Self)
    }
}

/// A JSON view of canonical CBOR, for people: byte strings become lower-case hex.
///
/// # Errors
/// When the bytes are not canonical.
pub fn to_json(bytes: &[u8]) -> Result<serde_json::Value, CborError> {
    let value: Value = decode(bytes)?;
    Ok(json(value))
}

fn json(value: Value) -> serde_json::Value {
    match value {
        Value::Integer(integer) => {
            let integer = i128::from(integer);
            u64::try_from(integer).map_or_else(|_| i64::try_from(integer).unwrap_or(i64::MIN).into(), Into::into)
        }
        Value::Bytes(bytes) => hex::encode(bytes).into(),
        Value::Text(text) => text.into(),
        Value::Bool(flag) => flag.into(),
        Value::Array(items) => items.into_iter().map(json).collect(),
        Value::Map(entries) => entries
            .into_iter()
            .filter_map(|(key, entry)| key.into_text().ok().map(|key| (key, json(entry))))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        _ => serde_json::Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_written_in_the_order_of_their_encoded_bytes() {
        #[derive(Serialize)]
        struct Unordered {
            zeta: u8,
            a: u8,
            beta: TextMap,
        }
        let map = [("bb".to_owned(), "1".to_owned()), ("c".to_owned(), "2".to_owned())].into_iter().collect();
        let bytes = encode(&Unordered { zeta: 1, a: 2, beta: map });
        assert_eq!(hex::encode(&bytes), "a361610264626574 61a261636132626262613164 7a65746101".replace(' ', ""));
    }

    #[test]
    fn what_is_not_canonical_is_refused() {
        for (bytes, reason) in [
            ("1817", "not the shortest"),
            ("190017", "not the shortest"),
            ("9fff", "indefinite"),
            ("a2616201616102", "not in order"),
            ("a2616101616102", "not in order"),
            ("a10102", "not text"),
            ("f93c00", "floats"),
            ("c000", "tags"),
            ("0000", "follow"),
            ("62", "too early"),
            ("62fffe", "UTF-8"),
            ("7b7fffffffffffffff", "too early"),
        ] {
            let refused = check(&hex::decode(bytes).unwrap()).unwrap_err().to_string();
            assert!(refused.contains(reason), "{bytes}: {refused}");
        }
        let deep = [vec![0x81; 40], vec![0x00]].concat();
        assert!(check(&deep).unwrap_err().to_string().contains("deep"));
    }

    proptest::proptest! {
        #[test]
        fn no_input_makes_the_checker_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..64)) {
            if check(&bytes).is_ok() {
                let value: Value = ciborium::from_reader(bytes.as_slice()).unwrap();
                proptest::prop_assert_eq!(encode(&value), bytes);
            }
        }
    }
}
