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

/// Returns the position of the first byte that `marks` marks in the first two blocks of sixteen bytes. If there is
/// none, or `bytes` has fewer blocks, returns the result of `far`, which is called with `bytes` and the position from
/// which they have not been searched.
///
/// Most names and values end within the first two blocks, for which neither a loop nor a call is needed.
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

    /// Returns the position of the first byte from `from` on that `marks` marks. The bytes after the last whole block
    /// are searched by `portable`. Returns the length if there is none.
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
