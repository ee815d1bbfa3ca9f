//! `hot-paths PATH COUNT` does one thing that often and nothing else: `cargo xtask instructions` runs it under callgrind, twice, and
//! what the second run has more is what the thing costs. Without arguments it lists what it can do.

mod edge;
mod policy;

use std::process::ExitCode;

/// Something that is done for every request or connection: its name, and how it is done so many times.
type Path = (&'static str, fn(u32));

fn main() -> ExitCode {
    let paths: Vec<Path> = edge::PATHS.iter().chain(policy::PATHS).copied().collect();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let found = match &args[..] {
        [] => {
            paths.iter().for_each(|(name, _)| println!("{name}"));
            return ExitCode::SUCCESS;
        }
        [name, count] => paths.iter().find(|path| path.0 == name).zip(count.parse().ok()),
        _ => None,
    };
    let Some(((_, run), count)) = found else {
        eprintln!("usage: hot-paths [PATH COUNT]");
        return ExitCode::from(2);
    };
    run(count);
    ExitCode::SUCCESS
}
