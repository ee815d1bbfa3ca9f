//! The check of the TLS files of upstreams and of the collector of traces.

use super::files::weigh;
use super::findings::Findings;
use crate::config::Settings;
use cli_support::finding::Severity;
use cli_support::outcome::chain;
use edge_proxy::config::{Upstream, UpstreamTls};
use edge_proxy::{UpstreamTlsError, check_upstream_tls};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Adds the first fault of the TLS files of each upstream and of the collector of traces, at the key that names the
/// file.
pub(super) fn find(settings: &Settings, findings: &mut Findings) {
    for upstream in &settings.proxy.upstreams {
        of_upstream(upstream, &format!("upstream.{}.tls", upstream.name), settings, findings);
    }
    if let Some(traces) = &settings.tracing {
        of_upstream(&traces.tracing.collector, "tracing.tls", settings, findings);
    }
}

/// Adds the first fault of the TLS files of an upstream. `section` is the path of its TLS table, such as
/// `upstream.NAME.tls`. A fault of permission is a warning, unless this process is the service. Does nothing without
/// TLS.
fn of_upstream(upstream: &Upstream, section: &str, settings: &Settings, findings: &mut Findings) {
    let Some(tls) = &upstream.tls else { return };
    let Err(why) = check_upstream_tls(tls) else { return };
    let at = |name: &str| format!("{section}.{name}");
    match &why {
        UpstreamTlsError::File { path, why } => {
            let (name, content) = purpose(path, tls);
            let denied = File::open(path).is_err_and(|why| why.kind() == io::ErrorKind::PermissionDenied);
            let fix = if denied {
                "let the service read it".to_owned()
            } else {
                format!("write the path of {content} in PEM")
            };
            let (severity, text) = weigh(denied, format!("{why}: {fix}"));
            findings.of_key(settings, (&at(name), path), severity, &text);
        }
        UpstreamTlsError::Refused(_) => {
            // The authorities alone, to tell which are refused.
            let alone = UpstreamTls { certificate: None, key: None, ..tls.clone() };
            match (&tls.certificate, &tls.ca) {
                (Some(path), _) if check_upstream_tls(&alone).is_ok() => {
                    let text =
                        format!("{}: write a certificate, and the key that belongs to it", chain(&why));
                    findings.of_key(settings, (&at("certificate"), path), Severity::Error, &text);
                }
                (_, Some(path)) => {
                    let text = format!("{}: write the certificates of an authority", chain(&why));
                    findings.of_key(settings, (&at("ca"), path), Severity::Error, &text);
                }
                _ => findings.error(format!("{section}: {}", chain(&why))),
            }
        }
        // No authorities of the system, whichever upstream needs them.
        _ => findings.error(chain(&why)),
    }
}

/// Returns the key that names the file `path` in `tls`, and a description of the expected content.
fn purpose(path: &Path, tls: &UpstreamTls) -> (&'static str, &'static str) {
    let is = |named: &Option<PathBuf>| named.as_deref() == Some(path);
    // In the order in which they are read.
    match tls {
        _ if is(&tls.ca) && tls.pins.is_empty() => ("ca", "the authorities"),
        _ if is(&tls.key) => ("key", "a private key"),
        _ if is(&tls.certificate) => ("certificate", "a certificate"),
        _ => ("pin", "the pinned certificate"),
    }
}
