//! The server certificates in use: loads them again when their files change, and warns of missing and expiring ones.

use crate::config::Settings;
use crate::journal;
use crate::sandbox;
use cli_support::outcome::chain;
use edge_http::host::HostPattern;
use edge_proxy::config::{Config, ListenerKind};
use edge_proxy::{CertificateError, CertificateFiles, Certificates, RefreshReport};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The shortest interval between two checks of the validity of certificates.
const EXPIRY_CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// The server certificates in use, and the warnings that were logged about them.
pub(super) struct CertificateMonitor {
    /// The certificates, shared with the proxy.
    certificates: Arc<Certificates>,
    /// The files that the configuration in effect names.
    named: NamedFiles,
    /// The time of the last check of the validity of certificates. `None` before the first.
    looked: Option<Instant>,
    /// The error of the last attempt to read the certificates, so that it is logged once. `None` if it succeeded.
    failed: Option<String>,
    /// A file that the sandbox did not allow to read when it was last tried. `None` if there was none.
    denied: Option<PathBuf>,
    /// The last logged stage of each certificate, by its folder and serial number.
    said: BTreeMap<(PathBuf, String), Remaining>,
}

/// The certificate files that a configuration names.
#[derive(Clone)]
struct NamedFiles {
    /// The files beside the folder.
    files: Vec<CertificateFiles>,
    /// The sites with a certificate of their own, and its path.
    sites: HashMap<String, PathBuf>,
}

impl NamedFiles {
    /// Returns the files that these settings name.
    fn of(settings: &Settings) -> Self {
        Self { files: settings.certificate_files.clone(), sites: of_sites(settings) }
    }
}

/// The certificate files of a configuration that the proxy has not accepted yet.
pub(super) struct OfferedFiles {
    /// The files that the configuration names.
    named: NamedFiles,
    /// The report of reading them, which is logged once they are in use.
    report: RefreshReport,
}

impl CertificateMonitor {
    /// Loads the certificates, and logs which are used, which are rejected or expire, and which hosts of sites have
    /// none. `None` if none are configured. A folder that cannot be read, such as one that is mounted later, is logged
    /// and read again later.
    pub(super) fn load(settings: &Settings) -> Option<Self> {
        if settings.certificates.is_none() && settings.certificate_files.is_empty() {
            return None;
        }
        let certificates =
            Certificates::of(settings.certificates.clone(), settings.certificate_files.clone());
        certificates.set_sites(of_sites(settings));
        let failed = match certificates.refresh() {
            Ok(refreshed) => {
                tell(&refreshed);
                None
            }
            Err(why) => {
                let why = chain(&why);
                journal::error(format_args!("{why}: no certificate is served until it can be read"));
                Some(why)
            }
        };
        for (site, name) in names_without_certificate(&certificates, &settings.proxy) {
            journal::warning(format_args!("site `{site}`: there is no certificate for {name}"));
        }
        let named = NamedFiles::of(settings);
        let mut watch =
            Self { certificates, named, looked: None, denied: None, said: BTreeMap::new(), failed };
        watch.report_expiry();
        Some(watch)
    }

    /// Returns the certificates for the proxy, shared with this monitor.
    pub(super) fn resolver(&self) -> Arc<Certificates> {
        self.certificates.clone()
    }

    /// Returns true if the last attempt to read the certificates failed.
    pub(super) const fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    /// Removes and returns a file that could not be read because of the sandbox. `None` if there is none.
    pub(super) const fn take_denied(&mut self) -> Option<PathBuf> {
        self.denied.take()
    }

    /// Reads the certificate files of a configuration, before the proxy gets it. The files in use that it does not name
    /// stay loaded until [`accept`](Self::accept) or [`withdraw`](Self::withdraw) is called. Until then, a name that
    /// certificates of both configurations cover may get either.
    pub(super) fn offer(&mut self, settings: &Settings) -> OfferedFiles {
        let named = NamedFiles::of(settings);
        let is_dropped =
            |old: &&CertificateFiles| !named.files.iter().any(|new| new.certificate == old.certificate);
        let dropped = self.named.files.iter().filter(is_dropped).cloned();
        self.certificates.set_files(dropped.chain(named.files.iter().cloned()).collect());
        // Only the next configuration of the proxy depends on it.
        self.certificates.set_sites(named.sites.clone());
        let report = self.certificates.refresh().unwrap_or_else(|why| {
            self.tell_failure(&why);
            RefreshReport::default()
        });
        OfferedFiles { named, report }
    }

    /// Takes the files of a configuration that the proxy has accepted into use, instead of those of the one before.
    pub(super) fn accept(&mut self, offered: OfferedFiles) {
        tell(&offered.report);
        self.named = offered.named;
        self.restore();
    }

    /// Discards the files of a configuration that the proxy has rejected.
    pub(super) fn withdraw(&mut self) {
        self.restore();
    }

    /// Makes the certificates those of the configuration in effect, and reads them.
    fn restore(&mut self) {
        self.certificates.set_files(self.named.files.clone());
        self.certificates.set_sites(self.named.sites.clone());
        self.refresh(Certificates::refresh);
    }

    /// Logs that certificates could not be read, once for each reason.
    fn tell_failure(&mut self, why: &CertificateError) {
        let why = chain(why);
        if self.failed.as_ref() != Some(&why) {
            journal::warning(format_args!("{why}: the certificates that were read stay in use"));
        }
        self.failed = Some(why);
    }

    /// Reads certificates again by `look`, and logs those that were loaded or rejected, and, once a minute at most,
    /// those that expire. If reading fails, the certificates that were read before stay in use, and a new error is
    /// logged.
    pub(super) fn refresh(
        &mut self,
        look: impl Fn(&Certificates) -> Result<RefreshReport, CertificateError>,
    ) {
        match look(&self.certificates) {
            Ok(refreshed) => {
                tell(&refreshed);
                self.failed = None;
                let unread = refreshed.problems.iter().filter_map(unread);
                if let Some(path) = unread.into_iter().find(|path| sandbox::denies(path)) {
                    self.denied = Some(path.clone());
                }
            }
            Err(why) => self.tell_failure(&why),
        }
        if self.looked.is_none_or(|looked| looked.elapsed() >= EXPIRY_CHECK_INTERVAL) {
            self.report_expiry();
        }
    }

    /// Logs certificates that are not valid yet, expire soon or have expired, once for each stage.
    fn report_expiry(&mut self) {
        self.looked = Some(Instant::now());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
        for info in self.certificates.list() {
            let stage = Remaining::at((info.not_before, info.not_after), now);
            let key = (info.folder.clone(), info.serial.clone());
            if stage.is_news(self.said.get(&key).copied()) {
                let (folder, names) = (info.folder.display(), info.names.join(", "));
                let left = format_span(info.not_after - now);
                match stage {
                    Remaining::Early => journal::error(format_args!(
                        "{folder}: the certificate for {names} is not valid yet, and will be in {}: {CLOCK}",
                        format_span(info.not_before - now)
                    )),
                    Remaining::Over => journal::error(format_args!(
                        "{folder}: the certificate for {names} has expired {left} ago: clients refuse it"
                    )),
                    _ => journal::warning(format_args!(
                        "{folder}: the certificate for {names} expires in {left}, and was not renewed yet"
                    )),
                }
                self.said.insert(key, stage);
            }
        }
    }
}

/// The end of the message about a certificate that is not valid yet.
pub(crate) const CLOCK: &str =
    "clients refuse it, unless the clock of this machine is wrong: see timedatectl";

/// The stages of the validity of a certificate, in the order in which they are reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Remaining {
    /// The validity has not begun.
    Early,
    /// A fifth of the lifetime or more is left. Not reported.
    Enough,
    /// Less than a fifth of the lifetime is left. ACME clients should have renewed when a third was left.
    Fifth,
    /// Less than a twentieth of the lifetime is left.
    Twentieth,
    /// The certificate has expired.
    Over,
}

impl Remaining {
    /// Returns the stage of a certificate at the time `now`. The tuple has the beginning and the end of its validity.
    /// All are seconds since 1970. At its end a certificate has expired.
    fn at((not_before, not_after): (i64, i64), now: i64) -> Self {
        let (lifetime, left) = ((not_after - not_before).max(1), not_after - now);
        match left {
            _ if now < not_before => Self::Early,
            ..=0 => Self::Over,
            left if left.saturating_mul(20) < lifetime => Self::Twentieth,
            left if left.saturating_mul(5) < lifetime => Self::Fifth,
            _ => Self::Enough,
        }
    }

    /// Returns true if this stage is to be logged, where `last` is the one logged before for the same certificate:
    /// `Early` unless it was the last, the later stages if they are further than the last, and `Enough` never.
    fn is_news(self, last: Option<Self>) -> bool {
        match self {
            Self::Early => last != Some(Self::Early),
            Self::Enough => false,
            Self::Fifth | Self::Twentieth | Self::Over => last.is_none_or(|last| self > last),
        }
    }
}

/// Formats a number of seconds without its sign, rounded down: as days from 48 hours on, otherwise as hours, such as
/// `12 days`.
fn format_span(seconds: i64) -> String {
    let hours = seconds.unsigned_abs() / 3600;
    if hours >= 48 { format!("{} days", hours / 24) } else { format!("{hours} hours") }
}

/// Returns the names of the sites with a certificate of their own, each with the path of its certificate file.
pub(crate) fn of_sites(settings: &Settings) -> HashMap<String, PathBuf> {
    settings.site_certificates.clone().into_iter().collect()
}

/// Returns the path of the file that could not be read. `None` for an error of another kind.
const fn unread(error: &CertificateError) -> Option<&PathBuf> {
    match error {
        CertificateError::File { path, .. } => Some(path),
        _ => None,
    }
}

/// Logs the certificates that were loaded, and as warnings those that were rejected.
fn tell(refreshed: &RefreshReport) {
    for path in &refreshed.swapped {
        journal::info(format_args!("{}: in use", path.display()));
    }
    for problem in &refreshed.problems {
        journal::warning(format_args!("not used: {}", chain(problem)));
    }
}

/// Returns each host of a site that no certificate covers, as pairs of site name and host. A wildcard is also covered
/// by a certificate for a name below it. Empty if no listener has TLS. Sites that pass TLS through need no certificate,
/// nor does `*` of a site with its own.
pub(crate) fn names_without_certificate<'a>(
    certificates: &Certificates,
    config: &'a Config,
) -> Vec<(&'a str, String)> {
    if !config.listeners.iter().any(|listener| matches!(listener.kind, ListenerKind::Tls { .. })) {
        return Vec::new();
    }
    let mut missing = Vec::new();
    for site in config.sites.iter().filter(|site| site.passthrough.is_none()) {
        let own = certificates.has_own(&site.name);
        // For every name a certificate of the site's own is used as it is.
        for host in site.hosts.iter().filter(|host| !(own && **host == HostPattern::Any)) {
            let name = host.to_string();
            let sample = name.replacen('*', "any", 1);
            if !certificates.covers(&name) && !certificates.covers(&sample) {
                missing.push((site.name.as_str(), name));
            }
        }
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_follow_the_lifetime() {
        let stage = |days: i64, hours: i64| Remaining::at((0, days * 86_400), days * 86_400 - hours * 3600);
        assert_eq!([stage(90, 24 * 20), stage(90, 24 * 17)], [Remaining::Enough, Remaining::Fifth]);
        assert_eq!([stage(90, 24 * 4), stage(90, 0)], [Remaining::Twentieth, Remaining::Over]);
        assert_eq!([stage(6, 48), stage(6, 24)], [Remaining::Enough, Remaining::Fifth]);
        assert_eq!(Remaining::at((100, 200), 99), Remaining::Early);
    }

    #[test]
    fn a_stage_is_reported_once_and_a_clock_that_was_set_right_is_no_news() {
        use Remaining::{Early, Enough, Fifth, Over};
        assert!(Early.is_news(None) && !Early.is_news(Some(Early)) && Early.is_news(Some(Over)));
        assert!(!Enough.is_news(None) && !Enough.is_news(Some(Early)));
        assert!(Fifth.is_news(None) && Fifth.is_news(Some(Early)) && !Fifth.is_news(Some(Fifth)));
        assert!(Over.is_news(Some(Fifth)) && !Fifth.is_news(Some(Over)));
    }
}
