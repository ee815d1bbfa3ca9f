//! Whatever a configuration file contains, reading it terminates, with settings or with errors that name a line.
#![no_main]
#![allow(dead_code, unreachable_pub)]

#[path = "../../src/config/mod.rs"]
mod config;

/// The part of the configuration that another crate parses: certificates.
mod acme {
    use std::path::Path;

    #[derive(Clone, Debug, PartialEq)]
    pub struct Section;

    pub fn read(_: &str, _: Option<&Path>) -> Result<Section, String> {
        Ok(Section)
    }

    pub fn schema() -> serde_json::Value {
        serde_json::Value::Bool(true)
    }
}

/// The part of the configuration for the log: its formats.
mod log {
    /// The formats of log lines.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub enum Format {
        Combined,
        #[default]
        Json,
        Off,
    }

    impl Format {
        pub const fn name(self) -> &'static str {
            match self {
                Self::Combined => "combined",
                Self::Json => "json",
                Self::Off => "off",
            }
        }
    }
}

// The section for state shared by edges.
#[path = "../../src/shared/settings.rs"]
mod shared;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = config::read("edge.toml", text);
});
