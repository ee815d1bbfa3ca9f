//! Pages of the book, followed on a fresh machine: their files are written, their commands run, and the result is used.

use super::Step;
use super::machine::Machine;
use crate::book::{blocks, page};
use crate::process::Outcome;

/// Steps of this boot: titles of the report, and functions.
pub(super) const STEPS: &[Step] = &[
    ("Install, on Debian", install),
    ("The first site", first_site),
    ("Forgejo behind it, SSH and mail too", forgejo),
    ("two sites with certificates, SSH, a database and mail", result),
    ("the same after a boot", after_boot),
];

/// Secrets that a reader types, by the end of the path of the file into which they go, with the file from which they
/// are read here.
const SECRETS: &[(&str, &str)] = &[
    ("/cloudflare", "/srv/token"),
    ("/forgejo-db", "/srv/database-password"),
    ("/smtp-password", "/srv/mail-password"),
];
/// Commands that may exit with 3, since on these pages there is something to do, to convert, or to read. Every other
/// command must exit with 0.
const DIFFERENCES: &[&str] = &[
    "--dry-run",
    "edge-proxyd check",
    "edge-proxyd import",
    "pg-ensure plan",
    "pg-hba check",
    "smtp-config check",
    "smtp-config doctor",
    "upgrade-pg-cluster plan",
];

/// Connects the machine to the test internet, and follows the section for Debian of `install.md`.
fn install(machine: &mut Machine) -> Outcome {
    machine.connect()?;
    let text = page("install.md")?;
    let section = text
        .split("\n## ")
        .find(|section| section.starts_with("Debian"))
        .ok_or("install.md has no Debian")?;
    follow(machine, section)
}

/// Follows `first-site.md`, until the sites `git` and `vault` are served.
fn first_site(machine: &mut Machine) -> Outcome {
    follow(machine, &page("first-site.md")?)?;
    machine.until(60, &served("git"))?;
    machine.until(5, &served("vault"))
}

/// Follows the page `forgejo.md`, which puts Forgejo behind the edge.
fn forgejo(machine: &mut Machine) -> Outcome {
    follow(machine, &page("forgejo.md")?)
}

/// Writes the files of a page and runs its commands, in order, as a reader does in their home folder.
pub(super) fn follow(machine: &Machine, text: &str) -> Outcome {
    for block in blocks(text) {
        let mut words = block.info.split_whitespace();
        match (words.next(), words.next()) {
            (Some("sh"), _) => {
                let lines: Vec<String> = block.text.lines().filter_map(command).collect();
                machine.run(&format!("cd /home/reader\nset -x\n{}", lines.join("\n")))?;
            }
            (Some(_), Some(file)) => {
                let text = block.text.replace('\'', "'\\''");
                machine.run(&format!("printf %s '{text}' > /home/reader/{file}"))?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Returns a line of the book as it is run in the machine: secrets are read from files instead of the terminal, the
/// question of `apt-get install` is answered with yes, and the commands of [`DIFFERENCES`] may exit with 0 or 3. `None`
/// if it is a line of cargo.
fn command(line: &str) -> Option<String> {
    if line.starts_with("cargo ") {
        return None;
    }
    let mut line = line.to_owned();
    if let Some((_, secret)) =
        SECRETS.iter().find(|(file, _)| line.contains("/dev/stdin") && line.ends_with(file))
    {
        line = format!("{line} < {secret}");
    }
    if line.contains("apt-get install") {
        // The reply to its question.
        line.push_str(" <<< y");
    }
    let differs = DIFFERENCES.iter().any(|part| line.contains(part));
    Some(if differs { format!("{line} || test $? -eq 3") } else { line })
}

/// Returns the script that checks that the site `NAME.example.org` responds over TLS with a valid certificate, and that
/// its content has the name and the client address 127.0.0.1.
pub(super) fn served(name: &str) -> String {
    format!(
        "curl -sS --max-time 10 --fail --cacert /srv/issuing.pem --resolve {name}.example.org:443:127.0.0.1 https://{name}.example.org/ \
         | grep '{name}.example.org 127.0.0.1'"
    )
}

/// Checks the result of the first pages: both sites, the redirection to HTTPS, no response to another name, SSH with
/// the client address, login and a new table in the database, the mail settings of Forgejo, and that no log contains
/// the password of the mail account.
pub(super) fn result(machine: &mut Machine) -> Outcome {
    machine.run(&served("git"))?;
    machine.run(&served("vault"))?;
    machine.run(
        "curl -sS -o /dev/null -w '%{http_code} %{redirect_url}' -H 'Host: git.example.org' http://127.0.0.1/ | grep '308 https://git.example.org/'",
    )?;
    // Requests for other names get no response.
    machine.run("! curl -sk --resolve other.example.org:443:127.0.0.1 https://other.example.org/")?;
    machine
        .until(10, "socat -T 5 - TCP:203.0.113.1:2222 < /dev/null | grep 'SSH-2.0-Forgejo 203.0.113.1'")?;
    machine.run(
        "PGPASSWORD='correct horse' psql -h 127.0.0.1 -U forgejo forgejo -c 'create table once (a int)'",
    )?;
    machine.run("grep -E '^SMTP_ADDR *= mail.example.org' /etc/forgejo/app.ini && grep -E '^PROTOCOL *= smtps' /etc/forgejo/app.ini")?;
    machine.run("! grep -rF \"$(cat /srv/mail-password)\" /var/log /home/reader").map(drop)
}

/// Reboots, and checks that the edge, pg-ensure and the services are active, the site `git` is served, and the table of
/// [`result`] still exists.
fn after_boot(machine: &mut Machine) -> Outcome {
    machine.reboot()?;
    machine.active(60, &["edge-proxyd", "pg-ensure", "services"])?;
    machine.until(20, &served("git"))?;
    machine.run("PGPASSWORD='correct horse' psql -h 127.0.0.1 -U forgejo forgejo -c 'table once'").map(drop)
}
