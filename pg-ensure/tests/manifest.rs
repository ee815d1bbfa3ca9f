//! Manifests: everything that can be said, and everything that can be wrong, with its file and line.

use pg_ensure::desired::{GrantTarget, Presence};
use pg_ensure::manifest::{Format, Manifest, Problems, write};
use pg_ensure::{DesiredState, Name, Object, Password, ValidUntil};
use secrecy::SecretString;

fn secrets(reference: &str) -> Result<SecretString, String> {
    match reference {
        "file:/good" => Ok("good".to_owned().into()),
        "md5hash" => Ok(format!("md5{}", "0a".repeat(16)).into()),
        "halfscram" => Ok("SCRAM-SHA-256$4096:x".to_owned().into()),
        "file:/nul" => Ok("a\0b".to_owned().into()),
        other => Err(format!("{other}: cannot be read: no such file")),
    }
}

fn read(text: &str, format: Format) -> Result<DesiredState, Problems> {
    Manifest::read("m", text, format)?.resolve(&mut secrets)
}

fn wrong(toml: &str) -> String {
    read(toml, Format::Toml).expect_err(toml).to_string()
}

#[test]
fn each_mistake_is_one_error_with_its_place() {
    let long = "x".repeat(64);
    for (toml, said) in [
        // Names.
        ("[[ensure]]\nname = \"\"", "m:2:8: a name is empty; write one of 1 to 63 bytes".to_owned()),
        (
            &*format!("[[ensure]]\nname = \"{long}\""),
            format!("m:2:8: the name \"{long}\" is 64 bytes long; PostgreSQL keeps at most 63, so shorten it"),
        ),
        ("[[role]]\nname = \"a\\u0000\"", "m:2:8: the name \"a\\0\" holds a NUL byte, which no PostgreSQL name can".into()),
        ("[[role]]\nname = \"pg_mine\"", "m:2:8: role \"pg_mine\": \"pg_mine\" is reserved by PostgreSQL: use another name".into()),
        ("[[role]]\nname = \"public\"", "m:2:8: role \"public\": \"public\" is reserved by PostgreSQL: use another name".into()),
        // Keys.
        ("[[ensure]]\nname = \"a\"\nownr = \"b\"", "m:3:1: unknown field `ownr`, expected one of `name`, `database`, `password`, `passwordFile`, `password_file`, `databases`, `extensions`, `connectionLimit`, `connection_limit`, `settings`, `reassignOwned`, `reassign_owned`".into()),
        ("ensures = 1", "m:1:1: unknown field `ensures`, expected one of `external`, `ensure`, `role`, `membership`, `database`, `grant`, `default_privileges`, `settings`".into()),
        ("[[role]]\nname = \"a\"\nlogin = \"yes\"", "m:3:9: invalid type: string \"yes\", expected a boolean".into()),
        // Twice.
        ("[[role]]\nname = \"a\"\n[[role]]\nname = \"a\"", "m:4:8: role \"a\" is declared twice, the first time in line 2: leave one of them out".into()),
        // The short form may add, and may not contradict.
        ("[[ensure]]\nname = \"a\"\n[[role]]\nname = \"a\"\nlogin = false", "m:2:8: role \"a\": login contradicts its declaration in line 4: keep one of them".into()),
        ("[[ensure]]\nname = \"a\"\n[[role]]\nname = \"b\"\n[[database]]\nname = \"a\"\nowner = \"b\"", "m:2:8: database \"a\": owner contradicts its declaration in line 6: keep one of them".into()),
        ("[[ensure]]\nname = \"a\"\nconnection_limit = 3\n[[role]]\nname = \"a\"\nconnection_limit = 4", "m:2:8: role \"a\": connection_limit contradicts its declaration in line 5: keep one of them".into()),
        ("[[ensure]]\nname = \"a\"\ndatabase = \"x\"\ndatabases = [\"y\"]", "m:2:8: database and databases exclude each other: keep one".into()),
        ("[[ensure]]\nname = \"a\"\npassword = \"md5hash\"", "m:3:12: the secret is an MD5 hash, which cannot be turned into a SCRAM verifier: store the password itself, or a SCRAM-SHA-256 verifier".into()),
        ("[[ensure]]\nname = \"a\"\npassword = \"halfscram\"", "m:3:12: the secret begins like a SCRAM verifier and is not valid: VERIFIER".into()),
        // Settings: one that is not to be absent says nothing; a part of a name that the server would cut.
        ("[settings]\nwork_mem = { absent = false }", "m:2:12: absent = false declares nothing: leave the setting out, or write absent = true".into()),
        ("[[role]]\nname = \"a\"\nsettings = { work_mem = { absent = false } }", "m:3:25: absent = false declares nothing: leave the setting out, or write absent = true".into()),
        ("[[ensure]]\nname = \"a\"\nsettings = { work_mem = \"1MB\" }\n[[database]]\nname = \"a\"\nsettings = { work_mem = \"2MB\" }", "m:3:14: setting work_mem is declared twice, the first time in line 6: leave one of them out".into()),
        (
            &*format!("[settings]\n\"app.{long}\" = 1"),
            format!("m:2:1: \"{long}\" in a parameter name is 64 bytes long; PostgreSQL keeps at most 63, so shorten it"),
        ),
        // All of a schema, for what is in schemas.
        ("[[role]]\nname = \"a\"\n[[grant]]\nto = \"a\"\non = \"schema\"\ndatabase = \"d\"\nname = \"*\"\nprivileges = [\"usage\"]", "m:7:8: * stands for all tables, sequences, routines or types of a schema: write a name".into()),
        ("[[role]]\nname = \"a\"\n[[grant]]\nto = \"a\"\non = \"column\"\ndatabase = \"d\"\nschema = \"s\"\ntable = \"t\"\nname = \"*\"\nprivileges = [\"select\"]", "m:9:8: * stands for all tables, sequences, routines or types of a schema: write a name".into()),
        // Circles of membership.
        (
            "[[role]]\nname = \"a\"\nmember_of = [\"b\"]\n[[role]]\nname = \"b\"\nmember_of = [\"c\"]\n[[role]]\nname = \"c\"\nmember_of = [\"a\"]",
            "m:3:14: membership of \"a\" in \"b\": the roles are members of each other in a circle: a → b → c → a".into(),
        ),
        // An owner that is not declared.
        ("[[database]]\nname = \"a\"\nowner = \"nobody\"", "m:3:9: database \"a\": the owner \"nobody\" is not declared: add a [[role]] for it, or list it under external".into()),
        ("[[role]]\nname = \"gone\"\nabsent = true\n[[database]]\nname = \"a\"\nowner = \"gone\"", "m:6:9: database \"a\": the owner \"gone\" is declared absent".into()),
        // Secrets.
        ("[[ensure]]\nname = \"a\"\npassword_file = \"/none\"", "m:3:17: file:/none: cannot be read: no such file".into()),
        ("[[ensure]]\nname = \"a\"\npassword_file = \"/nul\"", "m:3:17: role \"a\": the password holds a NUL byte".into()),
        ("[[ensure]]\nname = \"a\"\npassword = \"file:/good\"\npassword_file = \"/good\"", "m:2:8: password, password_file and no_password exclude each other; keep one".into()),
        // Values.
        ("[[role]]\nname = \"a\"\nvalid_until = \"soon\"", "m:3:15: \"soon\" is not a valid time: expected one such as \"2027-01-31T12:00:00Z\", \"2027-01-31\" (UTC) or \"infinity\"".into()),
        ("[[role]]\nname = \"a\"\nconnection_limit = -2", "m:3:20: role \"a\": the connection limit -2 is below -1: use -1 for no limit".into()),
        ("[[role]]\nname = \"a\"\n[role.settings]\n\"work mem\" = 1", "m:4:1: \"work mem\" is not a valid parameter name: expected one such as \"work_mem\" or \"app.tenant\"".into()),
        // Grants.
        ("[[grant]]\nto = \"public\"\non = \"database\"\nname = \"a\"\nprivileges = [\"connct\"]", "m:5:15: \"connct\" is not a PostgreSQL privilege: expected one such as \"select\" or \"usage\"".into()),
        ("[[grant]]\nto = \"public\"\non = \"database\"\nname = \"a\"\nprivileges = [\"select\"]", "m:4:8: grant number 1: SELECT is not a privilege of a database: expected one of CREATE, CONNECT, TEMPORARY".into()),
        ("[[grant]]\nto = \"public\"\non = \"table\"\nname = \"a\"\nprivileges = [\"select\"]", "m:3:6: a grant on this needs a database".into()),
        ("[[grant]]\nto = \"x\"\non = \"database\"\nname = \"a\"\nabsent = true", "m:2:6: grant number 1: the grantee \"x\" is not declared: add a [[role]] for it, or list it under external".into()),
        ("[[grant]]\nto = \"public\"\non = \"database\"\nname = \"a\"", "m:4:8: say the privileges, or absent = true to take everything away".into()),
    ] {
        let broken = pg_ensure::Verifier::parse("SCRAM-SHA-256$4096:x").expect_err("no verifier").to_string();
        assert_eq!(wrong(toml), said.replace("VERIFIER", &broken), "{toml}");
    }
}

#[test]
fn everything_wrong_is_found_at_once() {
    let found = wrong(
        "[[ensure]]\nname = \"\"\n[[ensure]]\nname = \"b\"\npassword_file = \"/none\"\n[[role]]\nname = \"\"",
    );
    assert_eq!(found.lines().count(), 3, "{found}");
}

#[test]
fn json_says_the_same_with_its_places() {
    let good = r#"{"ensure": [{"name": "a", "password_file": "/good", "database": null}],
        "role": [{"name": "b", "connection_limit": 3, "settings": {"work_mem": "1MB", "jit": false, "seq_page_cost": 1.5}}]}"#;
    let desired = read(good, Format::Json).expect("JSON");
    assert_eq!(desired.roles["b"].connection_limit, Some(3));
    assert_eq!(desired.settings.values().map(std::collections::BTreeMap::len).sum::<usize>(), 3);
    for (json, said) in [
        ("{\"role\": [\n{\"name\": \"a\",\n \"logn\": true}]}", "m:3:2: unknown field `logn`"),
        ("{\"role\": [\n{\"name\": \"\"}]}", "m:2:10: a name is empty"),
        ("{\"role\": [\n{\"name\": \"a\"]}", "m:2:13: expected a comma or }"),
        ("{\"role\": [],\n\"role\": []}", "m:2:1: duplicate key"),
        ("[]", "m:1:1: expected an object"),
        ("{} x", "m:1:4: unexpected text after the end"),
        ("{\"role\": 01}", "m:1:10: 01 is not a valid number"),
    ] {
        let found = read(json, Format::Json).expect_err(json).to_string();
        assert!(found.starts_with(said), "{json}: {found}");
    }
    let deep = format!("{{\"role\": {}", "[".repeat(100_000));
    assert!(read(&deep, Format::Json).is_err());
}

const EVERYTHING: &str = r#"
external = ["rds_superuser"]

[settings]
work_mem = "8MB"

[[ensure]]
name = "vaultwarden"
password_file = "/good"

[[ensure]]
name = "headscale"
database = "mesh"

[[role]]
name = "reader"
login = true
connection_limit = 5
valid_until = "2031-01-01"
no_password = true
member_of = ["team"]
comment = "reads"
settings = { search_path = ["s", "$user", "public"], jit = false, "app.tenant" = "x" }
settings_in = { mesh = { work_mem = { absent = true } } }

[[role]]
name = "team"

[[role]]
name = "old"
absent = true
reassign_to = "team"

[[membership]]
role = "team"
member = "vaultwarden"
admin = true
inherit = false
set = true

[[database]]
name = "shop"
owner = "reader"
encoding = "UTF8"
locale_provider = "icu"
locale = "de-DE"
icu_rules = "&a < b"
template = "template0"
tablespace = "pg_default"
connection_limit = 10
allow_connections = true
is_template = false
comment = ""
extensions = ["hstore"]
extension = [{ name = "pg_trgm", version = "1.6", schema = "s" }, { name = "old", absent = true }]
schema = [{ name = "s", owner = "reader", comment = "x" }, { name = "gone", absent = true }]
publication = [{ name = "feed", owner = "reader", tables = [{ schema = "s", name = "t.t" }], publish = ["insert", "delete"] },
    { name = "all", all_tables = true }, { name = "none", absent = true, tables = [] }]
event_trigger = [{ name = "audit", owner = "postgres", event = "ddl_command_end", function = { schema = "s", name = "f.g" },
    tags = ["create table", "DROP TABLE"], enabled = "always", comment = "x" }, { name = "none", absent = true }]
settings = { timezone = "UTC" }

[[grant]]
to = "reader"
on = "routine"
database = "shop"
schema = "s"
name = "f"
arguments = "integer,text"
privileges = ["execute"]

[[grant]]
to = "reader"
on = "table"
database = "shop"
schema = "s"
name = "*"
privileges = ["all"]
grantable = true

[[grant]]
to = "public"
on = "database"
name = "shop"
absent = true

[[grant]]
to = "reader"
on = "column"
database = "shop"
schema = "s"
table = "t"
name = "c"
privileges = ["select", "update"]

[[default_privileges]]
database = "shop"
creator = "reader"
schema = "s"
on = "tables"
to = "team"
privileges = ["select"]
existing = true
"#;

#[test]
fn everything_that_can_be_said_is_read_and_written_back() {
    let desired = read(EVERYTHING, Format::Toml).expect("a manifest");
    let name = |text: &str| Name::new(text).expect(text);
    assert_eq!(desired.roles.len(), 5);
    assert_eq!(desired.databases["mesh"].owner, Some(name("headscale")));
    assert_eq!(desired.roles["reader"].valid_until, Some(ValidUntil::At(1_924_992_000_000_000)));
    assert_eq!(desired.roles["reader"].password, Some(Password::None));
    assert_eq!(desired.roles["old"].presence, Presence::Absent);
    assert_eq!(desired.memberships.len(), 2);
    assert_eq!(desired.databases["shop"].inside.extensions.len(), 3);
    assert_eq!(desired.databases["shop"].inside.publications.len(), 3);
    let audit = &desired.databases["shop"].inside.event_triggers[&name("audit")];
    let tags: Vec<&str> = audit.tags.iter().flatten().map(pg_ensure::Text::as_str).collect();
    assert_eq!(tags, ["CREATE TABLE", "DROP TABLE"], "tags are in upper case, as the server stores them");
    let routine = format!("{}", desired.grants[0].on);
    assert_eq!(routine, "routine s.f(integer, text) in database shop");
    assert!(matches!(&desired.grants[2].on, GrantTarget::One(Object::Database(_))));
    assert_eq!(desired.grants.len(), 5, "existing = true is a grant on what is there");
    let mut without = desired;
    without.roles.get_mut("vaultwarden").expect("there").password = None;
    for format in [Format::Toml, Format::Json] {
        let text = write(&without, format).expect("it is written");
        let again = read(&text, format).unwrap_or_else(|why| panic!("{why}\n{text}"));
        assert_eq!(again, without, "{text}");
    }
}

#[test]
fn secrets_are_never_written_or_shown() {
    let desired = read(EVERYTHING, Format::Toml).expect("a manifest");
    assert!(write(&desired, Format::Toml).is_err());
    assert!(!format!("{desired:?}").contains("\"good\""));
}

/// The short form takes what an application needs, and merges with the long ones of the same names.
#[test]
fn the_short_form_goes_all_the_way() {
    let desired = read(
        r#"
[[ensure]]
name = "immich"
extensions = ["vector", "pg_trgm"]
connection_limit = 30
settings = { search_path = ["public", "vectors"] }
reassign_owned = true

[[ensure]]
name = "immich"
databases = ["jobs", "cache"]
extensions = ["pg_trgm"]

[[database]]
name = "immich"
comment = "photos"
extension = [{ name = "vector", version = "0.8" }]
settings = { search_path = ["public", "vectors"] }

[[role]]
name = "immich"
comment = "an application"
connection_limit = 30
"#,
        Format::Toml,
    )
    .expect("a manifest");
    let role = &desired.roles["immich"];
    assert_eq!((role.login, role.connection_limit), (Some(true), Some(30)));
    assert!(role.comment.is_some());
    let names: Vec<&str> = desired.databases.keys().map(Name::as_str).collect();
    assert_eq!(names, ["cache", "immich", "jobs"]);
    assert!(
        desired
            .databases
            .values()
            .all(|database| database.owner.as_ref().is_some_and(|owner| *owner == "immich"))
    );
    let database = &desired.databases["immich"];
    assert!(database.comment.is_some() && database.reassign_owned);
    assert_eq!(database.inside.extensions.len(), 2);
    assert_eq!(
        database.inside.extensions["vector"].version.as_ref().map(pg_ensure::Text::as_str),
        Some("0.8")
    );
    assert_eq!(desired.databases["jobs"].inside.extensions.len(), 1);
    assert_eq!(desired.settings.len(), 1);
    assert_eq!(desired.validate(), []);
}

/// Names of parameters as the server takes them: longer than an identifier, and with letters beyond ASCII.
#[test]
fn parameter_names_have_parts() {
    let part = "x".repeat(63);
    let name = format!("app.{part}.größe");
    let desired = read(&format!("[settings]\n\"{name}\" = 1"), Format::Toml).expect("a manifest");
    let settings = desired.settings.values().next().expect("settings");
    assert_eq!(settings.keys().next().map(|setting| setting.as_str().to_owned()), Some(name.clone()));
    assert_eq!(
        settings.keys().next().map(pg_ensure::Setting::sql),
        Some(format!("\"app\".\"{part}\".\"größe\""))
    );
    for wrong in ["", "1a", "a..b", "a-b.c", "a b"] {
        assert!(pg_ensure::Setting::new(wrong).is_err(), "{wrong:?}");
    }
}
