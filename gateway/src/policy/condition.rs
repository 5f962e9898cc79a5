//! Conditions of policies: what else has to be so of a request for a statement to be about it.
//!
//! Invariant: a condition whose operator or key is not known here makes no policy.

use std::borrow::Cow;

use artifactstore_registry::model::cbor::TextMap;
use http::HeaderMap;
use percent_encoding::percent_decode_str;

use super::pattern::{PATTERN_CHARACTERS_MAX, check_length, fits};
use super::{malformed, not_carried_out};
use crate::edge::forwarded::{Client, Network};
use crate::error::Failure;

/// What conditions are compared with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub(crate) headers: &'a HeaderMap,
    /// The query, as it stands in the address.
    pub(crate) query: &'a str,
    pub(crate) client: Option<&'a Client>,
    /// The tags of the file that the request is about, before it; nothing when there is no such file.
    pub(crate) tags: Option<&'a TextMap>,
    /// Whether it goes on with an upload, whose creation had the headers of the file.
    pub(crate) of_upload: bool,
}

/// The headers of a write that policies can ask for.
const HEADERS: [&str; 17] = [
    "x-amz-acl",
    "x-amz-copy-source",
    "x-amz-grant-full-control",
    "x-amz-grant-read",
    "x-amz-grant-read-acp",
    "x-amz-grant-write",
    "x-amz-grant-write-acp",
    "x-amz-metadata-directive",
    "x-amz-object-lock-legal-hold",
    "x-amz-object-lock-mode",
    "x-amz-object-lock-retain-until-date",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-customer-algorithm",
    "x-amz-storage-class",
    "x-amz-tagging-directive",
    "x-amz-website-redirect-location",
];

/// What of a request a condition is about.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Key {
    SecureTransport,
    SourceIp,
    Header(&'static str),
    /// A name in the query.
    Query(&'static str),
    ExistingTag(String),
}

impl Key {
    fn parse(name: &str) -> Result<Self, Failure> {
        let small = name.to_ascii_lowercase();
        let of_header = |text: &str| HEADERS.into_iter().find(|header| *header == text);
        if let Some(tag) =
            small.strip_prefix("s3:existingobjecttag/").and_then(|tag| name.get(name.len() - tag.len()..))
        {
            return Ok(Self::ExistingTag(tag.to_owned()));
        }
        Ok(match small.as_str() {
            "aws:securetransport" => Self::SecureTransport,
            "aws:sourceip" => Self::SourceIp,
            "aws:referer" => Self::Header("referer"),
            "aws:useragent" => Self::Header("user-agent"),
            "s3:prefix" => Self::Query("prefix"),
            "s3:delimiter" => Self::Query("delimiter"),
            "s3:max-keys" => Self::Query("max-keys"),
            "s3:versionid" => Self::Query("versionId"),
            other => match other.strip_prefix("s3:").and_then(of_header) {
                Some(header) => Self::Header(header),
                None => return Err(not_carried_out(format_args!("the condition key {name}"))),
            },
        })
    }

    /// What the request says of it; nothing when it says nothing.
    fn of<'a>(&self, facts: &Facts<'a>) -> Option<Cow<'a, str>> {
        match self {
            Self::SecureTransport => {
                Some(Cow::Borrowed(if facts.client.is_some_and(|client| client.tls) { "true" } else { "false" }))
            }
            Self::SourceIp => facts.client.map(|client| Cow::Owned(client.address.to_string())),
            Self::Header(name) => {
                let text = String::from_utf8_lossy(facts.headers.get(*name)?.as_bytes());
                Some(if *name == "x-amz-copy-source" { Cow::Owned(source(&text)) } else { text })
            }
            Self::Query(name) => {
                let mut pairs = form_urlencoded::parse(facts.query.as_bytes());
                pairs.find(|(own, _)| own.as_ref() == *name).map(|(_, value)| value)
            }
            Self::ExistingTag(tag) => facts.tags?.get(tag).map(Cow::Borrowed),
        }
    }
}

/// The source of a copy as `<bucket>/<key>`.
fn source(text: &str) -> String {
    let whole = percent_decode_str(text.split("?versionId=").next().unwrap_or_default()).decode_utf8_lossy();
    whole.trim_start_matches('/').to_owned()
}

fn is_of_acl(header: &str) -> bool {
    header == "x-amz-acl" || header.starts_with("x-amz-grant-")
}

/// What requests are about that alone say anything of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    /// What a bucket has.
    Listing,
    /// One object.
    Objects,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Test {
    Equals,
    EqualsIgnoreCase,
    Like,
    Address,
    /// Whether there is nothing.
    Null,
}

/// One operator, one key, and what it is compared with: any of the values fits, or none of them where it is negated.
#[derive(Debug)]
pub(super) struct Condition {
    test: Test,
    negated: bool,
    if_exists: bool,
    key: Key,
    values: Vec<String>,
    networks: Vec<Network>,
}

impl Condition {
    pub(super) fn parse(operator: &str, key: &str, values: Vec<String>) -> Result<Self, Failure> {
        let (name, if_exists) =
            operator.strip_suffix("IfExists").map_or((operator, false), |operator| (operator, true));
        let (test, negated) = match name {
            "StringEquals" => (Test::Equals, false),
            "StringNotEquals" => (Test::Equals, true),
            "Bool" | "StringEqualsIgnoreCase" => (Test::EqualsIgnoreCase, false),
            "StringNotEqualsIgnoreCase" => (Test::EqualsIgnoreCase, true),
            "StringLike" => (Test::Like, false),
            "StringNotLike" => (Test::Like, true),
            "IpAddress" => (Test::Address, false),
            "NotIpAddress" => (Test::Address, true),
            "Null" if !if_exists => (Test::Null, false),
            _ => return Err(not_carried_out(format_args!("the condition operator {operator}"))),
        };
        if values.is_empty() || values.iter().any(|value| value.contains("${")) {
            return Err(not_carried_out("variables, or no values, in a condition"));
        }
        check_length(&values)?;
        let key = Key::parse(key)?;
        if (test == Test::Address) != (key == Key::SourceIp) && test != Test::Null {
            return Err(malformed("aws:SourceIp goes with IpAddress and NotIpAddress, and these with nothing else."));
        }
        let truth = name == "Bool" || test == Test::Null;
        if truth && values.iter().any(|value| !matches!(value.to_ascii_lowercase().as_str(), "true" | "false")) {
            return Err(malformed(format!("{operator} is compared with true or false.")));
        }
        let networks = if test == Test::Address {
            let parsed: Result<_, _> = values.iter().map(|value| value.parse()).collect();
            parsed.map_err(|_| malformed("aws:SourceIp is compared with addresses and networks such as 10.0.0.0/8."))?
        } else {
            Vec::new()
        };
        Ok(Self { test, negated, if_exists, key, values, networks })
    }

    /// Whether what the request says is longer than anything that patterns are compared with.
    pub(super) fn is_beyond(&self, facts: &Facts<'_>) -> bool {
        self.test == Test::Like && self.key.of(facts).is_some_and(|value| value.len() > 2 * PATTERN_CHARACTERS_MAX)
    }

    pub(super) fn holds(&self, facts: &Facts<'_>) -> bool {
        let value = self.key.of(facts);
        if self.test == Test::Null {
            let said = if value.is_none() { "true" } else { "false" };
            return self.values.iter().any(|value| value.eq_ignore_ascii_case(said));
        }
        let Some(value) = value else { return self.if_exists || self.negated };
        let fitting = match self.test {
            Test::Equals => self.values.iter().any(|own| *own == value),
            Test::EqualsIgnoreCase => self.values.iter().any(|own| own.to_lowercase() == value.to_lowercase()),
            Test::Like => self.values.iter().any(|own| fits(own, &value)),
            Test::Address | Test::Null => {
                value.parse().is_ok_and(|address| self.networks.iter().any(|network| network.contains(address)))
            }
        };
        fitting != self.negated
    }

    /// Whether it is about what is said once for a file, when its upload is created, and not with each part.
    pub(super) fn is_of_creation(&self) -> bool {
        matches!(self.key, Key::Header(name) if name.starts_with("x-amz-") && name != "x-amz-copy-source")
    }

    /// Which requests alone can say anything of its key, and what that is called; nothing for a key of any request.
    pub(super) fn subject(&self) -> Option<(Subject, String)> {
        match &self.key {
            Key::ExistingTag(tag) => Some((Subject::Objects, format!("s3:ExistingObjectTag/{tag}"))),
            Key::Query("versionId") => Some((Subject::Objects, "s3:VersionId".to_owned())),
            Key::Query(name) => Some((Subject::Listing, format!("s3:{name}"))),
            // An ACL can be a bucket's.
            Key::Header(name) if name.starts_with("x-amz-") && !is_of_acl(name) => {
                Some((Subject::Objects, format!("s3:{name}")))
            }
            Key::SecureTransport | Key::SourceIp | Key::Header(_) => None,
        }
    }

    pub(super) const fn is_of_tags(&self) -> bool {
        matches!(self.key, Key::ExistingTag(_))
    }

    /// Whether it keeps a statement for anyone from being for the public: it names the networks that they come from.
    pub(super) fn narrows(&self) -> bool {
        self.test == Test::Address
            && !self.negated
            && !self.if_exists
            && self.networks.iter().all(|network| !network.is_broad())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(operator: &str, key: &str, values: &[&str]) -> Condition {
        Condition::parse(operator, key, values.iter().map(|value| (*value).to_owned()).collect()).unwrap()
    }

    #[test]
    fn what_is_not_there_fits_only_what_is_negated_or_need_not_be_there() {
        let headers = HeaderMap::new();
        let facts = Facts { headers: &headers, query: "prefix=a%2Fb", client: None, tags: None, of_upload: false };
        for (operator, key, value, holds) in [
            ("StringLike", "s3:prefix", "a/*", true),
            ("StringNotLike", "s3:prefix", "a/*", false),
            ("StringEquals", "S3:Prefix", "a/b", true),
            ("StringEquals", "s3:delimiter", "/", false),
            ("StringEqualsIfExists", "s3:delimiter", "/", true),
            ("StringNotEquals", "s3:x-amz-acl", "private", true),
            ("Null", "s3:x-amz-server-side-encryption", "true", true),
            ("Null", "s3:prefix", "true", false),
            ("Bool", "aws:SecureTransport", "false", true),
            ("IpAddress", "aws:SourceIp", "10.0.0.0/8", false),
            ("NotIpAddress", "aws:SourceIp", "10.0.0.0/8", true),
            ("StringEquals", "s3:ExistingObjectTag/a", "b", false),
        ] {
            assert_eq!(condition(operator, key, &[value]).holds(&facts), holds, "{operator} {key} {value}");
        }
    }

    #[test]
    fn what_a_request_says_is_compared() {
        let headers: HeaderMap = [("x-amz-copy-source", "/lab/a%20b?versionId=3"), ("referer", "http://example.com/x")]
            .into_iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), http::HeaderValue::from_static(value)))
            .collect();
        let client = Client { address: "10.1.2.3".parse().unwrap(), tls: true, host: None };
        let tags: TextMap = [("Team".to_owned(), "red".to_owned())].into_iter().collect();
        let facts = Facts { headers: &headers, query: "", client: Some(&client), tags: Some(&tags), of_upload: false };
        for (operator, key, values, holds) in [
            ("StringEquals", "s3:x-amz-copy-source", &["lab/a b"][..], true),
            ("StringLike", "aws:Referer", &["http://example.org/*", "http://example.com/*"], true),
            ("IpAddress", "aws:SourceIp", &["192.168.0.0/16", "10.1.2.3"], true),
            ("Bool", "aws:SecureTransport", &["true"], true),
            ("StringEquals", "s3:ExistingObjectTag/Team", &["red"], true),
            ("StringEquals", "s3:ExistingObjectTag/team", &["red"], false),
            ("StringNotEqualsIgnoreCase", "s3:ExistingObjectTag/Team", &["RED"], false),
        ] {
            assert_eq!(condition(operator, key, values).holds(&facts), holds, "{operator} {key} {values:?}");
        }
    }

    #[test]
    fn what_is_not_known_makes_no_condition() {
        for (operator, key, value, code) in [
            ("DateLessThan", "aws:CurrentTime", "2026-01-01T00:00:00Z", "NotImplemented"),
            ("StringEquals", "aws:PrincipalOrgID", "o-1", "NotImplemented"),
            ("StringEquals", "s3:RequestObjectTag/a", "b", "NotImplemented"),
            ("StringLike", "s3:prefix", "${aws:username}/*", "NotImplemented"),
            ("Bool", "aws:SecureTransport", "yes", "MalformedPolicy"),
            ("IpAddress", "aws:SourceIp", "here", "MalformedPolicy"),
            ("StringEquals", "aws:SourceIp", "10.0.0.1", "MalformedPolicy"),
        ] {
            let failure = Condition::parse(operator, key, vec![value.to_owned()]).unwrap_err();
            assert_eq!(failure.face().code, code, "{operator} {key}");
        }
    }
}
