//! Tests that write every documented key wrongly and expect the position, the error and the fix.

mod acme;
mod nested;
mod values;

use super::read;
use std::collections::BTreeSet;
use values::WRONG;

/// The sections: heading in the document, file before the key, and path in errors.
const SECTIONS: &[(&str, &str, &str)] = &[
    ("Top level", "", ""),
    ("[[listen]]", "[[listen]]\n", "listen[0]"),
    ("[listen.rate]", "[[listen]]\nforward = 'tcp://127.0.0.1:1'\n[listen.rate]\n", "listen[0].rate"),
    ("[trust]", "[trust]\n", "trust"),
    ("[tailnet]", "[tailnet]\n", "tailnet"),
    ("[certificates]", "[certificates]\n", "certificates"),
    ("[log]", "[log]\n", "log"),
    ("[tracing]", "[tracing]\n", "tracing"),
    ("[status]", "[status]\n", "status"),
    ("[sandbox]", "[sandbox]\n", "sandbox"),
    ("[shared]", "[shared]\n", "shared"),
    ("[limits]", "[limits]\n", "limits"),
    ("[timeouts]", "[timeouts]\n", "timeouts"),
    ("[[site]]", "[[site]]\n", "site[0]"),
    ("[site.auth]", "[[site]]\n[site.auth]\n", "site[0].auth"),
    ("[site.client_certificates]", "[[site]]\n[site.client_certificates]\n", "site[0].client_certificates"),
    ("[[site.error_page]]", "[[site]]\n[[site.error_page]]\n", "site[0].error_page"),
    ("[site.rate]", "[[site]]\n[site.rate]\n", "site[0].rate"),
    ("Actions: in a site or in a route", "[[site]]\n[[site.route]]\n", "site[0].route[0]"),
    ("[[site.route]]", "[[site]]\n[[site.route]]\n", "site[0].route[0]"),
    ("[upstream.NAME]", "[upstream.a]\n", "upstream.a"),
    ("[upstream.NAME.health]", "[upstream.a.health]\n", "upstream.a.health"),
    ("[upstream.NAME.retry]", "[upstream.a.retry]\n", "upstream.a.retry"),
];

/// Returns the keys of each section in the tables of the guide to the configuration, except those of `[acme]`.
fn documented() -> Vec<(String, BTreeSet<String>)> {
    all_documented().into_iter().filter(|(title, _)| !title.contains("[acme")).collect()
}

/// Returns the keys of all sections.
fn all_documented() -> Vec<(String, BTreeSet<String>)> {
    let mut sections: Vec<(String, BTreeSet<String>)> = Vec::new();
    for line in include_str!("../../CONFIG.md").lines() {
        if let Some(title) = line.strip_prefix("## ").or_else(|| line.strip_prefix("### ")) {
            let title = title.strip_prefix('`').and_then(|rest| rest.split('`').next()).unwrap_or(title);
            sections.push((title.to_owned(), BTreeSet::new()));
        } else if let (Some(cell), Some((_, keys))) = (line.strip_prefix("| `"), sections.last_mut()) {
            let names = cell.split(" |").next().unwrap_or_default();
            keys.extend(names.split(", ").map(|name| name.trim_matches('`').to_owned()));
        }
    }
    sections.retain(|(_, keys)| !keys.is_empty());
    sections
}

/// Additional lines of a section that decide which keys it has.
const KINDS: &[(&str, &[&str])] = &[(
    "[site.auth]",
    &[
        "",
        "upstream = 'http://127.0.0.1:1'\n",
        "upstream = 'http://127.0.0.1:1'\npath = '/a'\n",
        "users = '/nonexistent'\n",
        "path = '/a'\n",
    ],
)];

fn kinds(title: &str) -> &'static [&'static str] {
    KINDS.iter().find(|(of, _)| *of == title).map_or(&[""], |(_, kinds)| kinds)
}

/// Returns the errors of a file with these lines, and the number of the last line.
fn problems(before: &str, line: &str) -> (Vec<String>, usize) {
    let text = format!("{before}{line}\n");
    let found = match read("edge.toml", &text) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.to_string().lines().map(String::from).collect(),
    };
    (found, before.lines().count() + 1)
}

#[test]
fn the_document_has_the_keys_that_are_read_and_no_others() {
    let documented = documented();
    let titles: Vec<&str> = documented.iter().map(|(title, _)| title.as_str()).collect();
    let sections: Vec<&str> = SECTIONS.iter().map(|(title, ..)| *title).collect();
    assert_eq!(titles, sections);
    // Actions are keys of a site or a route, and have a table of their own.
    let done = documented.iter().find(|(title, _)| title.starts_with("Actions")).unwrap().1.clone();
    for ((title, keys), (_, before, path)) in documented.iter().zip(SECTIONS) {
        let mut keys = keys.clone();
        if *path == "site[0]" || path.ends_with("route[0]") {
            keys.extend(done.iter().cloned());
        }
        if path.ends_with("route[0]") {
            keys.extend(
                documented.iter().find(|(title, _)| title == "[[site.route]]").unwrap().1.iter().cloned(),
            );
        }
        // An unknown key that resembles no other is answered with a list of all.
        let mut known = BTreeSet::new();
        for kind in kinds(title) {
            let (found, _) = problems(&format!("{before}{kind}"), "zzzzzzzzzzzzzzzzzzzzzz = 1");
            let unknown = found.iter().find(|problem| problem.contains("zzzz: unknown key: "));
            let unknown = unknown.unwrap_or_else(|| panic!("{title}: {found:#?}"));
            known.extend(unknown.split("known keys are ").nth(1).unwrap().split(", ").map(str::to_owned));
        }
        if path.is_empty() {
            // At the top level, sections are keys too.
            assert!(keys.is_subset(&known), "{keys:?} {known:?}");
            let rest = known.difference(&keys).map(String::as_str).collect::<Vec<_>>().join(" ");
            assert_eq!(
                rest,
                "acme certificates limits listen log sandbox shared site status tailnet timeouts tracing trust upstream"
            );
        } else {
            let inner: BTreeSet<String> =
                known.iter().filter(|key| !SUBSECTIONS.contains(&(*path, key))).cloned().collect();
            assert_eq!(inner, keys, "{title}");
        }
    }
}

/// Keys of sections that have a section of their own in the document.
const SUBSECTIONS: &[(&str, &str)] =
    &[("site[0]", "route"), ("upstream.a", "health"), ("upstream.a", "retry")];

#[test]
fn every_key_says_what_is_wrong_with_it_and_where() {
    for ((title, keys), (_, before, path)) in documented().iter().zip(SECTIONS) {
        for key in keys {
            // A type of value that no key accepts.
            let said = kinds(title).iter().find_map(|kind| {
                let (found, line) =
                    problems(&format!("{before}{kind}"), &format!("{key} = [[[1979-05-27]]]"));
                let here = format!("edge.toml:{line}:");
                found.into_iter().find(|problem| {
                    problem.starts_with(&here)
                        && problem.contains(key.as_str())
                        && !problem.contains("unknown key")
                })
            });
            let said = said.unwrap_or_else(|| panic!("{title}: nothing is said of {key}"));
            assert!(said.contains(path), "{said}");
        }
    }
}

#[test]
fn wrong_values_name_the_fix() {
    let mut unsaid = Vec::new();
    for (title, key, value, fix) in WRONG {
        let (_, before, path) = SECTIONS.iter().find(|(known, ..)| known == title).expect(title);
        // Other keys that such a section requires.
        const LISTEN: &str = "listen = [{ address = '127.0.0.1:80' }]\n";
        let before = match *title {
            "Top level" => String::new(),
            "[site.auth]" => format!("{LISTEN}[[site]]\nhosts = 'a.test'\ndrop = true\n[site.auth]\n"),
            "[[site.route]]" => {
                let path = if matches!(*key, "path" | "exact" | "begins") { "" } else { "path = '/'\n" };
                format!("{LISTEN}[[site]]\nhosts = 'a.test'\n[[site.route]]\ndrop = true\n{path}")
            }
            "[upstream.NAME]" if !matches!(*key, "target" | "targets") => {
                format!("{LISTEN}{before}target = 'http://127.0.0.1:1'\n")
            }
            "[[listen]]" if *key != "address" => format!("{before}address = '127.0.0.1:80'\n"),
            "[[listen]]" => (*before).to_owned(),
            "[listen.rate]" => before.replace("[listen.rate]", "address = '127.0.0.1:80'\n[listen.rate]"),
            "[site.client_certificates]" => {
                let ca = if *key == "ca" { "" } else { "ca = '/ca.pem'\n" };
                format!("{LISTEN}[[site]]\nhosts = 'a.test'\ndrop = true\n[site.client_certificates]\n{ca}")
            }
            "[[site.error_page]]" => {
                let rest: String = [("status", "status = 404\n"), ("body", "body = 'x'\n")]
                    .iter()
                    .filter(|(own, _)| own != key && (*own, *key) != ("body", "file"))
                    .map(|(_, line)| *line)
                    .collect();
                format!("{LISTEN}[[site]]\nhosts = 'a.test'\ndrop = true\n[[site.error_page]]\n{rest}")
            }
            "[site.rate]" => format!("{LISTEN}[[site]]\nhosts = 'a.test'\ndrop = true\n[site.rate]\n"),
            title if title.starts_with("Actions") => {
                format!("{LISTEN}[[site]]\nhosts = 'a.test'\n[[site.route]]\npath = '/'\n")
            }
            "[upstream.NAME.health]" | "[upstream.NAME.retry]" => {
                let section = before.trim_start_matches("[upstream.a");
                format!("{LISTEN}[upstream.a]\ntarget = 'http://127.0.0.1:1'\n[upstream.a{section}")
            }
            _ => format!("{LISTEN}{before}"),
        };
        let mut all = Vec::new();
        let said = kinds(title).iter().find_map(|kind| {
            let (found, line) = problems(&format!("{before}{kind}"), &format!("{key} = {value}"));
            let here = format!("edge.toml:{line}:");
            let said = found.iter().find(|said| said.starts_with(&here) && said.contains(fix)).cloned();
            all.extend(found);
            said
        });
        if !said.is_some_and(|said| said.contains(key) && said.contains(path)) {
            unsaid.push(format!("{title} {key} = {value}: {all:#?}"));
        }
    }
    assert!(unsaid.is_empty(), "{}", unsaid.join("\n"));
    // Every key has a wrong value of its own.
    for (title, keys) in &documented() {
        let wrong: BTreeSet<String> =
            WRONG.iter().filter(|(of, ..)| of == title).map(|(_, key, ..)| (*key).to_owned()).collect();
        assert_eq!(wrong, *keys, "{title}");
    }
}

#[test]
fn keys_that_exclude_or_need_each_other() {
    const LISTEN: &str = "listen = [{ address = '127.0.0.1:80' }]\n[upstream.a]\ntarget = 'https://a.test'\n";
    for (text, line, said) in [
        ("tls = { pin = '/node.pem', ca = '/ca.pem' }\n", 4, "does not go with `pin`"),
        (
            "tls = { pin = 'sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=', ca = '/ca.pem' }\n",
            4,
            "leave one of them out",
        ),
        (
            "tls = { server_name = '{host}' }\n[upstream.a.health]\npath = '/h'\n",
            5,
            "a check has no client whose host it could send",
        ),
        ("tls = { server_name = '{hosts}' }\n", 4, "or {host} for the Host of each request"),
        ("tls = { certificate = '/client.pem' }\n", 4, "set both `certificate` and `key`"),
    ] {
        let (found, _) = problems(LISTEN, text);
        let here = format!("edge.toml:{line}:");
        let fault = found.iter().find(|problem| problem.contains(said));
        assert!(
            fault.is_some_and(|problem| problem.starts_with(&here) && problem.contains("upstream.a")),
            "{text}: {found:#?}"
        );
    }
    // With a host of its own the check knows whom to ask for.
    let fine = "tls = { server_name = '{host}' }\n[upstream.a.health]\npath = '/h'\nhost = 'a.test'\n";
    assert_eq!(problems(LISTEN, fine).0, [""; 0]);
}

#[test]
fn media_types_that_are_not_valid_say_what_to_write() {
    const BEFORE: &str = "listen = [{ address = '127.0.0.1:80' }]\n[priority]\n'a/b' = 1\n";
    for (line, said) in [
        ("'text/html; charset=utf-8' = 1", "write the media type alone"),
        ("image = 1", "expected one such as text/css, image/* or */*"),
        ("'*/css' = 1", "not a valid media type"),
        ("'A/B' = 2", "leave one of them out"),
        ("'text/css' = '2'", "expected a whole number from 0 to 7"),
        ("'text/css' = { urgency = 2 }", "expected a whole number from 0 to 7"),
        ("'text/css' = -1", "expected a whole number from 0 to 7"),
    ] {
        let (found, number) = problems(BEFORE, line);
        let [fault] = &found[..] else { panic!("{line}: {found:#?}") };
        // Of two names that differ in letter case, either may be the one to leave out.
        let here = fault.starts_with(&format!("edge.toml:{number}:")) || said.starts_with("leave");
        assert!(here && fault.contains("priority.") && fault.contains(said), "{line}: {fault}");
    }
    assert_eq!(problems(BEFORE, "'*/*' = 7\n'image/*' = 0").0, [""; 0]);
}

#[test]
fn a_secret_where_its_reference_belongs_is_not_repeated() {
    for line in ["token = 'hunter2'", "zones = { a = 'hunter2', b = 2 }", "zones = ['hunter2=', 2]"] {
        let before = "[acme]\nemail = 'a@a.test'\n[acme.provider.a]\nkind = 'cloudflare'\n";
        let (found, number) = problems(before, line);
        assert!(
            found.iter().any(|said| said.contains(&format!("edge.toml:{number}:"))),
            "{line}: {found:#?}"
        );
        assert!(!found.iter().any(|said| said.contains("hunter2")), "{line}: {found:#?}");
    }
    let before = "[tracing]\ncollector = 'http://127.0.0.1:1'\n";
    let (found, number) = problems(before, "headers = { Authorization = 'hunter2', Host = 'hunter2' }");
    assert!(found.len() >= 2 && found.iter().all(|said| !said.contains("hunter2")), "{found:#?}");
    assert!(found.iter().any(|said| said.starts_with(&format!("edge.toml:{number}:"))), "{found:#?}");
    // If several values are wrong, line and message belong to the same one.
    let (found, _) = problems("[acme]\nemail = 1\n[acme.provider.a]\nkind = 'cloudflare'\n", "token = 1");
    assert!(
        found
            .iter()
            .any(|said| said.starts_with("edge.toml:2:9: error[type]: acme.email = 1: expected a string")),
        "{found:#?}"
    );
}
