//! `cargo xtask conformance`: third-party conformance suites against edge-proxyd and nginx, with the same tests. The
//! results are written to `edge-proxy/CONFORMANCE.md`.

use crate::clients::{FETCH, SUITE};
use crate::environment;
use crate::process::{Outcome, cargo, root, step, target, tools_folder};
use std::path::PathBuf;
use std::process::Command;

/// Python packages, by pinned version, in a folder of their own.
const PYTHON: &[&str] = &[
    "aioquic==1.7.2",
    "annotated-types==0.8.0",
    "attrs==26.1.0",
    "certifi==2026.10.19.post1",
    "cffi==2.1.1",
    "cryptography==46.0.7",
    "ecdsa==0.19.2",
    "h2==4.4.1",
    "hpack==4.2.0",
    "hyperframe==6.1.0",
    "nassl==5.4.0",
    "pyasn1==0.6.5",
    "pyasn1-modules==0.4.2",
    "pycparser==3.12",
    "pydantic==2.14.4",
    "pydantic-core==2.50.5",
    "pylsqpack==1.0.0",
    "pyopenssl==26.2.0",
    "service-identity==24.2.0",
    "six==1.17.0",
    "sslyze==6.3.1",
    "tls-parser==2.0.2",
    "tlslite-ng==0.8.2",
    "typing-extensions==4.16.0",
    "typing-inspection==0.4.5",
];

/// Continuation of the script that unpacks nginx, which checks that it runs with the libraries of its suite.
const NGINX: &str = r#"
libraries="$home/usr/lib/x86_64-linux-gnu"
"$libraries/ld-linux-x86-64.so.2" --library-path "$libraries" "$home/usr/sbin/nginx" -V 2>&1 | grep -q http_v3_module
"#;

/// Beginning of the document.
const TOP: &str = "\
# Conformance

`cargo xtask conformance` installs third-party conformance tests and runs them against edge-proxyd and nginx with HTTP/3, both in
front of the same origin on loopback, both set up as their documentation sets up a reverse proxy. It writes this file. ✓ means
conformant, ≈ refused but not in the way the RFC prescribes, ✗ not conformant.

h2spec, h3spec and tlsfuzzer are in no package registry. Their checks of HTTP/2 and HTTP/3 are repeated here section by section
with hand-made frames (by hyperframe and aioquic), those of TLS with tlslite-ng, on which tlsfuzzer is based.

A known ≈ of edge-proxyd: it does not answer a QUIC packet of an unknown version, as it does not answer any unknown client.

";

/// Installs nginx and the Python packages if they are missing.
///
/// # Errors
/// Returns the command that failed.
pub(crate) fn install() -> Outcome {
    let nginx = tools_folder().join("newer-nginx");
    if nginx.join("usr/lib/nginx/modules/ngx_stream_module.so").exists() {
        println!("xtask: nginx with HTTP/3: there");
    } else {
        let mut unpack = Command::new("sh");
        unpack.args(["-c", &format!("{FETCH}{NGINX}")]);
        unpack.env("home", &nginx).env("suite", SUITE).env("packages", "nginx libnginx-mod-stream");
        step("nginx with HTTP/3: unpacking", unpack)?;
    }
    let stamp = packages().join("installed");
    let wanted = PYTHON.join(" ");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        println!("xtask: {wanted}: there");
        return Ok(());
    }
    let mut pip = Command::new("/usr/bin/python3");
    pip.args(["-m", "pip", "--quiet", "install", "--no-deps", "--upgrade", "--target"]);
    pip.arg(packages()).args(PYTHON);
    step(&format!("{wanted}: installing"), pip)?;
    std::fs::write(&stamp, wanted).map_err(|why| format!("{}: {why}", stamp.display()))
}

/// Returns the folder of the suites' Python packages. Its name is that of earlier versions, so that installed packages
/// remain in use.
fn packages() -> PathBuf {
    tools_folder().join("python-judges")
}

/// Runs all suites, and writes the document, also if a suite fails. The tools must be installed.
///
/// # Errors
/// Returns the status if a suite fails.
pub(crate) fn all() -> Outcome {
    step(
        "build edge-proxyd",
        cargo(&["build", "--workspace", "--all-features", "--locked", "--bin", "edge-proxyd"]),
    )?;
    let table = target().join("conformance.md");
    let mut run = python(&target().join("debug/edge-proxyd"));
    run.arg("--nginx").arg(tools_folder().join("newer-nginx")).arg("--markdown").arg(&table);
    let outcome = step("conformance", run);
    let said = std::fs::read_to_string(&table).map_err(|why| format!("{}: {why}", table.display()))?;
    let path = root().join("edge-proxy/CONFORMANCE.md");
    std::fs::write(&path, format!("{TOP}{said}")).map_err(|why| format!("{}: {why}", path.display()))?;
    println!("xtask: {} is written", path.display());
    outcome
}

/// Runs the suites that take less than a minute, with the debug build.
///
/// # Errors
/// Returns the status if a suite fails.
pub(crate) fn quick() -> Outcome {
    let mut run = python(&target().join("debug/edge-proxyd"));
    run.arg("--quick");
    step("conformance, quick suites", run)
}

/// Returns the command of the runner for a build of edge-proxyd.
fn python(program: &PathBuf) -> Command {
    let mut run = Command::new("/usr/bin/python3");
    run.arg("-B").arg(root().join("bins/xtask/conformance/run.py"));
    run.arg("--edge").arg(program).arg("--tools").arg(tools_folder());
    run.env("PYTHONPATH", packages());
    environment::define(&mut run);
    run
}
