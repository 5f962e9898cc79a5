//! What browsers of other origins are told: the rules of a bucket's CORS configuration, and which of them fits a request.
//!
//! A preflight is not signed, so that it learns no more than whether a rule fits it.

use artifactstore_registry::Registry;
use artifactstore_registry::model::name::ProducerName;
use artifactstore_registry::model::row::Subresource;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderName, HeaderValue, ORIGIN, VARY,
};
use http::{HeaderMap, Method};
use s3s::dto::{CORSConfiguration, CORSRule};

use super::{configuration, header};
use crate::error::Failure;

/// What says which request headers a preflight is about, and so what its answer depends on.
const VARIES: HeaderValue =
    HeaderValue::from_static("Origin, Access-Control-Request-Headers, Access-Control-Request-Method");

/// Whether a text is what a pattern with at most one `*` says.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, tail)) => text.len() >= head.len() + tail.len() && text.starts_with(head) && text.ends_with(tail),
    }
}

/// What a browser asks for.
struct Ask<'a> {
    origin: &'a str,
    method: &'a str,
    headers: Vec<String>,
}

fn allows(rule: &CORSRule, ask: &Ask<'_>) -> bool {
    let patterns: Vec<String> =
        rule.allowed_headers.iter().flatten().map(|pattern| pattern.to_ascii_lowercase()).collect();
    rule.allowed_origins.iter().any(|pattern| fits(pattern, ask.origin))
        && rule.allowed_methods.iter().any(|method| method == ask.method)
        && ask.headers.iter().all(|name| patterns.iter().any(|pattern| fits(pattern, name)))
}

fn told(rule: &CORSRule, ask: &Ask<'_>) -> HeaderMap {
    let any = rule.allowed_origins.iter().any(|origin| origin == "*");
    let mut pairs: Vec<(HeaderName, String)> = vec![
        (ACCESS_CONTROL_ALLOW_ORIGIN, if any { "*".to_owned() } else { ask.origin.to_owned() }),
        (ACCESS_CONTROL_ALLOW_METHODS, rule.allowed_methods.join(", ")),
    ];
    if !any {
        pairs.push((ACCESS_CONTROL_ALLOW_CREDENTIALS, "true".to_owned()));
    }
    if !ask.headers.is_empty() {
        pairs.push((ACCESS_CONTROL_ALLOW_HEADERS, ask.headers.join(", ")));
    }
    if let Some(names) = rule.expose_headers.as_ref().filter(|names| !names.is_empty()) {
        pairs.push((ACCESS_CONTROL_EXPOSE_HEADERS, names.join(", ")));
    }
    if let Some(seconds) = rule.max_age_seconds {
        pairs.push((ACCESS_CONTROL_MAX_AGE, seconds.to_string()));
    }
    let mut headers: HeaderMap =
        pairs.into_iter().filter_map(|(name, text)| Some((name, HeaderValue::try_from(text).ok()?))).collect();
    headers.insert(VARY, VARIES);
    headers
}

fn forbidden(message: &str) -> Failure {
    Failure::request(403, "AccessForbidden", message)
}

/// What a preflight is told where there are no rules.
pub(crate) fn not_enabled() -> Failure {
    forbidden("CORSResponse: CORS is not enabled for this bucket.")
}

/// Answers for the CORS configurations of all buckets.
#[derive(Debug, Clone)]
pub(crate) struct Cors {
    registry: Registry,
}

impl Cors {
    pub(crate) const fn new(registry: Registry) -> Self {
        Self { registry }
    }

    async fn rules(&self, bucket: Option<&str>) -> Result<Vec<CORSRule>, Failure> {
        let Some(producer) = bucket.and_then(|name| ProducerName::parse(name).ok()) else { return Ok(Vec::new()) };
        let document = self.registry.subresource_told(&producer, Subresource::Cors).await?;
        let found = document.as_deref().map(configuration::read::<CORSConfiguration>).transpose()?;
        Ok(found.map(|configuration| configuration.cors_rules).unwrap_or_default())
    }

    /// What a preflight is told: the headers that allow what it asks for.
    pub(crate) async fn preflight(&self, bucket: Option<&str>, headers: &HeaderMap) -> Result<HeaderMap, Failure> {
        let insufficient = |name: &str| {
            Failure::request(400, "BadRequest", format!("Insufficient information. {name} request header needed."))
        };
        let origin = header(headers, ORIGIN.as_str()).ok_or_else(|| insufficient("Origin"))?;
        let method = header(headers, ACCESS_CONTROL_REQUEST_METHOD.as_str());
        let method = method.ok_or_else(|| insufficient("Access-Control-Request-Method"))?;
        let asked = header(headers, ACCESS_CONTROL_REQUEST_HEADERS.as_str()).unwrap_or_default();
        let asked = asked.split(',').map(|name| name.trim().to_ascii_lowercase()).filter(|name| !name.is_empty());
        let ask = Ask { origin, method, headers: asked.collect() };
        let rules = self.rules(bucket).await?;
        if rules.is_empty() {
            return Err(not_enabled());
        }
        let rule = rules.iter().find(|rule| allows(rule, &ask));
        let message = "CORSResponse: This CORS request is not allowed. This is usually because the evaluation of \
                       Origin, request method / Access-Control-Request-Method or Access-Control-Request-Headers are \
                       not whitelisted by the resource's CORS spec.";
        rule.map(|rule| told(rule, &ask)).ok_or_else(|| forbidden(message))
    }

    /// What is told beside the answer to a request of another origin; nothing when no rule fits. Should the rules not be
    /// had, the answer goes out without, and the browser keeps it from whoever asked.
    pub(crate) async fn beside(&self, bucket: Option<&str>, method: &Method, headers: &HeaderMap) -> Option<HeaderMap> {
        let ask = Ask { origin: header(headers, ORIGIN.as_str())?, method: method.as_str(), headers: Vec::new() };
        let rules = self.rules(bucket).await.ok()?;
        rules.iter().find(|rule| allows(rule, &ask)).map(|rule| told(rule, &ask))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(origins: &[&str], methods: &[&str], headers: &[&str]) -> CORSRule {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        CORSRule {
            allowed_headers: Some(texts(headers)),
            allowed_methods: texts(methods),
            allowed_origins: texts(origins),
            expose_headers: Some(texts(&["etag"])),
            id: None,
            max_age_seconds: Some(60),
        }
    }

    fn ask<'a>(origin: &'a str, method: &'a str, headers: &[&str]) -> Ask<'a> {
        Ask { origin, method, headers: headers.iter().map(|name| (*name).to_owned()).collect() }
    }

    #[test]
    fn a_pattern_fits_around_its_star() {
        for (pattern, text, expected) in [
            ("http://a.example", "http://a.example", true),
            ("*suffix", "suffix", true),
            ("*suffix", "foo.suffix", true),
            ("*suffix", "foo.suffix.get", false),
            ("start*end", "startend", true),
            ("start*end", "start1end", true),
            ("start*end", "starend", false),
            ("startstart*", "startstart.put", true),
            ("*", "", true),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_rule_allows_an_origin_a_method_and_all_headers_or_nothing() {
        let one = rule(&["http://*.example"], &["GET", "PUT"], &["x-amz-*", "Content-Type"]);
        assert!(allows(&one, &ask("http://a.example", "PUT", &["x-amz-meta-a", "content-type"])));
        assert!(!allows(&one, &ask("http://a.example", "DELETE", &[])));
        assert!(!allows(&one, &ask("https://a.example", "GET", &[])));
        assert!(!allows(&one, &ask("http://a.example", "GET", &["authorization"])));
    }

    #[test]
    fn an_answer_names_the_origin_unless_all_may() {
        let some = told(&rule(&["http://*.example"], &["GET"], &["*"]), &ask("http://a.example", "GET", &["x-a"]));
        assert_eq!(some[ACCESS_CONTROL_ALLOW_ORIGIN], "http://a.example");
        assert_eq!(some[ACCESS_CONTROL_ALLOW_CREDENTIALS], "true");
        assert_eq!(some[ACCESS_CONTROL_ALLOW_HEADERS], "x-a");
        assert_eq!(
            (&some[ACCESS_CONTROL_EXPOSE_HEADERS], &some[ACCESS_CONTROL_MAX_AGE]),
            (&"etag".parse().unwrap(), &"60".parse().unwrap())
        );
        let any = told(&rule(&["*"], &["GET"], &[]), &ask("http://a.example", "GET", &[]));
        assert_eq!(any[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        assert!(any.get(ACCESS_CONTROL_ALLOW_CREDENTIALS).is_none());
    }
}
