//! The charge of a password that may be wrong.

use crate::limits::site::SiteLimiter;
use edge_policy::auth::basic::Credentials;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// A charge for a password: it counts as wrong for its client and user name. Dropping it reverts that.
pub(super) struct Charge {
    /// The limiter of the site.
    guard: Arc<SiteLimiter>,
    /// The client that sent the password.
    client: IpAddr,
    /// The user name that was sent.
    user: String,
    /// True if the charge is reverted when it is dropped.
    reverts: bool,
}

impl Charge {
    /// Charges a password to its client and user name.
    ///
    /// # Errors
    /// The time to wait if the client or the user name may not try a password now. Nothing is charged then.
    pub(super) fn new(
        guard: &Arc<SiteLimiter>,
        client: IpAddr,
        given: &Credentials,
    ) -> Result<Self, Duration> {
        guard.charge(client, &given.user)?;
        Ok(Self { guard: guard.clone(), client, user: given.user.clone(), reverts: true })
    }

    /// Makes the charge permanent, since the password was wrong.
    pub(super) fn keep(mut self) {
        self.reverts = false;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if self.reverts {
            self.guard.give_back(self.client, &self.user);
        }
    }
}
