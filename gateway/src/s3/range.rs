//! Which bytes of a file a request asks for: all, a `Range`, or one part of its multipart upload.

use artifactstore_registry::backends::dataplane::spi::ByteRange;
use artifactstore_registry::backends::digest::Checksum;
use artifactstore_registry::model::attributes::FilePart;
use s3s::dto;

use crate::error::Failure;

/// The bytes of a file that a reply carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Selection {
    /// The first byte.
    pub(super) first: u64,
    /// The byte behind the last.
    pub(super) end: u64,
    /// The size of the file in bytes.
    pub(super) size_bytes: u64,
    /// Whether the reply is a 206.
    pub(super) partial: bool,
    /// What checksum fits exactly these bytes.
    pub(super) checksum: Fitting,
    /// How many parts the file has, when the request asked by part.
    pub(super) parts_count: Option<i32>,
}

/// The checksum that fits the bytes of a reply. A ranged reply has none: clients would compare it with the range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fitting {
    /// The file's own.
    File,
    /// A part's.
    Part(Checksum),
    /// None that is known.
    None,
}

impl Selection {
    const fn whole(size_bytes: u64) -> Self {
        Self { first: 0, end: size_bytes, size_bytes, partial: false, checksum: Fitting::File, parts_count: None }
    }

    /// How many bytes these are.
    pub(super) fn length(&self) -> i64 {
        i64::try_from(self.end - self.first).unwrap_or(i64::MAX)
    }

    /// `Content-Range`, when the reply is a 206.
    pub(super) fn content_range(&self) -> Option<String> {
        self.partial.then(|| format!("bytes {}-{}/{}", self.first, self.end - 1, self.size_bytes))
    }

    /// The range to read.
    pub(super) fn byte_range(&self) -> ByteRange {
        if self.first == 0 && self.end == self.size_bytes {
            ByteRange::Full
        } else {
            ByteRange::Span(self.first, self.end)
        }
    }
}

/// The bytes that a request selects.
pub(super) fn select(
    range: Option<&dto::Range>,
    part_number: Option<i32>,
    size_bytes: u64,
    parts: &[FilePart],
) -> Result<Selection, Failure> {
    match (range, part_number) {
        (None, None) => Ok(Selection::whole(size_bytes)),
        (Some(range), None) => by_range(range, size_bytes),
        (None, Some(number)) => by_part(number, size_bytes, parts),
        (Some(_), Some(_)) => Err(Failure::request(
            400,
            "InvalidRequest",
            "Cannot specify both Range header and partNumber query parameter.",
        )),
    }
}

fn by_range(range: &dto::Range, size_bytes: u64) -> Result<Selection, Failure> {
    let unsatisfiable = || Failure::RangeUnsatisfiable { size_bytes };
    let (first, end) = match *range {
        dto::Range::Int { first, last } => {
            (first, last.map_or(size_bytes, |last| last.saturating_add(1).min(size_bytes)))
        }
        dto::Range::Suffix { length } => (size_bytes.saturating_sub(length), size_bytes),
    };
    if first >= end {
        return Err(unsatisfiable());
    }
    let checksum = Fitting::None;
    Ok(Selection { first, end, size_bytes, partial: true, checksum, parts_count: None })
}

fn by_part(number: i32, size_bytes: u64, parts: &[FilePart]) -> Result<Selection, Failure> {
    let missing = || Failure::request(416, "InvalidPartNumber", "The requested partnumber is not satisfiable.");
    if !(1..=10_000).contains(&number) {
        let message = "Part number must be an integer between 1 and 10000, inclusive.";
        return Err(Failure::request(400, "InvalidArgument", message));
    }
    if parts.is_empty() {
        // A file that came in one piece is its own first part; a 206 of nothing cannot be said.
        let partial = size_bytes > 0;
        return if number == 1 { Ok(Selection { partial, ..Selection::whole(size_bytes) }) } else { Err(missing()) };
    }
    let at = parts.iter().position(|part| i64::from(part.number) == i64::from(number)).ok_or_else(missing)?;
    let first: u64 = parts[..at].iter().map(|part| part.size_bytes).sum();
    Ok(Selection {
        first,
        end: first + parts[at].size_bytes,
        size_bytes,
        partial: parts[at].size_bytes > 0,
        checksum: parts[at].checksum.clone().map_or(Fitting::None, Fitting::Part),
        parts_count: i32::try_from(parts.len()).ok(),
    })
}

/// `x-amz-copy-source-range`: always `bytes=first-last`, and always within the source.
pub(super) fn copy_source(text: &str, size_bytes: u64) -> Result<ByteRange, Failure> {
    const MALFORMED: &str = "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the \
         zero-based offsets of the first and last bytes to copy.";
    let number = |digits: &str| {
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| digits.parse::<u64>().ok()).flatten()
    };
    let parsed = text.strip_prefix("bytes=").and_then(|range| range.split_once('-'));
    let parsed = parsed.and_then(|(first, last)| Some((number(first)?, number(last)?)));
    let (first, last) = parsed
        .filter(|(first, last)| first <= last)
        .ok_or_else(|| Failure::request(400, "InvalidArgument", MALFORMED))?;
    if last >= size_bytes {
        let message = format!("Range specified is not valid for source object of size: {size_bytes}.");
        return Err(Failure::request(400, "InvalidArgument", message));
    }
    Ok(ByteRange::Span(first, last + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> dto::Range {
        dto::Range::parse(text).unwrap()
    }

    fn parts(sizes: &[(u32, u64)]) -> Vec<FilePart> {
        sizes
            .iter()
            .map(|(number, size_bytes)| FilePart { size_bytes: *size_bytes, number: *number, checksum: None })
            .collect()
    }

    #[test]
    fn ranges_are_cut_at_the_end_and_counted_from_it() {
        for (text, size, expected) in [
            ("bytes=0-4", 10, Some((0, 5))),
            ("bytes=5-", 10, Some((5, 10))),
            ("bytes=5-99", 10, Some((5, 10))),
            ("bytes=-3", 10, Some((7, 10))),
            ("bytes=-99", 10, Some((0, 10))),
            ("bytes=9-9", 10, Some((9, 10))),
            ("bytes=10-", 10, None),
            ("bytes=-0", 10, None),
            ("bytes=0-", 0, None),
            ("bytes=-5", 0, None),
            ("bytes=0-9223372036854775807", 10, Some((0, 10))),
        ] {
            let got = select(Some(&range(text)), None, size, &[]);
            match expected {
                Some((first, end)) => {
                    let got = got.unwrap();
                    assert_eq!((got.first, got.end), (first, end), "{text}");
                    assert_eq!(got.content_range(), Some(format!("bytes {first}-{}/{size}", end - 1)));
                    assert_eq!(got.checksum, Fitting::None, "a 206 has no checksum");
                }
                None => assert_eq!(got.unwrap_err().face().code, "InvalidRange", "{text}"),
            }
        }
    }

    #[test]
    fn a_part_is_found_by_its_number_and_lies_behind_those_before() {
        let parts = parts(&[(1, 5), (3, 7), (4, 2)]);
        let got = select(None, Some(3), 14, &parts).unwrap();
        assert_eq!((got.first, got.end, got.parts_count, got.partial), (5, 12, Some(3), true));
        assert_eq!(got.byte_range(), ByteRange::Span(5, 12));
        for missing in [2, 5] {
            assert_eq!(select(None, Some(missing), 14, &parts).unwrap_err().face().status.as_u16(), 416);
        }
        assert_eq!(select(None, Some(0), 14, &parts).unwrap_err().face().code, "InvalidArgument");
    }

    #[test]
    fn a_file_in_one_piece_is_its_own_first_part() {
        let got = select(None, Some(1), 10, &[]).unwrap();
        assert_eq!((got.length(), got.partial, got.checksum.clone()), (10, true, Fitting::File));
        let empty = select(None, Some(1), 0, &[]).unwrap();
        assert_eq!((empty.partial, empty.content_range()), (false, None));
        assert!(select(None, Some(2), 10, &[]).is_err());
        assert!(select(Some(&range("bytes=0-1")), Some(1), 10, &[]).is_err());
    }

    #[test]
    fn a_copy_source_range_lies_within_the_source() {
        assert_eq!(copy_source("bytes=0-9", 10).unwrap(), ByteRange::Span(0, 10));
        for bad in ["bytes=0-10", "bytes=5-4", "bytes=-5", "bytes=5-", "0-9", "bytes=+1-2", "bytes=0-9,11-12"] {
            assert_eq!(copy_source(bad, 10).unwrap_err().face().code, "InvalidArgument", "{bad}");
        }
    }
}
