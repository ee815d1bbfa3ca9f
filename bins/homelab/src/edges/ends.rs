//! Either edge stops, and a client that has both addresses loses no request.

use super::ask::ask_while;
use super::{EARLY, TRIES, TwoEdgeLab, addresses};
use crate::facts::{Facts, ensure, until};
use std::time::{Duration, Instant};

/// Chapter of the report to which the checks belong.
const CHAPTER: &str = "Either edge ends";

/// Kills and restarts each edge in turn under load, then cuts the power of the second, and checks that no request is
/// lost. Adds the results to `facts`.
pub(super) fn run(edges: &TwoEdgeLab, facts: &Facts) {
    let said = |why| format!("{why:?}");
    let (client, address) = (&edges.topology.client, addresses());
    for killed in [0, 1] {
        let (name, survivor) = (edges.hosts()[killed].name, 1 - killed);
        let (tally, ()) = ask_while(edges, EARLY, || {
            facts.fact(
                CHAPTER,
                format!("{name} is killed: its sessions resume at the other edge, with early data"),
                || {
                    let made: Vec<_> =
                        (0..TRIES).map(|_| edges.client_with_sessions(killed)).collect::<Result<_, _>>()?;
                    edges.kill(killed);
                    let resumed = made.iter().find_map(|sessions| {
                        let went = client.run_inside(|| sessions.ask(address[survivor], EARLY, "/survives"));
                        went.ok().filter(|went| went.resumed && went.early && went.status == 200)
                    });
                    resumed.ok_or_else(|| format!("none of the sessions of {TRIES} clients was resumed"))?;
                    Ok(format!("resumed at {}", edges.hosts()[survivor].name))
                },
            );
            facts.fact(CHAPTER, "curl with only the DNS names reaches the remaining edge", || {
                let answer = client.ask(&format!(
                    "/opt/newer/curl -sS -4 --max-time 15 --cacert /run/issuing.pem -o /dev/null -w '%{{http_code}} %{{remote_ip}}' \
                     https://{EARLY}/who"
                ))?;
                ensure(answer == format!("200 {}", address[survivor].ip()), || answer.clone())?;
                Ok(answer)
            });
            // The edge remains unavailable for a while.
            std::thread::sleep(Duration::from_secs(2));
            facts.fact(
                CHAPTER,
                format!("{name} restarts: it serves its stored certificates and orders none"),
                || {
                    let (orders, began) = (edges.external.orders(), Instant::now());
                    edges.start(killed)?;
                    until(Duration::from_secs(30), || {
                        let went = client.run_inside(|| {
                            edges.client().ask(address[killed], EARLY, "/who").map_err(said)
                        })?;
                        ensure(went.status == 200, || format!("{went:?}"))
                    })?;
                    let back = began.elapsed();
                    edges.wait_for_database(killed, Duration::from_secs(30))?;
                    ensure(edges.external.orders() == orders, || "it ordered".to_owned())?;
                    Ok(format!("serving after {:.2} s", back.as_secs_f64()))
                },
            );
        });
        facts.fact(CHAPTER, format!("while {name} is killed and restarted: no request is lost"), || {
            tally?.check_none_lost_by_outage()
        });
    }
    let (tally, cut) = ask_while(edges, EARLY, || {
        facts.fact(CHAPTER, "vps-galaga loses power: it sends no packet, and everything continues at the other edge", || {
            edges.hosts()[1].cut_power();
            // Packets to the edge are lost until the neighbours' ARP entries expire.
            std::thread::sleep(Duration::from_secs(5));
            let answer = client.ask(&format!(
                "/opt/newer/curl -sS -4 --max-time 20 --cacert /run/issuing.pem -o /dev/null -w '%{{http_code}} %{{remote_ip}}' \
                 https://{EARLY}/who"
            ))?;
            ensure(answer == format!("200 {}", address[0].ip()), || answer.clone())?;
            Ok(answer)
        })
    });
    facts.fact(CHAPTER, "meanwhile no request is lost", || {
        ensure(cut, || "the power was not cut".to_owned())?;
        tally?.check_none_lost_by_outage()
    });
}
