//! The parser held against the real server's own: `pg_hba_file_rules`, row by row.
//!
//! The view reads the file again at each SELECT, so one server sees thousands of files in seconds.

use pg_hba::{
    Capability, Content, Document, Field, Hosts, Include, IncludeError, Line, Mapping, Mappings, Method,
    ParseError, Rule, Server, SystemUser, User, Version,
};
use serde_json::json;
use testkit::postgres::{MAJORS, Options, Postgres, Session};

mod groups;
mod real;

const GENERATED: usize = 2_100;

#[test]
fn files_after_real_ones_are_read_as_the_server_reads_them() {
    let files = real::files();
    let distinct: std::collections::BTreeSet<&String> = files.iter().collect();
    assert_eq!(distinct.len(), files.len(), "each file is another");
    let kinds = real::distinct_rules();
    assert!(kinds >= 300, "{kinds} kinds");
    for major in MAJORS {
        let (rows, refused) = compare(major, &files);
        println!(
            "PostgreSQL {major}: {} files of {kinds} kinds, {rows} rows, {refused} refused",
            files.len()
        );
    }
}

#[test]
fn every_file_is_read_as_the_server_reads_it() {
    let files: Vec<String> = hand_written().into_iter().chain((0..GENERATED as u64).map(generated)).collect();
    let written = files.len() - GENERATED;
    assert!(written >= 150, "{written} files are written by hand");
    let (mut rows, mut refused) = (0, 0);
    for major in MAJORS {
        let (found, errors) = compare(major, &files);
        rows += found;
        refused += errors;
    }
    println!(
        "{written} written and {GENERATED} generated files on three servers: {rows} rows, {refused} refused"
    );
}

fn compare(major: u32, files: &[String]) -> (usize, usize) {
    let mut options = Options::new(major);
    if major >= 18 {
        options.settings = "oauth_validator_libraries = 'v1,v2'\n".to_owned();
    }
    let postgres = Postgres::start(&options);
    let server = server(major);
    let session = postgres.session();
    let path = postgres.hba_path().display().to_string();
    for (name, text) in INCLUDED {
        let file = postgres.data().join(name);
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        std::fs::write(file, text).expect("a file");
    }
    let (mut rows, mut refused) = (0, 0);
    let mut wrong = Vec::new();
    for (index, text) in files.iter().enumerate() {
        postgres.write_hba(text);
        let theirs = view(&session, major);
        let ours = expected(&Document::load(&path, text, &server, &mut FileSystem), major);
        rows += theirs.len();
        refused += theirs.iter().filter(|row| row["type"].is_null()).count();
        for at in 0..theirs.len().max(ours.len()) {
            let (theirs, ours) = (theirs.get(at), ours.get(at));
            if theirs != ours {
                let show =
                    |row: Option<&serde_json::Value>| row.map_or_else(|| "-".to_owned(), ToString::to_string);
                wrong.push(format!(
                    "file {index}:\n{text}\n  server {}\n  ours   {}",
                    show(theirs),
                    show(ours)
                ));
                break;
            }
        }
    }
    let shown = wrong.iter().take(12).cloned().collect::<Vec<_>>().join("\n");
    assert!(
        wrong.is_empty(),
        "PostgreSQL {major} reads {} of {} files otherwise:\n{shown}",
        wrong.len(),
        files.len()
    );
    (rows, refused)
}

/// Files to include, beside pg_hba.conf.
const INCLUDED: &[(&str, &str)] = &[
    ("names", "one, two # three\nfour\n\"all\" all\n"),
    ("nested", "@names\nfive\n"),
    ("empty", "# nothing\n"),
    ("good.inc", "local one all trust\n# x\nlocal two all peer\n"),
    ("bad.inc", "local one\nlocal two all peer\n"),
    ("loop.inc", "include loop.inc\n"),
    ("folder/b.conf", "local b all trust\ninclude ../good.inc\n"),
    ("folder/a.conf", "local a all trust\n"),
    ("folder/.hidden.conf", "refused\n"),
    ("folder/other.txt", "refused\n"),
];

struct FileSystem;

impl Include for FileSystem {
    fn read(&mut self, path: &str) -> Result<String, IncludeError> {
        std::fs::read_to_string(path).map_err(|_| IncludeError::Missing)
    }

    fn list(&mut self, path: &str) -> Result<Vec<String>, IncludeError> {
        let entries = std::fs::read_dir(path).map_err(|_| IncludeError::Missing)?;
        Ok(entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect())
    }
}

/// What each build has: Debian's 15 everything; the wheels less.
fn server(major: u32) -> Server {
    let server = Server::new(Version::from_number(major).expect("known")).with_tls(false);
    match major {
        17 => server.without(Capability::Ldap).without(Capability::Pam),
        18 => [Capability::Ldap, Capability::Pam, Capability::Gss, Capability::Tls]
            .into_iter()
            .fold(server, Server::without)
            .with_oauth_validators(["v1", "v2"]),
        19 => server.with_oauth_validators(["v1", "v2"]),
        _ => server,
    }
}

fn view(session: &Session, major: u32) -> Vec<serde_json::Value> {
    let number = if major >= 16 { "rule_number" } else { "NULL" };
    let sql = format!(
        "SELECT json_build_object('line', line_number, 'type', type, 'database', database, 'user', user_name, \
         'address', address, 'netmask', netmask, 'method', auth_method, 'options', options, 'error', error, \
         'number', {number}::int) FROM pg_hba_file_rules"
    );
    let rows = session.query(&sql).expect("the view");
    rows.into_iter()
        .map(|row| serde_json::from_str(row[0].as_deref().expect("a row")).expect("JSON"))
        .collect()
}

fn expected(document: &Document, major: u32) -> Vec<serde_json::Value> {
    let mut number = 0;
    let mut rows = Vec::new();
    for line in document.lines() {
        let error = match &line.content {
            Content::Blank | Content::Include => continue,
            Content::Rule(_) => line.notice.map(str::to_owned),
            Content::Refused(error) => error.server_message().or_else(|| line.notice.map(str::to_owned)),
        };
        number += i32::from(error.is_none());
        let shown = (error.is_none() && major >= 16).then_some(number);
        rows.push(match &line.content {
            Content::Rule(rule) => row(line, rule, error.as_deref(), shown),
            _ => json!({"line": line.origin.line, "type": null, "database": null, "user": null, "address": null,
                "netmask": null, "method": null, "options": null, "error": error, "number": shown}),
        });
    }
    rows
}

fn row(line: &Line, rule: &Rule, error: Option<&str>, number: Option<i32>) -> serde_json::Value {
    let texts = |field: &Field| field.iter().map(|token| token.text.clone()).collect::<Vec<_>>();
    let (address, netmask) = match &rule.address {
        _ if rule.connection == pg_hba::ConnectionType::Local => (None, None),
        pg_hba::Address::All => (Some("all".to_owned()), None),
        pg_hba::Address::Host(name) => (Some(name.clone()), None),
        pg_hba::Address::Network(network) => {
            (Some(numeric(network.address())), Some(numeric(network.mask())))
        }
        pg_hba::Address::SameHost => (Some("samehost".to_owned()), None),
        pg_hba::Address::SameNet => (Some("samenet".to_owned()), None),
    };
    json!({"line": line.origin.line, "type": rule.connection.as_str(), "database": texts(&line.fields[1]),
        "user": texts(&line.fields[2]), "address": address, "netmask": netmask, "method": rule.method.as_str(),
        "options": options(rule), "error": error, "number": number})
}

/// As `inet_ntop` writes it: IPv4-compatible addresses in dots, which Rust does not.
fn numeric(address: std::net::IpAddr) -> String {
    match address {
        std::net::IpAddr::V6(v6) => match v6.segments() {
            [0, 0, 0, 0, 0, 0, high, low] if high != 0 => {
                format!("::{}", std::net::Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)))
            }
            _ => v6.to_string(),
        },
        std::net::IpAddr::V4(v4) => v4.to_string(),
    }
}

/// The options column: `get_hba_options` in hbafuncs.c, which leaves some out and gives an order of its own.
fn options(rule: &Rule) -> Option<Vec<String>> {
    let value = |name: &str| {
        rule.settings
            .iter()
            .rev()
            .find(|setting| setting.name() == name)
            .map(|setting| setting.value().to_owned())
    };
    let url = value("ldapurl").map(|url| parts_of_url(&url)).unwrap_or_default();
    let part = |name: &str| url.iter().find(|(part, _)| *part == name).map(|(_, value)| value.clone());
    let mut out = Vec::new();
    let mut plain =
        |name: &str, value: Option<String>| out.extend(value.map(|value| format!("{name}={value}")));
    let on = |name: &str| value(name).filter(|value| value == "1").map(|_| "true".to_owned());
    if rule.method == Method::Gss {
        plain(
            "include_realm",
            value("include_realm").map_or(Some("true".to_owned()), |_| on("include_realm")),
        );
        plain("krb_realm", value("krb_realm"));
    }
    plain("map", value("map"));
    plain(
        "clientcert",
        if rule.method == Method::Cert { Some("verify-full".to_owned()) } else { value("clientcert") },
    );
    plain("pamservice", value("pamservice"));
    if rule.method == Method::Ldap {
        plain("ldapserver", part("ldapserver").or_else(|| value("ldapserver")));
        let port = value("ldapport").map(|port| port.trim_matches(|c: char| !c.is_ascii_digit()).to_owned());
        plain("ldapport", part("ldapport").or(port));
        plain("ldapscheme", part("ldapscheme").or_else(|| value("ldapscheme")));
        plain("ldaptls", on("ldaptls"));
        for name in [
            "ldapprefix",
            "ldapsuffix",
            "ldapbasedn",
            "ldapbinddn",
            "ldapbindpasswd",
            "ldapsearchattribute",
            "ldapsearchfilter",
        ] {
            plain(name, part(name).or_else(|| value(name)));
        }
        // A URL without a scope stands for the base alone, which the view does not show.
        let scope = if url.is_empty() { Some("2".to_owned()) } else { part("ldapscope") };
        plain("ldapscope", scope);
    }
    for name in
        ["radiusservers", "radiussecrets", "radiusidentifiers", "radiusports", "issuer", "scope", "validator"]
    {
        plain(name, value(name));
    }
    plain("delegate_ident_mapping", on("delegate_ident_mapping"));
    (!out.is_empty()).then_some(out)
}

/// Returns the options that `ldapurl` stands for, as libldap takes a URL of host, port, base, attribute, scope and
/// filter apart.
fn parts_of_url(url: &str) -> Vec<(&'static str, String)> {
    let (scheme, rest) = url.split_once("://").expect("a URL");
    let (host, rest) = rest.split_once('/').unwrap_or((rest, ""));
    let (host, port) = host.split_once(':').unwrap_or((host, if scheme == "ldaps" { "636" } else { "389" }));
    let mut parts = rest.splitn(4, '?');
    let names = ["ldapbasedn", "ldapsearchattribute", "ldapscope", "ldapsearchfilter"];
    let below = names.into_iter().filter_map(|name| {
        let value = parts.next()?;
        let value = match (name, value) {
            ("ldapscope", "one") => "1",
            ("ldapscope", "sub") => "2",
            ("ldapscope", _) => "",
            (_, value) => value,
        };
        (!value.is_empty()).then(|| (name, value.to_owned()))
    });
    let above = [("ldapscheme", scheme), ("ldapserver", host), ("ldapport", port)];
    let above = above.map(|(name, value)| (name, value.to_owned()));
    above.into_iter().filter(|(_, value)| !value.is_empty()).chain(below.collect::<Vec<_>>()).collect()
}

/// A generator of our own, so that a failing file has a number.
struct Random(u64);

impl Random {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 16) % sides as u64).expect("small")
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.roll(from.len())]
    }
}

const TYPES: &[&str] = &[
    "local",
    "host",
    "host",
    "hostssl",
    "hostnossl",
    "hostgssenc",
    "hostnogssenc",
    "\"host\"",
    "HOST",
    "hos",
];
const NAMES: &[&str] = &[
    "all",
    "\"all\"",
    "a\"ll\"",
    "\"\"all",
    "sameuser",
    "samerole",
    "samegroup",
    "replication",
    "db1",
    "+grp",
    "\"+grp\"",
    "+\"a b\"",
    "\"a,b\"",
    "\"q\"\"q\"",
    "/^a",
    "\"/^a{1,2}$\"",
    "/^a(b",
    "/[",
    "/a**",
    "/\\1",
    "\"/(?i)x y\"",
    "/[[:alpha:]]+",
    "/[[:nope:]]",
    "\"\"",
    "/\\d{3}",
    "/x{2,1}",
    "/(?!a)b",
    "/(a)\\1",
    "/[b-a]",
    "/a\\",
    "é",
    "/é+",
    "@",
    "\"@x\"",
    "/***=a.b",
    "/^*",
    "/(?z)",
    "x#y",
    "ALL",
];
const ADDRESSES: &[&str] = &[
    "all",
    "\"all\"",
    "samehost",
    "samenet",
    "\"samenet\"",
    "127.0.0.1/32",
    "010.0.0.0/8",
    "127.1/8",
    "0x7f.1/8",
    "10.0.0.0 255.0.0.0",
    "10.0.0.0 8",
    "10.0.5.0 255.0.255.0",
    "::1/128",
    "::/0",
    "fe80::1%2/64",
    "256.1.1.1/32",
    "10.0.0.0/33",
    "10.0.0.0/+8",
    "\"10.0.0.0/ 8\"",
    "10.0.0.0/-1",
    "10.0.0.0/8x",
    "10.0.0.0/",
    "::ffff:1.2.3.4/120",
    "::1.2.3.4/96",
    "1:2:3::/48",
    "db.example.org",
    ".example.org",
    "ALL",
    "10.0.0.0 ::1",
    "::1 255.0.0.0",
    "10.0.0.0 nomask",
    "\"\"",
    "\"\"/8",
    "1.2.3",
    "1.2.3.4.5/8",
    "08.0.0.1/8",
    "4294967295/32",
    "4294967296/32",
    "10.0.0.0,10.1.0.0/8",
    "::1/129",
    "1.2.3.4",
    "fd7a:115c:a1e0::/48",
    "0/0",
    "0.0.0.0/0",
    "1.2.3.256/8",
    "1.65536/16",
];
const METHODS: &[&str] = &[
    "trust",
    "reject",
    "md5",
    "password",
    "scram-sha-256",
    "peer",
    "ident",
    "gss",
    "sspi",
    "pam",
    "bsd",
    "ldap",
    "cert",
    "radius",
    "oauth",
    "TRUST",
    "scram",
    "\"trust\"",
    "trust,md5",
    "krb5",
];
const OPTIONS: &[&str] = &[
    "map=m",
    "\"map=a b\"",
    "map",
    "clientcert=verify-full",
    "clientcert=verify-ca",
    "clientcert=1",
    "clientcert=0",
    "clientname=CN",
    "clientname=DN",
    "clientname=x",
    "pamservice=p",
    "pam_use_hostname=1",
    "ldapserver=h",
    "ldapport=389",
    "ldapport=0",
    "ldapport=+7x",
    "ldapbasedn=dc",
    "ldapprefix=cn",
    "ldapsuffix=x",
    "ldaptls=1",
    "ldaptls=0",
    "ldapscheme=ldaps",
    "ldapscheme=x",
    "ldapbinddn=b",
    "ldapsearchattribute=u",
    "ldapsearchfilter=f",
    "krb_realm=R",
    "include_realm=0",
    "include_realm=1",
    "compat_realm=1",
    "upn_username=1",
    "radiusservers=127.0.0.1",
    "\"radiusservers=127.0.0.1,::1\"",
    "radiussecrets=s",
    "\"radiussecrets=a,b\"",
    "\"radiussecrets=\"\"a\"",
    "radiusports=1812",
    "radiusports=0",
    "\"radiusports=1,,2\"",
    "radiusidentifiers=i",
    "radiusservers=",
    "radiussecrets=",
    "issuer=i",
    "scope=s",
    "validator=v1",
    "validator=v3",
    "delegate_ident_mapping=1",
    "nope=1",
    "=",
    "map=m,clientcert=verify-ca",
];
const FULL: &[&str] = &[
    "ldap ldapserver=h ldapbasedn=dc",
    "radius radiusservers=127.0.0.1 radiussecrets=s",
    "oauth issuer=i scope=s validator=v1",
    "oauth issuer=i scope=s validator=v1 validator.own=x validator.own=y",
    "oauth issuer=i scope=s validator=v1 validator.=x",
    "oauth issuer=i scope=s validator=v1 validator.a.b=x",
    "oauth issuer=i scope=s validator=v1 validator._-9A=",
    "oauth issuer=i scope=s validator=v1 validator.\u{e9}=x",
    "oauth issuer=i scope=s validator.own=x",
    "oauth issuer=i scope=s validator=v1 Validator.own=x",
    "trust validator.own=x",
    "trust validator.=x",
    "trust validatorx=x",
    "ldap radiusservers=x ldapbasedn=x",
    "cert map=m",
    "pam pamservice=p",
    "gss krb_realm=R map=m",
    "oauth issuer=i scope=s validator=v2 delegate_ident_mapping=1",
    "ident map=m",
];

fn generated(seed: u64) -> String {
    let mut dice = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    (0..20).for_each(|_| {
        dice.roll(2);
    });
    let mut text = String::new();
    for _ in 0..=dice.roll(8) {
        line(&mut dice, &mut text);
        text.push_str(dice.pick(&["\n", "\n", "\n", "\r\n", " \n", "\t# end\n", "\\\n", " \\\r\n", "\n\n"]));
    }
    if dice.roll(8) == 0 {
        line(&mut dice, &mut text);
    }
    text
}

fn line(dice: &mut Random, text: &mut String) {
    if dice.roll(12) == 0 {
        text.push_str(dice.pick(&[
            "# comment",
            "",
            "   ",
            "\"open quote all all",
            ",,,",
            "host",
            "local all",
            "# x \\",
        ]));
        return;
    }
    let gap = |dice: &mut Random| dice.pick(&[" ", " ", " ", "\t", "  ", " \\\n "]);
    // Most lines are made of parts that are accepted, or hardly any rule would be compared.
    let good = dice.roll(4) > 0;
    let kind = dice.pick(if good { &TYPES[..8] } else { TYPES });
    text.push_str(kind);
    text.push_str(gap(dice));
    for _ in 0..2 {
        let mut count = 1 + usize::from(dice.roll(5) == 0);
        while count > 0 {
            text.push_str(dice.pick(if good { GOOD_NAMES } else { NAMES }));
            count -= 1;
            if count > 0 {
                text.push_str(dice.pick(if good { &[",", ", "] } else { &[",", ", ", " ,", ",,"] }));
            }
        }
        text.push_str(gap(dice));
    }
    if kind != "local" || (!good && dice.roll(8) == 0) {
        text.push_str(dice.pick(if good { GOOD_ADDRESSES } else { ADDRESSES }));
        text.push_str(gap(dice));
    }
    if good && dice.roll(4) > 0 {
        text.push_str(dice.pick(&[
            "trust",
            "reject",
            "md5",
            "password",
            "scram-sha-256",
            "ident map=m",
            "\"trust\"",
        ]));
        return;
    }
    let full = good || dice.roll(4) == 0;
    text.push_str(dice.pick(if full { FULL } else { METHODS }));
    for _ in 0..dice.roll(8).saturating_sub(5) {
        text.push(' ');
        text.push_str(dice.pick(OPTIONS));
    }
}

const GOOD_NAMES: &[&str] = &[
    "all",
    "\"all\"",
    "a\"ll\"",
    "sameuser",
    "samerole",
    "samegroup",
    "replication",
    "db1",
    "+grp",
    "\"+grp\"",
    "+\"a b\"",
    "\"a,b\"",
    "\"q\"\"q\"",
    "/^a",
    "\"/^a{1,2}$\"",
    "\"/(?i)x y\"",
    "/[[:alpha:]]+",
    "/\\d{3}",
    "/(?!a)b",
    "/(a)\\1",
    "é",
    "/é+",
    "\"@x\"",
    "x#y z",
    "ALL",
    "/***=a.b",
    "@",
    "/[^-a]",
    "/(?:a|b)+?$",
    "/\\mx\\M",
];
const GOOD_ADDRESSES: &[&str] = &[
    "all",
    "\"all\"",
    "samehost",
    "samenet",
    "\"samenet\"",
    "127.0.0.1/32",
    "010.0.0.0/8",
    "127.1/8",
    "0x7f.1/8",
    "10.0.0.0 255.0.0.0",
    "10.0.0.0 8",
    "10.0.5.0 255.0.255.0",
    "::1/128",
    "::/0",
    "fe80::1%2/64",
    "10.0.0.0/+8",
    "\"10.0.0.0/ 8\"",
    "::ffff:1.2.3.4/120",
    "::1.2.3.4/96",
    "1:2:3::/48",
    "db.example.org",
    ".example.org",
    "ALL",
    "1.2.3/24",
    "4294967295/32",
    "fd7a:115c:a1e0::/48",
    "0/0",
    "::1 ffff::",
    "host.with-dash",
    "1.65535/16",
];

/// One file for each thing that is easy to get wrong.
fn hand_written() -> Vec<String> {
    let mut files: Vec<String> = Vec::new();
    files.extend(NAMES.iter().map(|name| format!("local {name} all trust\nlocal all {name} peer\n")));
    files.extend(
        ADDRESSES
            .iter()
            .map(|address| format!("# one\nhost all all {address} scram-sha-256\nlocal all all peer\n")),
    );
    files.extend(METHODS.iter().map(|method| {
        format!("local all all {method}\nhost all all ::/0 {method}\nhostssl all all 0/0 {method}\n")
    }));
    files.extend(OPTIONS.iter().map(|option| {
        let methods = [
            "trust",
            "cert",
            "ldap ldapbasedn=x",
            "radius radiusservers=::1 radiussecrets=s",
            "oauth issuer=i scope=s",
        ];
        methods.map(|method| format!("hostssl all all all {method} {option}\n")).concat()
    }));
    for text in [
        "",
        "\n\n",
        "# only a comment",
        "local a, b c trust\n",
        "local a ,b c trust\n",
        "# off \\\nhost all all 0.0.0.0/0 trust\n",
        "host all al\\\nl 127.0.0.1/32 trust\n",
        "local all all ident map=m\n",
        "local /^a{1,2}$ all trust\n",
        "local all all trust # comment\n",
        "local all all trust#comment\n",
        "local all all \"trust # no comment\n",
        "local,host all all trust\n",
        "host all all 10.0.0.0/8 trust,md5\n",
        "local\nlocal all\nlocal all all\nhost all all\nhost all all 1.2.3.4\n",
        "local all all trust\\",
        "local all all trust\\\n",
        "local all all \\\\\n\ntrust\n",
        "local all all trust\r\nlocal all all peer\r\n",
        "include nowhere\n",
        "include loop.inc\n",
        "local @names @nested peer\n",
        "local @empty all trust\nlocal @empty,x all trust\n",
        "include good.inc\nlocal all all peer\n",
        "\"include\" \"good.inc\"\n",
        "include bad.inc\n",
        "include_if_exists bad.inc\ninclude_if_exists missing.inc\nlocal all all peer\n",
        "include_dir folder\nlocal all all peer\n",
        "include_dir ./folder/../folder\n",
        "local @bad.inc all trust\n",
        "local @\"names\",z all trust\n",
        "include two words\n",
        "include_dir \"\"\n",
        "include_if_exists /nonexistent/file\nlocal all all trust\n",
        "include_dir /nonexistent\n",
        "\"include\" /nonexistent/file\n",
        "local @/nonexistent/names all trust\n",
        "local a,@/nonexistent/names all trust\n",
        "host all all 127.0.0.1/32 ident\nhost all all 127.0.0.1/32 peer\n",
        "hostssl all all 0.0.0.0/0 cert clientcert=verify-ca\n",
        "\u{feff}local all all trust\n",
        "local all all\u{a0}trust\n",
        "local\tall\tall\ttrust\n",
        "  local all all trust  \n",
        "local all all trust ,\n",
        ",local all all trust\n",
        "local all, trust\n",
        "local all,\n",
        // The server reads C strings.
        "\0\n",
        "local all all trust\0 lost\n",
        "local a\0b all trust\nlocal all all peer\n",
        "local all all trust\n\0",
        "# comment\0 lost\nlocal all all trust\n",
        "local all all \"tr\0ust\"\nlocal b b peer\n",
        "local all all trust\\\0\nlocal b b peer\n",
        "local all all trust\0\r\nlocal b b peer\r\nlocal c c trust\r\n",
        "include good.inc\0 lost\nlocal all all peer\n",
    ] {
        files.push(text.to_owned());
    }
    files.push(format!("local {} all trust\n", "n".repeat(10_239)));
    files.push(format!("local {} all trust\n", "n".repeat(10_240)));
    files.push(format!("local {} all trust\nlocal all all peer\n", "name,".repeat(9_000)));
    files
}

#[test]
fn pg_ident_conf_is_read_as_the_server_reads_it() {
    let files: Vec<String> = IDENT.iter().map(|text| (*text).to_owned()).collect();
    let mut rows = 0;
    for major in MAJORS {
        let postgres = Postgres::start(&Options::new(major));
        let session = postgres.session();
        let path = postgres.data().join("pg_ident.conf");
        for text in &files {
            std::fs::write(&path, text).expect("pg_ident.conf");
            let sql = "SELECT json_build_array(line_number, map_name, sys_name, pg_username, error) FROM pg_ident_file_mappings";
            let theirs: Vec<serde_json::Value> = session
                .query(sql)
                .expect("the view")
                .into_iter()
                .map(|row| serde_json::from_str(row[0].as_deref().expect("a row")).expect("JSON"))
                .collect();
            let mappings = Mappings::load(&path.display().to_string(), text, &server(major), &mut FileSystem);
            let ours: Vec<serde_json::Value> = mappings.lines.iter().map(mapping_row).collect();
            assert_eq!(theirs, ours, "PostgreSQL {major}: {text}");
            rows += ours.len();
        }
    }
    println!("{} files of pg_ident.conf on three servers: {rows} rows", files.len());
}

/// `pg_hosts.conf` of 19: the files that it refuses, with the line that it names first. A file that it takes it does not
/// mention.
#[test]
fn pg_hosts_conf_is_read_as_the_server_reads_it() {
    let mut options = Options::new(19);
    options.tls = true;
    options.settings = "ssl_sni = on\n".to_owned();
    let postgres = Postgres::start(&options);
    let session = postgres.session();
    let path = postgres.data().join("pg_hosts.conf");
    let mut refused = 0;
    for pattern in HOSTS {
        let text = pattern.replace("CERT", "server.crt server.key");
        std::fs::write(&path, &text).expect("pg_hosts.conf");
        let before = postgres.log().len();
        postgres.reload(&session);
        // The postmaster has finished one reload when it begins the next.
        postgres.reload(&session);
        let log = postgres.log();
        let log = log[before..].split("received SIGHUP").nth(1).expect("two reloads");
        let named = log.split("line ").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<u32>().ok());
        let theirs = log.contains("SSL configuration was not reloaded").then_some(named);
        let ours = Hosts::load(&path.display().to_string(), &text, &mut FileSystem);
        let ours = ours.err().map(|errors| errors.first().map(|error| error.line));
        assert_eq!(theirs, ours, "{text}: {log}");
        refused += usize::from(theirs.is_some());
    }
    println!("{} files of pg_hosts.conf on PostgreSQL 19: {refused} refused", HOSTS.len());
}

const HOSTS: &[&str] = &[
    "",
    "# nothing\n",
    "a.test CERT\n",
    "a.test,b.test CERT # x\n/no_sni/ CERT\n* CERT\n",
    "a.test,* CERT\n",
    "*,* CERT\n",
    "/no_sni/,a.test CERT\n",
    "* CERT\n\n* CERT\n",
    "\"*\" CERT\n* CERT\n",
    "\"/no_sni/\" CERT\n/no_sni/ CERT\n",
    "a.test CERT\nA.Test CERT\n",
    "a.test,a.test CERT\n",
    "\"a.test\" CERT\na.test CERT\n",
    "a.test\n",
    "a.test server.crt\n",
    "a.test server.crt,server.crt server.key\n",
    "a.test server.crt server.key,server.key\n",
    "a.test CERT \"\" \"\" maybe\n",
    "a.test CERT \"\" \"\" \"\"\n",
    "a.test CERT \"\" \"\" o\n",
    "a.test CERT \"\" \"echo x\" tr\n",
    "a.test CERT \"\" \"echo x\" ON\n",
    "a.test CERT \"\" \"echo x\" of\n",
    "a.test CERT \"\" \"echo x\" 10\n",
    "a.test CERT \"\" \"echo x\" on more\n",
    ".test CERT\n*.test CERT\n",
    "\"\" CERT\n",
    "a.test \\\n CERT\n",
    "a.test CERT\n\nb.test\n",
    "@nowhere CERT\n",
    "@names CERT\n",
    "include nowhere.conf\n",
    "include_if_exists nowhere.conf\na.test CERT\n",
];

fn mapping_row(line: &Result<Mapping, ParseError>) -> serde_json::Value {
    let mapping = match line {
        Ok(mapping) => mapping,
        Err(error) => return json!([error.line, null, null, null, error.server_message()]),
    };
    let system_user = match &mapping.system_user {
        SystemUser::Name(name) => name.clone(),
        SystemUser::Pattern(pattern) => format!("/{pattern}"),
    };
    let role = match &mapping.database_user {
        User::All => "all".to_owned(),
        User::Member(role) => format!("+{role}"),
        User::Name(name) => name.clone(),
        User::Pattern(pattern) => format!("/{pattern}"),
    };
    json!([mapping.origin.line, mapping.map, system_user, role, null])
}

const IDENT: &[&str] = &[
    "",
    "# nothing\n",
    "m a b\n",
    "m a b extra\n",
    "m a\nm\n",
    "m a,b c\nm,n a b\nm a b,c\n",
    "m /^(.*)@x$ \\1\n",
    "m /^(.*@x$ \\1\n",
    "m a /^b\nm a /[b\n",
    "m a +g\nm a all\nm a \"all\"\nm a \"+g\"\n",
    "\"m n\" \"a b\" \"c d\"\n",
    "m \\\na b\nn a b\n",
    "m a b # comment\n",
    "m a#b\n",
    "m \"/x\" \"/y\"\n",
    "m /\\ b\n",
    "include nowhere.conf\n",
    "m @/nonexistent/file b\n",
];
