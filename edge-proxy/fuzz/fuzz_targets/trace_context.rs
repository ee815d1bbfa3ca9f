//! Trace fields of other proxies: accepted values mean the same when passed on, and stay within the length limit. Each
//! line of the input is a field; those that begin with `=` are tracestate.
#![no_main]

use edge_http::Fields;
use edge_http::trace_context::{MAX_MEMBERS, MAX_STATE, TraceContext, received, state};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut fields = Fields::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        match line {
            [b'=', value @ ..] => fields.push(b"tracestate", value),
            value => fields.push(b"traceparent", value),
        }
    }
    let Some((context, passed)) = received(&fields) else { return };
    assert_eq!(TraceContext::parse(&context.to_bytes()), Ok(context));
    assert!(passed.len() <= MAX_STATE);
    assert!(passed.iter().all(|byte| matches!(byte, b' '..=b'~')));
    assert!(passed.iter().filter(|byte| **byte == b',').count() < MAX_MEMBERS);
    assert_eq!(state([&passed[..]]), Some(passed));
});
