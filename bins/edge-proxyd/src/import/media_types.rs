//! The media types of answers with text: `default_type` and `types`.

use super::parse::Directive;
use std::collections::BTreeMap;
use std::rc::Rc;

/// The extensions that have a media type without `types`.
const BUILT_IN: [(&str, &str); 3] = [("html", "text/html"), ("gif", "image/gif"), ("jpg", "image/jpeg")];

/// The media types of answers within a block.
#[derive(Clone, Debug)]
pub(super) struct MediaTypes {
    /// `default_type`, for paths whose extension has no other; `text/plain` by default.
    default: String,
    /// `types`: the media types by extension, in lower case. `None` for those of [`BUILT_IN`].
    by_extension: Option<Rc<BTreeMap<String, String>>>,
    /// The path, if the block answers exactly one. `None` for any other block.
    path: Option<String>,
}

impl Default for MediaTypes {
    fn default() -> Self {
        Self { default: "text/plain".into(), by_extension: None, path: None }
    }
}

impl MediaTypes {
    /// Reads `default_type` or `types`. Returns true for these, false for any other directive.
    pub(super) fn take(&mut self, directive: &Directive) -> bool {
        match directive.name.as_str() {
            "default_type" => directive.first().clone_into(&mut self.default),
            "types" => {
                let types = Rc::make_mut(self.by_extension.get_or_insert_default());
                for one in directive.inner() {
                    let extensions = one.arguments.iter().map(|extension| extension.to_ascii_lowercase());
                    types.extend(extensions.map(|extension| (extension, one.name.clone())));
                }
            }
            _ => return false,
        }
        true
    }

    /// Drops the inherited extensions if a block has `types` of its own, as nginx does. The directives of the block are
    /// read by [`take`](Self::take).
    pub(super) fn enter(&mut self, block: &[Directive]) {
        if block.iter().any(|directive| directive.name == "types") {
            self.by_extension = None;
        }
        self.path = None;
    }

    /// Returns the media types within a block, for exactly this path if there is one.
    pub(super) fn within(&self, block: &[Directive], path: Option<&str>) -> Self {
        let mut inner = self.clone();
        inner.enter(block);
        block.iter().for_each(|directive| {
            inner.take(directive);
        });
        inner.path = path.map(String::from);
        inner
    }

    /// Returns the media type of an answer with text: that of the extension of the path, or else the default one.
    pub(super) fn of_answer(&self) -> &str {
        let segment = self.path.as_deref().and_then(|path| path.rsplit('/').next());
        let extension = segment.and_then(|segment| segment.rsplit_once('.')).map(|(_, end)| end);
        let known = extension.and_then(|extension| {
            let extension = extension.to_ascii_lowercase();
            match &self.by_extension {
                Some(types) => types.get(&extension).map(String::as_str),
                None => BUILT_IN.iter().find(|(known, _)| *known == extension).map(|(_, kind)| *kind),
            }
        });
        known.unwrap_or(&self.default)
    }
}
