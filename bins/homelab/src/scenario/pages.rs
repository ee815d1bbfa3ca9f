//! Pages of the programs, saved beside the report: the edge's status page at the end, and the access matrix of the
//! first node's PostgreSQL.

use crate::facts::{Facts, ensure};
use crate::lab::Lab;
use std::path::Path;

/// Chapter of the report to which the checks belong.
const CHAPTER: &str = "Pages";

/// Checks the edge's status page and the access matrix of the first node's PostgreSQL, and saves them as
/// `homelab-status.html` and `homelab-hba.html` in a folder. Adds the results to `facts`.
pub(super) fn keep(lab: &Lab, facts: &Facts, folder: &Path) {
    let write = |file: &str, text: &str| {
        let path = folder.join(file);
        std::fs::write(&path, text).map_err(|why| format!("{}: {why}", path.display()))
    };
    facts.fact(
        CHAPTER,
        "the edge's status page lists every site and certificate, and is reachable on its own host only",
        || {
            let page = lab.topology.vps.ask("curl -sS --max-time 10 http://127.0.0.1:9180/")?;
            for words in
                ["git", "vault", "headscale", "eniac", "apex", "*.example.org", "lab-matrix", "id3-eniac"]
            {
                ensure(page.contains(words), || format!("{words} is missing"))?;
            }
            lab.topology.attacker.expect_failure("curl -sS --max-time 2 http://203.0.113.1:9180/")?;
            lab.topology.laptop.expect_failure("curl -sS --max-time 2 http://100.64.0.1:9180/")?;
            write("homelab-status.html", &page)?;
            Ok("homelab-status.html".to_owned())
        },
    );
    facts.fact(CHAPTER, "the access matrix of the pg_hba.conf that PostgreSQL reads", || {
        let hba = lab.sql("postgres", "SHOW hba_file")?;
        let page = lab.topology.matrix.ask(&format!("pg-hba matrix --html {hba}"))?;
        for words in ["vaultwarden", "headscale", "forgejo", "grafana"] {
            ensure(page.contains(words), || format!("{words} is missing"))?;
        }
        write("homelab-hba.html", &page)?;
        Ok(format!("{hba}: homelab-hba.html"))
    });
}
