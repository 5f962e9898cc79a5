//! What rules mean, for each kind of thing that they are about.

use proptest::prelude::{any, prop_assert, proptest};

use super::{
    DayLength, Expiration, LifecycleRule, NoncurrentExpiration, RuleFilter, Timestamp, Traits, first, prefixes,
};
use crate::model::cbor::TextMap;
use crate::model::name::Key;

const DAY: i64 = 86_400_000_000;
const HOUR: i64 = DAY / 24;

fn rule(filter: RuleFilter) -> LifecycleRule {
    LifecycleRule {
        id: "r".to_owned(),
        filter,
        expiration: Some(Expiration::Days(3)),
        noncurrent: Some(NoncurrentExpiration { days: 2, newer: 5 }),
        abort_days: Some(1),
    }
}

fn tags(tags: &[(&str, &str)]) -> TextMap {
    tags.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn days_end_at_the_midnight_behind_them_as_s3_counts() {
    let at = |days: i64, hours: i64| Timestamp(days * DAY + hours * HOUR);
    // 10:30 on the 15th and three days: midnight before the 19th.
    assert_eq!(DayLength::REAL.after(at(15, 10), 3), at(19, 0));
    assert_eq!(DayLength::REAL.after(at(15, 0), 3), at(19, 0), "never a day early");
    assert_eq!(DayLength::REAL.after(Timestamp(at(16, 0).0 - 1), 0), at(16, 0));
    assert_eq!(DayLength::REAL.after(Timestamp(i64::MAX - 5), u32::MAX), Timestamp(i64::MAX), "no overflow");
    assert_eq!(DayLength::of_seconds(10).after(at(15, 10), 3), Timestamp(at(15, 10).0 + 30_000_000));
    assert!(DayLength::of_seconds(86_400).is_real());
}

proptest! {
    #[test]
    fn nothing_goes_before_its_days_have_passed(begun in 0_i64..1 << 52, days in any::<u16>(), seconds in 1_u32..=86_400) {
        let day = DayLength::of_seconds(seconds);
        let over = day.after(Timestamp(begun), days.into()).0;
        let passed = i64::from(days) * i64::from(seconds) * 1_000_000;
        prop_assert!(over >= begun + passed && over <= begun + passed + DAY);
    }
}

#[test]
fn a_filter_wants_all_that_it_names() {
    let filter = RuleFilter {
        prefix: "run/".to_owned(),
        tags: vec![("a".to_owned(), "1".to_owned()), ("b".to_owned(), String::new())],
        larger_than_bytes: Some(10),
        smaller_than_bytes: Some(20),
    };
    let (key, other) = (Key::parse("run/x").unwrap(), Key::parse("ran/x").unwrap());
    let (fitting, wrong) = (tags(&[("a", "1"), ("b", ""), ("c", "3")]), tags(&[("a", "2"), ("b", "")]));
    let fits = |key, size_bytes, tags| filter.fits(Traits { key, size_bytes, tags });
    assert!(fits(&key, 11, &fitting) && fits(&key, 19, &fitting));
    assert!(!fits(&other, 11, &fitting) && !fits(&key, 10, &fitting) && !fits(&key, 20, &fitting));
    assert!(!fits(&key, 11, &wrong) && !fits(&key, 11, &tags(&[("a", "1")])));
    assert!(!filter.fits_bare(&key), "a marker has neither tags nor a size");
    assert!(RuleFilter { prefix: "run/".to_owned(), ..RuleFilter::default() }.fits_bare(&key));
}

#[test]
fn each_action_is_about_its_own_kind_of_thing() {
    let (key, none) = (Key::parse("x").unwrap(), TextMap::default());
    let (version, at, day) = (Traits { key: &key, size_bytes: 1, tags: &none }, Timestamp(0), DayLength::of_seconds(1));
    let mut rule = rule(RuleFilter::default());
    assert_eq!(rule.current_until(version, at, day), Some(Timestamp(3_000_000)));
    assert_eq!(rule.marker_until(&key, at, day), Some(Timestamp(3_000_000)));
    assert_eq!(rule.noncurrent_until(version, at, day), Some((Timestamp(2_000_000), 5)));
    assert_eq!(rule.noncurrent_marker_until(&key, at, day), Some((Timestamp(2_000_000), 5)));
    assert_eq!(rule.upload_until(&key, at, day), Some(Timestamp(1_000_000)));
    rule.expiration = Some(Expiration::Date(Timestamp(7)));
    assert_eq!(rule.current_until(version, at, day), Some(Timestamp(7)));
    rule.expiration = Some(Expiration::LoneMarkers);
    assert_eq!(rule.current_until(version, at, day), None);
    assert_eq!(rule.marker_until(&key, Timestamp(9), day), Some(Timestamp(9)));
    rule.filter.larger_than_bytes = Some(0);
    assert_eq!(rule.upload_until(&key, at, day), None);
    assert_eq!(rule.noncurrent_until(version, at, day), Some((Timestamp(2_000_000), 5)));
}

#[test]
fn of_several_rules_the_first_to_let_go_counts_and_prefixes_are_walked_once() {
    let of = |prefix: &str, days| {
        let filter = RuleFilter { prefix: prefix.to_owned(), ..RuleFilter::default() };
        std::sync::Arc::new(LifecycleRule {
            id: prefix.to_owned(),
            expiration: Some(Expiration::Days(days)),
            ..rule(filter)
        })
    };
    let rules = [of("a/", 3), of("", 5), of("a/b", 1)];
    let (key, none) = (Key::parse("a/c").unwrap(), TextMap::default());
    let version = Traits { key: &key, size_bytes: 1, tags: &none };
    let found = first(&rules, |rule| rule.current_until(version, Timestamp(0), DayLength::of_seconds(1))).unwrap();
    assert_eq!((found.0, found.1.id.as_str()), (Timestamp(3_000_000), "a/"));
    let apart = |of: &[&std::sync::Arc<LifecycleRule>]| prefixes(of.iter().map(|rule| &***rule)).join(",");
    assert_eq!(apart(&[&rules[0], &rules[1], &rules[2]]), "");
    assert_eq!(apart(&[&rules[2], &rules[0], &of("b", 1)]), "a/,b");
    assert!(prefixes([]).is_empty());
}
