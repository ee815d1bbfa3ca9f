//! Matches and groups of regular expressions, and user name maps that refer to groups, held against servers.

use crate::{FileSystem, Random, server};
use pg_hba::{EmptyEnvironment, Mappings, Pattern};
use testkit::postgres::{MAJORS, Options, Postgres};

const PATTERNS: usize = 700;

/// Patterns that people write in maps, and those in which the order of preferences shows.
const WRITTEN: [&str; 24] = [
    "^(.*)@example\\.com$",
    "^(.*?)@",
    "^(.*?)@.*$",
    "^([^@]+)@(a|ab)(c|bcd)?",
    "(a|ab)(c|bcd)(d*)",
    "(a*?)(b*)",
    "(a*)(a*?)$",
    "x(a|b)*",
    "(a|b){2}",
    "(a|b){2,2}?",
    "(a)|b",
    "((a)|b)*",
    "((a)|(b))+",
    "^(a+?)(\\1)+$",
    "^(a|ab)(.*)\\1$",
    "^((a|ab)*)(c|b)?\\3$",
    "(?:(a)|b)*?c",
    "(a{0,2}?)(a{1,2})(b)?",
    "(|a)+b",
    "((a*)+)(b|)",
    "(?=(?:ab))(a?)",
    "(?<!a)(b+)",
    "(?i)(A+)b",
    "((((a))b?)c?)",
];

/// Returns a random part of a pattern. `closed` counts the groups that are complete.
fn part(dice: &mut Random, depth: u32, opened: &mut u32, closed: &mut Vec<u32>) -> String {
    let atom = match dice.roll(if depth == 0 { 6 } else { 12 }) {
        0..4 => dice.pick(&["a", "b", "c", "@"]).to_owned(),
        4 => dice.pick(&[".", "[ab]", "[^a]", "\\w"]).to_owned(),
        5 => match closed.get(dice.roll(closed.len() + 1)) {
            Some(number) if dice.roll(3) == 0 => format!("\\{number}"),
            _ => dice.pick(&["^", "$", "\\m", "\\M", "\\y", "a", "b"]).to_owned(),
        },
        6..10 => {
            *opened += 1;
            let number = *opened;
            let content = alternatives(dice, depth - 1, opened, closed);
            closed.push(number);
            format!("({content})")
        }
        10 => format!("(?:{})", alternatives(dice, depth - 1, opened, closed)),
        _ => format!(
            "{}{})",
            dice.pick(&["(?=", "(?!", "(?<=", "(?<!"]),
            dice.pick(&["a", "ab|c", "b*", "[bc]@"])
        ),
    };
    let constraint = ["^", "$", "\\m", "\\M", "\\y"].contains(&atom.as_str())
        || ["(?=", "(?!", "(?<"].iter().any(|look| atom.starts_with(look));
    if constraint || dice.roll(2) == 0 {
        return atom;
    }
    let quantifier =
        dice.pick(&["*", "+", "?", "*?", "+?", "??", "{2}", "{1,2}", "{0,2}?", "{2,}", "{1}?", "{1,1}?"]);
    format!("{atom}{quantifier}")
}

fn alternatives(dice: &mut Random, depth: u32, opened: &mut u32, closed: &mut Vec<u32>) -> String {
    let branches = 1 + dice.roll(5) / 3;
    let branch = |dice: &mut Random, opened: &mut u32, closed: &mut Vec<u32>| {
        let parts = 1 + dice.roll(3);
        (0..parts).map(|_| part(dice, depth, opened, closed)).collect::<String>()
    };
    (0..branches).map(|_| branch(dice, opened, closed)).collect::<Vec<_>>().join("|")
}

const SUBJECTS: [&str; 14] = [
    "",
    "a",
    "b",
    "aa",
    "ab",
    "aab",
    "abc",
    "abcd",
    "abab",
    "aabaab",
    "a@b@c",
    "bob@example.com",
    "xab cab",
    "cabbacab",
];

#[test]
fn groups_are_those_that_the_server_finds() {
    let mut dice = Random(0x9e37_79b9_7f4a_7c15);
    let mut patterns: Vec<String> = WRITTEN.map(str::to_owned).to_vec();
    while patterns.len() < PATTERNS {
        let (mut opened, mut closed) = (0, Vec::new());
        patterns.push(alternatives(&mut dice, 3, &mut opened, &mut closed));
    }
    let list = SUBJECTS.map(|subject| format!("'{subject}'")).join(",");
    for major in MAJORS {
        let postgres = Postgres::start(&Options::new(major));
        let session = postgres.session();
        let (mut found, mut wrong) = (0, Vec::new());
        for pattern in &patterns {
            let Ok(ours) = Pattern::new(pattern) else {
                let refused = session.query(&format!("SELECT '' ~ $p${pattern}$p$"));
                assert!(refused.is_err(), "PostgreSQL {major} takes {pattern}");
                continue;
            };
            // Without a group of its own the server returns the whole match.
            let sql = format!(
                "SELECT s ~ $p${pattern}$p$, (regexp_match(s, $p${pattern}$p$ || '()'))[1] FROM unnest(ARRAY[{list}]) s"
            );
            let sql = if pattern.contains('|') { sql.replace(" || '()'", "") } else { sql };
            let rows =
                session.query(&sql).unwrap_or_else(|why| panic!("PostgreSQL {major}: {pattern}: {why}"));
            let grouped = pattern.replace("(?", "").contains('(');
            for (subject, row) in SUBJECTS.iter().zip(rows) {
                let matches = row[0].as_deref() == Some("t");
                let ours_matches = ours.is_match(subject);
                let group = ours.first_group(subject);
                let same = ours_matches == matches
                    && group.is_some() == matches
                    && (!grouped || group.flatten() == row[1].as_deref());
                if !same {
                    wrong.push(format!("{pattern:?} {subject:?}: {row:?}, ours {ours_matches} {group:?}"));
                }
                found += usize::from(grouped && matches);
            }
        }
        let shown = wrong.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
        assert!(wrong.is_empty(), "PostgreSQL {major} finds {} of {found} otherwise:\n{shown}", wrong.len());
        assert!(found > 2_000, "{found}");
        println!("PostgreSQL {major}: {found} matches with groups");
    }
}

/// Files of pg_ident.conf in which `USER` stands for the account of the client, and `U` for its first letter.
const MAPS: [&str; 14] = [
    "m USER app\n",
    "m /^(.*)$ \\1\n",
    "m /^(.).*$ \\1\n",
    "m /^(.*?)(.*)$ app\\1\n",
    "m /^(.*?)(.*)$ x\\1\nm USER app\n",
    "m /^.(.*)$ U\\1\n",
    "m /^(x)?U \\1\nm USER app\n",
    "m /^U \\1\nm USER app\n",
    "m /^U app\nm /^U \\1\n",
    "m /^(U).* \"\\1\"\nm /^x(.*) \\1\n",
    "m /^(U|.*)$ \\1\n",
    "m /^(.*)$ +team\n",
    "m /U$|^(U) all\n",
    "m /^(.*)$ /^a\n",
];

/// A login over the socket by `peer` with a map, for each role, as the server and [`Mappings::allows`] decide it.
#[test]
fn user_name_maps_allow_what_the_server_allows() {
    let client = std::process::Command::new("id").arg("-un").output().expect("id");
    let client = String::from_utf8(client.stdout).expect("a name").trim().to_owned();
    let first = &client[..1];
    let roles = [client.as_str(), first, "app", "x"];
    for major in MAJORS {
        let hba = "local all postgres trust\nlocal all all peer map=m\n".to_owned();
        let postgres = Postgres::start(&Options { hba, ..Options::new(major) });
        let session = postgres.session();
        session.query("CREATE ROLE team").expect("a role");
        for role in roles {
            session.query(&format!("CREATE ROLE \"{role}\" LOGIN")).expect("a role");
        }
        session.query("GRANT team TO app").expect("a membership");
        let mut environment = pg_hba::StaticEnvironment::default();
        environment.memberships.insert(("app".to_owned(), "team".to_owned()));
        let path = postgres.data().join("pg_ident.conf");
        let mut allowed = 0;
        for map in MAPS {
            let text = map.replace("USER", &client).replace('U', first);
            std::fs::write(&path, &text).expect("pg_ident.conf");
            postgres.reload(&session);
            let maps = Mappings::load(&path.display().to_string(), &text, &server(major), &mut FileSystem);
            for role in roles {
                let target = format!(
                    "host={} port={} user='{role}' dbname=postgres",
                    postgres.socket_folder().display(),
                    postgres.port()
                );
                let login = testkit::postgres::Session::open(&target);
                let ours = maps.allows("m", &client, role, &environment);
                assert_eq!(ours, login.is_ok(), "PostgreSQL {major}: {role}: {:?}\n{text}", login.err());
                allowed += usize::from(ours);
            }
        }
        assert!(allowed > 8, "{allowed}");
        let empty = Mappings::load("pg_ident.conf", "", &server(major), &mut FileSystem);
        assert!(!empty.allows("m", &client, "app", &EmptyEnvironment));
    }
}
