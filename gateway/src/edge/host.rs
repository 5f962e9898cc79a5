//! Buckets in host names: `<bucket>.<domain>` and nothing else. Any other host is path style, so that a health check or
//! a client that reaches the gateway by another name never names a bucket by it.

use s3s::S3Result;
use s3s::host::{S3Host, VirtualHost};

/// The domain under which buckets are hosts.
#[derive(Debug, Clone)]
pub(super) struct Domain {
    domain: String,
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

impl Domain {
    pub(super) fn new(domain: &str) -> Self {
        Self { domain: without_port(domain).trim_matches('.').to_ascii_lowercase() }
    }

    pub(super) fn bucket(&self, host: &str) -> Option<String> {
        let host = without_port(host).trim_end_matches('.').to_ascii_lowercase();
        let bucket = host.strip_suffix(&self.domain)?.strip_suffix('.')?;
        (!bucket.is_empty()).then(|| bucket.to_owned())
    }
}

impl S3Host for Domain {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        Ok(match self.bucket(host) {
            Some(bucket) => VirtualHost::new(self.domain.as_str()).with_bucket(bucket),
            None => VirtualHost::new(host),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_before_the_domain_is_a_bucket() {
        let domain = Domain::new("S3.example.com:9000");
        for (host, bucket) in [
            ("guide-board.s3.example.com", Some("guide-board")),
            ("Guide-Board.S3.Example.Com:9000", Some("guide-board")),
            ("a.b.s3.example.com", Some("a.b")),
            ("s3.example.com", None),
            ("s3.example.com:9000", None),
            ("xs3.example.com", None),
            (".s3.example.com", None),
            ("localhost:9000", None),
            ("guide-board.example.org", None),
        ] {
            assert_eq!(domain.parse_host_header(host).unwrap().bucket(), bucket, "{host}");
        }
    }
}
