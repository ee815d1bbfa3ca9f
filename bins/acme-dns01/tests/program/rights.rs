//! A folder that is somebody else's.

use crate::lab::{GROUP, Lab};
use std::os::unix::fs::{PermissionsExt, chown};
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
