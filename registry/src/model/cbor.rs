//! Canonical CBOR: RFC 8949 section 4.2.1, narrowed to what the registry writes.
//!
//! Shortest integers, definite lengths, text keys in the order of their encoded bytes, no floats, no tags. Every event is
//! written and read in this form, and a replay does nothing else as often: so both go in one pass, without a value in
//! between. ciborium has the values that have no type of ours, and puts keys in order that were not.
//!
//! Invariant: what [`decode_whole`] accepts re-encodes to the same bytes; what [`decode`] accepts, too, but for fields that
//! its type does not know.

mod read;
mod write;

use std::collections::BTreeMap;
use std::fmt::Display;

use ciborium::value::Value;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use self::read::Reader;
use self::write::{Expected, Writer};

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

impl serde::de::Error for CborError {
    fn custom<T: Display>(reason: T) -> Self {
        Self::Shape(reason.to_string())
    }
}

impl serde::ser::Error for CborError {
    fn custom<T: Display>(reason: T) -> Self {
        Self::Shape(reason.to_string())
    }
}

/// How deep arrays and maps may nest.
const DEPTH_LIMIT: u32 = 16;

/// Encodes a value canonically.
///
/// # Panics
/// When the value holds floats, tags or keys that are not text: such a type is a mistake in this crate.
#[must_use]
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    encode_within(512, value)
}

/// Encodes a value that will take about so many bytes.
///
/// # Panics
/// As [`encode`].
#[must_use]
pub fn encode_within<T: Serialize + ?Sized>(expected_bytes: usize, value: &T) -> Vec<u8> {
    let mut writer = Writer::new(Vec::with_capacity(expected_bytes));
    if value.serialize(&mut writer).is_ok() && (writer.ordered || check(&writer.sink).is_ok()) {
        return writer.sink;
    }
    // Fields that are not declared in canonical order, or of unknown length: sort what is written.
    let mut bytes = Vec::new();
    let written = ciborium::into_writer(value, &mut bytes);
    assert!(written.is_ok(), "the model's types encode as CBOR");
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
    let mut reader = Reader::new(bytes);
    let read = T::deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    // Whatever else is wrong with them: bytes that are not canonical are called so.
    read.map_err(|error| check(bytes).err().unwrap_or(error))
}

/// Decodes a value whose fields are declared in canonical order, refusing also what it would lose without a word: bytes
/// that it does not re-encode to.
///
/// # Errors
/// When the bytes are not canonical, not of the wanted shape, or hold more than it.
pub fn decode_whole<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<T, CborError> {
    let value: T = decode(bytes)?;
    let mut writer = Writer::new(Expected(bytes));
    value.serialize(&mut writer)?;
    if writer.sink.0.is_empty() { Ok(value) } else { Err(CborError::Shape("it holds more than is read".to_owned())) }
}

/// Checks that the bytes are exactly one canonical item.
///
/// # Errors
/// With the first offence and its offset.
pub fn check(bytes: &[u8]) -> Result<(), CborError> {
    let mut reader = Reader::new(bytes);
    reader.skip()?;
    reader.end()
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
    fn a_value_of_another_kind_is_not_taken_for_it() {
        #[derive(Debug, serde::Deserialize)]
        struct Small {
            #[allow(dead_code, reason = "only its shape counts")]
            a: u8,
        }
        #[derive(Debug, serde::Deserialize)]
        struct Packed {
            #[allow(dead_code, reason = "only its shape counts")]
            #[serde(with = "serde_bytes")]
            b: Vec<u8>,
        }
        let bytes = |text: &str| hex::decode(text).unwrap();
        decode::<Small>(&bytes("a1616101")).unwrap();
        decode::<Packed>(&bytes("a161624101")).unwrap();
        for refused in [
            decode::<Small>(&bytes("8101")).map(|_| ()),
            decode::<Packed>(&bytes("a161626161")).map(|_| ()),
            decode::<Packed>(&bytes("a161628101")).map(|_| ()),
            decode::<TextMap>(&bytes("80")).map(|_| ()),
        ] {
            assert!(matches!(refused, Err(CborError::Shape(_))), "{refused:?}");
        }
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
                proptest::prop_assert_eq!(&encode(&value), &bytes);
                proptest::prop_assert_eq!(decode::<Value>(&bytes).unwrap(), value);
            } else {
                proptest::prop_assert!(decode::<Value>(&bytes).is_err());
                proptest::prop_assert!(decode::<serde::de::IgnoredAny>(&bytes).is_err());
            }
        }

        #[test]
        fn what_another_library_writes_in_order_is_what_is_written_here(given in given()) {
            let mut theirs = Vec::new();
            ciborium::into_writer(&given, &mut theirs).unwrap();
            let ours = encode(&given);
            if check(&theirs).is_ok() {
                proptest::prop_assert_eq!(&ours, &theirs);
            }
            proptest::prop_assert_eq!(check(&ours), Ok(()));
            proptest::prop_assert_eq!(&decode::<Given>(&ours).unwrap(), &given);
            let read: Given = ciborium::from_reader(ours.as_slice()).unwrap();
            proptest::prop_assert_eq!(read, given);
            for end in 0..ours.len() {
                proptest::prop_assert!(decode::<Given>(&ours[..end]).is_err(), "it ends too early");
            }
        }
    }

    /// Something of everything that the model's types are made of.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Given {
        a: Option<i64>,
        at: (u64, bool),
        map: TextMap,
        ways: Vec<Way>,
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        absent: String,
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Way {
        Alone,
        With(u32),
        Of(u8, i16),
        Named { far: i32, from: Option<String> },
    }

    fn given() -> impl proptest::strategy::Strategy<Value = Given> {
        use proptest::collection::{btree_map, vec};
        use proptest::prelude::{Just, Strategy, any, prop_oneof};

        let text = || vec(any::<char>(), 0..30).prop_map(String::from_iter);
        let way = prop_oneof![
            Just(Way::Alone),
            any::<u32>().prop_map(Way::With),
            any::<(u8, i16)>().prop_map(|(a, b)| Way::Of(a, b)),
            (any::<i32>(), proptest::option::of(text())).prop_map(|(far, from)| Way::Named { far, from }),
        ];
        let map = btree_map(text(), text(), 0..4).prop_map(TextMap);
        let bytes = vec(any::<u8>(), 0..300);
        (any::<Option<i64>>(), any::<(u64, bool)>(), map, vec(way, 0..30), bytes, text())
            .prop_map(|(a, at, map, ways, bytes, absent)| Given { a, at, map, ways, bytes, absent })
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Less {
        a: u8,
    }

    #[test]
    fn what_holds_more_or_less_than_its_type_is_refused() {
        assert!(decode::<(u8, u8)>(&encode(&(1, 2, 3))).is_err(), "one more");
        assert!(decode::<(u8, u8, u8)>(&encode(&(1, 2))).is_err(), "one less");
        assert!(decode::<u8>(&encode(&256)).is_err(), "too large");
        assert!(decode::<u64>(&encode(&-1)).is_err(), "negative");
        assert_eq!(decode::<i64>(&encode(&i64::MIN)).unwrap(), i64::MIN);
        assert_eq!(decode::<i128>(&hex::decode("3bffffffffffffffff").unwrap()).unwrap(), -1 - i128::from(u64::MAX));
        let two_ways = hex::decode("a2626f66820102647769746803").unwrap();
        check(&two_ways).unwrap();
        assert!(decode::<Way>(&two_ways).is_err(), "an enum has one way");
        let known: BTreeMap<String, u8> = [("a".to_owned(), 1), ("at".to_owned(), 2)].into();
        assert_eq!(decode::<Less>(&encode(&known)).unwrap(), Less { a: 1 });
        assert!(matches!(decode_whole::<Less>(&encode(&known)), Err(CborError::Shape(_))), "a field would be lost");
    }
}
