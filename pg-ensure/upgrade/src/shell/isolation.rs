//! Settings that isolate the clusters of a rehearsal.

use super::journal::WorkFolder;
use crate::conf::quoted;

/// Appends settings to the text of a `postgresql.auto.conf` that isolate a cluster: no TCP, a private socket, no
/// archiving, no replication, no background workers.
pub(super) fn isolated(text: &str, work: &WorkFolder) -> String {
    let mut out = text.to_owned();
    if !out.is_empty() && !out.ends_with('\n') {
        out.push('\n');
    }
    let socket = quoted(&work.private().display().to_string());
    for (name, value) in [
        ("listen_addresses", "''"),
        ("unix_socket_directories", socket.as_str()),
        ("unix_socket_permissions", "0700"),
        ("archive_mode", "off"),
        ("archive_command", "''"),
        ("restore_command", "''"),
        ("primary_conninfo", "''"),
        ("synchronous_standby_names", "''"),
        ("max_worker_processes", "0"),
        ("max_logical_replication_workers", "0"),
        ("external_pid_file", "''"),
        ("logging_collector", "off"),
        ("log_destination", "stderr"),
        ("ssl", "off"),
    ] {
        out.push_str(&format!("{name} = {value}\n"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::settings;
    use std::path::PathBuf;

    #[test]
    fn the_last_word_is_the_rehearsal_s() {
        let work = WorkFolder { folder: PathBuf::from("/var/lib/postgresql/rehearsal-17-18/upgrade-17-18") };
        let text = isolated("archive_mode = 'on'\nlisten_addresses = '*'", &work);
        let last = |name: &str| settings(&text).into_iter().rfind(|setting| setting.name == name);
        assert_eq!(last("archive_mode").map(|setting| setting.value).as_deref(), Some("off"));
        assert_eq!(last("listen_addresses").map(|setting| setting.value).as_deref(), Some(""));
        assert_eq!(last("max_worker_processes").map(|setting| setting.value).as_deref(), Some("0"));
    }
}
