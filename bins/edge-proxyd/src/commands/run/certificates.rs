//! The certificates in use: what changed, what is missing, and what nears its end.

use crate::config::Settings;
use crate::journal;
use cli_support::outcome::chain;
use edge_proxy::config::{Config, ListenerKind};
use edge_proxy::{CertificateError, CertificateFiles, Certificates, RefreshReport};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The interval at which their ends are compared with the clock.
const EXPIRY_CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// The certificates in use, which are read again when their files change, and their warnings.
pub(super) struct CertificateMonitor {
    certificates: Arc<Certificates>,
    looked: Option<Instant>,
    /// The reason for which the folder could not be read, which is reported once.
    failed: Option<String>,
    /// The last warning about each, by folder and serial number.
    said: BTreeMap<(PathBuf, String), Remaining>,
}

impl CertificateMonitor {
    /// Loads the certificates, and reports what is used, what is not and which sites have none. `None` if none are
    /// configured. A folder that cannot be read, as one that is mounted later, is read again later and keeps nothing else
    /// from being served.
    pub(super) fn load(settings: &Settings) -> Option<Self> {
        if settings.certificates.is_none() && settings.certificate_files.is_empty() {
            return None;
        }
        let certificates =
            Certificates::of(settings.certificates.clone(), settings.certificate_files.clone());
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
        let mut watch = Self { certificates, looked: None, said: BTreeMap::new(), failed };
        watch.report_expiry();
        Some(watch)
    }

    /// Returns the certificates as the proxy resolves them.
    pub(super) fn resolver(&self) -> Arc<Certificates> {
        self.certificates.clone()
    }

    /// Returns whether the folder could not be read the last time.
    pub(super) const fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    /// Replaces the certificate files that are used beside the folder, and reads them.
    pub(super) fn set_files(&mut self, files: Vec<CertificateFiles>) {
        self.certificates.set_files(files);
        self.refresh(Certificates::refresh);
    }

    /// Reads changed files by `look`, and reports certificates that were loaded, rejected or near their end. Those that
    /// cannot be read stay in use.
    pub(super) fn refresh(
        &mut self,
        look: impl Fn(&Certificates) -> Result<RefreshReport, CertificateError>,
    ) {
        match look(&self.certificates) {
            Ok(refreshed) => {
                tell(&refreshed);
                self.failed = None;
            }
            Err(why) => {
                let why = chain(&why);
                if self.failed.as_ref() != Some(&why) {
                    journal::warning(format_args!("{why}: the certificates that were read stay in use"));
                }
                self.failed = Some(why);
            }
        }
        if self.looked.is_none_or(|looked| looked.elapsed() >= EXPIRY_CHECK_INTERVAL) {
            self.report_expiry();
        }
    }

    /// Reports certificates that near their end, once for each stage.
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

/// The advice for a certificate of the future.
pub(crate) const CLOCK: &str =
    "clients refuse it, unless the clock of this machine is wrong: see timedatectl";

/// The remaining validity of a certificate, in stages that are reported once each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Remaining {
    /// Its validity has not begun.
    Early,
    Enough,
    /// Less than a fifth of its lifetime is left: clients of ACME renew at a third.
    Fifth,
    Twentieth,
    Over,
}

impl Remaining {
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

    /// Returns whether a certificate of this stage is to be reported after the report of another stage.
    fn is_news(self, last: Option<Self>) -> bool {
        match self {
            Self::Early => last != Some(Self::Early),
            Self::Enough => false,
            Self::Fifth | Self::Twentieth | Self::Over => last.is_none_or(|last| self > last),
        }
    }
}

/// Formats a number of seconds, whether ahead or past, such as `12 days`.
fn format_span(seconds: i64) -> String {
    let hours = seconds.unsigned_abs() / 3600;
    if hours >= 48 { format!("{} days", hours / 24) } else { format!("{hours} hours") }
}

/// Reports certificates that were loaded or rejected.
fn tell(refreshed: &RefreshReport) {
    for path in &refreshed.swapped {
        journal::info(format_args!("{}: in use", path.display()));
    }
    for problem in &refreshed.problems {
        journal::warning(format_args!("not used: {}", chain(problem)));
    }
}

/// Returns the names of TLS sites without a certificate, each with its site.
pub(crate) fn names_without_certificate<'a>(
    certificates: &Certificates,
    config: &'a Config,
) -> Vec<(&'a str, String)> {
    if !config.listeners.iter().any(|listener| matches!(listener.kind, ListenerKind::Tls { .. })) {
        return Vec::new();
    }
    let mut missing = Vec::new();
    for site in config.sites.iter().filter(|site| site.passthrough.is_none()) {
        for host in &site.hosts {
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
