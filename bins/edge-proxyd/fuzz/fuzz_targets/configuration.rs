//! Whatever a configuration file holds, reading it ends, with settings or with problems that name a line of it.
#![no_main]
#![allow(dead_code, unreachable_pub)]

#[path = "../../src/config/mod.rs"]
mod config;

/// What the configuration needs of certificates of its own: another crate reads them.
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

/// What the configuration needs of the log: its formats.
mod log {
    /// How lines look.
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

// What is meant by the section of what several edges share.
#[path = "../../src/shared/settings.rs"]
mod shared;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = config::read("edge.toml", text);
});
