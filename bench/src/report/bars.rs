//! The bars that this version has to clear, each beside what was measured. Every comparison is within one run.

use super::{figure, table};
use crate::listing::Listed;
use crate::log::LogReport;
use crate::machine::Machine;
use crate::wire::op::Op;
use crate::wire::peer::Peer;
use crate::wire::run::{Measured, WireReport};

/// What the gateway may hold of bodies at once by default, in bytes.
const BUDGET_BYTES: f64 = (256 << 20) as f64;
const MIB: f64 = (1 << 20) as f64;

/// A bar: a figure that is at least, or at most, so much.
#[derive(Debug, Clone, PartialEq)]
pub struct Bar {
    /// What is measured.
    pub work: &'static str,
    /// What is asked of it.
    pub asked: String,
    /// What was measured.
    pub measured: f64,
    /// What it is compared with.
    pub bar: f64,
    /// Whether less is better.
    pub at_most: bool,
}

impl Bar {
    /// Whether it is cleared.
    #[must_use]
    pub fn is_met(&self) -> bool {
        if self.at_most { self.measured <= self.bar } else { self.measured >= self.bar }
    }
}

struct Bars<'a> {
    wire: &'a WireReport,
    found: Vec<Bar>,
}

impl Bars<'_> {
    fn ours(&self, op: Op) -> Option<&Measured> {
        self.wire.find(Peer::Artifactstore, op)
    }

    /// At least so many times what a peer does: in bytes where they are what moves, else in operations.
    fn times(&mut self, op: Op, factor: f64, peer: Peer) {
        if let (Some(ours), Some(theirs)) = (self.ours(op), self.wire.find(peer, op)) {
            let large = op.shape().is_large();
            let speed = |one: &Measured| if large { one.megabytes() } else { one.rate() };
            let unit = if large { " MB/s" } else { "/s" };
            let asked = format!("at least {factor}x {}: {}{unit}", peer.title(), figure(speed(theirs)));
            let (measured, bar) = (speed(ours), speed(theirs) * factor);
            self.found.push(Bar { work: op.title(), asked, measured, bar, at_most: false });
        }
    }

    fn at_least(&mut self, work: &'static str, asked: String, measured: Option<f64>, bar: f64) {
        if let Some(measured) = measured {
            self.found.push(Bar { work, asked, measured, bar, at_most: false });
        }
    }

    fn at_most(&mut self, work: &'static str, asked: &str, measured: Option<f64>, bar: f64) {
        if let Some(measured) = measured {
            self.found.push(Bar { work, asked: asked.to_owned(), measured, bar, at_most: true });
        }
    }

    fn writes(&mut self, machine: &Machine) {
        self.times(Op::PutSmall, 1.5, Peer::S3sFs);
        self.times(Op::PutSmall, 4.0, Peer::Rgw);
        self.times(Op::PutSmall, 15.0, Peer::GarageSynced);
        let cpu = self.ours(Op::PutSmall).map(Measured::cpu_ms);
        self.at_most(Op::PutSmall.title(), "server CPU under 0.4 ms", cpu, 0.4);
        self.times(Op::PutSmallAlone, 1.5, Peer::Rgw);
        let alone = self.ours(Op::PutSmallAlone).map(Measured::rate);
        let asked = format!("at least 0.8 of file, then log ({}/s)", figure(machine.file_then_log));
        self.at_least(Op::PutSmallAlone.title(), asked, alone, machine.file_then_log * 0.8);

        self.times(Op::PutLarge, 1.5, Peer::Rgw);
        if let Some(ours) = self.ours(Op::PutLarge) {
            let (digests, measured) = (digests_left(machine, ours), ours.megabytes());
            let bound = machine.sequential_megabytes.min(digests);
            let asked = format!(
                "at least 0.85 of min(disk {}, digests {}) MB/s",
                figure(machine.sequential_megabytes),
                figure(digests)
            );
            self.at_least(Op::PutLarge.title(), asked, Some(measured), bound * 0.85);
        }
        self.times(Op::Multipart, 1.5, Peer::Rgw);
        let slowest = |one: &Measured| one.complete.map(|complete| complete.max_ms);
        for op in [Op::Multipart, Op::MultipartInOrder] {
            let complete = self.ours(op).and_then(slowest);
            self.at_most(op.title(), "Complete under 50 ms", complete, 50.0);
        }
        let complete = self.ours(Op::MultipartReversed).and_then(slowest);
        let one_read = Op::MultipartReversed.shape().size_bytes as f64 / 1e3 / machine.digests_megabytes.max(1.0);
        let asked = "Complete, in ms, within one read and digest of the bytes on one core";
        self.at_most(Op::MultipartReversed.title(), asked, complete, one_read);
        if let Some(ours) = self.ours(Op::PutStored) {
            let (bound, measured) = (digests_left(machine, ours), ours.megabytes());
            let asked = format!("at least 0.95 of the digests' bound ({} MB/s)", figure(bound));
            self.at_least(Op::PutStored.title(), asked, Some(measured), bound * 0.95);
        }
    }

    fn reads(&mut self) {
        let peers = [Peer::S3sFs, Peer::Garage, Peer::GarageSynced, Peer::Rgw];
        let rate = |peer: &Peer| self.wire.find(*peer, Op::GetSmall).map_or(0.0, Measured::rate);
        if let Some(best) = peers.into_iter().max_by(|a, b| rate(a).total_cmp(&rate(b))) {
            self.times(Op::GetSmall, 2.5, best);
        }
        self.times(Op::GetLarge, 2.0, Peer::Rgw);
        self.times(Op::GetLarge, 0.5, Peer::Nginx);
        self.times(Op::List, 2.0, Peer::Garage);
    }

    /// A page costs what it returns, however large its bucket is.
    fn listings(&mut self, listed: &[Listed]) {
        for (kind, work) in
            [("keys", "list a page of keys"), ("folders", "list with a delimiter"), ("versions", "list versions")]
        {
            let of_kind = || listed.iter().filter(|one| one.kind == kind);
            let (Some(small), Some(large)) =
                (of_kind().min_by_key(|one| one.keys), of_kind().max_by_key(|one| one.keys))
            else {
                continue;
            };
            let (few, many) = (figure(small.keys as f64), figure(large.keys as f64));
            let asked = format!("p50, in ms, with {many} keys at most 1.5x that with {few}");
            self.at_most(work, &asked, Some(large.latency.p50_ms), small.latency.p50_ms * 1.5);
        }
    }

    fn memory(&mut self) {
        let idle = self.wire.idle_bytes.get(&Peer::Artifactstore).map(|bytes| *bytes as f64 / MIB);
        self.at_most("idle memory", "under 40 MiB", idle, 40.0);
        for op in [Op::Crowd, Op::CrowdLarge, Op::PutHuge, Op::ManyParts, Op::Seal] {
            let loaded = self.ours(op).map(|one| one.server_peak_bytes as f64 / MIB);
            self.at_most(op.title(), "memory, in MiB, under budget + 64 MiB", loaded, BUDGET_BYTES / MIB + 64.0);
        }
    }
}

/// What the digests bound a load to: all cores, less what the client took of them.
fn digests_left(machine: &Machine, one: &Measured) -> f64 {
    let client = one.client_cpu_seconds / one.seconds.max(f64::EPSILON);
    machine.digests_megabytes * (machine.cores as f64 - client).max(0.0)
}

/// Every bar that what was measured can be compared with.
#[must_use]
pub fn bars(wire: &WireReport, machine: &Machine, log: Option<&LogReport>, listing: Option<&[Listed]>) -> Vec<Bar> {
    let mut bars = Bars { wire, found: Vec::new() };
    bars.writes(machine);
    bars.reads();
    if let Some(last) = log.and_then(|log| log.rebuilt.last()) {
        let rate = last.events as f64 / last.cpu_seconds.max(0.01);
        bars.at_least("replay", "at least 100,000 events/s a core".to_owned(), Some(rate), 100_000.0);
    }
    bars.listings(listing.unwrap_or_default());
    bars.memory();
    bars.found
}

/// The bars as a table.
#[must_use]
pub fn bars_table(bars: &[Bar]) -> String {
    let rows: Vec<Vec<String>> = bars
        .iter()
        .map(|bar| {
            let share = bar.measured / bar.bar.max(f64::EPSILON);
            vec![
                bar.work.to_owned(),
                bar.asked.clone(),
                figure(bar.bar),
                figure(bar.measured),
                format!("{share:.2}"),
                if bar.is_met() { "met" } else { "**missed**" }.to_owned(),
            ]
        })
        .collect();
    table(&["work", "asked", "bar", "measured", "measured / bar", "verdict"], &rows)
}

#[cfg(test)]
mod tests {
    use super::bars;
    use crate::listing::Listed;
    use crate::machine::Machine;
    use crate::measure::Latency;
    use crate::wire::op::Op;
    use crate::wire::peer::Peer;
    use crate::wire::run::{Measured, WireReport};

    fn measured(peer: Peer, op: Op, operations: u64) -> Measured {
        Measured {
            peer,
            op,
            operations,
            bytes: operations * op.shape().size_bytes,
            seconds: 10.0,
            latency: Latency::default(),
            errors: 0,
            first_error: None,
            server_cpu_seconds: 5.0,
            client_cpu_seconds: 5.0,
            other_cpu_seconds: 0.0,
            stolen_share: 0.0,
            server_peak_bytes: 0,
            complete: None,
        }
    }

    #[test]
    fn a_bar_is_a_share_of_what_the_same_run_measured() {
        let small = |peer, operations| measured(peer, Op::PutSmall, operations);
        let wire = WireReport {
            measured: vec![small(Peer::Artifactstore, 30_000), small(Peer::S3sFs, 10_000), small(Peer::Rgw, 8_000)],
            ..WireReport::default()
        };
        let found = bars(&wire, &Machine::default(), None, None);
        let verdicts: Vec<(f64, f64, bool)> = found.iter().map(|bar| (bar.measured, bar.bar, bar.is_met())).collect();
        assert_eq!(verdicts, [(3000.0, 1500.0, true), (3000.0, 3200.0, false), (5.0 / 30.0, 0.4, true)]);
    }

    #[test]
    fn what_failed_clears_no_bar() {
        let failed = Measured { errors: 1, ..measured(Peer::Artifactstore, Op::PutSmall, 30_000) };
        let wire = WireReport { measured: vec![failed], ..WireReport::default() };
        assert_eq!(bars(&wire, &Machine::default(), None, None), []);
    }

    #[test]
    fn a_page_of_a_large_bucket_is_compared_with_that_of_a_small_one() {
        let listed = |keys, kind: &str, p50_ms| Listed {
            keys,
            kind: kind.to_owned(),
            entries: 1000,
            latency: Latency { p50_ms, ..Latency::default() },
        };
        let of_run = [
            listed(10_000, "keys", 2.0),
            listed(100_000, "keys", 9.0),
            listed(1_000_000, "keys", 2.9),
            listed(10_000, "folders", 2.0),
            listed(1_000_000, "folders", 3.1),
        ];
        let found = bars(&WireReport::default(), &Machine::default(), None, Some(&of_run));
        let verdicts: Vec<(f64, f64, bool)> = found.iter().map(|bar| (bar.measured, bar.bar, bar.is_met())).collect();
        assert_eq!(verdicts, [(2.9, 3.0, true), (3.1, 3.0, false)]);
        assert_eq!(found[0].asked, "p50, in ms, with 1,000,000 keys at most 1.5x that with 10,000");
    }

    #[test]
    fn the_clients_share_of_the_cores_is_not_asked_of_the_digests() {
        let machine = Machine { cores: 2, digests_megabytes: 400.0, sequential_megabytes: 1e9, ..Machine::default() };
        let wire =
            WireReport { measured: vec![measured(Peer::Artifactstore, Op::PutStored, 90)], ..WireReport::default() };
        let found = bars(&wire, &machine, None, None);
        assert_eq!(found.len(), 1);
        // Half a core went to the client, so one and a half are left.
        assert!((found[0].bar - 570.0).abs() < 1e-6 && found[0].is_met());
    }
}
