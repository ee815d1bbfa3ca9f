//! `cargo xtask bench`: the peers installed, everything built for release, and the comparison run.

use crate::clients;
use crate::steps::{Outcome, cargo, root, step, target};
use crate::tools::directory;
use std::path::Path;
use std::process::Command;

/// The peers and the tools that make the load.
const PACKAGES: &str = "nginx haproxy caddy nghttp2-client wrk";

/// Installs, builds, runs. Without arguments the documents are written too.
pub(crate) fn run(extra: &[&str]) -> Outcome {
    let peers = directory().join("peers");
    std::fs::create_dir_all(directory()).map_err(|why| format!("{}: {why}", directory().display()))?;
    if !peers.join("usr/bin/wrk").exists() {
        clients::unpack("nginx, HAProxy, Caddy, h2load, wrk", &peers, PACKAGES, "")?;
    }
    // One after the other, so that what the bench depends on adds no features to the program that is measured.
    for package in ["edge-proxyd", "peer-bench"] {
        let build = ["build", "--release", "--locked", "--package", package];
        step(&format!("{package}: building"), cargo(&build))?;
    }
    if !Path::new("/usr/bin/cmake").exists() {
        return Err("pingora is built with cmake, which is missing: apt-get install -y cmake".into());
    }
    // In a folder of its own: its packages have other features than ours.
    let pingora = target().join("pingora");
    let mut build = cargo(&["build", "--release", "--locked"]);
    build.current_dir(root().join("bins/peer-bench/pingora")).env("CARGO_TARGET_DIR", &pingora);
    step("the pingora proxy: building", build)?;
    let release = target().join("release");
    let mut bench = Command::new(release.join("peer-bench"));
    bench.arg("--edge").arg(release.join("edge-proxyd")).arg("--peers").arg(&peers);
    bench.arg("--pingora").arg(pingora.join("release/pingora-beside")).args(extra);
    if extra.is_empty() {
        bench.arg("--out").arg(root().join("edge-proxy"));
    }
    step("the bench", bench)
}
