//! `with-credentials`, by which a reload of the unit and a shell have the credentials of the unit: systemd is asked for
//! the unit as it is in force, and each of its credentials is passed on unchanged.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// A unit of systemd, with a drop-in, as `systemctl cat` prints it.
const UNIT: &str = "# /usr/lib/systemd/system/application@.service
[Service]
User=postgres
ExecStart=/usr/bin/true
LoadCredential=app-db:/etc/secrets/app-db
  SetCredential=words:two words and *
#LoadCredential=not-this:/etc/secrets/comment
# /etc/systemd/system/application@.service.d/more.conf
[Service]
LoadCredentialEncrypted=%i:/etc/credstore.encrypted/%i
SetCredentialEncrypted=sealed:aGVsbG8=
ImportCredential=pg-ensure.*
";

/// Writes a program of the test into a folder.
fn program(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{text}")).expect("a file");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a mode");
}

#[test]
fn every_credential_of_the_unit_is_passed_on_as_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("unit"), UNIT).expect("a file");
    let unit = folder.path().join("unit");
    // A name that only a template has, which systemd resolves.
    let cat = format!("test \"$*\" = 'cat application@a\\x2db.service' && cat {}\n", unit.display());
    program(folder.path(), "systemctl", &cat);
    program(folder.path(), "systemd-run", "for word; do echo \"$word\"; done\n");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/deb/pg-ensure/with-credentials");
    let path = std::env::var("PATH").unwrap_or_default();
    let run = |unit: &str| {
        let mut command = Command::new("sh");
        command.args([script, unit, "pg-ensure", "plan", "a file.toml"]);
        // A folder with files, which a pattern in a value must not become.
        command.env("PATH", format!("{}:{path}", folder.path().display())).current_dir(folder.path());
        command.output().expect("a shell")
    };
    let output = run("application@a\\x2db.service");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    let words: Vec<&str> = text.lines().collect();
    let credentials: Vec<&str> = words.iter().copied().filter(|word| word.contains("Credential")).collect();
    assert_eq!(
        credentials,
        [
            "--property=LoadCredential=app-db:/etc/secrets/app-db",
            "--property=SetCredential=words:two words and *",
            "--property=LoadCredentialEncrypted=a\\x2db:/etc/credstore.encrypted/a\\x2db",
            "--property=SetCredentialEncrypted=sealed:aGVsbG8=",
            "--property=ImportCredential=pg-ensure.*",
        ]
    );
    let end = words.iter().position(|word| *word == "--").expect("the end of the options");
    assert_eq!(words[end + 1..], ["pg-ensure", "plan", "a file.toml"]);
    assert!(
        words.contains(&"--uid=postgres") && words.contains(&"--property=ProtectSystem=strict"),
        "{text}"
    );
}
