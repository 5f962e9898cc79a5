//! What a command came to, by the state that it made.

use super::decide::package_chosen;
use super::writer::{Answer, Own, Work};
use crate::error::Refusal;
use crate::model::command::{Command, PackageChoice, Removed, Reply, SubjectChoice};
use crate::model::event::Actor;
use crate::model::name::{FileName, ProducerName};
use crate::model::retention::ClockJump;
use crate::model::row::{Package, VersionChoice, Versioning};

impl Work<'_> {
    pub(super) fn reply(
        &self,
        actor: &Actor,
        command: &Command,
        own: &Own,
        deduplicated: bool,
        finalized: Option<Box<Package>>,
    ) -> Answer {
        let file = |name: &FileName| {
            let file = self.state.file_current(name).cloned().ok_or(Refusal::FileMissing)?;
            let (file, finalized) = (Box::new(file), finalized.clone());
            let versioning = self.versioning(&name.producer);
            Ok(Reply::File { file, deduplicated, versioning, finalized, to_finalize: None })
        };
        match command {
            Command::ProducerCreate { producer, .. }
            | Command::ProducerConfigure { producer, .. }
            | Command::VersioningSet { producer, .. }
            | Command::LockConfigure { producer, .. }
            | Command::SubresourceSet { producer, .. } => self.producer_reply(producer),
            Command::ProducerDelete { .. } | Command::UploadAbort { .. } | Command::KeyRevoke { .. } => {
                Ok(Reply::Deleted)
            }
            Command::KeyCreate { id, .. } | Command::KeyRotate { id, .. } => {
                let row = self.state.access_keys.get(id).cloned();
                row.map(|row| Reply::Key(Box::new(row))).ok_or_else(|| Refusal::KeyMissing(id.clone()))
            }
            Command::FileIngest(ingest) => file(&ingest.name),
            Command::FileDescribe { name, .. } => file(name),
            Command::FileRemove { name, .. } => {
                let versioning = self.versioning(&name.producer);
                let marker = own.sequence.filter(|_| versioning != Versioning::Off);
                Ok(Reply::Removed(Removed { sequence: own.sequence, marker, versioning }))
            }
            Command::VersionRemove { name, .. } => {
                // A marker is a version without a file.
                let marker = own.deleted.filter(|sequence| self.state.files.get(sequence).is_none());
                let versioning = self.versioning(&name.producer);
                Ok(Reply::Removed(Removed { sequence: own.sequence, marker, versioning }))
            }
            Command::FileTag { name, version, .. } => self.tagged(name, *version),
            Command::RetentionSet { subject, .. }
            | Command::HoldPlace { subject, .. }
            | Command::HoldRelease { subject, .. } => match subject {
                SubjectChoice::File(name, version) => self.tagged(name, *version),
                SubjectChoice::Package(id) => self.package_reply(actor, &PackageChoice::Id(id.clone())),
                SubjectChoice::Producer(producer) => self.producer_reply(producer),
            },
            Command::PackageRelease { package, .. } => self.package_reply(actor, &PackageChoice::Id(package.clone())),
            Command::ClassSet { name, .. } => {
                let row = self.state.class(name).cloned();
                row.map(|row| Reply::Class(Box::new(row))).ok_or_else(|| Refusal::ClassMissing(name.clone()))
            }
            Command::ClockSettle { jump, .. } => {
                let row = self.state.jumps.find(jump).cloned();
                // One that was believed is none any more, now that somebody vouched for it.
                let vouched = || own.settled.clone().map(|row| ClockJump { settled_sequence: own.sequence, ..row });
                let row = row.or_else(vouched);
                row.map(|row| Reply::Clock(Box::new(row))).ok_or(Refusal::JumpMissing(*jump))
            }
            Command::UploadCreate { upload, .. } => {
                let row = self.state.uploads.get(upload).cloned();
                row.map(|row| Reply::Upload(Box::new(row))).ok_or_else(|| Refusal::UploadMissing(upload.clone()))
            }
            Command::PartIngest { upload, number, .. } => {
                let row = self.state.parts.get(&(upload.clone(), *number)).cloned();
                row.map(|row| Reply::Part(Box::new(row))).ok_or_else(|| Refusal::UploadMissing(upload.clone()))
            }
            Command::PackageFinalize { package, .. } => self.package_reply(actor, package),
            // Answered already.
            Command::Collect { .. } | Command::Erase { .. } | Command::Expire { .. } => {
                Ok(Reply::Collected(Vec::new()))
            }
            Command::ClockNote { .. } => Ok(Reply::Noted),
            Command::Scrub(_) => Ok(Reply::Scrubbed(self.state.scrub_newest().cloned().map(Box::new))),
            Command::StorageDirect { .. } | Command::StorageClose { .. } | Command::StorageEnd { .. } => {
                let last = self.state.storage().last().cloned();
                let missing = || Refusal::StorageElsewhere(String::new());
                last.map(|row| Reply::Storage(Box::new(row))).ok_or_else(missing)
            }
        }
    }

    fn versioning(&self, producer: &ProducerName) -> Versioning {
        self.state.producers.get(producer).map_or(Versioning::Off, |producer| producer.versioning)
    }

    fn producer_reply(&self, producer: &ProducerName) -> Answer {
        let row = self.state.producers.get(producer).cloned();
        row.map(|row| Reply::Producer(Box::new(row))).ok_or_else(|| Refusal::ProducerMissing(producer.clone()))
    }

    fn tagged(&self, name: &FileName, version: Option<VersionChoice>) -> Answer {
        let file = match version {
            None => self.state.file_current(name),
            Some(VersionChoice::Numbered(sequence)) => self.state.files.get(&sequence),
            Some(VersionChoice::Null) => {
                let current = self.state.file_current(name).filter(|file| !file.versioned);
                current.or_else(|| self.state.files.get(&self.state.history_null(name)?.sequence))
            }
        };
        Ok(Reply::Tagged(Box::new(file.cloned().ok_or(Refusal::VersionMissing)?)))
    }

    fn package_reply(&self, actor: &Actor, choice: &PackageChoice) -> Answer {
        let package = package_chosen(&self.state, actor, choice)?.cloned().ok_or(Refusal::PackageMissing)?;
        Ok(Reply::Package(Box::new(package)))
    }
}
