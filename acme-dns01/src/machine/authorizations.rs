//! The authorizations of an order, with the challenge and the TXT record of each.

use super::attempt::TxtRecord;
use super::context::Context;
use super::error::{AcmeError, ErrorKind};
use super::protocol::{Authorization, Status};
use crate::ledger::Entry;
use crate::time::Time;

/// Polls of a pending challenge after which it is located, verified and triggered again.
const RETRIGGER_AFTER_POLLS: u32 = 4;

/// Authorizations of one order: those that still have to be fetched, and those that are not valid yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Authorizations {
    /// URLs of the authorizations that have not been fetched, last first.
    unread: Vec<String>,
    pending: Vec<OpenAuthorization>,
}

/// An authorization that is not valid yet, with its TXT record once that has been located.
#[derive(Clone, Debug)]
struct OpenAuthorization {
    authorization: Authorization,
    txt: Option<TxtRecord>,
    /// `true` if the challenge was, or may have been, triggered, now or before a restart.
    triggered: bool,
    polls: u32,
}

impl Authorizations {
    /// Creates the authorizations of an order from their URLs. None is fetched.
    pub(super) fn new(urls: &[String]) -> Self {
        Self { unread: urls.iter().rev().cloned().collect(), pending: Vec::new() }
    }

    /// Returns the URL of the next authorization to fetch. `None` if all are fetched.
    pub(super) fn unread(&self) -> Option<&str> {
        self.unread.last().map(String::as_str)
    }

    /// Removes the URL that [`unread`](Self::unread) returns.
    pub(super) fn mark_read(&mut self) {
        self.unread.pop();
    }

    /// Adds a fetched authorization that is not valid yet. `txt` is its TXT record in the journal, and `triggered` is
    /// `true` if its challenge may have been triggered before a restart.
    pub(super) fn add(&mut self, authorization: Authorization, txt: Option<TxtRecord>, triggered: bool) {
        self.pending.push(OpenAuthorization { authorization, txt, triggered, polls: 0 });
    }

    /// Returns `true` if no authorization is pending.
    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Returns the first pending authorization. `None` if there is none.
    pub(super) fn first(&self) -> Option<&Authorization> {
        self.pending.first().map(|pending| &pending.authorization)
    }

    /// Removes the first pending authorization, which has become valid.
    pub(super) fn remove_first(&mut self) {
        if !self.pending.is_empty() {
            self.pending.remove(0);
        }
    }

    /// Counts a poll of the first pending authorization, whose challenge has this status. Returns `true` if the
    /// challenge is still pending after [`RETRIGGER_AFTER_POLLS`] polls and has to be triggered again: the trigger was
    /// recorded, but the process may have ended before it was sent. `known` is its TXT record in the journal.
    pub(super) fn count_poll(&mut self, challenge: Status, known: Option<TxtRecord>) -> bool {
        let Some(first) = self.pending.first_mut() else { return false };
        first.polls += 1;
        let repeats = first.polls >= RETRIGGER_AFTER_POLLS && challenge == Status::Pending;
        if repeats {
            (first.polls, first.triggered, first.txt) = (0, false, known);
        }
        repeats
    }

    /// Returns the first untriggered authorization whose TXT record has not been located. `None` if there is none.
    pub(super) fn unlocated(&self) -> Option<&Authorization> {
        self.pending.iter().find(|pending| pending.is_unlocated()).map(|pending| &pending.authorization)
    }

    /// Stores the location of the TXT record of the authorization that [`unlocated`](Self::unlocated) returns. Returns
    /// the record, unpublished and with its value. `None` if every record is located.
    pub(super) fn locate(&mut self, found: TxtRecord) -> Option<TxtRecord> {
        let pending = self.pending.iter_mut().find(|pending| pending.is_unlocated())?;
        let value = pending.authorization.value.clone();
        let txt = TxtRecord { value, id: None, published: false, ..found };
        pending.txt = Some(txt.clone());
        Some(txt)
    }

    /// Returns those of the TXT records in the journal that belong to challenges that are not triggered yet.
    pub(super) fn challenge_records(&self, journal: &[TxtRecord]) -> Vec<TxtRecord> {
        self.untriggered()
            .filter_map(|authorization| journal.iter().find(|txt| txt.value == authorization.value).cloned())
            .collect()
    }

    /// Returns the first of [`challenge_records`](Self::challenge_records) that is not published. `None` if all are.
    pub(super) fn unpublished(&self, journal: &[TxtRecord]) -> Option<TxtRecord> {
        self.challenge_records(journal).into_iter().find(|txt| !txt.published)
    }

    /// Returns the authorizations whose challenge is not triggered yet, in the order of the order.
    pub(super) fn untriggered(&self) -> impl Iterator<Item = &Authorization> {
        self.pending.iter().filter(|pending| !pending.triggered).map(|pending| &pending.authorization)
    }

    /// Returns `true` if every challenge is triggered, also if no authorization is pending.
    pub(super) fn all_triggered(&self) -> bool {
        self.pending.iter().all(|pending| pending.triggered)
    }

    /// Marks the challenge of the first authorization of [`untriggered`](Self::untriggered) as triggered.
    pub(super) fn mark_triggered(&mut self) {
        if let Some(pending) = self.pending.iter_mut().find(|pending| !pending.triggered) {
            pending.triggered = true;
        }
    }

    /// Marks every challenge as triggered.
    pub(super) fn mark_all_triggered(&mut self) {
        for pending in &mut self.pending {
            pending.triggered = true;
        }
    }
}

impl OpenAuthorization {
    /// Returns `true` if the challenge is not triggered and its TXT record has not been located.
    const fn is_unlocated(&self) -> bool {
        !self.triggered && self.txt.is_none()
    }
}

/// Records a failed authorization in the ledger, and returns the error that ends the attempt.
pub(super) fn failure(authorization: &Authorization, context: &mut Context, now: Time) -> AcmeError {
    let (authority, name) = (context.authority(), authorization.name.clone());
    context.outbox.note(Entry::Failure { at: now, authority, name });
    let why = authorization.problem.as_deref().unwrap_or("the CA gave no reason");
    let why = format!("the CA could not validate {}: {why}", authorization.name);
    AcmeError::new(ErrorKind::Refused, why)
}
