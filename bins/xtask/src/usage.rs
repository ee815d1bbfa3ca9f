//! The help text, and the answer to a command line that asks for it or has an unknown argument. A command that builds for
//! minutes answers before that.

use std::process::ExitCode;

/// Help text of the program.
const USAGE: &str = "\
usage: cargo xtask COMMAND
       cargo xtask COMMAND --help

  test          install what the tests need, then run every check
  test --only PROGRAM…
                build the tests, and run only the test programs with these names, in the same environment, such as `upgrade` or
                `bins/pg-hba: mistakes`
  full [STEP…]  run the long form of everything, or the named steps, and write the report into bins/xtask/full.md; takes hours
  applications [-- --quick|--only NAME,…]
                drive real applications behind an edge and a node, each by its own client
  homelab [-- --two-edges] [--quick] [--report FILE]
                build the programs and run the scenario of the example hosts in network namespaces of this machine, or that
                of two edges that share state; ends with a report
  package       build the programs for release, and a Debian package of each; with --static linked with musl, so that they
                run on any Linux; with --prove package the debug build, install it into a separate root, verify it there,
                and purge it
  boot [--full] [--book|--previous FOLDER]
                build the programs, and boot a Debian machine with their packages under systemd, which lives through late
                interfaces and secrets, takeovers, updates and removals; with --full also through power losses and more. --book
                follows the pages of examples/book. --previous FOLDER changes to the Debian packages of an earlier version and
                back. Needs root
  boot --built [PART|--full|--book [PART]|--previous FOLDER]
                the same with the programs and the root that are there; PART takes the machine only through the steps of the
                long form that have this in their names, with --book through the first day's pages and those with this name
  dist [--debug|--programs FOLDER]
                build the programs statically for release and write what people install from: an archive, Debian packages,
                an OCI image, a bill of materials (CycloneDX) and checksums, in target/dist; each is installed into an
                empty root and run there. --debug packs the debug build, --programs those of a folder
  nix [--lib NIXPKGS/lib]
                build the programs and check the NixOS modules by evaluating whole hosts, with nixpkgs' own lib if given
  book [--check]
                check the links, files and commands of examples/book with the debug build, and render it with mdBook into
                target/book/html; --check renders nothing
  flake         only check that flake.nix has the programs, with a stand-in for nixpkgs
  fuzz [--minutes N] [--at-once] [TARGET…]
                run every fuzz target, or these, for N minutes each (1), one after another or concurrently
  network [-- --quick|--only ROW|--out FILE]
                measure edge-proxyd beside nginx and Caddy over links with delay, loss, queues and changes of address; without
                arguments everything, written into edge-proxy/NETWORK.md. Needs root
  conformance [--quick]
                run third-party conformance suites against edge-proxyd and nginx; writes edge-proxy/CONFORMANCE.md. --quick runs
                what the tests run, with the debug build
                (the former name, judges, still works)
  screenshots [--again|--status]
                render the pictures in the documentation with Chromium: from a quick scenario and an edge in good health, from the
                pages of the last run, or that of the status page alone
  soak [--minutes N]
                run the soak test for N minutes (10)
  import-corpus DIR [--domain NAME] [--root DIR] [--prove]
                count the nginx configurations below a folder that edge-proxyd imports as sites, and with --prove those that
                answer as nginx does
  import-random [N]
                prove the import of N random nginx configurations (2000)
  tools         only install what the tests need
  bench [--only WORKLOAD] [--contender NAME] [--rounds N] [--seconds N] [--out FOLDER]
                measure edge-proxyd beside nginx, HAProxy, Caddy and pingora; without arguments everything, written
                into edge-proxy/BENCHMARKS.md
  bench --curves
                measure how the cost of a request grows beside nginx's, and write the tables into the same file
  instructions [--record]
                count the instructions of the hot paths against bins/hot-paths/instructions.txt, or record them there
  mistakes [COMMIT]
                run the tables of realistic mistakes, count them, and show 17 of them with their whole answers, drawn by the
                hash of a commit (HEAD)
  registry      only build the published packages, and check that they are complete
  purity        only check that the pure cores have no runtime in their dependency tree, and read no clock
  prose         only check documentation and messages: relative clauses, one- and two-word docs, ambiguous type names
  deny          only check dependencies with cargo-deny; ADVISORY_DB is the folder of a copy of the database of advisories, for
                where that cannot be reached
  cycles        only check that the files of each crate do not import each other in cycles
  wildcards     only check that no `_` arm hides a new variant of the enums that a change must consider
  surface       only compare the public items of the libraries with the lists in the tree, and with the last release;
                --write writes the lists, --release also records them as those of a release of the current versions
";

/// Commands that pass their arguments on to another program, with the options of that program, and whether each has a
/// value.
const FORWARDED: &[(&str, &[(&str, bool)])] = &[
    ("applications", &[("--quick", false), ("--only", true)]),
    (
        "bench",
        &[
            ("--only", true),
            ("--contender", true),
            ("--rounds", true),
            ("--seconds", true),
            ("--curves", false),
            ("--out", true),
        ],
    ),
    ("homelab", &[("--two-edges", false), ("--quick", false), ("--report", true)]),
    ("network", &[("--quick", false), ("--only", true), ("--out", true)]),
];

/// Commands without a section of their own, with the command whose section is shown instead.
const WITHOUT_SECTION: &[(&str, &str)] = &[("judges", "conformance"), ("image-inside", "dist")];

/// Text that is printed instead of running a command, and the exit code: 0 for help that was requested, else 2.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    text: String,
    code: u8,
}

impl Answer {
    /// Prints the text, on standard output for help that was requested, else on standard error. Returns the exit code.
    pub(crate) fn print(&self) -> ExitCode {
        if self.code == 0 {
            print!("{}", self.text);
        } else {
            eprint!("{}", self.text);
        }
        ExitCode::from(self.code)
    }
}

/// Returns the answer to a command line that requests help, has an unknown command, or has an argument that the program
/// to which it is passed on does not know. `None` for any other, which may have unknown arguments too.
pub(crate) fn answer(command: Option<&str>, arguments: &[&str]) -> Option<Answer> {
    let help = |argument: &&str| matches!(*argument, "--help" | "-h");
    let Some(command) = command else { return Some(refusal(None, arguments)) };
    if help(&command) || command == "help" {
        return Some(Answer { text: USAGE.to_owned(), code: 0 });
    }
    let Some(section) = section(command) else { return Some(refusal(Some(command), arguments)) };
    if arguments.iter().any(help) {
        return Some(Answer { text: section, code: 0 });
    }
    let (_, options) = FORWARDED.iter().find(|(name, _)| *name == command)?;
    let why = unknown(arguments, options)?;
    Some(Answer { text: format!("xtask: {command}: {why}\n{section}"), code: 2 })
}

/// Returns the answer to a command line that is not valid: the section of its command, or the whole help text.
pub(crate) fn refusal(command: Option<&str>, arguments: &[&str]) -> Answer {
    let text = match command.map(|command| (command, section(command))) {
        None => USAGE.to_owned(),
        Some((command, None)) => format!("xtask: {command} is not a command\n{USAGE}"),
        Some((command, Some(section))) if arguments.is_empty() => {
            format!("xtask: {command}: an argument is missing\n{section}")
        }
        Some((command, Some(section))) => {
            format!("xtask: {command}: not valid here: {}\n{section}", arguments.join(" "))
        }
    };
    Answer { text, code: 2 }
}

/// Returns the sections of the help text about a command. `None` if the command is not known.
fn section(command: &str) -> Option<String> {
    let named = WITHOUT_SECTION.iter().find(|(name, _)| *name == command);
    let command = named.map_or(command, |(_, other)| *other);
    let mut text = String::new();
    let mut is_shown = false;
    for line in USAGE.lines().skip_while(|line| !line.is_empty()) {
        if line.starts_with("  ") && !line.starts_with("   ") {
            is_shown = line.split_whitespace().next() == Some(command);
        }
        if is_shown {
            text.push_str(line);
            text.push('\n');
        }
    }
    (!text.is_empty()).then(|| format!("usage: cargo xtask\n\n{text}"))
}

/// Returns why arguments are not valid for a program with these options. `None` if they are. A first `--` is ignored.
fn unknown(arguments: &[&str], options: &[(&str, bool)]) -> Option<String> {
    let mut rest = arguments.strip_prefix(&["--"]).unwrap_or(arguments).iter();
    while let Some(argument) = rest.next() {
        let (name, value) =
            argument.split_once('=').map_or((*argument, None), |(name, value)| (name, Some(value)));
        match options.iter().find(|(known, _)| *known == name) {
            None => return Some(format!("{argument} is not an option")),
            Some((_, false)) if value.is_some() => return Some(format!("{name} has no value")),
            Some((_, true)) if value.is_none() && rest.next().is_none() => {
                return Some(format!("{name} needs a value"));
            }
            Some(_) => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::root;

    /// Returns the commands that have a section.
    fn commands() -> Vec<&'static str> {
        let lines = USAGE.lines().skip_while(|line| !line.is_empty());
        let heads = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
        let mut names: Vec<_> = heads.filter_map(|line| line.split_whitespace().next()).collect();
        names.dedup();
        names
    }

    #[test]
    fn each_command_answers_help_before_it_does_anything() {
        assert!(commands().len() > 25, "{:?}", commands());
        for command in commands() {
            for arguments in [&["--help"][..], &["-h"], &["--", "--help"], &["--only", "x", "--help"]] {
                let answer = answer(Some(command), arguments).unwrap_or_else(|| panic!("{command}"));
                assert_eq!(answer.code, 0, "{command}");
                assert!(answer.text.contains(&format!("\n  {command}")), "{command}: {}", answer.text);
                assert!(answer.text.len() < USAGE.len() / 2, "{command}: {}", answer.text);
            }
        }
        for (name, other) in WITHOUT_SECTION {
            let answer = answer(Some(name), &["--help"]).expect("help");
            assert!(answer.code == 0 && answer.text.contains(other), "{answer:?}");
        }
        assert_eq!(answer(Some("--help"), &[]), Some(Answer { text: USAGE.to_owned(), code: 0 }));
        assert_eq!(answer(None, &[]), Some(Answer { text: USAGE.to_owned(), code: 2 }));
    }

    #[test]
    fn unknown_commands_and_arguments_are_refused_with_the_usage() {
        let refused = |command: &str, arguments: &[&str]| {
            let answer =
                answer(Some(command), arguments).unwrap_or_else(|| refusal(Some(command), arguments));
            assert_eq!(answer.code, 2, "{command} {arguments:?}");
            answer.text
        };
        assert!(refused("tset", &[]).starts_with("xtask: tset is not a command\nusage: "));
        assert!(refused("bench", &["--fast"]).contains("--fast is not an option"));
        assert!(refused("bench", &["h3"]).contains("h3 is not an option"));
        assert!(refused("bench", &["--only"]).contains("--only needs a value"));
        assert!(refused("network", &["--", "--quick=1"]).contains("--quick has no value"));
        assert!(refused("dist", &["--release"]).contains("not valid here: --release"));
        for (command, options) in FORWARDED {
            assert!(refused(command, &["--nonsense"]).contains(&format!("\n  {command}")), "{command}");
            for (name, has_value) in *options {
                let given = if *has_value { vec![*name, "x"] } else { vec![*name] };
                assert_eq!(answer(Some(command), &given), None, "{command} {name}");
                assert_eq!(answer(Some(command), &[&["--"], &given[..]].concat()), None, "{command} {name}");
            }
        }
    }

    /// The options are those of the program to which they are passed on, without those that are added here, and each is
    /// in the help text.
    #[test]
    fn forwarded_options_are_those_of_the_programs() {
        let added = ["--edge", "--tools", "--peers", "--pingora", "--h2load-http3"];
        for (command, file) in [
            ("applications", "bins/xtask/applications/run.py"),
            ("bench", "bins/peer-bench/src/args.rs"),
            ("homelab", "bins/homelab/src/main.rs"),
            ("network", "bins/xtask/network/run.py"),
        ] {
            let text = std::fs::read_to_string(root().join(file)).expect("the source");
            // Options are whole texts in quotes, which are parsed or defined in these lines.
            let lines = text.lines().filter(|line| {
                line.contains("\" =>") || line.contains("add_argument(") || line.contains("for name in (\"--")
            });
            let words = lines.flat_map(|line| line.split('"'));
            let mut found: Vec<&str> = words
                .filter(|word| word.starts_with("--") && !word.contains(' ') && !added.contains(word))
                .collect();
            let (_, options) = FORWARDED.iter().find(|(name, _)| *name == command).expect("its options");
            let mut known: Vec<&str> = options.iter().map(|(name, _)| *name).collect();
            found.sort_unstable();
            known.sort_unstable();
            assert_eq!(found, known, "{command}: {file}");
            let shown = section(command).expect("a section");
            assert!(known.iter().all(|name| shown.contains(name)), "{command}: {shown}");
        }
    }
}
