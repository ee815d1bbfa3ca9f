//! The options that apply to each command. Every option is accepted before and after each command; `--help`, man pages
//! and completions show it only where it has an effect.

use crate::args::Args;
use clap::parser::ValueSource;
use clap::{ArgMatches, Command, CommandFactory, Error, FromArgMatches, Parser};

/// Options that identify an upgrade and its directories.
const UPGRADE: &[&str] = &["from", "to", "base", "cluster", "old_data", "new_data"];
/// Options for reading the old cluster.
const OLD: &[&str] = &["from", "base", "cluster", "old_data", "old_config", "old_bin", "superuser", "accept"];
/// Options for the transfer to the new cluster.
const WAY: &[&str] = &["new_bin", "waldir", "mode", "jobs", "reindex_online", "amcheck"];
/// Options for the backup, and for stopping and starting servers.
const RUN: &[&str] =
    &["backup", "backup_dump", "backup_exists", "service", "new_service", "stop", "no_start", "until"];

/// The commands, with the lists of options that apply to them. None of these options applies to a command that is not
/// listed.
const CONCERN: &[(&str, &[&[&str]])] = &[
    ("plan", &[UPGRADE, OLD, WAY, RUN]),
    ("check", &[OLD]),
    ("rehearse", &[UPGRADE, OLD, WAY, &["service"]]),
    ("run", &[UPGRADE, OLD, WAY, RUN]),
    ("rollback", &[UPGRADE, &["old_config", "service"]]),
    ("status", &[UPGRADE]),
    ("report", &[UPGRADE]),
    ("gc", &[&["base"]]),
];

/// Returns `true` if an option, given by its identifier, applies to a command.
fn concerns(command: &str, option: &str) -> bool {
    let lists = CONCERN.iter().find(|(name, _)| *name == command).map_or(&[][..], |(_, lists)| lists);
    lists.iter().any(|list| list.contains(&option))
}

/// Returns the identifiers of all options of the lists, sorted and each once.
fn options() -> Vec<&'static str> {
    let mut all = [UPGRADE, OLD, WAY, RUN].concat();
    all.sort_unstable();
    all.dedup();
    all
}

/// The command line. Help, man pages and completions of each command show only the options that apply to it.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) args: Args,
    /// Messages about options that were given to a command to which they do not apply.
    pub(crate) unused: Vec<String>,
}

impl CommandFactory for Line {
    fn command() -> Command {
        shown(Args::command())
    }

    fn command_for_update() -> Command {
        shown(Args::command_for_update())
    }
}

/// Returns the command line with the options added to each command, hidden where they do not apply. At the top level,
/// only `from`, `to`, `base` and `cluster` are shown.
fn shown(mut program: Command) -> Command {
    let args: Vec<_> =
        program.get_arguments().filter(|arg| options().contains(&arg.get_id().as_str())).cloned().collect();
    for command in program.get_subcommands_mut() {
        let name = command.get_name().to_owned();
        let own = args.iter().map(|arg| arg.clone().hide(!concerns(&name, arg.get_id().as_str())));
        *command = std::mem::take(command).args(own);
    }
    for option in options().into_iter().filter(|option| !UPGRADE[..4].contains(option)) {
        program = program.mut_arg(option, |arg| arg.hide(true));
    }
    program
}

impl FromArgMatches for Line {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        Ok(Self { args: Args::from_arg_matches(matches)?, unused: unused(matches) })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        self.unused = unused(matches);
        self.args.update_from_arg_matches(matches)
    }
}

impl Parser for Line {}

/// Returns a message for each option that was given on the command line to a command to which it does not apply. Empty
/// without a command.
fn unused(matches: &ArgMatches) -> Vec<String> {
    let Some((command, given)) = matches.subcommand() else { return Vec::new() };
    let is_given = |option: &str| matches!(given.value_source(option), Some(ValueSource::CommandLine));
    let unused = options().into_iter().filter(|option| !concerns(command, option) && is_given(option));
    unused.map(|option| format!("{command} does not use --{}", option.replace('_', "-"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn help(command: &str) -> String {
        let mut program = Line::command();
        program.build();
        let found = program.find_subcommand_mut(command).expect("a command");
        found.render_long_help().to_string()
    }

    #[test]
    fn the_command_line_holds_together() {
        Line::command().debug_assert();
    }

    /// Every option of the table is one of the program, and each command shows those that concern it and no others.
    #[test]
    fn commands_show_the_options_that_concern_them() {
        let has = |text: &str, option: &str| {
            let long = format!("--{}", option.replace('_', "-"));
            text.split(|c: char| c.is_whitespace() || c == ',').any(|word| word == long)
        };
        for (command, _) in CONCERN {
            let text = help(command);
            for option in options() {
                assert_eq!(
                    has(&text, option),
                    concerns(command, option),
                    "{command} --help: {option}:\n{text}"
                );
            }
            assert!(has(&text, "json") && has(&text, "quiet"), "{text}");
        }
        for option in ["mode", "backup", "service", "from"] {
            assert!(!has(&help("gc"), option) && !has(&help("completions"), option), "{option}");
        }
        let commands: Vec<String> =
            Args::command().get_subcommands().map(|command| command.get_name().to_owned()).collect();
        let known = |name: &String| CONCERN.iter().any(|(known, _)| known == name);
        let others: Vec<&String> = commands.iter().filter(|name| !known(name)).collect();
        assert_eq!(others, ["completions", "man"]);
        let program = Line::command().render_long_help().to_string();
        assert!(has(&program, "from") && has(&program, "base") && !has(&program, "mode"), "{program}");
    }

    #[test]
    fn options_stand_before_and_after_the_command() {
        let parse = |line: &[&str]| Line::try_parse_from([&["x"], line].concat()).expect("a command line");
        for line in [
            &["--from", "17", "--to", "18", "--mode", "copy", "run"][..],
            &["run", "--from", "17", "--to", "18", "--mode", "copy"],
            &["--from", "17", "run", "--to", "18", "--mode", "copy"],
            // Deprecated: no command.
            &["--from", "17", "--to", "18", "--mode", "copy"],
        ] {
            let parsed = parse(line);
            let request = parsed.args.request("x").expect("a request");
            assert_eq!((request.from.number(), request.to.number()), (17, 18), "{line:?}");
            assert_eq!(request.mode, Some(pg_upgrade::Mode::Copy), "{line:?}");
            assert_eq!(parsed.unused, Vec::<String>::new(), "{line:?}");
        }
        let parsed = parse(&["--mode", "copy", "gc", "--older-than", "1d", "--from", "17"]);
        assert_eq!(parsed.unused, ["gc does not use --from", "gc does not use --mode"]);
        assert!(Line::try_parse_from(["x", "gc", "--older-than", "1d", "--service", "a", "--stop"]).is_err());
    }
}
