//! `cargo xtask mistakes`: the tables of realistic mistakes, counted; and some of them with the whole output, drawn by
//! a commit.

use crate::dist::PROGRAMS;
use crate::process::{Outcome, cargo, root, step, target};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// Minimum number of mistakes for each program, and in all.
const FEWEST: (usize, usize) = (25, 170);
/// Number of mistakes that are printed.
const DRAW_COUNT: usize = 17;

/// Runs the tables of mistakes, prints their number for each program, and prints 17 of them, drawn at random with the
/// hash of `commit` as the seed. `None` stands for the current commit.
///
/// # Errors
/// Returns a description if a test fails, a program or all programs together have too few mistakes, git does not know
/// the commit, or the folder `mistakes` of the target folder cannot be written or read.
pub(crate) fn show(commit: Option<&str>) -> Outcome {
    let folder = target().join("mistakes");
    let _ = std::fs::remove_dir_all(&folder);
    let said = |why: std::io::Error| format!("{}: {why}", folder.display());
    std::fs::create_dir_all(&folder).map_err(said)?;
    let mut test =
        cargo(&["test", "--quiet", "--workspace", "--all-features", "--locked", "--test", "mistakes"]);
    step("mistakes", test.env("MISTAKES_ANSWERS", std::path::absolute(&folder).map_err(said)?))?;
    let answers = read(&folder)?;
    for (_, program) in PROGRAMS {
        let count = answers.keys().filter(|name| name.starts_with(&format!("{program}-"))).count();
        println!("xtask: mistakes: {program}: {count}");
        if count < FEWEST.0 {
            return Err(format!("{program} has {count} mistakes of at least {}", FEWEST.0));
        }
    }
    if answers.len() < FEWEST.1 {
        return Err(format!("there are {} mistakes of at least {}", answers.len(), FEWEST.1));
    }
    let hash = hash(commit.unwrap_or("HEAD"))?;
    println!("xtask: mistakes: {} in all; {DRAW_COUNT} drawn by {hash}", answers.len());
    let texts: Vec<&String> = answers.values().collect();
    for (number, at) in draw(&hash, texts.len()).into_iter().enumerate() {
        println!("\n{}.\n{}", number + 1, texts[at].trim_end());
    }
    let _ = std::fs::remove_dir_all(&folder);
    Ok(())
}

/// Reads the files of a folder. Returns their contents by file name.
///
/// # Errors
/// Returns a description if the folder or a file cannot be read.
fn read(folder: &Path) -> Result<BTreeMap<String, String>, String> {
    let said = |why: std::io::Error| format!("{}: {why}", folder.display());
    let entries = std::fs::read_dir(folder).map_err(said)?.filter_map(Result::ok);
    let text = |entry: std::fs::DirEntry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        std::fs::read_to_string(entry.path()).map(|text| (name, text)).map_err(said)
    };
    entries.map(text).collect()
}

/// Returns the hash of a commit in hexadecimal.
///
/// # Errors
/// Returns git's message if the commit does not exist.
fn hash(commit: &str) -> Result<String, String> {
    let mut command = Command::new("git");
    let output = command.args(["rev-parse", "--verify", commit]).current_dir(root()).output();
    let output = output.map_err(|why| format!("git: {why}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        false => Err(format!("git: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

/// Returns up to [`DRAW_COUNT`] numbers below `count`, each once and sorted, selected by a generator that is seeded by
/// a hash.
fn draw(hash: &str, count: usize) -> Vec<usize> {
    // FNV-1a, then xorshift64.
    let mut state = hash.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |state, byte| {
        (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    }) | 1;
    let mut left: Vec<usize> = (0..count).collect();
    let mut drawn = Vec::new();
    while drawn.len() < DRAW_COUNT && !left.is_empty() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        drawn.push(left.remove((state % left.len() as u64) as usize));
    }
    drawn.sort_unstable();
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_draws_different_mistakes_and_always_the_same() {
        let (one, other) = (draw("87d4e2e", 196), draw("87d4e2f", 196));
        assert_eq!(one, draw("87d4e2e", 196));
        assert_ne!(one, other);
        assert!(
            one.len() == DRAW_COUNT && one.windows(2).all(|pair| pair[0] < pair[1] && pair[1] < 196),
            "{one:?}"
        );
        assert_eq!(draw("a", 3), [0, 1, 2]);
    }
}
