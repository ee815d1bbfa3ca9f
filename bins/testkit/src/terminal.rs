//! Programs on a terminal of their own.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

/// The output of a program whose standard output and standard error were a terminal.
#[derive(Debug)]
pub struct TerminalOutput {
    /// Exit code of the program.
    pub code: Option<i32>,
    /// All bytes that the terminal received, in order.
    pub drawn: String,
    /// Lines of the screen at the end, without blanks at their ends.
    pub screen: Vec<String>,
}

impl TerminalOutput {
    /// Runs a command on a new terminal of `columns` columns, made by `script`. Its standard input is empty. Variables
    /// of this process that decide about colours are not inherited: a terminal in a CI job has colours even where
    /// `TERM` is `dumb`.
    ///
    /// # Panics
    /// Panics if `script` cannot be run, or the program uses control sequences other than the erasure of a line and
    /// colours.
    pub fn of(command: &Command, columns: usize) -> Self {
        let words = std::iter::once(command.get_program()).chain(command.get_args()).map(quoted);
        let line = format!("stty cols {columns} rows 24; exec {}", words.collect::<Vec<_>>().join(" "));
        let mut script = Command::new("script");
        script.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
        script.env("TERM", "xterm").env("SHELL", "/bin/sh").stdin(Stdio::null());
        for name in ["CI", "TF_BUILD", "CLICOLOR", "CLICOLOR_FORCE", "FORCE_COLOR", "NO_COLOR", "COLORTERM"] {
            script.env_remove(name);
        }
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => script.env(name, value),
                None => script.env_remove(name),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            script.current_dir(folder);
        }
        let output = script.output().expect("script runs: apt-get install bsdutils");
        let drawn = String::from_utf8_lossy(&output.stdout).into_owned();
        Self { code: output.status.code(), screen: screen(&drawn, columns), drawn }
    }

    /// Returns `true` if the terminal received a control sequence that sets colours or another style.
    pub fn has_colours(&self) -> bool {
        self.drawn
            .split("\x1b[")
            .skip(1)
            .any(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';').starts_with('m'))
    }
}

/// Quotes a word for a shell.
fn quoted(word: &OsStr) -> String {
    let word = word.to_str().expect("an argument of UTF-8");
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// Returns the lines of a screen of `columns` columns after it received `drawn`. Each character takes one column.
fn screen(drawn: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<Vec<char>> = vec![Vec::new()];
    let (mut row, mut column) = (0, 0);
    let mut rest = drawn.chars();
    while let Some(c) = rest.next() {
        match c {
            '\r' => column = 0,
            '\n' => row += 1,
            '\x1b' => {
                assert_eq!(rest.next(), Some('['), "{drawn:?}");
                let end = rest.find(|c| !(c.is_ascii_digit() || *c == ';'));
                match end {
                    Some('K') => lines[row].truncate(column),
                    Some('m') => {}
                    other => panic!("{other:?} ends a control sequence in {drawn:?}"),
                }
            }
            c => {
                // The character that does not fit any more begins the next line.
                if column == columns {
                    (row, column) = (row + 1, 0);
                }
                lines.resize_with(lines.len().max(row + 1), Vec::new);
                let line = &mut lines[row];
                line.resize(line.len().max(column + 1), ' ');
                line[column] = c;
                column += 1;
            }
        }
        lines.resize_with(lines.len().max(row + 1), Vec::new);
    }
    lines.iter().map(|line| line.iter().collect::<String>().trim_end().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screen_wraps_and_erases_lines() {
        assert_eq!(screen("a\r\nbc\rd", 80), ["a", "dc"]);
        assert_eq!(screen("… one\r\x1b[Kdone\r\n", 80), ["done", ""]);
        // Of a line that was continued, only its end is erased.
        assert_eq!(screen("abcdef\r\x1b[Kg", 4), ["abcd", "g"]);
        assert_eq!(screen("abcd\r\x1b[Kg", 4), ["g"]);
        assert_eq!(screen("\x1b[1;32ma\x1b[0m", 4), ["a"]);
    }

    #[test]
    fn a_program_sees_a_terminal_of_the_given_width() {
        let mut command = Command::new("sh");
        command.args(["-c", "test -t 1 && test -t 2 && stty size <&1; echo \"$WORD it's\"; exit 3"]);
        let output = TerminalOutput::of(command.env("WORD", "a  b"), 40);
        assert_eq!(
            (output.code, &output.screen[..2]),
            (Some(3), &["24 40".to_owned(), "a  b it's".to_owned()][..])
        );
        assert!(!output.has_colours());
    }
}
