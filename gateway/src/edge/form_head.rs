//! The beginning of a form, noted on its way to s3s, which reads all fields and hands on those that have a header's name.
//! `acl`, `tagging` and `policy` have none, and say things that must not be lost.
//!
//! Invariant: what is read here is what s3s read, by the same parser, and so what the form's policy was compared with.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use futures::stream;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use s3s_multipart::{Boundary, Error, Multipart, parse_content_disposition};

use super::service::header;

/// How much is noted at most: more than s3s takes of fields, with what stands around them.
const NOTED_MAX_BYTES: usize = 256 * 1024;

/// What was noted of one form.
#[derive(Debug, Clone)]
pub(crate) struct FormHead(Arc<Noted>);

#[derive(Debug)]
struct Noted {
    /// Nothing more once it was asked for.
    bytes: Mutex<Option<BytesMut>>,
    /// Whether s3s has read the fields, and checked what they are signed with.
    read: AtomicBool,
}

/// The fields of a form that no header has a name for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Nameless {
    pub(crate) acl: Option<String>,
    pub(crate) policy: Option<String>,
    pub(crate) tagging: Option<String>,
}

impl FormHead {
    pub(super) fn new() -> Self {
        Self(Arc::new(Noted { bytes: Mutex::new(Some(BytesMut::new())), read: AtomicBool::new(false) }))
    }

    /// Says that the fields before the file were read.
    pub(super) fn set_read(&self) {
        self.0.read.store(true, Ordering::Relaxed);
    }

    /// Whether the fields before the file were read: what comes from now on is the file.
    pub(super) fn is_read(&self) -> bool {
        self.0.read.load(Ordering::Relaxed)
    }

    pub(super) fn note(&self, bytes: &Bytes) {
        let mut noted = self.0.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(noted) = noted.as_mut() {
            let room = NOTED_MAX_BYTES.saturating_sub(noted.len());
            noted.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
    }

    /// The fields before the file; `None` when they were not noted as far as it.
    pub(crate) async fn fields(&self, headers: &HeaderMap) -> Option<Nameless> {
        let noted = self.0.bytes.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let kind: mime::Mime = header(headers, &CONTENT_TYPE)?.parse().ok()?;
        read(noted.freeze(), kind.get_param(mime::BOUNDARY)?.as_str()).await
    }
}

async fn read(noted: Bytes, boundary: &str) -> Option<Nameless> {
    let boundary = Boundary::new(boundary.as_bytes()).ok()?;
    let noted = stream::iter([Ok::<Bytes, Error>(noted)]);
    let mut form = Multipart::new(noted, &boundary, NOTED_MAX_BYTES);
    let mut found = Nameless::default();
    loop {
        let mut part = form.next_part().await.ok()??;
        let mut name = Vec::new();
        while let Some(line) = part.next_header().await.ok()? {
            if line.name.eq_ignore_ascii_case("content-disposition") {
                name = parse_content_disposition(line.value)?.name?.to_ascii_lowercase();
            }
        }
        let field = match name.as_slice() {
            b"file" => return Some(found),
            b"acl" => &mut found.acl,
            b"policy" => &mut found.policy,
            b"tagging" => &mut found.tagging,
            _ => continue,
        };
        let mut value = Vec::new();
        while let Some(bytes) = part.next_data().await.ok()? {
            value.extend_from_slice(&bytes);
        }
        *field = Some(String::from_utf8(value).ok()?);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: &str = "--x\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nrun-1/a\r\n\
        --x\r\nContent-Disposition: form-data; name=\"ACL\"\r\n\r\nprivate\r\n\
        --x\r\nContent-Disposition: form-data; name=tagging\r\n\r\n<Tagging/>\r\n\
        --x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n";

    fn headers() -> HeaderMap {
        [(CONTENT_TYPE, "multipart/form-data; boundary=x".parse().unwrap())].into_iter().collect()
    }

    #[tokio::test]
    async fn fields_without_a_header_are_found_before_the_file_however_they_came() {
        for size in [1, 7, 10_000] {
            let head = FormHead::new();
            for piece in [FORM, "the file's own bytes"].concat().as_bytes().chunks(size) {
                head.note(&Bytes::copy_from_slice(piece));
            }
            let found = head.fields(&headers()).await.unwrap();
            let expected =
                Nameless { acl: Some("private".to_owned()), policy: None, tagging: Some("<Tagging/>".to_owned()) };
            assert_eq!(found, expected);
            assert_eq!(head.fields(&headers()).await, None, "it is asked for once");
        }
    }

    #[tokio::test]
    async fn what_does_not_reach_the_file_is_not_taken_for_all() {
        let head = FormHead::new();
        head.note(&Bytes::from_static(&FORM.as_bytes()[..FORM.len() - 60]));
        assert_eq!(head.fields(&headers()).await, None);
        let large = FormHead::new();
        large.note(&Bytes::from(vec![b'x'; NOTED_MAX_BYTES + 1]));
        assert_eq!(large.0.bytes.lock().unwrap().as_ref().unwrap().len(), NOTED_MAX_BYTES);
    }
}
