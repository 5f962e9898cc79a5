//! What a lifecycle document means: S3's rules as those of the registry, and every reason to refuse one.
//!
//! Invariant: a document that is taken is carried out as it stands; what is not carried out is refused.

use std::collections::BTreeSet;

use artifactstore_registry::clock::Timestamp;
use artifactstore_registry::model::lifecycle::{
    Expiration, LifecycleRule, NEWER_LIMIT, NoncurrentExpiration, RuleFilter,
};
use s3s::dto;
use time::OffsetDateTime;

use crate::error::Failure;

/// The most rules of a bucket.
const RULES_LIMIT: usize = 1000;
/// The longest name of a rule, in bytes.
const ID_LIMIT: usize = 255;

fn malformed<T>(message: &str) -> Result<T, Failure> {
    Err(Failure::request(400, "MalformedXML", message))
}

fn argument<T>(message: &str) -> Result<T, Failure> {
    Err(Failure::request(400, "InvalidArgument", message))
}

fn request<T>(message: &str) -> Result<T, Failure> {
    Err(Failure::request(400, "InvalidRequest", message))
}

/// Gives every rule that has none a name that no other has.
fn name_all(rules: &mut [dto::LifecycleRule]) -> Result<(), Failure> {
    let mut taken = BTreeSet::new();
    for id in rules.iter().filter_map(|rule| rule.id.as_deref()) {
        if id.is_empty() || id.len() > ID_LIMIT {
            return argument("The ID of a rule takes 1 to 255 characters.");
        }
        // It becomes the name of who did what the rule does.
        if id.chars().any(char::is_control) {
            return argument("The ID of a rule has no control characters.");
        }
        if !taken.insert(id.to_owned()) {
            return argument("Rule ID must be unique. Found same ID for more than one rule.");
        }
    }
    let mut names = (1..).map(|number: u32| format!("rule-{number}")).filter(|name| !taken.contains(name));
    for rule in rules.iter_mut().filter(|rule| rule.id.is_none()) {
        rule.id = names.next();
    }
    Ok(())
}

/// The rules of a document that are in force, every one of which was looked at; those without a name are given one.
pub(super) fn read(rules: &mut [dto::LifecycleRule]) -> Result<Vec<LifecycleRule>, Failure> {
    if rules.is_empty() || rules.len() > RULES_LIMIT {
        return malformed("A lifecycle configuration has 1 to 1000 rules.");
    }
    name_all(rules)?;
    let mut in_force = Vec::new();
    for given in rules.iter() {
        let enabled = match given.status.as_str() {
            dto::ExpirationStatus::ENABLED => true,
            dto::ExpirationStatus::DISABLED => false,
            _ => return malformed("The Status of a rule is Enabled or Disabled."),
        };
        let rule = rule(given)?;
        if enabled {
            in_force.push(rule);
        }
    }
    Ok(in_force)
}

fn rule(given: &dto::LifecycleRule) -> Result<LifecycleRule, Failure> {
    let filter = match (&given.prefix, &given.filter) {
        (Some(_), Some(_)) => return malformed("A rule has a Filter or a Prefix, not both."),
        (None, None) => return malformed("A rule has a Filter or a Prefix; an empty one is about all keys."),
        (Some(prefix), None) => RuleFilter { prefix: prefix.clone(), ..RuleFilter::default() },
        (None, Some(given)) => filter(given)?,
    };
    let moves = has_transitions(given)?;
    if !moves
        && given.expiration.is_none()
        && given.noncurrent_version_expiration.is_none()
        && given.abort_incomplete_multipart_upload.is_none()
    {
        return request("At least one action needs to be specified in a rule.");
    }
    let of_keys_only =
        filter.tags.is_empty() && filter.larger_than_bytes.is_none() && filter.smaller_than_bytes.is_none();
    let expiration = given.expiration.as_ref().map(expiration).transpose()?.flatten();
    if expiration == Some(Expiration::LoneMarkers) && !of_keys_only {
        return request(
            "ExpiredObjectDeleteMarker goes with a prefix only: a delete marker has neither tags nor a size.",
        );
    }
    let noncurrent = given.noncurrent_version_expiration.as_ref().map(noncurrent).transpose()?;
    let abort_days = given.abort_incomplete_multipart_upload.as_ref().map(|abort| {
        let days = abort.days_after_initiation;
        positive(days, "'DaysAfterInitiation' for AbortIncompleteMultipartUpload action must be a positive integer.")
    });
    let abort_days = abort_days.transpose()?;
    if abort_days.is_some() && !of_keys_only {
        return request("AbortIncompleteMultipartUpload goes with a prefix only: what is not there yet has no size.");
    }
    // Said last: what is wrong in itself is answered as where there are tiers.
    if moves {
        let message = "Transitions are not carried out, and therefore not kept: there is one tier of storage.";
        return Err(Failure::request(501, "NotImplemented", message));
    }
    let id = given.id.clone().unwrap_or_default();
    Ok(LifecycleRule { id, filter, expiration, noncurrent, abort_days })
}

/// Whether a rule moves anything into another storage class; each such move was looked at.
fn has_transitions(given: &dto::LifecycleRule) -> Result<bool, Failure> {
    let current = given.transitions.as_deref().unwrap_or_default();
    for transition in current {
        match (transition.days, &transition.date) {
            (Some(days), None) if days < 0 => {
                return argument("'Days' for Transition action must be a nonnegative integer.");
            }
            (Some(_), None) => {}
            (None, Some(date)) => {
                midnight(date)?;
            }
            _ => return malformed("A Transition says one of Days and Date."),
        }
        check_class(transition.storage_class.as_ref())?;
    }
    let noncurrent = given.noncurrent_version_transitions.as_deref().unwrap_or_default();
    for transition in noncurrent {
        match transition.noncurrent_days {
            None => return malformed("An action says after how many days."),
            Some(days) if days < 0 => {
                return argument(
                    "'NoncurrentDays' for NoncurrentVersionTransition action must be a nonnegative integer.",
                );
            }
            Some(_) => {}
        }
        check_class(transition.storage_class.as_ref())?;
    }
    Ok(!current.is_empty() || !noncurrent.is_empty())
}

fn check_class(class: Option<&dto::TransitionStorageClass>) -> Result<(), Failure> {
    type Class = dto::TransitionStorageClass;
    let known = [
        Class::DEEP_ARCHIVE,
        Class::GLACIER,
        Class::GLACIER_IR,
        Class::INTELLIGENT_TIERING,
        Class::ONEZONE_IA,
        Class::STANDARD_IA,
    ];
    if class.is_some_and(|class| known.contains(&class.as_str())) {
        return Ok(());
    }
    malformed("The StorageClass of a transition is one that S3 knows.")
}

fn positive(days: Option<i32>, message: &str) -> Result<u32, Failure> {
    let Some(days) = days else { return malformed("An action says after how many days.") };
    match u32::try_from(days) {
        Ok(days) if days > 0 => Ok(days),
        _ => argument(message),
    }
}

fn filter(given: &dto::LifecycleRuleFilter) -> Result<RuleFilter, Failure> {
    let prefix = given.prefix.as_deref().filter(|prefix| !prefix.is_empty());
    let said = [
        prefix.is_some(),
        given.tag.is_some(),
        given.and.is_some(),
        given.object_size_greater_than.is_some(),
        given.object_size_less_than.is_some(),
    ];
    if said.into_iter().filter(|said| *said).count() > 1 {
        return malformed("A Filter says one thing; several stand within an And.");
    }
    if let Some(and) = &given.and {
        let tags = and.tags.as_deref().unwrap_or_default();
        return Ok(RuleFilter {
            prefix: and.prefix.clone().unwrap_or_default(),
            tags: tags_of(tags)?,
            ..sizes(and.object_size_greater_than, and.object_size_less_than)?
        });
    }
    Ok(RuleFilter {
        prefix: prefix.unwrap_or_default().to_owned(),
        tags: tags_of(given.tag.as_slice())?,
        ..sizes(given.object_size_greater_than, given.object_size_less_than)?
    })
}

fn sizes(greater: Option<i64>, less: Option<i64>) -> Result<RuleFilter, Failure> {
    let size = |size: Option<i64>| size.map(u64::try_from).transpose();
    let (Ok(larger_than_bytes), Ok(smaller_than_bytes)) = (size(greater), size(less)) else {
        return argument("The size of an object is 0 or more.");
    };
    if let (Some(larger), Some(smaller)) = (larger_than_bytes, smaller_than_bytes)
        && larger >= smaller
    {
        return request("ObjectSizeLessThan must be larger than ObjectSizeGreaterThan.");
    }
    Ok(RuleFilter { larger_than_bytes, smaller_than_bytes, ..RuleFilter::default() })
}

fn tags_of(given: &[dto::Tag]) -> Result<Vec<(String, String)>, Failure> {
    let mut tags: Vec<(String, String)> = Vec::with_capacity(given.len());
    for tag in given {
        let (Some(key), Some(value)) = (tag.key.clone(), tag.value.clone()) else {
            return malformed("A Tag has a Key and a Value.");
        };
        if key.is_empty() || key.chars().count() > 128 || value.chars().count() > 256 {
            return Err(Failure::request(
                400,
                "InvalidTag",
                "A tag's key has 1 to 128 characters, its value up to 256.",
            ));
        }
        if tags.iter().any(|(there, _)| *there == key) {
            return request("Duplicate Tag Keys are not allowed.");
        }
        tags.push((key, value));
    }
    Ok(tags)
}

/// When current versions go; nothing for an expiration that says no to the one thing that it names.
fn expiration(given: &dto::LifecycleExpiration) -> Result<Option<Expiration>, Failure> {
    match (given.days, &given.date, given.expired_object_delete_marker) {
        (None, None, Some(true)) => Ok(Some(Expiration::LoneMarkers)),
        (None, None, Some(false)) => Ok(None),
        (days @ Some(_), None, None | Some(false)) => {
            let days = positive(days, "'Days' for Expiration action must be a positive integer.")?;
            Ok(Some(Expiration::Days(days)))
        }
        (None, Some(date), None | Some(false)) => Ok(Some(Expiration::Date(midnight(date)?))),
        _ => malformed("An Expiration says one of Days, Date and ExpiredObjectDeleteMarker."),
    }
}

fn midnight(date: &dto::Timestamp) -> Result<Timestamp, Failure> {
    let date = OffsetDateTime::from(date.clone());
    if date.time() != time::Time::MIDNIGHT || !date.offset().is_utc() {
        return argument("'Date' must be at midnight GMT.");
    }
    Ok(Timestamp(i64::try_from(date.unix_timestamp_nanos() / 1_000).unwrap_or(i64::MAX)))
}

fn noncurrent(given: &dto::NoncurrentVersionExpiration) -> Result<NoncurrentExpiration, Failure> {
    let message = "'NoncurrentDays' for NoncurrentVersionExpiration action must be a positive integer.";
    let days = positive(given.noncurrent_days, message)?;
    let newer = given.newer_noncurrent_versions.map_or(Some(0), |newer| usize::try_from(newer).ok());
    match newer.filter(|newer| *newer <= NEWER_LIMIT && given.newer_noncurrent_versions != Some(0)) {
        Some(newer) => Ok(NoncurrentExpiration { days, newer }),
        None => argument("'NewerNoncurrentVersions' takes 1 to 100."),
    }
}
