//! Findings of a check.

/// A finding of a check, such as [`Engine::check`](crate::engine::Engine::check).
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Finding {
    /// Subject of the finding, such as a domain name, provider or file.
    pub about: String,
    /// `true` if the check passed. `false` requires a change by the user, unless it is a warning.
    pub fine: bool,
    /// `true` if the check failed, but certificates are obtained and served nevertheless, or the engine's next round
    /// corrects the cause.
    pub warning: bool,
    /// `true` if a dry run found something that the run would do, such as a certificate that it would take over.
    pub pending: bool,
    /// Result of the check. For a fault, it names the fix.
    pub message: String,
}

impl Finding {
    /// Creates a finding for a check that passed.
    pub fn fine(about: impl Into<String>, message: impl Into<String>) -> Self {
        Self { about: about.into(), fine: true, warning: false, pending: false, message: message.into() }
    }

    /// Creates a finding for something that a run would do.
    pub(crate) fn pending(about: impl Into<String>, message: impl Into<String>) -> Self {
        Self { pending: true, ..Self::fine(about, message) }
    }

    /// Creates a finding for a check that failed. The message must name the fix.
    pub fn fault(about: impl Into<String>, message: impl Into<String>) -> Self {
        Self { about: about.into(), fine: false, warning: false, pending: false, message: message.into() }
    }

    /// Creates a finding for a failed check that does not prevent certificates from being obtained and served. The
    /// message must name the fix.
    pub fn warning(about: impl Into<String>, message: impl Into<String>) -> Self {
        Self { warning: true, ..Self::fault(about, message) }
    }

    /// Creates a finding that passed for `Ok` and failed for `Err`.
    pub(crate) fn of(about: impl Into<String>, result: Result<String, String>) -> Self {
        match result {
            Ok(message) => Self::fine(about, message),
            Err(message) => Self::fault(about, message),
        }
    }
}
