//! Hints about words: the nearest known word, and the names that other programs use.

/// Words related to a file format besides its keys, for hints and examples.
#[derive(Clone, Copy, Debug, Default)]
pub struct Words {
    /// Keys of other programs, each with what to write instead.
    pub foreign: &'static [(&'static str, &'static str)],
    /// Values of other programs, each with what to write instead.
    pub values: &'static [(&'static str, &'static str)],
    /// Required keys, each with an example.
    pub examples: &'static [(&'static str, &'static str)],
    /// Keys whose values are references to secrets. Their values are not repeated in messages, since they may be the
    /// secret itself.
    pub secrets: &'static [&'static str],
}

impl Words {
    /// Returns the advice for a key or value in a list, compared without regard to ASCII case. `None` if the list does
    /// not contain it.
    pub(crate) fn look_up(list: &'static [(&'static str, &'static str)], word: &str) -> Option<&'static str> {
        list.iter().find(|(known, _)| known.eq_ignore_ascii_case(word)).map(|(_, text)| *text)
    }

    /// Returns `true` if the value of this key may be a secret and must not be shown.
    pub(crate) fn is_secret(&self, key: &str) -> bool {
        self.secrets.contains(&key)
    }
}

/// Returns the candidate with the fewest edits, the alphabetically first of several. `None` if it needs more than two
/// edits, or more than one for a word of fewer than five characters, or as many edits as the shorter of the two has
/// bytes. An edit is a missing, additional or wrong character, or two exchanged ones. ASCII case, `-` and `_` are
/// ignored.
///
/// ```
/// use cli_support::words::nearest;
/// assert_eq!(nearest("adress", ["address", "tls"]), Some("address"));
/// assert_eq!(nearest("passwordFile", ["password_file", "password"]), Some("password_file"));
/// assert_eq!(nearest("bogus", ["hosts", "tls"]), None);
/// assert_eq!(nearest("path", ["auth", "hosts"]), None);
/// ```
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| -> String {
        text.chars().filter(|c| !matches!(c, '-' | '_')).map(|c| c.to_ascii_lowercase()).collect()
    };
    let word = plain(word);
    let limit = if word.chars().count() < 5 { 1 } else { 2 };
    candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&word, &plain(candidate)), candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= limit && *distance < candidate.len().min(word.len()))
        .map(|(_, candidate)| candidate)
}
