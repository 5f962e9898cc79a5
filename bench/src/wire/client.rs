//! S3 requests as bytes: the head, signed and ready for the socket.

use std::net::SocketAddr;

use anyhow::{Context as _, bail, ensure};
use artifactstore_tests::sign::{Keys, date_now, encode_path, encode_query, signed_names};

use super::http::{Answer, Connection, Take};
use super::payload::Body;

/// A server to ask, and how.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where it listens.
    pub address: SocketAddr,
    /// The keys to sign with; without them nothing is signed.
    pub keys: Option<Keys>,
    /// The bucket.
    pub bucket: String,
    /// Whether bodies are signed with their SHA-256, which the client then has to compute.
    pub signed_payload: bool,
}

/// What of a request stands in its head.
#[derive(Debug, Clone, Copy, Default)]
pub struct Call<'a> {
    /// The method.
    pub method: &'a str,
    /// The key; empty for the bucket itself.
    pub key: &'a str,
    /// The query.
    pub query: &'a [(&'a str, &'a str)],
    /// The first and the last byte wanted.
    pub range: Option<(u64, u64)>,
}

const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

impl Target {
    /// The head of a request whose body has this size and this `x-amz-content-sha256`.
    #[must_use]
    pub fn head(&self, call: Call<'_>, size_bytes: Option<u64>, payload: &str) -> Vec<u8> {
        let path =
            if call.key.is_empty() { format!("/{}", self.bucket) } else { format!("/{}/{}", self.bucket, call.key) };
        let query: Vec<(String, String)> =
            call.query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut head = format!("{} {}", call.method, encode_path(&path));
        if !query.is_empty() {
            head.push('?');
            head.push_str(&encode_query(&query));
        }
        head.push_str(" HTTP/1.1\r\n");
        let host = self.address.to_string();
        match &self.keys {
            None => push(&mut head, "host", &host),
            Some(keys) => {
                let date = date_now();
                let headers = [("host", host.as_str()), ("x-amz-content-sha256", payload), ("x-amz-date", &date)];
                let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
                let seal = keys.sign(call.method, &path, &query, &headers, payload, &date);
                headers.iter().for_each(|(name, value)| push(&mut head, name, value));
                let (key, names) = (&keys.access_key, signed_names(&headers));
                let signature = seal.signature;
                let value = format!(
                    "AWS4-HMAC-SHA256 Credential={key}/{},SignedHeaders={names},Signature={signature}",
                    seal.scope
                );
                push(&mut head, "authorization", &value);
            }
        }
        if let Some((first, last)) = call.range {
            push(&mut head, "range", &format!("bytes={first}-{last}"));
        }
        if let Some(size) = size_bytes {
            push(&mut head, "content-length", &size.to_string());
        }
        head.push_str("\r\n");
        head.into_bytes()
    }

    /// The head of a request without a body.
    #[must_use]
    pub fn bodiless(&self, call: Call<'_>) -> Vec<u8> {
        let size = matches!(call.method, "PUT" | "POST").then_some(0);
        self.head(call, size, EMPTY_SHA256)
    }

    /// Sends a body; what comes back has a status of success.
    ///
    /// # Errors
    /// When it could not be sent, or was refused.
    pub async fn send(
        &self,
        connection: &mut Connection,
        call: Call<'_>,
        body: &Body,
        payload: Option<&str>,
    ) -> anyhow::Result<Answer> {
        let head = match (payload, self.signed_payload) {
            (Some(payload), _) => self.head(call, Some(body.size_bytes()), payload),
            (None, true) => self.head(call, Some(body.size_bytes()), &body.sha256_hex()),
            (None, false) => self.head(call, Some(body.size_bytes()), UNSIGNED),
        };
        succeeded(connection.exchange(&head, Some(body), Take::Discard).await?)
    }

    /// Asks without a body, and keeps what comes back.
    ///
    /// # Errors
    /// When it could not be sent, or was refused.
    pub async fn ask(&self, connection: &mut Connection, call: Call<'_>) -> anyhow::Result<Answer> {
        succeeded(connection.exchange(&self.bodiless(call), None, Take::Keep).await?)
    }

    /// Sends a document, and keeps what comes back. What is an error within a success is an error.
    ///
    /// # Errors
    /// When it could not be sent, or was refused.
    pub async fn tell(&self, connection: &mut Connection, call: Call<'_>, xml: &str) -> anyhow::Result<Answer> {
        let payload = artifactstore_tests::sign::sha256_hex(xml.as_bytes());
        let mut request = self.head(call, Some(xml.len() as u64), &payload);
        request.extend_from_slice(xml.as_bytes());
        let answer = succeeded(connection.exchange(&request, None, Take::Keep).await?)?;
        // S3 may answer 200 before it knows, and tell of the error in the body.
        ensure!(!String::from_utf8_lossy(&answer.body).contains("<Error>"), "{}", shown(&answer));
        Ok(answer)
    }

    /// Makes the bucket; one that is there already is fine.
    ///
    /// # Errors
    /// When the server does not make it.
    pub async fn make_bucket(&self, connection: &mut Connection) -> anyhow::Result<()> {
        let call = Call { method: "PUT", ..Call::default() };
        let answer = connection.exchange(&self.bodiless(call), None, Take::Keep).await?;
        if !matches!(answer.status, 200 | 409) {
            bail!("the bucket was not made: {}", shown(&answer));
        }
        Ok(())
    }
}

fn push(head: &mut String, name: &str, value: &str) {
    for part in [name, ": ", value, "\r\n"] {
        head.push_str(part);
    }
}

/// The answer, if it tells of success.
///
/// # Errors
/// With the status and the beginning of the body, if it does not.
pub fn succeeded(answer: Answer) -> anyhow::Result<Answer> {
    if (200..300).contains(&answer.status) { Ok(answer) } else { bail!("{}", shown(&answer)) }
}

fn shown(answer: &Answer) -> String {
    let text: String = String::from_utf8_lossy(&answer.body).chars().take(300).collect();
    format!("{}: {text}", answer.status)
}

/// The text of the first element of this name.
///
/// # Errors
/// When there is none.
pub fn element<'a>(xml: &'a str, name: &str) -> anyhow::Result<&'a str> {
    let inner = || {
        let (_, rest) = xml.split_once(&format!("<{name}>"))?;
        Some(rest.split_once(&format!("</{name}>"))?.0)
    };
    inner().with_context(|| format!("no {name} in {xml}"))
}
