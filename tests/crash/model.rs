//! What must be there: everything that was acknowledged, and of what was not, the whole or nothing.
//!
//! Invariant: of one name at most the last step is unsettled, because each name has one writer, who stops at the first
//! request that is not answered.

use std::collections::BTreeMap;

/// Bytes that can be made again: pieces of noise, each by its seed and size.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Content(pub(crate) Vec<(u64, usize)>);

impl Content {
    pub(crate) fn noise(seed: u64, size: usize) -> Self {
        Self(vec![(seed, size)])
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.0.iter().map(|(_, size)| size).sum()];
        let mut rest = bytes.as_mut_slice();
        for (seed, size) in &self.0 {
            let (piece, behind) = rest.split_at_mut(*size);
            blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(piece);
            rest = behind;
        }
        bytes
    }

    pub(crate) fn address(&self) -> String {
        blake3::hash(&self.bytes()).to_hex().to_string()
    }
}

/// One change of one name: its new content, or `None` for its removal.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) content: Option<Content>,
    /// It was acknowledged, or was found to have happened.
    pub(crate) settled: bool,
    /// Nobody acknowledged it, and the name had the same content before: it may have happened or not.
    pub(crate) doubtful: bool,
}

/// A multipart upload that was not seen to its end.
#[derive(Debug, Clone)]
pub(crate) struct Upload {
    pub(crate) name: String,
    pub(crate) id: String,
    /// Number, ETag and content of each part that was acknowledged.
    pub(crate) parts: Vec<(u32, String, Content)>,
    /// Completing it was tried: it is over, or nothing of it happened.
    pub(crate) completing: bool,
}

impl Upload {
    pub(crate) fn content(&self) -> Content {
        Content(self.parts.iter().flat_map(|(_, _, content)| content.0.clone()).collect())
    }
}

/// A package that was asked to be finalized.
#[derive(Debug, Clone)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) files: usize,
    pub(crate) acknowledged: bool,
}

/// What one client did in one round.
#[derive(Debug, Default)]
pub(crate) struct Done {
    pub(crate) steps: Vec<(String, Step)>,
    pub(crate) uploads: Vec<Upload>,
    pub(crate) packages: Vec<Package>,
}

impl Done {
    /// Notes a change; says whether it was acknowledged.
    pub(crate) fn note(&mut self, name: &str, content: Option<Content>, acknowledged: bool) -> bool {
        self.steps.push((name.to_owned(), Step { content, settled: acknowledged, doubtful: false }));
        acknowledged
    }
}

/// Everything that was done to one data folder.
#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) files: BTreeMap<String, Vec<Step>>,
    pub(crate) uploads: Vec<Upload>,
    pub(crate) packages: Vec<Package>,
    /// Names that were changed since they were last looked at.
    pub(crate) unseen: Vec<String>,
}

impl Model {
    pub(crate) fn take(&mut self, done: Done) {
        for (name, step) in done.steps {
            let steps = self.files.entry(name.clone()).or_default();
            assert!(steps.last().is_none_or(|last| last.settled), "{name}: one unsettled step at most, and the last");
            steps.push(step);
            self.unseen.push(name);
        }
        self.uploads.extend(done.uploads);
        self.packages.extend(done.packages);
    }

    /// The names of which it is certain what they have, and what that is.
    pub(crate) fn certain(&self) -> impl Iterator<Item = (&String, &Content)> {
        self.files.iter().filter_map(|(name, steps)| {
            let last = steps.last().filter(|last| last.settled)?;
            Some((name, last.content.as_ref()?))
        })
    }

    /// Notes that what a name has was to be erased: from then on it shows nothing.
    pub(crate) fn erase(&mut self, name: &str, acknowledged: bool) {
        let steps = self.files.get_mut(name).expect("a name that was written");
        steps.push(Step { content: None, settled: acknowledged, doubtful: false });
        self.unseen.push(name.to_owned());
    }

    /// Settles what a name has now: its last acknowledged content, or the one that nobody acknowledged.
    ///
    /// # Panics
    /// When it is neither.
    pub(crate) fn settle(&mut self, name: &str, found: Option<&[u8]>) {
        let steps = self.files.get_mut(name).expect("a name that was written");
        let same = |content: Option<&Content>| match (content, found) {
            (None, None) => true,
            (Some(content), Some(found)) => content.bytes() == found,
            _ => false,
        };
        let before = steps.iter().rev().nth(1).and_then(|step| step.content.clone());
        let Some(last) = steps.last_mut() else {
            assert!(found.is_none(), "{name}: nothing was ever found to have happened to it");
            return;
        };
        if same(last.content.as_ref()) {
            last.doubtful |= !last.settled && before == last.content;
            last.settled = true;
            return;
        }
        let length = found.map(<[u8]>::len);
        assert!(!last.settled, "{name}: {last:?} was acknowledged, and {length:?} bytes of something else are there");
        steps.pop();
        assert!(
            same(before.as_ref()),
            "{name}: {length:?} bytes are there, which are neither the old ones nor the new"
        );
    }
}

/// Whether a name's events are its steps: each in its order, none twice, and only doubtful ones missing. An event is the
/// address of the new content, or `None` for a removal.
pub(crate) fn is_told_by(steps: &[Step], events: &[Option<String>]) -> bool {
    let Some((step, steps)) = steps.split_first() else { return events.is_empty() };
    let told = events.split_first().is_some_and(|(event, events)| {
        *event == step.content.as_ref().map(Content::address) && is_told_by(steps, events)
    });
    told || (step.doubtful && is_told_by(steps, events))
}
