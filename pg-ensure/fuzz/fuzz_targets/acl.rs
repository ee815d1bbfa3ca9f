//! No aclitem makes the parser panic, and what is read is written so that it is read as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pg_ensure::Acl;

fuzz_target!(|items: Vec<&str>| {
    if let Ok(acl) = Acl::parse(&items) {
        assert_eq!(Acl::parse(&acl.items()), Ok(acl));
    }
});
