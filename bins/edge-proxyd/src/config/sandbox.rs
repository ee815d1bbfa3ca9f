//! Reader for the section `[sandbox]`.

use super::document::{Table, Value};
use super::keys::{Key, Kind, words};
use std::path::PathBuf;

/// The sandbox that the process enters before it serves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sandbox {
    /// True if and how strictly the process confines itself.
    pub(crate) mode: Mode,
    /// The TCP ports it may connect to.
    pub(crate) connect: Connect,
    /// Additional folders that may be read.
    pub(crate) read: Vec<PathBuf>,
    /// Additional folders that may be written to.
    pub(crate) write: Vec<PathBuf>,
}

/// The strictness of the sandbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mode {
    /// As far as the kernel supports it.
    #[default]
    Auto,
    /// Run without a sandbox.
    Off,
    /// Complete, or the process does not start.
    Require,
}

/// The TCP ports that may be connected to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Connect {
    /// All ports, so that a reload may add any upstream.
    #[default]
    Any,
    /// The ports in the configuration.
    Configured,
}

const MODES: [(&str, Mode); 3] = [("auto", Mode::Auto), ("off", Mode::Off), ("require", Mode::Require)];
const CONNECTS: [(&str, Connect); 2] = [("any", Connect::Any), ("configured", Connect::Configured)];

pub(super) static SANDBOX: &[Key] = &[
    Key::new("mode", Kind::Word(&const { words(&MODES) })),
    Key::new("connect", Kind::Word(&const { words(&CONNECTS) })),
    Key::new("read", Kind::List(&Kind::Path)),
    Key::new("write", Kind::List(&Kind::Path)),
];

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
