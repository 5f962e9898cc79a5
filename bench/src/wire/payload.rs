//! Bodies that cost the client next to nothing and that no server can store once for two.
//!
//! All bodies are cut from one pool of random bytes; every block of 64 KiB begins with a stamp that no other block of
//! the run has. Nothing is copied on the way to the socket but what the socket copies.
//!
//! Invariant: a body is a function of the run's seed, its number and its place; two numbers never share a block.

use std::io::IoSlice;
use std::sync::Arc;

use artifactstore_tests::sign::sha256_hex;
use tokio::io::{AsyncWrite, AsyncWriteExt};

/// The bytes that carry one stamp.
pub const BLOCK_BYTES: usize = 64 << 10;
const POOL_BYTES: usize = 8 << 20;
const STAMP_BYTES: usize = 24;
/// How many blocks go to the socket in one call.
const BLOCKS_A_WRITE: usize = 16;

/// The random bytes of a run.
#[derive(Debug, Clone)]
pub struct Pool {
    seed: [u8; 8],
    bytes: Arc<[u8]>,
}

/// A body, or a piece of one.
#[derive(Debug, Clone)]
pub struct Body {
    pool: Pool,
    number: u64,
    first_block: u64,
    size_bytes: u64,
}

impl Pool {
    /// A pool that no other run has.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn fresh() -> anyhow::Result<Self> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;
        let mut bytes = vec![0; POOL_BYTES];
        blake3::Hasher::new_keyed(&seed).finalize_xof().fill(&mut bytes);
        let mut stamp = [0; 8];
        stamp.copy_from_slice(&seed[..8]);
        Ok(Self { seed: stamp, bytes: bytes.into() })
    }

    /// The body of this number.
    #[must_use]
    pub fn body(&self, number: u64, size_bytes: u64) -> Body {
        Body { pool: self.clone(), number, first_block: 0, size_bytes }
    }

    fn stamp(&self, number: u64, block: u64) -> [u8; STAMP_BYTES] {
        let mut stamp = [0; STAMP_BYTES];
        stamp[..8].copy_from_slice(&self.seed);
        stamp[8..16].copy_from_slice(&number.to_le_bytes());
        stamp[16..].copy_from_slice(&block.to_le_bytes());
        stamp
    }

    fn random(&self, number: u64, block: u64) -> &[u8] {
        // Odd strides, so that neighbours do not begin at the same place of the pool.
        let places = (POOL_BYTES - BLOCK_BYTES) as u64;
        let at = (number.wrapping_mul(40_503).wrapping_add(block.wrapping_mul(65_537)) % places) as usize;
        &self.bytes[at..at + BLOCK_BYTES - STAMP_BYTES]
    }
}

impl Body {
    /// A piece of this body, from one block on.
    #[must_use]
    pub fn piece(&self, first_block: u64, size_bytes: u64) -> Self {
        Self { first_block: self.first_block + first_block, size_bytes, ..self.clone() }
    }

    /// Its size in bytes.
    #[must_use]
    pub const fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn blocks(&self) -> impl Iterator<Item = ([u8; STAMP_BYTES], &[u8], usize)> {
        let count = self.size_bytes.div_ceil(BLOCK_BYTES as u64);
        (0..count).map(move |index| {
            let block = self.first_block + index;
            let left = self.size_bytes - index * BLOCK_BYTES as u64;
            let size = usize::try_from(left).unwrap_or(BLOCK_BYTES).min(BLOCK_BYTES);
            (self.pool.stamp(self.number, block), self.pool.random(self.number, block), size)
        })
    }

    /// The body in memory: for files on a disk, and for comparing.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.append_to(&mut bytes);
        bytes
    }

    /// Puts the body behind other bytes.
    pub fn append_to(&self, bytes: &mut Vec<u8>) {
        for (stamp, random, size) in self.blocks() {
            let stamped = size.min(STAMP_BYTES);
            bytes.extend_from_slice(&stamp[..stamped]);
            bytes.extend_from_slice(&random[..size - stamped]);
        }
    }

    /// The hex SHA-256, for requests that sign their payload.
    #[must_use]
    pub fn sha256_hex(&self) -> String {
        sha256_hex(&self.to_vec())
    }

    /// Sends the body without putting it together first.
    ///
    /// # Errors
    /// When the other side takes no more.
    pub async fn send(&self, to: &mut (impl AsyncWrite + Unpin)) -> std::io::Result<()> {
        let mut blocks = self.blocks().peekable();
        while blocks.peek().is_some() {
            let group: Vec<_> = blocks.by_ref().take(BLOCKS_A_WRITE).collect();
            let mut slices: Vec<IoSlice<'_>> = Vec::with_capacity(group.len() * 2);
            for (stamp, random, size) in &group {
                let stamped = (*size).min(STAMP_BYTES);
                slices.push(IoSlice::new(&stamp[..stamped]));
                slices.push(IoSlice::new(&random[..size - stamped]));
            }
            let mut rest = slices.as_mut_slice();
            IoSlice::advance_slices(&mut rest, 0);
            while !rest.is_empty() {
                let sent = to.write_vectored(rest).await?;
                if sent == 0 {
                    return Err(std::io::ErrorKind::WriteZero.into());
                }
                IoSlice::advance_slices(&mut rest, sent);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{BLOCK_BYTES, Pool};

    #[tokio::test]
    async fn what_is_sent_is_what_is_in_memory_and_pieces_lie_end_to_end() {
        let pool = Pool::fresh().unwrap();
        let whole = pool.body(7, 40 * BLOCK_BYTES as u64 + 10);
        let mut sent = Vec::new();
        whole.send(&mut sent).await.unwrap();
        assert_eq!(sent, whole.to_vec());
        let pieces = [whole.piece(0, 33 * BLOCK_BYTES as u64), whole.piece(33, 7 * BLOCK_BYTES as u64 + 10)];
        assert_eq!(pieces.map(|piece| piece.to_vec()).concat(), sent);
    }

    #[test]
    fn no_block_comes_twice() {
        let pool = Pool::fresh().unwrap();
        let bodies: Vec<Vec<u8>> = (0..50).map(|number| pool.body(number, 4 * BLOCK_BYTES as u64).to_vec()).collect();
        let blocks: BTreeSet<&[u8]> = bodies.iter().flat_map(|body| body.chunks(BLOCK_BYTES)).collect();
        assert_eq!(blocks.len(), 200);
    }
}
