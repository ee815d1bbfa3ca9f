//! The database of both edges: a primary on the first node, a replica on the second, and the loss of the first node.

use super::ask::ask_while;
use super::sessions::{TAKEN, send_volley};
use super::{APEX, EARLY, TICKETS, TwoEdgeLab, addresses};
use crate::facts::{Facts, ensure, until};
use crate::postgres;
use std::time::{Duration, Instant};

/// Chapter of the report to which the checks belong.
const CHAPTER: &str = "The database of both";

/// Password of the replication role.
pub(super) const REPLICATOR: &str = "of the replica";

/// Command that applies the declaration of the databases.
const APPLY: &str = "pg-ensure apply /srv/two-edges/databases.toml --hba /srv/two-edges/hba.toml \
    --connect 'host=/run/postgresql user=postgres'";

/// Creates and starts the primary and its replica, and adds the results to `facts`.
///
/// # Errors
/// Returns an error if one of them does not run, so that the other chapters cannot.
pub(super) fn boot(edges: &TwoEdgeLab, facts: &Facts) -> Result<(), String> {
    let matrix = &edges.topology.matrix;
    let (chain, key) = edges.topology.public_authority.issue(&["lab-matrix"]);
    postgres::init(matrix, 18, (&chain, &key))?;
    postgres::control(matrix, 18, "start")?;
    let there = facts.fact(
        CHAPTER,
        "on the first node: one command creates the role and database of the edges and a replication role",
        || {
            matrix.ask(&postgres::as_account(APPLY))?;
            postgres::sql(matrix, "postgres", "SELECT string_agg(rolname, ', ' ORDER BY rolname) FROM pg_roles WHERE rolname IN ('edges', 'replicator')")
                .and_then(|roles| ensure(roles == "edges, replicator", || roles.clone()).map(|()| roles))
        },
    );
    let follows = facts.fact(CHAPTER, "on the second node: a replica, over the tailnet, with a password", || {
        let eniac = edges.topology.eniac.lock().expect("no panic");
        postgres::folders(&eniac)?;
        eniac.ask(&postgres::as_account(&format!(
            "env PGPASSWORD='{REPLICATOR}' {}/pg_basebackup -h lab-matrix -U replicator -D /var/lib/postgresql/18 -R -X stream \
             -C -S id3_eniac -c fast --no-sync",
            postgres::programs(18)
        )))?;
        postgres::control(&eniac, 18, "start")?;
        until(Duration::from_secs(20), || {
            let state = postgres::sql(
                matrix,
                "postgres",
                "SELECT state || ' to ' || host(client_addr) FROM pg_stat_replication WHERE usename = 'replicator'",
            )?;
            ensure(state == "streaming to 100.64.0.3", || state.clone())?;
            Ok(state)
        })
    });
    ensure(there && follows, || "without a database there is nothing to share".to_owned())
}

/// Cuts the power of the primary's node under load, promotes the replica, and checks sessions and early data before and
/// after. Adds the results to `facts`.
///
/// # Errors
/// Returns an error if the sessions for the checks cannot be made, or the promotion fails, so that the other chapters
/// cannot run.
pub(super) fn lose_primary(edges: &TwoEdgeLab, facts: &Facts) -> Result<(), String> {
    let [one, other] = addresses();
    let topology = &edges.topology;
    let tickets = edges.client();
    let said = |why| format!("{why:?}");
    topology.client.run_inside(|| tickets.ask(one, APEX, "/before").map_err(said))?;
    // Early data that was used before the loss must not be accepted after it.
    let (used, path) = edges.send_early_to_other(0, "used")?;
    // Only the first primary has the sessions of these clients.
    let sessions = edges.client_with_sessions(0)?;
    let unused = edges.client_with_sessions(0)?.first_flight(EARLY, "/unused");

    let (tally, promoted) = ask_while(edges, EARLY, || {
        facts.fact(
            CHAPTER,
            "the first node loses power: its sites are down, everything else works, with full handshakes",
            || {
                topology.matrix.cut_power();
                let began = Instant::now();
                let late = topology.client.run_inside(|| sessions.ask(other, EARLY, "/away").map_err(said))?;
                ensure(late.status == 200 && !late.early, || format!("{late:?}"))?;
                ensure(late.took < Duration::from_secs(5), || format!("it took {:?}", late.took))?;
                let away = until(Duration::from_secs(20), || {
                    let away =
                        topology.client.run_inside(|| edges.client().ask(one, TICKETS, "/").map_err(said))?;
                    ensure(away.status == 503 && away.content == "The node is away.\n", || format!("{away:?}"))?;
                    Ok(began.elapsed())
                })?;
                Ok(format!(
                    "a client with a session was served in {:.2} s; the lost node's site says \"The node is away.\" after {:.1} s",
                    late.took.as_secs_f64(),
                    away.as_secs_f64()
                ))
            },
        );
        facts.fact(CHAPTER, "the replica is promoted: both edges find it without a change", || {
            let began = Instant::now();
            postgres::control(&topology.eniac.lock().expect("no panic"), 18, "promote")?;
            let promoted = began.elapsed();
            for edge in [0, 1] {
                edges.wait_for_database(edge, Duration::from_secs(40))?;
            }
            Ok(format!(
                "promoted in {:.1} s, reached by both after {:.1} s",
                promoted.as_secs_f64(),
                began.elapsed().as_secs_f64()
            ))
        })
    });
    facts.fact(CHAPTER, "no request is lost, of clients that resume sessions at both edges", || {
        tally?.check_none_lost()
    });
    ensure(promoted, || "without the promoted database there is nothing to share".to_owned())?;
    facts.fact(
        CHAPTER,
        "tickets from before the loss resume at both edges: their keys were replicated",
        || {
            for edge in [one, other] {
                let went = topology.client.run_inside(|| tickets.ask(edge, APEX, "/after").map_err(said))?;
                ensure(went.resumed && went.status == 308, || format!("{edge}: {went:?}"))?;
            }
            Ok("resumed at both".to_owned())
        },
    );
    facts.fact(CHAPTER, "early data with sessions of the lost primary is rejected, used or unused: each sent to both edges eight times", || {
        let taken = edges.sum(TAKEN)?;
        send_volley(edges, &used.flight);
        send_volley(edges, &unused);
        let (used, unused, taken) = (edges.count(&path)?, edges.count("/unused")?, edges.sum(TAKEN)? - taken);
        ensure(used == 1 && unused == 0 && taken == 0, || {
            format!("the used one arrived {used} times, the other {unused} times; {taken} sessions accepted")
        })?;
        Ok("the used one has arrived once, before; the other never".to_owned())
    });
    facts.fact(CHAPTER, "new sessions are shared again, and accepted once", || {
        edges.send_early_to_other(0, "again")?;
        Ok("made at one edge, early data accepted at the other".to_owned())
    });
    Ok(())
}
