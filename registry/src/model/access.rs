//! Access keys: whose each is, and what it may do.
//!
//! The registry keeps a key's secret as it is given one, sealed; it can neither open nor check it.
//!
//! Invariant: what no grant allows is not allowed.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::name::{AccessKeyId, ProducerName, TenantName};
use super::row::Sequence;
use crate::clock::Timestamp;
use crate::error::Refusal;

/// What a key may be allowed to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Permission {
    /// Read and list files.
    Read,
    /// Write files, in parts too, and create again a producer that is there.
    Write,
    /// Remove names.
    Delete,
    /// Finalize packages.
    Finalize,
    /// Set retention and holds.
    Retain,
    /// Shorten or lift a governance retention.
    BypassGovernance,
    /// Create, configure and delete producers.
    Administer,
}

impl Permission {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Read, Self::Write, Self::Delete, Self::Finalize, Self::Retain, Self::BypassGovernance, Self::Administer];

    /// Its name, as clients and the log write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Delete => "delete",
            Self::Finalize => "finalize",
            Self::Retain => "retain",
            Self::BypassGovernance => "bypass-governance",
            Self::Administer => "administer",
        }
    }

    /// The permission of a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|permission| permission.name() == name)
    }
}

/// What a key may do in one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// What the keys of its files begin with; empty for all of them.
    #[serde(default)]
    pub prefix: String,
    /// A producer's name, or `*` for every producer of the tenant.
    pub producer: String,
    /// What it may do there.
    pub permissions: BTreeSet<Permission>,
}

impl Grant {
    /// Everything, everywhere in the tenant.
    #[must_use]
    pub fn everything() -> Self {
        Self { prefix: String::new(), producer: "*".to_owned(), permissions: Permission::ALL.into() }
    }

    fn is_of(&self, producer: &str) -> bool {
        self.producer == "*" || self.producer == producer
    }
}

/// How many grants one key may have.
pub const GRANTS_LIMIT: usize = 100;

/// Checks grants that are to be recorded.
///
/// # Errors
/// When there are none or too many, or one is for no producer, or allows nothing.
pub fn check_grants(grants: &[Grant]) -> Result<(), Refusal> {
    let refuse = |reason: String| Err(Refusal::SettingInvalid { setting: "grants", reason });
    if grants.is_empty() || grants.len() > GRANTS_LIMIT {
        return refuse(format!("a key takes 1 to {GRANTS_LIMIT}"));
    }
    for grant in grants {
        if grant.producer != "*"
            && let Err(invalid) = ProducerName::parse(&grant.producer)
        {
            return refuse(invalid.to_string());
        }
        if grant.permissions.is_empty() {
            return refuse(format!(
                "one allows nothing: name some of {}",
                Permission::ALL.map(Permission::name).join(", ")
            ));
        }
        if grant.prefix.len() > 1024 || grant.prefix.contains('\0') {
            return refuse("a prefix takes up to 1,024 bytes, and no NUL".to_owned());
        }
    }
    Ok(())
}

/// What a key may do, taken together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grants(pub Vec<Grant>);

impl Grants {
    /// Whether this may be done to a key, or to every key that begins so.
    #[must_use]
    pub fn allow(&self, permission: Permission, producer: &str, key: &str) -> bool {
        let fits = |grant: &&Grant| grant.is_of(producer) && key.starts_with(&grant.prefix);
        self.0.iter().filter(fits).any(|grant| grant.permissions.contains(&permission))
    }

    /// Whether anything at all may be done in a producer.
    #[must_use]
    pub fn allow_anything(&self, producer: &str) -> bool {
        self.0.iter().any(|grant| grant.is_of(producer))
    }
}

/// A key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessKey {
    /// Its identifier, which requests name.
    pub id: AccessKeyId,
    /// Whose it is.
    pub tenant: TenantName,
    /// What it may do.
    pub grants: Vec<Grant>,
    /// Its secret, sealed.
    #[serde(with = "serde_bytes")]
    pub sealed: Vec<u8>,
    /// When it was made.
    pub created_at: Timestamp,
    /// The event that made it.
    pub created_sequence: Sequence,
    /// The last event that changed it.
    pub changed_sequence: Sequence,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(producer: &str, prefix: &str, permissions: &[Permission]) -> Grant {
        Grant {
            prefix: prefix.to_owned(),
            producer: producer.to_owned(),
            permissions: permissions.iter().copied().collect(),
        }
    }

    #[test]
    fn what_no_grant_allows_is_not_allowed() {
        use Permission::{Administer, Delete, Read, Write};
        let grants =
            Grants(vec![grant("lab", "run-", &[Write]), grant("lab", "", &[Read]), grant("*", "a/", &[Delete])]);
        for (permission, producer, key, allowed) in [
            (Write, "lab", "run-1/a", true),
            (Write, "lab", "other", false),
            (Write, "elsewhere", "run-1/a", false),
            (Read, "lab", "", true),
            (Delete, "elsewhere", "a/b", true),
            (Delete, "lab", "b", false),
            (Administer, "lab", "", false),
        ] {
            assert_eq!(grants.allow(permission, producer, key), allowed, "{permission:?} {producer} {key}");
        }
        let one = Grants(vec![grant("lab", "run-", &[Write])]);
        assert!(one.allow_anything("lab") && !one.allow_anything("elsewhere"));
    }

    #[test]
    fn grants_say_what_they_are_for() {
        use Permission::Read;
        assert!(check_grants(&[Grant::everything()]).is_ok());
        let many = vec![Grant::everything(); GRANTS_LIMIT + 1];
        for bad in [vec![], many, vec![grant("No_Name", "", &[Read])], vec![grant("lab", "", &[])]] {
            assert!(check_grants(&bad).is_err(), "{} grants", bad.len());
        }
        for permission in Permission::ALL {
            assert_eq!(Permission::parse(permission.name()), Some(permission));
        }
    }
}
