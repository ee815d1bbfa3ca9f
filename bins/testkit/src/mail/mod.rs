//! Mail servers for tests: real ones, and one that stops responding on purpose.

mod faulty;
mod postfix;
mod scripted;

pub use faulty::{FaultyServer, Stage};
pub use postfix::Postfix;
pub use scripted::{ScriptedServer, aiosmtpd, node};

use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The paths of a certificate and its key.
#[derive(Clone, Debug)]
pub struct CertificateFiles {
    /// The file with the certificate chain.
    pub chain: PathBuf,
    /// The file with the private key.
    pub key: PathBuf,
}

impl CertificateFiles {
    /// Writes a certificate issued by an authority.
    pub fn write(folder: &Path, name: &str, (chain, key): &(String, String)) -> Self {
        let pair =
            Self { chain: folder.join(format!("{name}.pem")), key: folder.join(format!("{name}.key")) };
        std::fs::write(&pair.chain, chain).expect("a chain file");
        std::fs::write(&pair.key, key).expect("a key file");
        pair
    }
}

/// Waits until a condition holds, for at most a minute.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what}: not within a minute");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn listening(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Returns the folder that `cargo xtask tools` installs into. Panics if it is not there.
fn tools() -> PathBuf {
    let executable = std::env::current_exe().expect("the path of this program");
    let found = executable.ancestors().map(|folder| folder.join("tools")).find(|tools| tools.is_dir());
    found.expect("a tools folder beside what cargo builds: cargo xtask tools")
}
