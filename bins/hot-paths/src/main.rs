//! Runs one path of the pure cores repeatedly, so that `cargo xtask instructions` can count the cost of one repetition.
//!
//! `hot-paths --list` prints the names of the paths; `hot-paths NAME COUNT` runs one. Two processes with different
//! counts differ only in the repetitions.

mod http;
mod policy;

use std::process::ExitCode;

/// A path: its name, and the function that runs it the given number of times.
type Path = (&'static str, fn(u32));

/// All paths, one list for each module.
const PATHS: &[&[Path]] = &[http::PATHS, policy::PATHS];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["--list"] => {
            PATHS.iter().copied().flatten().for_each(|(name, _)| println!("{name}"));
            ExitCode::SUCCESS
        }
        [name, count] => {
            let path = PATHS.iter().copied().flatten().find(|(known, _)| *known == name);
            let (Some((_, walk)), Ok(count)) = (path, count.parse()) else {
                eprintln!("hot-paths: unknown path {name}, or {count} is not a number");
                return ExitCode::from(2);
            };
            walk(count);
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("usage: hot-paths --list | hot-paths NAME COUNT");
            ExitCode::from(2)
        }
    }
}
