//! Whatever an nginx file contains, importing it terminates, and the result is TOML.
#![no_main]
#![allow(dead_code, unreachable_pub)]

#[path = "../../src/import/mod.rs"]
mod import;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut loader = |_: &str| Err("nothing is included".to_owned());
    if let Ok(directives) = import::parse("nginx.conf", text, &mut loader) {
        let found = import::import(&directives, &import::Options::default());
        toml::from_str::<toml::Table>(&found.text).expect("it is TOML");
    }
});
