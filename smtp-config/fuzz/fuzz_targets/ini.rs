//! No app.ini stops the reader, the writer, the findings or an edit; an edit that succeeds is read as meant and changes
//! nothing the second time.
#![no_main]

use libfuzzer_sys::fuzz_target;
use smtp_config::ini::{Ini, quote};
use smtp_config::{Change, Version, check, edit, effective, effective_incoming, migrate};

fuzz_target!(|input: (&str, &str)| {
    let (text, value) = input;
    if text.len() > 4096 || value.len() > 256 {
        return;
    }
    let _ = quote(value);
    if let Ok(ini) = Ini::parse(text) {
        let _ = Ini::parse(&ini.write());
        for version in [7, 13, 16] {
            let _ = check(&ini, Version(version));
            let _ = (effective(&ini, Version(version)), effective_incoming(&ini, Version(version)));
            let _ = migrate(&ini, Version(version), Version::NEWEST);
        }
    }
    let changes = [Change::set("mailer", "PASSWD", value), Change::remove("email.incoming", "HOST")];
    if let Ok(edited) = edit(text, &changes) {
        let ini = Ini::parse(&edited).expect("it was read before it was returned");
        assert_eq!(ini.value("mailer", "PASSWD").as_deref(), Some(value));
        assert_eq!(edit(&edited, &changes).as_deref(), Ok(edited.as_str()));
    }
});
