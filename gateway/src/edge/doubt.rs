//! Requests that can be read in two ways, or whose reading nobody has paid for yet: refused before a signature is
//! looked at, because what was signed and what would be done could be two things.
//!
//! Invariant: no header or query name that decides what a request means comes twice.

use artifactstore_registry::clock::{Clock as _, SystemClock, Timestamp};
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderName};
use http::request::Parts;
use http::{HeaderMap, Method, Uri};
use time::OffsetDateTime;
use time::format_description::well_known::{Iso8601, Rfc2822};

use super::service::{LINK_MAX_SECONDS, Old, header};
use crate::error::Failure;

/// Most that a request's date may be off.
const SKEW_MAX_SECONDS: i64 = 15 * 60;
/// What may stand in the query of a link of Signature Version 2: what it signs by its own rules, ...
const V2_SIGNED: [&str; 24] = [
    "AWSAccessKeyId",
    "Expires",
    "Signature",
    "acl",
    "delete",
    "lifecycle",
    "location",
    "logging",
    "notification",
    "partNumber",
    "policy",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "tagging",
    "uploadId",
    "uploads",
    "versionId",
    "versioning",
    "versions",
    "website",
];
/// ... and what only says which part of a list is wanted.
const V2_HARMLESS: [&str; 15] = [
    "continuation-token",
    "delimiter",
    "encoding-type",
    "fetch-owner",
    "key-marker",
    "list-type",
    "marker",
    "max-keys",
    "max-parts",
    "max-uploads",
    "part-number-marker",
    "prefix",
    "start-after",
    "upload-id-marker",
    "version-id-marker",
];

/// Whether anything in the query is what no XML can have.
pub(super) fn has_control_characters(uri: &Uri) -> bool {
    let odd = |text: &str| text.chars().any(char::is_control);
    decoded(uri.query().unwrap_or_default()).iter().any(|(name, value)| odd(name) || odd(value))
}

/// Why a request is refused, if it is one of those.
pub(super) fn refusal(parts: &Parts, old: Old) -> Option<Failure> {
    if let Some(name) = repeated(&parts.headers) {
        return Some(Failure::request(400, "InvalidRequest", format!("The header {name} was sent more than once.")));
    }
    if parts.method == Method::POST && is_form(&parts.headers) && !parts.headers.contains_key(CONTENT_LENGTH) {
        // s3s streams the file of a form when it can tell its length, and would gather it in memory otherwise.
        return Some(Failure::request(411, "MissingContentLength", "A form needs the Content-Length HTTP header."));
    }
    let query = decoded(parts.uri.query().unwrap_or_default());
    if query.iter().any(|(name, value)| name.contains('\0') || value.contains('\0')) {
        return Some(Failure::request(400, "InvalidArgument", "No name has a NUL, and nothing is behind one."));
    }
    if let Some(name) = unsigned(&parts.headers, &query) {
        return Some(Failure::request(403, "AccessDenied", format!("The header {name} is not signed.")));
    }
    if is_skewed(&parts.headers, &query, SystemClock.now()) {
        let message = "The difference between the request time and the server's time is too large.";
        return Some(Failure::request(403, "RequestTimeTooSkewed", message));
    }
    let v2 =
        query.iter().any(|(name, _)| name == "Signature") && query.iter().any(|(name, _)| name == "AWSAccessKeyId");
    if v2 && old.links {
        return link_of_v2(&query);
    }
    let in_header = header(&parts.headers, &AUTHORIZATION).is_some_and(|it| it.starts_with("AWS "));
    if in_header && old.headers { headers_of_v2(&parts.headers, &query, SystemClock.now()) } else { None }
}

/// What the headers of this gateway begin with that say what is to be done. Those of S3 are looked at by s3s.
const OWN_HEADERS: &str = "x-artifact-";

/// A header of those that no signature covers: whoever holds a link could add it, and it would count as the signer's.
fn unsigned<'a>(headers: &'a HeaderMap, query: &[(String, String)]) -> Option<&'a HeaderName> {
    let mut own = headers.keys().filter(|name| name.as_str().starts_with(OWN_HEADERS)).peekable();
    own.peek()?;
    let in_header = header(headers, &AUTHORIZATION)
        .and_then(|text| text.split([' ', ',']).find_map(|part| part.strip_prefix("SignedHeaders=")));
    let in_query = || query.iter().find(|(name, _)| name == "X-Amz-SignedHeaders").map(|(_, value)| value.as_str());
    let signed = in_header.or_else(in_query).unwrap_or_default();
    own.find(|name| !signed.split(';').any(|signed| signed.eq_ignore_ascii_case(name.as_str())))
}

/// Headers that are lists, of which some clients send each member by itself.
const LISTS: [&str; 2] = ["x-amz-object-attributes", "x-amz-optional-object-attributes"];

/// A header that came twice although one is meant. Metadata that comes twice is one value with a comma, as in S3.
fn repeated(headers: &HeaderMap) -> Option<&HeaderName> {
    let decides = |name: &HeaderName| {
        let text = name.as_str();
        let amz = text.starts_with("x-amz-") && !text.starts_with("x-amz-meta-") && !LISTS.contains(&text);
        let own = text.starts_with(OWN_HEADERS);
        amz || own || *name == AUTHORIZATION || *name == CONTENT_TYPE || text == "content-md5" || text == "date"
    };
    headers.keys().find(|name| decides(name) && headers.get_all(*name).iter().nth(1).is_some())
}

/// Whether s3s would read a form: it takes bytes in the content type that are no ASCII.
pub(super) fn is_form(headers: &HeaderMap) -> bool {
    let is = |value: &[u8]| value.trim_ascii_start().to_ascii_lowercase().starts_with(b"multipart/form-data");
    headers.get_all(CONTENT_TYPE).iter().any(|value| is(value.as_bytes()))
}

fn decoded(query: &str) -> Vec<(String, String)> {
    form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

/// Whether a request that is signed in its headers, or a link, has a date that cannot be: s3s has one bound for these
/// and for forms, whose policies say themselves until when they hold.
fn is_skewed(headers: &HeaderMap, query: &[(String, String)], now: Timestamp) -> bool {
    let off = |text: &str| {
        let date = OffsetDateTime::parse(text, &Iso8601::PARSING).ok()?;
        Some(now.to_parts().0 - date.unix_timestamp())
    };
    if headers.contains_key(AUTHORIZATION) {
        let date = header(headers, &HeaderName::from_static("x-amz-date"));
        return date.and_then(off).is_some_and(|off| off.abs() > SKEW_MAX_SECONDS);
    }
    let date = query.iter().find(|(name, _)| name == "X-Amz-Date");
    date.and_then(|(_, text)| off(text)).is_some_and(|off| off < -SKEW_MAX_SECONDS)
}

/// A link of Signature Version 2 signs few names of its query, and none that comes twice: whoever holds it could make
/// another operation of it by one that it does not sign.
fn link_of_v2(query: &[(String, String)]) -> Option<Failure> {
    if let Some(refused) = unsigned_by_v2(query) {
        return Some(refused);
    }
    let ends = query.iter().find(|(name, _)| name == "Expires").and_then(|(_, text)| text.parse::<i64>().ok());
    let last = SystemClock.now().to_parts().0.saturating_add(LINK_MAX_SECONDS.into());
    let holds_too_long = ends.is_none_or(|end| end > last);
    holds_too_long.then(|| Failure::request(403, "AccessDenied", "A link holds for seven days at most."))
}

/// A name in a query that Signature Version 2 does not sign, or that comes twice.
fn unsigned_by_v2(query: &[(String, String)]) -> Option<Failure> {
    let count = |name: &str| query.iter().filter(|(other, _)| other == name).count();
    let may = |name: &str| V2_SIGNED.contains(&name) || V2_HARMLESS.contains(&name);
    let (name, _) = query.iter().find(|(name, _)| count(name) > 1 || !may(name))?;
    let message = format!("Signature Version 2 does not sign {name:?} as it stands in the query.");
    Some(Failure::request(403, "AccessDenied", message))
}

/// A request that is signed in its headers by Signature Version 2 has a date, within what a clock may be off.
fn headers_of_v2(headers: &HeaderMap, query: &[(String, String)], now: Timestamp) -> Option<Failure> {
    if let Some(refused) = unsigned_by_v2(query) {
        return Some(refused);
    }
    let date = headers.get("x-amz-date").or_else(|| headers.get(DATE)).and_then(|date| date.to_str().ok());
    let read = |text: &str| {
        OffsetDateTime::parse(text, &Rfc2822).or_else(|_| OffsetDateTime::parse(text, &Iso8601::PARSING)).ok()
    };
    let Some(at) = date.and_then(read).map(OffsetDateTime::unix_timestamp).filter(|at| *at >= 0) else {
        let message = "AWS authentication requires a valid Date or x-amz-date header.";
        return Some(Failure::request(403, "AccessDenied", message));
    };
    let off = now.to_parts().0 - at;
    let message = "The difference between the request time and the server's time is too large.";
    (off.abs() > SKEW_MAX_SECONDS).then(|| Failure::request(403, "RequestTimeTooSkewed", message))
}

#[cfg(test)]
mod tests {
    use artifactstore_registry::clock::Timestamp;
    use http::header::CONTENT_TYPE;
    use http::{HeaderMap, HeaderValue};

    use super::{decoded, headers_of_v2, is_form, is_skewed, link_of_v2, repeated, unsigned};

    #[test]
    fn what_decides_comes_once() {
        let mut headers = HeaderMap::new();
        headers.append("x-amz-meta-a", HeaderValue::from_static("1"));
        headers.append("x-amz-meta-a", HeaderValue::from_static("2"));
        headers.append("x-amz-object-attributes", HeaderValue::from_static("ETag"));
        headers.append("x-amz-object-attributes", HeaderValue::from_static("ObjectSize"));
        headers.append("x-amz-content-sha256", HeaderValue::from_static("1"));
        assert_eq!(repeated(&headers), None);
        headers.append("x-amz-content-sha256", HeaderValue::from_static("1"));
        assert_eq!(repeated(&headers).unwrap(), "x-amz-content-sha256");
    }

    #[test]
    fn what_says_what_is_to_be_done_is_signed() {
        let with = |proof: &'static str, query: &str| {
            let mut headers = HeaderMap::new();
            headers.append("x-artifact-retention-class", HeaderValue::from_static("permanent"));
            if !proof.is_empty() {
                headers.append("authorization", HeaderValue::from_static(proof));
            }
            unsigned(&headers, &decoded(query)).is_none()
        };
        let proof = "AWS4-HMAC-SHA256 Credential=K/20130524/us-east-1/s3/aws4_request, \
                     SignedHeaders=host;x-artifact-retention-class;x-amz-date, Signature=0";
        assert!(with(proof, ""));
        assert!(with("AWS4-HMAC-SHA256 Credential=K,SignedHeaders=host;X-Artifact-Retention-Class,Signature=0", ""));
        assert!(with("", "X-Amz-SignedHeaders=host%3Bx-artifact-retention-class"));
        assert!(!with("AWS4-HMAC-SHA256 Credential=K, SignedHeaders=host;x-amz-date, Signature=0", ""));
        assert!(!with("AWS4-HMAC-SHA256 SignedHeaders=host", "X-Amz-SignedHeaders=x-artifact-retention-class"));
        assert!(!with("", "X-Amz-SignedHeaders=host") && !with("AWS K:S", "") && !with("", ""));
        assert_eq!(unsigned(&HeaderMap::new(), &[]), None);
    }

    #[test]
    fn a_form_is_one_whatever_its_parameters_are() {
        let with = |value: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.append(CONTENT_TYPE, HeaderValue::from_bytes(value).unwrap());
            is_form(&headers)
        };
        assert!(with(b"multipart/form-data; boundary=B"));
        assert!(with(" Multipart/Form-Data; boundary=B; x=\"\u{e9}\"".as_bytes()));
        assert!(!with(b"application/xml"));
    }

    #[test]
    fn a_date_in_the_headers_is_bound_on_both_sides_and_one_of_a_link_ahead() {
        let now = Timestamp(1_369_353_600_000_000);
        let signed = |date: &'static str| {
            let mut headers = HeaderMap::new();
            headers.append("authorization", HeaderValue::from_static("AWS4-HMAC-SHA256 Credential=x"));
            headers.append("x-amz-date", HeaderValue::from_static(date));
            is_skewed(&headers, &[], now)
        };
        assert!(!signed("20130524T000000Z") && !signed("20130524T001500Z") && !signed("20130523T234500Z"));
        assert!(signed("20130524T001501Z") && signed("20130523T234459Z"));
        let link = |date: &str| is_skewed(&HeaderMap::new(), &decoded(&format!("X-Amz-Date={date}")), now);
        assert!(!link("20130520T000000Z") && !link("20130524T001500Z"));
        assert!(link("20130524T001501Z"));
    }

    #[test]
    fn a_link_of_the_second_version_has_nothing_that_it_does_not_sign() {
        let refused = |query: &str| link_of_v2(&decoded(query)).is_some();
        let plain = "AWSAccessKeyId=a&Signature=s&Expires=1";
        assert!(!refused(plain) && !refused(&format!("{plain}&versionId=3&prefix=x")));
        for more in ["&policy&policy", "&x-id=GetBucketPolicy", "&retention", "&X-Amz-Date=1", "&Expires=2"] {
            assert!(refused(&format!("{plain}{more}")), "{more}");
        }
        assert!(refused("AWSAccessKeyId=a&Si%67nature=s&Expires=99999999999"));
    }
    #[test]
    fn a_date_of_the_second_version_is_one_and_not_far_off() {
        let now = Timestamp(1_369_353_600_000_000);
        let code = |name: &'static str, date: &'static str, query: &str| {
            let headers: HeaderMap =
                [(http::HeaderName::from_static(name), HeaderValue::from_static(date))].into_iter().collect();
            headers_of_v2(&headers, &decoded(query), now).map(|failure| failure.face().code)
        };
        let good = "Fri, 24 May 2013 00:00:00 GMT";
        assert_eq!(code("date", good, "prefix=a"), None);
        assert_eq!(code("x-amz-date", "Fri, 24 May 2013 00:14:00 +0000", ""), None);
        assert_eq!(code("date", "Fri, 24 May 2013 00:16:00 GMT", ""), Some("RequestTimeTooSkewed"));
        for bad in ["", "Bad Date", "Tue, 07 Jul 1950 21:53:04 GMT"] {
            assert_eq!(code("x-amz-date", bad, ""), Some("AccessDenied"), "{bad}");
        }
        assert_eq!(code("host", "x", ""), Some("AccessDenied"));
        assert_eq!(code("date", good, "retention"), Some("AccessDenied"));
    }
}
