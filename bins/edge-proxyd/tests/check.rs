//! `check` finds what `run` would find, and its exit code says how bad it is.

use std::path::Path;
use std::process::{Command, Output};
use testkit::{Authority, free_port};

fn check(folder: &Path, text: &str, more: &[&str]) -> Output {
    let config = folder.join("edge.toml");
    std::fs::write(&config, text).expect("a file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_edge-proxyd"));
    command.arg("check").args(more).arg("--config").arg(config).env_remove("CREDENTIALS_DIRECTORY");
    command.output().expect("it was built")
}

/// Checks that only this warning is found, and that neither a unit nor a build fails for it.
#[track_caller]
fn warns(folder: &Path, text: &str, words: &str) {
    let output = check(folder, text, &[]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), said.lines().count()), (Some(3), 1), "{said}");
    let place = said.split(" warning[degraded]: ").next().unwrap_or_default();
    assert!(place.contains("edge.toml:") && place != said && said.contains(words), "{said}");
    let output = check(folder, text, &["--errors-only"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), said);
    let output = check(folder, text, &["--json"]);
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((output.status.code(), &value["ok"]), (Some(3), &true.into()), "{value}");
    assert!(value["warnings"][0].as_str().is_some_and(|text| text.contains(words)), "{value}");
}

fn plain(more: &str) -> String {
    format!("[[listen]]\naddress = \"127.0.0.1:{}\"\n{more}", free_port())
}

const SITE: &str = "[[site]]\nhosts = [\"a.test\"]\nplain = \"serve\"\nupstream = \"http://127.0.0.1:1\"\n";

#[test]
fn foreign_idioms_are_warnings() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let output = check(folder, &plain(SITE), &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    warns(folder, &plain(""), "there is no [[site]]");
    warns(folder, &plain(&SITE.replace("a.test", "_")), "a host named _, not every host");
    let routed = SITE.replace("upstream = \"http://127.0.0.1:1\"", "");
    let redirect = format!("{routed}redirect = \"https://$host$request_uri\"\n");
    warns(folder, &plain(&redirect), "write {host} in place of $host");
    let literal = format!("{SITE}[[site.route]]\npath = \"/api/*\"\nupstream = \"http://127.0.0.1:2\"\n");
    warns(folder, &plain(&literal), "write path = \"/api/\"");
}

#[test]
fn certificates_are_loaded() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let acme = folder.join("acme");
    let text = format!(
        "[[listen]]\naddress = \"127.0.0.1:{}\"\ntls = true\n[certificates]\nfolder = \"{}\"\n\
         [[site]]\nhosts = [\"a.test\"]\nupstream = \"http://127.0.0.1:1\"\n",
        free_port(),
        acme.display()
    );
    warns(folder, &text, "no certificate is served until it can be read");
    std::fs::create_dir(&acme).expect("a folder");
    warns(folder, &text, "site `a.test`: there is no certificate for a.test");
    let authority = Authority::new();
    authority.write(&acme.join("a.test"), &["a.test"]);
    assert_eq!(check(folder, &text, &[]).status.code(), Some(0));
    // The key of another certificate, in a folder of its own: the name is still covered.
    authority.write(&acme.join("b.test"), &["b.test"]);
    std::fs::copy(acme.join("a.test/key.pem"), acme.join("b.test/key.pem")).expect("a file");
    warns(folder, &text, "b.test/key.pem belongs to another certificate");
    // One that is over, and one that has not begun, as by a clock that was not set.
    for (from, until, words) in [
        (2019, 2020, "the certificate for c.test has expired: clients refuse it"),
        (2190, 2191, "the certificate for c.test is not valid yet: clients refuse it, unless the clock"),
    ] {
        let (chain, key) = authority.issue_between(&["c.test"], from, until);
        std::fs::write(acme.join("b.test/fullchain.pem"), chain).expect("a file");
        std::fs::write(acme.join("b.test/key.pem"), key).expect("a file");
        warns(folder, &text, words);
    }
    let output = check(folder, &text, &["--no-files"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

/// Every fault of the files that client certificates are verified by has the line that names the file, and the fix.
#[test]
fn authorities_and_revocation_lists_are_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let authority = Authority::named("the authority of clients");
    authority.write(&folder.join("acme/a.test"), &["a.test"]);
    let (ca, crl) = (folder.join("clients.pem"), folder.join("revoked.pem"));
    let text = format!(
        "[[listen]]\naddress = \"127.0.0.1:{}\"\ntls = true\n[certificates]\nfolder = \"{}\"\n\
         [[site]]\nhosts = [\"a.test\"]\nupstream = \"http://127.0.0.1:1\"\n[site.client_certificates]\nca = {ca:?}\ncrl = {crl:?}\n",
        free_port(),
        folder.join("acme").display()
    );
    let revocations = authority.revoke(&[7], 2090);
    let (leaf, _) = authority.issue_client("ann", 1);
    let root = authority.root();
    let cases: [(&str, &str, i32, &str, &str); 7] = [
        ("", &revocations, 10, "cannot be read", "write the path of a PEM file that is there"),
        ("not PEM", &revocations, 10, "not a valid PEM file with at least one certificate", "openssl x509"),
        (
            &leaf,
            &revocations,
            10,
            "warning[degraded]: ",
            "CN=ann,O=Example\\, Ltd. is not that of an authority",
        ),
        (&leaf, &revocations, 10, "so it verifies no client", "write the file of the authority that issues"),
        (root, "", 11, "cannot be read", "write the path of a PEM file that is there"),
        (root, root, 11, "not a valid PEM file with at least one revocation list", "openssl crl"),
        (
            root,
            &authority.revoke(&[7], 2022),
            11,
            "warning[degraded]: ",
            "has expired, so every client is refused: have",
        ),
    ];
    for (authorities, list, line, fault, fix) in cases {
        for (path, content) in [(&ca, authorities), (&crl, list)] {
            let _ = std::fs::remove_file(path);
            if !content.is_empty() {
                std::fs::write(path, content).expect("a file");
            }
        }
        let output = check(folder, &text, &[]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains(&format!("edge.toml:{line}:")), "{said}");
        assert!(said.contains(fault) && said.contains(fix), "{fault} {fix}: {said}");
        let key = if line == 10 {
            "site[0].client_certificates.ca = "
        } else {
            "site[0].client_certificates.crl = "
        };
        assert!(said.contains(key), "{said}");
        // What keeps `run` from starting is an error, and the rest is a warning.
        let code = if said.contains("warning[degraded]: ") { 3 } else { 2 };
        assert_eq!(output.status.code(), Some(code), "{said}");
        let output = check(folder, &text, &["--json"]);
        let value: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(value["findings"][0]["place"]["line"], line, "{value}");
        assert_eq!(check(folder, &text, &["--no-files"]).status.code(), Some(0));
    }
    std::fs::write(&crl, &revocations).expect("a file");
    assert_eq!(check(folder, &text, &[]).status.code(), Some(0));
}

#[test]
fn contents_of_another_machine_are_left_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let page =
        SITE.replace("upstream = \"http://127.0.0.1:1\"", "respond = { file = \"/nonexistent/page\" }");
    let output = check(folder.path(), &plain(&page), &["--errors-only"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let output = check(folder.path(), &plain(&page), &["--no-files"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let output = check(folder.path(), &plain(&format!("{page}bogus = 1\n")), &["--no-files"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[test]
fn the_log_the_secrets_and_the_addresses_are_tried() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let log = format!("[log]\nfile = \"{}\"\n", folder.join("log/access.log").display());
    let output = check(folder, &plain(&format!("{log}{SITE}")), &["--errors-only"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("cannot open the access log"), "{said}");
    let output = check(folder, &plain(&format!("{log}{SITE}")), &["--json"]);
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&value["ok"], output.status.code()), (&false.into(), Some(2)), "{value}");
    std::fs::create_dir(folder.join("log")).expect("a folder");
    assert_eq!(check(folder, &plain(&format!("{log}{SITE}")), &[]).status.code(), Some(0));
    let left = std::fs::read_dir(folder.join("log")).expect("a folder").count();
    assert_eq!(left, 0, "nothing is made");
    // An address that this machine does not have.
    let output = check(folder, &plain(SITE).replace("127.0.0.1:", "192.0.2.1:"), &[]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(3) && said.contains("cannot listen on 192.0.2.1"), "{said}");
    // One whose interface is still to come.
    let text = plain(&format!("interface = \"tailscale9\"\n{SITE}"));
    warns(folder, &text, "served as soon as its interface has it");
    // The same, named by an index that no interface has.
    let text = plain(SITE).replace("127.0.0.1:", "[fe80::1%4294967]:");
    warns(folder, &text, "served as soon as its interface has it");
    // A secret that nothing else waits for; one of the service cannot be tried here.
    std::fs::create_dir(folder.join("acme")).expect("a folder");
    let acme = |token: &str| {
        plain(&format!(
            "[certificates]\nfolder = \"{}\"\n[acme.provider.a]\nkind = \"cloudflare\"\ntoken = \"{token}\"\n\
             [[acme.certificate]]\nnames = [\"a.test\"]\n{SITE}",
            folder.join("acme").display()
        ))
    };
    let waits = "certificates that may need this provider are held back until then";
    warns(folder, &acme("file:/nonexistent/token"), waits);
    let output = check(folder, &acme("credential:token"), &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}
