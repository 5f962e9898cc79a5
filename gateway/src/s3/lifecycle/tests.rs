//! Which documents are taken, what they mean, and which are refused with which code.

use artifactstore_registry::clock::Timestamp;
use artifactstore_registry::model::lifecycle::{Expiration, NoncurrentExpiration};
use s3s::dto;

use super::{lifecycle_rules, rules, told};
use crate::s3::configuration::{read, write};

const ON: &str = "<Status>Enabled</Status>";
const ALL: &str = "<Filter/>";
const DAYS: &str = "<Expiration><Days>3</Days></Expiration>";

fn document(rules: &[String]) -> String {
    let rules: String = rules.iter().map(|rule| format!("<Rule>{rule}</Rule>")).collect();
    format!("<LifecycleConfiguration>{rules}</LifecycleConfiguration>")
}

/// The code that a document of one rule is refused with, or nothing.
fn refused(rule: &str) -> Option<(u16, &'static str)> {
    refused_all(&[rule.to_owned()])
}

fn refused_all(all: &[String]) -> Option<(u16, &'static str)> {
    let mut found: dto::BucketLifecycleConfiguration = read(&document(all)).unwrap();
    let face = rules::read(&mut found.rules).err()?.face();
    Some((face.status.as_u16(), face.code))
}

#[test]
fn a_document_means_what_it_says_and_comes_back_as_it_came() {
    let rule = format!(
        "<ID>tidy up</ID>{ON}<Filter><And><Prefix>run/</Prefix><Tag><Key>a</Key><Value>1</Value></Tag>\
         <ObjectSizeGreaterThan>10</ObjectSizeGreaterThan><ObjectSizeLessThan>20</ObjectSizeLessThan></And></Filter>\
         <Expiration><Date>2030-01-01T00:00:00Z</Date></Expiration><NoncurrentVersionExpiration>\
         <NewerNoncurrentVersions>5</NewerNoncurrentVersions><NoncurrentDays>7</NoncurrentDays>\
         </NoncurrentVersionExpiration>"
    );
    let aborts = "<AbortIncompleteMultipartUpload><DaysAfterInitiation>2</DaysAfterInitiation>\
                  </AbortIncompleteMultipartUpload>";
    let marker = "<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>";
    let of_prefix = format!("{ON}<Prefix>old/</Prefix>{marker}{aborts}");
    let off = format!("<Status>Disabled</Status>{ALL}{DAYS}");
    let all = lifecycle_rules(&document(&[rule.clone(), of_prefix, off])).unwrap();
    assert_eq!(all.len(), 2, "one is not in force");
    assert_eq!((all[0].id.as_str(), all[0].filter.prefix.as_str()), ("tidy up", "run/"));
    assert_eq!(all[0].filter.tags, [("a".to_owned(), "1".to_owned())]);
    assert_eq!((all[0].filter.larger_than_bytes, all[0].filter.smaller_than_bytes), (Some(10), Some(20)));
    assert_eq!(all[0].expiration, Some(Expiration::Date(Timestamp(1_893_456_000_000_000))));
    assert_eq!(all[0].noncurrent, Some(NoncurrentExpiration { days: 7, newer: 5 }));
    assert_eq!((all[1].id.as_str(), all[1].filter.prefix.as_str()), ("rule-1", "old/"));
    assert_eq!((all[1].expiration, all[1].abort_days), (Some(Expiration::LoneMarkers), Some(2)));

    let mut found: dto::BucketLifecycleConfiguration = read(&document(&[rule])).unwrap();
    rules::read(&mut found.rules).unwrap();
    let again: dto::BucketLifecycleConfiguration = read(&write(&found).unwrap()).unwrap();
    assert_eq!(again, found);
}

#[test]
fn names_are_given_that_nobody_has() {
    let named = format!("<ID>rule-1</ID>{ON}{ALL}{DAYS}");
    let all = lifecycle_rules(&document(&[format!("{ON}{ALL}{DAYS}"), named, format!("{ON}{ALL}{DAYS}")])).unwrap();
    let ids: Vec<&str> = all.iter().map(|rule| rule.id.as_str()).collect();
    assert_eq!(ids, ["rule-2", "rule-1", "rule-3"]);
}

#[test]
fn what_s3_refuses_is_refused_with_its_codes() {
    let of = |body: &str| refused(&format!("{ON}{body}"));
    let filtered = |filter: &str| of(&format!("<Filter>{filter}</Filter>{DAYS}"));
    let expiring = |expiration: &str| of(&format!("{ALL}<Expiration>{expiration}</Expiration>"));
    let (malformed, argument, request) =
        (Some((400, "MalformedXML")), Some((400, "InvalidArgument")), Some((400, "InvalidRequest")));
    let tag = "<Tag><Key>a</Key><Value>1</Value></Tag>";
    for (got, wanted, what) in [
        (Some((400, rules::read(&mut []).unwrap_err().face().code)), malformed, "no rule"),
        (refused(&format!("<Status>enabled</Status>{ALL}{DAYS}")), malformed, "a status that is none"),
        (of(&format!("<ID>{}</ID>{ALL}{DAYS}", "i".repeat(256))), argument, "a long ID"),
        (of(&format!("<ID>a&#10;b</ID>{ALL}{DAYS}")), argument, "an ID of two lines"),
        (of(DAYS), malformed, "neither filter nor prefix"),
        (of(&format!("<Prefix/>{ALL}{DAYS}")), malformed, "both"),
        (of(ALL), request, "no action"),
        (filtered(&format!("<Prefix>a</Prefix>{tag}")), malformed, "two things without And"),
        (filtered(&format!("<And>{tag}{tag}</And>")), request, "a tag twice"),
        (filtered("<ObjectSizeLessThan>-1</ObjectSizeLessThan>"), argument, "a size below 0"),
        (
            filtered(
                "<And><ObjectSizeGreaterThan>5</ObjectSizeGreaterThan><ObjectSizeLessThan>5</ObjectSizeLessThan></And>",
            ),
            request,
            "sizes that nothing has",
        ),
        (expiring("<Days>0</Days>"), argument, "no days"),
        (expiring("<Days>-1</Days>"), argument, "days before"),
        (expiring(""), malformed, "an expiration of nothing"),
        (expiring("<Days>1</Days><Date>2030-01-01T00:00:00Z</Date>"), malformed, "days and a date"),
        (expiring("<Date>2030-01-01T12:00:00Z</Date>"), argument, "a date at noon"),
        (
            expiring("<Days>1</Days><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker>"),
            malformed,
            "days and delete markers",
        ),
        (
            of(&format!(
                "<Filter>{tag}</Filter><Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>"
            )),
            request,
            "delete markers with a tag",
        ),
    ] {
        assert_eq!(got, wanted, "{what}");
    }
    let twice = format!("<ID>a</ID>{ON}{ALL}{DAYS}");
    assert_eq!(refused_all(&[twice.clone(), twice]), argument, "an ID twice");
    assert_eq!(
        filtered("<Prefix/><ObjectSizeGreaterThan>5</ObjectSizeGreaterThan>"),
        None,
        "an empty prefix says nothing"
    );
    assert_eq!(lifecycle_rules("<LifecycleConfiguration>"), None);
    assert_eq!(lifecycle_rules(&document(&[format!("{ON}{DAYS}")])), None, "kept by an older version");
}

#[test]
fn the_header_names_the_moment_and_the_rule() {
    let said = told(Timestamp(1_893_456_000_000_000), "tidy \"up\"");
    assert_eq!(said, "expiry-date=\"Tue, 01 Jan 2030 00:00:00 GMT\", rule-id=\"tidy%20%22up%22\"");
}

#[test]
fn what_is_asked_of_older_versions_uploads_and_tiers_is_refused_with_s3_s_codes() {
    let of = |body: &str| refused(&format!("{ON}{body}"));
    let (malformed, argument, request) =
        (Some((400, "MalformedXML")), Some((400, "InvalidArgument")), Some((400, "InvalidRequest")));
    let tag = "<Tag><Key>a</Key><Value>1</Value></Tag>";
    for (got, wanted, what) in [
        (of(&format!("{ALL}<NoncurrentVersionExpiration/>")), malformed, "noncurrent without days"),
        (
            of(&format!(
                "{ALL}<NoncurrentVersionExpiration><NoncurrentDays>0</NoncurrentDays></NoncurrentVersionExpiration>"
            )),
            argument,
            "noncurrent days 0",
        ),
        (
            of(&format!(
                "{ALL}<NoncurrentVersionExpiration><NewerNoncurrentVersions>101</NewerNoncurrentVersions>\
                 <NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration>"
            )),
            argument,
            "more than a hundred spared",
        ),
        (
            of(&format!(
                "<Filter>{tag}</Filter><AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation>\
                 </AbortIncompleteMultipartUpload>"
            )),
            request,
            "uploads with a tag",
        ),
    ] {
        assert_eq!(got, wanted, "{what}");
    }
}

#[test]
fn a_transition_is_refused_for_what_is_wrong_with_it_before_it_is_for_being_one() {
    let refused = |body: &str| refused(&format!("{ON}{body}")).unwrap();
    let moving =
        |when: &str, class: &str| format!("<Transition>{when}<StorageClass>{class}</StorageClass></Transition>");
    let later = |when: &str| {
        format!("<NoncurrentVersionTransition>{when}<StorageClass>GLACIER</StorageClass></NoncurrentVersionTransition>")
    };
    let (malformed, argument, none) = ((400, "MalformedXML"), (400, "InvalidArgument"), (501, "NotImplemented"));
    let date = |date: &str| format!("<Date>{date}</Date>");
    for (action, wanted) in [
        (moving("<Days>0</Days>", "GLACIER"), none),
        (moving(&date("2030-01-01T00:00:00Z"), "STANDARD_IA"), none),
        (moving(&date("1970-08-23T00:48:47Z"), "GLACIER"), argument),
        (moving("<Days>-1</Days>", "GLACIER"), argument),
        (moving("", "GLACIER"), malformed),
        (moving(&format!("<Days>1</Days>{}", date("2030-01-01T00:00:00Z")), "GLACIER"), malformed),
        (moving("<Days>1</Days>", "FREEZER"), malformed),
        ("<Transition><Days>1</Days></Transition>".to_owned(), malformed),
        (later("<NoncurrentDays>1</NoncurrentDays>"), none),
        (later("<NoncurrentDays>-1</NoncurrentDays>"), argument),
        (later(""), malformed),
        (format!("{}<Expiration><Days>0</Days></Expiration>", moving("<Days>1</Days>", "GLACIER")), argument),
    ] {
        assert_eq!(refused(&format!("{ALL}{action}")), wanted, "{action}");
    }
    assert_eq!(refused(&moving("<Days>1</Days>", "GLACIER")), malformed, "neither filter nor prefix");
}
