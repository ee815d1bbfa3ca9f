//! Findings of a check.

/// A finding of [`Engine::check`](crate::engine::Engine::check).
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Finding {
    /// Subject of the finding.
    pub about: String,
    /// `false` if something has to be changed.
    pub fine: bool,
    /// The result; for a fault, the fix.
    pub message: String,
}

impl Finding {
    /// A finding without fault.
    pub fn fine(about: impl Into<String>, message: impl Into<String>) -> Self {
        Self { about: about.into(), fine: true, message: message.into() }
    }

    /// A fault; the message names the fix.
    pub fn fault(about: impl Into<String>, message: impl Into<String>) -> Self {
        Self { about: about.into(), fine: false, message: message.into() }
    }

    pub(crate) fn of(about: impl Into<String>, result: Result<String, String>) -> Self {
        match result {
            Ok(message) => Self::fine(about, message),
            Err(message) => Self::fault(about, message),
        }
    }
}
