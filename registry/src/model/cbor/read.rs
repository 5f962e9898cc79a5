//! Reading canonical CBOR: what is not canonical is refused where it stands, in the same pass that reads it.
//!
//! Invariant: what was read, or skipped, to its end is what [`super::check`] passes.

use serde::de::value::{BorrowedStrDeserializer, MapAccessDeserializer};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::{CborError, DEPTH_LIMIT, key_order};

/// Major types.
pub(super) const POSITIVE: u8 = 0;
pub(super) const NEGATIVE: u8 = 1;
pub(super) const BYTES: u8 = 2;
pub(super) const TEXT: u8 = 3;
pub(super) const ARRAY: u8 = 4;
pub(super) const MAP: u8 = 5;
pub(super) const SIMPLE: u8 = 7;

/// Simple values.
pub(super) const FALSE: u8 = 20;
pub(super) const TRUE: u8 = 21;
pub(super) const NULL: u8 = 22;

/// Bytes, and how far they were read.
pub(super) struct Reader<'de> {
    bytes: &'de [u8],
    at: usize,
    depth: u32,
}

impl<'de> Reader<'de> {
    pub(super) const fn new(bytes: &'de [u8]) -> Self {
        Self { bytes, at: 0, depth: DEPTH_LIMIT }
    }

    /// Reads the next item only for what it is.
    pub(super) fn skip(&mut self) -> Result<(), CborError> {
        let (major, argument) = self.head()?;
        match major {
            POSITIVE | NEGATIVE | SIMPLE => Ok(()),
            BYTES => self.take(argument).map(|_| ()),
            TEXT => self.text(argument).map(|_| ()),
            ARRAY => self.nested(argument, |items| {
                while items.next() {
                    items.reader.skip()?;
                }
                Ok(())
            }),
            MAP => self.nested(argument, |entries| {
                while entries.next_key()?.is_some() {
                    entries.reader.skip()?;
                }
                Ok(())
            }),
            _ => Err(self.offence("tags are not used")),
        }
    }

    /// Makes sure that nothing follows.
    pub(super) const fn end(&self) -> Result<(), CborError> {
        if self.at == self.bytes.len() { Ok(()) } else { Err(self.offence("bytes follow the item")) }
    }

    const fn offence(&self, reason: &'static str) -> CborError {
        CborError::NotCanonical { at: self.at, reason }
    }

    /// Refuses what is of another kind, which a visitor might take for it.
    fn begins_with(&self, major: u8, what: &str) -> Result<(), CborError> {
        match self.bytes.get(self.at) {
            Some(first) if first >> 5 != major => Err(CborError::Shape(format!("this is not {what}"))),
            _ => Ok(()),
        }
    }

    fn take(&mut self, count: u64) -> Result<&'de [u8], CborError> {
        let count = usize::try_from(count).map_err(|_| self.offence("the length is out of range"))?;
        let rest = &self.bytes[self.at..];
        let Some((taken, _)) = rest.split_at_checked(count) else {
            return Err(self.offence("the bytes end too early"));
        };
        self.at += count;
        Ok(taken)
    }

    fn text(&mut self, length: u64) -> Result<&'de str, CborError> {
        let bytes = self.take(length)?;
        std::str::from_utf8(bytes).map_err(|_| self.offence("the text is not UTF-8"))
    }

    /// The major type and the argument of the next head, which must be the shortest that there is.
    fn head(&mut self) -> Result<(u8, u64), CborError> {
        let first = self.take(1)?[0];
        let (major, info) = (first >> 5, first & 0x1f);
        if major == SIMPLE {
            return match info {
                FALSE | TRUE | NULL => Ok((major, u64::from(info))),
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

    /// Reads what an array or a map of so many entries holds; all of it.
    fn nested<T>(
        &mut self,
        entries: u64,
        read: impl FnOnce(&mut Nested<'_, 'de>) -> Result<T, CborError>,
    ) -> Result<T, CborError> {
        self.depth = self.depth.checked_sub(1).ok_or_else(|| self.offence("it nests too deep"))?;
        let mut nested = Nested { reader: self, left: entries, last: None };
        let value = read(&mut nested)?;
        if nested.left > 0 {
            return Err(CborError::Shape(format!("{} entries more than it has", nested.left)));
        }
        self.depth += 1;
        Ok(value)
    }
}

/// An array or a map that is being read.
struct Nested<'r, 'de> {
    reader: &'r mut Reader<'de>,
    left: u64,
    /// The key before.
    last: Option<&'de str>,
}

impl<'de> Nested<'_, 'de> {
    /// Whether there is another entry, which is then the next to be read.
    const fn next(&mut self) -> bool {
        let more = self.left > 0;
        self.left = self.left.saturating_sub(1);
        more
    }

    fn next_key(&mut self) -> Result<Option<&'de str>, CborError> {
        if !self.next() {
            return Ok(None);
        }
        let (major, length) = self.reader.head()?;
        if major != TEXT {
            return Err(self.reader.offence("a key is not text"));
        }
        let key = self.reader.text(length)?;
        if self.last.is_some_and(|last| key_order(last, key) != std::cmp::Ordering::Less) {
            return Err(self.reader.offence("the keys are not in order, or one stands twice"));
        }
        self.last = Some(key);
        Ok(Some(key))
    }

    /// How many entries to make room for: never more than there are bytes.
    fn room(&self) -> usize {
        usize::try_from(self.left).unwrap_or(usize::MAX).min(self.reader.bytes.len() - self.reader.at)
    }
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = CborError;

    fn is_human_readable(&self) -> bool {
        false
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CborError> {
        let (major, argument) = self.head()?;
        match major {
            POSITIVE => visitor.visit_u64(argument),
            NEGATIVE => match i64::try_from(argument) {
                Ok(argument) => visitor.visit_i64(!argument),
                Err(_) => visitor.visit_i128(!i128::from(argument)),
            },
            BYTES => visitor.visit_borrowed_bytes(self.take(argument)?),
            TEXT => visitor.visit_borrowed_str(self.text(argument)?),
            ARRAY => self.nested(argument, |items| visitor.visit_seq(items)),
            MAP => self.nested(argument, |entries| visitor.visit_map(entries)),
            SIMPLE if argument == u64::from(NULL) => visitor.visit_unit(),
            SIMPLE => visitor.visit_bool(argument == u64::from(TRUE)),
            _ => Err(self.offence("tags are not used")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, CborError> {
        self.deserialize_map(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CborError> {
        self.begins_with(MAP, "a map")?;
        self.deserialize_any(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CborError> {
        self.begins_with(BYTES, "bytes")?;
        self.deserialize_any(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CborError> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CborError> {
        if self.bytes.get(self.at) == Some(&(SIMPLE << 5 | NULL)) {
            self.at += 1;
            return visitor.visit_none();
        }
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, CborError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, CborError> {
        let (major, argument) = self.head()?;
        match major {
            TEXT => visitor.visit_enum(BorrowedStrDeserializer::new(self.text(argument)?)),
            MAP => self.nested(argument, |entries| visitor.visit_enum(MapAccessDeserializer::new(entries))),
            _ => Err(CborError::Shape("neither a name nor a name with a value".to_owned())),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CborError> {
        self.skip()?;
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string
        unit unit_struct seq tuple tuple_struct identifier
    }
}

impl<'de> SeqAccess<'de> for Nested<'_, 'de> {
    type Error = CborError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, CborError> {
        if !self.next() {
            return Ok(None);
        }
        seed.deserialize(&mut *self.reader).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.room())
    }
}

impl<'de> MapAccess<'de> for Nested<'_, 'de> {
    type Error = CborError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, CborError> {
        let Some(key) = self.next_key()? else { return Ok(None) };
        seed.deserialize(BorrowedStrDeserializer::new(key)).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, CborError> {
        seed.deserialize(&mut *self.reader)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.room())
    }
}
