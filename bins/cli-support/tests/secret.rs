//! References are read as they are meant, and nothing of a secret is said.

use cli_support::outcome::Failure;
use cli_support::secret::{Reference, SecretError};
use proptest::prelude::*;
use secrecy::ExposeSecret;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A folder with a file of this content and mode.
fn written(content: &[u8], mode: u32) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    std::fs::write(&path, content).unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    (folder, path)
}

fn file(path: &Path) -> Reference {
    format!("file:{}", path.display()).parse().unwrap()
}

fn age(file: &Path, identity: &Path) -> Reference {
    format!("age:{}?identity={}", file.display(), identity.display()).parse().unwrap()
}

/// Runs a program that `cargo xtask tools` installs.
fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program)
        .args(args)
        .output()
        .unwrap_or_else(|why| panic!("{program}: {why}; `cargo xtask tools` installs it"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn one_line_end_is_taken_off() {
    for (content, secret) in
        [(&b"a b "[..], "a b "), (b"x\n", "x"), (b"x\r\n", "x"), ("gr\u{fc}n".as_bytes(), "gr\u{fc}n")]
    {
        let (_folder, path) = written(content, 0o400);
        assert_eq!(file(&path).read().unwrap().expose_secret(), secret);
    }
}

#[test]
fn what_is_no_line_is_refused() {
    for content in [&b""[..], b"\n", b"a\n\n", b"a\nb", b"a\0", b"\xff", &[b'a'; 70_000]] {
        let (_folder, path) = written(content, 0o400);
        let why = file(&path).read().unwrap_err();
        assert!(matches!(why, SecretError::Refused { .. }), "{why}");
        assert!(matches!(Failure::from(why), Failure::Configuration(_)));
    }
}

#[test]
fn a_file_that_others_may_read_is_refused() {
    for mode in [0o404, 0o460, 0o644] {
        let (_folder, path) = written(b"x", mode);
        assert!(file(&path).read().unwrap_err().to_string().contains("chmod 0400"));
    }
    // Root's may be readable for its group, whoever reads it; anybody else's may not.
    for mode in [0o440, 0o640] {
        let (_folder, path) = written(b"x", mode);
        let is_root = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(&path).unwrap()) == 0;
        assert_eq!(file(&path).read().is_ok(), is_root, "{mode:o}");
    }
}

#[test]
fn folders_pipes_and_absent_files_are_errors_at_once() {
    let (folder, path) = written(b"x", 0o400);
    assert!(file(folder.path()).read().unwrap_err().to_string().contains("regular file"));
    let pipe = folder.path().join("pipe");
    run("mkfifo", &["-m", "400", pipe.to_str().unwrap()]);
    assert!(file(&pipe).read().unwrap_err().to_string().contains("regular file"));
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(Failure::from(file(&path).read().unwrap_err()), Failure::Failed(_)));
}

#[test]
fn the_environment_is_asked_for_its_variable() {
    let why = "env:CLI_SUPPORT_IS_NOT_THERE".parse::<Reference>().unwrap().read().unwrap_err();
    assert!(why.to_string().contains("CLI_SUPPORT_IS_NOT_THERE"));
    assert!(!"env:PATH".parse::<Reference>().unwrap().read().unwrap().expose_secret().is_empty());
}

#[test]
fn age_opens_with_the_identities_that_the_real_age_encrypted_to() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let text = |name: &str| at(name).to_str().unwrap().to_owned();
    std::fs::write(at("plain"), "correct horse\n").unwrap();
    run("age-keygen", &["-o", &text("x25519")]);
    run("age-keygen", &["-o", &text("other")]);
    run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &text("ed25519")]);
    run("ssh-keygen", &["-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", &text("rsa")]);
    run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "words", "-f", &text("locked")]);
    let recipient = run("age-keygen", &["-y", &text("x25519")]);
    let recipients = format!(
        "{recipient}{}{}",
        std::fs::read_to_string(at("ed25519.pub")).unwrap(),
        std::fs::read_to_string(at("rsa.pub")).unwrap()
    );
    std::fs::write(at("recipients"), recipients).unwrap();
    run("age", &["-R", &text("recipients"), "-o", &text("binary.age"), &text("plain")]);
    run("age", &["-a", "-R", &text("recipients"), "-o", &text("armored.age"), &text("plain")]);

    for sealed in ["binary.age", "armored.age"] {
        for identity in ["x25519", "ed25519", "rsa"] {
            std::fs::set_permissions(at(identity), Permissions::from_mode(0o400)).unwrap();
            let secret = age(&at(sealed), &at(identity)).read().unwrap();
            assert_eq!(secret.expose_secret(), "correct horse", "{sealed} by {identity}");
        }
    }
    let refused = |identity: &str| age(&at("binary.age"), &at(identity)).read().unwrap_err().to_string();
    assert!(refused("other").contains("cannot decrypt it"));
    assert!(refused("locked").contains("passphrase"));
    assert!(refused("plain").contains("chmod 0400"));
    std::fs::set_permissions(at("plain"), Permissions::from_mode(0o400)).unwrap();
    assert!(refused("plain").contains("neither an X25519 identity"));
    let not_sealed = age(&at("plain"), &at("x25519")).read().unwrap_err().to_string();
    assert!(not_sealed.contains("not an age file"), "{not_sealed}");
    let whole = std::fs::read(at("binary.age")).unwrap();
    std::fs::write(at("cut.age"), &whole[..whole.len() - 4]).unwrap();
    assert!(age(&at("cut.age"), &at("x25519")).read().is_err());
    std::fs::write(at("wrong.age"), "a file of some length that age has never seen, with lines\nand more\n")
        .unwrap();
    let wrong = age(&at("wrong.age"), &at("x25519")).read().unwrap_err().to_string();
    assert!(wrong.contains("not a file that age can read"), "{wrong}");
}

#[test]
fn a_credential_may_have_the_mode_that_systemd_gives_it() {
    // The variable is for a process of its own, since tests share theirs.
    let (folder, path) = written(b"from systemd\n", 0o440);
    let program = std::env::current_exe().unwrap();
    let output = Command::new(program)
        .args(["--exact", "inside_of_a_unit", "--nocapture"])
        .env("CREDENTIALS_DIRECTORY", folder.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(String::from_utf8_lossy(&output.stdout).contains("read: from systemd"));
    drop(path);
}

#[test]
fn inside_of_a_unit() {
    if std::env::var_os("CREDENTIALS_DIRECTORY").is_none() {
        let why = "credential:secret".parse::<Reference>().unwrap().read().unwrap_err();
        assert!(why.to_string().contains("CREDENTIALS_DIRECTORY"));
        assert!(why.to_string().contains("systemd-run --pipe --wait"), "{why}");
        return;
    }
    println!("read: {}", "credential:secret".parse::<Reference>().unwrap().read().unwrap().expose_secret());
    let folder = PathBuf::from(std::env::var_os("CREDENTIALS_DIRECTORY").unwrap());
    std::os::unix::fs::symlink("/etc/hostname", folder.join("link")).unwrap();
    assert!("credential:link".parse::<Reference>().unwrap().read().is_err());
}

#[test]
fn a_variable_of_a_shell_is_answered_with_its_reference() {
    for text in ["$TOKEN", "${TOKEN}", "$_t1"] {
        let why = text.parse::<Reference>().unwrap_err().to_string();
        assert!(why.contains("write env:NAME in place of $NAME or ${NAME}"), "{text}: {why}");
    }
    // These may be passwords.
    for text in ["$", "${}", "$1", "$a-b", "a$b", "${a", "$2y$10$hash"] {
        let why = text.parse::<Reference>().unwrap_err().to_string();
        assert!(why.contains("never the secret itself"), "{text}: {why}");
    }
}

proptest! {
    #[test]
    fn a_reference_shows_as_it_was_written(
        text in "(file:/[a-z/.?=]{0,20}|credential:[a-z.]{1,9}x|env:[A-Z_]{1,9}|age:/[a-z]{1,9}[?]identity=/[a-z]{1,9})"
    ) {
        let reference: Reference = text.parse().unwrap();
        prop_assert_eq!(reference.to_string(), text.clone());
        let json = serde_json::to_string(&reference).unwrap();
        prop_assert_eq!(serde_json::from_str::<Reference>(&json).unwrap(), reference);
    }

    #[test]
    fn what_is_no_reference_is_not_repeated(text in "[a-zA-Z0-9:/]{12,40}") {
        if let Err(why) = text.parse::<Reference>() {
            let said = format!("{why} {why:?}");
            prop_assert!(!said.contains(&text));
            let json = serde_json::to_string(&text).unwrap();
            let said = serde_json::from_str::<Reference>(&json).unwrap_err().to_string();
            prop_assert!(!said.contains(&text));
        }
    }
}
