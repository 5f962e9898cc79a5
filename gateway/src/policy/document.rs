//! A policy as it is read, and what it says to a request.

use std::fmt;
use std::marker::PhantomData;

use artifactstore_registry::model::name::TenantName;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::condition::{Condition, Facts};
use super::pattern::{Patterns, check_length, fits};
use super::{Principal, malformed, not_carried_out};
use crate::error::Failure;

mod reach;

/// What the names of all buckets and files begin with.
const ARN: &str = "arn:aws:s3:::";
/// What the names of tenants and their keys begin with.
const IAM: &str = "arn:aws:iam::";

/// What a policy says to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is denied, whoever else allows it.
    Denied,
    /// It is allowed.
    Allowed,
    /// Nothing.
    Silent,
}

/// A policy that is carried out.
#[derive(Debug)]
pub(crate) struct Policy {
    statements: Vec<Statement>,
}

#[derive(Debug)]
struct Statement {
    /// Where it stands, and its name for people, as a refusal says it.
    place: String,
    denies: bool,
    whom: Vec<Whom>,
    actions: Patterns,
    actions_as_written: Vec<String>,
    resources: Patterns,
    conditions: Vec<Condition>,
}

/// Whom a statement is about.
#[derive(Debug, PartialEq, Eq)]
enum Whom {
    Anyone,
    Tenant(String),
    Key {
        tenant: String,
        id: String,
    },
    /// A service or a federated user, of which there are none.
    Nobody,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Several<T> {
    One(T),
    Many(Vec<T>),
}

impl<T> Several<T> {
    fn into_vec(self) -> Vec<T> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        }
    }
}

/// An object of JSON, in which no name comes twice: which of the two is meant, nobody knows.
struct Pairs<T>(Vec<(String, T)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Pairs<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Reader<T> {
            type Value = Pairs<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<T>, A::Error> {
                let mut pairs: Vec<(String, T)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, T>()? {
                    if pairs.iter().any(|(known, _)| *known == name) {
                        return Err(A::Error::custom(format_args!("{name} comes twice")));
                    }
                    pairs.push((name, value));
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Reader(PhantomData))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Written {
    #[expect(dead_code, reason = "a version changes nothing of what is carried out here")]
    version: Option<String>,
    #[expect(dead_code, reason = "a name for people")]
    id: Option<String>,
    statement: Several<WrittenStatement>,
}

#[derive(Deserialize)]
enum Effect {
    Allow,
    Deny,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Named {
    Text(String),
    ByKind(Pairs<Several<String>>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Text(String),
    Truth(bool),
    Number(serde_json::Number),
}

impl Scalar {
    fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Truth(truth) => truth.to_string(),
            Self::Number(number) => number.to_string(),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct WrittenStatement {
    sid: Option<String>,
    effect: Effect,
    principal: Option<Named>,
    not_principal: Option<serde_json::Value>,
    action: Option<Several<String>>,
    not_action: Option<Several<String>>,
    resource: Option<Several<String>>,
    not_resource: Option<Several<String>>,
    condition: Option<Pairs<Pairs<Several<Scalar>>>>,
}

fn invalid_principal() -> Failure {
    malformed("Invalid principal in policy: it is *, a tenant, or arn:aws:iam::<tenant>:root or :user/<access key>.")
}

fn tenant_or_key(text: &str) -> Result<Whom, Failure> {
    if text == "*" {
        return Ok(Whom::Anyone);
    }
    let tenant = |name: &str| TenantName::parse(name).map(|name| name.to_string()).map_err(|_| invalid_principal());
    let Some(named) = text.strip_prefix(IAM) else { return tenant(text).map(Whom::Tenant) };
    match named.split_once(':') {
        Some((name, "root")) => tenant(name).map(Whom::Tenant),
        Some((name, user)) => match user.strip_prefix("user/") {
            Some(id) if !id.is_empty() && !id.contains('*') => {
                Ok(Whom::Key { tenant: tenant(name)?, id: id.to_owned() })
            }
            _ => Err(invalid_principal()),
        },
        None => Err(invalid_principal()),
    }
}

fn whom(principal: Option<Named>) -> Result<Vec<Whom>, Failure> {
    let by_kind = match principal {
        None => return Err(malformed("Missing required field Principal.")),
        Some(Named::Text(text)) if text == "*" => return Ok(vec![Whom::Anyone]),
        Some(Named::Text(_)) => return Err(invalid_principal()),
        Some(Named::ByKind(by_kind)) => by_kind,
    };
    let mut whom = Vec::new();
    for (kind, names) in by_kind.0 {
        for name in names.into_vec() {
            whom.push(match kind.as_str() {
                "AWS" => tenant_or_key(&name)?,
                "CanonicalUser" => TenantName::parse(&name)
                    .map(|name| Whom::Tenant(name.to_string()))
                    .map_err(|_| invalid_principal())?,
                "Service" | "Federated" => Whom::Nobody,
                _ => return Err(invalid_principal()),
            });
        }
    }
    if whom.is_empty() { Err(invalid_principal()) } else { Ok(whom) }
}

/// The patterns of an element, or of the one that says what is left out.
fn patterns(
    name: &str,
    given: Option<Several<String>>,
    left_out: Option<Several<String>>,
    check: impl Fn(&str) -> bool,
) -> Result<Patterns, Failure> {
    let (patterns, left_out) = match (given, left_out) {
        (Some(given), None) => (given.into_vec(), false),
        (None, Some(others)) => (others.into_vec(), true),
        _ => return Err(malformed(format!("A statement has either {name} or Not{name}."))),
    };
    if patterns.is_empty() || !patterns.iter().all(|pattern| check(pattern)) {
        return Err(malformed(format!("Policy has invalid {}.", name.to_ascii_lowercase())));
    }
    if patterns.iter().any(|pattern| pattern.contains("${")) {
        return Err(not_carried_out("variables"));
    }
    check_length(&patterns)?;
    Ok(Patterns { patterns, left_out })
}

fn is_action(text: &str) -> bool {
    text == "*" || text.get(..3).is_some_and(|begin| begin.eq_ignore_ascii_case("s3:"))
}

/// Whether a resource can be one of this bucket.
fn is_of(bucket: &str, resource: &str) -> bool {
    let named = resource.strip_prefix(ARN).map(|named| named.split('/').next().unwrap_or_default());
    resource == "*" || named.is_some_and(|pattern| fits(pattern, bucket))
}

/// How much of a statement's name a refusal says.
const SID_CHARACTERS: usize = 64;

fn statement(number: usize, written: WrittenStatement, bucket: &str) -> Result<Statement, Failure> {
    let sid = written.sid.map(|sid| format!(" ({})", sid.chars().take(SID_CHARACTERS).collect::<String>()));
    let place = format!("statement {number}{}", sid.unwrap_or_default());
    let denies = matches!(written.effect, Effect::Deny);
    if written.not_principal.is_some() {
        return Err(if denies {
            not_carried_out("NotPrincipal")
        } else {
            malformed("Allow with NotPrincipal is not allowed: it would be for everybody whom nobody thought of.")
        });
    }
    let mut actions = patterns("Action", written.action, written.not_action, is_action)?;
    let actions_as_written = actions.patterns.clone();
    // The names of actions are the same however they are written.
    for pattern in &mut actions.patterns {
        pattern.make_ascii_lowercase();
    }
    let others = written.resource.is_none();
    let check = |resource: &str| others && resource.starts_with(ARN) || is_of(bucket, resource);
    let resources = patterns("Resource", written.resource, written.not_resource, check)?;
    let mut conditions = Vec::new();
    for (operator, keys) in written.condition.into_iter().flat_map(|pairs| pairs.0) {
        for (key, values) in keys.0 {
            let values = values.into_vec().into_iter().map(Scalar::into_text).collect();
            conditions.push(Condition::parse(&operator, &key, values)?);
        }
    }
    let whom = whom(written.principal)?;
    Ok(Statement { place, denies, whom, actions, actions_as_written, resources, conditions })
}

impl Whom {
    fn is(&self, who: Principal<'_>) -> bool {
        match (self, who.0) {
            (Self::Anyone, _) => true,
            (Self::Tenant(own), Some((tenant, _))) => own == tenant.as_str(),
            (Self::Key { tenant: own, id }, Some((tenant, key))) => own == tenant.as_str() && id == key,
            (Self::Tenant(_) | Self::Key { .. }, None) | (Self::Nobody, _) => false,
        }
    }
}

impl Statement {
    fn is_about(&self, owner: &TenantName, who: Principal<'_>, action: &str) -> bool {
        // What the owner allows its own tenant leaves it to the grants of each key, as in AWS; what it denies, it denies.
        let speaks = |whom: &&Whom| self.denies || !matches!(whom, Whom::Tenant(own) if own == owner.as_str());
        self.whom.iter().filter(speaks).any(|whom| whom.is(who)) && self.actions.fit(&action.to_ascii_lowercase())
    }
}

impl Statement {
    /// Whether a condition is as the statement wants it. What is said at the creation of an upload was judged then: it stands in the way
    /// of none of its parts.
    fn requires(&self, condition: &Condition, facts: &Facts<'_>) -> bool {
        if facts.of_upload && condition.is_of_creation() {
            !self.denies
        } else if condition.is_beyond(facts) {
            // Nobody gets in, or around, by a text that takes too long to compare.
            self.denies
        } else {
            condition.holds(facts)
        }
    }
}

impl Policy {
    /// Reads the policy of a bucket.
    ///
    /// # Errors
    /// When it is none, or would not be carried out as it stands.
    pub(crate) fn parse(text: &str, bucket: &str) -> Result<Self, Failure> {
        let written: Written = serde_json::from_str(text).map_err(|error| {
            malformed(format!("Policies must be valid JSON, with Statement and its elements: {error}"))
        })?;
        let statements: Result<Vec<_>, _> = (1..)
            .zip(written.statement.into_vec())
            .map(|(number, written)| statement(number, written, bucket))
            .collect();
        let statements = statements?;
        if statements.is_empty() {
            return Err(malformed("A policy has at least one statement."));
        }
        Ok(Self { statements })
    }

    /// Refuses it when one of its statements can be about no request at all. What was kept before is not asked.
    ///
    /// # Errors
    /// When such a statement is there; which one, and what to write instead, is said.
    pub(crate) fn check_reach(&self, bucket: &str) -> Result<(), Failure> {
        self.statements.iter().try_for_each(|statement| statement.check_reach(bucket))
    }

    /// What it says to one action on a bucket, or on a key in it.
    pub(crate) fn verdict(
        &self,
        owner: &TenantName,
        who: Principal<'_>,
        action: &str,
        (bucket, key): (&str, Option<&str>),
        facts: &Facts<'_>,
    ) -> Verdict {
        let resource = key.map_or_else(|| format!("{ARN}{bucket}"), |key| format!("{ARN}{bucket}/{key}"));
        let about = |statement: &&Statement| {
            statement.is_about(owner, who, action)
                && statement.resources.fit(&resource)
                && statement.conditions.iter().all(|condition| statement.requires(condition, facts))
        };
        let mut verdict = Verdict::Silent;
        for statement in self.statements.iter().filter(about) {
            if statement.denies {
                return Verdict::Denied;
            }
            verdict = Verdict::Allowed;
        }
        verdict
    }

    /// Whether it could allow this action on anything at all.
    pub(crate) fn may_allow(&self, owner: &TenantName, who: Principal<'_>, action: &str) -> bool {
        self.statements.iter().any(|statement| !statement.denies && statement.is_about(owner, who, action))
    }

    /// Whether the tags of files matter to it.
    pub(crate) fn asks_for_tags(&self) -> bool {
        self.statements.iter().any(|statement| statement.conditions.iter().any(Condition::is_of_tags))
    }

    /// Whether it allows anyone anything, wherever they come from.
    pub(crate) fn is_public(&self) -> bool {
        self.statements.iter().any(|statement| {
            !statement.denies
                && statement.whom.contains(&Whom::Anyone)
                && !statement.conditions.iter().any(Condition::narrows)
        })
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use serde_json::{Value, json};

    use super::*;

    fn policy(statements: Value) -> Result<Policy, Failure> {
        Policy::parse(&json!({ "Version": "2012-10-17", "Statement": statements }).to_string(), "lab")
    }

    fn owner() -> TenantName {
        TenantName::parse("owner").unwrap()
    }

    fn says(policy: &Policy, who: Option<(&str, &str)>, action: &str, key: Option<&str>) -> Verdict {
        let headers = HeaderMap::new();
        let facts = Facts { headers: &headers, query: "", client: None, tags: None, of_upload: false };
        let tenant = who.map(|(tenant, _)| TenantName::parse(tenant).unwrap());
        let who = Principal(tenant.as_ref().zip(who.map(|(_, key)| key)));
        policy.verdict(&owner(), who, action, ("lab", key), &facts)
    }

    #[test]
    fn a_denial_is_stronger_than_anything_allowed() {
        let policy = policy(json!([
            { "Effect": "Allow", "Principal": "*", "Action": "s3:Get*", "Resource": "arn:aws:s3:::lab/*" },
            { "Effect": "Deny", "Principal": { "AWS": "*" }, "Action": ["S3:getobject"],
              "Resource": ["arn:aws:s3:::lab/secret/*"] },
        ]))
        .unwrap();
        assert_eq!(says(&policy, None, "s3:GetObject", Some("a")), Verdict::Allowed);
        assert_eq!(says(&policy, Some(("acme", "K")), "s3:GetObject", Some("secret/a")), Verdict::Denied);
        assert_eq!(says(&policy, None, "s3:GetObjectTagging", Some("secret/a")), Verdict::Allowed);
        assert_eq!(says(&policy, None, "s3:PutObject", Some("a")), Verdict::Silent);
        assert_eq!(says(&policy, None, "s3:GetBucketLocation", None), Verdict::Silent);
        assert!(policy.is_public() && !policy.asks_for_tags());
    }

    #[test]
    fn a_statement_is_about_those_whom_it_names() {
        let of = |principal: Value| {
            let one = json!({ "Effect": "Allow", "Principal": principal, "Action": "*", "Resource": "*" });
            policy(json!(one))
        };
        let tenant = of(json!({ "AWS": "arn:aws:iam::acme:root" })).unwrap();
        let key = of(json!({ "AWS": ["arn:aws:iam::acme:user/K1", "other"] })).unwrap();
        let service = of(json!({ "Service": "logging.s3.amazonaws.com" })).unwrap();
        for (policy, who, allowed) in [
            (&tenant, Some(("acme", "K1")), true),
            (&tenant, Some(("other", "K1")), false),
            (&tenant, None, false),
            (&key, Some(("acme", "K1")), true),
            (&key, Some(("acme", "K2")), false),
            (&key, Some(("other", "K2")), true),
            (&service, Some(("acme", "K1")), false),
        ] {
            let expected = if allowed { Verdict::Allowed } else { Verdict::Silent };
            assert_eq!(says(policy, who, "s3:GetObject", Some("a")), expected, "{who:?}");
            assert!(!policy.is_public());
        }
        for bad in [json!("acme"), json!({}), json!({ "AWS": "arn:aws:iam::acme:role/x" }), json!({ "AWS": "No Name" })]
        {
            assert_eq!(of(bad.clone()).unwrap_err().face().code, "MalformedPolicy", "{bad}");
        }
    }

    #[test]
    fn what_is_left_out_is_what_a_statement_is_not_about() {
        let policy = policy(json!({ "Effect": "Deny", "Principal": "*", "NotAction": "s3:Get*",
            "NotResource": "arn:aws:s3:::lab/free/*" }))
        .unwrap();
        assert_eq!(says(&policy, None, "s3:PutObject", Some("a")), Verdict::Denied);
        assert_eq!(says(&policy, None, "s3:PutObject", Some("free/a")), Verdict::Silent);
        assert_eq!(says(&policy, None, "s3:GetObject", Some("a")), Verdict::Silent);
    }

    #[test]
    fn what_would_not_be_carried_out_is_refused() {
        let with = |name: &str, value: Value| {
            let mut one =
                json!({ "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::lab/*" });
            one[name] = value;
            policy(json!([one])).err().map(|failure| failure.face().code)
        };
        assert_eq!(with("Sid", json!("a name")), None);
        for (name, value, code) in [
            ("Effect", json!("Maybe"), "MalformedPolicy"),
            ("Resource", json!("arn:aws:s3:::other/*"), "MalformedPolicy"),
            ("Resource", json!([]), "MalformedPolicy"),
            ("Action", json!("ec2:RunInstances"), "MalformedPolicy"),
            ("NotAction", json!("s3:GetObject"), "MalformedPolicy"),
            ("Unknown", json!(1), "MalformedPolicy"),
            ("NotPrincipal", json!("*"), "NotImplemented"),
            ("Condition", json!({ "NumericLessThan": { "s3:max-keys": 10 } }), "NotImplemented"),
            ("Resource", json!("arn:aws:s3:::lab/${aws:username}/*"), "NotImplemented"),
        ] {
            assert_eq!(with(name, value.clone()), Some(code), "{name}: {value}");
        }
        assert_eq!(policy(json!([])).unwrap_err().face().code, "MalformedPolicy");
        assert_eq!(Policy::parse("{", "lab").unwrap_err().face().code, "MalformedPolicy");
    }

    #[test]
    fn what_an_upload_says_at_its_creation_does_not_stand_in_the_way_of_its_parts() {
        let policy = policy(json!([
            { "Effect": "Allow", "Principal": "*", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::lab/*" },
            { "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::lab/*",
              "Condition": { "Null": { "s3:x-amz-storage-class": "true" } } },
        ]))
        .unwrap();
        let headers = HeaderMap::new();
        let says = |of_upload| {
            let facts = Facts { headers: &headers, query: "", client: None, tags: None, of_upload };
            policy.verdict(&owner(), Principal(None), "s3:PutObject", ("lab", Some("a")), &facts)
        };
        assert_eq!((says(false), says(true)), (Verdict::Denied, Verdict::Allowed));
    }

    #[test]
    fn what_the_owner_allows_its_own_tenant_gives_none_of_its_keys_more() {
        let policy = policy(json!([
            { "Effect": "Allow", "Principal": { "AWS": "arn:aws:iam::owner:root" }, "Action": "s3:*", "Resource": "*" },
            { "Effect": "Allow", "Principal": { "AWS": "arn:aws:iam::owner:user/K1" }, "Action": "s3:GetObject",
              "Resource": "*" },
            { "Effect": "Deny", "Principal": { "AWS": "owner" }, "Action": "s3:DeleteObject", "Resource": "*" },
        ]))
        .unwrap();
        assert_eq!(says(&policy, Some(("owner", "K1")), "s3:GetObject", Some("a")), Verdict::Allowed);
        assert_eq!(says(&policy, Some(("owner", "K2")), "s3:GetObject", Some("a")), Verdict::Silent);
        assert_eq!(says(&policy, Some(("owner", "K2")), "s3:DeleteObject", Some("a")), Verdict::Denied);
    }

    #[test]
    fn a_text_that_takes_too_long_to_compare_lets_nobody_in_or_around() {
        let of = |effect: &str| {
            policy(json!({ "Effect": effect, "Principal": "*", "Action": "s3:GetObject", "Resource": "*",
                "Condition": { "StringLike": { "aws:UserAgent": "*a*" } } }))
            .unwrap()
        };
        for (length, denied, allowed) in
            [(1000, Verdict::Denied, Verdict::Allowed), (5000, Verdict::Denied, Verdict::Silent)]
        {
            let agent = http::HeaderValue::from_str(&"a".repeat(length)).unwrap();
            let headers: HeaderMap = [(http::header::USER_AGENT, agent)].into_iter().collect();
            let facts = Facts { headers: &headers, query: "", client: None, tags: None, of_upload: false };
            let says =
                |policy: &Policy| policy.verdict(&owner(), Principal(None), "s3:GetObject", ("lab", Some("a")), &facts);
            assert_eq!((says(&of("Deny")), says(&of("Allow"))), (denied, allowed), "{length}");
        }
        let long = json!({ "Effect": "Deny", "Principal": "*", "Action": "s3:GetObject",
            "Resource": format!("arn:aws:s3:::lab/{}", "*a".repeat(1000)) });
        assert_eq!(policy(long).unwrap_err().face().code, "MalformedPolicy");
    }

    #[test]
    fn what_is_named_twice_is_not_half_carried_out() {
        for condition in [
            r#"{ "IpAddress": { "aws:SourceIp": "10.0.0.0/8" }, "IpAddress": { "aws:SourceIp": "192.168.0.0/16" } }"#,
            r#"{ "StringEquals": { "s3:prefix": "a", "s3:prefix": "b" } }"#,
        ] {
            let text = format!(
                r#"{{ "Statement": {{ "Effect": "Allow", "Principal": "*", "Action": "s3:ListBucket",
                "Resource": "*", "Condition": {condition} }} }}"#
            );
            assert_eq!(Policy::parse(&text, "lab").unwrap_err().face().code, "MalformedPolicy", "{condition}");
        }
    }

    #[test]
    fn the_public_comes_from_anywhere() {
        let from = |networks: &str| {
            let condition = json!({ "IpAddress": { "aws:SourceIp": networks } });
            policy(json!({ "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject",
                "Resource": "arn:aws:s3:::lab/*", "Condition": condition }))
            .unwrap()
            .is_public()
        };
        assert!(!from("10.0.0.0/32") && !from("192.168.0.0/16"));
        assert!(from("0.0.0.0/0"));
    }
}
