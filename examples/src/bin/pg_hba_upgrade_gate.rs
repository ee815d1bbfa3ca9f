//! An upgrade check: does a pg_hba.conf have the same meaning in a later major version? Run: `cargo run -p examples
//! --bin pg_hba_upgrade_gate -- /etc/postgresql/15/main/pg_hba.conf 15 18`. Without arguments, checks a file that does
//! not. Exits with 1 if it cannot be decided.

use pg_hba::{Diff, Document, Server, Version, diff};
use std::process::ExitCode;

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (text, from, to): (String, Version, Version) = match args.as_slice() {
        [file, from, to] => (std::fs::read_to_string(file)?, from.parse()?, to.parse()?),
        _ => ("local all postgres peer\nlocal /^app all trust\n".to_owned(), Version::V15, Version::V18),
    };
    let old = Document::parse(&text, &Server::new(from)).rules()?;
    let new = Document::parse(&text, &Server::new(to)).rules()?;
    match diff(&old, &new) {
        Diff::Equal => println!("PostgreSQL {to} decides every connection as {from} does"),
        Diff::Different(example) => println!("PostgreSQL {to} differs from {from}: {example}"),
        Diff::Undecided(why) => {
            println!("not decided: {why}");
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}
