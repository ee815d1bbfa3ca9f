//! For random manifests and random drift, `plan --sql` prints what the log of the server shows of `apply`, statement by statement, and
//! the second plan is empty.

use crate::{connect, text, write};
use std::fmt::Write as _;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};
use testkit::postgres::{MAJORS, Options, Postgres};

/// The environment variable with the seed of a run that is to be repeated.
const SEED: &str = "PLANNED_SEED";
const ROUNDS: u32 = 12;
const ROLES: [&str; 3] = ["a", "b c", "f'g"];
const DATABASES: [&str; 2] = ["x", "y z"];
/// What each database has beside the manifest: objects to grant on and to publish, and functions of event triggers.
const OBJECTS: &str = "CREATE SCHEMA s; CREATE TABLE s.t (k int PRIMARY KEY, v text); CREATE TABLE s.u (k int PRIMARY KEY); \
    CREATE SEQUENCE s.n; CREATE TABLE public.w (k int PRIMARY KEY); \
    CREATE FUNCTION public.f() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; \
    CREATE FUNCTION public.g() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'";

/// What somebody does by hand, in one of the databases. Not everything that it names is always there.
const DRIFT: [&str; 17] = [
    "GRANT INSERT, DELETE ON s.t TO a WITH GRANT OPTION",
    "REVOKE ALL ON s.t FROM a, \"b c\"",
    "GRANT SELECT (v) ON s.t TO \"f'g\"",
    "GRANT ALL ON ALL TABLES IN SCHEMA s TO \"b c\"",
    "ALTER DEFAULT PRIVILEGES FOR ROLE a IN SCHEMA s GRANT ALL ON TABLES TO \"b c\"",
    "ALTER DEFAULT PRIVILEGES FOR ROLE a REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC",
    "ALTER PUBLICATION p DROP TABLE s.t",
    "ALTER PUBLICATION p SET (publish = 'insert')",
    "DROP PUBLICATION p",
    "ALTER ROLE a SET work_mem = '9MB'",
    "ALTER ROLE \"b c\" IN DATABASE x SET search_path = s, public",
    "ALTER DATABASE \"y z\" SET statement_timeout = '7s'",
    "DROP EVENT TRIGGER e",
    "ALTER EVENT TRIGGER e ENABLE REPLICA",
    "COMMENT ON EVENT TRIGGER e IS 'by hand'",
    "ALTER SCHEMA s OWNER TO a",
    "CREATE TABLE public.of_b (k int); ALTER TABLE public.of_b OWNER TO \"b c\"",
];

/// Numbers that follow from a seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % u64::try_from(sides).expect("small")).expect("small")
    }

    fn half(&mut self) -> bool {
        self.roll(2) == 0
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.roll(from.len())]
    }

    /// A list of some of these, at least one, in TOML.
    fn some(&mut self, from: &[&str]) -> String {
        let first = self.roll(from.len());
        let rest: Vec<bool> = from.iter().map(|_| self.half()).collect();
        let taken = from.iter().enumerate().filter(|(at, _)| *at == first || rest[*at]);
        format!("[{}]", taken.map(|(_, one)| format!("\"{one}\"")).collect::<Vec<_>>().join(", "))
    }
}

/// The manifest of a round. `owned` is `true` once the databases may have owners that objects can be taken from, which
/// the role that made the cluster is not.
fn manifest(dice: &mut Dice, round: u32, owned: bool) -> String {
    let mut out = String::new();
    for role in ROLES {
        let _ = writeln!(out, "[[role]]\nname = \"{role}\"");
        for key in ["login", "createdb", "inherit"] {
            if dice.half() {
                let _ = writeln!(out, "{key} = {}", dice.half());
            }
        }
        if dice.half() {
            let _ =
                writeln!(out, "connection_limit = {}\ncomment = \"number {}\"", dice.roll(5), dice.roll(3));
        }
        if dice.half() {
            let _ = writeln!(
                out,
                "settings = {{ work_mem = \"{}MB\", jit = {} }}",
                1 + dice.roll(3),
                dice.half()
            );
        }
        if dice.half() {
            let _ = writeln!(out, "settings_in = {{ x = {{ search_path = [\"s\", \"public\"] }} }}");
        }
    }
    for database in DATABASES {
        let _ = writeln!(out, "[[database]]\nname = \"{database}\"");
        if dice.half() {
            let _ = writeln!(out, "owner = \"{}\"", dice.pick(&ROLES));
        }
        if owned && dice.half() {
            let _ = writeln!(out, "reassign_owned = true");
        }
        if dice.half() {
            let _ = writeln!(out, "settings = {{ statement_timeout = \"{}s\" }}", dice.roll(9));
        }
        if dice.half() {
            let _ = writeln!(out, "[[database.schema]]\nname = \"s\"\nowner = \"{}\"", dice.pick(&ROLES));
        }
        if dice.half() {
            let tables = ["{ schema = \"s\", name = \"t\" }", "{ schema = \"public\", name = \"w\" }"];
            let tables = if dice.half() { tables.join(", ") } else { tables[dice.roll(2)].to_owned() };
            let operations = dice.some(&["insert", "update", "delete", "truncate"]);
            let _ = writeln!(
                out,
                "[[database.publication]]\nname = \"p\"\ntables = [{tables}]\npublish = {operations}"
            );
        }
        if dice.half() {
            event_trigger(dice, &mut out);
        }
    }
    if dice.half() {
        // A database that is new in each round, so that the script runs.
        let rows = ["VALUES (1)", "SELECT 2 -- the end", "VALUES (3), (4);"][dice.roll(3)];
        let script = format!("CREATE TABLE made (k int);\\nINSERT INTO made\\n\\t{rows}");
        let _ = writeln!(out, "[[database]]\nname = \"n {round}\"\ninitial_sql = \"{script}\"");
    }
    for database in DATABASES {
        for role in ROLES {
            grants(dice, &mut out, database, role);
        }
    }
    out
}

/// Adds an event trigger to the database that comes before it.
fn event_trigger(dice: &mut Dice, out: &mut String) {
    let (event, tags) = [
        ("ddl_command_start", "[\"CREATE TABLE\"]"),
        ("ddl_command_end", "[\"ALTER TABLE\", \"CREATE INDEX\"]"),
        ("sql_drop", "[\"DROP TABLE\"]"),
    ][dice.roll(3)];
    let function = dice.pick(&["f", "g"]);
    let _ = writeln!(
        out,
        "[[database.event_trigger]]\nname = \"e\"\nevent = \"{event}\"\n\
         function = {{ schema = \"public\", name = \"{function}\" }}"
    );
    if dice.half() {
        let _ = writeln!(out, "tags = {tags}");
    }
    if dice.half() {
        let _ = writeln!(out, "enabled = \"{}\"", dice.pick(&["origin", "replica", "always", "disabled"]));
    }
    if dice.half() {
        let _ = writeln!(out, "comment = \"trigger {}\"", dice.roll(3));
    }
}

/// Adds privileges of a role in a database: on tables, columns, sequences, and what will be made.
fn grants(dice: &mut Dice, out: &mut String, database: &str, role: &str) {
    let to = format!("to = \"{role}\"\ndatabase = \"{database}\"\nschema = \"s\"");
    if dice.half() {
        let privileges = dice.some(&["SELECT", "INSERT", "UPDATE", "TRIGGER"]);
        let (table, grantable) = (dice.pick(&["t", "u"]), dice.half());
        let _ = writeln!(
            out,
            "[[grant]]\n{to}\non = \"table\"\nname = \"{table}\"\nprivileges = {privileges}\ngrantable = {grantable}"
        );
    }
    if dice.half() {
        let _ = writeln!(
            out,
            "[[grant]]\n{to}\non = \"column\"\ntable = \"t\"\nname = \"v\"\nprivileges = {}",
            dice.some(&["SELECT", "UPDATE"])
        );
    }
    if dice.half() {
        let _ = writeln!(
            out,
            "[[grant]]\n{to}\non = \"sequence\"\nname = \"*\"\nprivileges = {}",
            dice.some(&["USAGE", "SELECT"])
        );
    }
    if dice.half() {
        let schema = if dice.half() { "schema = \"s\"\n" } else { "" };
        let _ = writeln!(
            out,
            "[[default_privileges]]\ndatabase = \"{database}\"\n{schema}creator = \"a\"\non = \"tables\"\nto = \"{role}\"\n\
             privileges = {}",
            dice.some(&["SELECT", "INSERT", "UPDATE"])
        );
    }
}

/// Returns the statements of a script, without its comments. A statement may have several lines.
fn scripted(script: &str) -> Vec<String> {
    let (mut statements, mut open) = (Vec::new(), String::new());
    for line in script.lines().filter(|line| !line.starts_with("-- ")) {
        match line.split_once(";  -- ") {
            Some((end, _)) => statements.push(std::mem::take(&mut open) + end),
            None => open = open + line + "\n",
        }
    }
    assert_eq!(open, "", "{script}");
    statements
}

/// Returns the statements of a log that change something. The further lines of a statement begin with a tab there.
fn logged(log: &str) -> Vec<String> {
    let words = [
        "ALTER",
        "COMMENT",
        "CREATE",
        "DROP",
        "GRANT",
        "REASSIGN",
        "REVOKE",
        "SET LOCAL search_path TO DEFAULT",
    ];
    let mut statements: Vec<String> = Vec::new();
    let mut open = false;
    for line in log.lines() {
        match (line.split_once("LOG:  statement: "), line.strip_prefix('\t'), statements.last_mut()) {
            (Some((_, sql)), ..) => {
                statements.push(sql.to_owned());
                open = true;
            }
            (None, Some(further), Some(last)) if open => *last = format!("{last}\n{further}"),
            _ => open = false,
        }
    }
    // As another role where only that one can.
    let own = statements.into_iter().map(|sql| {
        let rest = sql.strip_prefix("SET LOCAL ROLE ").and_then(|rest| rest.split_once("; "));
        rest.and_then(|(_, rest)| rest.strip_suffix("; RESET ROLE")).map_or(sql.clone(), str::to_owned)
    });
    own.filter(|sql| words.iter().any(|word| sql.starts_with(word))).collect()
}

#[test]
fn what_plan_prints_is_what_the_log_shows() {
    let seed = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        u64::from(since.subsec_nanos()) ^ since.as_secs()
    });
    println!("{SEED}={seed}");
    let mut all = std::collections::BTreeMap::new();
    for major in MAJORS {
        let postgres = Postgres::start(&Options::new(major));
        let session = postgres.session();
        for database in DATABASES {
            session.query(&format!("CREATE DATABASE \"{database}\"")).expect("a database");
            postgres.session_in(database).query(OBJECTS).expect("objects");
        }
        session.query("ALTER SYSTEM SET log_statement = 'all'").expect("a setting");
        postgres.reload(&session);
        let folder = tempfile::tempdir().expect("a folder");
        let to = connect(&postgres);
        let mut dice = Dice(seed.wrapping_add(u64::from(major)));
        let mut compared = 0;
        // How often each of what a plan seldom has was in one.
        let mut seldom = ["EVENT TRIGGER", "REASSIGN OWNED", "CREATE TABLE made"].map(|word| (word, 0));
        for round in 0..ROUNDS {
            let file = write(folder.path(), "m.toml", &manifest(&mut dice, round, round > 0));
            for _ in 0..2 {
                let (sql, database) = (dice.pick(&DRIFT), dice.pick(&DATABASES));
                let _ = postgres.session_in(database).query(sql);
            }
            let at = format!("{SEED}={seed}, PostgreSQL {major}, round {round}");
            let output = Command::new(env!("CARGO_BIN_EXE_pg-ensure"))
                .args(["plan", &file, "--connect", &to, "--sql"])
                .output()
                .expect("the program runs");
            assert!(matches!(output.status.code(), Some(0 | 3)), "{at}: {}", text(&output));
            let planned = scripted(&String::from_utf8_lossy(&output.stdout));
            let before = postgres.log().len();
            let output = Command::new(env!("CARGO_BIN_EXE_pg-ensure"))
                .args(["apply", &file, "--connect", &to])
                .output()
                .expect("the program runs");
            // What a plan has blocked, such as objects that cannot be reassigned, is left.
            let log = postgres.log()[before..].to_owned();
            let left = text(&output).contains("blocked: ");
            assert_eq!(output.status.code(), Some(i32::from(left)), "{at}: {}", text(&output));
            if round == 0 {
                // Each role has a table in each database, so that an owner leaves something behind.
                for (database, role) in DATABASES.iter().flat_map(|one| ROLES.map(|role| (*one, role))) {
                    let sql = format!(
                        "CREATE TABLE \"of {role}\" (); ALTER TABLE \"of {role}\" OWNER TO \"{role}\""
                    );
                    postgres.session_in(database).query(&sql).expect("a table");
                }
            }
            assert_eq!(logged(&log), planned, "{at}\n{}", std::fs::read_to_string(&file).expect("a file"));
            let run = |command: &[&str]| {
                let output = Command::new(env!("CARGO_BIN_EXE_pg-ensure"))
                    .args(command)
                    .args([&file, "--connect", &to])
                    .output()
                    .expect("the program runs");
                assert!(matches!(output.status.code(), Some(0 | 1 | 3)), "{at}: {}", text(&output));
                output
            };
            // The run may have removed what blocked a change, such as an event trigger of the former owner of a database,
            // which it created anew. The next run makes that change.
            if left {
                run(&["apply"]);
            }
            let again = run(&["plan", "--sql"]);
            assert!(matches!(again.status.code(), Some(0 | 3)), "{at}: {}", text(&again));
            assert_eq!(String::from_utf8_lossy(&again.stdout), "", "{at}: after {planned:#?}");
            compared += planned.len();
            for (word, count) in &mut seldom {
                *count += planned.iter().filter(|sql| sql.contains(*word)).count();
            }
        }
        println!("PostgreSQL {major}: {compared} statements, {seldom:?}");
        for (word, count) in seldom {
            *all.entry(word).or_insert(0) += count;
        }
        assert!(compared > 60, "{SEED}={seed}: {compared}");
    }
    assert!(all.values().all(|count| *count > 0), "{SEED}={seed}: {all:?}");
}
