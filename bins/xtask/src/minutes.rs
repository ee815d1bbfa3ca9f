//! Durations on the command line.

/// Parses a number of minutes from 1 to 1440.
///
/// # Errors
/// Returns a message for any other text.
pub(crate) fn parse(text: &str) -> Result<u32, String> {
    text.parse()
        .ok()
        .filter(|number| (1..=1440).contains(number))
        .ok_or_else(|| format!("{text} is not a number of minutes: expected 1 to 1440"))
}
