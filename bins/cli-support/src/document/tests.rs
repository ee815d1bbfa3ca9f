use super::*;
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct SampleDocument {
    #[serde(default)]
    port: u16,
    #[serde(default)]
    on: bool,
    kind: Option<Kind>,
    #[serde(default)]
    role: Vec<Role>,
    #[serde(default)]
    provider: std::collections::BTreeMap<String, Provider>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Trust,
    Peer,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct Role {
    name: String,
    #[serde(default)]
    login: bool,
    limit: Option<i32>,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
#[allow(dead_code)]
enum Provider {
    Cloudflare { token: Option<crate::secret::Reference>, email: Option<String> },
    Exec { program: String, limit: Option<u16> },
}

const WORDS: Words = Words {
    foreign: &[("server_name", "write hosts = [\"git.example.org\"]")],
    values: &[("scram-sha256", "scram-sha-256")],
    examples: &[("name", "name = \"forgejo\"")],
    secrets: &["token", "password"],
};

fn faults(text: &str) -> Vec<String> {
    let findings = read::<SampleDocument>("f", text, WORDS).expect_err("faults");
    findings.list().iter().map(ToString::to_string).collect()
}

#[test]
fn every_fault_is_named_at_its_place() {
    let text = "port = \"5\"\non = 1\nkind = \"per\"\nprot = 1\nserver_name = \"x\"\n\n[[role]]\nlogin = \"yes\"\nlimit = 99999999999\n\n[[role]]\nname = 5\nnmae = \"a\"\n";
    let expected = [
        "f:1:8: error[type]: port = \"5\": expected a whole number: write one from 0 to 65535, without quotes",
        "f:2:6: error[type]: on = 1: expected a boolean: write true or false",
        "f:3:8: error[value]: kind = \"per\": must be one of trust, peer; did you mean `peer`?",
        "f:4:1: error[unknown-key]: prot: unknown key: did you mean `port`?",
        "f:5:1: error[unknown-key]: server_name: unknown key: write hosts = [\"git.example.org\"]",
        "f:7:1: error[missing]: role[0].name: missing: write `name = \"forgejo\"`",
        "f:8:9: error[type]: role[0].login = \"yes\": expected a boolean: write true or false, without quotes",
        "f:9:9: error[value]: role[0].limit = 99999999999: expected a whole number: write one from -2147483648 to 2147483647",
        "f:12:8: error[type]: role[1].name = 5: expected a string: put it in quotes, name = \"5\"",
        "f:13:1: error[unknown-key]: role[1].nmae: unknown key: did you mean `name`?",
    ];
    assert_eq!(faults(text), expected);
}

#[test]
fn faults_inside_of_tagged_enums_are_found_and_secrets_are_not_repeated() {
    let text = "[provider.a]\nkind = \"cloudflare\"\ntoken = \"hunter2\"\nemial = \"x\"\n[provider.b]\nkind = \"exec\"\nprogram = 5\n[provider.c]\nkind = \"cloudflair\"\n[provider.d]\nkind = \"exec\"\n";
    let said = faults(text);
    assert!(
        said[0].starts_with(
            "f:3:9: error[value]: provider.a.token: not a reference to a secret: write file:/path"
        ),
        "{said:#?}"
    );
    assert!(
        said[1]
            .starts_with("f:4:1: error[unknown-key]: provider.a.emial: unknown key: did you mean `email`?"),
        "{said:#?}"
    );
    assert!(
        said[2].starts_with("f:7:11: error[type]: provider.b.program = 5: expected a string"),
        "{said:#?}"
    );
    assert!(
        said[3].starts_with(
            "f:9:8: error[value]: provider.c.kind = \"cloudflair\": must be one of cloudflare, exec; did"
        ),
        "{said:#?}"
    );
    assert!(said[4].starts_with("f:10:1: error[missing]: provider.d.program: missing"), "{said:#?}");
    assert!(!said.join("").contains("hunter2"));
}

#[test]
fn faults_of_the_syntax_are_all_named() {
    let said = faults("a = \nb = x\n");
    assert_eq!(said.len(), 2, "{said:#?}");
    assert!(
        said[0].starts_with("f:1:5: error[syntax]: not valid TOML") && said[1].starts_with("f:2:5: "),
        "{said:#?}"
    );
}

#[test]
fn wrong_brackets_are_told_apart() {
    assert!(faults("[role]\nname = \"a\"\n")[0].contains("write [[role]], in double brackets"));
    assert!(faults("[[provider]]\nkind = \"exec\"\n")[0].contains("write [provider], in single brackets"));
}

#[test]
fn keys_are_found_again() {
    let source = Source::parse("f", "[a]\nb = 1\n[[c]]\nd = \"x\"\n[[c]]\ntoken = \"y\"\n", WORDS).unwrap();
    let said = |key: &str| source.fault_at(key, "wrong: fix").to_string();
    assert_eq!(said("a.b"), "f:2:5: error[value]: a.b = 1: wrong: fix");
    assert_eq!(said("c[0].d"), "f:4:5: error[value]: c[0].d = \"x\": wrong: fix");
    assert_eq!(said("c[1].token"), "f:6:9: error[value]: c[1].token: wrong: fix");
    assert_eq!(said("c[1].e"), "f:5:1: error[value]: c[1].e: wrong: fix");
    assert_eq!(
        source.fault_at_position(4, 5, "wrong").to_string(),
        "f:4:5: error[value]: c[0].d = \"x\": wrong"
    );
    assert_eq!(source.path_of_text("c", "x").as_deref(), Some("c[0].d"));
}

/// The meaning of a sample: roles have different names, and a kind needs a port.
fn meaning(source: &Source<'_>, read: &SampleDocument) -> Result<(), Findings> {
    let mut found = Vec::new();
    for (at, role) in read.role.iter().enumerate() {
        if read.role[..at].iter().any(|other| other.name == role.name) {
            found.push(source.fault_at(&format!("role[{at}].name"), "there twice: write another"));
        }
        if role.limit == Some(0) {
            found.push(source.fault_at(&format!("role[{at}].limit"), "is 0: write -1"));
        }
    }
    if read.kind.is_some() && read.port == 0 {
        found.push(source.fault_at("kind", "needs a port: write port = 5432"));
    }
    for name in ["a", "b"].iter().filter(|name| !read.provider.contains_key(**name)) {
        found.push(source.fault_at("", format!("there is no provider `{name}`: add one")));
    }
    if found.is_empty() { Ok(()) } else { Err(Findings::new(found)) }
}

#[test]
fn faults_of_form_and_of_meaning_are_named_in_one_run() {
    let of = |text: &str| {
        let source = Source::parse("f", text, WORDS).expect("valid TOML");
        let read = source.interpret(&[], |source, read: SampleDocument| meaning(source, &read));
        read.err().map_or_else(Vec::new, |found| found.list().iter().map(ToString::to_string).collect())
    };
    // The first role has no name, so that it is set aside; positions and keys are those of the whole file.
    let text = "prot = 1\n[[role]]\nlogin = true\n[[role]]\nname = \"x\"\nlimit = 0\n[[role]]\nname = \"x\"\n[provider.a]\n\
                kind = \"exec\"\nprogram = 5\n";
    assert_eq!(
        of(text),
        [
            "f:1:1: error[value]: there is no provider `b`: add one",
            "f:1:1: error[unknown-key]: prot: unknown key: did you mean `port`?",
            "f:2:1: error[missing]: role[0].name: missing: write `name = \"forgejo\"`",
            "f:6:9: error[value]: role[1].limit = 0: is 0: write -1",
            "f:8:8: error[value]: role[2].name = \"x\": there twice: write another",
            "f:11:11: error[type]: provider.a.program = 5: expected a string: put it in quotes, program = \"5\"",
        ]
    );
    // What follows from a fault is not named: the port is there, and wrong.
    let said = of(
        "kind = \"peer\"\nport = \"5\"\n[provider.a]\nkind = \"exec\"\nprogram = \"x\"\n[provider.b]\nkind = \"exec\"\nprogram = \"x\"\n",
    );
    assert_eq!(said.len(), 1, "{said:#?}");
    assert_eq!(
        of("[provider.a]\nkind = \"exec\"\nprogram = \"x\"\n[provider.b]\nkind = \"cloudflare\"\n"),
        [""; 0]
    );
}
