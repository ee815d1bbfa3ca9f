//! What the tests need from outside, each by its pinned version, each with a line that says so.

use crate::steps::{Outcome, cargo, step, target};
use crate::{clients, icu, judges, postgres};
use std::path::{Path, PathBuf};
use std::process::Command;

/// cargo-deny, built once into the tools folder.
const CARGO_DENY: &str = "0.20.2";

/// Programs from the distribution's packages: what is looked for, and the package that has it.
const PROGRAMS: &[(&str, &str)] = &[
    ("/usr/bin/age", "age"),
    ("/usr/bin/argon2", "argon2"),
    ("/usr/bin/brotli", "brotli"),
    ("/usr/bin/certbot", "certbot"),
    ("/usr/bin/chromium", "chromium"),
    ("/usr/bin/curl", "curl"),
    ("/usr/bin/go", "golang-go"),
    ("/usr/bin/h2load", "nghttp2-client"),
    ("/usr/bin/htpasswd", "apache2-utils"),
    ("/usr/bin/kdig", "knot-dnsutils"),
    ("/usr/bin/lego", "lego"),
    ("/usr/bin/nix-instantiate", "nix-bin"),
    ("/usr/bin/node", "nodejs"),
    ("/usr/bin/npm", "npm"),
    ("/usr/bin/openssl", "openssl"),
    ("/usr/bin/patchelf", "patchelf"),
    ("/usr/bin/pebble", "pebble"),
    ("/usr/bin/pip3", "python3-pip"),
    ("/usr/bin/setpriv", "util-linux"),
    ("/usr/bin/slowhttptest", "slowhttptest"),
    ("/usr/bin/ssh-keygen", "openssh-client"),
    ("/usr/bin/strace", "strace"),
    ("/usr/bin/systemd-analyze", "systemd"),
    ("/usr/bin/testssl", "testssl.sh"),
    ("/usr/bin/unshare", "util-linux"),
    ("/usr/bin/zstd", "zstd"),
    ("/usr/lib/postgresql/15/bin/postgres", "postgresql-15"),
    ("/usr/sbin/dovecot", "dovecot-core"),
    ("/usr/sbin/ip", "iproute2"),
    ("/usr/sbin/knotd", "knot"),
    ("/usr/sbin/mkfs.xfs", "xfsprogs"),
    ("/usr/sbin/nginx", "nginx-light"),
    ("/usr/sbin/postfix", "postfix"),
    ("/usr/share/gocode/src/gopkg.in/ini.v1/ini.go", "golang-gopkg-ini.v1-dev"),
];

/// Where tools are installed: beside what cargo builds.
pub(crate) fn directory() -> PathBuf {
    target().join("tools")
}

/// Installs whatever is missing.
pub(crate) fn install() -> Outcome {
    postgres::before_packages()?;
    packages()?;
    postgres::install()?;
    icu::install()?;
    clients::install()?;
    judges::install()?;
    cargo_tool("cargo-deny", CARGO_DENY)
}

/// Packages of the distribution. Only root can install them, so anybody else is told the command.
fn packages() -> Outcome {
    let missing: Vec<&str> =
        PROGRAMS.iter().filter(|(path, _)| !Path::new(path).exists()).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        println!("xtask: packages: all there");
        return Ok(());
    }
    let install =
        format!("apt-get update && apt-get install -y --no-install-recommends {}", missing.join(" "));
    let root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
    if !root {
        return Err(format!("packages are missing, and installing them takes root: sudo sh -c '{install}'"));
    }
    // The tests have a postfix of their own each; the machine's must not begin to take mail.
    let postfix = if missing.contains(&"postfix") {
        "echo postfix postfix/main_mailer_type select No configuration | debconf-set-selections && "
    } else {
        ""
    };
    let quiet = format!(
        "(apt-get -q update && {postfix}DEBIAN_FRONTEND=noninteractive {}) >/dev/null",
        install.trim_start_matches("apt-get update && ")
    );
    step(&format!("packages: installing {}", missing.join(" ")), Command::new("sh").args(["-c", &quiet]))
}

/// A program published on crates.io, at exactly one version.
pub(crate) fn cargo_tool(name: &str, version: &str) -> Outcome {
    let stamp = directory().join(format!("{name}-{version}"));
    if stamp.exists() {
        println!("xtask: {name} {version}: there");
        return Ok(());
    }
    let root = directory().display().to_string();
    step(
        &format!("{name} {version}: building"),
        &mut cargo(&["install", "--quiet", "--locked", "--root", &root, name, "--version", version]),
    )?;
    std::fs::write(&stamp, "").map_err(|why| format!("{}: {why}", stamp.display()))
}
