//! What broke a body: the errors of the wire, told apart by their types.
//!
//! The data plane hands a body's error back as it came; only here is it known what the client did wrong. The chain is
//! walked from the outside, because each layer of decoding wraps the error of the one below.

use std::error::Error as StdError;

use artifactstore_registry::backends;
use artifactstore_registry::backends::error::Declared;
use http::StatusCode;
use s3s::BodySizeLimitExceeded;
use s3s::stream::aws_chunked_stream::AwsChunkedStreamError;
use s3s::stream::upload_stream::UploadStreamError;

use super::inflow::BodyStalled;
use crate::error::{self, Face, Failure};

fn refused(status: StatusCode, code: &'static str, message: &str) -> Face {
    Face { status, code, message: message.to_owned() }
}

fn stalled() -> Face {
    refused(
        StatusCode::BAD_REQUEST,
        "RequestTimeout",
        "Your socket connection to the server was not read from or written to within the timeout period. Idle \
         connections will be closed.",
    )
}

fn incomplete() -> Face {
    let message = "You did not provide the number of bytes specified by the Content-Length HTTP header.";
    refused(StatusCode::BAD_REQUEST, "IncompleteBody", message)
}

fn too_large() -> Face {
    let message = "Your proposed upload exceeds the maximum allowed object size.";
    refused(StatusCode::BAD_REQUEST, "EntityTooLarge", message)
}

pub(super) fn form_head_too_large() -> Face {
    let message = "Your POST request fields preceding the upload file were too large.";
    refused(StatusCode::BAD_REQUEST, "MaxPostPreDataLengthExceededError", message)
}

pub(super) fn sha256_mismatch() -> Face {
    let message = "The provided 'x-amz-content-sha256' header does not match what was computed.";
    refused(StatusCode::BAD_REQUEST, "XAmzContentSHA256Mismatch", message)
}

/// The face of a document that is not what was declared of it.
pub(super) fn digest_mismatch(declared: Declared) -> Face {
    error::bytes(&backends::Error::DigestMismatch(declared))
}

fn signature_mismatch() -> Face {
    refused(
        StatusCode::FORBIDDEN,
        "SignatureDoesNotMatch",
        "The request signature we calculated does not match the signature you provided. Check your key and signing \
         method.",
    )
}

fn chunks(error: &AwsChunkedStreamError) -> Option<Face> {
    match error {
        AwsChunkedStreamError::Underlying(_) => None,
        AwsChunkedStreamError::SignatureMismatch => Some(signature_mismatch()),
        AwsChunkedStreamError::ChunkMetaTooLarge(..) | AwsChunkedStreamError::ChunkDataTooLarge(..) => Some(refused(
            StatusCode::BAD_REQUEST,
            "InvalidRequest",
            "A chunk of the body, or what describes it, is larger than is accepted.",
        )),
        AwsChunkedStreamError::TrailersTooLarge(..) | AwsChunkedStreamError::TooManyTrailerHeaders(..) => {
            Some(refused(StatusCode::BAD_REQUEST, "InvalidRequest", "The body's trailer is larger than is accepted."))
        }
        AwsChunkedStreamError::FormatError
        | AwsChunkedStreamError::Incomplete
        | AwsChunkedStreamError::LengthMismatch => Some(incomplete()),
    }
}

fn payload(error: &UploadStreamError) -> Option<Face> {
    match error {
        UploadStreamError::Underlying(_) => None,
        UploadStreamError::Sha256Mismatch => Some(sha256_mismatch()),
        UploadStreamError::LengthMismatch | UploadStreamError::Incomplete => Some(incomplete()),
    }
}

fn known(error: &(dyn StdError + 'static)) -> Option<Face> {
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return Some(failure.face());
    }
    // The body of a copied part is read from the store; when that breaks, it is no fault of the client.
    if let Some(own) = error.downcast_ref::<backends::Error>() {
        return (!matches!(own, backends::Error::Body(_))).then(|| error::bytes(own));
    }
    if error.is::<BodyStalled>() {
        return Some(stalled());
    }
    if error.is::<BodySizeLimitExceeded>() {
        return Some(too_large());
    }
    error.downcast_ref().and_then(chunks).or_else(|| error.downcast_ref().and_then(payload))
}

/// The face of whatever ended a body; what nobody knows is a client that hung up.
pub(crate) fn face(error: &(dyn StdError + 'static)) -> Face {
    let mut next = Some(error);
    while let Some(layer) = next {
        if let Some(face) = known(layer) {
            return face;
        }
        next = layer.source();
    }
    incomplete()
}

/// The face of a body that went quiet.
pub(super) fn stalled_face() -> Face {
    stalled()
}

/// The face of a body that ended early.
pub(super) fn incomplete_face() -> Face {
    incomplete()
}

#[cfg(test)]
mod tests {
    use super::*;
    use artifactstore_registry::Error as RegistryError;
    use artifactstore_registry::backends::error::Source;
    use bytes::Bytes;
    use futures::StreamExt as _;

    fn code(source: Source) -> (u16, &'static str) {
        let face = Failure::from(RegistryError::Bytes(backends::Error::Body(source))).face();
        assert!(!face.message.is_empty());
        (face.status.as_u16(), face.code)
    }

    #[test]
    fn what_broke_the_body_is_told_apart() {
        let stalled = || -> Source { Box::new(BodyStalled) };
        let too_large = BodySizeLimitExceeded { size: 2, limit: 1 };
        let own = backends::Error::Backend(Box::new(std::io::Error::other("disk")));
        let trailer = Failure::request(400, "InvalidRequest", "Bad trailer.");
        for (source, expected) in [
            (stalled(), (400, "RequestTimeout")),
            (Box::new(AwsChunkedStreamError::Underlying(stalled())), (400, "RequestTimeout")),
            (Box::new(UploadStreamError::Underlying(stalled())), (400, "RequestTimeout")),
            (Box::new(AwsChunkedStreamError::SignatureMismatch), (403, "SignatureDoesNotMatch")),
            (Box::new(AwsChunkedStreamError::Incomplete), (400, "IncompleteBody")),
            (Box::new(AwsChunkedStreamError::FormatError), (400, "IncompleteBody")),
            (Box::new(AwsChunkedStreamError::ChunkDataTooLarge(2, 1)), (400, "InvalidRequest")),
            (Box::new(UploadStreamError::Sha256Mismatch), (400, "XAmzContentSHA256Mismatch")),
            (Box::new(UploadStreamError::Incomplete), (400, "IncompleteBody")),
            (Box::new(too_large), (400, "EntityTooLarge")),
            (Box::new(own), (500, "InternalError")),
            (Box::new(trailer), (400, "InvalidRequest")),
            (Box::new(std::io::Error::other("reset by peer")), (400, "IncompleteBody")),
        ] as [(Source, _); 13]
        {
            let said = source.to_string();
            assert_eq!(code(source), expected, "{said}");
        }
    }

    #[tokio::test]
    async fn the_limit_that_s3s_sets_yields_the_error_that_is_looked_for() {
        let mut body = s3s::Body::from(Bytes::from_static(b"too much"));
        body.set_limit(Some(3));
        let error = body.next().await.unwrap().unwrap_err();
        assert_eq!(code(error), (400, "EntityTooLarge"));
    }
}
