//! The action for a request, with the settings in effect.

use super::scope::Scope;

/// The action that a converted route takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Drop,
    Forward { upstream: String, prefix: Prefix },
    Redirect { status: u16, to: String },
    Respond { status: u16, body: String, content_type: String },
}

/// The handling of requests: their action, and the settings in effect.
#[derive(Clone, Debug)]
pub(super) struct Handling {
    pub(super) action: Action,
    pub(super) scope: Scope,
}

impl Handling {
    /// Returns the same handling for paths in which letter case does not count, if `any_case`, or else does.
    pub(super) fn with_any_case(&self, any_case: bool) -> Self {
        let mut found = self.clone();
        found.scope.any_case = any_case;
        found
    }
}

/// The change of a path's prefix before a request is forwarded: `strip` is removed, then `add` is added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Prefix {
    pub(super) strip: Option<String>,
    pub(super) add: Option<String>,
}

/// Returns the action for paths that are closed, since their protection cannot be converted: status 403.
pub(super) fn refusal() -> Action {
    Action::Respond { status: 403, body: String::new(), content_type: "text/plain".into() }
}
