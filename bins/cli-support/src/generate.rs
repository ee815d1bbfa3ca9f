//! Shell completions and man pages, generated from the definitions behind `--help`, so that all agree.

use clap::{Command, ValueEnum};
use std::io::{self, Write};
use std::path::Path;

/// Commands that a program flattens into its own: `completions bash`, `man --folder DIR`.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Generate {
    /// Print completions for a shell, for its folder of completions
    Completions {
        /// The shell to complete for
        shell: Shell,
    },
    /// Print the man page, or write all pages into a folder
    Man {
        /// The folder for the pages of the program, its commands and its files; it must exist
        #[arg(long, value_name = "FOLDER")]
        folder: Option<std::path::PathBuf>,
    },
}

/// Shells for which completions can be generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// The Bourne-again shell.
    Bash,
    /// The friendly interactive shell.
    Fish,
    /// The Z shell.
    Zsh,
}

/// Name of a man page of section 5, and the function that returns its content.
pub type ReferencePage = (&'static str, fn() -> String);

/// Parts of a man page that `--help` does not contain.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manual {
    /// Example commands, each with its description.
    pub examples: &'static [(&'static str, &'static str)],
    /// Files that the program reads or writes, each with its purpose.
    pub files: &'static [(&'static str, &'static str)],
    /// Signals that the program handles, each with its effect.
    pub signals: &'static [(&'static str, &'static str)],
    /// Man pages of section 5 about the program's files: name, and content in roff.
    pub references: &'static [ReferencePage],
}

impl Generate {
    /// Prints a completion script or the man page of a program on standard output, or writes all of its man pages to a
    /// folder. Ends the process with code 141 if standard output is a pipe without a reader.
    ///
    /// # Errors
    /// Returns an error if the output or a page cannot be written.
    pub fn run(&self, mut program: Command, manual: &Manual) -> io::Result<()> {
        let printed = |written: io::Result<()>| written.inspect_err(crate::pipe::exit_if_broken);
        match self {
            Self::Completions { shell } => {
                printed(io::stdout().write_all(&completions(&mut program, *shell)))
            }
            Self::Man { folder: Some(folder) } => man(&program, manual, folder),
            Self::Man { folder: None } => {
                let mut page = Vec::new();
                clap_mangen::Man::new(program).render(&mut page)?;
                page.extend(manual.roff().into_bytes());
                printed(io::stdout().write_all(&page))
            }
        }
    }

    /// Runs the command like [`run`](Self::run), for programs that end with [`Done`](crate::outcome::Done).
    ///
    /// # Errors
    /// Returns [`Failure::Failed`](crate::outcome::Failure) if the output cannot be written.
    pub fn outcome(
        &self,
        program: Command,
        manual: &Manual,
    ) -> Result<crate::outcome::Done, crate::outcome::Failure> {
        let done = self.run(program, manual).map(|()| crate::outcome::Done::Fine);
        done.map_err(|why| crate::outcome::Failure::Failed(why.to_string()))
    }
}

impl Manual {
    /// Returns the sections EXAMPLES, FILES, SIGNALS, EXIT STATUS and SEE ALSO in roff. Sections without entries are
    /// omitted; EXIT STATUS always has the entries of [`EXITS`].
    fn roff(&self) -> String {
        let mut text = String::new();
        for (command, purpose) in self.examples {
            if text.is_empty() {
                text.push_str(".SH EXAMPLES\n");
            }
            text.push_str(&format!(".TP\n\\fB{}\\fR\n{}\n", escape(command), escape(purpose)));
        }
        for (title, list) in [("FILES", self.files), ("SIGNALS", self.signals)] {
            if !list.is_empty() {
                text.push_str(&format!(".SH {title}\n"));
            }
            for (name, purpose) in list {
                text.push_str(&format!(".TP\n\\fI{}\\fR\n{}\n", escape(name), escape(purpose)));
            }
        }
        text.push_str(".SH EXIT STATUS\n");
        for (code, meaning) in EXITS {
            text.push_str(&format!(".TP\n\\fB{code}\\fR\n{meaning}\n"));
        }
        if !self.references.is_empty() {
            let pages: Vec<String> =
                self.references.iter().map(|(name, _)| format!("\\fB{}\\fR(5)", escape(name))).collect();
            text.push_str(&format!(".SH SEE ALSO\n{}\n", pages.join(", ")));
        }
        text
    }
}

/// The exit codes of every program, with their meanings.
pub const EXITS: [(u8, &str); 4] = [
    (0, "Done, without findings."),
    (1, "The operation failed."),
    (2, "The input or the usage is not valid; nothing was changed."),
    (3, "There are differences, findings or warnings."),
];

/// Escapes text for roff: every backslash and hyphen, and a full stop or apostrophe at the beginning of the text.
pub fn escape(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

/// Returns the completion script of a program for a shell.
pub fn completions(program: &mut Command, shell: Shell) -> Vec<u8> {
    let shell = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Fish => clap_complete::Shell::Fish,
        Shell::Zsh => clap_complete::Shell::Zsh,
    };
    let name = program.get_name().to_owned();
    let mut text = Vec::new();
    clap_complete::generate(shell, program, name, &mut text);
    text
}

/// Writes `PROGRAM.1`, one page for each command (`PROGRAM-COMMAND.1`), and the pages of section 5 to a folder.
/// Existing pages are replaced. Only `PROGRAM.1` gets the sections of `manual`.
///
/// # Errors
/// Returns an error if the folder does not exist or a page cannot be written.
pub fn man(program: &Command, manual: &Manual, folder: &Path) -> io::Result<()> {
    clap_mangen::generate_to(program.clone(), folder)?;
    let page = folder.join(format!("{}.1", program.get_name()));
    std::fs::OpenOptions::new().append(true).open(page)?.write_all(manual.roff().as_bytes())?;
    for (name, content) in manual.references {
        std::fs::write(folder.join(format!("{name}.5")), content())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, Parser, Subcommand};

    /// A sample program.
    #[derive(Parser)]
    #[command(name = "sample")]
    struct Sample {
        #[command(subcommand)]
        _command: SampleCommand,
    }

    #[derive(Subcommand)]
    enum SampleCommand {
        /// Look at something
        Look,
        #[command(flatten)]
        Generate(Generate),
    }

    #[test]
    fn every_shell_and_a_page_for_each_command() {
        for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
            let text = String::from_utf8(completions(&mut Sample::command(), shell)).unwrap();
            assert!(text.contains("look") && text.contains("sample"), "{shell:?}");
        }
        let folder = tempfile::tempdir().unwrap();
        let manual = Manual {
            examples: &[("sample look", "Looks.")],
            files: &[("/etc/sample/sample.toml", "The configuration.")],
            signals: &[("SIGHUP", "Reads it again.")],
            references: &[("sample.toml", || ".TH sample.toml 5\n".to_owned())],
        };
        man(&Sample::command(), &manual, folder.path()).unwrap();
        let whole = std::fs::read_to_string(folder.path().join("sample.1")).unwrap();
        for title in ["EXAMPLES", "FILES", "SIGNALS", "EXIT STATUS", "sample.toml\\fR(5)"] {
            assert!(whole.contains(title), "{title}: {whole}");
        }
        assert!(folder.path().join("sample.toml.5").exists());
        let page = std::fs::read_to_string(folder.path().join("sample-look.1")).unwrap();
        assert!(page.contains("Look at something"), "{page}");
    }
}
