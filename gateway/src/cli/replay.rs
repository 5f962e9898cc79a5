//! `artifactstore replay`.

use std::process::ExitCode;

use artifactstore_registry::actions::request::{DIFFERENCES_LIMIT, Difference};

use super::output::{self, Bar, Counted, shown};
use super::{Outcome, with_registry};
use crate::config::Settings;

/// Rebuilds every view from the event log in an empty schema, and puts the result in the place of the live views
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Change nothing: compare with the live views, and say where they differ; exit code 1 if they do anywhere
    #[arg(long)]
    check: bool,
    /// Answer with JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &Args, settings: &Settings) -> Outcome {
    let bar = Bar::new(Counted::Pieces("events"));
    let summary = with_registry(settings, |registry| async move {
        let outcome = registry.replay(args.check, &|progress| bar.show(progress)).await;
        bar.finish();
        Ok(outcome?)
    })
    .await?;
    let equal = summary.differences.is_empty();
    if args.json {
        output::json(&summary)?;
    } else {
        for difference in &summary.differences {
            output::line(describe(difference))?;
        }
        let verdict = match (args.check, summary.differences.len()) {
            (true, 0) => "views are equal".to_owned(),
            (true, many) if many >= DIFFERENCES_LIMIT => format!("{many} differences or more"),
            (true, many) => format!("{many} differences"),
            (false, _) => "views are rebuilt".to_owned(),
        };
        output::line(format_args!("replayed {} events into {} rows; {verdict}", summary.events, summary.rows))?;
    }
    Ok(if equal { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn describe(difference: &Difference) -> String {
    let row =
        |value: &Option<serde_json::Value>| value.as_ref().map_or_else(|| "absent".to_owned(), ToString::to_string);
    let (live, replayed) = (row(&difference.live), row(&difference.replayed));
    format!("{} {}: live {live}, replayed {replayed}", difference.view, shown(&difference.key))
}
