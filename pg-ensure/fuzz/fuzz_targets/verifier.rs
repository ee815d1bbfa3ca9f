//! No text makes the parser of verifiers panic, and what it takes is exactly what it gives back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pg_ensure::Verifier;
use secrecy::ExposeSecret;

fuzz_target!(|text: &str| {
    if let Ok(verifier) = Verifier::parse(text) {
        let written = verifier.to_secret();
        assert_eq!(Verifier::parse(written.expose_secret()), Ok(verifier));
    }
});
