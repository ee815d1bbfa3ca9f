//! Configures Forgejo for your own mail server, by every route, and shows what Forgejo 13 would do. Run: `cargo run -p
//! examples --bin smtp_three_lines`.

use smtp_config::ini::Ini;
use smtp_config::{Mailer, SECTION, Version, check, edit, effective, environment, nixos};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut mailer = Mailer::server("Forge <forge@example.org>", "mail.example.org", 465);
    mailer.user = Some("forge".to_owned());
    mailer.validate()?;
    let mut settings = mailer.settings();
    settings.push((SECTION, "PASSWD_URI".to_owned(), "file:/run/agenix/forgejo-smtp".to_owned()));

    let old = "APP_NAME = Forge ; ours\n[server]\nDOMAIN = git.example.org\n";
    let changes: Vec<_> =
        settings.iter().map(|(section, key, value)| (*section, key.as_str(), Some(value.as_str()))).collect();
    let text = edit(old, &changes)?;
    println!("{text}");
    let ini = Ini::parse(&text)?;
    for finding in check(&text, &ini, 13) {
        println!("{finding}");
    }
    if let Some(read) = effective(&ini, Version(13))? {
        println!("Forgejo speaks {:?} to {} port {}\n", read.spoken, read.host, read.port);
    }
    for (name, value) in environment::variables(&settings).map_err(|(key, why)| format!("{key}: {why}"))? {
        println!("{name}={value}");
    }
    println!("\n{}", nixos(&settings, &[]).map_err(|(key, why)| format!("{key}: {why}"))?);
    Ok(())
}
