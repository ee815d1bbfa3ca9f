//! Deployment and roll-back of the installed certificate, as the machine requests them.

use super::EngineEvent;
use super::inspect::inspect;
use super::issuer::{Issuer, durable, local};
use crate::condition::Condition;
use crate::live::{DeployError, run_reloads};
use crate::machine::{AcmeError, Alert, Event, Machine};

impl Issuer<'_> {
    /// Returns the serial number of the certificate in place. `None` if it is missing or cannot be read.
    ///
    /// # Errors
    /// Returns an error if the store fails.
    async fn in_place(&self) -> Result<Option<String>, AcmeError> {
        let contents = self.engine.store.contents(self.id()).await.map_err(durable)?;
        Ok(inspect(&contents).info().map(|info| info.serial.clone()))
    }

    /// Puts the issued certificate into use in this process and runs its deployment. If another pair is in place, as
    /// after a roll-back, the previous and the current pair are exchanged first. Returns [`Event::Done`], also without
    /// an issued certificate; [`Event::Lost`] if the issued pair is not found; or [`Event::NotServed`], after which the
    /// certificate can be rolled back.
    ///
    /// # Errors
    /// Returns an error if the store fails, this process cannot use the certificate, a reload fails, or a server does
    /// not present the certificate and the previous pair is no better.
    pub(super) async fn deploy(&self, machine: &Machine) -> Result<Event, AcmeError> {
        let (id, store) = (self.id(), &self.engine.store);
        let Some(held) = &machine.state().held else { return Ok(Event::Done) };
        if self.in_place().await?.as_ref() != Some(&held.serial) {
            // The certificate was rolled back before: it is installed once more.
            store.exchange(id).await.map_err(durable)?;
            if self.in_place().await?.as_ref() != Some(&held.serial) {
                return Ok(Event::Lost("the new certificate is gone before it was deployed".to_owned()));
            }
        }
        self.engine.deployer.will_deploy(id, &held.serial);
        self.engine.deployer.take_into_use(id).await?;
        let folder = store.folder(id);
        match self.certificate.deployment.run(held, id, folder.as_deref()).await {
            Ok(()) => Ok(Event::Done),
            Err(DeployError::NotServed(why)) => match self.flaw_of_previous(machine).await? {
                None => Ok(Event::NotServed(why)),
                Some(flaw) => Err(local(format!("{why}; it stays in place: {flaw}"))),
            },
            Err(DeployError::Failed(why)) => Err(local(why)),
        }
    }

    /// Returns the reason why the previous pair must not be put in place again: there is none, or
    /// [`Condition::flaw_of_previous`] names one. `None` if it can be served.
    ///
    /// # Errors
    /// Returns an error if the store fails.
    async fn flaw_of_previous(&self, machine: &Machine) -> Result<Option<String>, AcmeError> {
        let (spec, now) = (&self.certificate.spec, self.engine.now());
        let Some(pair) = self.engine.store.previous(&spec.id).await.map_err(durable)? else {
            return Ok(Some("there is no previous one".to_owned()));
        };
        let previous = inspect(&Some(pair).into());
        let flaw = Condition::flaw_of_previous(spec, machine.state(), &previous, now);
        Ok(flaw.map(|flaw| format!("the previous one cannot be served ({flaw})")))
    }

    /// Restores the previous pair, puts it into use and reloads the servers. Does nothing if the new pair is not in
    /// place or there is no previous one. A failed reload is reported as an event and an alert, not as an error.
    ///
    /// # Errors
    /// Returns an error if the store fails, or this process cannot use the previous pair.
    pub(super) async fn roll_back(&self, machine: &Machine) -> Result<(), AcmeError> {
        let (id, store) = (self.id(), &self.engine.store);
        let serial = machine.state().held.as_ref().map(|held| held.serial.clone());
        if self.in_place().await? == serial && store.exchange(id).await.map_err(durable)? {
            self.engine.deployer.take_into_use(id).await?;
            let folder = store.folder(id);
            // The previous certificate was served before; a server whose reload fails now is reloaded by the next
            // deployment.
            if let Err(why) = run_reloads(&self.certificate.deployment, id, folder.as_deref()).await {
                self.engine.reporter.event(id, &EngineEvent::Error(why.clone()));
                self.engine.reporter.alert(id, &Alert::Undeployed { why }).await;
            }
        }
        Ok(())
    }
}
