//! Buffers for chunks: aligned, so that a backend may hand them to the disk without copying them.

use bytes::{Buf, BytesMut};

use crate::folder::DIRECT_ALIGNMENT;

/// Less than this is never written directly, so that aligning it would only cost memory.
const ALIGNED_BYTES: usize = 256 * 1024;

/// How much more memory a buffer may have than what was asked for, so that it can begin on a boundary.
pub(crate) const BUFFER_SLACK_BYTES: usize = DIRECT_ALIGNMENT;

/// An empty buffer that takes so many bytes without moving; a large one begins on a block's boundary.
pub(crate) fn aligned_buffer(capacity_bytes: usize) -> BytesMut {
    if capacity_bytes < ALIGNED_BYTES {
        return BytesMut::with_capacity(capacity_bytes);
    }
    let mut buffer = BytesMut::with_capacity(capacity_bytes + DIRECT_ALIGNMENT);
    let beyond = buffer.as_ptr().addr() % DIRECT_ALIGNMENT;
    if beyond > 0 {
        buffer.resize(DIRECT_ALIGNMENT - beyond, 0);
        buffer.advance(DIRECT_ALIGNMENT - beyond);
    }
    buffer
}

#[cfg(test)]
mod tests {
    use super::{ALIGNED_BYTES, DIRECT_ALIGNMENT, aligned_buffer};

    #[test]
    fn a_large_buffer_is_aligned_and_takes_its_capacity_without_moving() {
        for capacity in [1, ALIGNED_BYTES - 1, ALIGNED_BYTES, ALIGNED_BYTES + 1, 8 << 20] {
            let mut buffer = aligned_buffer(capacity);
            assert!(buffer.is_empty());
            let begin = buffer.as_ptr().addr();
            assert!(capacity < ALIGNED_BYTES || begin.is_multiple_of(DIRECT_ALIGNMENT));
            buffer.resize(capacity, 7);
            assert_eq!(buffer.as_ptr().addr(), begin);
        }
    }
}
