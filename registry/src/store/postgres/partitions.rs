//! The partitions of the events: each of ten million, made before they are needed.
//!
//! They are made inside a batch, which has the head locked: two gateways never make one at once, and readers and
//! writers are not held up, since a table that is attached when it is empty is not read for it. One that was made by
//! a batch which is undone is undone with it.

use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;

use crate::error::Result;
use crate::model::row::Sequence;

/// How many events a partition has. The same for every version of this program: ranges must not overlap.
const EVENTS_PER_PARTITION: u64 = 10_000_000;
/// How many events ahead a partition is made.
const AHEAD: u64 = 1_000_000;

/// Whether partitions are to be made before this event is written, when there are some up to that one.
pub(super) const fn are_due(last: Sequence, partitioned_until: u64) -> bool {
    last.saturating_add(AHEAD) >= partitioned_until
}

/// Makes those partitions that these events need, and what follows soon; says up to where there are some now.
pub(super) async fn ensure(connection: &mut PgConnection, first: Sequence, last: Sequence) -> Result<u64> {
    let until = (last.saturating_add(AHEAD) / EVENTS_PER_PARTITION).saturating_add(1);
    let mut text = String::from("DO $$ BEGIN");
    for number in first / EVENTS_PER_PARTITION..until {
        let name = format!("events_p{number:06}");
        let (from, to) = (number * EVENTS_PER_PARTITION, (number + 1) * EVENTS_PER_PARTITION);
        text.push_str(&format!(
            " IF to_regclass('{name}') IS NULL THEN \
             CREATE TABLE {name} (LIKE events INCLUDING DEFAULTS INCLUDING CONSTRAINTS); \
             ALTER TABLE events ATTACH PARTITION {name} FOR VALUES FROM ({from}) TO ({to}); END IF;"
        ));
    }
    text.push_str(" END $$");
    sqlx::raw_sql(AssertSqlSafe(text)).execute(connection).await?;
    Ok(until * EVENTS_PER_PARTITION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_made_a_million_events_ahead() {
        assert!(are_due(1, 0), "the first batch makes the first");
        assert!(!are_due(1, EVENTS_PER_PARTITION));
        assert!(!are_due(EVENTS_PER_PARTITION - AHEAD - 1, EVENTS_PER_PARTITION));
        assert!(are_due(EVENTS_PER_PARTITION - AHEAD, EVENTS_PER_PARTITION));
    }
}
