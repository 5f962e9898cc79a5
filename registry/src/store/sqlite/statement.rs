//! Multi-row statements: one for many rows, of few different shapes, so that each is prepared once and kept.
//!
//! Rows are grouped by powers of two: a batch of n rows takes at most about log2(n) statements, whatever n is, and the
//! texts are few enough to stay in the connection's cache. Look-ups are padded instead, by asking for the last key again.

use std::ops::Range;

/// The most rows in one statement.
const ROWS_LIMIT: usize = 256;

/// Cuts rows into groups whose sizes are powers of two.
pub(super) fn groups(count: usize) -> Vec<Range<usize>> {
    let mut groups = Vec::new();
    let mut at = 0;
    while at < count {
        let left = count - at;
        let size = if left >= ROWS_LIMIT { ROWS_LIMIT } else { 1 << left.ilog2() };
        groups.push(at..at + size);
        at += size;
    }
    groups
}

/// Pads keys with the last one, up to a power of two, and cuts them into statements.
pub(super) fn padded<K: Clone>(keys: &[K]) -> Vec<Vec<K>> {
    keys.chunks(ROWS_LIMIT)
        .map(|group| {
            let mut group = group.to_vec();
            if let Some(last) = group.last().cloned() {
                group.resize(group.len().next_power_of_two(), last);
            }
            group
        })
        .collect()
}

/// `(?,?),(?,?)` for so many rows of so many columns.
pub(super) fn values(rows: usize, columns: usize) -> String {
    let row = format!("({})", vec!["?"; columns].join(","));
    vec![row.as_str(); rows].join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_in_one_group_of_a_size_that_is_a_power_of_two() {
        for count in [0, 1, 2, 3, 63, 64, 100, 256, 257, 1000] {
            let groups = groups(count);
            assert_eq!(groups.iter().map(ExactSizeIterator::len).sum::<usize>(), count);
            assert!(groups.iter().all(|group| group.len().is_power_of_two()));
            assert!(groups.windows(2).all(|pair| pair[0].end == pair[1].start));
            assert!(groups.len() <= count / ROWS_LIMIT + 8);
        }
    }

    #[test]
    fn padding_repeats_the_last_key_and_asks_for_nothing_else() {
        let keys: Vec<u32> = (0..300).collect();
        let padded = padded(&keys);
        assert_eq!(padded.len(), 2);
        assert_eq!(padded[0].len(), 256);
        assert_eq!(padded[1].len(), 64);
        assert!(padded[1][44..].iter().all(|key| *key == 299));
        assert!(super::padded::<u32>(&[]).is_empty());
    }
}
