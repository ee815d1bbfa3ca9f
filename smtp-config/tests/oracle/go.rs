//! The program of Go beside this file: built by a release of Go, and asked.

use super::sections::is_full;
use smtp_config::AddressRules;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

/// The release of Go that the tests of go-ini use.
pub(crate) const GO: &str = "1.24.11";

/// Releases of Go with the rules of net/mail that each has.
pub(crate) fn releases() -> Vec<(&'static str, AddressRules)> {
    let mut all = vec![
        ("1.22.10", AddressRules::Go1_22),
        (GO, AddressRules::Go1_23),
        ("1.26.6", AddressRules::Go1_26),
        ("1.27.3", AddressRules::Go1_27),
    ];
    if is_full() {
        all.push(("1.23.9", AddressRules::Go1_23));
    }
    all
}

/// Asks the Go program beside this file, built by a release of Go.
pub(crate) fn ask_go(go: &str, requests: &[(u8, &str)]) -> Vec<Vec<String>> {
    let mut child = Command::new(program(go))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut input = child.stdin.take().expect("a pipe");
    let mut bytes = Vec::new();
    for (what, text) in requests {
        bytes.extend(u32::try_from(text.len() + 1).expect("short").to_be_bytes());
        bytes.push(*what);
        bytes.extend(text.as_bytes());
    }
    let writer = std::thread::spawn(move || input.write_all(&bytes));
    let mut output = Vec::new();
    child.stdout.take().expect("a pipe").read_to_end(&mut output).expect("an answer");
    writer.join().expect("no panic").expect("all is written");
    assert!(child.wait().expect("an end").success());
    let mut rest = output.as_slice();
    let answers: Vec<Vec<String>> = requests
        .iter()
        .map(|_| {
            let count = number(&mut rest);
            (0..count)
                .map(|_| {
                    let size = number(&mut rest);
                    let (word, after) = rest.split_at(size);
                    rest = after;
                    String::from_utf8_lossy(word).into_owned()
                })
                .collect()
        })
        .collect();
    assert!(rest.is_empty());
    answers
}

fn number(rest: &mut &[u8]) -> usize {
    let (head, after) = rest.split_first_chunk::<4>().expect("a number");
    *rest = after;
    u32::from_be_bytes(*head) as usize
}

fn program(go: &str) -> PathBuf {
    static BUILDING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = BUILDING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let tools = folder.parent().expect("the target folder").join("tools");
    let root = tools.join(format!("go-{go}/go"));
    assert!(root.join("bin/go").exists(), "Go {go} is installed: cargo xtask tools");
    let source = include_str!("main.go");
    // A program is built once for each text of its source.
    let digest =
        source.bytes().fold(0_u64, |held, byte| held.wrapping_mul(0x100_0000_01b3) ^ u64::from(byte));
    let program = folder.join(format!("go-ini-{go}-{digest:016x}"));
    if !program.exists() {
        let made = folder.join(format!("go-ini-{go}-{}", std::process::id()));
        let built = Command::new(root.join("bin/go"))
            // Most of the time goes into compiling the standard library, for each release; nothing here needs it fast.
            .args(["build", "-gcflags=all=-N -l -dwarf=false", "-ldflags=-s -w", "-o"])
            .arg(&made)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/main.go"))
            .env("GOROOT", &root)
            .env("GOTOOLCHAIN", "local")
            .env("GO111MODULE", "off")
            .env("GOPATH", tools.join("go-ini/usr/share/gocode"))
            .env("GOCACHE", folder.join("go-cache"))
            .env("GOFLAGS", "")
            .env("CGO_ENABLED", "0")
            .status()
            .expect("Go is installed: cargo xtask tools");
        assert!(built.success(), "the oracle is built; it needs go-ini: cargo xtask tools");
        std::fs::rename(&made, &program).expect("it is put into its place");
    }
    program
}
