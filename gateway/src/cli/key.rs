//! `artifactstore key`.

use std::process::ExitCode;

use artifactstore_registry::Registry;
use artifactstore_registry::model::access::{AccessKey, Grant};
use artifactstore_registry::model::name::{AccessKeyId, TenantName};
use clap::Subcommand;

use super::output::{self, shown};
use super::{CliError, Outcome, with_registry};
use crate::admin::keys::{GrantShape, KeyShape};
use crate::compose::{cli_actor, root_tenant, sealer};
use crate::config::credentials::{Credentials, fresh_pair, fresh_secret};
use crate::config::{Secret, Settings};
use crate::secrets::Sealer;

/// Makes, lists, rotates and revokes access keys
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
    /// Makes a key and prints it with its secret, which is not told again
    Create {
        /// What it may do: permissions, and perhaps where, as in `read,write:lab/run-` (a producer and a prefix);
        /// without a place, in all producers of the tenant. May be given several times
        #[arg(long = "grant", value_name = "PERMISSIONS[:PRODUCER[/PREFIX]]", required = true)]
        grants: Vec<String>,
        /// Whose it is to be
        #[arg(long, value_name = "TENANT")]
        tenant: Option<String>,
    },
    /// Lists the keys by identifier, a line each
    List,
    /// Gives a key another secret and prints it; the one before is not taken any more
    Rotate {
        /// The key's identifier
        access_key: String,
    },
    /// Revokes a key
    Revoke {
        /// The key's identifier
        access_key: String,
    },
}

pub(super) async fn run(args: Args, settings: &Settings) -> Outcome {
    let sealer = match args.action {
        Action::Create { .. } | Action::Rotate { .. } => {
            let credentials = Credentials::settle(settings).map_err(|error| CliError::Start(error.into()))?;
            sealer(&credentials)
        }
        Action::List | Action::Revoke { .. } => None,
    };
    with_registry(settings, |registry| async move { act(registry, args, sealer.as_deref()).await }).await?;
    Ok(ExitCode::SUCCESS)
}

async fn act(registry: Registry, args: Args, sealer: Option<&Sealer>) -> Result<(), CliError> {
    let actor = cli_actor();
    match args.action {
        Action::Create { grants, tenant } => {
            let tenant = tenant.as_deref().map_or_else(|| Ok(root_tenant()), TenantName::parse)?;
            let grants = grants.iter().map(|text| parse_grant(text)).collect::<Result<Vec<_>, _>>()?;
            let (id, secret) = fresh_pair().map_err(|error| CliError::Start(error.into()))?;
            let id = AccessKeyId::parse(&id)?;
            let key = registry.key_create(&actor, &id, &tenant, grants, seal(sealer, &id, &secret)?).await?;
            told(&key, &secret, args.json)
        }
        Action::List => list(&registry, args.json).await,
        Action::Rotate { access_key } => {
            let id = AccessKeyId::parse(&access_key)?;
            let secret = fresh_secret().map_err(|error| CliError::Start(error.into()))?;
            let key = registry.key_rotate(&actor, &id, seal(sealer, &id, &secret)?).await?;
            told(&key, &secret, args.json)
        }
        Action::Revoke { access_key } => {
            let id = AccessKeyId::parse(&access_key)?;
            registry.key_revoke(&actor, &id).await?;
            if args.json {
                output::json(&serde_json::json!({ "revoked": id.as_str() }))
            } else {
                output::line(format_args!("revoked {id}"))
            }
        }
    }
}

fn seal(sealer: Option<&Sealer>, id: &AccessKeyId, secret: &Secret) -> Result<Vec<u8>, CliError> {
    let missing = "set ARTIFACTSTORE_SECRETS_KEY: without it no secret can be kept";
    let sealer = sealer.ok_or_else(|| CliError::Other(missing.to_owned()))?;
    sealer.seal(id, secret).map_err(|error| CliError::Other(error.to_string()))
}

/// `read,write:lab/run-`
fn parse_grant(text: &str) -> Result<Grant, CliError> {
    let (permissions, place) = text.split_once(':').unwrap_or((text, "*"));
    let (producer, prefix) = place.split_once('/').unwrap_or((place, ""));
    let shape = GrantShape {
        producer: producer.to_owned(),
        prefix: prefix.to_owned(),
        permissions: permissions.split(',').map(|name| name.trim().to_owned()).collect(),
    };
    shape.parsed().map_err(|reason| CliError::Other(format!("the grant {text:?} cannot be so: {reason}")))
}

fn told(key: &AccessKey, secret: &Secret, json: bool) -> Result<(), CliError> {
    if json {
        output::json(&KeyShape::told(key, secret))
    } else {
        output::line(format_args!("access key {}\nsecret key {}", key.id, secret.expose()))
    }
}

/// How many keys are asked for at once.
const PAGE: usize = 100;

async fn list(registry: &Registry, json: bool) -> Result<(), CliError> {
    let mut after: Option<AccessKeyId> = None;
    let mut all = Vec::new();
    loop {
        let page = registry.key_list(after.as_ref(), PAGE).await?;
        let last = page.len() < PAGE;
        after = page.last().map(|key| key.id.clone());
        all.extend(page);
        if last {
            break;
        }
    }
    if json {
        return output::json(&all.iter().map(KeyShape::from).collect::<Vec<_>>());
    }
    for key in &all {
        let grants: Vec<String> = key.grants.iter().map(written).collect();
        output::line(format_args!("{} {} {}", key.id, key.tenant, shown(&grants.join(" "))))?;
    }
    Ok(())
}

fn written(grant: &Grant) -> String {
    let permissions: Vec<&str> = grant.permissions.iter().map(|permission| permission.name()).collect();
    let place = if grant.prefix.is_empty() { String::new() } else { format!("/{}", grant.prefix) };
    format!("{}:{}{place}", permissions.join(","), grant.producer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_is_written_as_it_is_read() {
        for text in ["read:*", "read,write:lab", "write,finalize:lab/run-1/a:b", "read:*/run-"] {
            assert_eq!(written(&parse_grant(text).unwrap()), text);
        }
        assert_eq!(written(&parse_grant("read").unwrap()), "read:*");
        assert!(parse_grant("fly:lab").unwrap_err().to_string().contains("bypass-governance"));
    }
}
