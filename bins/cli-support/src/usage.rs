//! Parsing of the command line, and its errors as findings.

use crate::finding::{Finding, Findings, Place};
use crate::outcome::Failure;
use clap::Parser;
use clap::error::{ContextKind, ContextValue, Error, ErrorKind};
use std::num::{IntErrorKind, ParseIntError};
use std::path::PathBuf;

/// The exit codes of every program, for `--help` and man pages.
pub const EXIT_CODES: &str =
    "Exit codes: 0 done, 1 failed, 2 unusable input or usage, 3 differences, findings or warnings.";

/// Name that takes the place of the file in findings about the command line.
pub const COMMAND_LINE: &str = "command line";

/// Parses the command line. If it asks for help or the version, these are printed and the process exits with code 0; an
/// invalid command line is reported as a finding with the usage on standard error, or with `--json` as a document on
/// standard output, and the process exits with code 2.
pub fn parse<A: Parser>(program: &str) -> A {
    A::try_parse().unwrap_or_else(|why| {
        // clap_derive offers no other way to determine an option before parsing succeeded.
        let json = std::env::args_os().skip(1).take_while(|arg| arg != "--").any(|arg| arg == "--json");
        let shows_help = why.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
        if !why.use_stderr() || (shows_help && !json) {
            why.exit();
        }
        let failure = Failure::from(findings(&why));
        failure.print(program, json);
        if let (Some(ContextValue::StyledStr(usage)), false) = (why.get(ContextKind::Usage), json) {
            eprintln!("\n{usage}\n\nFor more information, try '--help'.");
        }
        std::process::exit(failure.code().into())
    })
}

/// Returns the failure for an option whose value the program itself rejects: one finding with this code and message,
/// whose file is [`COMMAND_LINE`] and whose key is the option.
pub fn fault(code: &'static str, option: &str, message: &str) -> Failure {
    let place = Place { file: COMMAND_LINE.to_owned(), key: option.to_owned(), ..Place::default() };
    Findings::new(vec![Finding::error(code, place, message)]).into()
}

/// Returns the default path of a file: the first of these paths that exists, or the first if none does. The later ones
/// are those of earlier versions. Empty if there are no paths.
pub fn default_file(paths: &[&str]) -> PathBuf {
    let found = paths.iter().find(|path| std::path::Path::new(path).exists());
    PathBuf::from(found.or(paths.first()).copied().unwrap_or_default())
}

/// Converts an error of clap to one finding about the command line, with the code `unknown-option`, `unknown-command`,
/// `missing`, `value`, `conflict` or, for other errors, `usage`. The key is the option or command, the value the
/// rejected one; both are left out if clap does not know them.
pub fn findings(why: &Error) -> Findings {
    let text = |kind| match why.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(list)) => Some(list.join(", ")),
        Some(ContextValue::StyledStr(text)) => Some(text.to_string()),
        _ => None,
    };
    let valid = || text(ContextKind::ValidValue).filter(|list| !list.is_empty());
    let value = text(ContextKind::InvalidValue).filter(|value| !value.is_empty());
    let key =
        text(ContextKind::InvalidArg).or_else(|| text(ContextKind::InvalidSubcommand)).unwrap_or_default();
    let near = [ContextKind::SuggestedValue, ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand];
    let near = near.into_iter().find_map(|kind| match why.get(kind) {
        Some(ContextValue::Strings(list)) => list.last().cloned(),
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    });
    let near = near.map(|near| format!("did you mean `{near}`?"));
    let first = || {
        let whole = why.to_string();
        let line = whole.lines().next().unwrap_or_default();
        line.trim_start_matches("error: ").to_owned()
    };
    let help = "see --help";
    let (code, message) = match why.kind() {
        ErrorKind::UnknownArgument => {
            ("unknown-option", format!("unknown option: {}", near.unwrap_or_else(|| help.into())))
        }
        ErrorKind::InvalidSubcommand => {
            ("unknown-command", format!("unknown command: {}", near.unwrap_or_else(|| help.into())))
        }
        ErrorKind::MissingRequiredArgument => ("missing", format!("missing: write {key}")),
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let list = valid().map_or_else(|| help.to_owned(), |list| format!("write one of {list}"));
            ("missing", format!("a command is missing: {list}"))
        }
        ErrorKind::InvalidValue if value.is_none() => ("missing", format!("a value is missing: write {key}")),
        ErrorKind::InvalidValue => {
            let near = near.map(|near| format!("; {near}")).unwrap_or_default();
            let list = valid().unwrap_or_default();
            ("value", format!("must be one of {list}{near}"))
        }
        ErrorKind::ArgumentConflict => {
            let other = text(ContextKind::PriorArg).unwrap_or_default();
            ("conflict", format!("cannot be used with {other}: leave one of them out"))
        }
        ErrorKind::ValueValidation => {
            ("value", std::error::Error::source(why).map_or_else(first, validation))
        }
        _ => ("usage", first()),
    };
    let place = Place { file: COMMAND_LINE.to_owned(), key, ..Place::default() };
    Findings::new(vec![Finding::error(code, place, message).value(value)])
}

/// Returns the message for a value that the parser of an option rejects: for numbers of a wrong form, or out of range,
/// with the fix, otherwise the parser's own message.
fn validation(why: &(dyn std::error::Error + 'static)) -> String {
    match why.downcast_ref::<ParseIntError>().map(ParseIntError::kind) {
        Some(IntErrorKind::PosOverflow) => "too large: write a smaller number".to_owned(),
        Some(IntErrorKind::NegOverflow) => "too small: write a larger number".to_owned(),
        Some(_) => "not a whole number: write digits only".to_owned(),
        None => match why.to_string().split_once(" is not in ") {
            Some((_, range)) => {
                // Rust's notation of a range.
                let (first, last) = range.split_once("..=").unwrap_or((range, range));
                format!("out of range: write a number from {first} to {last}")
            }
            None => why.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Parser)]
    struct Options {
        #[arg(long, value_parser = ["on", "off"])]
        ssl: Option<String>,
        #[arg(long)]
        count: Option<u8>,
        file: String,
    }

    #[test]
    fn faults_of_the_command_line_have_an_option_a_value_and_a_fix() {
        let said = |args: &[&str]| {
            let why = Options::try_parse_from(std::iter::once(&"x").chain(args)).expect_err("a fault");
            findings(&why).to_string()
        };
        assert_eq!(
            said(&["f", "--ssl", "onn"]),
            "command line: error[value]: --ssl <SSL> = onn: must be one of on, off; did you mean `on`?"
        );
        assert_eq!(
            said(&["f", "--count", "x"]),
            "command line: error[value]: --count <COUNT> = x: not a whole number: write digits only"
        );
        assert!(
            said(&["f", "--count", "300"]).ends_with("= 300: out of range: write a number from 0 to 255")
        );
        let larger = said(&["f", "--count", "99999999999999999999"]);
        assert!(larger.ends_with("= 99999999999999999999: too large: write a smaller number"), "{larger}");
        assert_eq!(
            said(&["f", "--sll", "on"]),
            "command line: error[unknown-option]: --sll: unknown option: did you mean `--ssl`?"
        );
        assert_eq!(said(&[]), "command line: error[missing]: <FILE>: missing: write <FILE>");
    }

    #[test]
    fn a_file_of_an_earlier_version_is_the_default_only_without_the_current_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let [now, before] =
            ["now.toml", "before.toml"].map(|name| folder.path().join(name).display().to_string());
        let default = || default_file(&[now.as_str(), before.as_str()]).display().to_string();
        assert_eq!(default(), now, "neither exists");
        std::fs::write(&before, "").expect("a file");
        assert_eq!(default(), before);
        std::fs::write(&now, "").expect("a file");
        assert_eq!(default(), now);
    }
}
