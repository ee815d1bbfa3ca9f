//! No text makes the parser, the analysis or a decision panic, and the text always comes back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pg_hba::{
    Analysis, Attempt, Document, EmptyEnvironment, Mappings, NoIncludes, Server, Version, analyze, decide,
    render,
};

fuzz_target!(|input: (u8, &str)| {
    let (version, text) = input;
    let version = Version::ALL[usize::from(version) % Version::ALL.len()];
    let server = Server::new(version);
    let document = Document::parse(text, &server);
    assert_eq!(document.text(), text);
    let _ = Mappings::load("pg_ident.conf", text, &server, &mut NoIncludes);
    let Ok(rules) = document.rules() else { return };
    let client = "100.64.0.1".parse().expect("an address");
    let _ = decide(&rules, &Attempt::tls("app", "app", client), &EmptyEnvironment);
    if let Ok(text) = render(&rules, version) {
        let again = Document::parse(&text, &server).rules().expect("what is rendered is accepted");
        assert_eq!(again, rules);
    }
    if rules.len() < 6 && text.len() < 500 {
        let _ = analyze(&document, &server, &Analysis::default());
    }
});
