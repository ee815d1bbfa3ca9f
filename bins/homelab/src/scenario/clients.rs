//! The client address that the application on the node receives.

use crate::facts::{Facts, ensure};
use crate::lab::{Lab, field};
use crate::topology::port;
use std::time::Duration;

/// Chapter of the report to which the checks belong.
const CHAPTER: &str = "Clients";
/// Arguments of curl with forged header fields.
const SPOOFED: &str = "-H 'X-Forwarded-For: 6.6.6.6' -H 'X-Real-IP: 6.6.6.6' -H 'Forwarded: for=6.6.6.6' -H 'X_Forwarded_For: 6.6.6.6'";

/// Checks which client address the application receives, that WebSockets and headscale work through both hops, that the
/// edge cannot be bypassed, and that double TLS is not readable. Adds the results to `facts`.
pub(crate) fn run(lab: &Lab, facts: &Facts) {
    through_both_hops(lab, facts);
    websocket(lab, facts);
    check_headscale(lab, facts);
    facts.fact(CHAPTER, "the node's access log shows the address of the client, not of the edge", || {
        let log = std::fs::read_to_string(lab.topology.matrix.folder.join("run/access.log"))
            .map_err(|why| why.to_string())?;
        let lines = log.lines().filter(|line| line.contains("\"client\":\"203.0.113.7\"")).count();
        let others = log.lines().filter(|line| line.contains("\"client\":\"100.64.0.1\"")).count();
        ensure(lines > 0 && others == 0, || format!("{lines} of the client, {others} of the edge"))?;
        Ok(format!("{lines} lines"))
    });
    around_the_edge(lab, facts);
    double_tls(lab, facts);
}

/// Checks that the application receives the client's address and no forged fields, through both hops, over each version
/// of HTTP and over IPv6, and that plain HTTP is redirected.
fn through_both_hops(lab: &Lab, facts: &Facts) {
    for (how, version) in [("--http1.1", "1.1"), ("--http2", "2"), ("--http3-only", "3")] {
        facts.fact(CHAPTER, format!("through both hops over HTTP/{version}: the application sees the client's address and none of the forged fields"), || {
            let said = lab.curl(&format!("-4 {how} {SPOOFED} https://git.example.org/who"))?;
            ensure(said.ends_with(&format!("{version} 200")), || said.clone())?;
            ensure(!said.contains("6.6.6.6"), || format!("forged: {said}"))?;
            let (real, list) = (field(&said, "x-real-ip")?, field(&said, "x-forwarded-for")?);
            ensure(real == "203.0.113.7" && list == "203.0.113.7, 100.64.0.1", || said.clone())?;
            ensure(field(&said, "x-forwarded-proto")? == "https", || said.clone())?;
            Ok(format!("X-Real-IP {real}; X-Forwarded-For {list}"))
        });
    }
    facts.fact(CHAPTER, "the same over IPv6", || {
        let said = lab.curl("-6 --http3-only https://git.example.org/who")?;
        let real = field(&said, "x-real-ip")?;
        ensure(real == "2001:db8::7", || said.clone())?;
        Ok(format!("X-Real-IP {real}"))
    });
    facts.fact(CHAPTER, "plain HTTP is only redirected to HTTPS", || {
        let said = lab.curl("-4 -o /dev/null -w '%{redirect_url}' 'http://git.example.org/a?b=c'")?;
        ensure(said.contains("https://git.example.org/a?b=c"), || said.clone())?;
        Ok("308 to https://git.example.org/a?b=c".to_owned())
    });
}

/// Checks WebSockets through both hops over HTTP/1.1, HTTP/2 and HTTP/3.
fn websocket(lab: &Lab, facts: &Facts) {
    facts.fact(CHAPTER, "a WebSocket through both hops: the application sees the client's address", || {
        let said = lab.topology.client.ask(
            "PYTHONPATH=/opt/python python3 -c \"
import socket, ssl, websockets.sync.client as client
trust = ssl.create_default_context(cafile='/run/issuing.pem')
with client.connect('wss://git.example.org/socket', ssl=trust, sock=socket.create_connection(('203.0.113.1', 443)), additional_headers={'X-Real-IP': '6.6.6.6'}) as opened:
    opened.send('hello'); print(opened.recv())
\"",
        )?;
        ensure(said == "hello from 203.0.113.7", || said.clone())?;
        Ok(format!("it said {said:?}"))
    });
    for (version, rfc) in [("2", "8441"), ("3", "9220")] {
        facts.fact(
            CHAPTER,
            format!("a WebSocket over HTTP/{version} (RFC {rfc}) through both hops: the same"),
            || {
                let said = lab.python_client(&format!("websocket-h{version}"))?;
                ensure(said == "hello from 203.0.113.7", || said.clone())?;
                Ok(format!("it said {said:?}"))
            },
        );
    }
}

/// Checks that a client of headscale registers through both hops and stays connected, by the handshake and the frames
/// of Tailscale's control protocol, and that an upgrade to another protocol is not passed on.
fn check_headscale(lab: &Lab, facts: &Facts) {
    facts.fact(
        CHAPTER,
        "a client of headscale registers through both hops and stays: POST with Upgrade, frames both ways, a silence, another frame",
        || {
            let said = lab.python_client("control headscale.example.org 1000 10")?;
            let expected = "1000 frames both ways, another after 10 s of silence, client 203.0.113.7";
            ensure(said == expected, || said.clone())?;
            Ok(said)
        },
    );
    facts.fact(CHAPTER, "a protocol that the site does not name is not switched to, and the request goes on without it", || {
        let said = lab.curl("-4 --http1.1 -X POST -H 'Connection: upgrade' -H 'Upgrade: tcp' https://headscale.example.org/ts2021")?;
        ensure(said.ends_with("1.1 200"), || said.clone())?;
        ensure(field(&said, "upgrade")?.is_empty(), || said.clone())?;
        Ok("200, and Upgrade did not reach headscale".to_owned())
    });
}

/// Checks that the node does not respond to the public network, even to a forged tailnet address, and serves a route
/// that is limited to the tailnet only there.
fn around_the_edge(lab: &Lab, facts: &Facts) {
    facts.fact(CHAPTER, "the node does not respond to the public network, even to a forged tailnet address", || {
        let attacker = &lab.topology.attacker;
        attacker.ask("ip address replace 100.64.0.66/32 dev eth0 && ip route replace 100.64.0.2/32 via 203.0.113.2 src 100.64.0.66")?;
        let ask = |to: &str| {
            attacker.expect_failure(&format!("curl -sS --max-time 3 -H 'Host: git.example.org' -H 'X-Forwarded-For: 6.6.6.6' http://{to}/"))
        };
        let public = ask("203.0.113.2")?;
        let forged = ask("100.64.0.2")?;
        let last = |text: &str| text.rsplit(") ").next().unwrap_or_default().to_owned();
        Ok(format!("by 203.0.113.2: {}; as 100.64.0.66: {}", last(&public), last(&forged)))
    });
    facts.fact(CHAPTER, "a route limited to the tailnet is served to the tailnet only", || {
        let _present = lab.vault_outage.read().map_err(|why| why.to_string())?;
        let refused = lab.curl("-4 -o /dev/null https://vault.example.org/admin").unwrap_or_else(|why| why);
        ensure(!refused.ends_with(" 200"), || refused.clone())?;
        let allowed = lab
            .topology
            .laptop
            .ask("curl -sS --max-time 10 -H 'Host: vault.example.org' http://100.64.0.2/admin")?;
        let real = field(&allowed, "x-real-ip")?;
        ensure(real == "100.64.0.9", || allowed.clone())?;
        Ok(format!(
            "public network: {}; laptop: X-Real-IP {real}",
            refused.rsplit('\n').next().unwrap_or_default()
        ))
    });
}

/// Checks that the hop with double TLS is not readable on the tailnet, and that its certificate verifies only against
/// the tailnet's CA.
fn double_tls(lab: &Lab, facts: &Facts) {
    facts.fact(CHAPTER, "double TLS to the second node: the request is not readable on the tailnet, as it is on the plain hop", || {
        let switch = &lab.topology.switch;
        let capture = |host: &str| {
            let (port, file) = (port(host, "tailnet"), format!("/run/{host}.pcap"));
            let mut running = switch.start(&format!("tcpdump -i {port} -U -Z root -w {file} tcp"))?;
            running.wait_for_output("listening on", Duration::from_secs(10))?;
            Ok::<_, String>((running, switch.folder.join(format!("run/{host}.pcap"))))
        };
        let (mut one, one_file) = capture("id3-eniac")?;
        let (mut other, other_file) = capture("lab-matrix")?;
        let said = lab.curl("-4 --http2 https://x.eniac.example.org/find-this-needle")?;
        ensure(field(&said, "x-real-ip")? == "203.0.113.7", || said.clone())?;
        lab.curl("-4 --http2 https://git.example.org/find-this-needle")?;
        let has = |file: &std::path::Path| {
            let bytes = std::fs::read(file).unwrap_or_default();
            (bytes.len(), bytes.windows(16).any(|window| window == b"find-this-needle"))
        };
        // The capture of the plain hop proves that capturing works.
        crate::facts::until(Duration::from_secs(5), || ensure(has(&other_file).1, || "nothing was captured".into()))?;
        let (length, readable) = has(&one_file);
        one.kill();
        other.kill();
        ensure(length > 1_000 && !readable, || format!("{length} bytes captured, readable: {readable}"))?;
        Ok(format!("{length} bytes captured on the path to id3-eniac, none of the request; X-Real-IP 203.0.113.7 there"))
    });
    facts.fact(CHAPTER, "the certificate of the second node verifies against the tailnet's CA only", || {
        let check = |roots: &str| {
            lab.topology.vps.run(&format!(
                "openssl s_client -connect id3-eniac:443 -servername eniac.example.org -verify_return_error -CAfile {roots} -no-CApath </dev/null"
            ))
        };
        ensure(check("/etc/edge-proxyd/tailnet-ca.pem").status.success(), || "it does not verify against its own CA".into())?;
        ensure(!check("/etc/ssl/certs/ca-certificates.crt").status.success(), || "it verifies against the system's CAs".into())?;
        Ok("verified against /etc/edge-proxyd/tailnet-ca.pem, rejected against the system's CAs".to_owned())
    });
}
