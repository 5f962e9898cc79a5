//! What a changed class would let go, found out without changing it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Kept, PAGE, Rules, VersionTold, told};
use crate::actions::request::FILES_TOLD;
use crate::error::{Refusal, Result};
use crate::model::name::{ClassName, PackageId};
use crate::model::retention::{ClassRow, RetentionClass, package_reasons};
use crate::model::row::File;
use crate::{Inner, Registry};

/// What a changed class would let go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Simulation {
    /// How many versions are kept by the class now.
    pub versions_kept: u64,
    /// How many of those no class, lock or hold would keep any more. A seal does all the same, until it is released.
    pub versions_released: u64,
    /// Their bytes, those that others have as well among them.
    pub bytes_released: u64,
    /// The first hundred of them.
    pub versions: Vec<VersionTold>,
    /// How many packages would be kept no more by the class, or by anything else of their own.
    pub packages_released: u64,
    /// The first hundred of them.
    pub packages: Vec<PackageId>,
}

impl Inner {
    /// Whether any class, lock or hold keeps a version by these rules: its own, its producer's, or that of any revision
    /// that has it.
    async fn is_kept_by(&self, kept: &Kept, rules: &Rules) -> Result<bool> {
        let by_itself = !kept.reasons(&rules.classes, rules.expiry).is_empty();
        Ok(by_itself || !self.kept_between(kept, rules).await?.is_empty())
    }
}

impl Registry {
    /// What a class would let go if it were so, without changing it.
    ///
    /// # Errors
    /// When there is no such class.
    pub async fn class_simulate(&self, name: &ClassName, class: RetentionClass) -> Result<Simulation> {
        let inner = &self.inner;
        let rules = inner.rules().await?;
        let now = rules.classes.get(name).ok_or_else(|| Refusal::ClassMissing(name.clone()))?;
        let mut classes = rules.classes.clone();
        classes.insert(name.clone(), ClassRow { class, ..now.clone() });
        let changed = Rules { classes, jumps: Vec::new(), expiry: rules.expiry };
        let mut simulation = Simulation::default();
        let mut after = 0;
        loop {
            let page = inner.store.files_kept(after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.sequence;
            let of_class = |file: &File| file.keeping.classes.iter().any(|chosen| chosen.name == *name);
            for file in page.into_iter().filter(of_class) {
                let kept = inner.kept(file).await?;
                if !inner.is_kept_by(&kept, &rules).await? {
                    continue;
                }
                simulation.versions_kept += 1;
                if !inner.is_kept_by(&kept, &changed).await? {
                    simulation.versions_released += 1;
                    simulation.bytes_released += kept.file.size_bytes;
                    if simulation.versions.len() < FILES_TOLD {
                        simulation.versions.push(told(&kept.file, Vec::new()));
                    }
                }
            }
        }
        let mut after: Option<PackageId> = None;
        loop {
            let page = inner.store.packages_kept(after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else { return Ok(simulation) };
            after = Some(last.id.clone());
            for package in &page {
                let producer = inner.store.producer(&package.producer).await?;
                let reasons = |classes: &BTreeMap<ClassName, ClassRow>| {
                    package_reasons(package, producer.as_ref(), rules.expiry, &|name| classes.get(name))
                };
                if !reasons(&rules.classes).is_empty() && reasons(&changed.classes).is_empty() {
                    simulation.packages_released += 1;
                    if simulation.packages.len() < FILES_TOLD {
                        simulation.packages.push(package.id.clone());
                    }
                }
            }
        }
    }
}
