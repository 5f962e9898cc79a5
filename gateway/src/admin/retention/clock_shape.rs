//! The clock and its jumps as JSON, and in a line.

use artifactstore_registry::actions::retention::ClockReport;
use artifactstore_registry::model::retention::ClockJump;
use serde::Serialize;
use utoipa::ToSchema;

/// A moment at which the clock went further than time did.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = ClockJump)]
pub(crate) struct JumpShape {
    /// The event that recorded it; 0 as long as none did, and the next event will.
    event: u64,
    /// The time that was trusted last.
    #[schema(format = DateTime)]
    from: String,
    /// The time that the clock showed.
    #[schema(format = DateTime)]
    to: String,
    /// Whether it lies between the last event and the beginning of a process, is little, and is believed as long as nobody
    /// says otherwise: nothing can prove it.
    believed: bool,
    /// The event by which an operator settled it; null as long as nobody did.
    #[schema(required)]
    settled_event: Option<u64>,
    /// Whether the clock was right, as the operator said; null as long as nobody did.
    #[schema(required)]
    genuine: Option<bool>,
}

impl From<&ClockJump> for JumpShape {
    fn from(jump: &ClockJump) -> Self {
        Self {
            event: jump.sequence,
            from: jump.from.to_string(),
            to: jump.to.to_string(),
            believed: jump.is_believed(),
            settled_event: jump.settled_sequence.filter(|_| !jump.is_believed()),
            genuine: jump.settled_sequence.filter(|_| !jump.is_believed()).map(|_| jump.genuine),
        }
    }
}

/// What the clock shows, and what of it is believed.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Clock)]
pub(crate) struct ClockShape {
    /// What the clock shows.
    #[schema(format = DateTime)]
    shown: String,
    /// The time that expiry goes by.
    #[schema(format = DateTime)]
    expiry: String,
    /// Whether expiry goes behind, or stands still, for a jump that nobody has settled.
    held_up: bool,
    /// Every jump that was recorded, by event.
    jumps: Vec<JumpShape>,
}

impl From<&ClockReport> for ClockShape {
    fn from(report: &ClockReport) -> Self {
        Self {
            shown: report.shown.to_string(),
            expiry: report.expiry.to_string(),
            held_up: report.jumps.iter().any(|jump| jump.settled_sequence.is_none()),
            jumps: report.jumps.iter().map(Into::into).collect(),
        }
    }
}

/// What a jump that nobody has settled means, in one line.
pub(crate) fn jump_warning(jump: &ClockJump) -> Option<String> {
    if jump.settled_sequence.is_some() {
        return None;
    }
    let means = if jump.is_small() {
        format!("expiry goes {} minutes behind", jump.length_micros() / 60_000_000)
    } else {
        format!("expiry stands still since {}", jump.from)
    };
    if jump.sequence == 0 {
        return Some(format!(
            "the clock shows {}, and {} was the last time that is certain: {means}, and the next event records the jump; \
             ingest goes on",
            jump.to, jump.from
        ));
    }
    Some(format!(
        "the clock jumped from {} to {} (event {}): {means}, ingest goes on; say whether the clock is right with \
         `artifactstore retention settle-clock {}`",
        jump.from, jump.to, jump.sequence, jump.sequence
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use artifactstore_registry::clock::Timestamp;
    use serde_json::json;

    #[test]
    fn a_settled_jump_warns_no_more() {
        let jump = ClockJump {
            sequence: 5,
            from: Timestamp(0),
            to: Timestamp(86_400_000_001),
            settled_sequence: None,
            genuine: false,
        };
        let warning = jump_warning(&jump).unwrap();
        assert!(warning.contains("event 5") && warning.contains("still since 1970-01-01T00:00:00Z"), "{warning}");
        assert_eq!(serde_json::to_value(JumpShape::from(&jump)).unwrap()["genuine"], json!(null));
        let unrecorded = jump_warning(&ClockJump { sequence: 0, ..jump.clone() }).unwrap();
        assert!(unrecorded.contains("the next event records the jump"), "{unrecorded}");
        let small = jump_warning(&ClockJump { to: Timestamp(3_600_000_000), ..jump.clone() }).unwrap();
        assert!(small.contains("expiry goes 60 minutes behind"), "{small}");
        let believed = ClockJump { settled_sequence: Some(5), genuine: true, ..jump.clone() };
        assert_eq!(jump_warning(&believed), None);
        let told = serde_json::to_value(JumpShape::from(&believed)).unwrap();
        assert_eq!(
            (&told["believed"], &told["settled_event"], &told["genuine"]),
            (&json!(true), &json!(null), &json!(null))
        );
        let settled = ClockJump { settled_sequence: Some(6), ..jump };
        assert_eq!(jump_warning(&settled), None);
        assert_eq!(serde_json::to_value(JumpShape::from(&settled)).unwrap()["genuine"], json!(false));
    }
}
