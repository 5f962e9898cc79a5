//! Where a blob is cut into chunks.
//!
//! The cutter is a seam: chunks have a fixed size now, and may be cut by content later. Nothing else knows why a chunk
//! ends where it ends.
//!
//! Invariant: where a body is cut depends on its bytes alone, never on how they arrived.

use std::fmt::Debug;

/// The size of a chunk unless told otherwise, in bytes. The crash tests want many chunks of few bytes.
pub const DEFAULT_CHUNK_SIZE_BYTES: usize = if cfg!(feature = "failpoints") { 256 * 1024 } else { 8 * 1024 * 1024 };

/// Decides where the chunks of one body end. It sees every byte once, in order.
pub trait Cutter: Debug + Send {
    /// No chunk is longer than this many bytes.
    fn longest_bytes(&self) -> usize;

    /// Looks at the next bytes. `Some(n)`: the open chunk ends behind the first `n` of them (at least one), and the
    /// rest is to be shown again, as the start of the next chunk. `None`: all of them belong to the open chunk, which
    /// goes on.
    fn next_cut(&mut self, bytes: &[u8]) -> Option<usize>;
}

/// Cuts after every so many bytes.
#[derive(Debug, Clone)]
pub struct FixedCutter {
    chunk_size_bytes: usize,
    held_bytes: usize,
}

impl FixedCutter {
    /// A cutter for one body. A size of zero counts as one byte.
    #[must_use]
    pub fn new(chunk_size_bytes: usize) -> Self {
        Self { chunk_size_bytes: chunk_size_bytes.max(1), held_bytes: 0 }
    }
}

impl Cutter for FixedCutter {
    fn longest_bytes(&self) -> usize {
        self.chunk_size_bytes
    }

    fn next_cut(&mut self, bytes: &[u8]) -> Option<usize> {
        let room = self.chunk_size_bytes - self.held_bytes;
        if bytes.len() < room {
            self.held_bytes += bytes.len();
            return None;
        }
        self.held_bytes = 0;
        Some(room)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop, prop_assert, prop_assert_eq, proptest};

    use super::{Cutter, FixedCutter};

    proptest! {
        #[test]
        fn every_chunk_but_the_last_is_full_however_the_bytes_arrive(
            chunk_size in 1_usize..20,
            frames in prop::collection::vec(0_usize..50, 0..20),
        ) {
            let mut cutter = FixedCutter::new(chunk_size);
            let mut chunks = vec![0_usize];
            for frame in &frames {
                let bytes = vec![0_u8; *frame];
                let mut rest = bytes.as_slice();
                while let Some(cut) = cutter.next_cut(rest) {
                    prop_assert!(cut > 0);
                    *chunks.last_mut().unwrap() += cut;
                    chunks.push(0);
                    rest = &rest[cut..];
                }
                *chunks.last_mut().unwrap() += rest.len();
            }
            let last = chunks.pop().unwrap();
            prop_assert!(last < chunk_size);
            prop_assert!(chunks.iter().all(|size| *size == chunk_size));
            prop_assert_eq!(chunks.len() * chunk_size + last, frames.iter().sum::<usize>());
        }
    }
}
