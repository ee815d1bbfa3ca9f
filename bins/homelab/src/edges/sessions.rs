//! Sessions that resume at the other edge, and early data that both edges together accept once.

use super::{APEX, EARLY, TRIES, TwoEdgeLab, addresses};
use crate::facts::{Facts, ensure};
use std::time::Duration;
use testkit::replay;

/// Chapter of the report to which the checks belong.
const CHAPTER: &str = "Sessions of both";
/// Metric of the number of sessions that an edge has taken from the database to accept early data.
pub(super) const TAKEN: &str = "edge_shared_takes_total{result=\"taken\"}";

/// Checks that sessions of one edge resume at the other, and that early data is accepted once by both edges together,
/// also if it is replayed. Adds the results to `facts`.
pub(super) fn run(edges: &TwoEdgeLab, facts: &Facts) {
    let [one, other] = addresses();
    let topology = &edges.topology;
    let said = |why| format!("{why:?}");
    facts.fact(CHAPTER, "both edges reach the database", || {
        for edge in [0, 1] {
            edges.wait_for_database(edge, Duration::from_secs(30))?;
        }
        Ok("edge_shared_up is 1 on both".to_owned())
    });
    facts.fact(CHAPTER, "a ticket of one edge resumes at the other, in both directions", || {
        let client = edges.client();
        topology.client.run_inside(|| {
            let first = client.ask(one, APEX, "/").map_err(said)?;
            let there = client.ask(other, APEX, "/").map_err(said)?;
            let back = client.ask(one, APEX, "/").map_err(said)?;
            ensure(!first.resumed && there.resumed && back.resumed, || format!("{there:?} {back:?}"))?;
            Ok(format!(
                "a full handshake {:.1} ms, resumed at the other edge {:.1} ms",
                first.took.as_secs_f64() * 1e3,
                there.took.as_secs_f64() * 1e3
            ))
        })
    });
    facts.fact(CHAPTER, "so it is for openssl: a session saved at one edge, reused at the other", || {
        let at = |edge: std::net::SocketAddr, session: &str| {
            topology.client.ask(&format!(
                "printf 'HEAD / HTTP/1.1\\r\\nHost: {APEX}\\r\\nConnection: close\\r\\n\\r\\n' | timeout 15 openssl s_client \
                 -connect {edge} -servername {APEX} -CAfile /run/issuing.pem -alpn http/1.1 -ign_eof {session} 2>&1"
            ))
        };
        at(one, "-sess_out /run/session")?;
        let text = at(other, "-sess_in /run/session")?;
        let line = text.lines().find(|line| line.starts_with("Reused, ")).map(str::to_owned);
        line.ok_or(text)
    });
    let mut used = None;
    facts.fact(
        CHAPTER,
        "early data is accepted at the edge that did not issue the session, and arrives once",
        || {
            let (went, path) = edges.send_early_to_other(0, "early")?;
            used = Some((went.flight, path));
            Ok("accepted; it arrived once".to_owned())
        },
    );
    facts.fact(
        CHAPTER,
        "an attacker replays the same bytes to both edges, eight times each: rejected by both",
        || {
            let (flight, path) = used.as_ref().ok_or("there was no early data")?;
            let taken = edges.sum(TAKEN)?;
            send_volley(edges, flight);
            let (count, now) = (edges.count(path)?, edges.sum(TAKEN)?);
            ensure(count == 1, || format!("it has arrived {count} times"))?;
            ensure(now == taken, || format!("{} of them got a session", now - taken))?;
            Ok("it has arrived once, and no replay got a session".to_owned())
        },
    );
    facts.fact(
        CHAPTER,
        "a withheld first flight, sent to both edges at the same time: at most one handshake gets the session",
        || {
            for number in 1..=TRIES {
                let (client, path) = (edges.client_with_sessions(0)?, format!("/held-{number}"));
                let taken = edges.sum(TAKEN)?;
                send_volley(edges, &client.first_flight(EARLY, &path));
                let (count, got) = (edges.count(&path)?, edges.sum(TAKEN)? - taken);
                ensure(got <= 1 && count <= 1, || format!("{got} got the session, {count} arrived"))?;
                // If the database was too late for all of them, no edge accepted the early data, which proves
                // nothing.
                if got == 1 {
                    return Ok(format!("16 were sent, 1 got the session, {count} arrived"));
                }
            }
            Err(format!("no flight of {TRIES} got its session"))
        },
    );
}

/// Sends recorded bytes to both edges from the attacker, eight times each, at the same time, and waits for the ends of
/// the connections.
pub(super) fn send_volley(edges: &TwoEdgeLab, flight: &[u8]) {
    edges.topology.attacker.run_inside(|| {
        std::thread::scope(|scope| {
            for round in 0..16 {
                let edge = addresses()[round % 2];
                scope.spawn(move || replay(edge, flight, Duration::from_secs(10)));
            }
        });
    });
}
