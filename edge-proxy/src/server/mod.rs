//! The I/O shell: one worker a core, each with its own runtime, listeners and upstream connections.

mod exchange;
mod h3;
