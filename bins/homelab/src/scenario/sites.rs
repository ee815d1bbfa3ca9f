//! Sites that the edge does not serve to everybody: one of the tailnet, one for clients with a certificate, and SSH.

use crate::facts::{Facts, ensure, until};
use crate::lab::{Lab, field};
use std::time::Duration;

/// Chapter of the report to which the checks belong.
const CHAPTER: &str = "Sites";

/// Checks a site of the tailnet, one that requires a client certificate, and Git over SSH, and adds the results to
/// `facts`.
pub(crate) fn run(lab: &Lab, facts: &Facts) {
    of_the_tailnet(lab, facts);
    with_a_certificate(lab, facts);
    check_git_over_ssh(lab, facts);
}

/// Checks that a site that is limited to the tailnet is served there, over HTTP/2 and HTTP/3, and that its name is
/// unknown on the public listener.
fn of_the_tailnet(lab: &Lab, facts: &Facts) {
    let laptop = &lab.topology.laptop;
    let tailnet = "--connect-to grafana.example.org:443:100.64.0.1:443";
    for (how, version) in [("--http2", "2"), ("--http3-only", "3")] {
        facts.fact(
            CHAPTER,
            format!("a site of the tailnet alone is served to a laptop of it, over HTTP/{version}"),
            || {
                let said = lab.curl_from(laptop, &format!("{how} {tailnet} https://grafana.example.org/"))?;
                ensure(said.ends_with(&format!("{version} 200")), || said.clone())?;
                let real = field(&said, "x-real-ip")?;
                ensure(real == "100.64.0.9", || said.clone())?;
                Ok(format!("X-Real-IP {real}"))
            },
        );
    }
    facts.fact(
        CHAPTER,
        "on the public listener its name is unknown: no handshake, and no way by another name's",
        || {
            let mut seen = Vec::new();
            for how in ["--http2", "--http3-only"] {
                let refused = lab.curl(&format!("-4 --max-time 4 {how} https://grafana.example.org/"));
                ensure(refused.is_err(), || format!("{how}: {refused:?}"))?;
                let beside = lab.curl(&format!(
                    "-4 -o /dev/null {how} -H 'Host: grafana.example.org' https://git.example.org/"
                ))?;
                ensure(beside.ends_with(" 421"), || format!("{how}: {beside}"))?;
                seen.push(beside.trim().to_owned());
            }
            let plain = lab.curl("-4 --max-time 4 http://grafana.example.org/");
            ensure(plain.is_err(), || format!("{plain:?}"))?;
            Ok(format!("closed; beside the handshake of another: {}", seen.join(", ")))
        },
    );
}

/// Checks that a site that requires a client certificate rejects clients with no certificate or one of another CA, and
/// that the application receives the certificate of the accepted client rather than a forged field.
fn with_a_certificate(lab: &Lab, facts: &Facts) {
    facts.fact(
        CHAPTER,
        "a site that asks for client certificates ends the handshake of who has none, or another's",
        || {
            for pair in ["", "--cert /run/stranger.pem --key /run/stranger.key"] {
                for how in ["--http1.1", "--http2"] {
                    let refused = lab.curl(&format!("-4 {how} {pair} https://home.example.org/"));
                    ensure(refused.is_err(), || format!("{how} {pair}: {refused:?}"))?;
                }
            }
            Ok("no request was sent".to_owned())
        },
    );
    facts.fact(CHAPTER, "a client of the household gets in, and the service learns its certificate, not a claimed one", || {
        let said = lab.curl("-4 --http2 --cert /run/ann.pem --key /run/ann.key -H 'Client-Cert: :Zm9yZ2Vk:' https://home.example.org/")?;
        ensure(said.ends_with("2 200"), || said.clone())?;
        let told = field(&said, "client-cert")?;
        ensure(told.starts_with(":MII") && !said.contains("Zm9yZ2Vk"), || said.clone())?;
        Ok(format!("Client-Cert of {} characters", told.len()))
    });
}

/// Checks that Git pushes and clones over SSH through the edge, and that the server receives the client's address in
/// the PROXY header.
fn check_git_over_ssh(lab: &Lab, facts: &Facts) {
    facts.fact(CHAPTER, "git pushes and clones over SSH through the edge, and the server learns the client's address", || {
        let (matrix, client) = (&lab.topology.matrix, &lab.topology.client);
        let said = |why: std::io::Error| why.to_string();
        std::fs::write(matrix.folder.join("run/proxied.py"), include_str!("../proxied.py")).map_err(said)?;
        matrix.ask(
            "mkdir -p -m 755 /run/sshd /run/ssh && cd /run/ssh && ssh-keygen -q -t ed25519 -N '' -f host && \
             ssh-keygen -q -t ed25519 -N '' -f client && git init -q --bare -b main forge.git && { usermod -p '*' root || true; } && \
             printf 'ListenAddress 127.0.0.1:2022\\nHostKey /run/ssh/host\\nAuthorizedKeysFile /run/ssh/client.pub\\nStrictModes no\\n\
             UsePAM no\\nPasswordAuthentication no\\nPidFile none\\n' > /run/ssh/config",
        )?;
        let key = std::fs::read(matrix.folder.join("run/ssh/client")).map_err(said)?;
        std::fs::write(client.folder.join("run/ssh.key"), key).map_err(said)?;
        let _sshd = matrix.start("/usr/sbin/sshd -D -e -f /run/ssh/config")?;
        let _front = matrix.start("python3 /run/proxied.py 100.64.0.2:2222 2022 > /run/ssh/clients")?;
        until(Duration::from_secs(10), || matrix.ask("ssh-keyscan -p 2022 127.0.0.1 2>/dev/null | grep -q ed25519").map(drop))?;
        let url = "ssh://root@203.0.113.1:2222/run/ssh/forge.git";
        client.ask(&format!(
            "set -e; chmod 600 /run/ssh.key; mkdir /run/git; cd /run/git; export HOME=/run/git GIT_CONFIG_GLOBAL=/dev/null; \
             export GIT_SSH_COMMAND='ssh -F /dev/null -i /run/ssh.key -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/run/git/known -o ConnectTimeout=10'; \
             git init -q -b main work; cd work; head -c 4000000 /dev/urandom > large; git add .; \
             git -c user.name=a -c user.email=a@example.org commit -q -m one; git push -q {url} main; cd ..; \
             git clone -q {url} cloned; cmp work/large cloned/large"
        ))?;
        let clients = std::fs::read_to_string(matrix.folder.join("run/ssh/clients")).map_err(said)?;
        let ours = clients.lines().filter(|line| *line == "client 203.0.113.7").count();
        ensure(ours >= 2 && ours == clients.lines().count(), || clients.clone())?;
        Ok(format!("{ours} connections of 203.0.113.7"))
    });
}
