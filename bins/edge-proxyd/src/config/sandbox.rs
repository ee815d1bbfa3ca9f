//! The reader of the section `[sandbox]`.

use super::document::{Table, Value};
use super::keys::{Key, Kind, words};
use std::path::PathBuf;

/// The settings of the sandbox that the process enters before it serves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sandbox {
    /// Whether the process enters a sandbox, and whether it must be complete.
    pub(crate) mode: Mode,
    /// The TCP ports to which the process may connect.
    pub(crate) connect: Connect,
    /// Additional files and folders that the process may read.
    pub(crate) read: Vec<PathBuf>,
    /// Additional folders in which the process may create files and append to them.
    pub(crate) write: Vec<PathBuf>,
}

/// The strictness of the sandbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Restrict the process as far as the kernel supports it.
    #[default]
    Auto,
    /// Do not restrict the process.
    Off,
    /// Restrict the process completely, or fail to start.
    Require,
}

/// The TCP ports to which the process may connect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Connect {
    /// All ports, so that a reload may add an upstream with any port.
    #[default]
    Any,
    /// The ports of the targets of upstreams and of the collector of traces in the configuration, and 53 for DNS. All
    /// ports with `[acme]` or `[shared]`.
    Configured,
}

/// The words of `mode`.
const MODES: [(&str, Mode); 3] = [("auto", Mode::Auto), ("off", Mode::Off), ("require", Mode::Require)];
/// The words of `connect`.
const CONNECTS: [(&str, Connect); 2] = [("any", Connect::Any), ("configured", Connect::Configured)];

/// The keys of `[sandbox]`.
pub(super) static SANDBOX: &[Key] = &[
    Key::new("mode", Kind::Word(&const { words(&MODES) })),
    Key::new("connect", Kind::Word(&const { words(&CONNECTS) })),
    Key::new("read", Kind::List(&Kind::Path)),
    Key::new("write", Kind::List(&Kind::Path)),
];

/// Reads the table `sandbox`. Keys that are missing or not valid have their defaults; the latter are reported.
pub(super) fn sandbox(table: &Table<'_, '_>) -> Sandbox {
    let folders = |key| {
        let written = table.get(key).map(|value| value.list()).unwrap_or_default();
        written.iter().filter_map(Value::path).collect()
    };
    let sandbox = Sandbox {
        mode: table.get("mode").and_then(|value| value.one_of(&MODES)).unwrap_or_default(),
        connect: table.get("connect").and_then(|value| value.one_of(&CONNECTS)).unwrap_or_default(),
        read: folders("read"),
        write: folders("write"),
    };
    table.finish();
    sandbox
}
