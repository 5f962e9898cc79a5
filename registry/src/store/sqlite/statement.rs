//! Multi-row statements: one for many rows, of few different shapes, so that each is prepared once and kept.
//!
//! Invariant: how many statements a batch takes follows the tables it touches and not its rows, up to [`ROWS_LIMIT`] rows
//! of a table. Shapes are powers of two, few enough to stay in the connection's cache; what a group has fewer of is
//! padded: look-ups ask for the last key again, and written rows are followed by rows of nulls that the text leaves out.

/// The most rows in one statement.
pub(super) const ROWS_LIMIT: usize = 256;

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
    let mut text = String::with_capacity(rows * (2 * columns + 2));
    for row in 0..rows {
        text.push_str(if row == 0 { "(?" } else { ",(?" });
        (1..columns).for_each(|_| text.push_str(",?"));
        text.push(')');
    }
    text
}

/// What gives so many rows, and room for a power of two of them: a value that is not bound is null, and no row that is
/// meant has a null in its first column.
pub(super) fn given(rows: usize, columns: usize) -> String {
    format!("SELECT * FROM (VALUES {}) WHERE column1 IS NOT NULL", values(rows.next_power_of_two(), columns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_has_room_for_a_power_of_two_of_rows() {
        assert_eq!(values(2, 3), "(?,?,?),(?,?,?)");
        assert_eq!(values(1, 1), "(?)");
        let room = |rows| given(rows, 4).matches('(').count() - 1;
        assert_eq!((room(1), room(2), room(3), room(129), room(ROWS_LIMIT)), (1, 2, 4, 256, 256));
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
