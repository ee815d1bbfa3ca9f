//! Forgejo's mailer: first for Mailjet, then with three lines for the Stalwart of this network.

use crate::facts::{Facts, ensure};
use crate::lab::{Lab, MAIL_PASSWORD};
use testkit::mail::Postfix;

/// Chapter of the report to which the checks belong.
const CHAPTER: &str = "Mail";
/// Path of the configuration of Forgejo, on the first node.
const FILE: &str = "/etc/forgejo/app.ini";
/// Content of the file before the mailer is configured.
const BEFORE: &str =
    "APP_NAME = Forge ; ours\n[server]\nDOMAIN = git.example.org\n[security]\nSECRET_KEY = hidden\n";

/// Checks that smtp-config configures Forgejo's mailer for Mailjet and then for Stalwart, and that messages arrive, and
/// adds the results to `facts`.
pub(crate) fn run(lab: &Lab, facts: &Facts) {
    let matrix = &lab.topology.matrix;
    let path = matrix.folder.join("etc/forgejo/app.ini");
    let written = std::fs::create_dir_all(path.parent().expect("a folder"))
        .and_then(|()| std::fs::write(&path, BEFORE));
    if let Err(why) = written {
        facts.fact(CHAPTER, "an app.ini", || Err(why.to_string()));
        return;
    }
    for (settings, server, who, postfix) in [
        ("mailjet.toml", "in-v3.mailjet.com", "Mailjet", &lab.mailjet),
        ("mailer.toml", "mail.example.org", "three lines for the Stalwart of this network", &lab.stalwart),
    ] {
        facts.fact(
            CHAPTER,
            format!(
                "{who}: app.ini gets the mailer section; the rest is unchanged, and it contains no password"
            ),
            || {
                matrix.ask(&format!(
                    "smtp-config apply --app-ini {FILE} --settings /srv/lab-matrix/{settings}"
                ))?;
                let text = std::fs::read_to_string(&path).map_err(|why| why.to_string())?;
                ensure(text.starts_with(BEFORE) && !text.contains(MAIL_PASSWORD), || text.clone())?;
                let said = matrix.ask(&format!("smtp-config check {FILE} && smtp-config explain {FILE}"))?;
                ensure(said.contains(&format!("speaks smtps to {server}")), || said.clone())?;
                Ok(format!("Forgejo 13 speaks smtps to {server}"))
            },
        );
        facts.fact(CHAPTER, format!("{who}: `doctor` finds no failure"), || {
            let said = matrix.ask(&format!("smtp-config doctor --app-ini {FILE} --no-ports"))?;
            let count = |verdict: &str| said.lines().filter(|line| line.contains(verdict)).count();
            ensure(said.contains("authentication"), || said.clone())?;
            Ok(format!("{} checks pass, {} warn, {} fail", count("pass"), count("warn"), count("fail")))
        });
        facts.fact(CHAPTER, format!("{who}: a message as Forgejo sends it reaches the mailbox"), || {
            arrives(lab, postfix)
        });
    }
    facts.fact(CHAPTER, "the password is the same in every place from its file to the server", || {
        let said = matrix.ask(&format!(
            "smtp-config trace --app-ini {FILE} --settings /srv/lab-matrix/mailer.toml --server"
        ))?;
        ensure(said.contains("one secret, all the way") && !said.contains(MAIL_PASSWORD), || said.clone())?;
        Ok("one secret, all the way".to_owned())
    });
}

/// Sends a test message by smtp-config, and checks that `postfix` delivers it. Returns its sender and subject.
///
/// # Errors
/// Returns a description if sending fails, or the message has another sender.
///
/// # Panics
/// Panics if the message is not delivered within 60 s.
fn arrives(lab: &Lab, postfix: &Postfix) -> Result<String, String> {
    lab.topology.matrix.ask(&format!("smtp-config send-test --app-ini {FILE} --to someone@example.org"))?;
    let message = postfix.delivered("A test of Forgejo's mailer");
    ensure(message.contains("From: Forge <forge@example.org>"), || message.clone())?;
    let line = message.lines().find(|line| line.starts_with("Subject:")).unwrap_or_default();
    Ok(format!("from Forge <forge@example.org>, {line}"))
}
