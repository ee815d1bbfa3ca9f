//! State of a run: the request, the journal, and access to the clusters.

use super::condition::old_condition;
use super::error::UpgradeError;
use super::journal::{Layout, WorkFolder};
use super::request::{HbaChecker, Observer, Request, Services};
use super::server::ServerFolder;
use super::{configuration, files, gather, server};
use crate::facts::{Catalog, StopMethod};
use crate::html::html;
use crate::machine::OldClusterState;
use crate::record::Record;
use crate::report::report;
use std::path::PathBuf;

/// A run in progress.
pub(super) struct Run<'r> {
    pub(super) request: &'r Request,
    pub(super) layout: &'r Layout,
    pub(super) record: Record,
    pub(super) hba: &'r dyn HbaChecker,
    pub(super) services: &'r dyn Services,
    pub(super) observer: &'r mut dyn Observer,
}

impl Run<'_> {
    /// Returns the work folder.
    pub(super) fn work(&self) -> &WorkFolder {
        &self.layout.work
    }

    /// Writes the journal durably.
    ///
    /// # Errors
    /// Returns an error if it cannot be serialized or written.
    pub(super) fn save(&self) -> Result<(), UpgradeError> {
        self.work().store(&self.record)
    }

    /// Returns the properties of the old cluster that the preflight queried.
    ///
    /// # Errors
    /// Returns [`UpgradeError::Journal`] if the journal does not contain them.
    pub(super) fn catalog(&self) -> Result<&Catalog, UpgradeError> {
        self.record.catalog.as_ref().ok_or_else(|| UpgradeError::Journal {
            path: self.work().journal(),
            why: "it does not have what the old server said".to_owned(),
        })
    }

    /// Returns the programs and directories of the old cluster.
    pub(super) fn old_home(&self) -> ServerFolder {
        ServerFolder {
            bin: self.record.choices.old_bin.clone(),
            data: self.record.choices.old_data.clone(),
            config: configuration::config_folder(self.request, self.layout),
        }
    }

    /// Returns the programs and directories of the new cluster before the switch.
    pub(super) fn staging_home(&self) -> ServerFolder {
        ServerFolder {
            bin: self.record.choices.new_bin.clone(),
            data: self.record.choices.staging.clone(),
            config: None,
        }
    }

    /// Returns the programs and directories of the new cluster after the switch.
    pub(super) fn new_home(&self) -> ServerFolder {
        ServerFolder { data: PathBuf::from(&self.record.choices.new_data), ..self.staging_home() }
    }

    /// Adds a note to the last entry of the journal's history, that of the running step. No effect without an entry.
    /// The journal is not written.
    pub(super) fn note(&mut self, text: impl Into<String>) {
        if let Some(entry) = self.record.history.last_mut() {
            entry.notes.push(text.into());
        }
    }

    /// Adds remarks for the operator that the journal does not have yet. The journal is not written.
    pub(super) fn remark(&mut self, remarks: impl IntoIterator<Item = String>) {
        for remark in remarks {
            if !self.record.remarks.contains(&remark) {
                self.record.remarks.push(remark);
            }
        }
    }

    /// Returns the systemd unit of the old server. `None` if the server is not stopped by a unit.
    pub(super) fn unit(&self) -> Option<String> {
        match &self.record.choices.stopping {
            StopMethod::Service(unit) => Some(unit.clone()),
            StopMethod::Refuse | StopMethod::PgCtl => None,
        }
    }

    /// Starts or stops a systemd unit.
    ///
    /// # Errors
    /// Returns [`UpgradeError::ServiceNeeded`] if the operator has to do it, or another error if it fails.
    pub(super) fn set_service(&self, unit: &str, start: bool) -> Result<(), UpgradeError> {
        match self.services.set(unit, start) {
            Ok(true) => Ok(()),
            Ok(false) => Err(UpgradeError::ServiceNeeded { unit: unit.to_owned(), start }),
            Err(why) => Err(UpgradeError::Other(why)),
        }
    }

    /// Writes the report as text and as HTML to the work folder.
    ///
    /// # Errors
    /// Returns an error if a file cannot be written.
    pub(super) fn write_reports(&self) -> Result<(), UpgradeError> {
        let folder = &self.work().folder;
        files::replace(&folder.join("report.txt"), report(&self.record).as_bytes(), 0o640)?;
        files::replace(&folder.join("report.html"), html(&self.record).as_bytes(), 0o640)
    }

    /// Returns `true` if the old server is running, or has run since it was stopped, according to its control file.
    ///
    /// # Errors
    /// Returns an error if the control file cannot be read.
    pub(super) fn old_was_used(&self) -> Result<bool, UpgradeError> {
        let choices = &self.record.choices;
        if server::running_pid_file(&choices.old_data).is_some() {
            return Ok(true);
        }
        let Some(known) = &self.record.fingerprint else { return Ok(false) };
        if old_condition(choices) == OldClusterState::Disabled {
            // A disabled cluster cannot have been started.
            return Ok(false);
        }
        let found = gather::control(&choices.old_bin, &choices.old_data).map_err(UpgradeError::Other)?;
        Ok(found.fingerprint() != *known)
    }

    /// Records the fingerprint of the stopped old cluster, which changes if a server runs on it.
    ///
    /// # Errors
    /// Returns an [`UpgradeError`] if the old server was not shut down cleanly.
    pub(super) fn remember_old(&mut self) -> Result<(), UpgradeError> {
        let choices = &self.record.choices;
        let found = gather::control(&choices.old_bin, &choices.old_data).map_err(UpgradeError::Other)?;
        if !found.clean() {
            let state = found.state;
            return Err(UpgradeError::Other(format!(
                "the old server did not stop in an orderly way: {state}"
            )));
        }
        self.record.fingerprint = Some(found.fingerprint());
        Ok(())
    }
}
