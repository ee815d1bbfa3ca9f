//! Start of both edges at the same time: one account, and the same certificates on both.

use super::{TwoEdgeLab, addresses, database};
use crate::facts::{Facts, ensure, until};
use crate::{postgres, programs};
use std::time::Duration;

/// Chapter of the report to which the checks belong.
const CHAPTER: &str = "One order for both";
/// Names of the two certificates.
const NAMES: [&str; 2] = ["example.org", "eniac.example.org"];

/// Starts the databases, nodes, applications and edges, and checks the first certificates.
///
/// # Errors
/// Returns the reason why the other chapters cannot run.
pub(super) fn run(edges: &TwoEdgeLab, facts: &Facts) -> Result<(), String> {
    database::boot(edges, facts)?;
    let matrix = &edges.topology.matrix;
    matrix.ask("mkdir -p /run/forgejo")?;
    let mut services =
        vec![programs::node(matrix)?, programs::service(matrix, "forgejo unix:/run/forgejo/forgejo.sock")?];
    {
        let eniac = edges.topology.eniac.lock().expect("no panic");
        services.extend([programs::node(&eniac)?, programs::service(&eniac, "eniac 127.0.0.1:3000")?]);
    }
    edges.services.lock().expect("no panic").extend(services);
    edges.start(0)?;
    edges.start(1)?;
    let issued = facts.fact(
        CHAPTER,
        "both start at the same time with the same file: two certificates, two orders, one account",
        || {
            // Until then both serve their own self-signed certificates.
            until(Duration::from_secs(90), || {
                let believed = NAMES.iter().try_for_each(|name| serial(edges, name).map(drop));
                believed.map_err(|why| {
                    format!("{why}\n{}", [edges.log_lines(0), edges.log_lines(1)].concat().join("\n"))
                })
            })?;
            NAMES.iter().try_for_each(|name| same_chain(edges, name).map(drop))?;
            let (orders, accounts) =
                (edges.external.orders(), edges.external.front.count("POST /sign-me-up"));
            ensure(orders == 2 && accounts == 1, || format!("{orders} orders, {accounts} accounts"))?;
            Ok(format!("{orders} orders and {accounts} account at the CA; the same chain and key on both"))
        },
    );
    ensure(issued, || "without certificates there is nothing to serve".to_owned())?;
    facts.fact(CHAPTER, "both serve the same certificate, over TCP and over QUIC", || {
        let serials: Vec<String> = NAMES.iter().map(|name| serial(edges, name)).collect::<Result<_, _>>()?;
        Ok(serials.join(", "))
    });
    facts.fact(CHAPTER, "the database stores the certificates' keys, and the public network cannot log in to it", || {
        let tables = postgres::sql(matrix, "edges", "SELECT string_agg(relname, ', ' ORDER BY relname) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace")?;
        ensure(tables.contains("edge_proxy_session") && tables.contains("acme_dns01"), || tables.clone())?;
        let why = edges.topology.attacker.expect_failure(&format!(
            "{}/psql -wqAtX 'host=203.0.113.2 user=edges dbname=edges connect_timeout=3' -c 'SELECT 1'",
            postgres::programs(18)
        ))?;
        let why = why.rsplit("FATAL:").next().unwrap_or_default().trim().lines().next().unwrap_or_default().to_owned();
        Ok(format!("{tables}; the attacker: {why}"))
    });
    Ok(())
}

/// Returns the certificate chain of a name in PEM, as both edges have stored it.
///
/// # Errors
/// Returns an error unless both edges have the same chain and key.
fn same_chain(edges: &TwoEdgeLab, name: &str) -> Result<String, String> {
    let read = |file: &str| {
        let of = |host: &crate::host::Host| {
            std::fs::read_to_string(host.folder.join(format!("var-lib/acme/{name}/{file}")))
        };
        let [one, other] = edges.hosts().map(of);
        let (one, other) =
            (one.map_err(|why| format!("{name}: {why}"))?, other.map_err(|why| format!("{name}: {why}"))?);
        ensure(one == other, || format!("{name}: {file} differs"))?;
        Ok::<_, String>(one)
    };
    read("key.pem")?;
    read("fullchain.pem")
}

/// Returns the serial number of a name's certificate, as a client that trusts only the CA sees it at both edges, over
/// TCP and QUIC.
///
/// # Errors
/// Returns an error unless all of them are equal.
fn serial(edges: &TwoEdgeLab, name: &str) -> Result<String, String> {
    let mut serials = Vec::new();
    for address in addresses() {
        for how in ["--http1.1", "--http3-only"] {
            serials.push(edges.topology.client.ask(&format!(
                "certificate=$(/opt/newer/curl -sS --max-time 15 {how} --cacert /run/issuing.pem --resolve {name}:443:{} -o /dev/null \
                 -w '%{{certs}}' https://{name}/who) && echo \"$certificate\" | openssl x509 -noout -serial",
                address.ip()
            ))?);
        }
    }
    serials.dedup();
    ensure(serials.len() == 1, || serials.join(", "))?;
    Ok(serials.swap_remove(0).to_lowercase().replace('=', " "))
}

/// Checks that the edges together renew a certificate once that the CA suggests to replace, after the promotion of the
/// database. Adds the result to `facts`.
pub(super) fn renewal(edges: &TwoEdgeLab, facts: &Facts) {
    facts.fact(
        CHAPTER,
        "the CA suggests immediate renewal (ARI), on the promoted database: one order, and both edges serve the new certificate",
        || {
            let name = NAMES[1];
            let (first, before, orders) = (same_chain(edges, name)?, serial(edges, name)?, edges.external.orders());
            edges.external.suggest_renewal(&edges.topology, &first);
            // The edge queries the CA at most once a minute.
            until(Duration::from_secs(150), || {
                let now = same_chain(edges, name)?;
                ensure(now != first, || "the chain is the old one".to_owned())
            })?;
            let after = until(Duration::from_secs(20), || {
                let now = serial(edges, name)?;
                ensure(now != before, || now.clone())?;
                Ok(now)
            })?;
            let more = edges.external.orders() - orders;
            ensure(more == 1, || format!("{more} orders"))?;
            Ok(format!("one order; {after}"))
        },
    );
}
