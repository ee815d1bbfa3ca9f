//! Splits a connection string into one configuration per host.

use std::net::SocketAddr;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, TargetSessionAttrs};

/// Returns one configuration for each host of a connection string, in order, that accepts only a server in read-write
/// mode.
///
/// libpq limits the time until each host has authenticated the client. tokio-postgres limits only the TCP connection,
/// so that a server that accepts the connection and then hangs would block forever, and the next host would not be
/// tried. With one host per configuration, the caller can enforce the limit.
pub(super) fn each(config: &Config) -> Vec<Config> {
    let (hosts, addresses, ports) = (config.get_hosts(), config.get_hostaddrs(), config.get_ports());
    let single = |at: usize| {
        let mut one = common(config);
        match hosts.get(at) {
            Some(Host::Tcp(name)) => drop(one.host(name)),
            Some(Host::Unix(path)) => drop(one.host_path(path)),
            None => {}
        }
        if let Some(address) = addresses.get(at) {
            one.hostaddr(*address);
        }
        if let Some(port) = ports.get(at).or_else(|| ports.first()) {
            one.port(*port);
        }
        one
    };
    // Without any host, connecting reports the error.
    (0..hosts.len().max(addresses.len()).max(1)).map(single).collect()
}

/// Copies a configuration without its hosts, addresses and ports, and restricts it to servers in read-write mode.
fn common(config: &Config) -> Config {
    let mut one = Config::new();
    if let Some(user) = config.get_user() {
        one.user(user);
    }
    if let Some(password) = config.get_password() {
        one.password(password);
    }
    if let Some(name) = config.get_dbname() {
        one.dbname(name);
    }
    if let Some(options) = config.get_options() {
        one.options(options);
    }
    if let Some(name) = config.get_application_name() {
        one.application_name(name);
    }
    if let Some(limit) = config.get_connect_timeout() {
        one.connect_timeout(*limit);
    }
    if let Some(limit) = config.get_tcp_user_timeout() {
        one.tcp_user_timeout(*limit);
    }
    if let Some(pause) = config.get_keepalives_interval() {
        one.keepalives_interval(pause);
    }
    if let Some(most) = config.get_keepalives_retries() {
        one.keepalives_retries(most);
    }
    one.keepalives(config.get_keepalives())
        .keepalives_idle(config.get_keepalives_idle())
        .ssl_mode(config.get_ssl_mode())
        .ssl_negotiation(config.get_ssl_negotiation())
        .channel_binding(config.get_channel_binding())
        // A replica accepts no writes.
        .target_session_attrs(TargetSessionAttrs::ReadWrite);
    one
}

/// Returns the host or address with its port, or the path of the socket, of a single-host configuration, for display.
pub(super) fn name(one: &Config) -> String {
    let port = one.get_ports().first().copied().unwrap_or(5432);
    match (one.get_hosts().first(), one.get_hostaddrs().first()) {
        (Some(Host::Tcp(name)), _) => format!("{name}:{port}"),
        (Some(Host::Unix(folder)), _) => folder.join(format!(".s.PGSQL.{port}")).display().to_string(),
        (None, Some(address)) => SocketAddr::new(*address, port).to_string(),
        (None, None) => "no host".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_host_has_its_own_place_and_what_is_common() {
        let text = "host=db,/run/postgresql,::1 port=5432,5433,5434 user=u password='p w' dbname=d options='-c x=y' \
                    application_name=a connect_timeout=3 keepalives_idle=7 channel_binding=require sslmode=require";
        let all = each(&text.parse().expect("a configuration"));
        assert_eq!(
            all.iter().map(name).collect::<Vec<_>>(),
            ["db:5432", "/run/postgresql/.s.PGSQL.5433", "::1:5434"]
        );
        for (one, host, port) in [(&all[0], "db", 5432), (&all[2], "::1", 5434)] {
            let text = format!(
                "host={host} port={port} user=u password='p w' dbname=d options='-c x=y' application_name=a connect_timeout=3 \
                 keepalives_idle=7 channel_binding=require sslmode=require target_session_attrs=read-write"
            );
            assert_eq!(*one, text.parse().expect("a configuration"));
        }
    }

    #[test]
    fn one_port_is_for_all_and_addresses_stay_beside_their_names() {
        let all = each(&"host=a,b hostaddr=192.0.2.1,192.0.2.2 port=5433".parse().expect("a configuration"));
        let seen: Vec<_> = all.iter().map(|one| (name(one), one.get_hostaddrs().to_vec())).collect();
        let address = |last| vec![std::net::IpAddr::from([192, 0, 2, last])];
        assert_eq!(seen, [("a:5433".to_owned(), address(1)), ("b:5433".to_owned(), address(2))]);
        let all = each(&"hostaddr=192.0.2.1,192.0.2.2".parse().expect("a configuration"));
        assert_eq!(all.iter().map(name).collect::<Vec<_>>(), ["192.0.2.1:5432", "192.0.2.2:5432"]);
        assert_eq!(name(&each(&"user=u".parse().expect("a configuration"))[0]), "no host");
    }
}
