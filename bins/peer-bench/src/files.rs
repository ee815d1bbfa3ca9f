//! The sizes of downloads and uploads.

/// The sizes served, by path.
pub(crate) const FILES: &[(&str, usize)] = &[("1k", 1024), ("1m", 1 << 20), ("100m", 100 << 20)];

/// Returns the size in bytes of the content at a path; 0 for an unknown path.
pub(crate) fn size(path: &str) -> usize {
    FILES.iter().find(|(name, _)| path.strip_prefix('/') == Some(*name)).map_or(0, |(_, size)| *size)
}

/// The size of an upload in bytes.
pub(crate) const UPLOAD: usize = 10 << 20;
