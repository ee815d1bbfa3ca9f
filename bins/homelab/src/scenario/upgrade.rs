//! Upgrade of PostgreSQL from 17 to 18 under a writing client.

use crate::facts::{Facts, ensure, until};
use crate::lab::Lab;
use crate::postgres;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Chapter of the report to which the checks belong.
const CHAPTER: &str = "PostgreSQL 17 to 18";
/// Host name of the site to which the client writes.
const SITE: &str = "vault.example.org";

/// Outcomes of the requests of a client that writes rows: the confirmed rows, the number of maintenance responses,
/// other outcomes, and the longest time between two confirmed rows.
#[derive(Default)]
struct WriterTally {
    kept: Vec<u64>,
    maintenance: usize,
    /// Requests that were neither committed nor rejected with a retry hint: those in flight when the server stopped.
    other: Vec<String>,
    longest: Duration,
}

/// Writes one row to [`SITE`] after another, 30 ms after the end of the previous one, until `stop`, and counts the
/// outcomes.
fn client(lab: &Lab, asked: &Mutex<WriterTally>, stop: &AtomicBool) {
    let tls = lab.tls();
    let (mut number, mut since) = (0, Instant::now());
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let answer = lab.request(&tls, "POST", SITE, &format!("/keep/{number}"));
        let mut asked = asked.lock().expect("no panic");
        match answer {
            Ok((200, _)) => {
                asked.longest = asked.longest.max(since.elapsed());
                since = Instant::now();
                asked.kept.push(number);
            }
            Ok((503, content)) if content == "Back in a moment.\n" => asked.maintenance += 1,
            Ok((status, content)) => asked.other.push(format!("{status} {content}")),
            Err(why) => asked.other.push(why),
        }
        drop(asked);
        std::thread::sleep(Duration::from_millis(30));
    }
}

/// Upgrades the first node's PostgreSQL from 17 to 18 while a client writes, and adds the results of the checks to
/// `facts`. If the server does not run afterwards, it is started, so that the following chapters can run.
pub(crate) fn run(lab: &Lab, facts: &Facts) {
    let topology = &lab.topology;
    let (asked, stop) = (Mutex::new(WriterTally::default()), AtomicBool::new(false));
    let kept = || asked.lock().expect("no panic").kept.len();
    let program = |arguments: &str| {
        topology.matrix.ask(
            "mkdir -p /run/bin && ln -sf /usr/local/bin/upgrade-pg-cluster /run/bin/upgrade-pg-cluster-17-18",
        )?;
        topology.matrix.ask(&postgres::as_account(&format!(
            "/run/bin/upgrade-pg-cluster-17-18 {arguments} --old-bin {} --new-bin {}",
            postgres::programs(17),
            postgres::programs(18)
        )))
    };
    std::thread::scope(|scope| {
        scope.spawn(|| topology.client.run_inside(|| client(lab, &asked, &stop)));
        let before =
            facts.fact(CHAPTER, "a client writes through the edge, and `plan` finds no obstacle", || {
                until(Duration::from_secs(30), || {
                    ensure(kept() >= 5, || asked.lock().expect("no panic").other.join("\n"))
                })?;
                program("plan --stop")?;
                Ok(format!(
                    "{} rows so far, by version {}",
                    kept(),
                    lab.sql("postgres", "SHOW server_version")?
                ))
            });
        let rules = || {
            lab.sql("postgres", "SELECT string_agg(type || database::text || user_name::text || coalesce(address, '') || auth_method, '|' ORDER BY line_number) FROM pg_hba_file_rules")
        };
        let old_rules = rules();
        // Other chapters ask the same site meanwhile.
        let outage = lab.vault_outage.write();
        let upgraded = before
            && facts.fact(CHAPTER, "one command, upgrade-pg-cluster-17-18: PostgreSQL 18 runs", || {
                program("run --stop")?;
                until(Duration::from_secs(10), || lab.sql("postgres", "SHOW server_version")).and_then(
                    |version| {
                        ensure(version.starts_with("18."), || version.clone())?;
                        Ok(format!("version {version}"))
                    },
                )
            });
        facts.fact(CHAPTER, "during the upgrade the edge sends the maintenance response, and the application recovers without help", || {
            ensure(upgraded, || "there was no upgrade".to_owned())?;
            let at = kept();
            until(Duration::from_secs(30), || ensure(kept() > at + 5, || "no more rows are written".to_owned()))?;
            let asked = asked.lock().expect("no panic");
            ensure(asked.maintenance > 0, || format!("no maintenance response; others: {:?}", asked.other))?;
            ensure(asked.other.len() <= 3, || format!("{} other answers: {:?}", asked.other.len(), asked.other))?;
            Ok(format!(
                "{} times 503 \"Back in a moment.\", {} requests cut off, {:.1} s between two rows",
                asked.maintenance,
                asked.other.len(),
                asked.longest.as_secs_f64()
            ))
        });
        drop(outage);
        stop.store(true, Ordering::Relaxed);
        facts.fact(CHAPTER, "every confirmed row exists exactly once", || {
            let asked = asked.lock().expect("no panic");
            let list: Vec<String> = asked.kept.iter().map(u64::to_string).collect();
            let found = lab.sql(
                "vaultwarden",
                &format!(
                    "SELECT count(*) || ' ' || count(DISTINCT number) FROM kept WHERE number = ANY('{{{}}}')",
                    list.join(",")
                ),
            )?;
            ensure(found == format!("{0} {0}", list.len()), || {
                format!("{} confirmed, {found} found", list.len())
            })?;
            Ok(format!("{} confirmed, {} found", list.len(), list.len()))
        });
        facts.fact(CHAPTER, "access rules and passwords are the same as before", || {
            let (old, new) = (old_rules?, rules()?);
            ensure(old == new, || format!("{old}\n{new}"))?;
            let command = format!(
                "PGPASSWORD='second of forgejo' {}/psql -wqAtX 'host=203.0.113.2 user=forgejo dbname=forgejo sslmode=require' -c 'SELECT 1'",
                postgres::programs(18)
            );
            topology.client.ask(&command)?;
            Ok(format!("{} rules, all unchanged", new.matches('|').count() + 1))
        });
        facts.fact(CHAPTER, "a second run changes nothing; the old cluster still exists", || {
            let said = program("run")?;
            ensure(said.contains("nothing was touched"), || said.clone())?;
            ensure(topology.matrix.folder.join("var-lib/postgresql/17/PG_VERSION").exists(), || {
                "the old cluster was deleted".into()
            })?;
            Ok("nothing was touched".to_owned())
        });
    });
    // A failed upgrade must not break the following chapters.
    if lab.sql("postgres", "SELECT 1").is_err() {
        let _ = postgres::control(&lab.topology.matrix, 18, "start")
            .or_else(|_| postgres::control(&lab.topology.matrix, 17, "start"));
    }
}
