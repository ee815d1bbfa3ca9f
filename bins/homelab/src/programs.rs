//! Programs of this workspace on a host, and the applications behind them.

use crate::host::{Host, Running};

/// Starts the edge as its systemd unit does: with its own account in the group `acme`, which may bind ports below 1024.
/// `config` is the path of its configuration, `environment` are additional variables as `NAME=value`. Its access log is
/// appended to `/run/access.log`.
///
/// # Errors
/// Returns a description if the program cannot be started.
pub(crate) fn edge(host: &Host, config: &str, environment: &str) -> Result<Running, String> {
    host.start(&format!(
        "setpriv --reuid edge-proxy --regid acme --clear-groups --inh-caps=-all,+net_bind_service \
         --ambient-caps=-all,+net_bind_service env CREDENTIALS_DIRECTORY=/run/credentials/edge-proxyd.service {environment} \
         edge-proxyd run --workers 2 --grace 2 --config {config} >> /run/access.log"
    ))
}

/// Starts the edge of a node as root, with the configuration in `/srv/HOST`. Its access log is appended to
/// `/run/access.log`.
///
/// # Errors
/// Returns a description if the program cannot be started.
pub(crate) fn node(host: &Host) -> Result<Running, String> {
    host.start(&format!(
        "edge-proxyd run --workers 1 --grace 2 --config /srv/{}/edge.toml >> /run/access.log",
        host.name
    ))
}

/// Starts an application, which is restarted 0.1 s after it exits. `arguments` are those of `service.py`: name,
/// address, and options.
///
/// # Errors
/// Returns a description if the script cannot be written or started.
pub(crate) fn service(host: &Host, arguments: &str) -> Result<Running, String> {
    let script = host.folder.join("run/service.py");
    std::fs::write(script, include_str!("service.py")).map_err(|why| why.to_string())?;
    host.start(&format!("sh -c 'while :; do python3 /run/service.py {arguments}; sleep 0.1; done'"))
}
