//! A full disk at each step that writes: the run says so, nothing is lost, and with room again it goes on.

use crate::lab::{ClusterOptions, Lab, LoopMount, fill, same};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

/// Fills what is left of a file system.
fn fill_up(folder: &Path) {
    let mut file = File::create(folder.join("ballast")).expect("a file");
    for size in [1 << 20, 4096] {
        let piece = vec![7; size];
        while file.write_all(&piece).is_ok() {}
    }
}

#[test]
fn a_full_disk_at_each_writing_step() {
    if !testkit::needs_root("upgrade-pg-cluster: a_full_disk_at_each_writing_step") {
        return;
    }
    let mounted = LoopMount::memory(600);
    let lab = Lab::within(&ClusterOptions::new("17", "18"), &mounted.path);
    lab.start_old();
    fill(&lab);
    let before = lab.dump();
    let work = |lab: &Lab, until: &str| lab.run(&["--stop", "--json", "--until", until]);
    let mut failed = Vec::new();
    // Each step with the one before it, after which the disk is filled.
    for (done, step) in [
        ("preflight", "backup"),
        ("backup", "prepare"),
        ("prepare", "check"),
        ("check", "quiesce"),
        ("quiesce", "transfer"),
        ("transfer", "verify"),
        ("reindex", "carry"),
        ("carry", "commit"),
        ("start", "statistics"),
    ] {
        work(&lab, done).expect(0);
        fill_up(&mounted.path);
        let ended = work(&lab, step);
        fs::remove_file(mounted.path.join("ballast")).expect("it is there");
        assert_eq!(ended.code, Some(1), "{step}: {} {}", ended.out, ended.err);
        assert!(
            ended.out.contains("No space left") || ended.out.contains("os error 28"),
            "{step}: {}",
            ended.out
        );
        // With the way on, and the one back or why there is none.
        let back = if lab.new_data().exists() {
            "no rollback: "
        } else {
            "`upgrade-pg-cluster rollback` returns to the old cluster"
        };
        for way in ["`upgrade-pg-cluster run` resumes; ", back] {
            assert!(ended.out.contains(way), "{step}: {way}: {}", ended.out);
        }
        failed.push(step);
        // Until the switch, the old folder is there and whole.
        assert!(lab.old().join("global/pg_control").exists());
    }
    lab.run(&["--stop", "--json"]).expect(0);
    same(&before, &lab.dump());
    assert_eq!(failed.len(), 9);
}

/// What does not fit is said before anything is written.
#[test]
fn a_disk_that_is_too_small_is_found_before() {
    if !testkit::needs_root("upgrade-pg-cluster: a_disk_that_is_too_small_is_found_before") {
        return;
    }
    let mounted = LoopMount::memory(150);
    let lab = Lab::within(&ClusterOptions::new("17", "18"), &mounted.path);
    let ended = lab.run(&["plan", "--json"]).expect(3);
    let plan = ended.json();
    let finding =
        plan["findings"].as_array().expect("a list").iter().find(|finding| finding["code"] == "disk-space");
    assert_eq!(finding.expect("it is found")["severity"], "blocker");
    lab.run(&["--json"]).expect(1);
    assert!(!lab.staging().exists() && !lab.backup().exists());
}
