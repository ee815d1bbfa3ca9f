//! The configuration file: from TOML to the configuration of the library.
//!
//! There are two stages. `document` is the file with the position of every value; `listen`, `site` and `upstream` build
//! the configuration from it. No error ends the reading, so that all are reported at once. Errors that the library
//! finds are reported at their positions in the file too, unless they follow from others.

mod access;
mod balance;
mod certificates;
mod consequences;
mod content;
mod document;
mod foreign;
mod include;
mod keys;
mod listen;
mod named_file;
mod priority;
mod problem;
mod ranges;
mod response;
mod rewrite;
mod sandbox;
mod schema;
mod shared;
mod site;
mod tracing;
mod upstream;
mod value;
mod zone;

pub(crate) use named_file::NamedFile;
pub(crate) use problem::Problems;
pub(crate) use sandbox::{Connect, Mode, Sandbox};
pub(crate) use schema::schema;
pub(crate) use tracing::Traces;

use crate::log::LogSettings;
use cli_support::finding::Findings;
use document::{Document, Table};
use edge_proxy::config::{Config, ListenerKind};
use edge_proxy::{CertificateFiles, Snapshot};
use keys::{Key, Kind};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The settings of a configuration file.
#[derive(Debug, PartialEq)]
pub(crate) struct Settings {
    /// The configuration of the proxy.
    pub(crate) proxy: Config,
    /// The folder of server certificates. `None` if none is configured.
    pub(crate) certificates: Option<PathBuf>,
    /// The certificates that sites name by their files, without duplicates.
    pub(crate) certificate_files: Vec<CertificateFiles>,
    /// The path of the certificate chain of each site that names one, by the name of the site.
    pub(crate) site_certificates: BTreeMap<String, PathBuf>,
    /// The certificates that the proxy obtains itself. `None` without `[acme]`.
    pub(crate) acme: Option<crate::acme::AcmeSection>,
    /// The settings of the access log.
    pub(crate) log: LogSettings,
    /// The collector of spans. `None` disables tracing.
    pub(crate) tracing: Option<Traces>,
    /// The address of the status page. `None` disables it.
    pub(crate) status: Option<StatusAddress>,
    /// The settings of the sandbox.
    pub(crate) sandbox: Sandbox,
    /// The state that is shared with other instances. `None` without `[shared]`.
    pub(crate) shared: Option<crate::shared::SharedSection>,
    /// The files and folders that values of the configuration name, except those of `[acme]`.
    pub(crate) files: Vec<NamedFile>,
}

/// The address of the status page, which is not reachable from other hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StatusAddress {
    /// A loopback address and port.
    Loopback(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

/// Reads and validates a configuration file, and the files that it includes. Returns the settings, and the snapshot
/// that the library made of `settings.proxy`.
///
/// # Errors
/// All errors that were found, or that the file cannot be read.
pub(crate) fn load(path: &Path) -> Result<(Settings, Snapshot), Problems> {
    text(path).and_then(|text| read(&path.display().to_string(), &text))
}

/// Reads the text of a configuration file.
///
/// # Errors
/// The file cannot be read, or is not UTF-8.
pub(crate) fn text(path: &Path) -> Result<String, Problems> {
    std::fs::read_to_string(path).map_err(|why| Problems::unreadable(&path.display().to_string(), &why))
}

/// Reads and validates the text of a configuration file, and the files that it includes. `name` is the path of the
/// file, for errors and relative includes. Returns the settings, and the snapshot that the library made of
/// `settings.proxy`.
///
/// # Errors
/// All errors of the files, and those errors of the library that do not follow from them.
pub(crate) fn read(name: &str, text: &str) -> Result<(Settings, Snapshot), Problems> {
    let main = Document::new(text);
    let included = main.root(ROOT).map(|root| include::files(&main, &root, name)).unwrap_or_default();
    let parts: Vec<Document<'_>> =
        included.iter().map(|file| Document::parse_included(&file.name, &file.text)).collect();
    let settings = main.root(ROOT).map(|root| settings(&main, &root, &parts, name, text));
    if let Some(settings) = settings {
        let clean = main.is_clean() && parts.iter().all(Document::is_clean);
        match Snapshot::new(settings.proxy.clone()) {
            Ok(snapshot) if clean => return Ok((settings, snapshot)),
            Ok(_) => {}
            Err(errors) => {
                let faulty: Vec<String> =
                    std::iter::once(&main).chain(&parts).flat_map(Document::faulty_keys).collect();
                for error in &errors.0 {
                    let document = parts.iter().find(|part| part.has(error.place)).unwrap_or(&main);
                    // If the file has errors already, those that follow from them would only distract.
                    if document.is_independent(error, &faulty) {
                        document.report(error);
                    }
                }
            }
        }
    }
    let problems = std::iter::once(main).chain(parts).flat_map(Document::into_problems);
    Err(Problems::new(name, consequences::remove(problems.collect())))
}

/// The keys that are valid at the top level.
static ROOT: &[Key] = &[
    Key::new("include", Kind::List(&Kind::Text)),
    Key::new("reject", site::REJECT),
    Key::new("https_port", Kind::Number(1, 65_535)),
    Key::new("request_id", Kind::Text),
    Key::new("congestion", listen::CONGESTION),
    Key::new("kernel_tls", listen::KERNEL_TLS_KIND),
    Key::new("kernel_tls_after", Kind::Size),
    Key::new("priority", priority::PRIORITY),
    Key::required("listen", Kind::Tables(listen::LISTEN)),
    Key::new("trust", Kind::Table(listen::TRUST)),
    Key::new("tailnet", Kind::Table(listen::TAILNET)),
    Key::new("certificates", Kind::Table(&[Key::required("folder", Kind::Path)])),
    Key::new("acme", Kind::Foreign(crate::acme::schema)),
    Key::new("log", Kind::Table(listen::LOG)),
    Key::new("tracing", Kind::Table(tracing::TRACING)),
    Key::new("status", Kind::Table(listen::STATUS)),
    Key::new("sandbox", Kind::Table(sandbox::SANDBOX)),
    Key::new("shared", Kind::Table(shared::SHARED)),
    Key::new("limits", Kind::Table(listen::LIMITS)),
    Key::new("timeouts", Kind::Table(listen::TIMEOUTS)),
    Key::new("site", Kind::Tables(site::SITE)),
    Key::new("upstream", Kind::Named(&Kind::Table(upstream::UPSTREAM))),
];

/// Builds the settings from the main file and the included files. Errors are added to the documents; values that are
/// not valid have their defaults. `name` and `text` are those of the main file.
fn settings(
    document: &Document<'_>,
    root: &Table<'_, '_>,
    included: &[Document<'_>],
    name: &str,
    text: &str,
) -> Settings {
    let parts: Vec<_> = included.iter().filter_map(|part| part.root(include::INCLUDED)).collect();
    let mut proxy = Config { reject: site::reject(root), ..Config::default() };
    proxy.https_port = root.get("https_port").and_then(|port| port.number()).map(|port| port as u16);
    proxy.request_id = root.get("request_id").and_then(|value| rewrite::field_name(&value));
    proxy.congestion = listen::congestion(root);
    proxy.kernel_tls = listen::kernel_tls(root);
    proxy.priority = root.table("priority").map(|table| priority::priority(&table)).unwrap_or_default();
    proxy.trust = root.table("trust").map(|trust| listen::trust(&trust)).unwrap_or_default();
    proxy.tailnet = root.table("tailnet").map(|tailnet| listen::tailnet(&tailnet));
    proxy.limits = root.table("limits").map(|limits| listen::limits(&limits)).unwrap_or_default();
    proxy.timeouts = root.table("timeouts").map(|timeouts| listen::timeouts(&timeouts)).unwrap_or_default();
    std::iter::once(root).chain(&parts).for_each(|part| upstream::read_sections(part, &mut proxy.upstreams));
    proxy.listeners = listen::listeners(root, &mut proxy.upstreams);
    let (mut certificate_files, mut site_certificates) = (Vec::new(), BTreeMap::new());
    for part in std::iter::once(root).chain(&parts) {
        let first = proxy.sites.len();
        site::sites(part, &mut proxy.sites, &mut proxy.upstreams, proxy.timeouts);
        let sites = &proxy.sites[first..];
        site::certificate_files(part, sites, &mut certificate_files, &mut site_certificates);
    }
    parts.iter().for_each(Table::finish);
    let certificates = root.table("certificates").and_then(|table| {
        let folder = table.get("folder").and_then(|folder| folder.path());
        if folder.is_none() {
            table.report_error("folder", "missing: write the folder, such as folder = \"/var/lib/acme\"");
        }
        table.finish();
        folder
    });
    let acme = root.get("acme").and_then(|_| {
        let report = |found: Findings| found.list().iter().cloned().for_each(|one| document.add(one.into()));
        crate::acme::read(name, text, certificates.as_deref()).map_err(report).ok()
    });
    let log = root.table("log").map(|log| listen::log(&log)).unwrap_or_default();
    let tracing = root.table("tracing").and_then(|table| tracing::tracing(&table));
    let status = root.table("status").and_then(|status| listen::status(&status));
    let sandbox = root.table("sandbox").map(|table| sandbox::sandbox(&table)).unwrap_or_default();
    let shared = root.table("shared").and_then(|table| shared::shared(&table));
    if let Some(table) = root.table("log") {
        listen::log_sites(&table, &log, &proxy);
    }
    let tls = |kind| matches!(kind, ListenerKind::Tls { .. });
    if proxy.listeners.is_empty() && root.get("listen").is_none() {
        root.report_error(
            "listen",
            "missing, so the proxy would accept no connections: add [[listen]] with an address",
        );
    } else if certificates.is_none()
        && certificate_files.is_empty()
        && root.get("certificates").is_none()
        && proxy.listeners.iter().any(|listener| tls(listener.kind))
    {
        root.report_error(
            "certificates",
            "missing, but a listener has tls = true: add [certificates] with a folder, or `certificate` and `key` to sites",
        );
    }
    root.finish();
    document.place_root(root);
    Settings {
        proxy,
        certificates,
        certificate_files,
        site_certificates,
        acme,
        log,
        tracing,
        status,
        sandbox,
        shared,
        files: std::iter::once(document).chain(included).flat_map(Document::files).collect(),
    }
}

#[cfg(test)]
mod schema_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod wrong;
