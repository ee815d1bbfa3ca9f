//! The guide for those who migrate, compared with the directives that import knows.

use super::*;

const GUIDE: &str = include_str!("../../../../../MIGRATING.md");

/// Returns the words of the guide's part on nginx.
fn written() -> Vec<&'static str> {
    let (_, rest) = GUIDE.split_once("## nginx").expect("a part on nginx");
    let (part, _) = rest.split_once("### What nginx does").expect("its end");
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    part.split(|c: char| !word(c)).filter(|word| !word.is_empty()).collect()
}

#[test]
fn the_guide_has_every_directive_without_a_conversion() {
    let written = written();
    let listed = IMPLIED.iter().chain(HARMLESS);
    let others = DIFFERENT.iter().chain(LIMITS).flat_map(|(names, _)| names.iter());
    let missing: Vec<_> = listed.chain(others).filter(|name| !written.contains(*name)).collect();
    assert!(missing.is_empty(), "MIGRATING.md lacks {missing:?}");
    for (_, why) in DIFFERENT.iter().chain(LIMITS) {
        assert!(GUIDE.contains(why), "MIGRATING.md lacks: {why}");
    }
}

/// Checks that the guide has each directive that the sources compare a name with.
#[test]
fn the_guide_has_every_directive_with_a_conversion() {
    const SOURCES: [&str; 15] = [
        include_str!("../scope.rs"),
        include_str!("../server.rs"),
        include_str!("../location.rs"),
        include_str!("../content.rs"),
        include_str!("../matching.rs"),
        include_str!("../phase.rs"),
        include_str!("../mod.rs"),
        include_str!("../stream.rs"),
        include_str!("../upstream.rs"),
        include_str!("../upstream_block.rs"),
        include_str!("../real_ip.rs"),
        include_str!("../error_pages.rs"),
        include_str!("../certificates.rs"),
        include_str!("../media_types.rs"),
        include_str!("../upstream_tls.rs"),
    ];
    // Words that are no directives: values, options, variables and schemes.
    const OTHER: &[&str] = &[
        "_pass",
        "app_protect_enable",
        "default",
        "grpc",
        "grpcs",
        "hash_client",
        "http_host",
        "localhost",
        "resolve",
        "udp",
        "server_port",
    ];
    let written = written();
    let word = |text: &&str| {
        text.len() > 3
            && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
            && text.contains(|c: char| c.is_ascii_lowercase())
    };
    let mut missing: Vec<&str> = SOURCES
        .iter()
        .flat_map(|source| source.split('"').skip(1).step_by(2))
        .filter(word)
        .filter(|text| !written.contains(text) && !OTHER.contains(text))
        .collect();
    missing.sort_unstable();
    missing.dedup();
    assert!(missing.is_empty(), "MIGRATING.md lacks {missing:?}");
}
