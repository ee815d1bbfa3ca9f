//! Who a client is, as the application on the node sees it.

use crate::facts::{Facts, ensure};
use crate::lab::{Lab, field};
use crate::world::port;
use std::time::Duration;

const CHAPTER: &str = "Clients";
const SPOOFED: &str = "-H 'X-Forwarded-For: 6.6.6.6' -H 'X-Real-IP: 6.6.6.6' -H 'Forwarded: for=6.6.6.6' -H 'X_Forwarded_For: 6.6.6.6'";

pub(crate) fn run(lab: &Lab, facts: &Facts) {
    through_both_hops(lab, facts);
    websocket(lab, facts);
    facts.fact(CHAPTER, "the node's own access log has the client, not the edge", || {
        let log = std::fs::read_to_string(lab.world.matrix.folder.join("run/access.log"))
            .map_err(|why| why.to_string())?;
        let lines = log.lines().filter(|line| line.contains("\"client\":\"203.0.113.7\"")).count();
        let others = log.lines().filter(|line| line.contains("\"client\":\"100.64.0.1\"")).count();
        ensure(lines > 0 && others == 0, || format!("{lines} of the client, {others} of the edge"))?;
        Ok(format!("{lines} lines"))
    });
    around_the_edge(lab, facts);
    double_tls(lab, facts);
}

fn through_both_hops(lab: &Lab, facts: &Facts) {
    for (how, version) in [("--http1.1", "1.1"), ("--http2", "2"), ("--http3-only", "3")] {
        facts.fact(CHAPTER, format!("through both hops over HTTP/{version}: the application sees the client, and nothing of what it forged"), || {
            let said = lab.curl(&format!("-4 {how} {SPOOFED} https://git.example.org/who"))?;
            ensure(said.ends_with(&format!("{version} 200")), || said.clone())?;
            ensure(!said.contains("6.6.6.6"), || format!("forged: {said}"))?;
            let (real, list) = (field(&said, "x-real-ip")?, field(&said, "x-forwarded-for")?);
            ensure(real == "203.0.113.7" && list == "203.0.113.7, 100.64.0.1", || said.clone())?;
            ensure(field(&said, "x-forwarded-proto")? == "https", || said.clone())?;
            Ok(format!("X-Real-IP {real}; X-Forwarded-For {list}"))
        });
    }
    facts.fact(CHAPTER, "the same by IPv6", || {
        let said = lab.curl("-6 --http3-only https://git.example.org/who")?;
        let real = field(&said, "x-real-ip")?;
        ensure(real == "2001:db8::7", || said.clone())?;
        Ok(format!("X-Real-IP {real}"))
    });
    facts.fact(CHAPTER, "plain HTTP is sent to https, and nothing else", || {
        let said = lab.curl("-4 -o /dev/null -w '%{redirect_url}' 'http://git.example.org/a?b=c'")?;
        ensure(said.contains("https://git.example.org/a?b=c"), || said.clone())?;
        Ok("308 to https://git.example.org/a?b=c".to_owned())
    });
}

fn websocket(lab: &Lab, facts: &Facts) {
    facts.fact(CHAPTER, "a WebSocket through both hops: the application knows whose it is", || {
        let said = lab.world.client.ask(
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

/// Not by the edge's door.
fn around_the_edge(lab: &Lab, facts: &Facts) {
    facts.fact(CHAPTER, "the node does not answer the public side, not even somebody there with an address of the tailnet", || {
        let attacker = &lab.world.attacker;
        attacker.ask("ip address replace 100.64.0.66/32 dev eth0 && ip route replace 100.64.0.2/32 via 203.0.113.2 src 100.64.0.66")?;
        let ask = |to: &str| {
            attacker.refused(&format!("curl -sS --max-time 3 -H 'Host: git.example.org' -H 'X-Forwarded-For: 6.6.6.6' http://{to}/"))
        };
        let public = ask("203.0.113.2")?;
        let forged = ask("100.64.0.2")?;
        let last = |text: &str| text.rsplit(") ").next().unwrap_or_default().to_owned();
        Ok(format!("by 203.0.113.2: {}; as 100.64.0.66: {}", last(&public), last(&forged)))
    });
    facts.fact(CHAPTER, "what only the tailnet may ask for, the tailnet alone gets", || {
        let refused = lab.curl("-4 -o /dev/null https://vault.example.org/admin").unwrap_or_else(|why| why);
        ensure(!refused.ends_with(" 200"), || refused.clone())?;
        let allowed = lab
            .world
            .laptop
            .ask("curl -sS --max-time 10 -H 'Host: vault.example.org' http://100.64.0.2/admin")?;
        let real = field(&allowed, "x-real-ip")?;
        ensure(real == "100.64.0.9", || allowed.clone())?;
        Ok(format!(
            "the public side: {}; the laptop: X-Real-IP {real}",
            refused.rsplit('\n').next().unwrap_or_default()
        ))
    });
}

fn double_tls(lab: &Lab, facts: &Facts) {
    facts.fact(CHAPTER, "double TLS to the second node: on the tailnet nothing of the request can be read; on the plain hop it can", || {
        let switch = &lab.world.switch;
        let capture = |host: &str| {
            let (port, file) = (port(host, "tailnet"), format!("/run/{host}.pcap"));
            let mut running = switch.start(&format!("tcpdump -i {port} -U -Z root -w {file} tcp"))?;
            running.hears("listening on", Duration::from_secs(10))?;
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
        // The plain hop is the proof that the capture works.
        crate::facts::until(Duration::from_secs(5), || ensure(has(&other_file).1, || "nothing was captured".into()))?;
        let (length, readable) = has(&one_file);
        one.kill();
        other.kill();
        ensure(length > 1_000 && !readable, || format!("{length} bytes captured, readable: {readable}"))?;
        Ok(format!("{length} bytes captured on the way to id3-eniac, none of the request; X-Real-IP 203.0.113.7 there"))
    });
    facts.fact(CHAPTER, "the second node is believed by the tailnet's CA alone: the internet's does not make it", || {
        let check = |roots: &str| {
            lab.world.vps.run(&format!(
                "openssl s_client -connect id3-eniac:443 -servername eniac.example.org -verify_return_error -CAfile {roots} -no-CApath </dev/null"
            ))
        };
        ensure(check("/etc/edge-proxyd/tailnet-ca.pem").status.success(), || "its own CA does not prove it".into())?;
        ensure(!check("/etc/ssl/certs/ca-certificates.crt").status.success(), || "the system's CAs prove it".into())?;
        Ok("verified by /etc/edge-proxyd/tailnet-ca.pem, refused by the system's".to_owned())
    });
}
