//! Pages of the programs themselves, kept beside the report: what the edge's status page shows at the end of a day, and who may
//! connect to the node's PostgreSQL.

use crate::facts::{Facts, ensure};
use crate::lab::Lab;
use std::path::Path;

const CHAPTER: &str = "Pages";

pub(super) fn keep(lab: &Lab, facts: &Facts, folder: &Path) {
    let write = |file: &str, text: &str| {
        let path = folder.join(file);
        std::fs::write(&path, text).map_err(|why| format!("{}: {why}", path.display()))
    };
    facts.fact(
        CHAPTER,
        "the edge's status page has every site and certificate, and is answered on its own host alone",
        || {
            let page = lab.world.vps.ask("curl -sS --max-time 10 http://127.0.0.1:9180/")?;
            for words in
                ["git", "vault", "headscale", "eniac", "apex", "*.example.org", "lab-matrix", "id3-eniac"]
            {
                ensure(page.contains(words), || format!("{words} is missing"))?;
            }
            lab.world.attacker.refused("curl -sS --max-time 2 http://203.0.113.1:9180/")?;
            lab.world.laptop.refused("curl -sS --max-time 2 http://100.64.0.1:9180/")?;
            write("homelab-status.html", &page)?;
            Ok("homelab-status.html".to_owned())
        },
    );
    facts.fact(CHAPTER, "who may come from where into what, of the file that PostgreSQL reads", || {
        let hba = lab.sql("postgres", "SHOW hba_file")?;
        let page = lab.world.matrix.ask(&format!("pg-hba matrix --html {hba}"))?;
        for words in ["vaultwarden", "headscale", "forgejo", "grafana"] {
            ensure(page.contains(words), || format!("{words} is missing"))?;
        }
        write("homelab-hba.html", &page)?;
        Ok(format!("{hba}: homelab-hba.html"))
    });
}
