//! The policies of all buckets, as they were a moment ago.
//!
//! Invariant: what a policy says, through whichever gateway it was set, is done one second later; through the one that
//! it was set through, at once.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use artifactstore_registry::actions::request::FoundFile;
use artifactstore_registry::model::cbor::TextMap;
use artifactstore_registry::model::event::Actor;
use artifactstore_registry::model::name::{FileName, ProducerName, TenantName};
use artifactstore_registry::model::row::Subresource;
use artifactstore_registry::{Error, Registry};
use s3s::dto::PublicAccessBlockConfiguration;
use tokio::time::Instant;

use super::action;
use super::{Facts, Policy, Principal, Verdict};
use crate::error::{Failure, chain};
use crate::s3::{blocks_policies, read_configuration, version};

/// For how long a policy is believed to be as it was found.
const BELIEVED: Duration = Duration::from_secs(1);
/// Of how many buckets policies are remembered at once.
const REMEMBERED_MAX: usize = 10_000;

/// The policy of a bucket that has one.
#[derive(Debug)]
pub(crate) struct Bucket {
    pub(crate) owner: TenantName,
    policy: Policy,
    /// Whether the public access block lets nobody in whom a public policy would let in.
    restricted: bool,
}

impl Bucket {
    /// Whether anyone may do something here by its policy.
    pub(crate) fn is_public(&self) -> bool {
        self.policy.is_public() && !self.restricted
    }
}

/// What is asked of a policy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asking<'a> {
    pub(crate) operation: &'a str,
    pub(crate) bucket: &'a str,
    pub(crate) key: Option<&'a str>,
    /// The version that is named.
    pub(crate) version: Option<&'a str>,
    /// The request; its tags are found here.
    pub(crate) facts: Facts<'a>,
}

/// What is known of a bucket, and since when.
type Known = (Instant, Option<Arc<Bucket>>);

/// Answers for the policies of all buckets.
pub(crate) struct Policies {
    registry: Registry,
    known: Mutex<Remembered>,
}

/// What is known of buckets, and how often something was forgotten: what was read before may be older than that.
#[derive(Default)]
struct Remembered {
    buckets: HashMap<ProducerName, Known>,
    forgotten: u64,
}

impl fmt::Debug for Policies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policies").finish_non_exhaustive()
    }
}

impl Policies {
    pub(crate) fn new(registry: Registry) -> Self {
        Self { registry, known: Mutex::default() }
    }

    /// Has the bucket looked at again, because its policy or its block changed.
    pub(crate) fn forget(&self, bucket: &ProducerName) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.buckets.remove(bucket);
        known.forgotten += 1;
    }

    /// The policy of a bucket; `None` when it has none, or there is no such bucket.
    pub(crate) async fn of(&self, bucket: &str) -> Result<Option<Arc<Bucket>>, Failure> {
        let Ok(name) = ProducerName::parse(bucket) else { return Ok(None) };
        let forgotten = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, found)) = known.buckets.get(&name).filter(|(since, _)| since.elapsed() < BELIEVED) {
                return Ok(found.clone());
            }
            known.forgotten
        };
        // What is read was so at the earliest when it was asked for.
        let asked = Instant::now();
        let found = self.read(&name).await?.map(Arc::new);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.buckets.len() >= REMEMBERED_MAX {
            known.buckets.clear();
        }
        if known.forgotten == forgotten {
            known.buckets.insert(name, (asked, found.clone()));
        }
        Ok(found)
    }

    async fn read(&self, name: &ProducerName) -> Result<Option<Bucket>, Failure> {
        let Some(document) = self.registry.subresource_told(name, Subresource::Policy).await? else { return Ok(None) };
        let policy = match Policy::parse(&document, name.as_str()) {
            Ok(policy) => policy,
            Err(failure) => {
                // What an older version kept and did not carry out may be such a one. It denies nothing.
                tracing::warn!(bucket = %name, reason = chain(&failure), "a policy that cannot be carried out is not");
                return Ok(None);
            }
        };
        let Some(owner) = self.registry.producer_owner(name).await? else { return Ok(None) };
        let block = self.registry.subresource_told(name, Subresource::PublicAccessBlock).await?;
        let block = block.as_deref().map(read_configuration::<PublicAccessBlockConfiguration>).transpose()?;
        // A policy that came before a block of policies was never asked about it.
        let restricted = block.as_ref().is_some_and(blocks_policies);
        Ok(Some(Bucket { owner, policy, restricted }))
    }

    /// Whose the bucket is and what its policy says; `None` when it has none.
    pub(crate) async fn judge(
        &self,
        who: Principal<'_>,
        asking: &Asking<'_>,
    ) -> Result<Option<(TenantName, Verdict)>, Failure> {
        let Some(bucket) = self.of(asking.bucket).await? else { return Ok(None) };
        let tags = self.tags(&bucket, asking).await?;
        let of_upload = ["UploadPart", "UploadPartCopy", "CompleteMultipartUpload"].contains(&asking.operation);
        let facts = Facts { tags: tags.as_ref(), of_upload, ..asking.facts };
        let place = (asking.bucket, asking.key);
        let mut allowed = true;
        for action in action::actions(asking.operation, asking.version.is_some(), facts.headers) {
            match bucket.policy.verdict(&bucket.owner, who, &action, place, &facts) {
                Verdict::Denied => return Ok(Some((bucket.owner.clone(), Verdict::Denied))),
                Verdict::Allowed => {}
                Verdict::Silent => allowed = false,
            }
        }
        let verdict = bucket.allows(who, allowed);
        if verdict == Verdict::Silent {
            self.tell_absence(&bucket, who, asking, &facts).await?;
        }
        Ok(Some((bucket.owner.clone(), verdict)))
    }

    /// As [`Self::judge`], of what becomes known only later which keys it is about: whether anything of it could be
    /// allowed. What is denied is said then.
    pub(crate) async fn forejudge(
        &self,
        who: Principal<'_>,
        bucket: &str,
        operation: &str,
    ) -> Result<Option<(TenantName, Verdict)>, Failure> {
        let Some(bucket) = self.of(bucket).await? else { return Ok(None) };
        let may = |of_version| bucket.policy.may_allow(&bucket.owner, who, &action::action(operation, of_version));
        let verdict = bucket.allows(who, may(false) || may(true));
        Ok(Some((bucket.owner.clone(), verdict)))
    }

    async fn tags(&self, bucket: &Bucket, asking: &Asking<'_>) -> Result<Option<TextMap>, Failure> {
        if !bucket.policy.asks_for_tags() {
            return Ok(None);
        }
        Ok(self.stat(bucket, asking).await?.map(|found| found.file.attributes.tags.clone()))
    }

    /// The file that is asked for, on behalf of the bucket's owner; `None` when there is none.
    async fn stat(&self, bucket: &Bucket, asking: &Asking<'_>) -> Result<Option<FoundFile>, Failure> {
        let Some(key) = asking.key else { return Ok(None) };
        let (Ok(name), Ok(version)) = (FileName::parse(asking.bucket, key), version(asking.version)) else {
            return Ok(None);
        };
        let (tenant, name_of_asker) = (bucket.owner.clone(), "policy".to_owned());
        let actor = Actor { tenant, name: name_of_asker, request_id: String::new(), client: None };
        match self.registry.file_stat(&actor, &name, version).await {
            Ok(found) => Ok(Some(found)),
            Err(Error::Refused(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Whoever may list a name may know that it is not there: what it may not read is then 404 and not 403, as in S3.
    async fn tell_absence(
        &self,
        bucket: &Bucket,
        who: Principal<'_>,
        asking: &Asking<'_>,
        facts: &Facts<'_>,
    ) -> Result<(), Failure> {
        let (true, Some(key)) = (matches!(asking.operation, "GetObject" | "HeadObject"), asking.key) else {
            return Ok(());
        };
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("prefix", key).finish();
        let facts = Facts { query: &query, ..*facts };
        let listing = bucket.policy.verdict(&bucket.owner, who, "s3:ListBucket", (asking.bucket, None), &facts);
        let may_know = bucket.allows(who, listing == Verdict::Allowed) == Verdict::Allowed && !bucket.is_of(who);
        if may_know && self.stat(bucket, asking).await?.is_none() {
            return Err(Failure::request(404, "NoSuchKey", "The specified key does not exist."));
        }
        Ok(())
    }
}

impl Bucket {
    fn is_of(&self, who: Principal<'_>) -> bool {
        who.0.is_some_and(|(tenant, _)| *tenant == self.owner)
    }

    fn allows(&self, who: Principal<'_>, allowed: bool) -> Verdict {
        let barred = !self.is_of(who) && self.restricted && self.policy.is_public();
        if allowed && !barred { Verdict::Allowed } else { Verdict::Silent }
    }
}
