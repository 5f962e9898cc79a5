//! Bodies on their way in and out: s3s's streams and the data plane's.

use artifactstore_registry::backends::dataplane::spi::{ByteStream, IngestFrame, IngestHints, IngestStream};
use artifactstore_registry::backends::digest::{ChecksumAlgorithm, Sha256Digest};
use artifactstore_registry::backends::error::Source;
use bytes::Bytes;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use http_body::Frame;
use http_body_util::StreamBody;
use s3s::dto::{self, StreamingBlob};
use s3s::{Body, S3Request, TrailingHeaders};

use super::{checksum, header};
use crate::error::{Failure, chain};

/// The parts of a PUT's input that concern its body.
pub(super) struct Incoming<'a> {
    pub(super) blob: Option<StreamingBlob>,
    pub(super) content_length: Option<i64>,
    pub(super) content_md5: Option<&'a str>,
    pub(super) algorithm: Option<&'a dto::ChecksumAlgorithm>,
}

/// The body of a request and what its headers declare of it. Refuses declarations that cannot be checked.
pub(super) fn incoming<T>(req: &S3Request<T>, body: Incoming<'_>) -> Result<(IngestStream, IngestHints), Failure> {
    let trailers = req.trailing_headers.clone();
    // s3s decodes chunks only for requests that are signed in their headers. A framed body on any other road would be
    // stored with its framing.
    if trailers.is_none() && req.headers.contains_key("x-amz-decoded-content-length") {
        let message = "x-amz-decoded-content-length goes with a body in signed or trailing chunks, and this is none.";
        return Err(Failure::request(400, "InvalidRequest", message));
    }
    let checksum = checksum::declared(&req.headers)?;
    let trailer = checksum::declared_trailer(&req.headers)?;
    if trailer.is_some() && trailers.is_none() {
        let message = "x-amz-trailer goes with a body in chunks that ends with a trailer, and this is none.";
        return Err(Failure::request(400, "InvalidRequest", message));
    }
    if checksum.is_some() && trailer.is_some() {
        let message = "Expecting a single checksum: a header or a trailer, not both.";
        return Err(Failure::request(400, "InvalidRequest", message));
    }
    let asked = checksum::asked(body.algorithm)?;
    let compute = asked.filter(|_| checksum.is_none() && trailer.is_none());
    let hints = IngestHints {
        size_bytes: body.content_length.and_then(|length| u64::try_from(length).ok()),
        // An empty header is no digest, and s3s takes it for none.
        md5: header(&req.headers, "content-md5").or(body.content_md5).map(checksum::md5).transpose()?,
        sha256: sha256_verified(req).filter(|_| body.content_length.is_some_and(|length| length > 0)),
        checksum,
        trailer,
        compute: compute.into_iter().collect(),
        ..IngestHints::default()
    };
    Ok((frames(body.blob, trailer.zip(trailers)), hints))
}

/// The SHA-256 of the body, when the request was signed with it: s3s then compares it while the body passes, and ends a
/// body that has another with an error. It does so by Signature Version 4 alone, whose requests name a region, and for a
/// header that came once; anything else is hashed here.
fn sha256_verified<T>(req: &S3Request<T>) -> Option<Sha256Digest> {
    req.region.as_ref()?;
    let mut values = req.headers.get_all("x-amz-content-sha256").iter();
    let signed = values.next().filter(|_| values.next().is_none())?;
    Sha256Digest::from_hex(signed.to_str().ok()?).ok()
}

fn frames(blob: Option<StreamingBlob>, trailer: Option<(ChecksumAlgorithm, TrailingHeaders)>) -> IngestStream {
    let data = futures::stream::iter(blob).flatten().map_ok(IngestFrame::Data);
    // The trailers are known only once the last chunk was read; a lazy stream asks for them then.
    let last = futures::stream::once(async move {
        let (algorithm, trailers) = trailer?;
        let came = trailers.read(|headers| checksum::trailer(headers, algorithm))?;
        came.map_err(|failure| Box::new(failure) as Source).transpose()
    });
    data.chain(last.filter_map(|frame| async { frame.map(|frame| frame.map(IngestFrame::Trailer)) })).boxed()
}

/// The bytes of a file as the body of a response. An error that ends them cuts the connection, so that the client
/// cannot take what came for the whole; its causes are logged here, because no answer can carry them any more.
pub(super) fn outgoing(bytes: ByteStream, request_id: String) -> StreamingBlob {
    let logged = bytes.inspect_err(move |error| {
        tracing::error!(request_id, cause = %chain(error), "a body broke off on its way out");
    });
    // `Body` serialises access, which makes of a `Send` stream the `Sync` one that s3s wants.
    StreamingBlob::from(Body::http_body_unsync(StreamBody::new(framed(logged))))
}

fn framed<E>(bytes: impl Stream<Item = Result<Bytes, E>> + Send) -> impl Stream<Item = Result<Frame<Bytes>, E>> + Send {
    bytes.map_ok(Frame::data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{Extensions, HeaderMap, Method, Uri};

    fn request(pairs: &[(&'static str, &str)]) -> S3Request<()> {
        let headers: HeaderMap =
            pairs.iter().map(|(key, value)| (http::HeaderName::from_static(key), value.parse().unwrap())).collect();
        S3Request {
            input: (),
            method: Method::PUT,
            uri: Uri::from_static("/b/k"),
            headers,
            extensions: Extensions::new(),
            credentials: None,
            region: None,
            service: None,
            trailing_headers: None,
        }
    }

    fn body<'a>(algorithm: Option<&'a dto::ChecksumAlgorithm>) -> Incoming<'a> {
        let blob = StreamingBlob::from_bytes(Bytes::from_static(b"hello"));
        Incoming { blob: Some(blob), content_length: Some(5), content_md5: None, algorithm }
    }

    #[tokio::test]
    async fn a_body_comes_with_what_was_declared_of_it() {
        let crc32 = dto::ChecksumAlgorithm::from_static(dto::ChecksumAlgorithm::CRC32);
        let (stream, hints) = incoming(&request(&[]), body(Some(&crc32))).unwrap();
        assert_eq!((hints.size_bytes, hints.compute.as_slice()), (Some(5), [ChecksumAlgorithm::Crc32].as_slice()));
        let frames: Vec<_> = stream.try_collect().await.unwrap();
        assert_eq!(frames, [IngestFrame::Data(Bytes::from_static(b"hello"))]);
        let declared = request(&[("x-amz-checksum-crc32", "AAAAAQ==")]);
        let (_, hints) = incoming(&declared, body(Some(&crc32))).unwrap();
        assert!(hints.checksum.is_some() && hints.compute.is_empty());
    }

    #[test]
    fn declarations_that_cannot_be_checked_are_refused() {
        for pairs in [[("x-amz-decoded-content-length", "5")], [("x-amz-trailer", "x-amz-checksum-crc32")]] {
            let refused = incoming(&request(&pairs), body(None)).err().unwrap();
            assert_eq!(refused.face().code, "InvalidRequest", "{pairs:?}");
        }
    }

    #[tokio::test]
    async fn a_file_on_its_way_out_keeps_its_bytes() {
        let bytes = futures::stream::iter([Ok(Bytes::from_static(b"ab")), Ok(Bytes::from_static(b"c"))]).boxed();
        let got: Vec<Bytes> = outgoing(bytes, String::new()).try_collect().await.unwrap();
        assert_eq!(got.concat(), b"abc");
    }
}
