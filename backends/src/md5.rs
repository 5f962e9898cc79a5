//! MD5, of one body or of eight at once.
//!
//! MD5 is the slowest digest that a body needs, because each of its steps waits for the one before. Eight bodies at once
//! take hardly longer than one: their steps wait side by side, in the lanes of vector registers. No library at hand
//! does that (`docs/adr/0013`). It is here for ETags and `Content-MD5` alone; nothing is trusted because of it.
//!
//! Invariant: the digest depends on the bytes alone, never on how they were split or what was beside them.

use crate::digest::Md5Digest;

/// Bodies that are hashed at once: two registers of four where vectors have 128 bits, since the steps of one leave room
/// for those of another.
pub(crate) const LANES: usize = 8;
const BLOCK_BYTES: usize = 64;

const START: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

/// Left rotations: four for each of the four rounds.
const ROTATIONS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];

/// The integer part of 2^32 times the sine of each step's number, as RFC 1321 has it.
const SINES: [u32; 64] = [
    0xd76a_a478,
    0xe8c7_b756,
    0x2420_70db,
    0xc1bd_ceee,
    0xf57c_0faf,
    0x4787_c62a,
    0xa830_4613,
    0xfd46_9501,
    0x6980_98d8,
    0x8b44_f7af,
    0xffff_5bb1,
    0x895c_d7be,
    0x6b90_1122,
    0xfd98_7193,
    0xa679_438e,
    0x49b4_0821,
    0xf61e_2562,
    0xc040_b340,
    0x265e_5a51,
    0xe9b6_c7aa,
    0xd62f_105d,
    0x0244_1453,
    0xd8a1_e681,
    0xe7d3_fbc8,
    0x21e1_cde6,
    0xc337_07d6,
    0xf4d5_0d87,
    0x455a_14ed,
    0xa9e3_e905,
    0xfcef_a3f8,
    0x676f_02d9,
    0x8d2a_4c8a,
    0xfffa_3942,
    0x8771_f681,
    0x6d9d_6122,
    0xfde5_380c,
    0xa4be_ea44,
    0x4bde_cfa9,
    0xf6bb_4b60,
    0xbebf_bc70,
    0x289b_7ec6,
    0xeaa1_27fa,
    0xd4ef_3085,
    0x0488_1d05,
    0xd9d4_d039,
    0xe6db_99e5,
    0x1fa2_7cf8,
    0xc4ac_5665,
    0xf429_2244,
    0x432a_ff97,
    0xab94_23a7,
    0xfc93_a039,
    0x655b_59c3,
    0x8f0c_cc92,
    0xffef_f47d,
    0x8584_5dd1,
    0x6fa8_7e4f,
    0xfe2c_e6e0,
    0xa301_4314,
    0x4e08_11a1,
    0xf753_7e82,
    0xbd3a_f235,
    0x2ad7_d2bb,
    0xeb86_d391,
];

/// The MD5 of one body, on its way.
#[derive(Debug, Clone)]
pub(crate) struct Md5 {
    state: [u32; 4],
    /// The bytes of a block that is not full yet lie at its beginning.
    block: [u8; BLOCK_BYTES],
    size_bytes: u64,
}

impl Md5 {
    pub(crate) fn new() -> Self {
        Self { state: START, block: [0; BLOCK_BYTES], size_bytes: 0 }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        let (blocks, rest) = self.begin(bytes).as_chunks();
        let mut states = spread([self.state]);
        for block in blocks {
            compress(&mut states, [block]);
        }
        [self.state] = gather(states);
        self.keep(rest);
    }

    pub(crate) fn finalize(mut self) -> Md5Digest {
        let bits = self.size_bytes.wrapping_mul(8);
        // A bit, zeros up to the last eight bytes of a block, and the length.
        let held = self.held();
        let zeros = (2 * BLOCK_BYTES - 8 - 1 - held) % BLOCK_BYTES;
        let mut padding = [0; 2 * BLOCK_BYTES];
        padding[0] = 0x80;
        padding[1 + zeros..9 + zeros].copy_from_slice(&bits.to_le_bytes());
        self.update(&padding[..9 + zeros]);
        let mut digest = [0; 16];
        for (bytes, word) in digest.as_chunks_mut().0.iter_mut().zip(self.state) {
            *bytes = word.to_le_bytes();
        }
        Md5Digest(digest)
    }

    fn held(&self) -> usize {
        (self.size_bytes % BLOCK_BYTES as u64) as usize
    }

    /// Counts the bytes, fills up an open block with the first of them, and returns what is left.
    fn begin<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let held = self.held();
        self.size_bytes += bytes.len() as u64;
        if held == 0 {
            return bytes;
        }
        let (first, rest) = bytes.split_at(bytes.len().min(BLOCK_BYTES - held));
        self.block[held..held + first.len()].copy_from_slice(first);
        if held + first.len() == BLOCK_BYTES {
            let mut states = spread([self.state]);
            compress(&mut states, [&self.block]);
            [self.state] = gather(states);
        }
        rest
    }

    /// Keeps what is less than a block.
    fn keep(&mut self, rest: &[u8]) {
        if !rest.is_empty() && rest.len() == self.held() {
            self.block[..rest.len()].copy_from_slice(rest);
        }
    }
}

/// Takes the next bytes of so many bodies at once, as many of each as all of them have in whole blocks; returns how many
/// bytes of each that were. Bodies that do not stand at a block's boundary are to be updated alone first.
pub(crate) fn update_lanes(bodies: [&mut Md5; LANES], bytes: [&[u8]; LANES]) -> usize {
    let blocks: [&[[u8; BLOCK_BYTES]]; LANES] = bytes.map(|bytes| bytes.as_chunks().0);
    let count = blocks.iter().map(|blocks| blocks.len()).min().unwrap_or_default();
    let mut states = spread(std::array::from_fn(|lane| bodies[lane].state));
    // All of one length, which is known here once and not looked at for each block.
    let blocks = blocks.map(|blocks| &blocks[..count]);
    for at in 0..count {
        compress(&mut states, blocks.map(|blocks| &blocks[at]));
    }
    for (body, state) in bodies.into_iter().zip(gather(states)) {
        debug_assert_eq!(body.held(), 0);
        body.state = state;
        body.size_bytes += (count * BLOCK_BYTES) as u64;
    }
    count * BLOCK_BYTES
}

/// How many bytes a body lacks to a block's boundary.
impl Md5 {
    pub(crate) fn to_boundary(&self) -> usize {
        (BLOCK_BYTES - self.held()) % BLOCK_BYTES
    }
}

/// The same word of every lane beside each other.
type Lanes<const N: usize> = [u32; N];

fn spread<const N: usize>(states: [[u32; 4]; N]) -> [Lanes<N>; 4] {
    std::array::from_fn(|word| std::array::from_fn(|lane| states[lane][word]))
}

fn gather<const N: usize>(states: [Lanes<N>; 4]) -> [[u32; 4]; N] {
    std::array::from_fn(|lane| std::array::from_fn(|word| states[word][lane]))
}

#[inline]
fn compress<const N: usize>(states: &mut [Lanes<N>; 4], blocks: [&[u8; BLOCK_BYTES]; N]) {
    let mut words = [[0; N]; 16];
    for (lane, block) in blocks.into_iter().enumerate() {
        for (word, bytes) in words.iter_mut().zip(block.as_chunks().0) {
            word[lane] = u32::from_le_bytes(*bytes);
        }
    }
    let mut mixed = *states;
    round::<N, 0>(&mut mixed, &words);
    round::<N, 1>(&mut mixed, &words);
    round::<N, 2>(&mut mixed, &words);
    round::<N, 3>(&mut mixed, &words);
    for (state, mixed) in states.iter_mut().zip(mixed) {
        *state = std::array::from_fn(|lane| state[lane].wrapping_add(mixed[lane]));
    }
}

/// Sixteen steps, each of its own making: every index and constant is known when this is compiled.
#[inline(always)]
fn round<const N: usize, const ROUND: usize>(state: &mut [Lanes<N>; 4], words: &[Lanes<N>; 16]) {
    four_steps::<N, ROUND, 0, 1, 2, 3>(state, words);
    four_steps::<N, ROUND, 4, 5, 6, 7>(state, words);
    four_steps::<N, ROUND, 8, 9, 10, 11>(state, words);
    four_steps::<N, ROUND, 12, 13, 14, 15>(state, words);
}

#[inline(always)]
fn four_steps<const N: usize, const ROUND: usize, const A: usize, const B: usize, const C: usize, const D: usize>(
    [a, b, c, d]: &mut [Lanes<N>; 4],
    words: &[Lanes<N>; 16],
) {
    step::<N, ROUND, A>(a, b, c, d, words);
    step::<N, ROUND, B>(d, a, b, c, words);
    step::<N, ROUND, C>(c, d, a, b, words);
    step::<N, ROUND, D>(b, c, d, a, words);
}

#[inline(always)]
fn step<const N: usize, const ROUND: usize, const STEP: usize>(
    a: &mut Lanes<N>,
    b: &Lanes<N>,
    c: &Lanes<N>,
    d: &Lanes<N>,
    words: &[Lanes<N>; 16],
) {
    let word = match ROUND {
        0 => &words[STEP],
        1 => &words[(5 * STEP + 1) % 16],
        2 => &words[(3 * STEP + 5) % 16],
        _ => &words[(7 * STEP) % 16],
    };
    for lane in 0..N {
        let (b, c, d) = (b[lane], c[lane], d[lane]);
        let sum = a[lane].wrapping_add(SINES[ROUND * 16 + STEP]).wrapping_add(word[lane]);
        let sum = match ROUND {
            0 => sum.wrapping_add(d ^ (b & (c ^ d))),
            // The halves have no bit in common, and adding them one by one waits less for `b`.
            1 => sum.wrapping_add(c & !d).wrapping_add(b & d),
            2 => sum.wrapping_add(b ^ c ^ d),
            _ => sum.wrapping_add(c ^ (b | !d)),
        };
        a[lane] = sum.rotate_left(ROTATIONS[ROUND][STEP % 4]).wrapping_add(b);
    }
}

#[cfg(test)]
mod tests {
    use md5::Digest as _;
    use proptest::prelude::{any, prop, prop_assert_eq, proptest};

    use super::{LANES, Md5, update_lanes};
    use crate::digest::Md5Digest;

    fn reference(bytes: &[u8]) -> Md5Digest {
        Md5Digest(md5::Md5::digest(bytes).into())
    }

    #[test]
    fn the_vectors_of_the_rfc_come_out() {
        for (text, digest) in [
            ("", "d41d8cd98f00b204e9800998ecf8427e"),
            ("a", "0cc175b9c0f1b6a831c399e269772661"),
            ("message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
            ("abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b"),
        ] {
            let mut md5 = Md5::new();
            md5.update(text.as_bytes());
            assert_eq!(md5.finalize().to_hex(), digest, "{text}");
        }
    }

    #[test]
    fn every_length_around_a_block_is_padded_right() {
        let bytes: Vec<u8> = (0..300_u32).map(|n| (n * 31 % 251) as u8).collect();
        for length in 0..bytes.len() {
            let mut md5 = Md5::new();
            md5.update(&bytes[..length]);
            assert_eq!(md5.finalize(), reference(&bytes[..length]), "{length}");
        }
    }

    proptest! {
        #[test]
        fn any_split_gives_the_digest_of_the_whole(pieces in prop::collection::vec(any::<Vec<u8>>(), 0..20)) {
            let mut md5 = Md5::new();
            pieces.iter().for_each(|piece| md5.update(piece));
            prop_assert_eq!(md5.finalize(), reference(&pieces.concat()));
        }

        #[test]
        fn bodies_side_by_side_have_each_their_own(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..500), LANES),
            before in 0_usize..3,
        ) {
            let mut hashers: Vec<Md5> = bodies.iter().map(|body| {
                let mut md5 = Md5::new();
                md5.update(&body[..(before * 64).min(body.len())]);
                md5.update(&body[(before * 64).min(body.len())..][..0]);
                md5
            }).collect();
            let all_whole = hashers.iter().all(|md5| md5.to_boundary() == 0);
            let begin = |body: &[u8]| (before * 64).min(body.len());
            let taken = if all_whole {
                let mut lanes = hashers.iter_mut();
                let lanes = std::array::from_fn(|_| lanes.next().unwrap());
                update_lanes(lanes, std::array::from_fn(|lane| &bodies[lane][begin(&bodies[lane])..]))
            } else {
                0
            };
            for (mut md5, body) in hashers.into_iter().zip(&bodies) {
                md5.update(&body[begin(body) + taken..]);
                prop_assert_eq!(md5.finalize(), reference(body));
            }
        }
    }
}
