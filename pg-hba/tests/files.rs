//! Lines whose meaning surprises, and what is said about each.

use pg_hba::*;

fn rules(text: &str) -> Vec<Rule> {
    Document::parse(text, &Server::new(Version::V18)).rules().expect(text)
}

fn refused(text: &str, version: Version) -> String {
    Document::parse(text, &Server::new(version)).rules().expect_err(text).to_string()
}

#[test]
fn a_refusal_says_where_why_and_what_to_do() {
    let error = refused("# x\nlocal  a ,b c trust\n", Version::V18);
    assert_eq!(
        error,
        "line 2, column 13: invalid authentication method \"c\"; write a method such as scram-sha-256, peer or reject; \
         a blank before a comma ends a field, so look at the commas of this line too"
    );
    let error = refused("local all all \\\n  oauth issuer=i scope=s\n", Version::V17);
    assert!(
        error.starts_with("line 2, column 3:") && error.ends_with("it is allowed from PostgreSQL 18"),
        "{error}"
    );
    assert!(
        refused("host all all 10.0.0.0/8\n", Version::V18)
            .contains("end-of-line before authentication method")
    );
    assert!(refused("hostssl all all all trust clientcert=1\n", Version::V18).contains("verify-ca"));
    assert!(refused("include x\n", Version::V15).contains("allowed from PostgreSQL 16"));
    assert!(refused("# nothing\n", Version::V18).contains("no entries"));
}

/// Found by fuzzing: patterns whose combinations are beyond counting are given up on, soon.
#[test]
fn what_is_too_complex_is_undecided() {
    let dots = ".".repeat(25);
    let rules = rules(&format!("local \"/a{dots}b\",\"/c{dots}d|{dots}*e\" \"/f{dots}g\" peer\n"));
    let begun = std::time::Instant::now();
    assert_eq!(shadowed_rules(&rules), Err(Undecidable::TooComplex));
    assert!(begun.elapsed().as_secs() < 60, "{:?}", begun.elapsed());
}

#[test]
fn versions_differ() {
    let under =
        |version| Document::parse("local /^a all trust\n", &Server::new(version)).rules().expect("rules");
    let Diff::Different(example) = diff(&under(Version::V15), &under(Version::V16)) else {
        panic!("they differ")
    };
    assert_ne!(example.old_outcome(), example.new_outcome());
    let thirteen = Document::parse("local all all trust # \\\nlocal a all md5\n", &Server::new(Version::V13));
    assert_eq!(thirteen.rules().expect("rules").len(), 2);
}

#[test]
fn shadowing_is_exact() {
    let halves = rules(
        "host all all 10.0.0.0/9 trust\nhost all all 10.128.0.0/9 md5\nhost all all 10.0.0.0/8 reject\nlocal all all peer\n",
    );
    assert_eq!(shadowed_rules(&halves), Ok(vec![ShadowedRule { rule: 2, by: vec![0, 1] }]));
    let encryption =
        rules("hostssl all all all trust\nhostnossl all all all md5\nhost all a 10.0.0.0/8 reject\n");
    assert_eq!(shadowed_rules(&encryption).expect("decided").len(), 1);
    let patterns =
        rules("local \"/^[a-m]\" all trust\nlocal \"/^[^a-m]\" all md5\nlocal \"/x$\" all reject\n");
    assert_eq!(shadowed_rules(&patterns), Ok(vec![ShadowedRule { rule: 2, by: vec![0, 1] }]));
    assert_eq!(
        shadowed_rules(&rules("local sameuser all trust\nlocal a a md5\nlocal a b md5\n"))
            .expect("decided")
            .len(),
        1
    );
    assert_eq!(
        shadowed_rules(&rules("local all +g trust\nlocal all g md5\nlocal all h md5\n"))
            .expect("decided")
            .len(),
        1
    );
}

#[test]
fn a_policy_renders_the_guards_first() {
    let text = render(&Policy::new().service("app", "app").privileged("backup").compile(), Version::V18)
        .expect("text");
    let lines: Vec<String> =
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(lines[0], MANAGED);
    assert_eq!(
        &lines[1..],
        [
            "local all postgres peer",
            "local replication postgres peer",
            "local app app trust",
            "host app app 127.0.0.1/32 trust",
            "host app app ::1/128 trust",
            "host all postgres,backup 100.64.0.0/10 reject",
            "host all all 100.64.0.0/10 trust",
            "local all all reject",
            "host all all all scram-sha-256",
        ]
    );
}

#[test]
fn maps_allow_what_they_say() {
    let text = "m /^(.*)@example\\.com$ \\1\nm root postgres\nm /^adm_ +staff\n";
    let maps = Mappings::load("pg_ident.conf", text, &Server::new(Version::V18), &mut NoIncludes);
    assert!(maps.allows("m", "bob@example.com", "bob", &EmptyEnvironment));
    assert!(!maps.allows("m", "bob@example.com", "eve", &EmptyEnvironment));
    assert!(
        maps.allows("m", "root", "postgres", &EmptyEnvironment)
            && !maps.allows("n", "root", "postgres", &EmptyEnvironment)
    );
    assert!(
        !maps.allows("m", "adm_x", "bob", &EmptyEnvironment)
            && maps.allows("m", "adm_x", "staff", &EmptyEnvironment)
    );
    let bad = Mappings::load("pg_ident.conf", "m a,b c\nm a\n", &Server::new(Version::V18), &mut NoIncludes);
    assert!(bad.lines.iter().all(Result::is_err));
}

#[test]
fn includes_come_through_the_callback() {
    struct Files;
    impl Include for Files {
        fn read(&mut self, path: &str) -> Result<String, IncludeError> {
            match path {
                "/etc/pg/names" => Ok("a, b\n".to_owned()),
                "/etc/pg/more.conf" => Ok("local @names all peer\n".to_owned()),
                _ => Err(IncludeError::Missing),
            }
        }
        fn list(&mut self, _: &str) -> Result<Vec<String>, IncludeError> {
            Err(IncludeError::Missing)
        }
    }
    let text = "include more.conf\ninclude_if_exists nothing\nlocal all all reject\n";
    let document = Document::load("/etc/pg/pg_hba.conf", text, &Server::new(Version::V18), &mut Files);
    let rules = document.rules().expect("rules");
    assert_eq!(rules[0].databases.len(), 2);
    assert_eq!(rules[0].origin, Origin { file: Some("/etc/pg/more.conf".to_owned()), line: 1 });
}

#[cfg(feature = "serde")]
#[test]
fn a_policy_as_written() {
    let spec: PolicySpec =
        serde_json::from_str(r#"{"services": [{"database": "a", "role": "a"}], "local": "peer"}"#)
            .expect("a policy");
    assert_eq!(Policy::try_from(spec), Ok(Policy::new().service("a", "a").local(Local::Peer)));
    assert!(serde_json::from_str::<PolicySpec>(r#"{"servces": []}"#).is_err());
    let spec = PolicySpec { before: vec!["nonsense".to_owned()], ..PolicySpec::default() };
    assert!(matches!(Policy::try_from(spec), Err(PolicyError::Rule { position: 1, .. })));
}

/// A version that is not supported is shown as its server shows it.
#[test]
#[cfg(feature = "install")]
fn versions_are_shown_as_servers_show_them() {
    for (number, shown) in [
        (120_005, "PostgreSQL 12.5 is not supported: expected 13 to 19"),
        (90_624, "PostgreSQL 9.6.24 is not supported: expected 13 to 19"),
        (200_000, "PostgreSQL 20.0 is not supported: expected 13 to 19"),
        (0, "PostgreSQL of an unknown version is not supported: expected 13 to 19"),
    ] {
        assert_eq!(install::InstallError::Version(number).to_string(), shown);
    }
}
