//! The handling of a request: the action, and the settings in effect.

use super::scope::Scope;

/// The action of a converted route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Close the connection or stream without a response.
    Drop,
    /// Forward the request to this upstream, with the prefix of its path changed.
    Forward { upstream: String, prefix: Prefix },
    /// Redirect with `status` to `to`, which may have the placeholders `{host}`, `{path}` and `{query}`.
    Redirect { status: u16, to: String },
    /// Respond with this status and the content `body`. `content_type` is the media type.
    Respond { status: u16, body: String, content_type: String },
}

/// The handling of the requests of a route or location.
#[derive(Clone, Debug)]
pub(super) struct Handling {
    /// The action that is taken.
    pub(super) action: Action,
    /// The settings in effect.
    pub(super) scope: Scope,
}

impl Handling {
    /// Returns a copy whose paths are compared without regard to case if `any_case`, otherwise exactly.
    pub(super) fn with_any_case(&self, any_case: bool) -> Self {
        let mut found = self.clone();
        found.scope.any_case = any_case;
        found
    }
}

/// A change of the path before a request is forwarded: the prefix `strip` is removed, and then `add` is prepended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Prefix {
    /// The prefix that is removed. `None` to remove nothing.
    pub(super) strip: Option<String>,
    /// The prefix that is prepended. `None` to prepend nothing.
    pub(super) add: Option<String>,
}

/// Returns the action for paths whose protection or content cannot be converted: a response with 403 and no content.
pub(super) fn refusal() -> Action {
    Action::Respond { status: 403, body: String::new(), content_type: "text/plain".into() }
}
