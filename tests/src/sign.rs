//! AWS Signature Version 4, written from its description and not from the program under test.

use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const PATH: &AsciiSet = &QUERY.remove(b'/');

/// Who signs, and for where.
#[derive(Debug, Clone)]
pub struct Keys {
    /// The access key's id.
    pub access_key: String,
    /// Its secret.
    pub secret_key: String,
    /// The region.
    pub region: String,
}

/// A signature with what the signatures of chunks and trailers follow from.
#[derive(Debug, Clone)]
pub struct Seal {
    key: [u8; 32],
    /// The moment, as in `x-amz-date`.
    pub date: String,
    /// Day, region, service.
    pub scope: String,
    /// The signature in hex.
    pub signature: String,
}

/// The hex SHA-256.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn hmac(key: &[u8], text: &str) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().into()
}

/// A path as S3 wants it: every byte but the unreserved ones and the slash is percent-encoded.
#[must_use]
pub fn encode_path(path: &str) -> String {
    utf8_percent_encode(path, PATH).to_string()
}

/// A query, sorted and encoded as S3 wants it.
#[must_use]
pub fn encode_query(query: &[(String, String)]) -> String {
    let mut pairs: Vec<(String, String)> = query
        .iter()
        .map(|(k, v)| (utf8_percent_encode(k, QUERY).to_string(), utf8_percent_encode(v, QUERY).to_string()))
        .collect();
    pairs.sort();
    pairs.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join("&")
}

/// This moment, as in `x-amz-date`.
#[must_use]
pub fn date_now() -> String {
    date_of(OffsetDateTime::now_utc())
}

/// A moment, as in `x-amz-date`.
#[must_use]
pub fn date_of(at: OffsetDateTime) -> String {
    let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
    format!("{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z", at.hour(), at.minute(), at.second())
}

impl Keys {
    /// Day, region, service: what a signature is good for.
    #[must_use]
    pub fn scope(&self, date: &str) -> String {
        format!("{}/{}/s3/aws4_request", &date[..8], self.region)
    }

    /// The signature of a form's policy.
    #[must_use]
    pub fn sign_policy(&self, policy: &str, date: &str) -> String {
        hex::encode(hmac(&self.day_key(date), policy))
    }

    fn day_key(&self, date: &str) -> [u8; 32] {
        let day = hmac(format!("AWS4{}", self.secret_key).as_bytes(), &date[..8]);
        hmac(&hmac(&hmac(&day, &self.region), "s3"), "aws4_request")
    }

    /// Signs. `headers` are the signed ones: names in lower case.
    #[must_use]
    pub fn sign(
        &self,
        method: &str,
        path: &str,
        query: &[(String, String)],
        headers: &[(String, String)],
        payload: &str,
        date: &str,
    ) -> Seal {
        let mut sorted = headers.to_vec();
        sorted.sort();
        let lines: String = sorted.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
        let canonical = format!(
            "{method}\n{}\n{}\n{lines}\n{}\n{payload}",
            encode_path(path),
            encode_query(query),
            signed_names(headers)
        );
        let scope = self.scope(date);
        let key = self.day_key(date);
        let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", sha256_hex(canonical.as_bytes()));
        Seal { key, date: date.to_owned(), scope, signature: hex::encode(hmac(&key, &text)) }
    }
}

/// The names of the signed headers, as both the header and the query want them.
#[must_use]
pub fn signed_names(headers: &[(String, String)]) -> String {
    let mut names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names.join(";")
}

impl Seal {
    /// The seal of the chunk that follows.
    #[must_use]
    pub fn chunk(&self, bytes: &[u8]) -> Self {
        let empty = sha256_hex(b"");
        self.follow("AWS4-HMAC-SHA256-PAYLOAD", &format!("{empty}\n{}", sha256_hex(bytes)))
    }

    /// The seal of the trailer that follows the last chunk.
    #[must_use]
    pub fn trailer(&self, name: &str, value: &str) -> Self {
        self.follow("AWS4-HMAC-SHA256-TRAILER", &sha256_hex(format!("{name}:{value}\n").as_bytes()))
    }

    fn follow(&self, kind: &str, what: &str) -> Self {
        let text = format!("{kind}\n{}\n{}\n{}\n{what}", self.date, self.scope, self.signature);
        Self { signature: hex::encode(hmac(&self.key, &text)), ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Keys {
        Keys {
            access_key: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned(),
            region: "us-east-1".to_owned(),
        }
    }

    fn headers(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    const DATE: &str = "20130524T000000Z";

    // The examples that AWS publishes with the description of the signature.
    #[test]
    fn a_published_example_of_a_request_is_signed_as_published() {
        let empty = sha256_hex(b"");
        let headers = headers(&[
            ("host", "examplebucket.s3.amazonaws.com"),
            ("range", "bytes=0-9"),
            ("x-amz-content-sha256", &empty),
            ("x-amz-date", DATE),
        ]);
        let seal = keys().sign("GET", "/test.txt", &[], &headers, &empty, DATE);
        assert_eq!(seal.signature, "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
    }

    #[test]
    fn a_published_example_of_chunks_is_signed_as_published() {
        let payload = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
        let headers = headers(&[
            ("content-encoding", "aws-chunked"),
            ("content-length", "66824"),
            ("host", "s3.amazonaws.com"),
            ("x-amz-content-sha256", payload),
            ("x-amz-date", DATE),
            ("x-amz-decoded-content-length", "66560"),
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
        ]);
        let seal = keys().sign("PUT", "/examplebucket/chunkObject.txt", &[], &headers, payload, DATE);
        assert_eq!(seal.signature, "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9");
        let first = seal.chunk(&[b'a'; 65_536]);
        assert_eq!(first.signature, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648");
        let second = first.chunk(&[b'a'; 1024]);
        assert_eq!(second.signature, "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497");
        let last = second.chunk(b"");
        assert_eq!(last.signature, "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9");
    }
}
