//! Tests that write every documented key wrongly and expect the position, the error and the fix.

use super::read;
use std::collections::BTreeSet;

/// The sections: heading in the document, file before the key, and path in errors.
const SECTIONS: &[(&str, &str, &str)] = &[
    ("Top level", "", ""),
    ("[[listen]]", "[[listen]]\n", "listen[0]"),
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

/// Wrong values besides those of another type: section, key, value, and a part of the expected error, which names the
/// fix.
const WRONG: &[(&str, &str, &str, &str)] = &[
    ("Top level", "reject", "'silence'", "did you mean `silent`?"),
    ("Top level", "https_port", "70000", "from 1 to 65535"),
    ("Top level", "include", "'no-such-folder/*.toml'", "cannot be read"),
    ("Top level", "request_id", "'a b'", "letters, digits and -"),
    ("Top level", "congestion", "'cubci'", "did you mean `cubic`?"),
    ("Top level", "kernel_tls", "'on'", "must be one of auto, off"),
    ("Top level", "kernel_tls_after", "'1 TB'", "16KiB"),
    ("[[listen]]", "name", "'a b'", "such as tailnet"),
    ("[[listen]]", "address", "'443'", "0.0.0.0:443"),
    ("[[listen]]", "address", "'[fe80::1]:443'", "write [fe80::1%INTERFACE]:443"),
    ("[[listen]]", "address", "'[fe80::1%no-such]:443'", "no interface no-such"),
    ("[[listen]]", "tls", "'yes'", "expected true or false"),
    ("[[listen]]", "http3", "true", "needs tls = true"),
    ("[[listen]]", "h2c", "true\ntls = true", "without TLS"),
    ("[[listen]]", "interface", "'a/b'", "such as tailscale0"),
    ("[[listen]]", "proxy_protocol", "'10.0.0.1/8'", "write 10.0.0.0/8"),
    ("[[listen]]", "forward", "'http://100.64.0.2:22'", "write tcp://HOST:PORT"),
    ("[[listen]]", "allow", "'10.0.0.0/8'", "goes with `forward`"),
    ("[[listen]]", "deny", "'10.0.0.0/8'", "goes with `forward`"),
    ("[[listen]]", "idle", "'1h'", "goes with `forward`"),
    ("[trust]", "ranges", "'everybody'", "100.64.0.0/10"),
    ("[trust]", "interface", "'tailscale0'", "without `trust.ranges`"),
    ("[trust]", "who", "'vps'", "node:NAME"),
    ("[trust]", "fallback", "1", "expected true or false"),
    ("[trust]", "header", "'x-forwarded-fro'", "did you mean `x-forwarded-for`?"),
    ("[tailnet]", "socket", "'tailscaled.sock'", "begin with /"),
    ("[tailnet]", "ranges", "'100.64.0.0/33'", "100.64.0.0/10"),
    ("[tailnet]", "remember", "'60'", "10s"),
    ("[tailnet]", "tell", "'no'", "expected true or false"),
    ("[certificates]", "folder", "'acme'", "begin with /"),
    ("[log]", "template", "'{clinet}'", "did you mean {client}?"),
    ("[log]", "sites", "{ nosuch = '/var/log/x' }", "no site has the name `nosuch`"),
    ("[log]", "format", "'jsn'", "did you mean `json`?"),
    ("[log]", "file", "'access.log'", "begin with /"),
    ("[log]", "rejected", "'true'", "expected true or false"),
    ("[tracing]", "collector", "'127.0.0.1:4318'", "http://HOST:PORT"),
    ("[tracing]", "path", "'v1/traces'", "/v1/traces"),
    ("[tracing]", "tls", "{ ca = 'x' }", "begin with /"),
    ("[tracing]", "headers", "{ Authorization = 'Bearer hunter2' }", "file:/path"),
    ("[tracing]", "service", "''", "name of the proxy"),
    ("[tracing]", "ratio", "10", "0.1 is one in ten"),
    ("[tracing]", "queue", "0", "from 1 to"),
    ("[tracing]", "interval", "'0s'", "1ms to 1h"),
    ("[tracing]", "timeout", "'5'", "10s"),
    ("[status]", "address", "'0.0.0.0:9180'", "loopback"),
    ("[sandbox]", "mode", "'on'", "must be one of auto, off, require"),
    ("[sandbox]", "connect", "'some'", "must be one of any, configured"),
    ("[sandbox]", "read", "'x'", "begin with /"),
    ("[sandbox]", "write", "'x'", "begin with /"),
    ("[shared]", "database", "'host=db password=x'", "never the secret itself"),
    ("[shared]", "database_roots", "'roots.pem'", "begin with /"),
    ("[shared]", "secret", "'swordfish'", "never the secret itself"),
    ("[shared]", "wait", "'6s'", "expected 1ms to 5s"),
    ("[shared]", "rotate", "'1s'", "expected 2s to 7d"),
    ("[shared]", "lifetime", "'8d'", "expected 1s to 7d"),
    ("[limits]", "header_bytes", "'1MiB'", "expected 256 to 65535"),
    ("[limits]", "header_fields", "0", "expected 1 to 10000"),
    ("[limits]", "target_bytes", "1", "expected 16 to 65535"),
    ("[limits]", "streams", "0", "expected 1 to 65535"),
    ("[limits]", "resets", "0", "expected 1 to 1000000"),
    ("[limits]", "control_frames", "1", "expected 10 to 1000000"),
    ("[limits]", "connections", "0", "expected 1 to 10000000"),
    ("[limits]", "connections_per_client", "-1", "from 0 to"),
    ("[limits]", "response_header_bytes", "1", "expected 256 to 65535"),
    ("[limits]", "response_header_fields", "0", "expected 1 to 10000"),
    ("[limits]", "idle_upstream", "2000000", "expected 0 to 1000000"),
    ("[limits]", "upstream_buffer", "'1kB'", "expected 1048576 to 68719476736"),
    ("[limits]", "rate_table", "5", "expected 1024 to 16777216"),
    ("[timeouts]", "handshake", "'10'", "10s"),
    ("[timeouts]", "header", "'0s'", "1 ms to 30 days"),
    ("[timeouts]", "body", "60", "quotes"),
    ("[timeouts]", "idle", "'31d'", "1 ms to 30 days"),
    ("[timeouts]", "connect", "'5 s'", "10s"),
    ("[timeouts]", "response", "''", "10s"),
    ("[timeouts]", "tunnel", "'1y'", "1h"),
    ("[[site]]", "hosts", "'https://a'", "without scheme, port or path"),
    ("[[site]]", "name", "''", "name the site"),
    ("[[site]]", "listen", "'tailnte'", "no listener has this name"),
    ("[[site]]", "passthrough", "'tcp://100.64.0.2'", "tcp://HOST:PORT"),
    ("[[site]]", "plain", "'sevre'", "did you mean `serve`?"),
    ("[[site]]", "allow", "[]", "leave it out to allow everyone"),
    ("[[site]]", "deny", "'x'", "100.64.0.0/10"),
    ("[[site]]", "satisfy", "'eny'", "did you mean `any`?"),
    ("[[site]]", "reject", "'no'", "must be one of silent, alert"),
    ("[[site]]", "early_data", "1", "expected true or false"),
    ("[[site]]", "body_limit", "'1TB'", "16KiB"),
    ("[[site]]", "timeouts", "{ idle = '1' }", "10s"),
    ("[[site]]", "auth", "'opn'", "did you mean `open`?"),
    ("[[site]]", "rate", "{ client = '10' }", "10/s"),
    ("[[site]]", "hsts", "{ max_age = 1 }", "quotes"),
    ("[[site]]", "compression", "{ codings = ['gz'] }", "must be one of zstd, br, gzip"),
    ("[[site]]", "maintenance", "{ status = 99 }", "from 200 to 599"),
    ("[[site]]", "upgrade", "'h2c'", "past every rule"),
    ("[[site]]", "request_headers", "{ remove = 'a b' }", "letters, digits and -"),
    ("[[site]]", "response_headers", "{ set = { 'a b' = 'c' } }", "letters, digits and -"),
    ("[site.auth]", "users", "'users.txt'", "begin with /"),
    ("[site.auth]", "realm", "1", "put it in quotes"),
    ("[site.auth]", "user_header", "true", "put it in quotes"),
    ("[site.auth]", "upstream", "'ftp://x'", "http://HOST:PORT"),
    ("[site.auth]", "service", "'autelia'", "did you mean `authelia`?"),
    ("[site.auth]", "path", "'verify'", "/api/authz/forward-auth"),
    ("[site.auth]", "copy", "'a b'", "letters, digits and -"),
    ("[[site]]", "certificate", "'fullchain.pem'", "begin with /"),
    ("[[site]]", "certificate", "'/fullchain.pem'", "needs `key`"),
    ("[[site]]", "key", "'/privkey.pem'", "needs `certificate`"),
    ("[[site]]", "client_certificates", "{ mode = 'optional' }", "missing"),
    ("[site.client_certificates]", "ca", "'ca.pem'", "begin with /"),
    ("[site.client_certificates]", "mode", "'on'", "must be one of required, optional"),
    ("[site.client_certificates]", "crl", "'crl.pem'", "begin with /"),
    ("[site.client_certificates]", "headers", "{ X-DN = 'dn' }", "subject"),
    ("[[site]]", "error_page", "[{ status = 404 }]", "body = "),
    ("[[site.error_page]]", "status", "200", "from 400 to 599"),
    ("[[site.error_page]]", "body", "1", "put it in quotes"),
    ("[[site.error_page]]", "file", "'502.html'", "begin with /"),
    ("[[site.error_page]]", "content_type", "''", "text/html"),
    ("[[site.error_page]]", "intercept", "'yes'", "expected true or false"),
    ("[site.rate]", "client", "'10'", "10/s"),
    ("[site.rate]", "client_burst", "5", "without `client`"),
    ("[site.rate]", "site", "'1/y'", "10/s"),
    ("[site.rate]", "site_burst", "5", "without `site`"),
    ("[site.rate]", "concurrent", "0", "from 1 to"),
    ("Actions: in a site or in a route", "upstream", "'forgeo'", "add [upstream.forgeo]"),
    ("Actions: in a site or in a route", "redirect", "''", "https://example.org{path}{query}"),
    ("Actions: in a site or in a route", "status", "200", "without `redirect`"),
    ("Actions: in a site or in a route", "respond", "{ status = 99 }", "from 200 to 599"),
    ("Actions: in a site or in a route", "drop", "'yes'", "expected true or false"),
    ("[[site.route]]", "path", "'a'", "begin with /"),
    ("[[site.route]]", "exact", "'/a?b'", "without ? and #"),
    ("[[site.route]]", "begins", "'a'", "begin with /"),
    ("[[site.route]]", "case", "'exat'", "did you mean `exact`?"),
    ("[[site.route]]", "allow", "[]", "leave it out to allow everyone"),
    ("[[site.route]]", "deny", "'x'", "100.64.0.0/10"),
    ("[[site.route]]", "satisfy", "'any'", "add `auth`"),
    ("[[site.route]]", "require_certificate", "true", "add client_certificates"),
    ("[[site.route]]", "methods", "'get'", "such as GET"),
    ("[[site.route]]", "auth", "'opn'", "did you mean `open`?"),
    ("[[site.route]]", "upgrade", "['tcp', 'TCP']", "is there twice"),
    ("[[site.route]]", "add_prefix", "'app'", "such as /app"),
    ("[[site.route]]", "cookies", "{ path = { '/' = 'app' } }", "begin with /"),
    ("[[site.route]]", "timeouts", "{ response = '0s' }", "1 ms to 30 days"),
    ("[[site.route]]", "compression", "{ codings = [] }", "add zstd, br or gzip"),
    ("[[site.route]]", "strip_prefix", "'/b'", "expected /, or leave it out"),
    ("[[site.route]]", "body_limit", "'1TB'", "16KiB"),
    ("[[site.route]]", "request_headers", "{ remove = 'Host' }", "set `host` of the upstream"),
    ("[[site.route]]", "response_headers", "{ add = { 'a b' = 'c' } }", "letters, digits and -"),
    ("[upstream.NAME]", "target", "'ftp://x'", "http://HOST:PORT"),
    ("[upstream.NAME]", "targets", "['http://a:1', 'unix:/b']", "make it an upstream of its own"),
    ("[upstream.NAME]", "host", "'https://a'", "example.org"),
    ("[upstream.NAME]", "backup", "'https://127.0.0.1:2'", "another scheme"),
    ("[upstream.NAME]", "weights", "{ 'http://127.0.0.1:9' = 2 }", "belongs to no target"),
    ("[upstream.NAME]", "sticky", "'a b'", "name of a cookie"),
    ("[upstream.NAME]", "balance", "'hash'", "hash-client"),
    ("[upstream.NAME]", "proxy_protocol", "'v3'", "did you mean `v1`?"),
    ("[upstream.NAME]", "tls", "{ ca = 'x' }", "begin with /"),
    ("[upstream.NAME]", "tls", "{ pin = 'sha256:12' }", "sha256//BASE64"),
    ("[upstream.NAME]", "forwarded", "'last'", "must be one of chain, client"),
    ("[upstream.NAME]", "idle", "'0s'", "expected 1ms to 1d"),
    ("[upstream.NAME.health]", "failures", "70000", "from 0 to 254"),
    ("[upstream.NAME.health]", "eject", "'0s'", "at least 100ms"),
    ("[upstream.NAME.health]", "path", "'x'", "/healthz"),
    ("[upstream.NAME.health]", "host", "'a'", "add path"),
    ("[upstream.NAME.health]", "interval", "'5s'", "add path"),
    ("[upstream.NAME.health]", "timeout", "'5'", "10s"),
    ("[upstream.NAME.health]", "status", "'200'", "add path"),
    ("[upstream.NAME.health]", "rise", "0", "at least 1"),
    ("[upstream.NAME.health]", "fall", "0", "at least 1"),
    ("[upstream.NAME.retry]", "attempts", "1000", "from 0 to 10"),
    ("[upstream.NAME.retry]", "statuses", "20", "from 400 to 599"),
    ("[upstream.NAME.retry]", "budget", "300", "from 0 to 100"),
];

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

/// Returns the keys of each section in the tables of the document, except those of `[acme]`.
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
        found.iter().any(|said| said.starts_with("edge.toml:2:9: acme.email = 1: expected a string")),
        "{found:#?}"
    );
}
