//! Determines the client of a request, with the policy alone and without a socket: for a peer address and a header,
//! prints the client's address and the reason.
//!
//!     cargo run -p examples --bin edge_client_address -- 100.64.0.2 "6.6.6.6, 203.0.113.7"

use edge_policy::client_address::restore;
use edge_policy::tailnet::TailnetIdentity;
use edge_proxy::Fields;
use edge_proxy::config::Trust;
use std::error::Error;
use std::net::SocketAddr;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let peer = arguments.next().unwrap_or_else(|| "100.64.0.2".into());
    let header = arguments.next().unwrap_or_else(|| "6.6.6.6, 203.0.113.7".into());

    let trust =
        Trust { ranges: vec!["100.64.0.0/10".parse()?, "fd7a:115c:a1e0::/48".parse()?], ..Trust::default() };
    let mut fields = Fields::new();
    fields.push(b"X-Forwarded-For", header.as_bytes());
    let client =
        restore(&trust, SocketAddr::new(peer.parse()?, 40_000), None, TailnetIdentity::Unasked, &fields);
    println!("client  {}", client.address);
    println!("found   in {}", client.source);
    println!("stopped {}", client.stop.code());
    Ok(())
}
