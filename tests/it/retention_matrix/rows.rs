//! The matrix: what keeps a version, the roads by which it could be lost, and what is to come of each.

use time::Duration;

/// What keeps the version, or nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keeper {
    Nothing,
    Mild,
    Governance,
    GovernanceBypassed,
    Compliance,
    LegalHold,
    NamedHold,
    Finalized,
}

pub(super) const KEEPERS: [(Keeper, &str); 8] = [
    (Keeper::Nothing, "nothing"),
    (Keeper::Mild, "a class of mode none"),
    (Keeper::Governance, "governance"),
    (Keeper::GovernanceBypassed, "governance, bypassed"),
    (Keeper::Compliance, "compliance"),
    (Keeper::LegalHold, "legal hold"),
    (Keeper::NamedHold, "named hold"),
    (Keeper::Finalized, "finalized package"),
];

/// A road.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Road {
    DeleteVersion,
    DeleteObjects,
    DeleteName,
    Overwrite,
    CopyOnto,
    CompleteOnto,
    Downgrade,
    Shorten,
    Unlock,
    DeleteBucket,
    SuspendVersioning,
    AdminShorten,
    AdminRelease,
    OverwriteUnversioned,
    DeleteUnversioned,
    Erase,
    ExpireCurrent,
    ExpireNoncurrent,
    ExpireUnversioned,
    Collect,
    CommandShorten,
    CommandErase,
    CommandRelease,
}

/// Through which gateway, and by which clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    /// The one where the version was written.
    Same,
    /// Another one of the same registry.
    Other,
    /// The same one, whose clock was set forward meanwhile.
    Ahead,
    /// The same one, whose clock was set back meanwhile.
    Behind,
}

impl Door {
    /// By how much its clock is wrong.
    pub(super) const fn off_by(self) -> Option<Duration> {
        match self {
            Self::Same | Self::Other => None,
            Self::Ahead => Some(Duration::days(73 * 365)),
            Self::Behind => Some(Duration::days(-6 * 365)),
        }
    }
}

pub(super) const ROWS: [(Road, Door, &str); 29] = [
    (Road::DeleteVersion, Door::Same, "DeleteObject with a version id"),
    (Road::DeleteObjects, Door::Same, "DeleteObjects with a version id"),
    (Road::DeleteName, Door::Same, "DeleteObject, which puts a delete marker in front"),
    (Road::Overwrite, Door::Same, "PutObject onto the key, which makes a new version"),
    (Road::CopyOnto, Door::Same, "CopyObject onto the key"),
    (Road::CompleteOnto, Door::Same, "CompleteMultipartUpload onto the key"),
    (Road::Downgrade, Door::Same, "PutObjectRetention: governance, the same date"),
    (Road::Shorten, Door::Same, "PutObjectRetention: the same mode, an earlier date"),
    (Road::Unlock, Door::Same, "PutObjectRetention without mode and date"),
    (Road::DeleteBucket, Door::Same, "DeleteBucket"),
    (Road::SuspendVersioning, Door::Same, "PutBucketVersioning: suspended"),
    (Road::AdminShorten, Door::Same, "admin REST: an earlier date"),
    (Road::AdminRelease, Door::Same, "admin REST: release of the package"),
    (Road::OverwriteUnversioned, Door::Same, "PutObject onto the key, bucket without versions"),
    (Road::DeleteUnversioned, Door::Same, "DeleteObject, bucket without versions"),
    (Road::Erase, Door::Same, "admin REST: erasure of the version's bytes"),
    (Road::ExpireCurrent, Door::Same, "lifecycle rule: Expiration, which puts a delete marker in front"),
    (
        Road::ExpireNoncurrent,
        Door::Same,
        "lifecycle rule: NoncurrentVersionExpiration of the version, then a collection",
    ),
    (Road::ExpireUnversioned, Door::Same, "lifecycle rule: Expiration, bucket without versions, then a collection"),
    (
        Road::Collect,
        Door::Same,
        "DeleteObject without a bypass, bucket without versions, then a collection with no grace",
    ),
    (Road::CommandShorten, Door::Same, "command line: an earlier date"),
    (Road::CommandErase, Door::Same, "command line: erasure of the version's bytes"),
    (Road::CommandRelease, Door::Same, "command line: release of the package"),
    (Road::DeleteVersion, Door::Other, "DeleteObject with a version id, by another gateway of the registry"),
    (
        Road::OverwriteUnversioned,
        Door::Other,
        "PutObject onto the key, bucket without versions, by another gateway of the registry",
    ),
    (
        Road::Shorten,
        Door::Other,
        "PutObjectRetention: the same mode, an earlier date, by another gateway of the registry",
    ),
    (Road::Erase, Door::Other, "admin REST: erasure of the version's bytes, by another gateway of the registry"),
    (Road::DeleteVersion, Door::Ahead, "DeleteObject with a version id, the clock set forward by 73 years"),
    (Road::DeleteVersion, Door::Behind, "DeleteObject with a version id, the clock set back by 6 years"),
];

/// Whether the bucket keeps versions, with Object Lock.
pub(super) const fn keeps_versions(road: Road) -> bool {
    !matches!(road, Road::OverwriteUnversioned | Road::DeleteUnversioned | Road::ExpireUnversioned | Road::Collect)
}

/// Whether the very version is gone when the road was open.
pub(super) const fn destroys(road: Road, keeper: Keeper) -> bool {
    match road {
        Road::DeleteVersion | Road::DeleteObjects | Road::ExpireNoncurrent | Road::Erase | Road::CommandErase => true,
        // What has no name any more stays for the period of its class.
        Road::ExpireUnversioned | Road::Collect => !matches!(keeper, Keeper::Mild),
        _ => false,
    }
}

/// What is to come of it, whichever door it is taken by.
pub(super) fn expected(road: Road, keeper: Keeper) -> &'static str {
    use Keeper::{Compliance, Finalized, Governance, GovernanceBypassed, LegalHold, Mild, NamedHold, Nothing};
    const ALLOWED: &str = "allowed";
    const DENIED: &str = "403 AccessDenied";
    const KEPT: &str = "kept";
    const REFUSED: &str = "refused";
    match (road, keeper) {
        // What the law demands is not asked of a seal; the manifest stays, and shows the gap.
        (Road::Erase | Road::CommandErase, Nothing | Mild | GovernanceBypassed | Finalized) => ALLOWED,
        (Road::Erase, Governance | Compliance | LegalHold | NamedHold) => "403 access-denied",
        (Road::CommandErase, Governance | Compliance | LegalHold | NamedHold) => REFUSED,
        (Road::DeleteBucket, _) => "409 BucketNotEmpty",
        (Road::SuspendVersioning, _) => "409 InvalidBucketState",
        (Road::AdminRelease | Road::CommandRelease, Finalized) => ALLOWED,
        (Road::AdminRelease, _) => "409 package-open",
        (Road::CommandRelease, _) => REFUSED,
        (Road::AdminShorten, Governance | Compliance) => "403 access-denied",
        (Road::AdminShorten, _) => ALLOWED,
        // Retention is set whatever else keeps a version, also in a package that is sealed.
        (Road::Downgrade, Compliance) | (Road::Shorten | Road::Unlock, Governance | Compliance) => DENIED,
        (Road::Downgrade | Road::Shorten | Road::Unlock, _) => ALLOWED,
        // What is kept stays behind: nothing is lost.
        (Road::DeleteName | Road::Overwrite | Road::CopyOnto | Road::CompleteOnto, Finalized) => DENIED,
        (Road::DeleteName | Road::Overwrite | Road::CopyOnto | Road::CompleteOnto, _) => ALLOWED,
        // A PUT has no way to say that governance does not count.
        (Road::OverwriteUnversioned, Nothing | Mild) => ALLOWED,
        (Road::OverwriteUnversioned, _) => DENIED,
        // What goes by itself bypasses nothing.
        (Road::ExpireCurrent, Finalized) => KEPT,
        (Road::ExpireCurrent, _)
        | (Road::ExpireNoncurrent | Road::ExpireUnversioned, Nothing | Mild)
        | (Road::Collect, Nothing) => ALLOWED,
        (Road::ExpireNoncurrent | Road::ExpireUnversioned | Road::Collect, _) => KEPT,
        (Road::CommandShorten, Governance | Compliance) => REFUSED,
        (Road::CommandShorten, _) => ALLOWED,
        (Road::DeleteVersion | Road::DeleteObjects | Road::DeleteUnversioned, Nothing | Mild | GovernanceBypassed) => {
            ALLOWED
        }
        (Road::DeleteVersion | Road::DeleteObjects | Road::DeleteUnversioned, _) => DENIED,
    }
}
