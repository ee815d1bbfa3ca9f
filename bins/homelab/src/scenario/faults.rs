//! Faults: lost networks, nodes and processes, and a wrong clock.

use super::Pace;
use crate::facts::{Facts, ensure, until};
use crate::lab::{Lab, field};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Chapter of the report to which the checks belong.
pub(crate) const CHAPTER: &str = "Faults";

/// Checks a loss of the tailnet, a kill of the edge, and jumps of its clock, and adds the results to `facts`.
pub(crate) fn run(lab: &Lab, facts: &Facts, pace: &Pace) {
    tailnet_away(lab, facts, pace);
    edge_killed(lab, facts);
    clock_jumps(lab, facts);
}

/// Cuts the first node off the tailnet for [`Pace::tailnet_away`], and checks that an open WebSocket survives and
/// requests succeed afterwards.
fn tailnet_away(lab: &Lab, facts: &Facts, pace: &Pace) {
    let away = pace.tailnet_away;
    facts.fact(CHAPTER, format!("the tailnet is down for {} s: a WebSocket survives, and requests succeed afterwards", away.as_secs()), || {
        lab.wait_for_status("git.example.org", "/who", 200, Duration::from_secs(10))?;
        let mut socket = lab.topology.client.start(
            "env PYTHONPATH=/opt/python python3 -c \"
import socket, ssl, sys, time, websockets.sync.client as client
trust = ssl.create_default_context(cafile='/run/issuing.pem')
with client.connect('wss://git.example.org/socket', ssl=trust, ping_interval=None, open_timeout=45, sock=socket.create_connection(('203.0.113.1', 443))) as opened:
    opened.send('before'); print(opened.recv(), file=sys.stderr)
    time.sleep(1.0)
    opened.send('during'); print(opened.recv(timeout=120), file=sys.stderr)
\"",
        )?;
        socket.wait_for_output("before from 203.0.113.7", Duration::from_secs(60))?;
        lab.topology.plug("lab-matrix", "tailnet", false)?;
        std::thread::sleep(away);
        let cut = Instant::now();
        lab.topology.plug("lab-matrix", "tailnet", true)?;
        lab.wait_for_status("git.example.org", "/who", 200, Duration::from_secs(30))?;
        let back = cut.elapsed();
        socket.wait_for_output("during from 203.0.113.7", Duration::from_secs(100))?;
        Ok(format!("requests succeed {:.1} s after it is back; the WebSocket message arrived after {:.1} s", back.as_secs_f64(), cut.elapsed().as_secs_f64()))
    });
}

/// Cuts the power of the second node, boots it again, and checks that its site gets the maintenance response and
/// recovers, while another site is served. Adds the results to `facts`. Chapters that do not need the node may run at
/// the same time.
pub(crate) fn node_dies(lab: &Lab, facts: &Facts) {
    let died = facts.fact(
        CHAPTER,
        "the second node loses power: its site gets the maintenance response, other sites are unaffected",
        || {
            lab.wait_for_status("eniac.example.org", "/who", 200, Duration::from_secs(10))?;
            lab.topology.eniac.lock().expect("no panic").cut_power();
            let began = Instant::now();
            let said = lab.wait_for_status("eniac.example.org", "/who", 503, Duration::from_secs(40))?;
            ensure(said == "The node is away.\n", || said.clone())?;
            lab.wait_for_status("vault.example.org", "/who", 200, Duration::from_secs(10))?;
            Ok(format!("503 \"The node is away.\" after {:.1} s", began.elapsed().as_secs_f64()))
        },
    );
    facts.fact(CHAPTER, "it boots again: its site recovers without a change at the edge", || {
        ensure(died, || "the power was not cut".to_owned())?;
        lab.topology.boot_eniac_again()?;
        lab.start_second_node()?;
        let began = Instant::now();
        let back = lab.wait_for_status("eniac.example.org", "/who", 200, Duration::from_secs(60));
        let said = back.map_err(|why| {
            let node = lab.topology.eniac.lock().expect("no panic").run("ip -br address; ss -lntp; ps ax");
            let edge = lab.topology.vps.run("ip neigh; curl -skv --max-time 5 --connect-to ::id3-eniac https://eniac.example.org/who 2>&1");
            format!("{why}\n{}\n{}", String::from_utf8_lossy(&node.stdout), String::from_utf8_lossy(&edge.stdout))
        })?;
        Ok(format!("after {:.1} s; X-Real-IP {}", began.elapsed().as_secs_f64(), field(&said, "x-real-ip")?))
    });
}

/// Kills the edge with SIGKILL, so that it cannot clean up, restarts it, and checks that it serves its stored
/// certificates and orders none.
fn edge_killed(lab: &Lab, facts: &Facts) {
    facts.fact(
        CHAPTER,
        "the edge is killed and restarted: it serves its stored certificates and orders none",
        || {
            let orders = lab.external.orders();
            let chain =
                || std::fs::read(lab.topology.vps.folder.join("var-lib/acme/example.org/fullchain.pem")).ok();
            let before = chain();
            let (stop, answered, away) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
            let took = std::thread::scope(|scope| {
                scope.spawn(|| {
                    let tls = lab.tls();
                    lab.topology.client.run_inside(|| {
                        while !stop.load(Ordering::Relaxed) {
                            let count = if lab.request(&tls, "GET", "git.example.org", "/who").is_ok() {
                                &answered
                            } else {
                                &away
                            };
                            count.fetch_add(1, Ordering::Relaxed);
                            std::thread::sleep(Duration::from_millis(20));
                        }
                    });
                });
                let killed = until(Duration::from_secs(10), || {
                    ensure(answered.load(Ordering::Relaxed) > 3, || "no answers".into())
                });
                let began = Instant::now();
                if let Some(edge) = lab.edge.lock().expect("no panic").as_mut() {
                    edge.kill();
                }
                let started = killed.and_then(|()| lab.start_edge(""));
                let back = started.and_then(|()| {
                    lab.wait_for_status("git.example.org", "/who", 200, Duration::from_secs(20))
                });
                stop.store(true, Ordering::Relaxed);
                back.map(|_| began.elapsed())
            })?;
            ensure(
                lab.curl("--http3-only -o /dev/null https://git.example.org/")?.ends_with("3 200"),
                || "not over QUIC".into(),
            )?;
            ensure(chain() == before, || "the certificate changed".into())?;
            let now = lab.external.orders();
            ensure(now == orders, || format!("{} orders", now - orders))?;
            Ok(format!(
                "serving again after {:.2} s; {} attempts failed meanwhile",
                took.as_secs_f64(),
                away.load(Ordering::Relaxed)
            ))
        },
    );
}

/// Restarts the edge with libfaketime, sets its clock two days forward, then two days back, then right, and checks that
/// it keeps serving and orders no certificate.
fn clock_jumps(lab: &Lab, facts: &Facts) {
    let clock = lab.topology.vps.folder.join("run/clock");
    let set = |text: &str| std::fs::write(&clock, text).map_err(|why| why.to_string());
    facts.fact(CHAPTER, "the clock jumps two days forward, four back, and returns: the same certificates are served and none is ordered", || {
        let orders = lab.external.orders();
        set("+0d\n")?;
        if let Some(edge) = lab.edge.lock().expect("no panic").as_mut() {
            edge.kill();
        }
        lab.start_edge(
            "LD_PRELOAD=/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1 FAKETIME_TIMESTAMP_FILE=/run/clock \
             FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1",
        )?;
        lab.wait_for_status("git.example.org", "/who", 200, Duration::from_secs(20))?;
        let mut seen = Vec::new();
        for jump in ["+2d", "-2d", "+0d"] {
            set(&format!("{jump}\n"))?;
            lab.wait_for_status("git.example.org", "/who", 200, Duration::from_secs(10))?;
            std::thread::sleep(Duration::from_millis(600));
            let date = lab.curl("-o /dev/null -D - --http2 https://git.example.org/who").unwrap_or_default();
            ensure(date.ends_with("2 200"), || date.clone())?;
            let log = std::fs::read_to_string(lab.topology.vps.folder.join("run/access.log")).unwrap_or_default();
            let line = log.lines().last().unwrap_or_default().to_owned();
            let day = line.split("\"time\":\"").nth(1).and_then(|rest| rest.get(..10)).unwrap_or("?").to_owned();
            seen.push(format!("{jump}: {day}"));
        }
        let now = lab.external.orders();
        ensure(now == orders, || format!("{} orders", now - orders))?;
        ensure(seen.iter().any(|seen| seen.as_str() != seen.replace('?', "")).eq(&false), || seen.join(", "))?;
        Ok(format!("days in the edge's log: {}", seen.join(", ")))
    });
}
