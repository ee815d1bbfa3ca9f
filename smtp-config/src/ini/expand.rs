//! Expansion of `%(name)s` to the value of another key, of the same section, its parents, or else of the default
//! section.

use super::{DEFAULT_SECTION, Ini, Key, Section};

/// Maximum number of substitutions (`depthValues` of go-ini).
const MAX_SUBSTITUTIONS: usize = 99;

/// Returns the value of a key with references expanded. A reference to an unknown key ends the expansion.
pub(super) fn expand(ini: &Ini, section: &Section, key: &Key) -> String {
    let mut value = key.value.clone();
    for _ in 0..MAX_SUBSTITUTIONS {
        let Some(reference) = reference(&value) else { break };
        let name = &reference[2..reference.len() - 2];
        let other = ini
            .find(&section.name, name)
            .map(|(_, other)| other)
            .filter(|other| !std::ptr::eq(*other, key))
            .or_else(|| ini.find(DEFAULT_SECTION, name).map(|(_, other)| other));
        let Some(other) = other else { break };
        let next = value.replace(reference, &other.value);
        // A key that refers to itself does not change by further substitutions; the length of one that grows is
        // limited.
        if next == value || next.len() > MAX_VALUE_LEN {
            break;
        }
        value = next;
    }
    value
}

/// Length in bytes above which a value is not expanded further, so that keys that refer to each other do not exhaust
/// memory.
const MAX_VALUE_LEN: usize = 1 << 20;

/// Returns the first reference `%(name)s` of a text, including `%(` and `)s`. `None` if there is none.
pub(super) fn reference(text: &str) -> Option<&str> {
    let mut from = 0;
    while let Some(at) = text[from..].find("%(") {
        let begin = from + at;
        let name = &text[begin + 2..];
        if let Some(end) = name.find(')')
            && end > 0
            && name[end + 1..].starts_with('s')
        {
            return Some(&text[begin..begin + 2 + end + 2]);
        }
        from = begin + 2;
    }
    None
}
