//! Converts a postgresql.conf to a later major version. Run: `cargo run -p examples --bin pg_upgrade_settings --
//! /etc/postgresql/15/main/postgresql.conf 15 18`. Without arguments, converts a file with settings that were removed.

use pg_upgrade::{Major, SettingsConversion, convert_settings};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (text, from, to): (String, Major, Major) = match args.as_slice() {
        [file, from, to] => (std::fs::read_to_string(file)?, from.parse()?, to.parse()?),
        _ => (
            "port = 5433\nold_snapshot_threshold = 1h\nforce_parallel_mode = off\nssl_ecdh_curve = 'X25519'\n".to_owned(),
            "15".parse()?,
            "18".parse()?,
        ),
    };
    let how = SettingsConversion {
        file: "postgresql.conf",
        from,
        to,
        old_data: &format!("/var/lib/postgresql/{from}"),
        new_data: &format!("/var/lib/postgresql/{to}"),
        refused: &[],
    };
    let (text, edits) = convert_settings(&text, &how);
    for edit in edits {
        println!("line {}: {}: {}", edit.line, edit.name, edit.what);
    }
    print!("\n{text}");
    Ok(())
}
