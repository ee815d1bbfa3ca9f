//! Every key changes an explanation, or is in a list with the reason why `explain` does not concern it.

use super::{EXAMPLE, PROGRAM, keys};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use toml::{Table, Value};

/// Keys that `explain` shows: the key, its other value in TOML with what goes beside it (none takes it out wherever it
/// stands), and the request that is explained otherwise then.
const EXPLAINED: &[(&str, &str, &str)] = &[
    ("https_port", "8443", "http://git.example.org/"),
    ("include", "'more/*.toml'", "https://included.example.org/"),
    ("listen.address", "'0.0.0.0:2224'", "--listener raw"),
    ("listen.allow", "'10.0.0.0/8'", "--listener ssh"),
    ("listen.deny", "", "--listener ssh --from 192.0.2.66"),
    ("listen.forward", "'tcp://100.64.0.2:2223'", "--listener raw"),
    ("listen.http3", "", "https://git.example.org/ --quic"),
    ("listen.idle", "", "--listener ssh"),
    ("listen.name", "'other'", "--listener 0.0.0.0:2223"),
    ("listen.proxy_protocol", "", "--listener raw --from 192.0.2.11 --proxied 198.51.100.1"),
    ("listen.rate", "", "--listener ssh"),
    ("listen.rate.client", "'9/s'", "--listener ssh"),
    ("listen.rate.client_burst", "", "--listener ssh"),
    ("listen.rate.client_concurrent", "", "--listener ssh"),
    ("listen.rate.concurrent", "", "--listener ssh"),
    ("listen.tls", "false", "https://git.example.org/ --listener inner"),
    ("priority", "{ 'text/plain' = 1 }", "https://answer.example.org/"),
    ("reject", "'alert'", "https://unknown.example.org/"),
    ("site.allow", "'10.0.0.0/8'", "https://git.example.org/"),
    ("site.auth", "", "https://git.example.org/"),
    ("site.auth.realm", "'other'", "https://users.example.org/"),
    ("site.auth.upstream", "'http://127.0.0.1:9092'", "https://git.example.org/"),
    ("site.auth.users", "'MORE_USERS'", "https://users.example.org/"),
    ("site.body_limit", "'1KiB'", "https://git.example.org/ --method POST --header Content-Length:5000"),
    ("site.client_certificates.ca", "'/other.pem'", "https://home.example.org/ --client-certificate CN=ann"),
    (
        "site.client_certificates.headers",
        "{ X-Other = 'subject' }",
        "https://home.example.org/ --client-certificate CN=ann",
    ),
    ("site.client_certificates.mode", "'required'", "https://home.example.org/"),
    ("site.deny", "", "https://git.example.org/ --from 192.0.2.66"),
    ("site.drop", "true", "https://parts.example.org/"),
    ("site.early_data", "true", "https://git.example.org/robots.txt --early"),
    ("site.hosts", "'other.example.org'", "https://parts.example.org/a"),
    ("site.listen", "", "http://raw.example.org/ --listener plain"),
    ("site.name", "'other'", "https://parts.example.org/a"),
    ("site.passthrough", "'tcp://100.64.0.4:443'", "https://raw.example.org/"),
    ("site.permissions", "{ usb = [] }", "https://git.example.org/"),
    ("site.plain", "'serve'", "http://git.example.org/"),
    ("site.redirect", "'https://other.example.org/'", "https://moved.example.org/"),
    ("site.reject", "'alert'", "https://git.example.org/ --from 192.0.2.66"),
    ("site.request_headers", "", "https://git.example.org/"),
    ("site.request_headers.add", "", "https://git.example.org/"),
    ("site.request_headers.remove", "", "https://git.example.org/ --header Cookie2:a"),
    ("site.request_headers.set", "", "https://git.example.org/"),
    ("site.respond", "{ status = 418 }", "https://answer.example.org/"),
    ("site.respond.status", "418", "https://answer.example.org/"),
    ("site.route.add_prefix", "'/other'", "https://home.example.org/dav/a"),
    ("site.route.allow", "", "https://git.example.org/api/a"),
    ("site.route.auth", "", "https://git.example.org/robots.txt"),
    ("site.route.begins", "'/intern'", "https://git.example.org/internals"),
    (
        "site.route.body_limit",
        "'1KiB'",
        "https://git.example.org/api/a --from 100.64.0.9 --method POST --header Content-Length:5000",
    ),
    ("site.route.case", "", "https://parts.example.org/GUARD"),
    ("site.route.deny", "'192.0.2.0/24'", "https://parts.example.org/a"),
    ("site.route.drop", "false ; upstream = 'http://127.0.0.1:1'", "https://git.example.org/.git/config"),
    ("site.route.exact", "'/other.txt'", "https://git.example.org/robots.txt"),
    ("site.route.methods", "['GET']", "https://git.example.org/api/a --from 100.64.0.9 --method POST"),
    ("site.route.path", "'/b'", "https://parts.example.org/a"),
    ("site.route.redirect", "'https://{host}/other'", "https://git.example.org/old"),
    (
        "site.route.request_headers",
        "",
        "https://home.example.org/dav/a --header Destination:https://home.example.org/dav/b",
    ),
    (
        "site.route.request_headers.replace",
        "",
        "https://home.example.org/dav/a --header Destination:https://home.example.org/dav/b",
    ),
    ("site.route.require_certificate", "", "https://home.example.org/admin"),
    ("site.route.respond", "{ status = 418 }", "https://git.example.org/robots.txt"),
    ("site.route.respond.status", "418", "https://git.example.org/robots.txt"),
    ("site.route.satisfy", "'any'", "https://users.example.org/both"),
    ("site.route.status", "302", "https://git.example.org/old"),
    ("site.route.strip_prefix", "", "https://git.example.org/api/a --from 100.64.0.9"),
    (
        "site.route.upgrade",
        "",
        "https://git.example.org/api/a --from 100.64.0.9 --header Connection:Upgrade --header Upgrade:tailscale-control-protocol",
    ),
    ("site.route.upstream", "'http://127.0.0.1:9'", "https://parts.example.org/a"),
    ("site.satisfy", "'any'", "https://git.example.org/"),
    ("site.status", "302", "https://moved.example.org/"),
    (
        "site.upgrade",
        "",
        "https://git.example.org/ --header Connection:Upgrade --header Upgrade:tailscale-control-protocol",
    ),
    ("site.upstream", "'http://127.0.0.1:9'", "https://git.example.org/"),
    (
        "tailnet.tell",
        "false",
        "https://git.example.org/ --from 100.64.0.5 --interface eth0 --who login:ann@example.org",
    ),
    (
        "trust",
        "",
        "https://git.example.org/ --from 100.64.0.5 --interface tailscale0 --who tag:edge --header X-Forwarded-For:198.51.100.7",
    ),
    (
        "trust.header",
        "'x-real-ip'",
        "https://git.example.org/ --from 100.64.0.5 --interface tailscale0 --who tag:edge --header X-Forwarded-For:198.51.100.7",
    ),
    (
        "trust.interface",
        "",
        "https://git.example.org/ --from 100.64.0.5 --interface eth0 --who tag:edge --header X-Forwarded-For:198.51.100.7",
    ),
    (
        "trust.ranges",
        "'100.64.0.4'",
        "https://git.example.org/ --from 100.64.0.5 --interface tailscale0 --who tag:edge --header X-Forwarded-For:198.51.100.7",
    ),
    (
        "trust.who",
        "'node:other'",
        "https://git.example.org/ --from 100.64.0.5 --interface tailscale0 --who tag:edge --header X-Forwarded-For:198.51.100.7",
    ),
    (
        "upstream.forwarded",
        "'client'",
        "https://git.example.org/ --from 100.64.0.5 --interface tailscale0 --who tag:edge --header X-Forwarded-For:198.51.100.7",
    ),
    ("upstream.host", "'other.internal'", "https://git.example.org/"),
    ("upstream.proxy_protocol", "", "--listener raw"),
    ("upstream.target", "'http://127.0.0.1:9'", "https://git.example.org/"),
    (
        "upstream.targets",
        "['https://api-1.internal', 'https://api-9.internal']",
        "https://git.example.org/api/a --from 100.64.0.9",
    ),
    ("request_id", "'X-Other'", "https://git.example.org/"),
    ("site.auth.copy", "['Remote-User']", "https://git.example.org/"),
    ("site.auth.path", "'/other'", "https://git.example.org/"),
    ("site.auth.user_header", "'X-User'", "https://users.example.org/"),
    ("site.compression.codings", "['gzip']", "https://git.example.org/"),
    ("site.compression.least", "'2KiB'", "https://git.example.org/"),
    ("site.error_page.body", "'x'", "https://git.example.org/"),
    ("site.error_page.content_type", "'text/plain'", "https://git.example.org/"),
    ("site.error_page.intercept", "true", "https://git.example.org/"),
    ("site.error_page.status", "[502]", "https://git.example.org/"),
    ("site.hsts.include_subdomains", "false", "https://git.example.org/"),
    ("site.hsts.max_age", "'30d'", "https://git.example.org/"),
    ("site.hsts.preload", "true", "https://git.example.org/"),
    ("site.maintenance.body", "'x'", "https://git.example.org/"),
    ("site.maintenance.content_type", "'text/plain'", "https://git.example.org/"),
    ("site.maintenance.retry_after", "'40s'", "https://git.example.org/"),
    ("site.maintenance.status", "500", "https://git.example.org/"),
    ("site.rate.client", "'30/s'", "https://git.example.org/"),
    ("site.rate.client_burst", "200", "https://git.example.org/"),
    ("site.rate.concurrent", "400", "https://git.example.org/"),
    ("site.rate.site", "'900/s'", "https://git.example.org/"),
    ("site.rate.site_burst", "3000", "https://git.example.org/"),
    ("site.respond.body", "'longer'", "https://answer.example.org/"),
    ("site.respond.content_type", "'text/html'", "https://answer.example.org/"),
    ("site.response_headers.set", "", "https://git.example.org/"),
    ("site.route.cookies.domain", "", "https://home.example.org/dav/a"),
    ("site.route.cookies.path", "", "https://home.example.org/dav/a"),
    ("site.route.respond.body", "'x'", "https://git.example.org/robots.txt"),
    ("site.route.respond.content_type", "'text/html'", "https://git.example.org/robots.txt"),
    ("site.route.response_headers.replace", "", "https://home.example.org/dav/a"),
    ("site.timeouts.response", "'4m'", "https://git.example.org/"),
    ("timeouts.body", "'61s'", "https://parts.example.org/a"),
    ("timeouts.connect", "'6s'", "https://parts.example.org/a"),
    ("timeouts.response", "'61s'", "https://parts.example.org/a"),
    ("timeouts.tunnel", "'2h'", "https://parts.example.org/a"),
    ("upstream.backup", "", "https://git.example.org/api/a --from 100.64.0.9"),
    ("upstream.balance", "'hash-client'", "https://git.example.org/api/a --from 100.64.0.9"),
    ("upstream.health.eject", "'20s'", "https://git.example.org/api/a --from 100.64.0.9"),
    ("upstream.health.failures", "5", "https://git.example.org/api/a --from 100.64.0.9"),
    ("upstream.health.fall", "4", "https://git.example.org/api/a --from 100.64.0.9"),
    ("upstream.health.host", "'other.internal'", "https://git.example.org/api/a --from 100.64.0.9"),
    ("upstream.health.interval", "'6s'", "https://git.example.org/api/a --from 100.64.0.9"),
    ("upstream.health.path", "'/other'", "https://git.example.org/api/a --from 100.64.0.9"),
    ("upstream.health.rise", "3", "https://git.example.org/api/a --from 100.64.0.9"),
    ("upstream.health.status", "'204'", "https://git.example.org/api/a --from 100.64.0.9"),
    ("upstream.health.timeout", "'1s'", "https://git.example.org/api/a --from 100.64.0.9"),
    ("upstream.idle", "'9s'", "https://git.example.org/"),
    ("upstream.retry.attempts", "1", "https://git.example.org/api/a --from 100.64.0.9"),
    ("upstream.retry.budget", "30", "https://git.example.org/api/a --from 100.64.0.9"),
    ("upstream.retry.statuses", "[502]", "https://git.example.org/api/a --from 100.64.0.9"),
    ("upstream.sticky", "", "https://git.example.org/api/a --from 100.64.0.9"),
    ("upstream.sticky.cookie", "'other'", "https://git.example.org/api/a --from 100.64.0.9"),
    ("upstream.sticky.lifetime", "'2h'", "https://git.example.org/api/a --from 100.64.0.9"),
    ("upstream.tls.ca", "'/other.pem'", "https://git.example.org/api/a --from 100.64.0.9"),
    ("upstream.tls.certificate", "'/other.pem'", "https://git.example.org/api/a --from 100.64.0.9"),
    (
        "upstream.tls.pin",
        "['sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=', '/node.pem']",
        "https://printer.example.org/",
    ),
    ("upstream.tls.server_name", "'other.internal'", "https://git.example.org/api/a --from 100.64.0.9"),
    ("upstream.weights", "", "https://git.example.org/api/a --from 100.64.0.9"),
];

/// Keys that no explanation is about, with those below them, and the reason.
const NOT_EXPLAINED: &[(&str, &[&str])] = &[
    (
        "how connections are made, encrypted and kept, not what is decided",
        &[
            "congestion",
            "kernel_tls",
            "kernel_tls_after",
            "listen.h2c",
            "listen.interface",
            "certificates",
            "site.certificate",
            "site.key",
            "upstream.tls.key",
        ],
    ),
    (
        "limits that hold before there is a request, or for all of them",
        &["limits", "timeouts.handshake", "timeouts.header", "timeouts.idle"],
    ),
    (
        "content that is read from a file",
        &["site.error_page.file", "site.maintenance.file", "site.respond.file", "site.route.respond.file"],
    ),
    ("the process, its log and its neighbours", &["log", "tracing", "status", "sandbox", "shared"]),
    (
        "what others answer when they are asked, and how long that holds",
        &[
            "tailnet.ranges",
            "tailnet.remember",
            "tailnet.socket",
            "trust.fallback",
            "site.auth.service",
            "site.client_certificates.crl",
        ],
    ),
    (
        "the same as of a site, or of all sites",
        &[
            "site.timeouts.body",
            "site.timeouts.connect",
            "site.timeouts.tunnel",
            "site.route.timeouts",
            "site.route.compression",
            "site.route.request_headers.add",
            "site.route.request_headers.remove",
            "site.route.request_headers.set",
            "site.request_headers.replace",
            "site.response_headers.add",
            "site.response_headers.remove",
            "site.response_headers.replace",
            "site.route.response_headers.add",
            "site.route.response_headers.remove",
            "site.route.response_headers.set",
            "site.route.auth.copy",
            "site.route.auth.path",
            "site.route.auth.realm",
            "site.route.auth.service",
            "site.route.auth.upstream",
            "site.route.auth.user_header",
            "site.route.auth.users",
        ],
    ),
];

/// The example with what it cannot have, so that every key has a request.
fn whole(folder: &Path) -> Table {
    let users = folder.join("users").display().to_string();
    let more = format!(
        "\n[[site]]\nhosts = 'users.example.org'\nupstream = 'http://127.0.0.1:1'\n\
         auth = {{ users = '{users}', realm = 'mine', user_header = 'Remote-User' }}\n\
         [[site.route]]\npath = '/both'\nupstream = 'http://127.0.0.1:1'\nallow = '10.0.0.0/8'\nsatisfy = 'all'\nauth = {{ users = '{users}' }}\n\
         [[site]]\nhosts = 'moved.example.org'\nredirect = 'https://git.example.org/'\nstatus = 308\n\
         [[site]]\nhosts = 'answer.example.org'\nrespond = {{ status = 200, content_type = 'text/plain', body = 'x' }}\n\
         [[site]]\nhosts = 'printer.example.org'\nupstream = 'printer'\n\
         [upstream.raw]\ntarget = 'tcp://127.0.0.1:1'\nproxy_protocol = 'v2'\n"
    );
    let mut table: Table = format!("{EXAMPLE}{more}").parse().expect("TOML");
    // A key is changed where it stands first.
    let first = "listen = [{ name = 'raw', address = '0.0.0.0:2223', forward = 'raw', proxy_protocol = '192.0.2.11' },\n\
                 { name = 'inner', address = '127.0.0.1:8443', tls = true }]\n\
                 [[site]]\nname = 'parts'\nhosts = 'parts.example.org'\n\
                 [[site.route]]\npath = '/a'\nupstream = 'http://127.0.0.1:1'\n\
                 [[site.route]]\npath = '/guard'\ncase = 'exact'\nallow = '10.0.0.0/8'\nupstream = 'http://127.0.0.1:1'\n";
    for (key, value) in first.parse::<Table>().expect("TOML") {
        let (Value::Array(mut all), Some(Value::Array(rest))) = (value, table.get(&key)) else { continue };
        all.extend(rest.iter().cloned());
        table.insert(key, Value::Array(all));
    }
    table
}

/// Takes a key out wherever it stands, or sets it and others beside it where it stands first. Returns whether it was
/// there.
fn change(table: &mut Table, path: &[&str], value: Option<&Table>) -> bool {
    let [name, rest @ ..] = path else { return false };
    if rest.is_empty() {
        return match (table.contains_key(*name), value) {
            (false, _) => false,
            (true, None) => table.remove(*name).is_some(),
            (true, Some(value)) => {
                table.extend(value.clone());
                true
            }
        };
    }
    match table.get_mut(*name) {
        Some(Value::Table(inner)) if *name == "upstream" => {
            any(inner.iter_mut().map(|(_, inner)| inner), rest, value)
        }
        Some(Value::Array(all)) => any(all.iter_mut(), rest, value),
        Some(Value::Table(inner)) => change(inner, rest, value),
        _ => false,
    }
}

fn any<'v>(all: impl Iterator<Item = &'v mut Value>, path: &[&str], value: Option<&Table>) -> bool {
    let mut found = false;
    for table in all.filter_map(Value::as_table_mut) {
        found |= change(table, path, value);
        if found && value.is_some() {
            break;
        }
    }
    found
}

/// Explains a request. The words that do not say where it comes from have an address of documentation.
fn explanation(folder: &Path, config: &Table, request: &str) -> Result<String, String> {
    let file = folder.join("edge.toml");
    std::fs::write(&file, config.to_string()).expect("a file");
    let request = request.replace("FOLDER", &folder.display().to_string());
    let mut command = Command::new(PROGRAM);
    command.args(["explain", "--json", "--config"]).arg(&file);
    if !request.contains("--state") {
        command.arg("--no-files");
    }
    if !request.contains("--from") {
        command.args(["--from", "192.0.2.7"]);
    }
    let output = command.args(request.split(' ')).output().expect("it was built");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() { Ok(said) } else { Err(said + &String::from_utf8_lossy(&output.stderr)) }
}

#[test]
fn every_key_changes_an_explanation_or_has_a_reason_why_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let user = |name: &str| format!("{name}:$2y$05$abcdefghijklmnopqrstuuJ6p8XYeKQnRrRrPR8XO0Xg1bQ2w1gXq\n");
    std::fs::write(at("users"), user("ann")).expect("a file");
    std::fs::write(at("more-users"), user("ann") + &user("bob")).expect("a file");
    std::fs::create_dir(at("more")).expect("a folder");
    let site = "[[site]]\nhosts = 'included.example.org'\nupstream = 'http://127.0.0.1:1'\n";
    std::fs::write(at("more/site.toml"), site).expect("a file");
    std::fs::write(at("maintenance.json"), "{\"sites\":[\"git\"]}").expect("a file");
    let mut faults = Vec::new();
    for (key, value, request) in EXPLAINED {
        let value = value.replace("MORE_USERS", &at("more-users").display().to_string());
        let name = key.rsplit('.').next().expect("a name");
        let lines = value.replace(" ; ", "\n");
        let value: Option<Table> =
            (!value.is_empty()).then(|| format!("{name} = {lines}\n").parse().expect(key));
        let before = whole(folder.path());
        let mut after = before.clone();
        let path: Vec<&str> = key.split('.').collect();
        if !change(&mut after, &path, value.as_ref()) {
            // A key that no table has.
            let table = match path.as_slice() {
                [_] => Some(&mut after),
                ["site", "route", _] => after["site"][0]["route"][0].as_table_mut(),
                _ => after["site"][0].as_table_mut(),
            };
            let (Some(table), Some(value)) = (table, value) else {
                faults.push(format!("{key}: is nowhere"));
                continue;
            };
            table.extend(value);
        }
        let shown = explanation(folder.path(), &before, request);
        match (shown, explanation(folder.path(), &after, request)) {
            (Ok(before), Ok(after)) if before != after => {}
            (Ok(_), Ok(_)) => faults.push(format!("{key}: {request} is explained alike")),
            (before, after) => {
                let why = [before.err(), after.err()];
                faults.push(format!("{key}: {request}: {}", why.into_iter().flatten().collect::<String>()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_key_is_in_one_of_the_lists() {
    let all = keys();
    let left_out = || NOT_EXPLAINED.iter().flat_map(|(_, keys)| keys.iter());
    let is_left_out = |key: &str| {
        left_out()
            .any(|top| key.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
    };
    let explained: BTreeSet<&str> = EXPLAINED.iter().map(|(key, ..)| *key).collect();
    // A table is explained by its keys.
    let is_explained = |key: &str| {
        explained.contains(key) || explained.iter().any(|other| other.starts_with(&format!("{key}.")))
    };
    let missing: Vec<&String> = all.iter().filter(|key| !is_explained(key) && !is_left_out(key)).collect();
    assert!(missing.is_empty(), "neither explained nor left out with a reason: {missing:#?}");
    let gone: Vec<&&str> = explained.iter().chain(left_out()).filter(|key| !all.contains(**key)).collect();
    assert!(gone.is_empty(), "not keys: {gone:#?}");
    let twice: Vec<&&str> = explained.iter().filter(|key| is_left_out(key)).collect();
    assert!(twice.is_empty(), "in both lists: {twice:#?}");
}
