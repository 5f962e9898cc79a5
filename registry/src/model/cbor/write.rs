//! Writing canonical CBOR: what serde hands over goes straight to where it is wanted.
//!
//! Invariant: what was written, and is said to be in order, passes [`super::check`].

use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use super::{CborError, DEPTH_LIMIT, key_order, read};

/// Where encoded bytes go.
pub(super) trait Sink {
    /// Takes the next bytes; fails when it wanted others.
    fn put(&mut self, bytes: &[u8]) -> Result<(), CborError>;
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), CborError> {
        self.extend_from_slice(bytes);
        Ok(())
    }
}

/// A sink that takes only these bytes.
pub(super) struct Expected<'a>(pub(super) &'a [u8]);

impl Sink for Expected<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), CborError> {
        let rest = self.0.strip_prefix(bytes);
        self.0 = rest.ok_or_else(|| CborError::Shape("it does not re-encode to the same bytes".to_owned()))?;
        Ok(())
    }
}

/// A serde serializer.
pub(super) struct Writer<S> {
    pub(super) sink: S,
    /// Whether all that was written is known to be in order. Keys of maps are not looked at, only those of structs.
    pub(super) ordered: bool,
    depth: u32,
}

impl<S: Sink> Writer<S> {
    pub(super) const fn new(sink: S) -> Self {
        Self { sink, ordered: true, depth: DEPTH_LIMIT }
    }

    /// The shortest head that there is.
    fn head(&mut self, major: u8, argument: u64) -> Result<(), CborError> {
        let bytes = argument.to_be_bytes();
        let (info, tail) = match argument {
            0..=23 => return self.sink.put(&[major << 5 | bytes[7]]),
            24..=0xff => (24, &bytes[7..]),
            0x100..=0xffff => (25, &bytes[6..]),
            0x1_0000..=0xffff_ffff => (26, &bytes[4..]),
            _ => (27, &bytes[..]),
        };
        let mut head = [0; 9];
        head[0] = major << 5 | info;
        head[1..=tail.len()].copy_from_slice(tail);
        self.sink.put(&head[..=tail.len()])
    }

    fn counted(&mut self, major: u8, length: usize) -> Result<(), CborError> {
        self.head(major, u64::try_from(length).unwrap_or(u64::MAX))
    }

    fn text(&mut self, text: &str) -> Result<(), CborError> {
        self.counted(read::TEXT, text.len())?;
        self.sink.put(text.as_bytes())
    }

    fn simple(&mut self, which: u8) -> Result<(), CborError> {
        self.sink.put(&[read::SIMPLE << 5 | which])
    }

    /// Begins an array or a map of so many entries.
    fn nested(&mut self, major: u8, entries: Option<usize>) -> Result<Nested<'_, S>, CborError> {
        let entries = entries.ok_or_else(|| unfit("a length is not known"))?;
        self.depth = self.depth.checked_sub(1).ok_or_else(|| unfit("it nests too deep"))?;
        self.counted(major, entries)?;
        Ok(Nested { writer: self, left: entries, last: None, within: 0 })
    }

    /// Begins what stands under the name of an enum's variant.
    fn variant(&mut self, name: &str, major: u8, entries: usize) -> Result<Nested<'_, S>, CborError> {
        self.depth = self.depth.checked_sub(1).ok_or_else(|| unfit("it nests too deep"))?;
        self.head(read::MAP, 1)?;
        self.text(name)?;
        let nested = self.nested(major, Some(entries))?;
        Ok(Nested { within: 1, ..nested })
    }
}

fn unfit(reason: &str) -> CborError {
    CborError::Shape(reason.to_owned())
}

/// An array or a map that is being written.
pub(super) struct Nested<'w, S> {
    writer: &'w mut Writer<S>,
    left: usize,
    /// The field before.
    last: Option<&'static str>,
    /// How many maps of one entry it stands in, which end with it.
    within: u32,
}

impl<S: Sink> Nested<'_, S> {
    fn item<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), CborError> {
        self.left = self.left.checked_sub(1).ok_or_else(|| unfit("there is more than was said"))?;
        item.serialize(&mut *self.writer)
    }

    fn field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), CborError> {
        if self.last.is_some_and(|last| key_order(last, name) != std::cmp::Ordering::Less) {
            self.writer.ordered = false;
        }
        self.last = Some(name);
        self.writer.text(name)?;
        self.item(value)
    }

    fn done(self) -> Result<(), CborError> {
        self.writer.depth += 1 + self.within;
        if self.left == 0 { Ok(()) } else { Err(unfit("there is less than was said")) }
    }
}

impl<'w, S: Sink> Serializer for &'w mut Writer<S> {
    type Ok = ();
    type Error = CborError;
    type SerializeSeq = Nested<'w, S>;
    type SerializeTuple = Nested<'w, S>;
    type SerializeTupleStruct = Nested<'w, S>;
    type SerializeTupleVariant = Nested<'w, S>;
    type SerializeMap = Nested<'w, S>;
    type SerializeStruct = Nested<'w, S>;
    type SerializeStructVariant = Nested<'w, S>;

    fn is_human_readable(&self) -> bool {
        false
    }

    fn serialize_bool(self, value: bool) -> Result<(), CborError> {
        self.simple(if value { read::TRUE } else { read::FALSE })
    }

    fn serialize_i8(self, value: i8) -> Result<(), CborError> {
        self.serialize_i64(value.into())
    }

    fn serialize_i16(self, value: i16) -> Result<(), CborError> {
        self.serialize_i64(value.into())
    }

    fn serialize_i32(self, value: i32) -> Result<(), CborError> {
        self.serialize_i64(value.into())
    }

    fn serialize_i64(self, value: i64) -> Result<(), CborError> {
        if value < 0 {
            self.head(read::NEGATIVE, (!value).unsigned_abs())
        } else {
            self.head(read::POSITIVE, value.unsigned_abs())
        }
    }

    fn serialize_i128(self, value: i128) -> Result<(), CborError> {
        let (major, argument) = if value < 0 { (read::NEGATIVE, !value) } else { (read::POSITIVE, value) };
        self.head(major, u64::try_from(argument).map_err(|_| unfit("a number is too large"))?)
    }

    fn serialize_u8(self, value: u8) -> Result<(), CborError> {
        self.head(read::POSITIVE, value.into())
    }

    fn serialize_u16(self, value: u16) -> Result<(), CborError> {
        self.head(read::POSITIVE, value.into())
    }

    fn serialize_u32(self, value: u32) -> Result<(), CborError> {
        self.head(read::POSITIVE, value.into())
    }

    fn serialize_u64(self, value: u64) -> Result<(), CborError> {
        self.head(read::POSITIVE, value)
    }

    fn serialize_f32(self, _: f32) -> Result<(), CborError> {
        Err(unfit("floats are not used"))
    }

    fn serialize_f64(self, _: f64) -> Result<(), CborError> {
        Err(unfit("floats are not used"))
    }

    fn serialize_char(self, value: char) -> Result<(), CborError> {
        self.text(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<(), CborError> {
        self.text(value)
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), CborError> {
        self.counted(read::BYTES, value.len())?;
        self.sink.put(value)
    }

    fn serialize_none(self) -> Result<(), CborError> {
        self.simple(read::NULL)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), CborError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), CborError> {
        self.simple(read::NULL)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), CborError> {
        self.simple(read::NULL)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), CborError> {
        self.text(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), CborError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), CborError> {
        let mut map = self.nested(read::MAP, Some(1))?;
        map.field(variant, value)?;
        map.done()
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<Nested<'w, S>, CborError> {
        self.nested(read::ARRAY, length)
    }

    fn serialize_tuple(self, length: usize) -> Result<Nested<'w, S>, CborError> {
        self.nested(read::ARRAY, Some(length))
    }

    fn serialize_tuple_struct(self, _: &'static str, length: usize) -> Result<Nested<'w, S>, CborError> {
        self.nested(read::ARRAY, Some(length))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Nested<'w, S>, CborError> {
        self.variant(variant, read::ARRAY, length)
    }

    fn serialize_map(self, length: Option<usize>) -> Result<Nested<'w, S>, CborError> {
        self.ordered = self.ordered && length == Some(0);
        self.nested(read::MAP, length)
    }

    fn serialize_struct(self, _: &'static str, length: usize) -> Result<Nested<'w, S>, CborError> {
        self.nested(read::MAP, Some(length))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Nested<'w, S>, CborError> {
        self.variant(variant, read::MAP, length)
    }
}

impl<S: Sink> SerializeSeq for Nested<'_, S> {
    type Ok = ();
    type Error = CborError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), CborError> {
        self.item(item)
    }

    fn end(self) -> Result<(), CborError> {
        self.done()
    }
}

impl<S: Sink> SerializeTuple for Nested<'_, S> {
    type Ok = ();
    type Error = CborError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), CborError> {
        self.item(item)
    }

    fn end(self) -> Result<(), CborError> {
        self.done()
    }
}

impl<S: Sink> SerializeTupleStruct for Nested<'_, S> {
    type Ok = ();
    type Error = CborError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), CborError> {
        self.item(item)
    }

    fn end(self) -> Result<(), CborError> {
        self.done()
    }
}

impl<S: Sink> SerializeTupleVariant for Nested<'_, S> {
    type Ok = ();
    type Error = CborError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), CborError> {
        self.item(item)
    }

    fn end(self) -> Result<(), CborError> {
        self.done()
    }
}

impl<S: Sink> SerializeMap for Nested<'_, S> {
    type Ok = ();
    type Error = CborError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), CborError> {
        key.serialize(&mut *self.writer)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CborError> {
        self.item(value)
    }

    fn end(self) -> Result<(), CborError> {
        self.done()
    }
}

impl<S: Sink> SerializeStruct for Nested<'_, S> {
    type Ok = ();
    type Error = CborError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), CborError> {
        self.field(name, value)
    }

    fn end(self) -> Result<(), CborError> {
        self.done()
    }
}

impl<S: Sink> SerializeStructVariant for Nested<'_, S> {
    type Ok = ();
    type Error = CborError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), CborError> {
        self.field(name, value)
    }

    fn end(self) -> Result<(), CborError> {
        self.done()
    }
}
