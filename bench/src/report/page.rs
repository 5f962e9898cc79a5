//! The page: tables are written between their markers, all else on it is prose that stays.

use std::path::Path;

use anyhow::Context as _;

use super::bars::{bars, bars_table};
use super::micro::micro_table;
use super::{Results, listing_table, log_table, machine_table, wire_table};
use crate::listing::Listed;
use crate::log::LogReport;
use crate::machine::Machine;
use crate::wire::run::WireReport;

/// The names of the page's tables.
pub const SECTIONS: [&str; 6] = ["bars", "machine", "wire", "log", "listing", "micro"];

/// The tables of what was measured, each under the name of its section. What was not measured is left out.
///
/// # Errors
/// When a result cannot be read.
pub fn sections(results: &Results, criterion: &Path) -> anyhow::Result<Vec<(&'static str, String)>> {
    let machine: Option<Machine> = results.read("machine")?;
    let wire: Option<WireReport> = results.read("wire")?;
    let log: Option<LogReport> = results.read("log")?;
    let listing: Option<Vec<Listed>> = results.read("listing")?;
    let mut found = Vec::new();
    if let (Some(machine), Some(wire)) = (&machine, &wire) {
        found.push(("bars", bars_table(&bars(wire, machine, log.as_ref(), listing.as_deref()))));
    }
    found.extend(machine.as_ref().map(|machine| ("machine", machine_table(machine))));
    found.extend(wire.as_ref().map(|wire| ("wire", wire_table(wire))));
    found.extend(log.as_ref().map(|log| ("log", log_table(log))));
    found.extend(listing.as_ref().map(|listing| ("listing", listing_table(listing))));
    found.extend(micro_table(criterion)?.map(|table| ("micro", table)));
    Ok(found)
}

/// Writes a table into its section of a page.
///
/// # Errors
/// When the page has no such section.
pub fn write(page: &str, section: &str, text: &str) -> anyhow::Result<String> {
    let (begin, end) = (format!("<!-- bench:{section} -->\n"), format!("<!-- /bench:{section} -->"));
    let (before, rest) = page.split_once(&begin).with_context(|| format!("the page has no {begin}"))?;
    let (_, after) = rest.split_once(&end).with_context(|| format!("the page has no {end}"))?;
    Ok(format!("{before}{begin}\n{}\n\n{end}{after}", text.trim()))
}

#[cfg(test)]
mod tests {
    use super::{SECTIONS, write};

    #[test]
    fn a_table_takes_the_place_of_the_one_before_and_prose_stays() {
        let page = "prose\n<!-- bench:log -->\nold\n<!-- /bench:log -->\nmore prose\n";
        let written = write(page, "log", "new\n").unwrap();
        assert_eq!(written, "prose\n<!-- bench:log -->\n\nnew\n\n<!-- /bench:log -->\nmore prose\n");
        assert_eq!(write(&written, "log", "new").unwrap(), written);
        write(page, "wire", "new").unwrap_err();
    }

    #[test]
    fn the_page_has_a_place_for_every_table() {
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/performance.md")).unwrap();
        for section in SECTIONS {
            write(&page, section, "table").unwrap();
        }
    }
}
