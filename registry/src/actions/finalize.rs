//! Finalizing packages: asked for, or because nobody wrote to them for their producer's quiet period.

use artifactstore_backends::failpoint::{Point, reach};

use super::producer::unexpected;
use crate::Registry;
use crate::error::Result;
use crate::model::command::{Command, PackageChoice, Reply};
use crate::model::event::Actor;
use crate::model::row::Package;

/// How many rows are looked at in one go.
const PAGE: usize = 256;

impl Registry {
    /// Finalizes a package. Finalizing it again answers the same and records nothing.
    ///
    /// # Errors
    /// When there is no such package.
    pub async fn package_finalize(&self, actor: &Actor, package: PackageChoice) -> Result<Package> {
        let facts = self.inner.facts.clone();
        let command = Command::PackageFinalize { package, idle_since: None, facts };
        reach(Point::FinalizeAsked);
        match self.inner.log.record(actor, command).await? {
            Reply::Package(package) => Ok(*package),
            reply => Err(unexpected(&reply)),
        }
    }

    /// Finalizes every package that has files and whose producer's quiet period has passed; says how many. Meant to be
    /// called every second or so; doing it twice at once is harmless, because the commit looks again.
    ///
    /// # Errors
    /// When the store cannot be read or written; packages that were finalized before that stay so.
    pub async fn packages_finalize_idle(&self) -> Result<u64> {
        let mut finalized = 0;
        let mut after = None;
        loop {
            let producers = self.inner.store.producers(None, after.as_ref(), PAGE).await?;
            for producer in &producers {
                let Some(seconds) = producer.settings.finalize_after_idle_seconds else { continue };
                let since = self.inner.clock.now().minus_seconds(seconds);
                for package in self.inner.store.packages_idle(&producer.name, since, PAGE).await? {
                    if package.file_count == 0 {
                        continue;
                    }
                    let actor = Actor {
                        tenant: producer.tenant.clone(),
                        name: "gateway".to_owned(),
                        request_id: hex::encode(self.inner.entropy.fresh()),
                        client: None,
                    };
                    let command = Command::PackageFinalize {
                        package: PackageChoice::Id(package.id),
                        idle_since: Some(since),
                        facts: self.inner.facts.clone(),
                    };
                    let reply = self.inner.log.record(&actor, command).await?;
                    finalized += u64::from(matches!(reply, Reply::Package(package) if package.seal.is_some()));
                }
            }
            match producers.last() {
                Some(last) if producers.len() == PAGE => after = Some(last.name.clone()),
                _ => return Ok(finalized),
            }
        }
    }
}
