//! A folder that is somebody else's.

use crate::lab::{GROUP, Lab};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

const ACCOUNT: u32 = 48_215;

#[test]
fn fault_21_a_folder_that_may_not_be_written_is_named_and_keeps_its_certificate() {
    if !testkit::needs_root(
        "acme-dns01-cli: fault_21_a_folder_that_may_not_be_written_is_named_and_keeps_its_certificate",
    ) {
        return;
    }
    let lab = Lab::start();
    lab.run(&["once"]).ends(0);
    for path in ["acme", "tsig"] {
        let given = Command::new("chown").args(["-R", &ACCOUNT.to_string()]).arg(lab.path(path)).status();
        assert!(given.expect("chown").success());
    }
    // The program has to be readable for anybody, wherever it was built.
    let program = lab.path("acme-dns01");
    std::fs::copy(env!("CARGO_BIN_EXE_acme-dns01"), &program).expect("a copy");
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).expect("a mode");
    let renew = || {
        let account = ACCOUNT.to_string();
        let output = Command::new("setpriv")
            .args(["--reuid", &account, "--regid", &account, "--groups", &GROUP.to_string()])
            .arg(&program)
            .arg("--config")
            .arg(lab.path("acme.toml"))
            .args(["renew", "site"])
            .current_dir("/")
            .output()
            .expect("setpriv");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    // Where the journal is, and where the pair is put into place.
    for part in ["acme/.acme-dns01/certificates/site", "acme"] {
        let (before, path) = (lab.written("fullchain.pem"), lab.path(part));
        chown(&path, Some(0), Some(0)).expect("root");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("a mode");
        let (code, said) = renew();
        assert_eq!(code, Some(1), "{part}: {said}");
        assert!(said.contains(&lab.path("acme").display().to_string()), "{part}: {said}");
        assert!(said.contains("must own the folder, and be in the group"), "{part}: {said}");
        assert_eq!(lab.written("fullchain.pem"), before, "{part}");
        chown(&path, Some(ACCOUNT), None).expect("root");
        let (code, said) = renew();
        assert_eq!(code, Some(0), "{part}: {said}");
        assert_ne!(lab.written("fullchain.pem"), before, "{part}");
    }
    assert_eq!(lab.pebble.logged("There are now 4 orders"), 0, "an order a renewal");
}

/// Returns owner, group and mode.
fn rights(path: &Path) -> (u32, u32, u32) {
    let found = std::fs::symlink_metadata(path).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
    (found.uid(), found.gid(), found.mode() & 0o7777)
}

/// The uid of `nobody`, an account that every machine has.
fn nobody() -> u32 {
    let output = Command::new("id").args(["-u", "nobody"]).output().expect("id runs");
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number")
}

#[test]
fn root_acts_as_the_account_that_owns_the_folder() {
    if !testkit::needs_root("acme-dns01-cli: root_acts_as_the_account_that_owns_the_folder") {
        return;
    }
    let lab = Lab::start();
    lab.run(&["once"]).ends(0);
    for path in ["acme", "tsig"] {
        let given = Command::new("chown").args(["-R", "nobody"]).arg(lab.path(path)).status();
        assert!(given.expect("chown").success());
    }
    // The group of the configuration is not one of the account's.
    lab.configure("group = \"nogroup\"\npost_run = \"echo $HOME $USER $LOGNAME > who\"\n");
    let text = std::fs::read_to_string(lab.path("acme.toml")).expect("a file");
    std::fs::write(lab.path("acme.toml"), text.replace(&format!("group = \"{GROUP}\"\n"), ""))
        .expect("a file");
    // What root writes is the account's, so that its next renewal is not refused.
    let done = lab.run(&["renew", "site"]).ends(0);
    assert!(done.err.contains("note: acting as nobody, for"), "{}", done.err);
    for path in ["acme/site", "acme/site/key.pem", "acme/.acme-dns01/certificates/site/journal"] {
        assert_eq!(rights(&lab.path(path)).0, nobody(), "{path}");
    }
    // Programs that it runs have the home of the account, not that of root.
    let home = Command::new("getent").args(["passwd", "nobody"]).output().expect("getent");
    let home = String::from_utf8_lossy(&home.stdout).split(':').nth(5).expect("a home").to_owned();
    assert_eq!(lab.written("who"), format!("{home} nobody nobody\n"));
    let checked = lab.run(&["check", "--json"]).ends(0).json();
    assert!(checked.to_string().contains("checked as nobody"), "{checked}");
    // A check of root's says what the account cannot read.
    chown(lab.path("tsig"), Some(0), Some(0)).expect("root");
    let done = lab.run(&["check"]).ends(2);
    assert!(done.out.contains("provider.knot.key") && done.out.contains("Permission denied"), "{}", done.out);
}

#[test]
fn claim_takes_over_what_another_account_made() {
    if !testkit::needs_root("acme-dns01-cli: claim_takes_over_what_another_account_made") {
        return;
    }
    let lab = Lab::start();
    lab.configure(
        "[[certificate]]\nname = \"linked\"\nnames = \"linked.example.test\"\nauthority = \"pebble\"\n",
    );
    // As root by hand, with files as other clients leave them: open to everybody.
    lab.run(&["issue", "site"]).ends(0);
    let mode = |path: &str, mode: u32| {
        std::fs::set_permissions(lab.path(path), PermissionsExt::from_mode(mode)).expect("a mode");
    };
    mode("acme/site", 0o755);
    mode("acme/site/key.pem", 0o644);
    std::fs::create_dir_all(lab.path("acme/foreign")).expect("a folder");
    std::fs::write(lab.path("acme/foreign/key.pem"), "key").expect("a file");
    std::fs::write(lab.path("acme/site/dhparam.pem"), "other").expect("a file");
    // What an account could have put there to gain root's files.
    std::fs::write(lab.path("shadow"), "secret").expect("a file");
    std::fs::remove_file(lab.path("acme/site/full.pem")).expect("a file");
    std::fs::hard_link(lab.path("shadow"), lab.path("acme/site/full.pem")).expect("a link");
    std::fs::create_dir(lab.path("etc")).expect("a folder");
    std::os::unix::fs::symlink(lab.path("etc"), lab.path("acme/linked")).expect("a link");

    let done = lab.run(&["--json", "claim", "--user", "nobody"]).ends(3).json();
    let found = done["findings"].as_array().expect("findings");
    for (about, said) in [("acme/site/full.pem", "another name"), ("acme/linked", "a symbolic link")] {
        let about = lab.path(about).display().to_string();
        let refused = |one: &serde_json::Value| {
            one["about"] == about.as_str()
                && one["fine"] == false
                && one["message"].as_str().is_some_and(|message| message.contains(said))
        };
        assert!(found.iter().any(refused), "{about}: {done}");
    }
    let nobody = nobody();
    for (path, wanted) in [
        ("acme/site", (nobody, GROUP, 0o750)),
        ("acme/site/key.pem", (nobody, GROUP, 0o640)),
        ("acme/.acme-dns01", (nobody, 0, 0o700)),
        ("acme/.acme-dns01/certificates/site/journal", (nobody, 0, 0o600)),
    ] {
        assert_eq!(rights(&lab.path(path)), wanted, "{path}");
    }
    // Nothing else was touched.
    for path in ["acme/foreign", "acme/foreign/key.pem", "acme/site/dhparam.pem", "shadow", "etc"] {
        assert_eq!(rights(&lab.path(path)).0, 0, "{path}");
    }
    std::fs::remove_file(lab.path("acme/site/full.pem")).expect("a file");
    std::fs::remove_file(lab.path("acme/linked")).expect("a link");
    let again = lab.run(&["claim", "--user", "nobody"]).ends(0);
    assert_eq!(again.out, "", "nothing is left to do");
    lab.run(&["claim", "--user", "nobody-has-this-name"]).ends(2);
}
