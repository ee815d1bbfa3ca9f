//! The command line.

use clap::{Parser, Subcommand, ValueEnum};
use cli_support::generate::Generate;
use cli_support::outcome::Failure;
use cli_support::verbosity::Verbosity;
use pg_upgrade::{Amcheck, Backup, Major, Mode, Reindexing, Request, Step, StopMethod, versions_in_name};
use std::path::PathBuf;
use std::time::Duration;

/// A major upgrade of a PostgreSQL cluster that cannot lose data.
///
/// `plan` shows the steps and every obstacle, `run` upgrades or resumes an interrupted upgrade, `rollback` returns to the
/// old cluster. Run it as the cluster's owner, or as root, which becomes the owner for everything but stopping and starting
/// the service. Called by a name such as upgrade-pg-cluster-17-18 it takes the versions from there.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 110, after_help = cli_support::usage::EXIT_CODES)]
pub(crate) struct Args {
    /// The version that runs now.
    #[arg(long, global = true, value_name = "MAJOR")]
    pub(crate) from: Option<Major>,
    /// The version to upgrade to.
    #[arg(long, global = true, value_name = "MAJOR")]
    pub(crate) to: Option<Major>,
    /// The folder that has a folder for each version.
    #[arg(long, global = true, default_value = "/var/lib/postgresql", value_name = "DIR")]
    pub(crate) base: PathBuf,
    /// The cluster's name below the version's folder; found where it is "main", as on Debian.
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) cluster: Option<String>,
    /// Answer in JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Deprecated: use the command rollback.
    #[arg(long, hide = true)]
    rollback: bool,
    #[command(flatten)]
    pub(crate) options: Options,
    #[command(flatten)]
    pub(crate) verbosity: Verbosity,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The old data folder, where it is elsewhere.
    #[arg(long, global = true, value_name = "DIR")]
    old_data: Option<PathBuf>,
    /// The new data folder, where it shall be elsewhere.
    #[arg(long, global = true, value_name = "DIR")]
    new_data: Option<PathBuf>,
    /// The folder of the old postgresql.conf, where it is not with the data.
    #[arg(long, global = true, value_name = "DIR")]
    old_config: Option<PathBuf>,
    /// The folder of the old version's programs.
    #[arg(long, global = true, value_name = "DIR")]
    old_bin: Option<PathBuf>,
    /// The folder of the new version's programs.
    #[arg(long, global = true, value_name = "DIR")]
    new_bin: Option<PathBuf>,
    /// The folder of the new cluster's write-ahead log, where it shall not be among the data.
    #[arg(long, global = true, value_name = "DIR")]
    waldir: Option<PathBuf>,
    /// Transfer mode: copy, clone, copy-file-range; link and swap cost the old cluster. By default the best
    /// of the first three that the file system allows.
    #[arg(long, global = true)]
    mode: Option<Mode>,
    /// Number of parallel jobs; by default the number of processors.
    #[arg(long, short, global = true, value_parser = clap::value_parser!(u32).range(1..))]
    jobs: Option<u32>,
    /// Folder of the base backup, instead of one beside the old folder.
    #[arg(long, global = true, value_name = "DIR", conflicts_with_all = ["backup_dump", "backup_exists"])]
    backup: Option<PathBuf>,
    /// Make the backup by pg_dumpall, into this file.
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "backup_exists")]
    backup_dump: Option<PathBuf>,
    /// Make none: there is one, and this is what it is.
    #[arg(long, global = true, value_name = "REASON")]
    backup_exists: Option<String>,
    /// The systemd unit of the old server: it is stopped when its turn comes, and started again with the new version.
    #[arg(long, global = true, value_name = "UNIT", conflicts_with = "stop")]
    service: Option<String>,
    /// The systemd unit of the new server, where it has another name.
    #[arg(long, global = true, value_name = "UNIT")]
    new_service: Option<String>,
    /// Stop a running old server by pg_ctl when its turn comes.
    #[arg(long, global = true)]
    stop: bool,
    /// Leave starting the new server to somebody else; the next run goes on after that.
    #[arg(long, global = true)]
    no_start: bool,
    /// Stop after this step.
    #[arg(long, global = true, value_name = "STEP")]
    until: Option<Step>,
    /// Accept a finding that asks for it, by its code, or a difference between the clusters, by its name.
    #[arg(long, global = true, value_name = "CODE")]
    accept: Vec<String>,
    /// Rebuild indexes of changed collations at the end and concurrently, while clients work with them.
    #[arg(long, global = true)]
    reindex_online: bool,
    /// Extent of the check of the new cluster by pg_amcheck.
    #[arg(long, global = true, value_enum, default_value = "sample")]
    amcheck: Depth,
    /// A superuser to connect as, where it is neither the owner's name nor "postgres".
    #[arg(long, global = true, value_name = "ROLE")]
    superuser: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Depth {
    /// Not at all.
    Off,
    /// Tables that fit into a budget of 32 MB, with their indexes.
    Sample,
    /// Every table and index.
    Full,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Shell(Generate),
    /// Show the steps and every obstacle; touch nothing.
    Plan,
    /// Check the cluster for what a later version changes, whose programs need not be there; touch nothing.
    Check {
        /// The later version.
        #[arg(long, value_name = "MAJOR")]
        next: Major,
    },
    /// Rehearse the upgrade on a copy of the running cluster, predict the outage, and throw the copy away. The copy keeps to
    /// itself: no TCP, no archiving, no background workers.
    Rehearse {
        /// The folder to make the copy in, instead of one beside the clusters.
        #[arg(long, value_name = "DIR")]
        at: Option<PathBuf>,
        /// The largest rate at which the copy is made, in kilobytes a second or with a suffix k or M.
        #[arg(long, value_name = "RATE", default_value = "100M")]
        max_rate: String,
        /// The largest number of runs of the steps without a server, of which the median counts. They are repeated as long as
        /// all together take at most a minute, and not in the modes link and swap.
        #[arg(long, value_name = "NUMBER", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
        runs: u32,
    },
    /// Upgrade, or resume an interrupted upgrade.
    Run {
        /// Only show the steps and every obstacle, as `plan` does.
        #[arg(long)]
        dry_run: bool,
    },
    /// Return to the old cluster. Possible until the new folder has its name.
    Rollback,
    /// Show the state of an upgrade.
    Status,
    /// Print the report of an upgrade.
    Report {
        /// Print it as HTML.
        #[arg(long)]
        html: bool,
    },
    /// Remove old clusters whose upgrade was done that long ago.
    Gc {
        /// An age such as 30d, 2w or 12h.
        #[arg(long, value_parser = age, value_name = "AGE")]
        older_than: Duration,
        /// Remove their backups too.
        #[arg(long)]
        backups: bool,
        /// Only say what would be removed.
        #[arg(long)]
        dry_run: bool,
    },
}

/// Parses an age: a whole number and one of the units `w`, `d`, `h`, `m` (minutes) and `s`.
///
/// # Errors
/// Returns a description if the number or the unit is not valid, or the age in seconds exceeds 64 bits.
fn age(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a valid age: expected one such as 30d, 2w or 12h");
    let (number, unit) =
        text.split_at(text.len().checked_sub(1).filter(|at| text.is_char_boundary(*at)).ok_or_else(wrong)?);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let seconds = match unit {
        "w" => 7 * 86_400,
        "d" => 86_400,
        "h" => 3_600,
        "m" => 60,
        "s" => 1,
        _ => return Err(wrong()),
    };
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(wrong)
}

/// An action that changes the cluster: an upgrade or a rollback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Run,
    Rollback,
}

impl Args {
    /// Returns the action of a command that changes the cluster. Without a command it is [`Action::Run`], or with
    /// `--rollback` [`Action::Rollback`]. `None` for a dry run and for other commands.
    pub(crate) fn action(&self) -> Option<Action> {
        match (&self.command, self.rollback) {
            (Some(Command::Rollback), _) | (None, true) => Some(Action::Rollback),
            (Some(Command::Run { dry_run: false }) | None, _) => Some(Action::Run),
            (
                Some(
                    Command::Plan
                    | Command::Run { dry_run: true }
                    | Command::Rehearse { .. }
                    | Command::Check { .. }
                    | Command::Status
                    | Command::Report { .. }
                    | Command::Gc { .. },
                ),
                _,
            )
            | (Some(Command::Shell(_)), _) => None,
        }
    }

    /// Returns the command, `run` or `rollback`, to use instead of a call without one, which is deprecated. `None` if
    /// the call has a command.
    pub(crate) fn replacement_command(&self) -> Option<&'static str> {
        match (&self.command, self.rollback) {
            (None, true) => Some("rollback"),
            (None, false) => Some("run"),
            (Some(_), _) => None,
        }
    }

    /// Returns the request of an upgrade by the options. The versions are those of the options (for `check`, its own
    /// later one), or else those in `called`, the name that the program was called by. Relative paths are made
    /// absolute.
    ///
    /// # Errors
    /// Returns a [`Failure`] if a version is missing, or a path cannot be made absolute.
    pub(crate) fn request(&self, called: &str) -> Result<Request, Failure> {
        let named = versions_in_name(called);
        let from = self.from.or(named.map(|(from, _)| from));
        let next = if let Some(Command::Check { next }) = &self.command { Some(*next) } else { None };
        let to = next.or(self.to).or(named.map(|(_, to)| to));
        let (Some(from), Some(to)) = (from, to) else {
            let message = "the versions are missing: give --from and --to, such as --from 17 --to 18";
            return Err(cli_support::usage::fault("missing", "--from", message));
        };
        let mut request = Request::new(from, to);
        let options = &self.options;
        let full = |path: &PathBuf| {
            std::path::absolute(path)
                .map_err(|why| Failure::Configuration(format!("{}: {why}", path.display())))
        };
        let fuller = |path: &Option<PathBuf>| path.as_ref().map(full).transpose();
        request.base = full(&self.base)?;
        request.cluster.clone_from(&self.cluster);
        request.old_data = fuller(&options.old_data)?;
        request.new_data = fuller(&options.new_data)?;
        request.old_config = fuller(&options.old_config)?;
        request.old_bin = fuller(&options.old_bin)?;
        request.new_bin = fuller(&options.new_bin)?;
        request.wal_dir = fuller(&options.waldir)?;
        request.mode = options.mode;
        request.jobs = options.jobs.unwrap_or(request.jobs);
        request.backup = match (&options.backup, &options.backup_dump, &options.backup_exists) {
            (Some(path), ..) => Some(Backup::Base(full(path)?)),
            (_, Some(path), _) => Some(Backup::Dump(full(path)?)),
            (.., Some(reason)) => Some(Backup::Asserted(reason.clone())),
            _ => None,
        };
        request.stopping = match (&options.service, options.stop) {
            (Some(unit), _) => StopMethod::Service(unit.clone()),
            (None, true) => StopMethod::PgCtl,
            (None, false) => StopMethod::Refuse,
        };
        request.start_service.clone_from(&options.new_service);
        request.starting = !options.no_start;
        request.until = options.until;
        request.accept.clone_from(&options.accept);
        if options.reindex_online {
            request.reindexing = Reindexing::Online;
        }
        request.amcheck = match options.amcheck {
            Depth::Off => Amcheck::Off,
            Depth::Sample => Amcheck::Sample,
            Depth::Full => Amcheck::Full,
        };
        request.superuser.clone_from(&options.superuser);
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages() {
        assert_eq!(age("30d"), Ok(Duration::from_secs(30 * 86_400)));
        assert_eq!(age("0s"), Ok(Duration::ZERO));
        for text in ["", "d", "30", "3é", "-1d", "99999999999999999999w"] {
            assert!(age(text).is_err(), "{text}");
        }
    }

    #[test]
    fn versions_come_from_flags_or_the_name() {
        let args = Args::parse_from(["x", "--to", "18"]);
        let request = args.request("/usr/bin/upgrade-pg-cluster-15-17").unwrap();
        assert_eq!((request.from.number(), request.to.number()), (15, 18));
        assert_eq!(args.request("upgrade-pg-cluster").unwrap_err().code(), 2);
    }
}
