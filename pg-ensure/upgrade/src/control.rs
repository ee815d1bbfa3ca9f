//! The output of `pg_controldata`.

use thiserror::Error;

/// The parts of a cluster's control file that an upgrade needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlData {
    /// The catalog's version, which names the folders in tablespaces.
    pub catalog: String,
    /// The cluster's identity.
    pub system_identifier: String,
    /// In words: `shut down`, `in production`, `in archive recovery` and others.
    pub state: String,
    /// The WAL location of the last checkpoint.
    pub checkpoint: String,
    /// When the control file was last written.
    pub modified: String,
    /// Bytes of a segment of the write-ahead log.
    pub wal_segment: u64,
    /// True if pages have checksums.
    pub checksums: bool,
    /// Bytes of a page.
    pub page: u64,
    /// `signed` or `unsigned`; from 18.
    pub char_signedness: Option<String>,
}

impl ControlData {
    /// Returns true if the server was stopped in an orderly way.
    #[must_use]
    pub fn clean(&self) -> bool {
        self.state == "shut down"
    }

    /// Returns true if it follows another server.
    #[must_use]
    pub fn standby(&self) -> bool {
        matches!(self.state.as_str(), "shut down in recovery" | "in archive recovery")
    }

    /// Returns a fingerprint that changes whenever the server has run.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        format!("{} {} {} {}", self.system_identifier, self.checkpoint, self.state, self.modified)
    }
}

/// An output of `pg_controldata` that does not have what it should.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("pg_controldata does not say {0:?}")]
pub struct ControlError(String);

/// Reads what `pg_controldata` prints in the language C.
///
/// # Errors
/// When a line is missing or is no number.
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
