//! The searches in blocks of sixteen bytes, on x86-64.

use super::simd;

/// Returns the same as the portable `value_end`.
#[inline]
pub(crate) fn value_end(bytes: &[u8]) -> usize {
    first(bytes, simd::value_marks, far::value_end)
}

/// Returns the same as the portable `target_end`.
#[inline]
pub(crate) fn target_end(bytes: &[u8]) -> usize {
    first(bytes, simd::target_marks, far::target_end)
}

/// Returns the same as the portable `name_end`.
#[inline]
pub(crate) fn name_end(bytes: &[u8]) -> usize {
    first(bytes, simd::name_marks, far::name_end)
}

/// Returns the position of the first byte that a bit of `marks` belongs to, which is called with each of the first two
/// blocks of sixteen bytes. The bytes behind them, or behind the last whole block, are left to `far`, which is called
/// with their position and returns that of the first in `bytes`, or the length.
///
/// Most names and values end in the first two blocks. For them there is neither a loop nor a call.
#[inline]
fn first(
    bytes: &[u8],
    marks: impl Fn(&[u8; simd::BLOCK]) -> u32,
    far: impl Fn(&[u8], usize) -> usize,
) -> usize {
    let Some((block, behind)) = bytes.split_first_chunk() else { return far(bytes, 0) };
    let found = marks(block);
    if found != 0 {
        return found.trailing_zeros() as usize;
    }
    let Some(block) = behind.first_chunk() else { return far(bytes, simd::BLOCK) };
    let found = marks(block);
    if found != 0 {
        return simd::BLOCK + found.trailing_zeros() as usize;
    }
    far(bytes, 2 * simd::BLOCK)
}

/// The searches from a position on, which is at most the length, in blocks of sixteen bytes and behind them by
/// [`portable`].
mod far {
    use super::super::{portable, simd};

    /// Returns the position of the first byte from `from` on that a bit of `marks` belongs to, as
    /// [`super::first`].
    #[inline]
    fn first(
        bytes: &[u8],
        from: usize,
        marks: impl Fn(&[u8; simd::BLOCK]) -> u32,
        portable: impl Fn(&[u8]) -> usize,
    ) -> usize {
        let mut rest = &bytes[from..];
        while let Some((block, behind)) = rest.split_first_chunk() {
            let found = marks(block);
            if found != 0 {
                return bytes.len() - rest.len() + found.trailing_zeros() as usize;
            }
            rest = behind;
        }
        bytes.len() - rest.len() + portable(rest)
    }

    /// Returns the same as [`super::value_end`] of `bytes`, which has no match before `from`.
    #[inline(never)]
    pub(super) fn value_end(bytes: &[u8], from: usize) -> usize {
        first(bytes, from, simd::value_marks, portable::value_end)
    }

    /// Returns the same as [`super::target_end`] of `bytes`, which has no match before `from`.
    #[inline(never)]
    pub(super) fn target_end(bytes: &[u8], from: usize) -> usize {
        first(bytes, from, simd::target_marks, portable::target_end)
    }

    /// Returns the same as [`super::name_end`] of `bytes`, which has no match before `from`.
    #[inline(never)]
    pub(super) fn name_end(bytes: &[u8], from: usize) -> usize {
        first(bytes, from, simd::name_marks, portable::name_end)
    }
}
