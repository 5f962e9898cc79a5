//! Flexible checksums between their base64 on the wire and their raw bytes inside.

use artifactstore_registry::backends::digest::{Checksum, ChecksumAlgorithm, Md5Digest};
use artifactstore_registry::model::attributes::{ChecksumKind, FileChecksum};
use artifactstore_registry::model::row::File;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName};
use s3s::dto;

use super::header;
use crate::error::Failure;

const PREFIX: &str = "x-amz-checksum-";

/// Headers that begin like a checksum's and are none.
const OTHERS: [&str; 3] = ["algorithm", "type", "mode"];

fn invalid(message: impl Into<String>) -> Failure {
    Failure::request(400, "InvalidRequest", message)
}

/// Finds an algorithm by its name in any case.
pub(super) fn algorithm(name: &str) -> Result<ChecksumAlgorithm, Failure> {
    ChecksumAlgorithm::ALL.into_iter().find(|known| known.name().eq_ignore_ascii_case(name)).ok_or_else(|| {
        let known = ChecksumAlgorithm::ALL.map(ChecksumAlgorithm::name).join(", ");
        invalid(format!("Checksum algorithm provided is unsupported. Use one of {known}."))
    })
}

/// Parses a checksum's base64.
pub(super) fn parse(algorithm: ChecksumAlgorithm, text: &str) -> Result<Checksum, Failure> {
    let value = STANDARD.decode(text.trim()).ok().filter(|value| value.len() == algorithm.size_bytes());
    let value = value.ok_or_else(|| invalid(format!("Value for {} header is invalid.", header_name(algorithm))))?;
    Ok(Checksum { value, algorithm })
}

/// A checksum's base64.
pub(super) fn text(checksum: &Checksum) -> String {
    STANDARD.encode(&checksum.value)
}

/// A file's checksum as S3 writes it: a composite one carries the number of its parts.
pub(super) fn file_text(checksum: &FileChecksum, parts: usize) -> String {
    match checksum.kind {
        ChecksumKind::FullObject => text(&checksum.checksum),
        ChecksumKind::Composite => format!("{}-{parts}", text(&checksum.checksum)),
    }
}

/// How a checksum is made, as S3 writes it.
pub(super) fn kind(kind: ChecksumKind) -> dto::ChecksumType {
    dto::ChecksumType::from_static(match kind {
        ChecksumKind::FullObject => dto::ChecksumType::FULL_OBJECT,
        ChecksumKind::Composite => dto::ChecksumType::COMPOSITE,
    })
}

/// Parses how a checksum is made.
pub(super) fn parse_kind(text: &str) -> Result<ChecksumKind, Failure> {
    match text {
        dto::ChecksumType::FULL_OBJECT => Ok(ChecksumKind::FullObject),
        dto::ChecksumType::COMPOSITE => Ok(ChecksumKind::Composite),
        _ => Err(invalid("Value for x-amz-checksum-type header is invalid.")),
    }
}

/// The checksum that a request's headers declare, as base64.
fn declared_text(headers: &HeaderMap) -> Result<Option<(ChecksumAlgorithm, &str)>, Failure> {
    let mut found = None;
    for key in headers.keys() {
        let Some(rest) = key.as_str().strip_prefix(PREFIX) else { continue };
        if OTHERS.contains(&rest) {
            continue;
        }
        let algorithm = algorithm(rest)?;
        if found.is_some() {
            return Err(invalid("Expecting a single x-amz-checksum- header. Multiple checksum types are not allowed."));
        }
        let text = header(headers, key.as_str()).unwrap_or_default();
        found = Some((algorithm, text));
    }
    Ok(found)
}

/// The checksum of a body that a request's headers declare.
pub(crate) fn declared(headers: &HeaderMap) -> Result<Option<Checksum>, Failure> {
    declared_text(headers)?.map(|(algorithm, text)| parse(algorithm, text)).transpose()
}

/// The checksum of a whole multipart file of so many parts that a request's headers declare, and how it is made if they
/// tell.
pub(super) fn declared_whole(
    headers: &HeaderMap,
    parts: usize,
) -> Result<(Option<Checksum>, Option<ChecksumKind>), Failure> {
    let said = header(headers, "x-amz-checksum-type").map(parse_kind).transpose()?;
    let Some((algorithm, text)) = declared_text(headers)? else { return Ok((None, said)) };
    match text.rsplit_once('-') {
        None => Ok((Some(parse(algorithm, text)?), said)),
        Some((value, count)) if !count.is_empty() && count.bytes().all(|b| b.is_ascii_digit()) => {
            if count.parse::<usize>().ok() != Some(parts) {
                let message = format!("The checksum of the whole is of {count} parts, and the request names {parts}.");
                return Err(Failure::request(400, "BadDigest", message));
            }
            Ok((Some(parse(algorithm, value)?), said.or(Some(ChecksumKind::Composite))))
        }
        Some(_) => Err(invalid("The checksum of the whole is not base64.")),
    }
}

/// The checksum that `x-amz-trailer` says will come behind the body.
pub(super) fn declared_trailer(headers: &HeaderMap) -> Result<Option<ChecksumAlgorithm>, Failure> {
    let mut found = None;
    for named in header(headers, "x-amz-trailer").unwrap_or_default().split(',') {
        let named = named.trim().to_ascii_lowercase();
        let Some(rest) = named.strip_prefix(PREFIX) else { continue };
        if found.replace(algorithm(rest)?).is_some() {
            return Err(invalid("Expecting a single x-amz-checksum- trailer."));
        }
    }
    Ok(found)
}

/// The header, and the trailer, of an algorithm.
pub(super) const fn header_name(algorithm: ChecksumAlgorithm) -> HeaderName {
    HeaderName::from_static(match algorithm {
        ChecksumAlgorithm::Crc32 => "x-amz-checksum-crc32",
        ChecksumAlgorithm::Crc32c => "x-amz-checksum-crc32c",
        ChecksumAlgorithm::Crc64Nvme => "x-amz-checksum-crc64nvme",
        ChecksumAlgorithm::Sha1 => "x-amz-checksum-sha1",
        ChecksumAlgorithm::Sha256 => "x-amz-checksum-sha256",
        ChecksumAlgorithm::Md5 => "x-amz-checksum-md5",
        ChecksumAlgorithm::Sha512 => "x-amz-checksum-sha512",
        ChecksumAlgorithm::XxHash64 => "x-amz-checksum-xxhash64",
        ChecksumAlgorithm::XxHash3 => "x-amz-checksum-xxhash3",
        ChecksumAlgorithm::XxHash128 => "x-amz-checksum-xxhash128",
    })
}

/// The trailer's value, once it came.
pub(super) fn trailer(headers: &HeaderMap, algorithm: ChecksumAlgorithm) -> Result<Option<Checksum>, Failure> {
    header(headers, header_name(algorithm).as_str()).map(|text| parse(algorithm, text)).transpose()
}

/// The algorithm that a client asks for without giving a value.
pub(super) fn asked(algorithm_asked: Option<&dto::ChecksumAlgorithm>) -> Result<Option<ChecksumAlgorithm>, Failure> {
    algorithm_asked.map(|asked| algorithm(asked.as_str())).transpose()
}

/// The name of an algorithm, in s3s's terms.
pub(super) fn said(algorithm: ChecksumAlgorithm) -> dto::ChecksumAlgorithm {
    dto::ChecksumAlgorithm::from_static(algorithm.name())
}

/// The one checksum of any s3s input that has a field for each.
macro_rules! named_checksum {
    ($input:expr) => {{
        use artifactstore_registry::backends::digest::ChecksumAlgorithm;
        let input = $input;
        let named = [
            (ChecksumAlgorithm::Crc32, &input.checksum_crc32),
            (ChecksumAlgorithm::Crc32c, &input.checksum_crc32c),
            (ChecksumAlgorithm::Crc64Nvme, &input.checksum_crc64nvme),
            (ChecksumAlgorithm::Sha1, &input.checksum_sha1),
            (ChecksumAlgorithm::Sha256, &input.checksum_sha256),
            (ChecksumAlgorithm::Md5, &input.checksum_md5),
            (ChecksumAlgorithm::Sha512, &input.checksum_sha512),
            (ChecksumAlgorithm::XxHash64, &input.checksum_xxhash64),
            (ChecksumAlgorithm::XxHash3, &input.checksum_xxhash3),
            (ChecksumAlgorithm::XxHash128, &input.checksum_xxhash128),
        ];
        named.into_iter().filter_map(|(algorithm, text)| Some((algorithm, text.as_deref()?)))
    }};
}

/// Parses `Content-MD5`.
pub(crate) fn md5(text: &str) -> Result<Md5Digest, Failure> {
    let value = STANDARD.decode(text.trim()).ok().and_then(|bytes| Md5Digest::from_slice(&bytes));
    value.ok_or_else(|| Failure::request(400, "InvalidDigest", "The Content-MD5 you specified was invalid."))
}

/// Sets the checksum field of any s3s output that has them all.
macro_rules! set_checksum {
    ($output:expr, $algorithm:expr, $text:expr) => {{
        use artifactstore_registry::backends::digest::ChecksumAlgorithm;
        let text = Some($text);
        match $algorithm {
            ChecksumAlgorithm::Crc32 => $output.checksum_crc32 = text,
            ChecksumAlgorithm::Crc32c => $output.checksum_crc32c = text,
            ChecksumAlgorithm::Crc64Nvme => $output.checksum_crc64nvme = text,
            ChecksumAlgorithm::Sha1 => $output.checksum_sha1 = text,
            ChecksumAlgorithm::Sha256 => $output.checksum_sha256 = text,
            ChecksumAlgorithm::Md5 => $output.checksum_md5 = text,
            ChecksumAlgorithm::Sha512 => $output.checksum_sha512 = text,
            ChecksumAlgorithm::XxHash64 => $output.checksum_xxhash64 = text,
            ChecksumAlgorithm::XxHash3 => $output.checksum_xxhash3 = text,
            ChecksumAlgorithm::XxHash128 => $output.checksum_xxhash128 = text,
        }
    }};
}

/// Sets a file's checksum and its type in any s3s output that has them.
macro_rules! set_file_checksum {
    ($output:expr, $attributes:expr) => {{
        let attributes: &artifactstore_registry::model::attributes::Attributes = &$attributes;
        if let Some(checksum) = &attributes.checksum {
            let text = $crate::s3::checksum::file_text(checksum, attributes.parts.len());
            $crate::s3::checksum::set_checksum!($output, checksum.checksum.algorithm, text);
            $output.checksum_type = Some($crate::s3::checksum::kind(checksum.kind));
        }
    }};
}

/// Adds the SHA-256 of the whole file, which is always known, where the answer is the whole file and its client chose
/// another algorithm or none. Where it chose SHA-256, that is what it gets: of a multipart file it is made of the parts'.
macro_rules! add_sha256 {
    ($output:expr, $file:expr, $selection:expr) => {{
        let file: &artifactstore_registry::model::row::File = $file;
        if $selection.checksum == $crate::s3::range::Fitting::File && $output.checksum_sha256.is_none() {
            $output.checksum_sha256 = Some($crate::s3::checksum::sha256_text(file));
            if $output.checksum_type.is_none() {
                $output.checksum_type = Some($crate::s3::checksum::kind(
                    artifactstore_registry::model::attributes::ChecksumKind::FullObject,
                ));
            }
        }
    }};
}

/// The base64 of a file's SHA-256.
pub(super) fn sha256_text(file: &File) -> String {
    STANDARD.encode(file.sha256.0)
}

pub(super) use {add_sha256, named_checksum, set_checksum, set_file_checksum};

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(key, value)| (http::HeaderName::from_static(key), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_declared_checksum_is_its_base64() {
        let found = declared(&headers(&[("x-amz-checksum-crc32", "AAAAAQ=="), ("x-amz-checksum-type", "FULL_OBJECT")]));
        let found = found.unwrap().unwrap();
        assert_eq!((found.algorithm, found.value.as_slice()), (ChecksumAlgorithm::Crc32, [0, 0, 0, 1].as_slice()));
        assert_eq!(text(&found), "AAAAAQ==");
        assert_eq!(declared(&headers(&[("content-type", "x")])).unwrap(), None);
    }

    #[test]
    fn bad_unknown_and_double_checksums_are_refused() {
        for (pairs, status, code) in [
            (vec![("x-amz-checksum-crc32", "AAAA")], 400, "InvalidRequest"),
            (vec![("x-amz-checksum-sha256", "!!")], 400, "InvalidRequest"),
            (vec![("x-amz-checksum-crc32", "AAAAAQ=="), ("x-amz-checksum-crc32c", "AAAAAQ==")], 400, "InvalidRequest"),
            (vec![("x-amz-checksum-sha512", "AA==")], 400, "InvalidRequest"),
            (vec![("x-amz-checksum-adler", "AA==")], 400, "InvalidRequest"),
        ] {
            let face = declared(&headers(&pairs)).unwrap_err().face();
            assert_eq!((face.status.as_u16(), face.code), (status, code), "{pairs:?}");
        }
    }

    #[test]
    fn every_algorithm_is_found_by_its_name() {
        for known in ChecksumAlgorithm::ALL {
            assert_eq!(algorithm(&known.name().to_ascii_lowercase()).unwrap(), known);
            assert_eq!(asked(Some(&said(known))).unwrap(), Some(known));
            assert_eq!(header_name(known).as_str(), format!("{PREFIX}{}", known.name().to_ascii_lowercase()));
        }
    }

    #[test]
    fn a_trailer_is_announced_by_name() {
        let found = declared_trailer(&headers(&[("x-amz-trailer", "x-amz-meta-a, X-Amz-Checksum-CRC64NVME")]));
        assert_eq!(found.unwrap(), Some(ChecksumAlgorithm::Crc64Nvme));
        assert_eq!(declared_trailer(&HeaderMap::new()).unwrap(), None);
        assert!(declared_trailer(&headers(&[("x-amz-trailer", "x-amz-checksum-adler")])).is_err());
        let came = headers(&[("x-amz-checksum-crc32", "AAAAAQ==")]);
        assert!(trailer(&came, ChecksumAlgorithm::Crc32).unwrap().is_some());
        assert!(trailer(&came, ChecksumAlgorithm::Sha1).unwrap().is_none());
    }

    #[test]
    fn a_composite_checksum_carries_its_number_of_parts() {
        let declared = headers(&[("x-amz-checksum-crc32", "AAAAAQ==-3")]);
        let (found, kind) = declared_whole(&declared, 3).unwrap();
        assert_eq!(declared_whole(&declared, 2).unwrap_err().face().code, "BadDigest");
        let checksum = FileChecksum { kind: kind.unwrap(), checksum: found.unwrap() };
        assert_eq!(file_text(&checksum, 3), "AAAAAQ==-3");
        let whole = FileChecksum { kind: ChecksumKind::FullObject, ..checksum };
        assert_eq!(file_text(&whole, 3), "AAAAAQ==");
    }

    #[test]
    fn content_md5_is_sixteen_bytes_of_base64() {
        assert!(md5("1B2M2Y8AsgTpgAmY7PhCfg==").is_ok());
        assert_eq!(md5("rubbish").unwrap_err().face().code, "InvalidDigest");
    }
}
