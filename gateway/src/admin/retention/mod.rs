//! Retention on the admin side: classes, what keeps a thing, whether it may go, and the clock that expiry goes by.
//!
//! Invariant: nothing here decides; a refusal is the registry's, and carries its reasons.

mod classes;
mod clock;
mod clock_shape;
mod eligibility;
pub(crate) mod erase;
mod holds;
mod keep;
pub(crate) mod shape;

use std::sync::Arc;

use artifactstore_registry::clock::Timestamp;
use artifactstore_registry::model::command::SubjectChoice;
use artifactstore_registry::model::name::{FileName, ProducerName};
use artifactstore_registry::model::row::VersionChoice;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Admin;
use super::problem::Problem;

/// The routes, all behind the token.
pub(super) fn routes() -> OpenApiRouter<Arc<Admin>> {
    OpenApiRouter::default()
        .routes(routes!(classes::list))
        .routes(routes!(classes::show, classes::put))
        .routes(routes!(classes::simulate))
        .routes(routes!(keep::package))
        .routes(routes!(keep::file))
        .routes(routes!(keep::release))
        .routes(routes!(holds::package_list))
        .routes(routes!(holds::package_show, holds::package_put, holds::package_delete))
        .routes(routes!(holds::producer_list))
        .routes(routes!(holds::producer_show, holds::producer_put, holds::producer_delete))
        .routes(routes!(eligibility::package))
        .routes(routes!(eligibility::file))
        .routes(routes!(erase::file))
        .routes(routes!(erase::of_package))
        .routes(routes!(clock::show))
        .routes(routes!(clock::settle))
}

/// Which file of a producer is meant; the producer itself, when no key is said.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct FileQuery {
    /// The key of a file.
    key: Option<String>,
    /// The version of that file, by number, or `null`; the one that has the name when not said.
    version: Option<String>,
}

/// What is meant, and why.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct FileReasonQuery {
    /// The key of a file; the producer itself when not said.
    key: Option<String>,
    /// The version of that file, by number, or `null`; the one that has the name when not said.
    version: Option<String>,
    /// Why, for the log.
    reason: Option<String>,
}

/// Why.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ReasonQuery {
    /// Why, for the log.
    reason: Option<String>,
}

impl FileReasonQuery {
    fn split(self) -> (FileQuery, String) {
        (FileQuery { key: self.key, version: self.version }, self.reason.unwrap_or_default())
    }
}

impl FileQuery {
    /// The file, if a key was said.
    fn file(&self, producer: &str) -> Result<Option<(FileName, Option<VersionChoice>)>, Problem> {
        let version = self.version.as_deref().map(version).transpose()?;
        match &self.key {
            Some(key) => Ok(Some((FileName::parse(producer, key)?, version))),
            None if version.is_some() => Err(Problem::argument("A version is one of a key: say which.")),
            None => Ok(None),
        }
    }

    /// The file, which has to be said.
    fn file_needed(&self, producer: &str) -> Result<(FileName, Option<VersionChoice>), Problem> {
        self.file(producer)?.ok_or_else(|| Problem::argument("Say which file is meant: `?key=`."))
    }

    fn subject(&self, producer: &str) -> Result<SubjectChoice, Problem> {
        Ok(match self.file(producer)? {
            Some((name, version)) => SubjectChoice::File(name, version),
            None => SubjectChoice::Producer(ProducerName::parse(producer)?),
        })
    }
}

/// A version as it is written: an event's number, or `null`.
pub(crate) fn parse_version(text: &str) -> Option<VersionChoice> {
    match text {
        "null" => Some(VersionChoice::Null),
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok().map(VersionChoice::Numbered),
        _ => None,
    }
}

fn version(text: &str) -> Result<VersionChoice, Problem> {
    parse_version(text).ok_or_else(|| Problem::argument("A version is a decimal number, or `null`."))
}

/// A moment in RFC 3339, to the microsecond.
pub(crate) fn parse_moment(text: &str) -> Option<Timestamp> {
    let moment = time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).ok()?;
    i64::try_from(moment.unix_timestamp_nanos().div_euclid(1_000)).ok().map(Timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_read_in_any_zone_and_written_in_one() {
        let moment = |text| parse_moment(text).map(|moment| moment.to_string());
        assert_eq!(moment("2030-01-02T03:04:05Z").as_deref(), Some("2030-01-02T03:04:05Z"));
        assert_eq!(moment("2030-01-02T03:04:05.25+02:00").as_deref(), Some("2030-01-02T01:04:05.25Z"));
        for bad in ["", "tomorrow", "2030-01-02", "2030-13-02T03:04:05Z", "2030-01-02T03:04:05"] {
            assert_eq!(moment(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_version_is_a_number_or_null() {
        assert_eq!(parse_version("null"), Some(VersionChoice::Null));
        assert_eq!(parse_version("17"), Some(VersionChoice::Numbered(17)));
        for bad in ["", "-1", "+1", "Null", "99999999999999999999"] {
            assert_eq!(parse_version(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_file_is_meant_by_its_key_and_a_version_is_one_of_a_key() {
        let query = |key: Option<&str>, version: Option<&str>| FileQuery {
            key: key.map(str::to_owned),
            version: version.map(str::to_owned),
        };
        assert!(matches!(query(None, None).subject("lab"), Ok(SubjectChoice::Producer(_))));
        assert!(matches!(
            query(Some("run-1/a"), Some("7")).subject("lab"),
            Ok(SubjectChoice::File(_, Some(VersionChoice::Numbered(7))))
        ));
        assert!(query(None, Some("7")).subject("lab").is_err());
        assert!(query(Some("run-1/a"), Some("seven")).subject("lab").is_err());
        assert!(query(None, None).file_needed("lab").is_err());
    }
}
