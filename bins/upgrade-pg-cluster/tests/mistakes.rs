//! Realistic mistakes: each is answered with its file, line, value and fix.

use testkit::mistakes::{Mistake, check, usage};

const MISTAKES: [Mistake; 28] = [
    usage(&["plan"], "--from", "--from 17 --to 18"),
    usage(&["pln"], "pln", "plan"),
    usage(&["plan", "--from", "seventeen", "--to", "18"], "seventeen", "from 13 to 19"),
    usage(&["plan", "--from", "17", "--to", "17.2"], "17.2", "from 13 to 19"),
    usage(&["plan", "--from", "17", "--too", "18"], "--too", "--to"),
    usage(&["plan", "--form", "17"], "--form", "--from"),
    usage(&["plan", "--from"], "--from", "MAJOR"),
    usage(&["plan", "--mode", "hardlink"], "hardlink", "copy, clone, copy-file-range, link or swap"),
    usage(&["plan", "--jobs", "0"], "0", "from 1 to"),
    usage(&["plan", "--jobs", "many"], "many", "write digits only"),
    usage(&["rehearse", "--runs", "0"], "0", "from 1 to"),
    usage(&["plan", "--amcheck", "ful"], "ful", "did you mean `full`?"),
    usage(&["plan", "--amcheck", "yes"], "yes", "sample"),
    usage(&["plan", "--until", "sttart"], "sttart", "discover, preflight"),
    usage(&["plan", "--backup", "/a", "--backup-dump", "/b"], "--backup", "leave one of them out"),
    usage(&["plan", "--backup-dump", "/a", "--backup-exists", "zfs"], "--backup", "leave one of them out"),
    usage(&["plan", "--service", "postgresql", "--stop"], "--", "leave one of them out"),
    usage(&["gc"], "--older-than", "--older-than"),
    usage(&["gc", "--older-than", "30"], "30", "30d"),
    usage(&["gc", "--older-than", "a month"], "a month", "30d"),
    usage(&["gc", "--older-than", "99999999999999999999w"], "99999999999999999999w", "30d"),
    usage(&["gc", "--older-then", "30d"], "--older-then", "--older-than"),
    usage(&["check", "--from", "17"], "--next", "--next"),
    usage(&["check", "--from", "17", "--next", "x"], "x", "from 13 to 19"),
    usage(&["report", "--htm"], "--htm", "--html"),
    usage(&["plan", "--bse", "/x"], "--bse", "--base"),
    usage(&["plan", "--cluser", "x"], "--cluser", "--cluster"),
    usage(&["rolback"], "rolback", "rollback"),
];

#[test]
fn every_mistake_is_named_with_its_place_value_and_fix() {
    check(env!("CARGO_BIN_EXE_upgrade-pg-cluster"), "none", &[], &MISTAKES);
}

/// Whatever happens, programs read one document.
#[test]
fn each_answer_is_one_document() {
    let folder = tempfile::tempdir().expect("a folder");
    let answer = |code: i32, args: &[&str]| {
        testkit::document(env!("CARGO_BIN_EXE_upgrade-pg-cluster"), folder.path(), args, code)
    };
    answer(2, &["plan"]);
    answer(2, &["pln"]);
    answer(2, &["status", "--from", "17"]);
    answer(2, &["gc", "--older-than", "x"]);
}
