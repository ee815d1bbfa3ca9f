//! Third-party programs for the tests: a curl with HTTP/3 and a kernel with TLS key updates from a newer Debian suite,
//! Python packages for gRPC, WebSocket, SMTP and OTLP, and an SMTP server for Node.js.

use crate::process::{Outcome, step, tools_folder};
use std::path::Path;
use std::process::Command;

/// Debian suite of the newer programs. Its packages are only unpacked, never installed.
pub(crate) const SUITE: &str = "forky";

/// Python packages, by pinned version.
const PYTHON: &[&str] = &[
    "aiosmtpd==1.4.6",
    "atpublic==5.1",
    "attrs==25.4.0",
    "grpcio==1.76.0",
    "jsonschema==4.26.0",
    "jsonschema-specifications==2025.9.1",
    "opentelemetry-proto==1.45.2",
    "prometheus_client==0.23.1",
    "protobuf==7.36.2",
    "referencing==0.37.0",
    "rpds-py==2026.9.1",
    "typing_extensions==4.15.0",
    "websockets==15.0.1",
];

/// Node.js packages, by pinned version: an SMTP server with CRAM-MD5 and XOAUTH2, and its dependencies.
const NODE: &[&str] = &["smtp-server@3.21.6", "nodemailer@10.6.0", "punycode.js@2.3.1"];

/// Script that unpacks `packages` of `suite` and their dependencies into the folder `home`, all three being environment
/// variables.
pub(crate) const FETCH: &str = r#"set -eu
state=$(mktemp -d); trap 'rm -rf "$state"' EXIT
mkdir -p "$state/lists/partial" "$state/cache/archives/partial" && touch "$state/status"
mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list 2>/dev/null |
    sed -n 's/^URIs: *//p;s/^deb \(\[[^]]*\] \)\{0,1\}\([^ ]*\) .*/\2/p' | grep '/debian/*$' | head -n 1)
test -n "$mirror" || { echo "no mirror of Debian among apt's sources" >&2; exit 1; }
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" > "$state/sources.list"
newer() {
    apt-get -q -o Dir::State::Lists="$state/lists" -o Dir::Etc::SourceList="$state/sources.list" \
        -o Dir::Etc::SourceParts=/dev/null -o Dir::Cache="$state/cache" -o Dir::State::status="$state/status" \
        -o APT::Sandbox::User=root "$@" > /dev/null
}
newer update
newer --yes --no-install-recommends --download-only install $packages
rm -rf "$home"; mkdir -p "$home"
for package in "$state"/cache/archives/*.deb; do dpkg -x "$package" "$home"; done
"#;

/// Continuation of [`FETCH`] that writes a script to run the unpacked curl.
const CURL: &str = r#"
cat > "$home/curl" <<'END'
#!/bin/sh
root=$(dirname "$(readlink -f "$0")")
exec "$root/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2" --library-path "$root/usr/lib/x86_64-linux-gnu" "$root/usr/bin/curl" "$@"
END
chmod +x "$home/curl"
"$home/curl" --version | grep -q HTTP3
"#;

/// Continuation of [`FETCH`] that makes user-mode Linux run with the libraries of its own suite, which are in `lib` of
/// its working folder, by a loader path of the same length in its ELF header. Only its TLS modules are kept.
const KERNEL: &str = r#"
LC_ALL=C sed 's#/lib64/ld-linux-x86-64.so.2#lib/ld-linux-x86-64.so.2\x00\x00\x00#' "$home/usr/bin/linux.uml" > "$home/linux"
chmod +x "$home/linux"
ln -sfn usr/lib/x86_64-linux-gnu "$home/lib"
find "$home/usr/lib/uml/modules" -name '*.ko*' -not -path '*/crypto/*' -not -path '*/kernel/lib/*' -not -path '*/net/tls/*' -delete
cd "$home" && env LD_LIBRARY_PATH="$home/lib" ./linux --version > /dev/null
"#;

/// Installs the programs that are missing.
///
/// # Errors
/// Returns the command that failed.
pub(crate) fn install() -> Outcome {
    let newer = tools_folder().join("newer");
    if newer.join("curl").exists() {
        println!("xtask: curl with HTTP/3: there");
    } else {
        unpack("curl with HTTP/3", &newer, "curl", CURL)?;
    }
    let pebble = tools_folder().join("newer-pebble");
    if pebble.join("usr/bin/pebble").exists() {
        println!("xtask: pebble with ARI: there");
    } else {
        unpack("pebble with ARI", &pebble, "pebble lego", "")?;
    }
    let kernel = tools_folder().join("newer-kernel");
    if kernel.join("linux").exists() {
        println!("xtask: a newer user-mode Linux: there");
    } else {
        let mut unpack = Command::new("sh");
        unpack.args(["-c", &format!("{FETCH}{KERNEL}")]);
        unpack.env("home", &kernel).env("suite", SUITE).env("packages", "user-mode-linux");
        step("a newer user-mode Linux: unpacking", unpack)?;
    }
    // The versions are the content of the stamp, not its name, whose length is limited.
    let (stamp, wanted) = (tools_folder().join("python-installed"), PYTHON.join(" "));
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        println!("xtask: {wanted}: there");
        return node();
    }
    let mut pip = Command::new("/usr/bin/python3");
    pip.args(["-m", "pip", "--quiet", "install", "--no-deps", "--upgrade", "--target"]);
    pip.arg(tools_folder().join("python")).args(PYTHON);
    step(&format!("{wanted}: installing"), pip)?;
    std::fs::write(&stamp, wanted).map_err(|why| format!("{}: {why}", stamp.display()))?;
    node()
}

/// Unpacks packages of the newer suite with their dependencies into a folder, then runs `then` in the same shell.
/// `what` is a description.
///
/// # Errors
/// Returns the status if the script fails.
pub(crate) fn unpack(what: &str, home: &Path, packages: &str, then: &str) -> Outcome {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{FETCH}{then}")]);
    command.env("home", home).env("suite", SUITE).env("packages", packages);
    step(&format!("{what}: unpacking"), command)
}

/// Installs the Node.js packages into `node` of the tools folder, unless these versions are installed.
fn node() -> Outcome {
    let stamp = tools_folder().join(format!("node-{}", NODE.join("-").replace('@', "-")));
    if stamp.exists() {
        println!("xtask: {}: there", NODE.join(" "));
        return Ok(());
    }
    let mut npm = Command::new("/usr/bin/npm");
    npm.args(["install", "--silent", "--no-audit", "--no-fund", "--no-save", "--ignore-scripts", "--prefix"]);
    npm.arg(tools_folder().join("node")).args(NODE);
    step(&format!("{}: installing", NODE.join(" ")), npm)?;
    std::fs::write(&stamp, "").map_err(|why| format!("{}: {why}", stamp.display()))
}
