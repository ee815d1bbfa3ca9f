//! Wrong values of the keys of `[acme]`, which the library of the program acme-dns01 reads.

use super::{all_documented, problems};

/// The sections of `[acme]`, read by the library of the program acme-dns01: heading in the document, and file before
/// the key. The kind of a provider decides its keys.
const ACME: &[(&str, &[&str])] = &[
    ("[acme]", &["[acme]\n"]),
    ("[acme.dns]", &["[acme.dns]\n"]),
    ("[acme.authority.NAME]", &["[acme.authority.a]\n"]),
    (
        "[acme.provider.NAME]",
        &[
            "[acme.provider.a]\n",
            "[acme.provider.a]\nkind = 'cloudflare'\n",
            "[acme.provider.a]\nkind = 'rfc2136'\n",
            "[acme.provider.a]\nkind = 'acme-dns'\n",
            "[acme.provider.a]\nkind = 'exec'\n",
            "[acme.provider.a]\nkind = 'dns-update'\n",
        ],
    ),
    ("[acme.alert]", &["[acme.alert]\n"]),
    ("[[acme.certificate]]", &["[[acme.certificate]]\n"]),
];

#[test]
fn every_key_of_acme_says_what_is_wrong_with_it_and_where() {
    let documented: Vec<_> =
        all_documented().into_iter().filter(|(title, _)| title.contains("[acme")).collect();
    let titles: Vec<&str> = documented.iter().map(|(title, _)| title.as_str()).collect();
    assert_eq!(titles, ACME.iter().map(|(title, _)| *title).collect::<Vec<_>>());
    let mut unsaid = Vec::new();
    for ((title, keys), (_, befores)) in documented.iter().zip(ACME) {
        for key in keys {
            let mut all = Vec::new();
            let said = befores.iter().any(|before| {
                // A type of value that no key accepts.
                let (found, line) = problems(before, &format!("{key} = [[[1979-05-27]]]"));
                let here = format!("edge.toml:{line}:");
                let said = found.iter().any(|said| {
                    said.starts_with(&here)
                        && (said.contains(&format!("{key}: ")) || said.contains(&format!("{key}[0]: ")))
                        && (said.contains("expected") || said.contains("write"))
                        && !said.contains("unknown key")
                });
                all.extend(found);
                said
            });
            if !said {
                unsaid.push(format!("{title} {key}: {all:#?}"));
            }
        }
    }
    assert!(unsaid.is_empty(), "{}", unsaid.join("\n"));
}
