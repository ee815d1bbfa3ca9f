//! Readiness of a DNS provider, whose credentials may be provided after the start of the process.

/// Names that a provider may have a zone for, as far as that is known without its credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reach {
    /// Any name, since only the service knows its zones.
    Any,
    /// This name only, [`Coverage::Name`](super::Coverage::Name).
    Name(String),
    /// Names in these configured zones, given by their names. The provider uses no other zone of the service.
    Zones(Vec<String>),
}

/// State of a provider: usable, or not usable yet since something is missing, such as a file with its credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Readiness {
    /// The provider can be used.
    Ready,
    /// The provider cannot be used yet. Nothing is ordered for certificates that may need it.
    NotReady {
        /// Names that the provider may have a zone for.
        reach: Reach,
        /// Description of what is missing, with the fix.
        reason: String,
    },
}
