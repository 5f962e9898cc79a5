//! Retention: classes, locks, holds, the release of packages, and the clock. Whoever may do so is decided above.

use std::time::Duration;

use super::producer::unexpected;
use crate::clock::Timestamp;
use crate::error::{Refusal, Result};
use crate::log::clockwatch::{ClockWatch, Found};
use crate::log::writer::begun_at;
use crate::model::command::{Command, Reply, RetentionChange, SubjectChoice};
use crate::model::event::{Actor, Head};
use crate::model::name::{ClassName, HoldName, PackageId, ProducerName};
use crate::model::retention::{ClassRow, ClockJump, Keeping, Mode, Period, RetentionClass, expiry_time};
use crate::model::row::{Package, Producer, Sequence};
use crate::{Inner, Registry};

/// How something that is kept is changed, and by what right.
#[derive(Debug, Clone)]
pub struct RetentionOrder {
    /// What is changed.
    pub subject: SubjectChoice,
    /// How.
    pub change: RetentionChange,
    /// Whether governance does not count; whoever says so must have the permission to.
    pub bypass: bool,
    /// Why.
    pub reason: String,
}

/// What the clock shows, and what of it is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClockReport {
    /// What the clock of this gateway shows.
    pub shown: Timestamp,
    /// The time that expiry goes by.
    pub expiry: Timestamp,
    /// Every jump that was recorded, by event; behind them, numbered 0, those that the next event would record.
    pub jumps: Vec<ClockJump>,
}

/// What there is to say of the time without writing.
pub(crate) struct TimeSeen {
    pub(crate) shown: Timestamp,
    pub(crate) at: Duration,
    pub(crate) head: Head,
    pub(crate) watch: ClockWatch,
    pub(crate) classes: Vec<ClassRow>,
    pub(crate) jumps: Vec<ClockJump>,
}

impl Inner {
    /// What is known of the time. The jumps are read behind the rest, so that none is missed in between, and the head
    /// before it, so that the clock is not taken to be behind a jump that it had not made yet.
    pub(crate) async fn time_seen(&self) -> Result<TimeSeen> {
        let head = self.store.head().await?;
        let (shown, at, watched) = (self.now().await?, self.clock.monotonic(), self.log.watched());
        let (classes, jumps) = self.store.retention().await?;
        let first = if watched.known().has_begun() { None } else { begun_at(&*self.store).await? };
        let watch = watched.begun(shown, at, &Found { head, first, jumps: &jumps.iter().collect::<Vec<_>>() });
        Ok(TimeSeen { shown, at, head, watch, classes, jumps })
    }

    /// The classes, and what is believed of the clock.
    pub(crate) async fn classes_and_clock(&self) -> Result<(Vec<ClassRow>, ClockReport)> {
        let TimeSeen { shown, at, head, watch, classes, mut jumps } = self.time_seen().await?;
        let doubts = watch.findings(shown, at, &jumps.iter().collect::<Vec<_>>());
        jumps.extend(doubts.into_iter().map(|doubt| ClockJump {
            sequence: 0,
            from: doubt.from,
            to: doubt.to,
            settled_sequence: doubt.believed.then_some(0),
            genuine: doubt.believed,
        }));
        let expiry = expiry_time(shown.max(head.occurred_at), shown, &jumps);
        jumps.retain(|jump| !jump.is_account());
        Ok((classes, ClockReport { shown, expiry, jumps }))
    }
}

fn keeping(reply: Reply) -> Result<Keeping> {
    match reply {
        Reply::Tagged(file) => Ok(file.keeping),
        Reply::Package(package) => Ok(package.keeping),
        Reply::Producer(producer) => Ok(producer.keeping),
        reply => Err(unexpected(&reply)),
    }
}

impl Registry {
    /// All retention classes, by name.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn class_list(&self) -> Result<Vec<ClassRow>> {
        Ok(self.inner.store.retention().await?.0)
    }

    /// A retention class.
    ///
    /// # Errors
    /// When there is none of that name.
    pub async fn class_stat(&self, name: &ClassName) -> Result<ClassRow> {
        let found = self.class_list().await?.into_iter().find(|row| row.name == *name);
        Ok(found.ok_or_else(|| Refusal::ClassMissing(name.clone()))?)
    }

    /// Makes a retention class, or changes one: always so that it keeps more, and so that it keeps less only in
    /// governance, with `bypass`, and where it says that it may be shortened.
    ///
    /// # Errors
    /// When it cannot be so.
    pub async fn class_set(
        &self,
        actor: &Actor,
        name: &ClassName,
        class: RetentionClass,
        (bypass, reason): (bool, String),
    ) -> Result<ClassRow> {
        let command = Command::ClassSet { name: name.clone(), class, bypass, reason };
        match self.inner.log.record(actor, command).await? {
            Reply::Class(row) => Ok(*row),
            reply => Err(unexpected(&reply)),
        }
    }

    /// Enables S3's Object Lock for a producer that keeps versions, and says what its new files are kept by.
    ///
    /// # Errors
    /// When it does not keep versions.
    pub async fn lock_configure(
        &self,
        actor: &Actor,
        producer: &ProducerName,
        default: Option<(Mode, Period)>,
    ) -> Result<Producer> {
        self.producer_command(actor, Command::LockConfigure { producer: producer.clone(), default }).await
    }

    /// Changes what keeps a package or a version: what keeps it by itself from now on.
    ///
    /// # Errors
    /// When something that is kept would be kept less, and that is not allowed.
    pub async fn retention_set(&self, actor: &Actor, order: RetentionOrder) -> Result<Keeping> {
        let RetentionOrder { subject, change, bypass, reason } = order;
        let command = Command::RetentionSet { subject, change, bypass, reason };
        keeping(self.inner.log.record(actor, command).await?)
    }

    /// Places a hold; one of that name that is there already stays as it is.
    ///
    /// # Errors
    /// When there is no such thing, or no reason is given.
    pub async fn hold_place(
        &self,
        actor: &Actor,
        subject: SubjectChoice,
        name: &HoldName,
        reason: String,
    ) -> Result<Keeping> {
        let command = Command::HoldPlace { subject, name: name.clone(), reason };
        keeping(self.inner.log.record(actor, command).await?)
    }

    /// Releases a hold; one that is not there records nothing.
    ///
    /// # Errors
    /// When there is no such thing.
    pub async fn hold_release(
        &self,
        actor: &Actor,
        subject: SubjectChoice,
        name: &HoldName,
        reason: String,
    ) -> Result<Keeping> {
        let command = Command::HoldRelease { subject, name: name.clone(), reason };
        keeping(self.inner.log.record(actor, command).await?)
    }

    /// Lets the files of a finalized package be removed, as far as nothing keeps them one by one. Its seal and its
    /// manifest stay. Doing it again answers the same.
    ///
    /// # Errors
    /// When the package is open, or something keeps it.
    pub async fn package_release(&self, actor: &Actor, package: &PackageId, reason: String) -> Result<Package> {
        let command = Command::PackageRelease { package: package.clone(), reason, dry: false };
        match self.inner.log.record(actor, command).await? {
            Reply::Package(package) => Ok(*package),
            reply => Err(unexpected(&reply)),
        }
    }

    /// What the clock shows, the time that expiry goes by, and the jumps of the clock.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn clock_report(&self) -> Result<ClockReport> {
        Ok(self.inner.classes_and_clock().await?.1)
    }

    /// Says of a jump of the clock whether the clock was right, so that expiry goes on.
    ///
    /// # Errors
    /// When that event recorded no jump, or was wrong by a clock that still shows it.
    pub async fn clock_settle(
        &self,
        actor: &Actor,
        jump: Sequence,
        genuine: bool,
        reason: String,
    ) -> Result<ClockJump> {
        match self.inner.log.record(actor, Command::ClockSettle { jump, genuine, reason }).await? {
            Reply::Clock(jump) => Ok(*jump),
            reply => Err(unexpected(&reply)),
        }
    }
}
