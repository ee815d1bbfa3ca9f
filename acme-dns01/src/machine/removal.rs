//! Removal of TXT records that are no longer needed.

use super::backoff::{TRIES, long_retry_pause};
use super::context::Context;
use super::journal::Record;
use super::protocol::Alert;
use crate::time::Time;

/// Tries to remove the first TXT record in the journal.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TxtRemoval {
    /// Earliest time of the next try. `None` before the first failure.
    hold: Option<Time>,
    /// Failures since the last removed record.
    tries: u32,
}

impl TxtRemoval {
    /// Returns the earliest time of the next try. `None` if it may be made at once.
    pub(super) fn paused_until(self, now: Time) -> Option<Time> {
        self.hold.filter(|until| now < *until)
    }

    /// Records that the TXT record with this value was removed.
    pub(super) fn succeeded(&mut self, value: &str, context: &mut Context) {
        context.outbox.write(Record::Removed { value: value.to_owned() });
        self.tries = 0;
    }

    /// Pauses after a failure to remove the TXT record of this name, for the reason `why`: for twice as long with each,
    /// up to twelve times. The sixth failure raises an alert.
    pub(super) fn failed(&mut self, name: &str, why: String, context: &mut Context, now: Time) {
        self.tries += 1;
        self.hold = Some(now.after(long_retry_pause(&context.spec.timeouts, self.tries)));
        if self.tries == TRIES {
            context.outbox.alert(Alert::Leftover { name: name.to_owned(), why });
        }
    }
}
