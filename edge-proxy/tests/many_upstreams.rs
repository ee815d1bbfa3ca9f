//! The work of a reload by the number of upstreams. A test program of its own, so that no other test has a thread of
//! the same name.
#![cfg(feature = "server")]

mod common;

use common::Edge;
use edge_proxy::config::{Target, Upstream};
use std::io::{Read, Write};
use std::net::TcpStream;
use testkit::{Origin, nobody};

const FEW: usize = 2_500;
const MANY: usize = 10_000;
/// Four times the work, and some for what a larger memory costs; a search through all for each would be sixteen times.
const FACTOR: u64 = 8;

/// Returns the time that a thread has used of a processor, in nanoseconds.
fn used(folder: &str) -> u64 {
    let text = std::fs::read_to_string(format!("{folder}/schedstat")).unwrap();
    text.split_whitespace().next().unwrap().parse().unwrap()
}

/// Returns the folder in `/proc` of the only worker.
fn worker() -> String {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let mut found = threads.filter_map(|thread| {
        let path = thread.unwrap().path().display().to_string();
        (std::fs::read_to_string(format!("{path}/comm")).is_ok_and(|name| name == "edge-0\n")).then_some(path)
    });
    let only = found.next().unwrap();
    assert_eq!(found.next(), None, "there is one worker");
    only
}

/// One request is answered once the worker has served what came before it.
fn ask(edge: &Edge) {
    let mut stream = TcpStream::connect(edge.plain()).unwrap();
    stream.write_all(b"GET /here HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// Returns the work of a reload with so many upstreams that are there before: of the caller, and of the worker, whose
/// clients wait meanwhile.
fn work(edge: &Edge, count: usize) -> [u64; 2] {
    let mut config = edge.config.clone();
    let closed = nobody();
    config.upstreams.extend((0..count).map(|number| {
        let target = Target::Tcp { host: closed.ip().to_string(), port: closed.port() };
        Upstream::new(format!("service-{number}"), target)
    }));
    edge.proxy.reload(config.clone()).unwrap();
    let measure = || {
        ask(edge);
        let threads = ["/proc/thread-self".to_owned(), worker()];
        let before = threads.each_ref().map(|thread| used(thread));
        let config = config.clone();
        edge.proxy.reload(config).unwrap();
        ask(edge);
        let after = threads.each_ref().map(|thread| used(thread));
        [after[0] - before[0], after[1] - before[1]]
    };
    let all: Vec<[u64; 2]> = (0..5).map(|_| measure()).collect();
    [0, 1].map(|at| all.iter().map(|each| each[at]).min().unwrap())
}

#[test]
fn a_reload_of_many_upstreams_takes_linear_time() {
    let origin = Origin::simple();
    let edge = Edge::before(origin.address(), 1);
    let (few, many) = (work(&edge, FEW), work(&edge, MANY));
    println!("nanoseconds of the caller and of the worker: {FEW} upstreams {few:?}, {MANY} {many:?}");
    for (few, many) in few.into_iter().zip(many) {
        assert!(few > 0 && many < FACTOR * few, "{few} ns for {FEW}, {many} ns for {MANY}");
    }
}
