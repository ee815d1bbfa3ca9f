//! Parser of the output of `pg_controldata`.

use thiserror::Error;

/// The fields of a cluster's control file (`pg_control`) that an upgrade needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlData {
    /// Catalog version number, which is part of directory names in tablespaces.
    pub catalog: String,
    /// Database system identifier.
    pub system_identifier: String,
    /// Cluster state, such as `shut down`, `in production` or `in archive recovery`.
    pub state: String,
    /// WAL location of the latest checkpoint.
    pub checkpoint: String,
    /// Time at which the control file was last modified, as printed.
    pub modified: String,
    /// Size of a WAL segment in bytes.
    pub wal_segment: u64,
    /// `true` if data pages have checksums.
    pub checksums: bool,
    /// Size of a database block in bytes.
    pub page: u64,
    /// Default signedness of `char`: `signed` or `unsigned`. `None` before version 18.
    pub char_signedness: Option<String>,
}

impl ControlData {
    /// Returns `true` if the server was shut down cleanly as a primary.
    #[must_use]
    pub fn clean(&self) -> bool {
        self.state == "shut down"
    }

    /// Returns `true` if the state is that of a standby or of archive recovery.
    #[must_use]
    pub fn standby(&self) -> bool {
        matches!(self.state.as_str(), "shut down in recovery" | "in archive recovery")
    }

    /// Returns a fingerprint of the control file, which changes whenever the server has run: system identifier, latest
    /// checkpoint, state and time of modification, separated by spaces.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        format!("{} {} {} {}", self.system_identifier, self.checkpoint, self.state, self.modified)
    }
}

/// Error of parsing the output of `pg_controldata`: the name of the line that is missing or not valid.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("pg_controldata does not say {0:?}")]
pub struct ControlError(String);

/// Parses the output of `pg_controldata` in the locale C.
///
/// # Errors
/// Returns a [`ControlError`] if a line is missing or not a valid number.
pub fn control_data(text: &str) -> Result<ControlData, ControlError> {
    let find = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .map(|value| value.trim().to_owned())
    };
    let need = |name: &str| find(name).ok_or_else(|| ControlError(name.to_owned()));
    let number = |name: &str| need(name)?.parse::<u64>().map_err(|_| ControlError(name.to_owned()));
    Ok(ControlData {
        catalog: need("Catalog version number")?,
        system_identifier: need("Database system identifier")?,
        state: need("Database cluster state")?,
        checkpoint: need("Latest checkpoint location")?,
        modified: need("pg_control last modified")?,
        wal_segment: number("Bytes per WAL segment")?,
        checksums: number("Data page checksum version")? != 0,
        page: number("Database block size")?,
        char_signedness: find("Default char data signedness"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "pg_control version number:            1700\n\
        Catalog version number:               202406281\n\
        Database system identifier:           7711349308015141086\n\
        Database cluster state:               shut down\n\
        pg_control last modified:             Mon Nov 23 12:53:46 2026\n\
        Latest checkpoint location:           0/147A9E0\n\
        Database block size:                  8192\n\
        Bytes per WAL segment:                16777216\n\
        Data page checksum version:           1\n";

    #[test]
    fn reads() {
        let data = control_data(TEXT).unwrap();
        assert!(data.clean() && data.checksums && !data.standby());
        assert_eq!((data.wal_segment, data.catalog.as_str()), (16 << 20, "202406281"));
        assert_eq!(data.char_signedness, None);
    }

    #[test]
    fn a_missing_line_is_named() {
        let why = control_data(&TEXT.replace("Bytes per WAL segment", "Bytes")).unwrap_err();
        assert!(why.to_string().contains("Bytes per WAL segment"));
    }
}
