//! Settings of Forgejo for a server of one's own, by every route, and their effect on Forgejo.
//! Run: `cargo run -p examples --bin smtp_three_lines`.

use smtp_config::ini::Ini;
use smtp_config::{Change, Mailer, SECTION, Setting, Version, check, edit, effective, environment, nixos};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut mailer = Mailer::server("Forge <forge@example.org>", "mail.example.org", 465);
    mailer.user = Some("forge".to_owned());
    mailer.validate(Version::default())?;
    let mut settings = mailer.settings();
    settings.push(Setting::new(SECTION, "PASSWD_URI", "file:/run/agenix/forgejo-smtp"));

    let old = "APP_NAME = Forge ; ours\n[server]\nDOMAIN = git.example.org\n";
    let changes: Vec<Change> = settings.iter().map(Setting::to_change).collect();
    let text = edit(old, &changes)?;
    println!("{text}");
    let ini = Ini::parse(&text)?;
    for finding in check(&ini, Version::default()) {
        println!("{finding}");
    }
    if let Some(read) = effective(&ini, Version::default())? {
        println!("Forgejo speaks {:?} to {} port {}\n", read.transport, read.host, read.port);
    }
    for (name, value) in environment::variables(&settings)? {
        println!("{name}={value}");
    }
    println!("\n{}", nixos(&settings, &[])?);
    Ok(())
}
