//! The table of attacks and the tests agree.

use std::collections::BTreeSet;
use std::path::Path;

/// The names of all tests under this folder that begin with the number of an attack.
fn tests(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tests(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            found.extend(text.lines().filter_map(|line| {
                let line = line.trim_start();
                let name =
                    line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ")?.split('(').next()?;
                let number = name.split('_').next()?;
                let (kind, digits) = number.split_at_checked(1)?;
                let numbered = matches!(kind, "s" | "d") && !digits.is_empty();
                (numbered && digits.bytes().all(|b| b.is_ascii_digit())).then(|| name.to_owned())
            }));
        }
    }
}

/// The mark of tests of the program, which is not part of this crate.
const OF_PROGRAM: &str = "edge-proxyd: ";

#[test]
fn the_table_names_every_test_and_no_other() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut there = BTreeSet::new();
    // Its folder is there in the workspace, and not in a package of this crate.
    let program = root.join("../bins/edge-proxyd");
    for folder in ["src", "tests"].map(|folder| program.join(folder)).iter().filter(|folder| folder.is_dir())
    {
        tests(folder, &mut there);
    }
    for folder in ["tests", "src", "policy/tests", "policy/src", "http/tests", "http/src"] {
        tests(&root.join(folder), &mut there);
    }
    let table = std::fs::read_to_string(root.join("ATTACKS.md")).unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| S") || line.starts_with("| D"));
    let mut named = BTreeSet::new();
    for row in rows {
        let tests = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        let names: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "no test: {row}");
        if tests.starts_with(OF_PROGRAM) && !program.is_dir() {
            continue;
        }
        named.extend(names.into_iter().map(str::to_owned));
    }
    assert!(there.len() > 60, "{there:?}");
    assert_eq!(named.difference(&there).collect::<Vec<_>>(), Vec::<&String>::new(), "no such test");
    assert_eq!(there.difference(&named).collect::<Vec<_>>(), Vec::<&String>::new(), "not in the table");
}
