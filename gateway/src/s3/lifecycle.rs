//! Lifecycle: a bucket's rules, set and given back, and what answers tell of them. The registry carries them out.
//!
//! The headers are told by rules that were read up to five seconds ago, so that reads and writes need not ask for them;
//! what a rule does is decided by the rules as they are.

mod rules;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use artifactstore_registry::Registry;
use artifactstore_registry::clock::Timestamp;
use artifactstore_registry::model::lifecycle::{DayLength, LifecycleRule, Traits, first};
use artifactstore_registry::model::name::{FileName, ProducerName};
use artifactstore_registry::model::row::{File, Subresource, Upload};
use s3s::dto;
use s3s::{S3Request, S3Response};
use tokio::time::Instant;

use super::configuration::{find, read, set, write};
use super::{Answer, Gateway, encoding, faces};
use crate::error::{Failure, chain};

/// For how long rules that were read are told of without another look.
const BELIEVED: Duration = Duration::from_secs(5);
/// Of how many buckets rules are remembered at most.
const REMEMBERED_LIMIT: usize = 4096;

type Rules = Arc<[Arc<LifecycleRule>]>;

/// The rules of buckets, as they were a moment ago.
#[derive(Debug, Default)]
pub(super) struct Remembered(Mutex<BTreeMap<ProducerName, (Instant, Rules)>>);

impl Remembered {
    fn known(&self, producer: &ProducerName) -> Option<Rules> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(producer).filter(|(read_at, _)| read_at.elapsed() < BELIEVED).map(|(_, rules)| Arc::clone(rules))
    }

    fn remember(&self, producer: &ProducerName, rules: &Rules) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED_LIMIT {
            known.retain(|_, (read_at, _)| read_at.elapsed() < BELIEVED);
        }
        if known.len() < REMEMBERED_LIMIT {
            known.insert(producer.clone(), (Instant::now(), Arc::clone(rules)));
        }
    }

    fn forget(&self, producer: &ProducerName) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(producer);
    }

    async fn of(&self, registry: &Registry, producer: &ProducerName) -> Rules {
        if let Some(rules) = self.known(producer) {
            return rules;
        }
        let document = match registry.subresource_told(producer, Subresource::Lifecycle).await {
            Ok(document) => document,
            Err(error) => {
                // An answer that says nothing of when a file goes is better than none.
                tracing::debug!(error = chain(&error), "the lifecycle rules of a bucket cannot be read");
                return Rules::from([]);
            }
        };
        let rules = document.as_deref().and_then(lifecycle_rules).unwrap_or_default();
        let rules: Rules = rules.into_iter().map(Arc::new).collect();
        self.remember(producer, &rules);
        rules
    }
}

/// The rules of a document that are in force; `None` for one that cannot be understood. What an older version kept and
/// did not carry out may be such a one.
pub(crate) fn lifecycle_rules(document: &str) -> Option<Vec<LifecycleRule>> {
    let mut found: dto::BucketLifecycleConfiguration = read(document).ok()?;
    rules::read(&mut found.rules).ok()
}

fn told(until: Timestamp, rule: &str) -> String {
    format!("expiry-date=\"{}\", rule-id=\"{}\"", faces::http_date(until), encoding::url(rule))
}

/// When the file that has a name goes, and by which rule, as `x-amz-expiration` says it. It counts days of 24 hours.
pub(super) async fn expiration(gateway: &Gateway, file: &File) -> Option<String> {
    // What is shown under `.artifact/` is no file.
    if file.ended_sequence.is_some() || file.relative_path.starts_with(".artifact/") {
        return None;
    }
    let rules = gateway.lifecycles.of(&gateway.registry, &file.name.producer).await;
    let traits = Traits { key: &file.name.key, size_bytes: file.size_bytes, tags: &file.attributes.tags };
    let (until, rule) = first(&rules, |rule| rule.current_until(traits, file.ingested_at, DayLength::REAL))?;
    Some(told(until, &rule.id))
}

/// When an upload is given up that nobody completes, and by which rule.
pub(super) async fn abortion(gateway: &Gateway, upload: &Upload) -> Option<(dto::Timestamp, String)> {
    let rules = gateway.lifecycles.of(&gateway.registry, &upload.name.producer).await;
    let FileName { key, .. } = &upload.name;
    let (until, rule) = first(&rules, |rule| rule.upload_until(key, upload.created_at, DayLength::REAL))?;
    Some((faces::time(until), rule.id.clone()))
}

pub(super) async fn get(
    gateway: &Gateway,
    req: S3Request<dto::GetBucketLifecycleConfigurationInput>,
) -> Answer<dto::GetBucketLifecycleConfigurationOutput> {
    let found: Option<dto::BucketLifecycleConfiguration> =
        find(gateway, &req, &req.input.bucket, Subresource::Lifecycle).await?;
    let message = "The lifecycle configuration does not exist.";
    let found = found.ok_or_else(|| Failure::request(404, "NoSuchLifecycleConfiguration", message))?;
    Ok(S3Response::new(dto::GetBucketLifecycleConfigurationOutput {
        rules: Some(found.rules),
        ..dto::GetBucketLifecycleConfigurationOutput::default()
    }))
}

pub(super) async fn put(
    gateway: &Gateway,
    mut req: S3Request<dto::PutBucketLifecycleConfigurationInput>,
) -> Answer<dto::PutBucketLifecycleConfigurationOutput> {
    let wanted = req.input.lifecycle_configuration.take();
    let mut wanted = wanted.ok_or_else(|| Failure::request(400, "MalformedXML", "There is no configuration."))?;
    rules::read(&mut wanted.rules)?;
    set(gateway, &req, &req.input.bucket, Subresource::Lifecycle, Some(write(&wanted)?)).await?;
    gateway.lifecycles.forget(&ProducerName::parse(&req.input.bucket)?);
    Ok(S3Response::new(dto::PutBucketLifecycleConfigurationOutput::default()))
}

pub(super) async fn remove(
    gateway: &Gateway,
    req: S3Request<dto::DeleteBucketLifecycleInput>,
) -> Answer<dto::DeleteBucketLifecycleOutput> {
    set(gateway, &req, &req.input.bucket, Subresource::Lifecycle, None).await?;
    gateway.lifecycles.forget(&ProducerName::parse(&req.input.bucket)?);
    Ok(S3Response::new(dto::DeleteBucketLifecycleOutput::default()))
}

#[cfg(test)]
mod tests;
