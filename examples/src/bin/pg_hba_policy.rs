//! Access policy of a host in code, verified before it is printed. Run: `cargo run -p examples --bin pg_hba_policy`.

use pg_hba::{
    Analysis, Document, Local, Policy, Server, TAILNET_V4, TAILNET_V6, Tls, Version, analyze, render,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let policy = Policy::new()
        .local(Local::Peer)
        .tls(Tls::OutsideTailnet)
        .tailnet_ranges([TAILNET_V4.parse()?, TAILNET_V6.parse()?])
        .service("forgejo", "forgejo")
        .service("matrix-synapse", "matrix-synapse")
        .privileged("backup")
        .replication("standby", Some("100.64.7.0/24".parse()?));
    let text = render(&policy.compile(), Version::V18)?;
    let server = Server::new(Version::V18);
    let analysis = Analysis { policy: policy.compile(), ..Analysis::default() };
    for finding in analyze(&Document::parse(&text, &server), &server, &analysis) {
        eprintln!("{finding}");
    }
    print!("{text}");
    Ok(())
}
