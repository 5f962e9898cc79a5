//! `artifactstore producer`.

use std::process::ExitCode;

use artifactstore_registry::Registry;
use artifactstore_registry::model::name::{ClassName, ProducerName};
use artifactstore_registry::model::retention::RetentionRule;
use artifactstore_registry::model::row::{AnonymousRead, OnFinalized, Producer, ProducerSettings};
use clap::{Subcommand, ValueEnum};

use super::output::{self, shown};
use super::{CliError, Outcome, with_registry};
use crate::admin::shape::ProducerShape;
use crate::compose::cli_actor;
use crate::config::Settings;

/// Lists, shows, creates, changes and deletes producers (buckets)
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
    /// Answer with JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Lists the producers by name, a line each
    List,
    /// Shows a producer
    Show {
        /// The producer's name
        name: String,
    },
    /// Creates a producer
    Create {
        /// The producer's name
        name: String,
        #[command(flatten)]
        changes: Changes,
    },
    /// Changes the settings that are given, and leaves the others as they are
    Set {
        /// The producer's name
        name: String,
        #[command(flatten)]
        changes: Changes,
    },
    /// Deletes an empty producer
    Delete {
        /// The producer's name
        name: String,
    },
}

#[derive(Debug, clap::Args)]
struct Changes {
    /// How many leading segments of a key name its package, 0 to 16; 0 makes the whole bucket one package
    #[arg(long, value_name = "COUNT")]
    package_depth: Option<u32>,
    /// A pattern of relative paths (_SUCCESS, *.done): a file that matches finalizes its package; empty for none
    #[arg(long, value_name = "PATTERN")]
    finalize_marker: Option<String>,
    /// The retention class that new files are given; empty for none
    #[arg(long, value_name = "CLASS")]
    retention_class: Option<String>,
    /// A retention class that new files are given besides when their keys begin so, as in `raw/=transient`; takes the
    /// place of all rules that there are, may be given several times, and empty takes them away
    #[arg(long = "retention-rule", value_name = "PREFIX=CLASS")]
    retention_rules: Vec<String>,
    /// How many seconds without a write finalize a package by themselves; 0 for never
    #[arg(long, value_name = "SECONDS")]
    finalize_after_idle_seconds: Option<u64>,
    /// What a write under a finalized package does
    #[arg(long, value_enum)]
    on_finalized: Option<Choice>,
    /// What anyone may read without a key
    #[arg(long, value_enum)]
    anonymous_read: Option<Openness>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Openness {
    /// Nothing
    Off,
    /// Files, by their keys
    Objects,
    /// Files, and the list of their keys
    List,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Choice {
    /// It is refused
    Refuse,
    /// It opens the package's next revision
    #[value(name = "new_revision", alias = "new-revision")]
    NewRevision,
}

impl Changes {
    fn applied_to(self, mut settings: ProducerSettings) -> Result<ProducerSettings, CliError> {
        if let Some(depth) = self.package_depth {
            settings.package_depth = depth;
        }
        if let Some(marker) = self.finalize_marker {
            settings.finalize_marker = Some(marker).filter(|marker| !marker.is_empty());
        }
        if let Some(class) = self.retention_class {
            settings.retention_class = if class.is_empty() { None } else { Some(ClassName::parse(&class)?) };
        }
        if !self.retention_rules.is_empty() {
            let rules = self.retention_rules.iter().filter(|rule| !rule.is_empty());
            settings.retention_rules = rules.map(|rule| parse_rule(rule)).collect::<Result<_, _>>()?;
        }
        if let Some(seconds) = self.finalize_after_idle_seconds {
            settings.finalize_after_idle_seconds = Some(seconds).filter(|seconds| *seconds > 0);
        }
        settings.on_finalized = match self.on_finalized {
            Some(Choice::Refuse) => OnFinalized::Refuse,
            Some(Choice::NewRevision) => OnFinalized::NewRevision,
            None => settings.on_finalized,
        };
        settings.anonymous_read = match self.anonymous_read {
            Some(Openness::Off) => AnonymousRead::Off,
            Some(Openness::Objects) => AnonymousRead::Objects,
            Some(Openness::List) => AnonymousRead::List,
            None => settings.anonymous_read,
        };
        Ok(settings)
    }
}

/// `raw/=transient`: a class's name has no equals sign, a prefix may have some.
fn parse_rule(text: &str) -> Result<RetentionRule, CliError> {
    let wrong = || CliError::Other(format!("the retention rule {text:?} is not of the form PREFIX=CLASS"));
    let (prefix, class) = text.rsplit_once('=').ok_or_else(wrong)?;
    Ok(RetentionRule { class: ClassName::parse(class)?, prefix: prefix.to_owned() })
}

pub(super) async fn run(args: Args, settings: &Settings) -> Outcome {
    with_registry(settings, |registry| act(registry, args)).await?;
    Ok(ExitCode::SUCCESS)
}

async fn act(registry: Registry, args: Args) -> Result<(), CliError> {
    let actor = cli_actor();
    match args.action {
        Action::List => list(&registry, args.json).await,
        Action::Show { name } => {
            let producer = registry.producer_stat(&actor, &ProducerName::parse(&name)?).await?;
            if args.json { output::json(&ProducerShape::from(&producer)) } else { describe(&producer) }
        }
        Action::Create { name, changes } => {
            let settings = changes.applied_to(ProducerSettings::default())?;
            let created = registry.producer_create(&actor, &ProducerName::parse(&name)?, settings).await?;
            done(&created, "created", args.json)
        }
        Action::Set { name, changes } => {
            let name = ProducerName::parse(&name)?;
            let before = registry.producer_stat(&actor, &name).await?;
            let settings = changes.applied_to(before.settings)?;
            let configured = registry.producer_configure(&actor, &name, settings).await?;
            done(&configured, "changed", args.json)
        }
        Action::Delete { name } => {
            let name = ProducerName::parse(&name)?;
            registry.producer_delete(&actor, &name).await?;
            if args.json {
                output::json(&serde_json::json!({ "deleted": name.as_str() }))
            } else {
                output::line(format_args!("deleted {name}"))
            }
        }
    }
}

fn done(producer: &Producer, what: &str, json: bool) -> Result<(), CliError> {
    if json {
        output::json(&ProducerShape::from(producer))
    } else {
        output::line(format_args!("{what} {}", producer.name))
    }
}

/// How many producers are asked for at once.
const PAGE: usize = 100;

async fn list(registry: &Registry, json: bool) -> Result<(), CliError> {
    let actor = cli_actor();
    let mut after: Option<ProducerName> = None;
    loop {
        let page = registry.producer_list(&actor, after.as_ref(), PAGE).await?;
        for producer in &page {
            if json {
                output::json(&ProducerShape::from(producer))?;
            } else {
                let (files, bytes) = (producer.file_count, producer.size_bytes);
                let (packages, sealed) = (producer.package_count, producer.finalized_count);
                let name = &producer.name;
                output::line(format_args!(
                    "{name} {files} files {bytes} bytes {packages} packages {sealed} finalized"
                ))?;
            }
        }
        if page.len() < PAGE {
            return Ok(());
        }
        after = page.into_iter().next_back().map(|producer| producer.name);
    }
}

fn describe(producer: &Producer) -> Result<(), CliError> {
    let settings = &producer.settings;
    let on_finalized = match settings.on_finalized {
        OnFinalized::Refuse => "refuse",
        OnFinalized::NewRevision => "new_revision",
    };
    let idle = settings.finalize_after_idle_seconds.map_or_else(|| "never".to_owned(), |seconds| seconds.to_string());
    let class = settings.retention_class.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string);
    let rules = settings.retention_rules.iter().map(|rule| format!("{}={}", shown(&rule.prefix), rule.class));
    let rules: Vec<String> = rules.collect();
    let holds = producer.keeping.holds.iter().map(|hold| hold.name.to_string()).collect::<Vec<_>>();
    let or_none = |list: Vec<String>| if list.is_empty() { "none".to_owned() } else { list.join(" ") };
    for (what, value) in [
        ("name", producer.name.to_string()),
        ("tenant", producer.tenant.to_string()),
        ("created", producer.created_at.to_string()),
        ("package_depth", settings.package_depth.to_string()),
        ("finalize_marker", settings.finalize_marker.as_deref().map_or_else(|| "none".to_owned(), shown)),
        ("finalize_after_idle_seconds", idle),
        ("on_finalized", on_finalized.to_owned()),
        ("anonymous_read", settings.anonymous_read.as_str().to_owned()),
        ("retention_class", class),
        ("retention_rules", or_none(rules)),
        ("object_lock", if producer.object_lock { "enabled" } else { "off" }.to_owned()),
        ("holds", or_none(holds)),
        ("files", producer.file_count.to_string()),
        ("bytes", producer.size_bytes.to_string()),
        ("open uploads", producer.upload_count.to_string()),
        ("packages", producer.package_count.to_string()),
        ("finalized", producer.finalized_count.to_string()),
    ] {
        output::line(format_args!("{what}: {value}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_given_changes_and_emptiness_takes_away() {
        let none = || Changes {
            package_depth: None,
            finalize_marker: None,
            retention_class: None,
            retention_rules: Vec::new(),
            finalize_after_idle_seconds: None,
            on_finalized: None,
            anonymous_read: None,
        };
        let before = ProducerSettings {
            on_finalized: OnFinalized::NewRevision,
            package_depth: 2,
            anonymous_read: AnonymousRead::List,
            finalize_marker: Some("_SUCCESS".into()),
            retention_class: Some(ClassName::parse("working").unwrap()),
            retention_rules: vec![parse_rule("raw/a=b=transient").unwrap()],
            finalize_after_idle_seconds: Some(60),
        };
        assert_eq!(before.retention_rules[0].prefix, "raw/a=b");
        assert_eq!(none().applied_to(before.clone()).unwrap(), before);
        let cleared = Changes {
            finalize_marker: Some(String::new()),
            retention_class: Some(String::new()),
            retention_rules: vec![String::new()],
            finalize_after_idle_seconds: Some(0),
            anonymous_read: Some(Openness::Off),
            ..none()
        };
        let after = cleared.applied_to(before.clone()).unwrap();
        assert_eq!((after.finalize_marker, after.finalize_after_idle_seconds), (None, None));
        assert_eq!((after.retention_class, after.retention_rules), (None, Vec::new()));
        assert_eq!(after.anonymous_read, AnonymousRead::Off);
        assert_eq!((after.package_depth, after.on_finalized), (before.package_depth, before.on_finalized));
        for bad in ["raw/", "raw/=Not A Class"] {
            let wrong = Changes { retention_rules: vec![bad.to_owned()], ..none() };
            assert!(wrong.applied_to(before.clone()).is_err(), "{bad}");
        }
    }
}
