//! Sizes of downloads and uploads.

/// Names of the files that are served, with their sizes in bytes.
pub(crate) const FILES: &[(&str, usize)] = &[("1k", 1024), ("1m", 1 << 20), ("100m", 100 << 20)];

/// Returns the size in bytes of the file at a path, which begins with a slash. 0 for an unknown path.
pub(crate) fn size(path: &str) -> usize {
    FILES.iter().find(|(name, _)| path.strip_prefix('/') == Some(*name)).map_or(0, |(_, size)| *size)
}

/// Size of an upload in bytes.
pub(crate) const UPLOAD: usize = 10 << 20;
