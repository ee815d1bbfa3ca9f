//! Classification of sixteen bytes at once by SSE2, which is part of x86-64. The only module of the crate with unsafe
//! code. Tests of `super` compare the searches that use it with the portable ones, for every byte at every position.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m128i, _mm_andnot_si128, _mm_cmpeq_epi8, _mm_cmpgt_epi8, _mm_loadu_si128, _mm_min_epu8,
    _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8, _mm_sub_epi8,
};

/// The number of bytes in a block.
pub(super) const BLOCK: usize = 16;

/// Returns a bit set of the bytes that cannot be part of a field value. The lowest bit is that of the first byte.
#[inline]
pub(super) fn value_marks(block: &[u8; BLOCK]) -> u32 {
    // SAFETY: the only requirement is SSE2, without which this module is not compiled.
    unsafe { value_marks_sse2(block) }
}

/// Returns a bit set of the bytes that cannot be part of a request target. The lowest bit is that of the first byte.
#[inline]
pub(super) fn target_marks(block: &[u8; BLOCK]) -> u32 {
    // SAFETY: the only requirement is SSE2, without which this module is not compiled.
    unsafe { target_marks_sse2(block) }
}

/// Returns a bit set of the bytes that are not a letter, a digit or `-`. The lowest bit is that of the first byte.
#[inline]
pub(super) fn name_marks(block: &[u8; BLOCK]) -> u32 {
    // SAFETY: the only requirement is SSE2, without which this module is not compiled.
    unsafe { name_marks_sse2(block) }
}

/// Returns the bit set of [`value_marks`], by SSE2.
#[inline]
#[target_feature(enable = "sse2")]
fn value_marks_sse2(block: &[u8; BLOCK]) -> u32 {
    let bytes = load(block);
    let control = at_most(bytes, b' ' - 1);
    let control = _mm_andnot_si128(equal(bytes, b'\t'), control);
    marks(_mm_or_si128(control, equal(bytes, 0x7f)))
}

/// Returns the bit set of [`target_marks`], by SSE2.
#[inline]
#[target_feature(enable = "sse2")]
fn target_marks_sse2(block: &[u8; BLOCK]) -> u32 {
    let bytes = load(block);
    // The comparison is signed, so that bytes from 0x80 on are below.
    let above_space = _mm_cmpgt_epi8(bytes, splat(b' '));
    let wrong = _mm_or_si128(equal(bytes, 0x7f), equal(bytes, b'#'));
    marks(_mm_andnot_si128(wrong, above_space)) ^ ALL
}

/// Returns the bit set of [`name_marks`], by SSE2.
#[inline]
#[target_feature(enable = "sse2")]
fn name_marks_sse2(block: &[u8; BLOCK]) -> u32 {
    let bytes = load(block);
    // Setting the sixth bit converts upper-case letters to lower case, and makes no other byte a letter.
    let lower = _mm_or_si128(bytes, splat(1 << 5));
    let letters = at_most(_mm_sub_epi8(lower, splat(b'a')), b'z' - b'a');
    let digits = at_most(_mm_sub_epi8(bytes, splat(b'0')), 9);
    let plain = _mm_or_si128(_mm_or_si128(letters, digits), equal(bytes, b'-'));
    marks(plain) ^ ALL
}

/// The bit set of all bytes of a block.
const ALL: u32 = (1 << BLOCK) - 1;

/// Loads a block.
#[inline]
#[target_feature(enable = "sse2")]
fn load(block: &[u8; BLOCK]) -> __m128i {
    // SAFETY: the block has sixteen bytes, and this load requires no alignment.
    unsafe { _mm_loadu_si128(block.as_ptr().cast()) }
}

/// Returns a block of sixteen times this byte.
#[inline]
#[target_feature(enable = "sse2")]
fn splat(byte: u8) -> __m128i {
    _mm_set1_epi8(byte as i8)
}

/// Returns all ones for each byte equal to `byte`, and zero for any other.
#[inline]
#[target_feature(enable = "sse2")]
fn equal(bytes: __m128i, byte: u8) -> __m128i {
    _mm_cmpeq_epi8(bytes, splat(byte))
}

/// Returns all ones for each byte that is at most `limit`, and zero for any other.
#[inline]
#[target_feature(enable = "sse2")]
fn at_most(bytes: __m128i, limit: u8) -> __m128i {
    _mm_cmpeq_epi8(_mm_min_epu8(bytes, splat(limit)), bytes)
}

/// Returns a bit set of the bytes that are all ones, the lowest bit for the first byte.
#[inline]
#[target_feature(enable = "sse2")]
fn marks(bytes: __m128i) -> u32 {
    _mm_movemask_epi8(bytes) as u32
}
