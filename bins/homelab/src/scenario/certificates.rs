//! Certificates by DNS-01: the first order, the certificates that are served, and their renewal.

use crate::external::ZONE;
use crate::facts::{Facts, ensure, until};
use crate::host::{MEMBER, STRANGER};
use crate::lab::{EDGE_ADDRESS, Lab};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Chapter of the report to which the checks belong.
const CHAPTER: &str = "Certificates";

/// Names of the certificates and of their folders.
const NAMES: [&str; 2] = ["example.org", "eniac.example.org"];

/// Starts the edge, and checks the first certificates. Adds the results to `facts`.
///
/// # Errors
/// Returns an error if the edge does not start or gets no certificates within 60 s, so that the other chapters cannot
/// run.
pub(crate) fn issue(lab: &Lab, facts: &Facts) -> Result<(), String> {
    lab.start_edge("")?;
    let issued = facts.fact(
        CHAPTER,
        "two certificates, each for a name and its wildcard, issued by DNS-01 through Cloudflare's API",
        || {
            until(Duration::from_secs(60), || {
                let mut edge = lab.edge.lock().expect("no panic");
                let said = edge.as_mut().ok_or("the edge is not running")?.all();
                let done =
                    |name: &&str| said.iter().any(|line| line.contains(&format!("acme: {name}: deployed")));
                ensure(NAMES.iter().all(done), || said.join("\n"))
            })?;
            let requests = lab.external.cloudflare.requests();
            let of = |method: &str| requests.iter().filter(|line| line.starts_with(method)).count();
            Ok(format!(
                "{} records written, {} removed, {} orders at the CA",
                of("POST"),
                of("DELETE"),
                lab.external.orders()
            ))
        },
    );
    if !issued {
        return Err("no certificates: the other checks cannot run".to_owned());
    }
    facts.fact(CHAPTER, "no TXT record is left behind, neither at Cloudflare nor on the name server", || {
        for name in ["_acme-challenge.example.org", "_acme-challenge.eniac.example.org"] {
            let left = until(Duration::from_secs(5), || {
                let left = [
                    lab.external.cloudflare.txt(name),
                    lab.topology.internet.run_inside(|| lab.external.knot.txt(name)),
                ]
                .concat();
                ensure(left.is_empty(), || left.join(", "))
            });
            left.map_err(|why| format!("{name}: {why}"))?;
        }
        Ok("both are empty".to_owned())
    });
    for (how, version) in [("--http1.1", "1.1"), ("--http2", "2"), ("--http3-only", "3")] {
        facts.fact(
            CHAPTER,
            format!("served over HTTP/{version} and trusted by a client whose only root is the CA"),
            || {
                let said = lab.curl(&format!("{how} -o /dev/null https://git.example.org/"))?;
                ensure(said.trim() == format!("{version} 200"), || said.clone())?;
                Ok(said.trim().to_owned())
            },
        );
    }
    facts.fact(CHAPTER, "a member of the group `acme` can read the key, other accounts cannot", || {
        let key = lab.topology.vps.folder.join("var-lib/acme/example.org/key.pem");
        let mode = std::fs::metadata(key).map_err(|why| why.to_string())?.mode() & 0o777;
        ensure(mode == 0o640, || format!("its mode is {mode:o}"))?;
        let read = |id: u32, groups: &str| {
            format!("setpriv --reuid {id} --regid {id} {groups} head -n 1 /var/lib/acme/example.org/key.pem")
        };
        let member = lab.topology.vps.ask(&read(MEMBER, "--init-groups"))?;
        ensure(member.starts_with("-----BEGIN"), || member.clone())?;
        let why = lab.topology.vps.expect_failure(&read(STRANGER, "--init-groups"))?;
        Ok(format!("mode {mode:o}; other account: {}", why.rsplit(": ").next().unwrap_or_default()))
    });
    Ok(())
}

/// Sends requests until `stop`, every 20 ms on one connection, and with every fifth one on a new connection. Returns
/// the number of requests on the one connection, and of those on new ones.
///
/// # Errors
/// Returns a description of the first request that failed or had another status than 200.
fn load(lab: &Lab, stop: &AtomicBool) -> Result<(usize, usize), String> {
    let tls = lab.tls();
    let name = rustls::pki_types::ServerName::try_from("git.example.org").map_err(|why| why.to_string())?;
    let tcp = TcpStream::connect((EDGE_ADDRESS, 443)).map_err(|why| why.to_string())?;
    tcp.set_read_timeout(Some(Duration::from_secs(20))).map_err(|why| why.to_string())?;
    let connection = rustls::ClientConnection::new(tls.clone(), name).map_err(|why| why.to_string())?;
    let mut kept = rustls::StreamOwned::new(connection, tcp);
    let (mut on_one, mut on_new) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        kept.write_all(b"HEAD /kept HTTP/1.1\r\nHost: git.example.org\r\n\r\n")
            .map_err(|why| format!("request {on_one}: {why}"))?;
        let mut part = [0; 4096];
        let n = kept.read(&mut part).map_err(|why| format!("request {on_one}: {why}"))?;
        ensure(part[..n].starts_with(b"HTTP/1.1 200"), || {
            format!("request {on_one}: {}", String::from_utf8_lossy(&part[..n]))
        })?;
        on_one += 1;
        if on_one % 5 == 0 {
            let (status, _) = lab.request(&tls, "GET", "git.example.org", "/new")?;
            ensure(status == 200, || format!("a new connection: {status}; {}", lab.refused_by_edges()))?;
            on_new += 1;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok((on_one, on_new))
}

/// Checks that the edge renews a certificate that the CA suggests to replace, after two failures of the CA, without
/// losing a request. Adds the results to `facts`.
pub(crate) fn renewal(lab: &Lab, facts: &Facts) {
    let path = lab.topology.vps.folder.join("var-lib/acme/example.org/fullchain.pem");
    let chain = || std::fs::read_to_string(&path).map_err(|why| why.to_string());
    let stop = Arc::new(AtomicBool::new(false));
    let Ok(first) = chain() else { return };
    let eniac = std::fs::read(lab.topology.vps.folder.join("var-lib/acme/eniac.example.org/fullchain.pem"));
    let before = lab.external.orders();
    lab.external.suggest_renewal(&lab.topology, &first);
    lab.external.front.failures.store(2, Ordering::Relaxed);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| lab.topology.client.run_inside(|| load(lab, &stop)));
        let renewed = facts.fact(
            CHAPTER,
            "the CA suggests immediate renewal (ARI), fails twice with 500, then issues",
            || {
                // The edge queries the CA at most once a minute.
                until(Duration::from_secs(150), || {
                    let mut edge = lab.edge.lock().expect("no panic");
                    let said = edge.as_mut().ok_or("the edge is not running")?.all();
                    let done =
                        said.iter().filter(|line| line.contains("acme: example.org: deployed")).count();
                    ensure(done >= 2, || {
                        said.iter().rev().take(8).rev().cloned().collect::<Vec<_>>().join("\n")
                    })
                })?;
                let new = chain()?;
                ensure(new != first, || "the chain is the old one".to_owned())?;
                let orders = lab.external.orders() - before;
                ensure(orders == 3, || format!("{orders} order requests"))?;
                Ok("the third order succeeded".to_owned())
            },
        );
        stop.store(true, Ordering::Relaxed);
        facts.fact(
            CHAPTER,
            "no request is lost during the renewal, on an existing connection or on new ones",
            || {
                let (on_one, on_new) = load.join().map_err(|_| "the client panicked")??;
                ensure(renewed && on_one > 10, || format!("only {on_one} requests"))?;
                Ok(format!("{on_one} requests on one connection, {on_new} on new ones, all with status 200"))
            },
        );
    });
    facts.fact(CHAPTER, "the new certificate is served over TCP and over QUIC", || {
        let serial = |text: &str| text.lines().find_map(|line| line.strip_prefix("serial=")).map(str::to_lowercase);
        let script = format!("openssl x509 -noout -serial -in {}", path.display());
        let output = std::process::Command::new("sh").args(["-c", &script]).output().map_err(|why| why.to_string())?;
        let stored = serial(&String::from_utf8_lossy(&output.stdout)).ok_or("no serial number in the file")?;
        let wire = lab.topology.client.ask(&format!(
            "openssl s_client -connect {EDGE_ADDRESS}:443 -servername git.example.org </dev/null 2>/dev/null | openssl x509 -noout -serial"
        ))?;
        ensure(serial(&wire).as_ref() == Some(&stored), || format!("{wire}, stored {stored}"))?;
        let quic = lab.topology.client.ask(
            "/opt/newer/curl -sS --max-time 15 --http3-only --cacert /run/issuing.pem -o /dev/null -w '%{certs}' \
             https://git.example.org/ | openssl x509 -noout -serial",
        )?;
        ensure(serial(&quic).as_ref() == Some(&stored), || format!("QUIC: {quic}, stored {stored}"))?;
        Ok(format!("serial {stored}"))
    });
    facts.fact(CHAPTER, "the other certificate is unchanged", || {
        let now = std::fs::read(lab.topology.vps.folder.join("var-lib/acme/eniac.example.org/fullchain.pem"));
        ensure(now.ok() == eniac.ok(), || "it was replaced".to_owned())?;
        Ok(format!("only {ZONE} has a new serial number"))
    });
}
