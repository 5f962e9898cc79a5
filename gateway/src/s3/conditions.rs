//! Conditional requests: what RFC 9110 says of `If-*`, for reads and for the source of a copy, and what a write must
//! find at its commit.
//!
//! Reads are judged here, against the file that was found; writes are judged by the registry, inside the commit.

use artifactstore_registry::clock::Timestamp;
use artifactstore_registry::model::command::WriteCondition;
use artifactstore_registry::model::name::FileName;
use artifactstore_registry::model::row::File;
use http::HeaderMap;
use s3s::{S3Request, dto};

use super::header;
use crate::edge::auth::Caller;
use crate::error::Failure;

/// The ETags that a header names.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Tags {
    Any,
    /// Each with whether it is weak.
    These(Vec<(String, bool)>),
}

impl Tags {
    /// Quotes may be left out: many clients do. Our ETags hold neither commas nor quotes.
    fn parse(text: &str) -> Self {
        if text.trim() == "*" {
            return Self::Any;
        }
        let one = |tag: &str| {
            let tag = tag.trim();
            let (tag, weak) = tag.strip_prefix("W/").map_or((tag, false), |strong| (strong, true));
            (tag.trim_matches('"').to_owned(), weak)
        };
        Self::These(text.split(',').map(one).collect())
    }

    fn matches_strongly(&self, etag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::These(tags) => tags.iter().any(|(tag, weak)| !weak && tag == etag),
        }
    }

    fn matches_weakly(&self, etag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::These(tags) => tags.iter().any(|(tag, _)| tag == etag),
        }
    }

    fn into_values(self) -> Vec<String> {
        match self {
            Self::Any => vec!["*".to_owned()],
            Self::These(tags) => tags.into_iter().map(|(tag, _)| tag).collect(),
        }
    }
}

/// What a read asks of the file. Times are whole seconds, as HTTP writes them.
#[derive(Debug, Clone, Default)]
pub(super) struct ReadCondition {
    if_match: Option<Tags>,
    if_none_match: Option<Tags>,
    if_modified_since: Option<i64>,
    if_unmodified_since: Option<i64>,
}

/// What became of the conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Holds,
    /// The client has it already.
    Unchanged(&'static str),
    Failed(&'static str),
}

fn seconds(time: Option<&dto::Timestamp>) -> Option<i64> {
    time.map(|time| time::OffsetDateTime::from(time.clone()).unix_timestamp())
}

impl ReadCondition {
    /// The conditions of a GET or a HEAD. s3s parsed the dates.
    pub(super) fn of_read(
        headers: &HeaderMap,
        modified_since: Option<&dto::Timestamp>,
        unmodified_since: Option<&dto::Timestamp>,
    ) -> Self {
        Self {
            if_match: header(headers, "if-match").map(Tags::parse),
            if_none_match: header(headers, "if-none-match").map(Tags::parse),
            if_modified_since: seconds(modified_since),
            if_unmodified_since: seconds(unmodified_since),
        }
    }

    /// The conditions on the source of a copy.
    pub(super) fn of_copy_source(
        headers: &HeaderMap,
        modified_since: Option<&dto::Timestamp>,
        unmodified_since: Option<&dto::Timestamp>,
    ) -> Self {
        Self {
            if_match: header(headers, "x-amz-copy-source-if-match").map(Tags::parse),
            if_none_match: header(headers, "x-amz-copy-source-if-none-match").map(Tags::parse),
            if_modified_since: seconds(modified_since),
            if_unmodified_since: seconds(unmodified_since),
        }
    }

    /// RFC 9110, 13.2.2: an ETag outranks a date of the same kind.
    fn judge(&self, etag: &str, modified: Timestamp) -> Verdict {
        let modified = modified.to_parts().0;
        if let Some(tags) = &self.if_match {
            if !tags.matches_strongly(etag) {
                return Verdict::Failed("If-Match");
            }
        } else if self.if_unmodified_since.is_some_and(|since| modified > since) {
            return Verdict::Failed("If-Unmodified-Since");
        }
        if let Some(tags) = &self.if_none_match {
            if tags.matches_weakly(etag) {
                return Verdict::Unchanged("If-None-Match");
            }
        } else if self.if_modified_since.is_some_and(|since| modified <= since) {
            return Verdict::Unchanged("If-Modified-Since");
        }
        Verdict::Holds
    }

    /// Refuses a GET or HEAD: 412, or 304 when the client has this file already.
    pub(super) fn check_read(&self, file: &File) -> Result<(), Failure> {
        match self.judge(&file.etag, file.ingested_at) {
            Verdict::Holds => Ok(()),
            Verdict::Unchanged(_) => Err(Failure::Unchanged { etag: file.etag.clone(), modified: file.ingested_at }),
            Verdict::Failed(condition) => Err(failed(condition)),
        }
    }

    /// Refuses a copy: always 412.
    pub(super) fn check_copy_source(&self, file: &File) -> Result<(), Failure> {
        match self.judge(&file.etag, file.ingested_at) {
            Verdict::Holds => Ok(()),
            Verdict::Unchanged(condition) | Verdict::Failed(condition) => Err(failed(condition)),
        }
    }
}

fn failed(condition: &str) -> Failure {
    let message = format!("At least one of the pre-conditions you specified did not hold: {condition}.");
    Failure::request(412, "PreconditionFailed", message)
}

/// What a write must find at its commit.
pub(super) fn of_write(headers: &HeaderMap) -> WriteCondition {
    let if_none_match = header(headers, "if-none-match").map(Tags::parse);
    WriteCondition {
        absent: if_none_match == Some(Tags::Any),
        if_match: header(headers, "if-match").map(|text| Tags::parse(text).into_values()),
        if_none_match: if_none_match.filter(|tags| *tags != Tags::Any).map(Tags::into_values),
        ..WriteCondition::default()
    }
}

/// What a write of a file must find at its commit, and that it finalizes nothing if its caller may not do that.
pub(super) fn of_ingest<T>(req: &S3Request<T>, name: &FileName) -> WriteCondition {
    let may_finalize = |caller: &Caller| caller.may_finalize(name.producer.as_str(), name.key.as_str());
    let finalizes_nothing = !req.extensions.get::<Caller>().is_some_and(may_finalize);
    WriteCondition { finalizes_nothing, ..of_write(&req.headers) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: &str = "5d41402abc4b2a76b9719d911017c592";
    const NOW: i64 = 1_700_000_000;

    fn judge(if_match: &str, unmodified: i64, if_none_match: &str, modified: i64) -> Verdict {
        let tags = |text: &str| (!text.is_empty()).then(|| Tags::parse(text));
        let date = |at: i64| (at != 0).then_some(NOW + at);
        let condition = ReadCondition {
            if_match: tags(if_match),
            if_none_match: tags(if_none_match),
            if_modified_since: date(modified),
            if_unmodified_since: date(unmodified),
        };
        // The fraction of the second must play no part: HTTP dates have none.
        condition.judge(TAG, Timestamp(NOW * 1_000_000 + 999_999))
    }

    #[test]
    fn conditions_are_judged_in_the_order_of_rfc_9110() {
        let quoted = format!("\"{TAG}\"");
        let weak = format!("W/\"{TAG}\"");
        let list = format!("\"other\", \"{TAG}\"");
        for (case, expected) in [
            (("", 0, "", 0), Verdict::Holds),
            ((quoted.as_str(), 0, "", 0), Verdict::Holds),
            ((TAG, 0, "", 0), Verdict::Holds),
            (("*", 0, "", 0), Verdict::Holds),
            ((list.as_str(), 0, "", 0), Verdict::Holds),
            (("\"other\"", 0, "", 0), Verdict::Failed("If-Match")),
            ((weak.as_str(), 0, "", 0), Verdict::Failed("If-Match")),
            (("", -1, "", 0), Verdict::Failed("If-Unmodified-Since")),
            (("", 1, "", 0), Verdict::Holds),
            // The ETag outranks the date.
            ((quoted.as_str(), -1, "", 0), Verdict::Holds),
            (("", 0, quoted.as_str(), 0), Verdict::Unchanged("If-None-Match")),
            (("", 0, weak.as_str(), 0), Verdict::Unchanged("If-None-Match")),
            (("", 0, "*", 0), Verdict::Unchanged("If-None-Match")),
            (("", 0, "\"other\"", 0), Verdict::Holds),
            (("", 0, "", 1), Verdict::Unchanged("If-Modified-Since")),
            (("", 0, "", -1), Verdict::Holds),
            (("", 0, "\"other\"", 1), Verdict::Holds),
            // What fails outranks what is unchanged.
            (("\"other\"", 0, quoted.as_str(), 0), Verdict::Failed("If-Match")),
        ] {
            assert_eq!(judge(case.0, case.1, case.2, case.3), expected, "{case:?}");
        }
    }

    #[test]
    fn a_file_of_this_very_second_is_unchanged_since_then() {
        let condition = ReadCondition { if_modified_since: Some(NOW), ..ReadCondition::default() };
        assert_eq!(condition.judge(TAG, Timestamp(NOW * 1_000_000 + 5)), Verdict::Unchanged("If-Modified-Since"));
        let condition = ReadCondition { if_unmodified_since: Some(NOW), ..ReadCondition::default() };
        assert_eq!(condition.judge(TAG, Timestamp(NOW * 1_000_000 + 5)), Verdict::Holds);
    }

    #[test]
    fn a_write_may_ask_for_absence_or_for_an_etag() {
        let headers = |name: &'static str, value: &str| -> HeaderMap {
            [(http::HeaderName::from_static(name), value.parse().unwrap())].into_iter().collect()
        };
        assert!(of_write(&HeaderMap::new()).is_empty());
        assert!(of_write(&headers("if-none-match", "*")).absent);
        assert_eq!(of_write(&headers("if-match", "\"a\", b")).if_match, Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(of_write(&headers("if-match", "*")).if_match, Some(vec!["*".to_owned()]));
        let condition = of_write(&headers("if-none-match", "\"a\""));
        assert_eq!((condition.absent, condition.if_none_match), (false, Some(vec!["a".to_owned()])));
    }
}
