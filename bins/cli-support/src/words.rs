//! Hints about words: the nearest known one, and those of other programs.

/// The words that a file format knows besides its keys, for hints and examples.
#[derive(Clone, Copy, Debug, Default)]
pub struct Words {
    /// Keys of other programs, and what to write here.
    pub foreign: &'static [(&'static str, &'static str)],
    /// Values of other programs, and what to write here.
    pub values: &'static [(&'static str, &'static str)],
    /// Keys that tables cannot do without, each with an example.
    pub examples: &'static [(&'static str, &'static str)],
    /// Keys whose values are references to secrets. A value may be the secret itself and is not repeated.
    pub secrets: &'static [&'static str],
}

impl Words {
    /// Returns the text for a key or value of another program.
    pub(crate) fn look_up(list: &'static [(&'static str, &'static str)], word: &str) -> Option<&'static str> {
        list.iter().find(|(known, _)| known.eq_ignore_ascii_case(word)).map(|(_, text)| *text)
    }

    /// Returns whether a value of this key is not shown.
    pub(crate) fn hides(&self, key: &str) -> bool {
        self.secrets.contains(&key)
    }
}

/// Returns the most similar candidate: with one slip in a short word, or two in one of five letters and more. A slip is a
/// missing, additional, wrong or exchanged letter. Case, `-` and `_` count as equal.
///
/// ```
/// use cli_support::words::nearest;
/// assert_eq!(nearest("adress", ["address", "tls"]), Some("address"));
/// assert_eq!(nearest("passwordFile", ["password_file", "password"]), Some("password_file"));
/// assert_eq!(nearest("bogus", ["hosts", "tls"]), None);
/// assert_eq!(nearest("path", ["auth", "hosts"]), None);
/// ```
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| -> Vec<char> {
        text.chars().filter(|c| !matches!(c, '-' | '_')).map(|c| c.to_ascii_lowercase()).collect()
    };
    let word = plain(word);
    let limit = if word.len() < 5 { 1 } else { 2 };
    candidates
        .into_iter()
        .map(|candidate| (distance(&word, &plain(candidate)), candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= limit && *distance < candidate.len().min(word.len()))
        .map(|(_, candidate)| candidate)
}

/// Returns the optimal string alignment distance of two words.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                let swap = if swapped { rows[i - 2][j - 2] + 1 } else { usize::MAX };
                change.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(swap)
            };
        }
    }
    rows[a.len()][b.len()]
}
