//! Booleans as go-ini reads them.

/// Parses a boolean as go-ini does: `true`, `yes` and `on`, or `false`, `no` and `off`, in lower case, upper case or
/// with an initial capital; `1`, `t`, `T` and `y`, or `0`, `f`, `F` and `n`. Returns `None` for other spellings, such
/// as `yEs` or `Y`.
#[must_use]
pub fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" | "YES" | "yes" | "Yes" | "y" | "ON" | "on" | "On" => {
            Some(true)
        }
        "0" | "f" | "F" | "false" | "FALSE" | "False" | "NO" | "no" | "No" | "n" | "OFF" | "off" | "Off" => {
            Some(false)
        }
        _ => None,
    }
}
