//! An edge proxy to embed.
