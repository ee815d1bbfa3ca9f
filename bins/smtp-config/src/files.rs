//! app.ini as it is on disk.

use cli_support::outcome::Failure;
use smtp_config::ini::Ini;
use std::io::Read;
use std::path::Path;

/// More than any app.ini has.
const LONGEST: u64 = 16 << 20;

pub(crate) fn read(file: &Path) -> Result<String, Failure> {
    let failed = |why: std::io::Error| Failure::Failed(format!("{}: {why}", file.display()));
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(file).map_err(failed)?;
    opened.take(LONGEST + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > LONGEST {
        return Err(Failure::Configuration(format!("{}: longer than 16 MiB", file.display())));
    }
    String::from_utf8(bytes).map_err(|_| Failure::Configuration(format!("{}: not UTF-8", file.display())))
}

pub(crate) fn parse(file: &Path, text: &str) -> Result<Ini, Failure> {
    Ini::parse(text).map_err(|why| Failure::Configuration(format!("{}: {why}", file.display())))
}
