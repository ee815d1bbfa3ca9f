//! The readings of a path are bounded, differ from it and from each other, and can be written in a URI.
#![no_main]

use edge_policy::decide::other_readings;
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeSet;

fuzz_target!(|path: &str| {
    let Some(readings) = other_readings(path) else { return };
    assert!(readings.len() < 256);
    assert_eq!(readings.iter().collect::<BTreeSet<_>>().len(), readings.len());
    for reading in &readings {
        assert_ne!(reading, path);
        assert!(reading.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#')));
    }
});
