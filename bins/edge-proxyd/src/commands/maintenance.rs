//! The command `maintenance`: switches a site of a running edge-proxyd.

use super::reload::send_request;
use crate::cli::{Exit, MaintenanceArgs, Switch};
use crate::service::control::{ControlContent, MaintenanceRequest};
use std::time::Duration;

/// The longest wait for the outcome.
const OUTCOME_TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) fn run(args: &MaintenanceArgs) -> Exit {
    let maintenance = MaintenanceRequest { site: args.site.clone(), on: args.switch == Switch::On };
    let request = ControlContent::Maintenance { maintenance };
    send_request("maintenance", (args.control.as_deref(), args.json), &request, OUTCOME_TIMEOUT)
}
