//! The commands of the program.

use crate::args::{Args, Command, ConsentArgs, ManifestFormat, ServerArgs};
use crate::connect;
use crate::hba;
use crate::manifest::read;
use crate::manual::MANUAL;
use crate::record::Record;
use crate::report::{self, ProgressObserver};
use crate::runtime::block_on;
use crate::saved::SavedPlan;
use clap::CommandFactory;
use cli_support::finding::Findings;
use cli_support::outcome::{Done, Failure, counted, ok};
use cli_support::progress::Progress;
use cli_support::verbosity::note;
use pg_ensure::client::{AppliedChanges, ApplyOptions, Error, Outcome};
use pg_ensure::manifest::{Format, write};
use pg_ensure::{Consent, DesiredState, Digest, Plan, import};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

/// Runs the command of the command line. The result determines the exit code.
///
/// # Errors
/// Returns a [`Failure`] if the input is not valid or the command fails.
pub(crate) fn run(args: &Args) -> Result<Done, Failure> {
    match &args.command {
        Command::Shell(generate) => generate.outcome(Args::command(), &MANUAL),
        Command::Plan { manifest, server, consent, out, sql } => {
            let manifest = manifest.path();
            let plan = plan_of(&read(&manifest)?, server, consent)?;
            if let Some(out) = out {
                SavedPlan::write(out, &manifest, &plan, &consent.destroy)?;
            }
            Ok(print_plan(&plan, *sql, args.json))
        }
        Command::Apply { manifest, server, consent, dry_run: true, hba, .. } => {
            let desired = read(&manifest.path())?;
            hba.as_deref().map(|path| hba::read(path, &desired)).transpose()?;
            Ok(print_plan(&plan_of(&desired, server, consent)?, false, args.json))
        }
        Command::Apply { manifest, server, consent, plan, hba, canary, follow, dry_run: false } => {
            let saved = plan.as_deref().map(SavedPlan::read).transpose()?;
            let manifest = match (manifest.given(), &saved) {
                (None, Some(saved)) => saved.manifest.clone(),
                _ => manifest.path(),
            };
            let (consent, expected) = match &saved {
                Some(saved) => (saved.consent()?, Some(saved.digest()?)),
                None => (consent_of(consent), None),
            };
            let desired = read(&manifest)?;
            let run = ApplyRun { desired: &desired, server, consent, expected, as_json: args.json };
            run.execute(hba.as_deref(), canary.as_deref(), *follow)
        }
        Command::Check { manifest, server, offline } => check(&manifest.path(), server, *offline, args.json),
        Command::Generate { server, format } => {
            let format = match format {
                _ if args.json => Format::Json,
                ManifestFormat::Json => Format::Json,
                ManifestFormat::Toml => Format::Toml,
            };
            generate(server, format)
        }
        Command::Wait { server } => wait(server, args.json),
    }
}

/// Checks a manifest, and unless `offline` is true, prints what has to change on the server for it.
///
/// # Errors
/// Returns a [`Failure`] if the manifest is not valid, or the server cannot be reached or queried.
fn check(manifest: &Path, server: &ServerArgs, offline: bool, as_json: bool) -> Result<Done, Failure> {
    let desired = read(manifest)?;
    if offline {
        if as_json {
            println!("{}", json!({"result": "valid", "findings": []}));
        } else {
            let (roles, databases) = (desired.roles.len(), desired.databases.len());
            let details = format!("{}, {}", counted(roles, "role"), counted(databases, "database"));
            println!("{}", ok(manifest.display(), &details));
        }
        return Ok(Done::Fine);
    }
    let plan = block_on(connect::server(server)?.plan(&desired, &Consent::none()))?;
    let plan = plan.map_err(|why| failure(&why))?;
    if as_json {
        println!("{}", report::plan_json(&plan));
    } else if plan.is_empty() {
        println!("{}", ok(manifest.display(), "nothing to do"));
        report::print_rest(&plan);
    } else {
        report::print_plan(&plan);
    }
    Ok(if plan.is_empty() { Done::Fine } else { Done::Differences })
}

/// Prints a manifest of the server's current state, with a note for each publication that it describes in part only.
///
/// # Errors
/// Returns a [`Failure`] if the server cannot be reached or queried, or the manifest cannot be written.
fn generate(server: &ServerArgs, format: Format) -> Result<Done, Failure> {
    let current = block_on(connect::server(server)?.inspect_all())?.map_err(|why| failure(&why))?;
    let text = write(&import(&current), format).map_err(|why| Failure::because(&why))?;
    for (database, found) in &current.databases {
        let publications = found.contents.iter().flat_map(|contents| &contents.publications);
        for (name, publication) in
            publications.filter(|(_, publication)| !publication.undeclarable.is_empty())
        {
            let lost: Vec<&str> = publication.undeclarable.iter().map(String::as_str).collect();
            let lost = lost.join(", ");
            note(&format!(
                "publication {name} in database {database}: the manifest does not have its {lost}"
            ));
        }
    }
    print!("{text}");
    Ok(Done::Fine)
}

/// Waits until the server accepts connections, and prints that.
///
/// # Errors
/// Returns a [`Failure`] if it does not within the time limit.
fn wait(server: &ServerArgs, as_json: bool) -> Result<Done, Failure> {
    block_on(connect::server(server)?.wait())?.map_err(|why| failure(&why))?;
    if as_json {
        println!("{}", json!({"result": "ready"}));
    } else {
        println!("ready");
    }
    Ok(Done::Fine)
}

/// Returns what has to change for a manifest.
fn plan_of(desired: &DesiredState, server: &ServerArgs, consent: &ConsentArgs) -> Result<Plan, Failure> {
    let plan = block_on(connect::server(server)?.plan(desired, &consent_of(consent)))?;
    plan.map_err(|why| failure(&why))
}

/// Prints a plan: as JSON, as a script of SQL, or as a table.
fn print_plan(plan: &Plan, sql: bool, as_json: bool) -> Done {
    if as_json {
        println!("{}", report::plan_json(plan));
    } else if sql {
        print!("{}", plan.script());
    } else {
        report::print_plan(plan);
    }
    if plan.is_empty() { Done::Fine } else { Done::Differences }
}

/// The reason for which nothing is applied to a standby.
const STANDBY: &str = "the server is a standby: nothing was changed";

/// Adds the results of what was done before to a failure, so that programs read one document.
fn with_results(why: &Failure, results: &Value) -> Failure {
    let findings = if let Failure::Unusable(findings) = why { findings.clone() } else { Findings::default() };
    Failure::Partial {
        code: why.code(),
        text: why.to_string(),
        findings,
        results: results.as_object().cloned().unwrap_or_default(),
    }
}

/// The application of a desired state to a server.
struct ApplyRun<'a> {
    desired: &'a DesiredState,
    server: &'a ServerArgs,
    consent: Consent,
    /// Digest of a saved plan.
    expected: Option<Digest>,
    as_json: bool,
}

impl ApplyRun<'_> {
    /// Applies the desired state, then installs the access rules of the policy at the path `hba`, and prints the
    /// results. The role `canary` must be able to log in before anything is changed. With `follow`, a standby is looked
    /// at again after each pause of so many seconds, until it is promoted.
    ///
    /// # Errors
    /// Returns a [`Failure`] if the policy is not valid, or a part of the work fails.
    fn execute(
        &self,
        hba: Option<&Path>,
        canary: Option<&str>,
        follow: Option<u64>,
    ) -> Result<Done, Failure> {
        // An invalid policy is reported before anything is changed.
        let policy = hba.map(|path| hba::read(path, self.desired)).transpose()?;
        if let Some(canary) = canary {
            connect::login(canary, self.server)?;
        }
        if let (Some(policy), Some(path)) = (&policy, hba) {
            let current = block_on(connect::server(self.server)?.inspect(&DesiredState::new()))?;
            let major = current.map_err(|why| failure(&why))?.version.major();
            hba::check(policy, major, path)?;
        }
        let Some(mut document) = self.apply_or_follow(follow)? else {
            if self.as_json {
                println!("{}", json!({"result": "standby", "findings": []}));
            } else {
                println!("{STANDBY}");
            }
            return Ok(Done::Fine);
        };
        if let Some(policy) = policy {
            let installed = hba::install(&policy, self.server, canary);
            let installed =
                installed.map_err(|why| if self.as_json { with_results(&why, &document) } else { why })?;
            if self.as_json {
                document["hba"] = json!({
                    "result": installed.result, "file": installed.file, "privileged": installed.privileged
                });
            } else {
                if !installed.privileged.is_empty() {
                    let roles = installed.privileged.join(", ");
                    note(&format!("privileged on the server, so not trusted by the policy: {roles}"));
                }
                println!("{}: {}", installed.result, installed.file.display());
            }
        }
        if self.as_json {
            println!("{document}");
        }
        Ok(Done::Fine)
    }

    /// Applies the desired state. With `follow`, a standby is looked at again after each pause of so many seconds, at
    /// least one, until it is promoted. Returns the result as JSON; `None` on a standby without `follow`.
    ///
    /// # Errors
    /// Returns the failures of [`apply`](Self::apply).
    fn apply_or_follow(&self, follow: Option<u64>) -> Result<Option<Value>, Failure> {
        let mut applied = self.apply()?;
        if let (None, Some(pause)) = (&applied, follow) {
            let pause = Duration::from_secs(pause.max(1));
            note(&format!("{STANDBY}: looking again every {} s", pause.as_secs()));
            while applied.is_none() {
                std::thread::sleep(pause);
                applied = self.apply()?;
            }
        }
        Ok(applied)
    }

    /// Applies the desired state once, and prints the result unless it is printed as JSON. Returns it as JSON; `None`
    /// on a standby.
    ///
    /// # Errors
    /// Returns a failure if the run fails, or changes are blocked.
    fn apply(&self) -> Result<Option<Value>, Failure> {
        let (config, _) = connect::config(self.server)?;
        let record = Record::read(self.server, &config)?;
        let server = connect::server(self.server)?;
        let mut options = ApplyOptions::default().consent(self.consent.clone());
        if let Some(expected) = self.expected {
            options = options.expected(expected);
        }
        let mut shown = ProgressObserver(Progress::new(self.as_json));
        let outcome = block_on(server.apply(self.desired, &options, &mut shown))?;
        let outcome = outcome.inspect_err(|_| shown.0.end("failed")).map_err(|why| failure(&why))?;
        shown.0.end("done");
        drop(shown);
        let AppliedChanges { done, left, .. } = match outcome {
            Outcome::Applied(applied) => {
                record.add(&applied.passwords)?;
                applied
            }
            _ => return Ok(None),
        };
        let result = match (done.is_empty(), left.blocked.is_empty()) {
            (_, false) => "incomplete",
            (true, true) => "unchanged",
            (false, true) => "applied",
        };
        let mut document = report::plan_json(&left);
        document["result"] = json!(result);
        document["done"] = json!(report::steps_json(&done, &left));
        if !self.as_json {
            println!("{result}: {}", counted(done.len(), "step"));
            report::print_rest(&left);
        }
        match left.blocked.as_slice() {
            [] => Ok(Some(document)),
            [first, ..] => {
                let count = left.blocked.len();
                let text = format!("{count} of what is wanted could not be done; the first: {first}");
                let results = document.as_object().cloned().unwrap_or_default();
                Err(Failure::Partial { code: 1, text, findings: report::findings(&left), results })
            }
        }
    }
}

/// Returns the consent given by `--destroy`.
fn consent_of(args: &ConsentArgs) -> Consent {
    args.destroy.iter().cloned().fold(Consent::none(), Consent::destroying)
}

/// Converts an error of the client. An invalid desired state is a configuration error.
fn failure(why: &Error) -> Failure {
    match why {
        Error::Invalid(_) => Failure::Configuration(why.to_string()),
        _ => Failure::because(why),
    }
}
