//! The internet alone, for a machine that is none of the hosts: `homelab internet FOLDER`.
//!
//! Waits for the interface `eth0` in its network namespace and serves there a CA, Cloudflare's API, an acme-dns, the
//! API of PowerDNS, a name server and mail, until its standard input ends. Writes the root certificate of its servers
//! (`roots.pem`), that of the CA's certificates (`issuing.pem`) and the password of mail into the folder. The interface
//! may be removed and created again meanwhile.

use crate::external::{ExternalServers, ZONE};
use crate::front::forward;
use crate::lab::{MAIL, MAIL_PASSWORD, domain_keys};
use crate::topology::{PACMAN, STALWART};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use testkit::mail::{CertificateFiles, Postfix};
use testkit::{AcmeDnsMock, Authority, PowerDnsMock};

/// Addresses of its servers.
const ADDRESSES: [&str; 5] =
    ["203.0.113.25/24", "203.0.113.53/24", "203.0.113.80/24", "203.0.113.81/24", "203.0.113.82/24"];
/// Address of the acme-dns, whose registration is for `registration.example.org`.
const ACME_DNS: &str = "203.0.113.81:80";
/// Address of the API of PowerDNS, for the zone of the hosts.
const POWERDNS: &str = "203.0.113.82:80";
/// Records of the names whose challenges only the acme-dns publishes.
const DELEGATED: &str = "_acme-challenge.delegated CNAME registration";

/// Interval at which the interface is looked up.
const PAUSE: Duration = Duration::from_millis(20);

/// Waits for the interface, starts the servers, writes root certificates and the mail password into `folder`, and
/// returns when standard input ends. Prints `waiting` at first, and `ready` once the servers run.
///
/// # Errors
/// Returns a description if the interface does not appear within 30 s, or a server cannot be started.
pub(crate) fn serve(folder: &Path) -> Result<(), String> {
    println!("waiting");
    let began = Instant::now();
    while !is_connected() {
        if began.elapsed() > Duration::from_secs(30) {
            return Err("no interface eth0 came within 30 s".to_owned());
        }
        std::thread::sleep(PAUSE);
    }
    set_addresses()?;
    std::thread::spawn(keep_addresses);
    let authority = Authority::named("the internet of a test");
    let mail = format!("{MAIL}\n{}\n{DELEGATED}", domain_keys()?);
    let external = ExternalServers::start_here(&authority, &[PACMAN], &mail)?;
    let acme_dns = AcmeDnsMock::start(&external.knot, ZONE, "registration.example.org");
    let address = acme_dns.base().trim_start_matches("http://");
    forward(ACME_DNS, address.parse().map_err(|why| format!("{address}: {why}"))?)?;
    let powerdns = PowerDnsMock::start(&external.knot, ZONE, &[]);
    let address = powerdns.base().trim_start_matches("http://");
    forward(POWERDNS, address.parse().map_err(|why| format!("{address}: {why}"))?)?;
    let pair = CertificateFiles::write(folder, "mail.example.org", &authority.issue(&["mail.example.org"]));
    let postfix = Postfix::start_for(&pair, "forge", MAIL_PASSWORD, "forge");
    forward(STALWART, ([127, 0, 0, 1], postfix.smtps).into())?;
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(|why| format!("{}: {why}", path.display()))
    };
    write("roots.pem", authority.root())?;
    write("issuing.pem", &external.issuing_root)?;
    write("mail-password", MAIL_PASSWORD)?;
    println!("ready");
    let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    Ok(())
}

/// Returns `true` if the interface `eth0` exists in the network of this process.
fn is_connected() -> bool {
    std::fs::read_to_string("/proc/self/net/dev").is_ok_and(|all| all.contains("eth0:"))
}

/// Enables the interface and sets its addresses.
///
/// # Errors
/// Returns the command that failed.
fn set_addresses() -> Result<(), String> {
    let mut script = "ip link set lo up && ip link set eth0 up".to_owned();
    for address in ADDRESSES {
        script.push_str(&format!(" && ip addr add {address} dev eth0"));
    }
    let status = Command::new("sh").args(["-c", &script]).status().map_err(|why| why.to_string())?;
    if status.success() { Ok(()) } else { Err(format!("{script}: {status}")) }
}

/// Sets the addresses again whenever the interface was created again, as it is when the machine at its other end is
/// rebooted. The servers keep their sockets. Never returns.
fn keep_addresses() {
    let mut was_connected = true;
    loop {
        std::thread::sleep(PAUSE);
        let connected = is_connected();
        if connected
            && !was_connected
            && let Err(why) = set_addresses()
        {
            eprintln!("homelab: {why}");
        }
        was_connected = connected;
    }
}
