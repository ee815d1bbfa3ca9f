//! `cargo xtask bench`: installs the peers, builds everything for release, and runs the comparison.

use crate::clients;
use crate::process::{Outcome, cargo, root, step, target, tools_folder};
use std::process::Command;

/// The peers and the load generators.
const PACKAGES: &str = "nginx haproxy caddy nghttp2-client wrk";

/// The build tool of pingora's zlib, from PyPI: version and digest.
const CMAKE: (&str, &str) = ("4.4.5", "85625a9b6d5e88ff99c7eb79123d85570844e77ac076366cf75c609cc0b1b579");

/// Installs cmake if it is missing, and returns the search path for programs.
fn cmake() -> Result<String, String> {
    let folder = tools_folder().join(format!("cmake-{}", CMAKE.0));
    let programs = folder.join("cmake/data/bin");
    if !programs.join("cmake").exists() {
        let requirement = folder.with_extension("requirement");
        std::fs::write(&requirement, format!("cmake=={} --hash=sha256:{}\n", CMAKE.0, CMAKE.1))
            .map_err(|why| format!("{}: {why}", requirement.display()))?;
        let mut install = Command::new("python3");
        install.args(["-m", "pip", "--quiet", "install", "--no-deps", "--require-hashes", "--target"]);
        step(&format!("cmake {}: installing", CMAKE.0), install.arg(&folder).arg("-r").arg(&requirement))?;
    }
    Ok(format!("{}:{}", programs.display(), std::env::var("PATH").unwrap_or_default()))
}

/// Installs, builds and runs. Without arguments the documents are written too.
pub(crate) fn run(extra: &[&str]) -> Outcome {
    let peers = tools_folder().join("peers");
    std::fs::create_dir_all(tools_folder()).map_err(|why| format!("{}: {why}", tools_folder().display()))?;
    if !peers.join("usr/bin/wrk").exists() {
        clients::unpack("nginx, HAProxy, Caddy, h2load, wrk", &peers, PACKAGES, "")?;
    }
    // One after another, so that the bench's dependencies add no features to the measured program.
    for package in ["edge-proxyd", "peer-bench"] {
        let build = ["build", "--release", "--locked", "--package", package];
        step(&format!("{package}: building"), cargo(&build))?;
    }
    let path = cmake()?;
    // In a separate folder: its packages have other features.
    let pingora = target().join("pingora");
    let mut build = cargo(&["build", "--release", "--locked"]);
    build
        .current_dir(root().join("bins/peer-bench/pingora"))
        .env("CARGO_TARGET_DIR", &pingora)
        .env("PATH", path);
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
