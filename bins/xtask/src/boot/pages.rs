//! Pages of the book beyond the first ones, followed on the machine of their reader: lost data is restored from a
//! backup, and nginx or certbot are replaced.

use super::Step;
use super::book::{follow, result, served};
use super::machine::{Machine, quiet};
use crate::book::page;
use crate::process::{Outcome, tools_folder};
use std::path::Path;
use std::process::Command;

/// Steps of this boot: titles of the report, and functions.
pub(super) const STEPS: &[Step] = &[
    ("Back up and restore: the edge and the node come back on an empty machine", backup),
    ("PostgreSQL from 17 to 18, and the same after a boot", postgresql),
    ("Move from nginx", from_nginx),
    ("Move from lego or certbot, and when a certificate does not renew", from_clients),
    ("Watch it with Prometheus and Grafana", monitoring),
];

/// Script that removes everything that the previous pages created, except for the accounts and the programs.
const EMPTY: &str = "cp /var/lib/postgresql/forgejo.dump /srv/forgejo.dump; systemctl stop edge-proxyd pg-ensure; \
    dpkg --purge edge-proxyd pg-ensure smtp-config; rm -rf /etc/edge-proxyd /etc/pg-ensure /etc/forgejo \
        /etc/systemd/system/edge-proxyd.service.d /var/lib/acme /var/lib/edge-proxyd /var/lib/pg-ensure; \
    runuser -u postgres -- dropdb forgejo; runuser -u postgres -- dropuser forgejo; systemctl daemon-reload; \
    dpkg --install /srv/packages/edge-proxyd_*.deb /srv/packages/pg-ensure_*.deb /srv/packages/smtp-config_*.deb";

/// Beginning of a command that queries the table that the backup must contain.
const ROW: &str = "PGPASSWORD='correct horse' psql -h 127.0.0.1 -U forgejo forgejo -Atc";

/// Follows `backup.md`: backs up, empties the machine, and restores.
fn backup(machine: &mut Machine) -> Outcome {
    let text = page("backup.md")?;
    let section = |name: &str| {
        let found = text.split("\n## ").find(|section| section.starts_with(name));
        found.ok_or(format!("backup.md has no section {name}"))
    };
    // The parts before and after the machine is emptied.
    let parts = |name: &str| {
        section(name)?
            .split_once("On an empty machine")
            .ok_or(format!("backup.md: {name} has no restoration"))
    };
    let ((edge, edge_again), (node, node_again)) = (parts("The edge")?, parts("The node")?);
    machine.run(&format!(
        "{ROW} 'insert into once values (17)'; edge-proxyd maintenance on vault.example.org"
    ))?;
    let certificate = machine.run("sha256sum /var/lib/acme/example.org/key.pem")?;
    follow(machine, edge)?;
    follow(machine, node)?;
    machine.run(EMPTY)?;
    machine.run("cp /srv/forgejo.dump /var/lib/postgresql/forgejo.dump; chown postgres: /var/lib/postgresql/forgejo.dump")?;
    follow(machine, edge_again)?;
    follow(machine, node_again)?;
    if machine.run("sha256sum /var/lib/acme/example.org/key.pem")? != certificate {
        return Err("the certificate was ordered anew".to_owned());
    }
    machine.until(20, &served("git"))?;
    machine.run(&format!("{ROW} 'table once' | grep 17"))?;
    machine.run("edge-proxyd maintenance off vault.example.org | grep 'is in service$'")?;
    machine.until(10, &served("vault"))?;
    // The table of the previous steps exists.
    machine.run(&format!("{ROW} 'drop table once'"))?;
    result(machine)
}

/// Script that installs the programs of 18 with their libraries as the package does, with the empty cluster that it
/// creates.
const EIGHTEEN: &str = "chown -R root: /opt/postgresql-18; ln -s /opt/postgresql-18/usr/lib/postgresql/18 /usr/lib/postgresql/18; \
    pg_createcluster 18 main > /dev/null; cat /etc/postgresql/18/main/postgresql.conf | grep '^port = 5433'";

/// Follows `postgresql-17-to-18.md` with PostgreSQL 18 below `/opt`, and checks that rows and settings are those of
/// before, that only the new server runs, and all this also after a boot.
fn postgresql(machine: &mut Machine) -> Outcome {
    let place = machine.root().join("opt/postgresql-18");
    quiet(Command::new("cp").arg("-a").arg(tools_folder().join("postgresql-18-icu")).arg(&place))?;
    at_home(&place, "/opt/postgresql-18")?;
    machine.run(EIGHTEEN)?;
    machine.run(&format!("{ROW} 'create table old (a int); insert into old values (17)'"))?;
    // A setting that an administrator adds.
    machine.run("echo 'work_mem = 7MB' > /etc/postgresql/17/main/conf.d/own.conf; chown postgres: /etc/postgresql/17/main/conf.d/own.conf")?;
    follow(machine, &page("postgresql-17-to-18.md")?)?;
    let served = |machine: &Machine| -> Outcome {
        let answer = machine.run(&format!(
            "{ROW} \"select current_setting('server_version_num')::int / 10000, a, current_setting('work_mem'), current_setting('cluster_name') from old\""
        ))?;
        if answer == "18|17|7MB|18/main" { Ok(()) } else { Err(format!("the new server answers {answer}")) }
    };
    served(machine)?;
    machine.run("pg_lsclusters -h | grep -E '^17 +main +5432 +down' && pg_lsclusters -h | grep -E '^18 +main +5432 +online'")?;
    // The dependent units work with it, also after a boot: roles, passwords, rules.
    machine.run("systemctl restart pg-ensure")?;
    machine.reboot()?;
    machine.active(60, &["postgresql@18-main", "pg-ensure", "edge-proxyd", "services"])?;
    machine.run("! systemctl is-active postgresql@17-main")?;
    served(machine)?;
    machine.run(&format!("{ROW} 'drop table old'")).map(drop)
}

/// Sets interpreter and library path of the PostgreSQL 18 programs below `folder` to those below `place`, the path of
/// this folder on the machine. Scripts are skipped.
fn at_home(folder: &Path, place: &str) -> Outcome {
    let libraries = format!("{place}/usr/lib/x86_64-linux-gnu");
    let bin = folder.join("usr/lib/postgresql/18/bin");
    let programs = std::fs::read_dir(&bin).map_err(|why| format!("{}: {why}", bin.display()))?;
    for program in programs.filter_map(Result::ok).map(|entry| entry.path()) {
        let print = Command::new("patchelf").arg("--print-interpreter").arg(&program).output();
        let print = print.map_err(|why| format!("patchelf: {why}"))?;
        let interpreter = String::from_utf8_lossy(&print.stdout).trim().to_owned();
        // Scripts have none.
        let Some((_, below)) =
            interpreter.split_once("postgresql-18-icu/").filter(|_| print.status.success())
        else {
            continue;
        };
        let mut patch = Command::new("patchelf");
        patch.args([
            "--set-interpreter",
            &format!("{place}/{below}"),
            "--force-rpath",
            "--set-rpath",
            &libraries,
        ]);
        quiet(patch.arg(&program))?;
    }
    Ok(())
}

/// Configuration of nginx for a site, with a certificate of certbot.
const NGINX: &str = "events {}\nhttp {\n  server {\n    listen 443 ssl;\n    server_name git.example.org;\n\
    ssl_certificate /etc/letsencrypt/live/example.org/fullchain.pem;\n    ssl_certificate_key /etc/letsencrypt/live/example.org/privkey.pem;\n\
    location / { proxy_pass http://100.64.0.2:3000; proxy_set_header X-Forwarded-For $remote_addr; \
    proxy_set_header Host $host; }\n  }\n  server {\n    listen 80;\n    server_name git.example.org;\n    \
    return 301 https://$host$request_uri;\n  }\n}\n";
/// Beginning of a command that writes a unit without effect, under the name of another program's.
const STAND_IN: &str = "printf '[Service]\\nType=oneshot\\nRemainAfterExit=yes\\nExecStart=/bin/true\\n[Install]\\nWantedBy=multi-user.target\\n' > /etc/systemd/system";

/// Follows the page `from-nginx.md`, with a configuration of nginx that is imported, tried beside it and then replaces
/// it, and with the certificate of certbot, which only root can read before. At the end the edge uses its own
/// certificate again.
fn from_nginx(machine: &mut Machine) -> Outcome {
    machine.run(&format!("mkdir -p /etc/nginx; cat > /etc/nginx/nginx.conf <<'END'\n{NGINX}END\n{STAND_IN}/nginx.service; systemctl daemon-reload; systemctl enable --now nginx"))?;
    machine.run(LETSENCRYPT)?;
    let text = page("from-nginx.md")?;
    let (import, rest) =
        text.split_once("\n## Certificates of certbot").ok_or("from-nginx.md has no certbot")?;
    let (certbot, rest) = rest.split_once("\n## Try it beside nginx").ok_or("from-nginx.md has no trial")?;
    let (trial, switch) = rest.split_once("\n## Switch").ok_or("from-nginx.md has no switch")?;
    follow(machine, import)?;
    let readable = "runuser -u edge-proxy -- test -r /etc/letsencrypt/live/example.org/privkey.pem";
    machine.run(&format!("! {readable}"))?;
    follow(machine, certbot)?;
    machine.run(readable)?;
    // The ports are changed by hand, and the program runs in another terminal.
    let beside =
        "sed -e 's/:443\"/:8443\"/; s/:80\"/:8080\"/' -e '1i https_port = 8443' edge.toml > beside.toml";
    let trial = trial.replace("edge.toml", "beside.toml");
    let trial = trial.replace(
        "edge-proxyd run --config beside.toml",
        "(edge-proxyd run --config beside.toml > /run/beside.log 2>&1 & echo $! > /run/beside.pid); sleep 3",
    );
    machine.run(&format!("cd /home/reader; cp edge.toml imported.toml; {beside}"))?;
    machine.run("printf '%s\\n' 'cacert = /srv/issuing.pem' fail silent show-error > /root/.curlrc; printf '%s\\n' 'cacert = /srv/issuing.pem' fail silent show-error > /home/reader/.curlrc")?;
    follow(machine, &trial).map_err(|why| {
        format!("{why}: {:?}", machine.output("cat /run/beside.log; cat /home/reader/beside.toml"))
    })?;
    machine.run("kill $(cat /run/beside.pid); cp /etc/edge-proxyd/edge.toml /srv/before.toml")?;
    follow(machine, switch)?;
    machine.run("systemctl reload edge-proxyd; ! systemctl is-active nginx")?;
    machine.run("grep -F /etc/letsencrypt/live /etc/edge-proxyd/edge.toml")?;
    machine.until(20, &served("git"))?;
    machine.run("sed -i 's#/etc/letsencrypt/live#/var/lib/acme#; s#privkey.pem#key.pem#' /etc/edge-proxyd/edge.toml; systemctl reload edge-proxyd")?;
    machine.until(20, &served("git"))
}

/// Script that creates the folders of certbot with its permissions, and the certificate of the edge in them.
const LETSENCRYPT: &str = "rm -rf /etc/letsencrypt; live=/etc/letsencrypt/live/example.org; archive=/etc/letsencrypt/archive/example.org; \
    mkdir -p $live $archive /etc/letsencrypt/renewal; chmod 700 /etc/letsencrypt/live /etc/letsencrypt/archive; \
    cp /var/lib/acme/example.org/fullchain.pem $archive/fullchain1.pem; install -m 600 /var/lib/acme/example.org/key.pem $archive/privkey1.pem; \
    openssl x509 -in $archive/fullchain1.pem -out $archive/cert1.pem; sed '1,/END CERT/d' $archive/fullchain1.pem > $archive/chain1.pem; \
    for part in cert chain fullchain privkey; do ln -s ../../archive/example.org/${part}1.pem $live/$part.pem; done; \
    printf 'version = 2.1.0\\narchive_dir = /etc/letsencrypt/archive/example.org\\ncert = %s/cert.pem\\nprivkey = %s/privkey.pem\\n\
chain = %s/chain.pem\\nfullchain = %s/fullchain.pem\\n' $live $live $live $live > /etc/letsencrypt/renewal/example.org.conf";

/// Script that creates the folder of lego in the reader's home, as `lego run` leaves it, with the certificate and the
/// account of the edge: keys in the form of SEC1.
const LEGO: &str = "cd /home/reader; account=.lego/accounts/acme-v02.api.letsencrypt.org/admin@example.org; mkdir -p $account/keys .lego/certificates; \
    store=$(dirname /var/lib/acme/.acme-dns01/accounts/*/url); openssl ec -in $store/key.pem -out $account/keys/admin@example.org.key 2> /dev/null; \
    printf '{\"email\":\"admin@example.org\",\"registration\":{\"body\":{\"status\":\"valid\"},\"uri\":\"%s\"}}' $(cat $store/url) > $account/account.json; \
    cd .lego/certificates; cp /var/lib/acme/example.org/fullchain.pem example.org.crt; sed '1,/END CERT/d' example.org.crt > example.org.issuer.crt; \
    openssl ec -in /var/lib/acme/example.org/key.pem -out example.org.key 2> /dev/null; printf '{\"domain\":\"example.org\"}' > example.org.json; \
    chmod -R go= /home/reader/.lego";

/// Checks that the certificate in place has this fingerprint, and that the account has the URL of the former client, if
/// `url` is the path of a file with it.
fn taken_over(machine: &Machine, fingerprint: &str, url: Option<&str>) -> Outcome {
    let found =
        machine.run("openssl x509 -noout -fingerprint -in /var/lib/acme/example.org/fullchain.pem")?;
    if found != fingerprint {
        return Err("the certificate was not taken over".to_owned());
    }
    let Some(url) = url else { return Ok(()) };
    machine.run(&format!("runuser -u acme -- acme-dns01 account show | grep -F \"$(cat {url})\"")).map(drop)
}

/// Follows the pages about a move from lego or certbot and about failed renewals.
fn from_clients(machine: &mut Machine) -> Outcome {
    machine.run(LETSENCRYPT)?;
    machine.run(LEGO)?;
    machine.run("cat /var/lib/acme/.acme-dns01/accounts/*/url > /srv/account")?;
    // An imported configuration has no status page, which the page about renewals queries.
    machine.run("printf '\\n[status]\\naddress = \"unix:/run/edge-proxyd/status.sock\"\\n' >> /etc/edge-proxyd/edge.toml")?;
    machine.run(&format!("printf '[Timer]\\nOnCalendar=daily\\n' > /etc/systemd/system/certbot.timer; {STAND_IN}/certbot.service; systemctl daemon-reload"))?;
    // The edge serves certificates that another program obtains, to which the folder belongs.
    machine.run(
        "systemctl stop edge-proxyd; rm -rf /var/lib/acme; dpkg --install /srv/packages/acme-dns01_*.deb; \
         systemctl start edge-proxyd",
    )?;
    let before =
        machine.run("openssl x509 -noout -fingerprint -in /etc/letsencrypt/live/example.org/cert.pem")?;
    let text = page("from-lego-and-certbot.md")?;
    for section in text.split("\n## ") {
        follow(machine, section)?;
        // A reader has one of the clients.
        if section.starts_with("From certbot") {
            taken_over(machine, &before, None)?;
            machine.run("rm -r /var/lib/acme/example.org /var/lib/acme/.acme-dns01")?;
        }
        if section.starts_with("From lego") {
            taken_over(machine, &before, Some("/srv/account"))?;
        }
    }
    machine.run("systemctl is-active acme-dns01")?;
    taken_over(machine, &before, Some("/srv/account"))?;
    machine.until(20, &served("git"))?;
    follow(machine, &page("certificate-does-not-renew.md")?)?;
    if machine.run("openssl x509 -noout -fingerprint -in /var/lib/acme/example.org/fullchain.pem")? == before
    {
        return Err("the certificate was not renewed".to_owned());
    }
    machine.until(20, &served("git"))
}

/// Follows the page `monitoring.md`: both programs have metrics at the addresses that Prometheus asks there.
fn monitoring(machine: &mut Machine) -> Outcome {
    let text = page("monitoring.md")?;
    let (edge, rest) = text.split_once("```sh").ok_or("monitoring.md has no commands")?;
    follow(machine, edge)?;
    // A reader adds the section to the file that there is; what it has here is the whole file.
    machine.run(
        "cp /etc/edge-proxyd/edge.toml /srv/before.toml; cp /home/reader/edge.toml /etc/edge-proxyd/edge.toml; systemctl restart edge-proxyd",
    )?;
    machine
        .until(20, "systemctl is-active edge-proxyd && curl -sS http://127.0.0.1:9180/metrics > /dev/null")?;
    follow(machine, &format!("```sh{rest}"))?;
    machine.until(20, "curl -sS --fail http://127.0.0.1:9181/metrics | grep -E '^acme_dns01_usable.* 1$'")?;
    machine.run("curl -sS --fail http://127.0.0.1:9180/metrics | grep edge_requests_total > /dev/null")?;
    machine.run("cp /srv/before.toml /etc/edge-proxyd/edge.toml; systemctl restart edge-proxyd").map(drop)
}
