//! MD5, of one body or of eight at once.
//!
//! MD5 is the slowest digest that a body needs, because each of its steps waits for the one before. Eight bodies at once
//! take twice as long as one: their steps wait side by side, in the lanes of vector registers. No library at hand
//! does that (`docs/adr/0013`). It is here for ETags and `Content-MD5` alone; nothing is trusted because of it.
//!
//! Invariant: the digest depends on the bytes alone, never on how they were split or what was beside them.

use std::hint::black_box;
use std::ops::{BitAnd, BitOr, BitXor, Not};

use wide::u32x4;

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
        for block in blocks {
            compress(&mut self.state, &words(block));
        }
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
            compress(&mut self.state, &words(&self.block));
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
///
/// The first half of the lanes costs less than all of them: `bodies` has those that are filled, and no more than [`LANES`].
pub(crate) fn update_lanes(bodies: &mut [&mut Md5], bytes: &[&[u8]]) -> usize {
    if bodies.len() <= LANES / 2 {
        side_by_side::<u32x4, 4>(bodies, bytes)
    } else {
        side_by_side::<Two, LANES>(bodies, bytes)
    }
}

fn side_by_side<L: Vector<N>, const N: usize>(bodies: &mut [&mut Md5], bytes: &[&[u8]]) -> usize {
    let Some(first) = bytes.first() else { return 0 };
    // A lane without a body hashes the first one's bytes for nothing, which costs no time.
    let blocks: [&[[u8; BLOCK_BYTES]]; N] = std::array::from_fn(|lane| bytes.get(lane).unwrap_or(first).as_chunks().0);
    let count = blocks.iter().map(|blocks| blocks.len()).min().unwrap_or_default();
    // All of one length, which is known here once and not looked at for each block.
    let blocks = blocks.map(|blocks| &blocks[..count]);
    let state = |lane: usize| bodies.get(lane).map_or(START, |body| body.state);
    let mut states = L::side_by_side(std::array::from_fn(state));
    for at in 0..count {
        compress(&mut states, &L::all_words(blocks.map(|blocks| &blocks[at])));
    }
    let states = L::apart(states);
    for (body, state) in bodies.iter_mut().zip(states) {
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

#[inline(always)]
fn words(block: &[u8; BLOCK_BYTES]) -> [u32; 16] {
    let bytes = block.as_chunks().0;
    std::array::from_fn(|word| u32::from_le_bytes(bytes[word]))
}

/// A word of one body, or the same word of several beside each other.
///
/// Vectors are asked for by name: the same steps over arrays were vector code in one build and plain code in the next.
trait Lanes: Copy + BitAnd<Output = Self> + BitOr<Output = Self> + BitXor<Output = Self> + Not<Output = Self> {
    fn all(word: u32) -> Self;
    fn plus(self, other: Self) -> Self;
    fn rotated(self, left: u32) -> Self;
}

impl Lanes for u32 {
    #[inline(always)]
    fn all(word: u32) -> Self {
        word
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self.wrapping_add(other)
    }

    #[inline(always)]
    fn rotated(self, left: u32) -> Self {
        self.rotate_left(left)
    }
}

/// The same word of `N` bodies.
trait Vector<const N: usize>: Lanes {
    /// Four words of each body, as four vectors.
    fn side_by_side(words: [[u32; 4]; N]) -> [Self; 4];
    /// The other way round.
    fn apart(words: [Self; 4]) -> [[u32; 4]; N];

    #[inline(always)]
    fn all_words(blocks: [&[u8; BLOCK_BYTES]; N]) -> [Self; 16] {
        let blocks = blocks.map(words);
        let four = |from: usize| Self::side_by_side(blocks.map(|words| std::array::from_fn(|word| words[from + word])));
        let [first, second, third, fourth] = [four(0), four(4), four(8), four(12)];
        std::array::from_fn(|word| [first, second, third, fourth][word / 4][word % 4])
    }
}

impl Lanes for u32x4 {
    #[inline(always)]
    fn all(word: u32) -> Self {
        Self::splat(word)
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self + other
    }

    #[inline(always)]
    fn rotated(self, left: u32) -> Self {
        (self << left) | (self >> (u32::BITS - left))
    }
}

impl Vector<4> for u32x4 {
    #[inline(always)]
    fn side_by_side(words: [[u32; 4]; 4]) -> [Self; 4] {
        Self::transpose(words.map(Self::new))
    }

    #[inline(always)]
    fn apart(words: [Self; 4]) -> [[u32; 4]; 4] {
        Self::transpose(words).map(Self::to_array)
    }
}

/// Eight lanes: the steps of one vector leave room for those of another.
#[derive(Clone, Copy)]
struct Two(u32x4, u32x4);

impl BitAnd for Two {
    type Output = Self;

    #[inline(always)]
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0, self.1 & other.1)
    }
}

impl BitOr for Two {
    type Output = Self;

    #[inline(always)]
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0, self.1 | other.1)
    }
}

impl BitXor for Two {
    type Output = Self;

    #[inline(always)]
    fn bitxor(self, other: Self) -> Self {
        Self(self.0 ^ other.0, self.1 ^ other.1)
    }
}

impl Not for Two {
    type Output = Self;

    #[inline(always)]
    fn not(self) -> Self {
        Self(!self.0, !self.1)
    }
}

impl Lanes for Two {
    #[inline(always)]
    fn all(word: u32) -> Self {
        Self(u32x4::splat(word), u32x4::splat(word))
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        Self(self.0.plus(other.0), self.1.plus(other.1))
    }

    #[inline(always)]
    fn rotated(self, left: u32) -> Self {
        Self(self.0.rotated(left), self.1.rotated(left))
    }
}

impl Vector<8> for Two {
    #[inline(always)]
    fn side_by_side(words: [[u32; 4]; 8]) -> [Self; 4] {
        let low = u32x4::side_by_side(std::array::from_fn(|lane| words[lane]));
        let high = u32x4::side_by_side(std::array::from_fn(|lane| words[4 + lane]));
        std::array::from_fn(|word| Self(low[word], high[word]))
    }

    #[inline(always)]
    fn apart(words: [Self; 4]) -> [[u32; 4]; 8] {
        let (low, high) = (u32x4::apart(words.map(|word| word.0)), u32x4::apart(words.map(|word| word.1)));
        std::array::from_fn(|lane| if lane < 4 { low[lane] } else { high[lane - 4] })
    }
}

#[inline(always)]
fn compress<L: Lanes>(states: &mut [L; 4], words: &[L; 16]) {
    let mut mixed = *states;
    // Each round reads the words anew from memory. Told nothing, the compiler keeps all sixteen in the registers that the
    // state needs, and each step waits for the stack: a fourth of the speed.
    round::<L, 0>(&mut mixed, black_box(words));
    round::<L, 1>(&mut mixed, black_box(words));
    round::<L, 2>(&mut mixed, black_box(words));
    round::<L, 3>(&mut mixed, black_box(words));
    for (state, mixed) in states.iter_mut().zip(mixed) {
        *state = state.plus(mixed);
    }
}

/// Sixteen steps, each of its own making: every index and constant is known when this is compiled.
#[inline(always)]
fn round<L: Lanes, const ROUND: usize>(state: &mut [L; 4], words: &[L; 16]) {
    four_steps::<L, ROUND, 0, 1, 2, 3>(state, words);
    four_steps::<L, ROUND, 4, 5, 6, 7>(state, words);
    four_steps::<L, ROUND, 8, 9, 10, 11>(state, words);
    four_steps::<L, ROUND, 12, 13, 14, 15>(state, words);
}

#[inline(always)]
fn four_steps<L: Lanes, const ROUND: usize, const A: usize, const B: usize, const C: usize, const D: usize>(
    [a, b, c, d]: &mut [L; 4],
    words: &[L; 16],
) {
    *a = step::<L, ROUND, A>(*a, *b, *c, *d, words);
    *d = step::<L, ROUND, B>(*d, *a, *b, *c, words);
    *c = step::<L, ROUND, C>(*c, *d, *a, *b, words);
    *b = step::<L, ROUND, D>(*b, *c, *d, *a, words);
}

#[inline(always)]
fn step<L: Lanes, const ROUND: usize, const STEP: usize>(a: L, b: L, c: L, d: L, words: &[L; 16]) -> L {
    let word = match ROUND {
        0 => words[STEP],
        1 => words[(5 * STEP + 1) % 16],
        2 => words[(3 * STEP + 5) % 16],
        _ => words[(7 * STEP) % 16],
    };
    let sum = a.plus(L::all(SINES[ROUND * 16 + STEP])).plus(word);
    let sum = match ROUND {
        0 => sum.plus(d ^ (b & (c ^ d))),
        // The halves have no bit in common, and adding them one by one waits less for `b`.
        1 => sum.plus(c & !d).plus(b & d),
        2 => sum.plus(b ^ c ^ d),
        _ => sum.plus(c ^ (b | !d)),
    };
    sum.rotated(ROTATIONS[ROUND][STEP % 4]).plus(b)
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
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..500), 1..=LANES),
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
                let mut lanes: Vec<&mut Md5> = hashers.iter_mut().collect();
                let bytes: Vec<&[u8]> = bodies.iter().map(|body| &body[begin(body)..]).collect();
                update_lanes(&mut lanes, &bytes)
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
