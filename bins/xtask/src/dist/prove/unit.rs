//! The unit of the archive: systemd knows its settings, its commands exist where the archive is unpacked, and its
//! account is created by the file that accompanies it.

use super::super::archive::PREFIX;
use super::super::files::{run, write};
use super::inside;
use crate::process::Outcome;
use crate::units::verify_in;
use std::path::Path;
use std::process::Command;

/// Configuration for the unit, without a site. The port is a free one.
const CONFIG: &str = "[[listen]]\naddress = \"127.0.0.1:0\"\n";

/// Follows the steps of a reader who unpacked the archive into the prefix of this root folder.
///
/// # Errors
/// Returns the step that failed.
pub(super) fn prove(root: &Path) -> Outcome {
    let units = root.join(PREFIX.trim_start_matches('/')).join("lib/systemd/system");
    let services = verify_in(&units)?;
    let [service] = services.as_slice() else {
        return Err(format!("{}: expected one service, found {services:?}", units.display()));
    };
    let text = std::fs::read_to_string(service).map_err(|why| format!("{}: {why}", service.display()))?;
    for folder in ["etc", "etc/edge-proxyd"] {
        std::fs::create_dir_all(root.join(folder)).map_err(|why| format!("{folder}: {why}"))?;
    }
    run(Command::new("systemd-sysusers").arg(format!("--root={}", root.display())).arg("edge-proxyd.conf"))?;
    for (key, file) in [("User=", "etc/passwd"), ("Group=", "etc/group")] {
        let account = text.lines().find_map(|line| line.strip_prefix(key)).ok_or(format!("no {key}"))?;
        let path = root.join(file);
        let accounts = std::fs::read_to_string(&path).map_err(|why| format!("{}: {why}", path.display()))?;
        if !accounts.lines().any(|line| line.starts_with(&format!("{account}:"))) {
            return Err(format!("{key}{account} is not made by sysusers.d: {accounts}"));
        }
    }
    write(&root.join("etc/edge-proxyd/edge.toml"), CONFIG)?;
    let commands = commands(&text);
    for words in &commands {
        let (program, arguments) = words.split_first().ok_or("a command is empty")?;
        if program.starts_with("/usr/bin/systemd-") {
            continue;
        }
        if !root.join(program.trim_start_matches('/')).exists() {
            return Err(format!("{}: {program} is not where the archive puts it", service.display()));
        }
        // The other commands need a running service.
        if arguments.first() == Some(&"check") {
            run(&mut inside(root, program, arguments, false))?;
        }
    }
    if commands.len() < 3 { Err(format!("the unit has the commands {commands:?} only")) } else { Ok(()) }
}

/// Returns the words of the commands of a unit, without systemd's prefixes.
fn commands(unit: &str) -> Vec<Vec<&str>> {
    let lines = unit.lines().filter(|line| line.starts_with("Exec")).filter_map(|line| line.split_once('='));
    lines
        .map(|(_, command)| {
            command.trim_start_matches(['-', '+', '@', '!', ':']).split_whitespace().collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn commands_are_found_behind_their_prefixes() {
        let unit = "[Service]\nExecStartPre=-+/usr/bin/a --b c\nUser=d\nExecStart=/e\n";
        assert_eq!(super::commands(unit), [&["/usr/bin/a", "--b", "c"][..], &["/e"]]);
    }
}
