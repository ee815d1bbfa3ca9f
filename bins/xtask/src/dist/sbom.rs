//! Bill of materials: every crate of which the programs consist, as CycloneDX 1.5, from cargo's dependency tree and
//! lock file.

use super::files::{NAME, PROGRAMS, run, sources};
use crate::process::cargo;
use std::collections::{BTreeMap, BTreeSet};

/// Returns the document. `version` is that of the programs.
///
/// # Errors
/// Returns an error if cargo fails, or lists fewer than 100 crates.
pub(super) fn document(version: &str) -> Result<String, String> {
    let mut tree =
        cargo(&["tree", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{p}|{l}"]);
    for (package, _) in PROGRAMS {
        tree.args(["--package", package]);
    }
    let crates: BTreeSet<(String, String, String)> = run(&mut tree)?.lines().filter_map(parse_line).collect();
    if crates.len() < 100 {
        return Err(format!("sbom: cargo tree names {} crates only", crates.len()));
    }
    let lock = sources().join("Cargo.lock");
    let lock = std::fs::read_to_string(&lock).map_err(|why| format!("{}: {why}", lock.display()))?;
    let sums = sums(&lock);
    let components: Vec<String> = crates
        .iter()
        .map(|(name, version, license)| {
            let hash = sums.get(&(name.clone(), version.clone()));
            let hash = hash.map(|sum| format!(",\"hashes\":[{{\"alg\":\"SHA-256\",\"content\":\"{sum}\"}}]"));
            let license = license.replace('/', " OR ");
            format!(
                "{{\"type\":\"library\",\"bom-ref\":\"{name}@{version}\",\"name\":\"{name}\",\"version\":\"{version}\",\
                 \"purl\":\"pkg:cargo/{name}@{version}\",\"licenses\":[{{\"expression\":\"{license}\"}}]{}}}",
                hash.unwrap_or_default()
            )
        })
        .collect();
    Ok(format!(
        "{{\"bomFormat\":\"CycloneDX\",\"specVersion\":\"1.5\",\"version\":1,\"metadata\":{{\"component\":{{\
         \"type\":\"application\",\"name\":\"{NAME}\",\"version\":\"{version}\"}}}},\"components\":[\n{}\n]}}\n",
        components.join(",\n")
    ))
}

/// Parses a line such as `serde v1.0.228|MIT OR Apache-2.0` into name, version and license. `None` if it has another
/// form.
fn parse_line(line: &str) -> Option<(String, String, String)> {
    let (package, license) = line.trim_end_matches(" (*)").split_once('|')?;
    let mut words = package.split_whitespace();
    let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
    Some((name.to_owned(), version.to_owned(), license.trim().to_owned()))
}

/// Returns the checksums of the lock file by name and version.
fn sums(lock: &str) -> BTreeMap<(String, String), String> {
    let field = |block: &str, key: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "));
        line.map(|value| value.trim_matches('"').to_owned())
    };
    let one =
        |block: &str| Some(((field(block, "name")?, field(block, "version")?), field(block, "checksum")?));
    lock.split("[[package]]").filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_checksums_are_read() {
        assert_eq!(
            parse_line("serde v1.0.228|MIT OR Apache-2.0 (*)"),
            Some(("serde".to_owned(), "1.0.228".to_owned(), "MIT OR Apache-2.0".to_owned()))
        );
        let lock = "[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nchecksum = \"00ff\"\n";
        assert_eq!(sums(lock)[&("a".to_owned(), "1.0.0".to_owned())], "00ff");
    }
}
