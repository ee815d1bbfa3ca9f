//! Journals, names, dates, CAA values and chains from anywhere.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = text.parse::<acme_dns01::Name>();
    let _ = acme_dns01::Time::parse_rfc3339(text);
    let _ = acme_dns01::client::describe(text);
    let caa = acme_dns01::caa::Caa { critical: false, tag: "issue".into(), value: text.into() };
    let applicant = acme_dns01::caa::CaaRequest { identities: &["ca.test".into()], account: None, wildcard: false };
    let _ = acme_dns01::caa::check_issuance("a.test", &[caa], &applicant);
    if let Ok(records) = serde_json::from_str::<Vec<acme_dns01::Record>>(text) {
        let _ = acme_dns01::State::replay(&records);
    }
});
