//! The command `maintenance`: switches the maintenance of a site in the running process on or off.

use super::reload::send_request;
use crate::cli::{Exit, MaintenanceArgs, Switch};
use crate::service::control::{ControlContent, MaintenanceRequest};
use std::time::Duration;

/// The longest wait for the response of the running process.
const OUTCOME_TIMEOUT: Duration = Duration::from_secs(30);

/// Sends the request to the running process, and prints its response. Returns as [`send_request`].
pub(crate) fn run(args: &MaintenanceArgs) -> Exit {
    let maintenance = MaintenanceRequest { site: args.site.clone(), on: args.switch == Switch::On };
    let request = ControlContent::Maintenance { maintenance };
    send_request("maintenance", (args.control.as_deref(), args.json), &request, OUTCOME_TIMEOUT)
}
