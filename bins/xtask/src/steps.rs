//! Steps of `cargo xtask test`, ordered so that the cheapest failures come first.

use crate::process::{Outcome, cargo, is_root, print_durations, step, with_second_try, yield_to_others};
use crate::{
    advisories, applications, book, boot, conformance, cycles, dist, flake, homelab, instructions, network,
    nix, package, prose, purity, registry, surface, testing, tools, wildcards,
};
use std::time::Instant;

/// Runs every step of `cargo xtask test`: tools, formatting, lints, tests, packages and scenarios.
///
/// # Errors
/// Returns the first step that failed.
pub(crate) fn test() -> Outcome {
    let began = Instant::now();
    // It waits for downloads while the checks below use the processors.
    let installing = std::thread::spawn(tools::install);
    step("formatting", cargo(&["fmt", "--all", "--check"]))?;
    step(
        "clippy",
        cargo(&[
            "clippy",
            "--workspace",
            "--all-targets",
            "--all-features",
            "--locked",
            "--",
            "-D",
            "warnings",
        ]),
    )?;
    purity::check()?;
    prose::check()?;
    cycles::check()?;
    wildcards::check()?;
    // In one run, so that the common dependencies are checked once.
    let mut plain = cargo(&["clippy", "--locked", "--no-default-features"]);
    plain.args(purity::PURE.iter().flat_map(|library| ["--package", library])).args(["--", "-D", "warnings"]);
    step("clippy: the cores without features", plain)?;
    // Clippy has checked the benchmarks; they are built only to measure. The programs are built together with the
    // tests: alone they would require a hundred crates a second time, without the features that the tests' dependencies
    // enable.
    let programs_and_tests =
        ["build", "--workspace", "--bins", "--tests", "--examples", "--all-features", "--locked"];
    step("build", cargo(&programs_and_tests))?;
    installing.join().map_err(|_| "installing the tools panicked".to_owned())??;
    book::render()?;
    // Many tests wait for servers and clocks, which leaves time of the processors. Those that measure do not: they run
    // afterwards.
    testing::run(beside_tests)?;
    let mut left_out = SkippedChecks::new(testing::left_out());
    // They mostly wait.
    let mut scenarios = Vec::new();
    for (name, form) in [("homelab", &[][..]), ("homelab-two-edges", &["--two-edges"])] {
        if left_out.may(name) {
            scenarios.push(homelab::Scenario::begin(name, form)?);
        }
    }
    scenarios.push(applications::begin()?);
    if left_out.may("network") {
        scenarios.push(network::begin()?);
    }
    if left_out.may("package --prove") {
        package::prove()?;
    }
    dist::debug()?;
    if left_out.may("boot") {
        with_second_try("boot", boot::prove)?;
    }
    if left_out.may("boot --book") {
        with_second_try("boot --book", boot::read_book)?;
    }
    with_second_try("conformance --quick", conformance::quick)?;
    for scenario in scenarios {
        scenario.end()?;
    }
    left_out.report()?;
    print_durations();
    println!("xtask: everything passed in {} s", began.elapsed().as_secs());
    Ok(())
}

/// Runs the steps that need processors and no exact times. Their processes yield to those of the tests.
///
/// # Errors
/// Returns the first step that failed.
fn beside_tests() -> Outcome {
    yield_to_others();
    // The public items first: they change most often.
    surface::run(surface::Update::Nothing)?;
    step(
        "documentation",
        cargo(&["doc", "--workspace", "--all-features", "--no-deps", "--locked"])
            .env("RUSTDOCFLAGS", "-D warnings"),
    )?;
    instructions::run(&[])?;
    advisories::check()?;
    registry::prove()?;
    nix::prove(None)?;
    flake::prove()
}

/// Checks that are left out without root: tests that switch to another account, network namespaces of a whole network,
/// packages that are installed, and a booted machine.
struct SkippedChecks {
    is_root: bool,
    names: Vec<String>,
}

impl SkippedChecks {
    /// Creates the list with the names of the tests that were left out.
    fn new(names: Vec<String>) -> Self {
        Self { is_root: is_root(), names }
    }

    /// Returns `true` if this process runs as root and can thus run a check. If not, the name of the check is added to
    /// the list.
    fn may(&mut self, name: &str) -> bool {
        if !self.is_root {
            self.names.push(name.to_owned());
        }
        self.is_root
    }

    /// Prints the names of the checks that were left out.
    ///
    /// # Errors
    /// Returns the names if this process runs as root: continuous integration runs as root, where every check must run.
    fn report(&self) -> Outcome {
        let names = self.names.join(", ");
        match (self.names.len(), self.is_root) {
            (0, _) => Ok(()),
            (count, true) => Err(format!("root left out {count} checks: {names}")),
            (count, false) => {
                println!("xtask: {count} checks need root: {names}");
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_may_leave_out_nothing_and_others_only_what_needs_root() {
        let of = |is_root, names: &[&str]| SkippedChecks {
            is_root,
            names: names.iter().map(|name| (*name).to_owned()).collect(),
        };
        let mut root = of(true, &[]);
        assert!(root.may("boot"));
        assert_eq!(root.report(), Ok(()));
        assert_eq!(of(true, &["a", "b"]).report(), Err("root left out 2 checks: a, b".to_owned()));
        let mut other = of(false, &["a"]);
        assert!(!other.may("boot"));
        assert_eq!((other.names.join(" "), other.report()), ("a boot".to_owned(), Ok(())));
    }
}
