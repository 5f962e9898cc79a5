//! The command line: one file per subcommand, each a thin call of the registry.
//!
//! Commands open the data folder themselves, next to a gateway that serves it: the database takes several processes.
//!
//! Invariant: an error is one line on the standard error, and the exit code says so: 1, or 2 for wrong usage.

mod erase;
mod events;
mod finalize;
mod gc;
mod health;
mod key;
mod lifecycle;
mod manifest;
mod migrate;
mod output;
mod producer;
mod replay;
mod retention;
mod serve;
mod storage;
mod verify;
mod verify_offline;
mod version;

use std::ffi::OsString;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use artifactstore_registry::model::name::InvalidName;
use artifactstore_registry::{Error, Refusal, Registry};
use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

use crate::compose::{self, OpenMode, StartError};
use crate::config::{ConfigError, SettingArgs, Settings};
use crate::telemetry::{self, chain};

/// An S3 gateway whose uploads become content-addressed, finalized, verifiable packages.
///
/// Every setting is a flag, an environment variable (ARTIFACTSTORE_ and the flag's name) and a key of the TOML file that
/// --config names. A flag holds over a variable, a variable over the file, the file over the default.
#[derive(Debug, Parser)]
#[command(name = "artifactstore", version, propagate_version = true, max_term_width = 120)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    settings: SettingArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Args),
    Version(version::Args),
    Migrate(migrate::Args),
    Replay(replay::Args),
    Health(health::Args),
    Verify(verify::Args),
    Finalize(finalize::Args),
    Manifest(manifest::Args),
    Events(events::Args),
    Producer(producer::Args),
    Key(key::Args),
    Retention(retention::Args),
    Gc(gc::Args),
    Erase(erase::Args),
    Lifecycle(lifecycle::Args),
    Storage(storage::Args),
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum CliError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Registry(#[from] Error),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Name(#[from] InvalidName),
    #[error("cannot write the answer")]
    Output(#[source] io::Error),
    #[error("cannot read {}", .0.display())]
    Unreadable(PathBuf, #[source] io::Error),
    #[error("cannot write {}", .0.display())]
    Unwritable(PathBuf, #[source] io::Error),
    #[error("the operating system refuses threads or signals")]
    System(#[source] io::Error),
    #[error("{0}")]
    Other(String),
}

type Outcome = Result<ExitCode, CliError>;

/// Runs the program with these arguments, the first of which is its own name.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let outcome = Settings::resolve(cli.settings).map_err(CliError::from).and_then(|settings| {
        let usual = if matches!(cli.command, Command::Serve(_)) { "info" } else { "warn" };
        telemetry::init(settings.log_level.as_deref().unwrap_or(usual), settings.log_format);
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(CliError::System)?;
        runtime.block_on(dispatch(cli.command, &settings))
    });
    match outcome {
        Ok(code) => code,
        // Whoever read the answer has seen enough of it.
        Err(CliError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            complain(&chain(&error));
            ExitCode::FAILURE
        }
    }
}

async fn dispatch(command: Command, settings: &Settings) -> Outcome {
    match command {
        Command::Serve(args) => serve::run(args, settings).await,
        Command::Version(args) => version::run(&args),
        Command::Migrate(args) => migrate::run(&args, settings).await,
        Command::Replay(args) => replay::run(&args, settings).await,
        Command::Health(args) => health::run(&args, settings).await,
        Command::Verify(args) => verify::run(args, settings).await,
        Command::Finalize(args) => finalize::run(&args, settings).await,
        Command::Manifest(args) => manifest::run(&args, settings).await,
        Command::Events(args) => events::run(&args, settings).await,
        Command::Producer(args) => producer::run(args, settings).await,
        Command::Key(args) => key::run(args, settings).await,
        Command::Retention(args) => retention::run(args, settings).await,
        Command::Gc(args) => gc::run(&args, settings).await,
        Command::Erase(args) => erase::run(args, settings).await,
        Command::Lifecycle(args) => lifecycle::run(&args, settings).await,
        Command::Storage(args) => storage::run(args, settings).await,
    }
}

/// A wrong value is told in one line, like any other bad setting; wrong usage as clap tells it, with its hints.
fn usage(error: &clap::Error) -> ExitCode {
    if matches!(error.kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue) {
        let text = error.render().to_string();
        let mut lines = text.lines();
        let head = lines.next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        let choices = lines.map(str::trim).find(|line| line.starts_with("[possible values"));
        complain(&choices.map_or_else(|| head.clone(), |choices| format!("{head} {choices}")));
        return ExitCode::FAILURE;
    }
    // Nothing is left to be done when neither standard stream takes it.
    let _ = error.print();
    if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS }
}

fn complain(line: &str) {
    use io::Write;
    let _ = writeln!(io::stderr(), "artifactstore: {line}");
}

/// Opens the registry that is there, lets the work be done, and closes it, whatever came of the work.
async fn with_registry<T, F>(settings: &Settings, work: impl FnOnce(Registry) -> F) -> Result<T, CliError>
where
    F: Future<Output = Result<T, CliError>>,
{
    let opened = compose::open_registry(settings, OpenMode::Existing).await?;
    let outcome = work(opened.registry.clone()).await;
    opened.registry.stop().await;
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_and_flag_says_what_it_is() {
        for command in Cli::command().get_subcommands() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
            }
        }
    }

    #[test]
    fn settings_may_stand_before_and_behind_the_command() {
        for line in [["artifactstore", "--region", "x", "version"], ["artifactstore", "version", "--region", "x"]] {
            assert_eq!(Cli::try_parse_from(line).unwrap().settings.region.as_deref(), Some("x"));
        }
    }
}
