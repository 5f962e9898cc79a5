//! The backends that a plane has open, by the names that locations give them.
//!
//! One is enough for most; while a store moves to another place, chunks lie in two. Which of them is written to is the
//! catalog's to say, because all gateways over one log have to agree on it.
//!
//! Invariant: no two of them have the same name.

use std::sync::Arc;

use crate::backend::Backend;

/// Open backends, the one to write to first, as long as the catalog names none.
#[derive(Debug, Clone)]
pub struct Backends {
    first: Arc<dyn Backend>,
    others: Vec<Arc<dyn Backend>>,
}

impl Backends {
    /// One backend.
    #[must_use]
    pub fn new(first: Arc<dyn Backend>) -> Self {
        Self { first, others: Vec::new() }
    }

    /// One more, unless there is one of its name.
    #[must_use]
    pub fn with(mut self, other: Arc<dyn Backend>) -> Self {
        if self.named(other.name()).is_none() {
            self.others.push(other);
        }
        self
    }

    /// The one that is written to when the catalog names none.
    #[must_use]
    pub fn first(&self) -> &Arc<dyn Backend> {
        &self.first
    }

    /// Whether any of them makes use of the MD5 of what it is to store.
    #[must_use]
    pub fn want_md5(&self) -> bool {
        std::iter::once(&self.first).chain(&self.others).any(|backend| backend.wants_md5())
    }

    /// The one of this name, if it is open.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Arc<dyn Backend>> {
        std::iter::once(&self.first).chain(&self.others).find(|backend| backend.name() == name)
    }
}
