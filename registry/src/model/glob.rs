//! The patterns of marker keys: text with `*`, which stands for any run of characters but a slash.

/// Whether a path matches a pattern.
#[must_use]
pub fn matches(pattern: &str, path: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == path };
    let Some(tail) = path.strip_prefix(head) else { return false };
    let reach = tail.find('/').unwrap_or(tail.len());
    tail.char_indices()
        .map(|(at, _)| at)
        .chain([tail.len()])
        .take_while(|at| *at <= reach)
        .any(|at| matches(rest, &tail[at..]))
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_stops_at_a_slash() {
        assert!(matches("_SUCCESS", "_SUCCESS"));
        assert!(!matches("_SUCCESS", "a/_SUCCESS"));
        assert!(matches("*.done", "run.done"));
        assert!(matches("*.done", ".done"));
        assert!(!matches("*.done", "a/run.done"));
        assert!(matches("*/x-*", "a/x-1"));
        assert!(!matches("*.done", "run.donee"));
        assert!(matches("é*", "é"));
    }
}
