//! Patterns of policies, in which `*` stands for any run of characters and `?` for any one.
//!
//! Invariant: what a pattern has is bounded, and so is the time that a comparison takes.

use std::collections::BTreeSet;

use super::malformed;
use crate::error::Failure;

/// What a pattern may have at most, and half of what it is compared with: keys are shorter, and the time that a
/// comparison takes grows with both.
pub(super) const PATTERN_CHARACTERS_MAX: usize = 1200;

pub(super) fn check_length(patterns: &[String]) -> Result<(), Failure> {
    if patterns.iter().all(|pattern| pattern.chars().count() <= PATTERN_CHARACTERS_MAX) {
        return Ok(());
    }
    Err(malformed(format!("A name or value of a policy is longer than {PATTERN_CHARACTERS_MAX} characters.")))
}

/// Whether a text is what a pattern says.
pub(super) fn fits(pattern: &str, text: &str) -> bool {
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

/// Patterns of which one has to fit, or none where they say what is left out.
#[derive(Debug)]
pub(super) struct Patterns {
    pub(super) patterns: Vec<String>,
    pub(super) left_out: bool,
}

impl Patterns {
    pub(super) fn fit(&self, text: &str) -> bool {
        self.patterns.iter().any(|pattern| fits(pattern, text)) != self.left_out
    }

    /// Whether there is any text behind this beginning with which it fits.
    pub(super) fn fit_behind(&self, beginning: &str) -> bool {
        let beginning: Vec<char> = beginning.chars().collect();
        let patterns: Vec<Vec<char>> = self.patterns.iter().map(|pattern| pattern.chars().collect()).collect();
        let mut left = patterns
            .iter()
            .flat_map(|pattern| rests(pattern, &beginning).into_iter().map(move |from| &pattern[from..]));
        if self.left_out { !are_everything(left) } else { left.any(|rest| !rest.is_empty()) }
    }
}

/// Where a pattern can be once it took a text: what stands from there on is still to come.
fn rests(pattern: &[char], text: &[char]) -> Vec<usize> {
    let mut at = vec![0];
    pass_stars(pattern, &mut at);
    for one in text {
        let mut next = Vec::with_capacity(at.len() + 1);
        for from in at {
            match pattern.get(from) {
                Some('*') => next.push(from),
                Some(own) if *own == '?' || own == one => next.push(from + 1),
                _ => {}
            }
        }
        pass_stars(pattern, &mut next);
        at = next;
    }
    at
}

/// Adds where one gets by taking stars for nothing; in order, each place once.
fn pass_stars(pattern: &[char], at: &mut Vec<usize>) {
    at.dedup();
    let mut index = 0;
    while let Some(from) = at.get(index).copied() {
        if pattern.get(from) == Some(&'*') && at.get(index + 1) != Some(&(from + 1)) {
            at.insert(index + 1, from + 1);
        }
        index += 1;
    }
}

/// Whether one of these fits any text that is not empty. One of characters that none of them names is a matter of its
/// length alone: of what consists of stars and question marks.
fn are_everything<'p>(rests: impl Iterator<Item = &'p [char]>) -> bool {
    let mut lengths = BTreeSet::new();
    let mut from = None;
    for rest in rests.filter(|rest| rest.iter().all(|one| matches!(one, '*' | '?'))) {
        let length = rest.iter().filter(|one| **one == '?').count();
        if rest.contains(&'*') {
            from = Some(from.map_or(length, |known: usize| known.min(length)));
        } else {
            lengths.insert(length);
        }
    }
    from.is_some_and(|from| (1..from).all(|length| lengths.contains(&length)))
}

#[cfg(test)]
mod tests {
    use super::{Patterns, fits};

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

    #[test]
    fn what_can_come_behind_a_beginning_is_known() {
        let one = |pattern: &str, left_out| Patterns { patterns: vec![pattern.to_owned()], left_out };
        for (pattern, some, all) in [
            ("*", true, true),
            ("lab*", true, true),
            ("lab/*", true, true),
            ("lab/?*", true, true),
            ("l?b/**", true, true),
            ("lab/a", true, false),
            ("lab/??*", true, false),
            ("*x", true, false),
            ("*/x*y", true, false),
            ("lab/", false, false),
            ("lab", false, false),
            ("labs/*", false, false),
            ("", false, false),
        ] {
            assert_eq!(one(pattern, false).fit_behind("lab/"), some, "{pattern}");
            assert_eq!(one(pattern, true).fit_behind("lab/"), !all, "all but {pattern}");
        }
        // Every pattern of up to four characters, by trying what can come.
        let all_of = |alphabet: &str, length: usize| {
            let mut words = vec![String::new()];
            let mut last = words.clone();
            for _ in 0..length {
                last = last.iter().flat_map(|word| alphabet.chars().map(move |one| format!("{word}{one}"))).collect();
                words.extend(last.iter().cloned());
            }
            words
        };
        let coming = all_of("abc", 5);
        for pattern in all_of("ab*?", 4) {
            for beginning in ["", "a", "ab"] {
                let mut fitting = coming[1..].iter().map(|text| fits(&pattern, &format!("{beginning}{text}")));
                let (some, all) = (fitting.clone().any(|it| it), fitting.all(|it| it));
                assert_eq!(one(&pattern, false).fit_behind(beginning), some, "{pattern} behind {beginning:?}");
                assert_eq!(one(&pattern, true).fit_behind(beginning), !all, "all but {pattern} behind {beginning:?}");
            }
        }
        // The time that many stars take is bounded, too.
        assert!(one(&"*a".repeat(600), false).fit_behind(&"a".repeat(100)));
    }
}
