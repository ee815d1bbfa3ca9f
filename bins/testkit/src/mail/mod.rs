//! Mail servers for tests: real ones, and one that stops responding at a chosen stage.

mod faulty;
mod postfix;
mod scripted;

pub use faulty::{FaultyServer, Stage};
pub use postfix::Postfix;
pub use scripted::{ScriptedServer, aiosmtpd, node};

use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Paths of a certificate and its key, both in PEM.
#[derive(Clone, Debug)]
pub struct CertificateFiles {
    /// File with the certificate chain.
    pub chain: PathBuf,
    /// File with the private key.
    pub key: PathBuf,
}

impl CertificateFiles {
    /// Writes a chain and its private key, both in PEM, to the files `NAME.pem` and `NAME.key` in a folder.
    ///
    /// # Panics
    /// Panics if a file cannot be written.
    pub fn write(folder: &Path, name: &str, (chain, key): &(String, String)) -> Self {
        let pair =
            Self { chain: folder.join(format!("{name}.pem")), key: folder.join(format!("{name}.key")) };
        std::fs::write(&pair.chain, chain).expect("a chain file");
        std::fs::write(&pair.key, key).expect("a key file");
        pair
    }
}

/// Waits until `holds` returns `true`, calling it every 50 ms. `what` describes the condition for the panic message.
///
/// # Panics
/// Panics if the condition does not hold within 60 s.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what}: not within a minute");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Returns `true` if a TCP port of 127.0.0.1 accepts connections.
fn listening(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Returns the folder into which `cargo xtask tools` installs: the nearest `tools` beside or above this program.
///
/// # Panics
/// Panics if there is none.
fn tools() -> PathBuf {
    let executable = std::env::current_exe().expect("the path of this program");
    let found = executable.ancestors().map(|folder| folder.join("tools")).find(|tools| tools.is_dir());
    found.expect("a tools folder beside what cargo builds: cargo xtask tools")
}
