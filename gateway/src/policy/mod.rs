//! Bucket policies: what a bucket's owner allows others to do in it, and denies anybody, by the language of AWS.
//!
//! ```text
//! document ── a policy as it is read, and what it says to a request
//!   condition: what else has to be so; action: the actions that an operation asks for
//! ring ── the policies of all buckets, as they were a moment ago; asked by the door and by the operations
//! ```
//!
//! Invariant: a policy is carried out as it stands. What would not be is refused when it is set: whoever writes that
//! something is denied believes it.

mod action;
mod condition;
mod document;
mod ring;

pub(crate) use condition::Facts;
pub(crate) use document::{Policy, Verdict};
pub(crate) use ring::{Asking, Policies};

use artifactstore_registry::model::name::TenantName;

use crate::error::Failure;

/// Who asks: a key of a tenant; nobody in particular, when there is none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Principal<'a>(pub(crate) Option<(&'a TenantName, &'a str)>);

fn malformed(message: impl Into<String>) -> Failure {
    Failure::request(400, "MalformedPolicy", message)
}

fn not_carried_out(what: impl std::fmt::Display) -> Failure {
    let message = format!("A policy with {what} is not carried out here, and therefore not kept.");
    Failure::request(501, "NotImplemented", message)
}

/// What a pattern may have at most, and half of what it is compared with: keys are shorter, and the time that a comparison takes
/// grows with both.
const PATTERN_CHARACTERS_MAX: usize = 1200;

fn check_length(patterns: &[String]) -> Result<(), Failure> {
    if patterns.iter().all(|pattern| pattern.chars().count() <= PATTERN_CHARACTERS_MAX) {
        return Ok(());
    }
    Err(malformed(format!("A name or value of a policy is longer than {PATTERN_CHARACTERS_MAX} characters.")))
}

/// Whether a text is what a pattern says, in which `*` stands for any run of characters, and `?` for any one.
fn fits(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut from) = (0, 0);
    // Where the last star stood, and up to where it reaches so far: no other needs to be tried again.
    let mut star = None;
    while from < text.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(one) if *one == '?' || *one == text[from] => {
                at += 1;
                from += 1;
            }
            _ => {
                let Some((star_at, reach)) = star else { return false };
                star = Some((star_at, reach + 1));
                at = star_at + 1;
                from = reach + 1;
            }
        }
    }
    pattern[at..].iter().all(|rest| *rest == '*')
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn a_star_is_any_run_and_a_question_mark_is_one_character() {
        for (pattern, text) in
            [("*", ""), ("a*c", "abc"), ("a*c", "ac"), ("a*b*c", "axbbc"), ("?", "é"), ("a/*", "a/b/c"), ("", "")]
        {
            assert!(fits(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("", "a"), ("?", ""), ("a*c", "abd"), ("a?c", "ac"), ("*b", "abc"), ("a", "A")] {
            assert!(!fits(pattern, text), "{pattern} {text}");
        }
        // Many stars take no time to speak of.
        assert!(!fits(&"a*".repeat(60), &format!("{}b", "a".repeat(59))));
    }
}
