//! Realistic mistakes: each is answered with its file, line, value and fix.

use testkit::mistakes::{Mistake, check, file, together, usage};

const MISTAKES: [Mistake; 32] = [
    file(2, "[[ensure]]\nname = 5\n", "ensure[0].name = 5", "quotes"),
    file(1, "[[ensure]]\npassword_file = \"/x\"\n", "ensure[0].name", "name = \"forgejo\""),
    file(1, "[ensure]\nname = \"forgejo\"\n", "ensure", "[[ensure]]"),
    file(
        3,
        "[[ensure]]\nname = \"forgejo\"\npasword_file = \"/x\"\n",
        "pasword_file",
        "did you mean `password_file`?",
    ),
    file(3, "[[ensure]]\nname = \"forgejo\"\npassword = \"hunter2\"\n", "ensure[0].password", "file:/path"),
    file(
        3,
        "[[ensure]]\nname = \"forgejo\"\npassword_file = \"secrets/forgejo\"\n",
        "secrets/forgejo",
        "begin it with /",
    ),
    file(
        3,
        "[[ensure]]\nname = \"forgejo\"\npassword_file = \"/nonexistent/forgejo\"\n",
        "/nonexistent/forgejo",
        "write the secret to this file",
    ),
    file(3, "[[ensure]]\nname = \"forgejo\"\nconnection_limit = \"5\"\n", "\"5\"", "without quotes"),
    file(
        3,
        "[[ensure]]\nname = \"forgejo\"\nextensions = \"pg_trgm\"\n",
        "pg_trgm",
        "extensions = [\"pg_trgm\"]",
    ),
    file(3, "[[ensure]]\nname = \"forgejo\"\nuser = \"x\"\n", "user", "[[role]]"),
    file(3, "[[ensure]]\nname = \"forgejo\"\ndb = \"x\"\n", "db", "write database"),
    file(3, "[[ensure]]\nname = \"forgejo\"\nreassign_owned = \"yes\"\n", "\"yes\"", "true or false"),
    file(1, "ensureDatabases = [\"a\"]\n", "ensureDatabases", "[[ensure]]"),
    file(1, "ensureUsers = [\"a\"]\n", "ensureUsers", "[[ensure]]"),
    file(3, "[[role]]\nname = \"a\"\nlogin = \"yes\"\n", "\"yes\"", "without quotes"),
    file(3, "[[role]]\nname = \"a\"\ncan_login = true\n", "can_login", "write login"),
    file(3, "[[role]]\nname = \"a\"\nvalid_until = \"tomorrow\"\n", "tomorrow", "2027-01-31"),
    file(3, "[[role]]\nname = \"a\"\ncreatdb = true\n", "creatdb", "did you mean `createdb`?"),
    file(3, "[[database]]\nname = \"a\"\nowner = \"nobody\"\n", "nobody", "add a [[role]]"),
    file(3, "[[database]]\nname = \"a\"\nlocale_provider = \"ic\"\n", "ic", "icu"),
    file(3, "[[grant]]\nto = \"a\"\non = \"tabel\"\nname = \"x\"\n", "tabel", "did you mean `table`?"),
    file(1, "[[grant]]\nto = \"a\"\nname = \"x\"\n", "grant[0].on", "on = \"table\""),
    file(
        5,
        "[[role]]\nname = \"a\"\n[[grant]]\nto = \"a\"\nprivileges = [\"SELEKT\"]\non = \"database\"\nname = \"x\"\n",
        "SELEKT",
        "expected one such as",
    ),
    file(
        4,
        "[[role]]\nname = \"a\"\n[[role]]\nname = \"a\"\n",
        "declared twice, the first time in line 2",
        "leave one of them out",
    ),
    file(1, "[[ensuer]]\nname = \"a\"\n", "ensuer", "did you mean `ensure`?"),
    file(2, "[[ensure]]\nname = forgejo\n", "not valid TOML", "in quotes"),
    file(3, "[[ensure]]\nname = \"forgejo\"\nname = \"x\"\n", "not valid TOML", "keep one of them"),
    file(
        3,
        "[[role]]\nname = \"a\"\nsettings = { search_path = 1979-05-27 }\n",
        "search_path",
        "list of texts",
    ),
    file(2, "[[membership]]\nrole = 1\nmember = \"a\"\n", "membership[0].role", "quotes"),
    usage(&["check", "--ofline", "x"], "--ofline", "--offline"),
    usage(&["aply"], "aply", "apply"),
    usage(&["plan", "x", "--destroy", "forgejo"], "forgejo", "role=NAME"),
];

#[test]
fn every_mistake_is_named_with_its_place_value_and_fix() {
    check(env!("CARGO_BIN_EXE_pg-ensure"), "manifest.toml", &["check", "FILE", "--offline"], &MISTAKES);
}

#[test]
fn mistakes_of_form_and_of_meaning_are_named_together() {
    let text = "[[ensure]]\nname = \"a\"\npasword_file = \"/x\"\n\n[[role]]\nname = \"b\"\nlogin = \"yes\"\n\n\
                [[database]]\nname = \"c\"\nowner = \"nobody\"\n\n\
                [[role]]\nname = \"d\"\npassword_file = \"/nonexistent/d\"\n";
    let wanted = [
        (3, "ensure[0].pasword_file"),
        (7, "role[0].login"),
        (11, "database[0].owner"),
        (15, "role[1].password_file"),
    ];
    let args = ["check", "FILE", "--offline"];
    assert_eq!(
        together(env!("CARGO_BIN_EXE_pg-ensure"), "manifest.toml", &args, text, &wanted),
        wanted.len()
    );
    // The same in JSON, as NixOS writes it.
    let text = "{\"ensure\": [\n {\"name\": \"a\",\n  \"pasword_file\": \"/x\"}],\n \"role\": [\n {\"name\": \"b\",\n\n  \"login\": \"yes\"},\n \
                {\"name\": \"d\",\n  \"password_file\": \"/nonexistent/d\"}],\n \"database\": [{\"name\": \"c\",\n  \"owner\": \"nobody\"}]}\n";
    let wanted = [
        (3, "ensure[0].pasword_file"),
        (7, "role[0].login"),
        (9, "role[1].password_file"),
        (11, "database[0].owner"),
    ];
    let found = together(env!("CARGO_BIN_EXE_pg-ensure"), "manifest.json", &args, text, &wanted);
    assert_eq!(found, wanted.len());
}

/// Whatever happens, programs read one document.
#[test]
fn each_answer_is_one_document() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("good.toml"), "[[ensure]]\nname = \"a\"\n").expect("a file");
    let answer = |code: i32, args: &[&str]| {
        testkit::document(env!("CARGO_BIN_EXE_pg-ensure"), folder.path(), args, code)
    };
    answer(0, &["check", "good.toml", "--offline"]);
    for command in ["plan", "apply", "check"] {
        answer(1, &[command, "good.toml", "--connect", "host=FOLDER user=a", "--timeout", "0"]);
        answer(2, &[command, "nowhere.toml"]);
        answer(2, &[command, "good.toml", "--connect", "hots=FOLDER"]);
    }
    answer(1, &["generate", "--connect", "host=FOLDER user=a", "--timeout", "0"]);
    answer(1, &["wait", "--connect", "host=FOLDER user=a", "--timeout", "0"]);
    answer(2, &["apply", "--plan", "nowhere.json"]);
    answer(2, &["aply"]);
}
