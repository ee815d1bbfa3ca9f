//! Whatever a configuration file contains, reading it terminates, with settings or with errors that name a line.
#![no_main]
#![allow(dead_code, unreachable_pub, unused)]

// The modules of the program, which refer to each other by `crate`.
#[path = "../../src/acme/mod.rs"]
mod acme;
#[path = "../../src/allocator.rs"]
mod allocator;
#[path = "../../src/authority.rs"]
mod authority;
#[path = "../../src/cli.rs"]
mod cli;
#[path = "../../src/commands/mod.rs"]
mod commands;
#[path = "../../src/config/mod.rs"]
mod config;
#[path = "../../src/demo/mod.rs"]
mod demo;
#[path = "../../src/import/mod.rs"]
mod import;
#[path = "../../src/journal.rs"]
mod journal;
#[path = "../../src/key_fault.rs"]
mod key_fault;
#[path = "../../src/log/mod.rs"]
mod log;
#[path = "../../src/manual.rs"]
mod manual;
#[path = "../../src/prove/mod.rs"]
mod prove;
#[path = "../../src/sandbox/mod.rs"]
mod sandbox;
#[path = "../../src/service/mod.rs"]
mod service;
#[path = "../../src/shared/mod.rs"]
mod shared;
#[path = "../../src/status/mod.rs"]
mod status;
#[path = "../../src/try_out/mod.rs"]
mod try_out;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = config::read("edge.toml", text);
});
