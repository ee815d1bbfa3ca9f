//! `cargo xtask judges`: what others wrote to find fault with servers, against edge-proxyd and against nginx, on the same tests.
//! What they say is written into `edge-proxy/JUDGES.md`.

use crate::clients::{FETCH, SUITE};
use crate::steps::{Outcome, cargo, root, step, target};
use crate::tools::directory;
use std::path::PathBuf;
use std::process::Command;

/// Packages of Python, by pinned version, in a folder of their own.
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

/// Runs nginx with the libraries that came with it.
const NGINX: &str = r#"
libraries="$home/usr/lib/x86_64-linux-gnu"
"$libraries/ld-linux-x86-64.so.2" --library-path "$libraries" "$home/usr/sbin/nginx" -V 2>&1 | grep -q http_v3_module
"#;

/// What the table begins with.
const TOP: &str = "\
# What third parties say

`cargo xtask judges` installs what others wrote to find fault with servers and runs it against edge-proxyd and against nginx with
HTTP/3, both in front of the same origin on loopback, both set up as their documentation sets up a reverse proxy. This file is
what it wrote. ✓ is as it should be, ≈ is refused but in other words than the RFC's, ✗ is not as it should be.

h2spec, h3spec and tlsfuzzer are in no registry of packages. Their checks of HTTP/2 and HTTP/3 are made here section by section
with frames by hand (hyperframe's and aioquic's); of TLS with tlslite-ng, which tlsfuzzer is made with.

What is known of the ≈ and ✗ of edge-proxyd: a QUIC packet of an unknown version is met with silence, as every stranger is.

";

/// Installs what is missing.
pub(crate) fn install() -> Outcome {
    let nginx = directory().join("newer-nginx");
    if nginx.join("usr/sbin/nginx").exists() {
        println!("xtask: nginx with HTTP/3: there");
    } else {
        let mut unpack = Command::new("sh");
        unpack.args(["-c", &format!("{FETCH}{NGINX}")]);
        unpack.env("home", &nginx).env("suite", SUITE).env("packages", "nginx");
        step("nginx with HTTP/3: unpacking", unpack)?;
    }
    let stamp = directory().join("python-judges/installed");
    let wanted = PYTHON.join(" ");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        println!("xtask: {wanted}: there");
        return Ok(());
    }
    let mut pip = Command::new("/usr/bin/python3");
    pip.args(["-m", "pip", "--quiet", "install", "--no-deps", "--upgrade", "--target"]);
    pip.arg(directory().join("python-judges")).args(PYTHON);
    step(&format!("{wanted}: installing"), pip)?;
    std::fs::write(&stamp, wanted).map_err(|why| format!("{}: {why}", stamp.display()))
}

/// All of them, and the table.
pub(crate) fn all() -> Outcome {
    crate::tools::install()?;
    step(
        "build edge-proxyd",
        cargo(&["build", "--workspace", "--all-features", "--locked", "--bin", "edge-proxyd"]),
    )?;
    let table = target().join("judges.md");
    let mut run = python(&target().join("debug/edge-proxyd"));
    run.arg("--nginx").arg(directory().join("newer-nginx")).arg("--markdown").arg(&table);
    let outcome = step("judges", run);
    let said = std::fs::read_to_string(&table).map_err(|why| format!("{}: {why}", table.display()))?;
    let path = root().join("edge-proxy/JUDGES.md");
    std::fs::write(&path, format!("{TOP}{said}")).map_err(|why| format!("{}: {why}", path.display()))?;
    println!("xtask: {} is written", path.display());
    outcome
}

/// What takes less than a minute, against the program that the tests use.
pub(crate) fn quick() -> Outcome {
    let mut run = python(&target().join("debug/edge-proxyd"));
    run.arg("--quick");
    step("judges, those that are quick", run)
}

fn python(program: &PathBuf) -> Command {
    let mut run = Command::new("/usr/bin/python3");
    run.arg("-B").arg(root().join("bins/xtask/judges/run.py"));
    run.arg("--edge").arg(program).arg("--tools").arg(directory());
    run.env("PYTHONPATH", directory().join("python-judges"));
    run
}
