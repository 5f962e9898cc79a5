//! What a request can come to when it comes to nothing, and the one table of how that looks on each wire.
//!
//! Invariant: a face with a 5xx status says nothing of the cause; the cause is logged once, at the edge.

use std::error::Error as StdError;

use artifactstore_registry::backends;
use artifactstore_registry::backends::error::Declared;
use artifactstore_registry::clock::Timestamp;
use artifactstore_registry::{Error, Refusal};
use http::StatusCode;

use crate::edge::fault;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The registry said so.
    #[error(transparent)]
    Registry(#[from] Error),
    /// The request itself is at fault, and the registry was not asked.
    #[error("{message}")]
    Request {
        /// The HTTP status.
        status: StatusCode,
        /// The S3 error code.
        code: &'static str,
        /// What is wrong, for people.
        message: String,
    },
    /// The client has the file as it is now.
    #[error("the file has not changed")]
    Unchanged {
        /// The file's ETag, without quotes.
        etag: String,
        /// When the file was ingested.
        modified: Timestamp,
    },
    /// The range selects nothing of the file.
    #[error("the requested range is not within the {size_bytes} bytes of the object")]
    RangeUnsatisfiable {
        /// The size of the file in bytes.
        size_bytes: u64,
    },
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Registry(Error::Refused(refusal))
    }
}

impl From<artifactstore_registry::model::name::InvalidName> for Failure {
    fn from(invalid: artifactstore_registry::model::name::InvalidName) -> Self {
        Self::Registry(Error::Name(invalid))
    }
}

/// How a failure looks: the S3 side and the admin side both read this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Face {
    /// The HTTP status.
    pub status: StatusCode,
    /// The code in S3's error XML; on the admin side the last segment of the problem's type.
    pub code: &'static str,
    /// What is wrong, for people. Never the cause of a 5xx.
    pub message: String,
}

const fn s(status: u16) -> StatusCode {
    match StatusCode::from_u16(status) {
        Ok(status) => status,
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl Failure {
    /// A request that is wrong in itself.
    pub fn request(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self::Request { status: s(status), code, message: message.into() }
    }

    /// What the client gets to see.
    #[must_use]
    pub fn face(&self) -> Face {
        let (status, code) = match self {
            Self::Request { status, code, .. } => (status.as_u16(), *code),
            Self::Unchanged { .. } => (304, "NotModified"),
            Self::RangeUnsatisfiable { .. } => (416, "InvalidRange"),
            // What broke the body has a face of its own: a wrong signature, a client gone quiet, a failing source.
            Self::Registry(Error::Bytes(backends::Error::Body(source))) => return fault::face(source.as_ref()),
            Self::Registry(Error::Refused(refusal)) => refusal_face(refusal),
            Self::Registry(error) if error.is_unavailable() || error.is_disturbed() => (503, "SlowDown"),
            Self::Registry(Error::Bytes(error)) => return bytes(error),
            Self::Registry(Error::Name(invalid)) => match invalid.what {
                "the producer (bucket) name" => (400, "InvalidBucketName"),
                "the upload id" => (404, "NoSuchUpload"),
                "the key" if invalid.reason.contains("longer") => (400, "KeyTooLongError"),
                _ => (400, "InvalidArgument"),
            },
            Self::Registry(error) if error.is_storage_full() => (507, "InsufficientStorage"),
            Self::Registry(Error::Stopping) => (503, "ServiceUnavailable"),
            Self::Registry(Error::Busy) => (503, "SlowDown"),
            Self::Registry(Error::LogUnwritable(cause)) => batch_face(cause),
            Self::Registry(_) => (500, "InternalError"),
        };
        face((status, code), self)
    }
}

/// The face of bytes that could not be read or written, whoever asked for them.
pub(crate) fn bytes(error: &backends::Error) -> Face {
    let mut face = face(bytes_face(error), error);
    if let backends::Error::DigestMismatch(declared) = error {
        face.message = format!("The {} you specified did not match what we received.", digest_name(*declared));
    }
    face
}

const fn digest_name(declared: Declared) -> &'static str {
    match declared {
        Declared::Md5 => "Content-MD5",
        Declared::Checksum(algorithm) => algorithm.name(),
    }
}

fn face((status, code): (u16, &'static str), cause: &dyn StdError) -> Face {
    let message = match (status, code) {
        (500, _) => "We met an internal error. Please try again.".to_owned(),
        (503, "ServiceUnavailable") => "The gateway is stopping. Please try again.".to_owned(),
        (503, _) => "Please reduce your request rate and try again.".to_owned(),
        (507, _) => "The storage behind the gateway is full; nothing of this request was kept.".to_owned(),
        _ => sentence(&cause.to_string()),
    };
    Face { status: s(status), code, message }
}

/// An error and its causes in one line, for operators.
pub(crate) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        // Transparent wrappers say what their cause says.
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        next = cause.source();
    }
    text
}

fn refusal_face(refusal: &Refusal) -> (u16, &'static str) {
    match refusal {
        Refusal::ProducerMissing(_) => (404, "NoSuchBucket"),
        Refusal::ProducerOwned(_) => (409, "BucketAlreadyOwnedByYou"),
        Refusal::ProducerForeign(_)
        | Refusal::KeyReserved(_)
        | Refusal::VersionSealed { .. }
        | Refusal::FinalizeForbidden
        | Refusal::PackageFinalized { .. } => (403, "AccessDenied"),
        Refusal::ProducerNotEmpty(_) => (409, "BucketNotEmpty"),
        Refusal::SettingInvalid { .. } => (400, "InvalidArgument"),
        Refusal::KeyMissing(_) => (404, "NoSuchAccessKey"),
        Refusal::KeyTaken(_) => (409, "AccessKeyExists"),
        Refusal::FileMissing | Refusal::FileMarked { .. } | Refusal::FileErased { by_number: false, .. } => {
            (404, "NoSuchKey")
        }
        Refusal::ErasureShared { .. } => (409, "ErasureShared"),
        Refusal::ErasureImpossible(_) => (409, "ErasureImpossible"),
        Refusal::MarkerMeant { .. } => (405, "MethodNotAllowed"),
        Refusal::VersionMissing | Refusal::FileErased { by_number: true, .. } => (404, "NoSuchVersion"),
        Refusal::PackageMissing => (404, "NoSuchPackage"),
        Refusal::PackageOpen => (409, "PackageOpen"),
        Refusal::PackageSuperseded(_) => (409, "PackageSuperseded"),
        Refusal::PreconditionFailed(_) => (412, "PreconditionFailed"),
        Refusal::UploadMissing(_) => (404, "NoSuchUpload"),
        Refusal::PartInvalid(_) => (400, "InvalidPart"),
        Refusal::PartOrderInvalid => (400, "InvalidPartOrder"),
        Refusal::PartTooSmall { .. } => (400, "EntityTooSmall"),
        Refusal::SizeMismatch { .. } | Refusal::ChecksumKindMismatch => (400, "InvalidRequest"),
        Refusal::PartsMissing => (400, "MalformedXML"),
        Refusal::ChecksumMismatch(_) => (400, "BadDigest"),
        Refusal::Kept(_) | Refusal::ProducerHeld { .. } | Refusal::ClassFirm { .. } => (403, "AccessDenied"),
        Refusal::ClassMissing(_) | Refusal::RetainUntilPast => (400, "InvalidArgument"),
        Refusal::LockMissing(_) => (400, "InvalidRequest"),
        Refusal::LockNeedsVersioning => (409, "InvalidBucketState"),
        Refusal::PackageWasReleased(_) => (409, "PackageReleased"),
        Refusal::JumpMissing(_) => (404, "NoSuchClockJump"),
        Refusal::ClockStillAhead { .. } => (409, "ClockStillAhead"),
        Refusal::ContentMissing | Refusal::LeaseOver | Refusal::StorageClosed(_) => (503, "SlowDown"),
        _ => (500, "InternalError"),
    }
}

/// What ended a batch is told to everybody in it: bytes of its own may not have been stored, as a large manifest's.
/// None of that is the fault of a request.
fn batch_face(cause: &Error) -> (u16, &'static str) {
    match cause {
        Error::Bytes(error) if bytes_face(error).0 >= 500 => bytes_face(error),
        _ => (500, "InternalError"),
    }
}

fn bytes_face(error: &backends::Error) -> (u16, &'static str) {
    match error {
        backends::Error::RangeNotSatisfiable { .. } => (416, "InvalidRange"),
        backends::Error::LengthMismatch { .. } => (400, "IncompleteBody"),
        backends::Error::TrailerMissing(_) => (400, "MalformedTrailerError"),
        backends::Error::DigestMismatch(Declared::Md5 | Declared::Checksum(_)) => (400, "BadDigest"),
        backends::Error::Body(_) => (400, "IncompleteBody"),
        backends::Error::StorageFull(_) => (507, "InsufficientStorage"),
        backends::Error::Unavailable(_) => (503, "SlowDown"),
        _ => (500, "InternalError"),
    }
}

/// S3's messages are sentences.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_uppercase().collect::<String>()).unwrap_or_default();
    let stop = if text.ends_with(['.', '?', '!']) { "" } else { "." };
    format!("{first}{}{stop}", chars.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_5xx_says_nothing_of_its_cause() {
        let disk = backends::Error::Backend(Box::new(std::io::Error::other("/secret/path: bad sector")));
        let failure = Failure::from(Error::Bytes(disk));
        let face = failure.face();
        assert_eq!((face.status.as_u16(), face.code), (500, "InternalError"));
        assert!(!face.message.contains("secret"));
        assert!(chain(&failure).contains("bad sector"));
    }

    #[test]
    fn a_database_that_is_away_asks_for_another_try() {
        let face = Failure::from(Error::LogUnwritable(std::sync::Arc::new(Error::BatchUndone))).face();
        assert_eq!((face.status.as_u16(), face.code), (503, "SlowDown"));
        assert!(!face.message.contains("connection"), "{}", face.message);
        let asked = backends::Error::Catalog(Box::new(Error::BatchUndone));
        assert_eq!(Failure::from(Error::Bytes(asked)).face().status.as_u16(), 503);
    }

    #[test]
    fn a_batch_whose_bytes_could_not_be_stored_has_their_face_where_that_is_nobodys_fault() {
        let face = |cause: backends::Error| {
            let face = Failure::from(Error::LogUnwritable(std::sync::Arc::new(Error::Bytes(cause)))).face();
            (face.status.as_u16(), face.code)
        };
        assert_eq!(face(backends::Error::Unavailable("silent".into())), (503, "SlowDown"));
        assert_eq!(face(backends::Error::StorageFull("full".into())), (507, "InsufficientStorage"));
        assert_eq!(face(backends::Error::Backend("broken".into())), (500, "InternalError"));
        let odd = backends::Error::LengthMismatch { declared: 1, received: 2 };
        assert_eq!(face(odd), (500, "InternalError"));
    }

    #[test]
    fn a_message_is_a_sentence() {
        let failure = Failure::from(Refusal::FileMissing);
        assert_eq!(failure.face().message, "The key does not exist.");
        assert_eq!(Failure::RangeUnsatisfiable { size_bytes: 3 }.face().status.as_u16(), 416);
    }
}
