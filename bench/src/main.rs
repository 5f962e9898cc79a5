//! The command line of the benchmark: measure the machine, the log or the wire, and write what was measured down.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use artifactstore_bench::folder::clear;
use artifactstore_bench::listing::{ListingOptions, listing};
use artifactstore_bench::log::{LogOptions, log};
use artifactstore_bench::machine::machine;
use artifactstore_bench::progress::Progress;
use artifactstore_bench::quiet::Patience;
use artifactstore_bench::report::page::{sections, write};
use artifactstore_bench::report::{Results, machine_table};
use artifactstore_bench::wire::run::{WireOptions, WireReport, wire};
use clap::{Parser, Subcommand};

/// Measures artifact-store, and other servers beside it
#[derive(Debug, Parser)]
struct Arguments {
    /// Where results are kept until they are written down
    #[arg(long, global = true, env = "BENCH_RESULTS", default_value = "target/bench/results", value_name = "FOLDER")]
    results: PathBuf,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// What this machine's disk and cores can do at most
    Machine {
        /// How long each limit is measured
        #[arg(long, default_value_t = 3.0)]
        seconds: f64,
        /// How often what was disturbed is measured again
        #[command(flatten)]
        patience: Patience,
        /// The folder whose disk is measured
        #[arg(long, env = "BENCH_FOLDER", default_value = "target/bench")]
        folder: PathBuf,
    },
    /// The log writer and the replay, through the real store
    Log {
        /// What to run
        #[command(flatten)]
        options: LogOptions,
        /// The folder whose disk is measured
        #[arg(long, env = "BENCH_FOLDER", default_value = "target/bench")]
        folder: PathBuf,
    },
    /// Pages of buckets with up to a million keys
    Listing {
        /// What to run
        #[command(flatten)]
        options: ListingOptions,
        /// The folder whose disk is measured
        #[arg(long, env = "BENCH_FOLDER", default_value = "target/bench")]
        folder: PathBuf,
    },
    /// The same operations over HTTP on this gateway and on other servers
    Wire(WireOptions),
    /// Print what was measured last, or write it into a page
    Report {
        /// The page whose tables are replaced
        #[arg(long, value_name = "FILE")]
        page: Option<PathBuf>,
        /// Where criterion left the results of the micro benches
        #[arg(long, default_value = "target/criterion", value_name = "FOLDER")]
        criterion: PathBuf,
        /// The folder whose disk was measured: what the servers left in it is removed
        #[arg(long, env = "BENCH_FOLDER", default_value = "target/bench")]
        folder: PathBuf,
    },
}

/// As the gateway has it, whose log is measured in this process.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let results = Results::new(arguments.results);
    match arguments.what {
        What::Machine { seconds, patience, folder } => {
            let progress = Progress::new();
            progress.step("the limits of this machine");
            let measured = machine(&folder, Duration::from_secs_f64(seconds), patience)?;
            progress.line(&machine_table(&measured));
            results.keep("machine", &measured)
        }
        What::Log { options, folder } => results.keep("log", &log(&options, &folder, &Progress::new())?),
        What::Listing { options, folder } => results.keep("listing", &listing(&options, &folder, &Progress::new())?),
        What::Wire(options) => {
            let kept = if options.again {
                results.read::<WireReport>("wire")?.unwrap_or_default()
            } else {
                WireReport::default()
            };
            results.keep("wire", &wire(&options, kept.undisturbed(), &Progress::new())?)
        }
        What::Report { page, criterion, folder } => {
            let sections = sections(&results, &criterion)?;
            if let Some(page) = page {
                let text = std::fs::read_to_string(&page).with_context(|| page.display().to_string())?;
                let written = sections.iter().try_fold(text, |text, (section, table)| write(&text, section, table))?;
                std::fs::write(&page, written).with_context(|| page.display().to_string())?;
            } else {
                sections.iter().for_each(|(section, text)| println!("## {section}\n\n{text}"));
            }
            clear(&folder)
        }
    }
}
