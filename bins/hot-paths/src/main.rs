//! Walks one path of the pure cores a number of times, so that `cargo xtask instructions` can count what one walk costs.
//!
//! `hot-paths --list` names the paths; `hot-paths NAME COUNT` walks one. Two runs of different counts differ by the walks alone.

mod http;
mod policy;

use std::process::ExitCode;

/// A path: its name, and what walks it so many times.
type Path = (&'static str, fn(u32));

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
                eprintln!("hot-paths: no path {name}, or {count} is no number");
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
