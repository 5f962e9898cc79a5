//! Copying: another name for the same bytes. No byte is read or moved.

use artifactstore_backends::dataplane::spi::IngestHints;

use super::ingest::once;
use super::request::{FileReceipt, FileUpload, FoundFile};
use crate::Registry;
use crate::error::{Error, Refusal, Result};
use crate::model::attributes::Attributes;
use crate::model::command::{Command, Content, FileIngest, WriteCondition};
use crate::model::event::{Actor, CopySource};
use crate::model::name::{FileName, KeyMeaning};
use crate::model::retention::Retention;

impl FoundFile {
    /// What a copy leans on; nothing of a document, which goes with the event that it is made of.
    pub(super) fn copy_source(&self) -> Option<CopySource> {
        let FileName { producer, key } = self.file.name.clone();
        self.document.is_none().then_some(CopySource { key, producer, sequence: self.file.sequence })
    }
}

impl Registry {
    /// Gives the bytes of a version another name. With `replace`, the new file carries these attributes instead of the
    /// source's (its checksum and parts are the source's, because its bytes are); onto itself that records a
    /// metadata-only event.
    ///
    /// # Errors
    /// When the state refuses the write, as for any other.
    pub async fn file_copy(
        &self,
        actor: &Actor,
        source: &FoundFile,
        target: &FileName,
        replace: Option<Attributes>,
        retention: Retention,
        condition: WriteCondition,
    ) -> Result<FileReceipt> {
        if let KeyMeaning::Reserved { .. } = self.inner.name_writable(actor, target).await? {
            return Err(Refusal::KeyReserved("nothing is stored under .artifact/").into());
        }
        let from = &source.file;
        if let Some(document) = &source.document {
            // A document is no blob until somebody wants to keep a copy of it.
            let attributes = replace.unwrap_or_else(|| from.attributes.clone());
            let hints = IngestHints { size_bytes: Some(from.size_bytes), ..IngestHints::default() };
            let (name, body) = (target.clone(), once(document.clone()));
            return self.file_ingest(actor, FileUpload { name, body, hints, attributes, retention, condition }).await;
        }
        let fresh_package = self.inner.fresh_package();
        let replaced = replace.is_some();
        let attributes = Attributes {
            checksum: from.attributes.checksum.clone(),
            parts: from.attributes.parts.clone(),
            ..replace.unwrap_or_else(|| from.attributes.clone())
        };
        if replaced && from.name == *target && from.ended_sequence.is_none() {
            let command = Command::FileDescribe {
                name: target.clone(),
                version: from.sequence,
                attributes: Box::new(attributes.clone()),
                retention: retention.clone(),
                condition: condition.clone(),
                fresh_package: fresh_package.clone(),
            };
            match self.inner.file_record(actor, command).await {
                // Somebody else wrote there meanwhile: what was read is copied over that, as with any copy.
                Err(Error::Refused(Refusal::ContentMissing)) => {}
                outcome => return outcome,
            }
        }
        let ingest = FileIngest {
            name: target.clone(),
            content: Content {
                content_address: from.content_address,
                sha256: from.sha256,
                size_bytes: from.size_bytes,
                recipe: None,
                written: Vec::new(),
            },
            etag: from.etag.clone(),
            attributes,
            retention,
            condition,
            upload: None,
            copied_from: source.copy_source(),
            fresh_package,
            finalize: self.inner.facts.clone(),
        };
        self.inner.file_record(actor, Command::FileIngest(Box::new(ingest))).await
    }
}
