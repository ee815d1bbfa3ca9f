//! Alerts reach a person: by a command, a webhook, and mail through a real server. What does not reach anybody is said.

use crate::lab::Lab;
use testkit::authoritative::TSIG_SECRET;
use testkit::free_port;
use testkit::mail::{CertificateFiles, Postfix};
use testkit::{Authority, Origin};

const WRONG: &str = "d3Jvbmcgd3Jvbmcgd3Jvbmcgd3Jvbmcgd3Jvbmchhg==";

#[test]
fn a_failure_and_the_recovery_are_told_by_command_webhook_and_mail() {
    if !testkit::needs_root("acme-dns01-cli: a_failure_and_the_recovery_are_told_by_command_webhook_and_mail")
    {
        return;
    }
    let lab = Lab::start();
    let home = lab.folder.path().display().to_string();
    let authority = Authority::new();
    std::fs::write(lab.path("mail-root.pem"), authority.root()).expect("a file");
    let pair = CertificateFiles::write(lab.folder.path(), "mail", &authority.issue(&["localhost"]));
    let postfix = Postfix::start(&pair, "acme", "mail secret");
    let hook = Origin::simple();
    lab.secret("password", "mail secret\n");
    lab.secret("hook", &format!("http://{}/hooks/of-a-secret-name\n", hook.address()));
    let script = r#"printf '%s %s %s\n' "$ACME_CERTIFICATE" "$ACME_ALERT" "$ACME_MESSAGE" >> "$0""#;
    let script = script.replace('"', "\\\"");
    for (security, port) in [("starttls", postfix.submission), ("tls", postfix.smtps)] {
        std::fs::write(lab.path("told"), "").expect("a file");
        lab.configure(&format!(
            "[alert]\ncommand = [\"/bin/sh\", \"-c\", \"{script}\", \"{home}/told\"]\nwebhook = \"file:{home}/hook\"\n\
             [alert.mail]\nserver = \"localhost\"\nport = {port}\nsecurity = \"{security}\"\nroots = \"{home}/mail-root.pem\"\n\
             user = \"acme\"\npassword = \"file:{home}/password\"\n\
             from = \"acme <acme@example.org>\"\nto = \"admin-{security}@example.org\"\n"
        ));
        lab.secret("tsig", WRONG);
        let failed = lab.run(&["renew", "site"]).ends(1);
        assert!(
            !failed.err.contains("could not be sent") && !failed.err.contains("of-a-secret-name"),
            "{}",
            failed.err
        );
        lab.secret("tsig", TSIG_SECRET);
        lab.run(&["renew", "site"]).ends(0);

        let told = std::fs::read_to_string(lab.path("told")).expect("a file");
        let mut lines = told.lines();
        let first = lines.next().unwrap_or_default();
        assert!(first.starts_with("site failing no certificate (failure 1 in a row"), "{told}");
        assert!(first.contains("TSIG key's name"), "what to change is said: {told}");
        assert_eq!(lines.next(), Some("site recovered renewed after failures"), "{told}");
        assert_eq!(lines.next(), None, "{told}");
        for kind in ["failing", "recovered"] {
            let mail = postfix.delivered(&format!("Subject: acme-dns01: site: {kind}"));
            assert!(mail.contains("From: acme <acme@example.org>"), "{mail}");
        }
        let mail = postfix.delivered(&format!("To: admin-{security}@example.org"));
        assert!(mail.contains("site: "), "{mail}");
    }
    let posted = hook.text();
    assert_eq!(posted.matches(r#""kind":"failing""#).count(), 2, "{posted}");
    assert_eq!(posted.matches(r#""kind":"recovered""#).count(), 2, "{posted}");
    assert!(posted.contains(r#""certificate":"site""#) && posted.contains("application/json"), "{posted}");
    assert!(!posted.contains("mail secret") && !posted.contains(TSIG_SECRET));

    // Nobody is there: said, without the secret, and no reason to end.
    lab.secret("hook", &format!("http://127.0.0.1:{}/hooks/of-a-secret-name\n", free_port()));
    lab.configure(&format!(
        "[alert]\ncommand = [\"/bin/false\"]\nwebhook = \"file:{home}/hook\"\n[alert.mail]\nserver = \"localhost\"\n\
         port = {}\nsecurity = \"none\"\nfrom = \"acme@example.org\"\nto = \"admin@example.org\"\n",
        free_port()
    ));
    lab.secret("tsig", WRONG);
    let failed = lab.run(&["renew", "site"]).ends(1);
    assert_eq!(failed.err.matches("an alert could not be sent").count(), 3, "{}", failed.err);
    assert!(!failed.err.contains("of-a-secret-name"), "{}", failed.err);
}
