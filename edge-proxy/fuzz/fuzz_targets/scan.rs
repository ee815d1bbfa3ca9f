//! The searches of heads in blocks of sixteen bytes and in words of eight: both find what a search byte by byte finds.
#![no_main]

use libfuzzer_sys::fuzz_target;

// The module is private to the crate, and depends on nothing in it.
#[path = "../../http/src/scan/mod.rs"]
mod scan;

fuzz_target!(|bytes: &[u8]| {
    let first = |wrong: fn(u8) -> bool| bytes.iter().position(|b| wrong(*b)).unwrap_or(bytes.len());
    let value = first(|b| b.is_ascii_control() && b != b'\t');
    assert_eq!((scan::value_end(bytes), scan::portable::value_end(bytes)), (value, value));
    let target = first(|b| !b.is_ascii_graphic() || b == b'#');
    assert_eq!((scan::target_end(bytes), scan::portable::target_end(bytes)), (target, target));
    let name = first(|b| !b.is_ascii_alphanumeric() && b != b'-');
    assert_eq!((scan::name_end(bytes), scan::portable::name_end(bytes)), (name, name));
});
