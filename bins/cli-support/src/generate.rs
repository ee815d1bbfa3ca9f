//! Shell completions and man pages, generated from the definitions behind `--help`, so that they cannot differ.

use clap::{Command, ValueEnum};
use std::io::{self, Write};
use std::path::Path;

/// Commands that a program flattens into its own: `completions bash`, `man --folder DIR`.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Generate {
    /// Print completions for a shell, for its folder of completions
    #[command(hide = true)]
    Completions {
        /// The shell to complete for
        shell: Shell,
    },
    /// Write man pages into a folder, one for the program and one for each command
    #[command(hide = true)]
    Man {
        /// The folder; it must exist
        #[arg(long, value_name = "FOLDER")]
        folder: std::path::PathBuf,
    },
}

/// The shells with completions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// The Bourne-again shell.
    Bash,
    /// The friendly interactive shell.
    Fish,
    /// The Z shell.
    Zsh,
}

impl Generate {
    /// Runs the command for a program.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn run(&self, mut program: Command) -> io::Result<()> {
        match self {
            Self::Completions { shell } => {
                let written = io::stdout().write_all(&completions(&mut program, *shell));
                written.inspect_err(crate::pipe::exit_if_broken)
            }
            Self::Man { folder } => man(&program, folder),
        }
    }
}

impl Generate {
    /// Runs the command for programs that end with [`Done`](crate::outcome::Done).
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn outcome(&self, program: Command) -> Result<crate::outcome::Done, crate::outcome::Failure> {
        let done = self.run(program).map(|()| crate::outcome::Done::Fine);
        done.map_err(|why| crate::outcome::Failure::Failed(why.to_string()))
    }
}

/// Returns the completions for a shell.
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

/// Writes `program.1`, and `program-command.1` for each command.
///
/// # Errors
/// A page cannot be written.
pub fn man(program: &Command, folder: &Path) -> io::Result<()> {
    clap_mangen::generate_to(program.clone(), folder)
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
        man(&Sample::command(), folder.path()).unwrap();
        let page = std::fs::read_to_string(folder.path().join("sample-look.1")).unwrap();
        assert!(page.contains("Look at something"), "{page}");
        assert!(folder.path().join("sample.1").exists());
    }
}
