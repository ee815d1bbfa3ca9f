//! The configuration as it runs in the comparison: with certificates, passwords, sockets and DNS of its own.

use super::job::{Probe, Recorder};
use super::modules::Modules;
use super::shares::host_and_port;
use crate::authority::Authority;
use crate::import::{Directive, Outline};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

/// A password file with the user `prove` and the password `prove`, hashed by bcrypt.
const USERS: &str = "prove:$2y$04$ZeIqkDZkuUPqavW90BkZWewyc8K4uh2FkEZkP/7RMewW09B6RhIfK\n";

/// The serial number of the revoked client certificate.
const REVOKED: u64 = 666;

/// The beginning of the content of error pages of a comparison, followed by their path.
pub(super) const PAGE: &str = "The error page of a comparison: ";

/// Directives that are left out: they do not affect responses, and need files, rights or modules that the comparison
/// does not have.
const DROPPED: &[&str] = &[
    "access_log",
    "daemon",
    "error_log",
    "http3_hq",
    "lock_file",
    "master_process",
    "pid",
    "quic_bpf",
    "quic_gso",
    "quic_retry",
    "ssl_dhparam",
    "ssl_password_file",
    "ssl_session_ticket_key",
    "ssl_stapling",
    "ssl_stapling_file",
    "ssl_stapling_verify",
    "ssl_trusted_certificate",
    "proxy_ssl_crl",
    "proxy_ssl_password_file",
    "thread_pool",
    "user",
    "worker_cpu_affinity",
    "worker_priority",
    "worker_processes",
    "worker_rlimit_core",
    "worker_rlimit_nofile",
    "working_directory",
    "mail",
];

/// An nginx configuration in a folder of its own, with its own certificates, and recorders in place of services.
pub(super) struct Stage {
    /// The directives, with paths in this folder in place of those of the system.
    pub(super) directives: Vec<Directive>,
    /// The recorders, one for each different address of a target.
    pub(super) recorders: Vec<Recorder>,
    /// True if `stream` is left out because nginx has no module for it.
    pub(super) without_stream: bool,
}

impl Stage {
    /// Writes the configuration (`nginx.conf`), certificates, passwords, a hosts file and error pages into a folder.
    /// `nginx` is the path of the program, which is run to find out about modules, and `outline` that of the converted
    /// configuration.
    ///
    /// # Errors
    /// A file could not be written, or a certificate could not be issued.
    pub(super) fn new(
        folder: &Path,
        nginx: &Path,
        directives: &[Directive],
        outline: &Outline,
    ) -> Result<Self, String> {
        let streams = directives.iter().any(|one| one.name == "stream");
        let modules = Modules::read(nginx, directives);
        let without_stream = streams && !modules.has_stream(nginx, folder);
        let text = folder.display().to_string();
        let write = |name: &str, text: &str| {
            std::fs::write(folder.join(name), text)
                .map_err(|why| format!("{}: {why}", folder.join(name).display()))
        };
        let mut names: Vec<String> = outline.servers.iter().flat_map(|server| server.hosts.clone()).collect();
        let mut recorders = Vec::new();
        let mut hosts = String::from("127.0.0.1 localhost\n::1 localhost\n");
        let mut known: BTreeMap<String, Ipv4Addr> = BTreeMap::new();
        let mut sockets: Vec<String> = Vec::new();
        for target in &outline.targets {
            if let Some(path) = target.strip_prefix("unix:") {
                sockets.push(path.to_owned());
                let at = socket(&text, path);
                recorders.push(Recorder { at, name: target.clone() });
                continue;
            }
            let Some((host, port)) = host_and_port(target) else { continue };
            let count = known.len();
            let address = host.parse::<IpAddr>().unwrap_or_else(|_| {
                let next = Ipv4Addr::new(127, 77, (count / 250) as u8, (count % 250 + 1) as u8);
                IpAddr::V4(*known.entry(host.to_owned()).or_insert_with(|| {
                    hosts.push_str(&format!("{next} {host}\n"));
                    next
                }))
            });
            names.push(host.to_owned());
            let at = SocketAddr::new(address, port);
            if outline.listens.iter().any(|(listen, ..)| is_served_by(*listen, at)) {
                continue;
            }
            let at = at.to_string();
            if !recorders.iter().any(|one: &Recorder| one.at == at) {
                recorders.push(Recorder { at, name: format!("{host}:{port}") });
            }
        }
        names.sort();
        names.dedup();
        names.retain(|name| !name.contains('_') && name.len() < 200);
        let names: Vec<&str> = names.iter().map(String::as_str).chain(["prove.invalid"]).collect();
        let authority = Authority::new("The authority of a comparison").map_err(|why| why.to_string())?;
        authority
            .issue(&folder.join("certificates/all"), &names)
            .map_err(|why| format!("no certificates: {why}"))?;
        std::fs::create_dir_all(folder.join("sockets"))
            .map_err(|why| format!("no folder for sockets: {why}"))?;
        let foreign = Authority::new("Another authority").map_err(|why| why.to_string())?;
        let clients = [("known", &authority, 1), ("foreign", &foreign, 1), ("revoked", &authority, REVOKED)];
        for (name, authority, serial) in clients {
            let folder = folder.join("clients").join(name);
            authority.issue_client(&folder, name, serial).map_err(|why| format!("no certificates: {why}"))?;
        }
        write("revoked.pem", &authority.revoke(REVOKED).map_err(|why| why.to_string())?)?;
        write("ca.pem", authority.root())?;
        write("users", USERS)?;
        write("hosts", &hosts)?;
        let mut directives: Vec<Directive> =
            directives.iter().filter_map(|one| stage_directive(one, &text)).collect();
        if has_pages(&directives) {
            pages(&mut directives, folder)?;
        }
        modules.place(&mut directives);
        directives.retain(|one| one.name != "stream" || !without_stream);
        shared_ports(&mut directives, &mut Vec::new());
        for directive in directives.iter_mut().filter(|one| one.name == "http") {
            defaults(directive, &text);
        }
        // The only user of the namespace.
        let mut conf = String::from("daemon off;\nmaster_process off;\nuser root root;\n");
        conf += &format!("pid \"{text}/nginx.pid\";\nerror_log stderr error;\n");
        if !directives.iter().any(|one| one.name == "events") {
            conf += "events {}\n";
        }
        directives.iter().for_each(|one| write_directive(one, &mut conf, &text));
        write("nginx.conf", &conf)?;
        Ok(Self { directives, recorders, without_stream })
    }

    /// Returns the addresses that must be on the loopback interface, sorted: those of listeners, recorders, clients and
    /// the destinations of requests.
    pub(super) fn addresses(&self, outline: &Outline, requests: &[Probe]) -> Vec<IpAddr> {
        let listens =
            outline.listens.iter().map(|(address, ..)| address.ip()).filter(|ip| !ip.is_unspecified());
        let recorders = self.recorders.iter().filter_map(|one| one.at.parse::<SocketAddr>().ok());
        let asked = requests.iter().flat_map(|one| [one.from, one.to.ip()]);
        let mut all: Vec<IpAddr> = listens.chain(recorders.map(|one| one.ip())).chain(asked).collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// Returns whether connections to this target arrive at this listener of the same configuration.
fn is_served_by(listen: SocketAddr, target: SocketAddr) -> bool {
    let is_here = listen.ip() == target.ip() || listen.ip().is_unspecified() && target.ip().is_loopback();
    listen.port() == target.port() && is_here
}

/// Returns the path, in `folder`, of the Unix socket that replaces the one at `path` in the comparison.
fn socket(folder: &str, path: &str) -> String {
    let letters: String = path.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    format!("{folder}/sockets/s{letters}")
}

/// Returns a directive and its block with paths in `folder` in place of those of the system: certificates, password
/// files, resolvers, caches and Unix sockets. `None` if the directive is left out: one of [`DROPPED`], a Lua block, or
/// one that ends in `_temp_path`.
fn stage_directive(directive: &Directive, folder: &str) -> Option<Directive> {
    let mut found = directive.clone();
    if DROPPED.contains(&directive.name.as_str()) || directive.name.ends_with("_by_lua_block") {
        return None;
    }
    match directive.name.as_str() {
        "ssl_certificate" | "proxy_ssl_certificate" => {
            found.arguments = vec![format!("{folder}/certificates/all/fullchain.pem")];
        }
        "ssl_certificate_key" | "proxy_ssl_certificate_key" => {
            found.arguments = vec![format!("{folder}/certificates/all/key.pem")];
        }
        "ssl_client_certificate" | "proxy_ssl_trusted_certificate" => {
            found.arguments = vec![format!("{folder}/ca.pem")];
        }
        "ssl_crl" => found.arguments = vec![format!("{folder}/revoked.pem")],
        "auth_basic_user_file" => found.arguments = vec![format!("{folder}/users")],
        "resolver" => found.arguments = vec!["127.0.0.53".into(), "ipv6=off".into()],
        "proxy_cache_path" | "fastcgi_cache_path" | "uwsgi_cache_path" => {
            if let Some(first) = found.arguments.first_mut() {
                *first = format!("{folder}/cache");
            }
        }
        name if name.ends_with("_temp_path") => return None,
        _ => {}
    }
    for argument in &mut found.arguments {
        if let Some(at) = argument.find("unix:/") {
            let end = argument[at + 5..].find(':').map_or(argument.len(), |end| at + 5 + end);
            let staged = socket(folder, &argument[at + 5..end]);
            argument.replace_range(at + 5..end, &staged);
        }
    }
    found.block = directive
        .block
        .as_ref()
        .map(|block| block.iter().filter_map(|one| stage_directive(one, folder)).collect());
    Some(found)
}

/// Returns the path of an `error_page` that may be a file: it begins with `/` and has no `$`, `?` or `..`. `None` for
/// other directives and pages.
fn page_of(directive: &Directive) -> Option<&str> {
    let path = directive.arguments.last().filter(|_| directive.name == "error_page")?;
    (path.starts_with('/') && !path.contains(['$', '?']) && !path.contains("..")).then_some(path)
}

/// Returns true if one of the directives, or one in their blocks, has an error page that may be a file.
fn has_pages(all: &[Directive]) -> bool {
    all.iter().any(|one| page_of(one).is_some() || has_pages(one.inner()))
}

/// Writes the error pages into the folder `root` in `folder`, and sets each `root` directive to that folder,
/// recursively.
///
/// # Errors
/// The message, with the file that could not be written.
fn pages(all: &mut [Directive], folder: &Path) -> Result<(), String> {
    for one in all {
        if let Some(path) = page_of(one) {
            let file = folder.join("root").join(path.trim_start_matches('/'));
            let written = std::fs::create_dir_all(file.parent().unwrap_or(folder))
                .and_then(|()| std::fs::write(&file, format!("{PAGE}{path}\n")));
            written.map_err(|why| format!("{}: {why}", file.display()))?;
        }
        if one.name == "root" {
            one.arguments = vec![folder.join("root").display().to_string()];
        }
        pages(one.block.as_deref_mut().unwrap_or_default(), folder)?;
    }
    Ok(())
}

/// Sets `reuseport` at the first `listen` directive of each address and transport, and removes it from all others, so
/// that recorders can listen on the same ports at other addresses. `seen` are the addresses so far.
fn shared_ports(all: &mut [Directive], seen: &mut Vec<String>) {
    for one in all {
        if one.name == "listen" && !one.first().starts_with("unix:") {
            one.arguments.retain(|option| option != "reuseport");
            let address = one.first().replace("*:", "").replace("0.0.0.0:", "");
            let address = if address.contains('.') && !address.contains(':') {
                format!("{address}:80")
            } else {
                address
            };
            // The same address over UDP is another.
            let quic = one.arguments.iter().any(|option| option == "quic");
            let address = if quic { format!("quic {address}") } else { address };
            if !seen.contains(&address) {
                seen.push(address);
                one.arguments.push("reuseport".into());
            }
        }
        if let Some(block) = &mut one.block {
            shared_ports(block, seen);
        }
    }
}

/// Adds directives at the beginning of `http` that it needs in the comparison and does not have: a certificate, its
/// key, trusted authorities of upstreams, and the map for `$connection_upgrade`.
fn defaults(http: &mut Directive, folder: &str) {
    let (file, line) = (http.file.clone(), http.line);
    let make = |name: &str, arguments: &[String]| Directive {
        file: file.clone(),
        line,
        name: name.into(),
        arguments: arguments.to_vec(),
        block: None,
    };
    let Some(block) = &mut http.block else { return };
    let has = |name: &str| block.iter().any(|one| one.name == name);
    let mut more = Vec::new();
    for (name, path) in [
        ("ssl_certificate", "certificates/all/fullchain.pem"),
        ("ssl_certificate_key", "certificates/all/key.pem"),
        ("proxy_ssl_trusted_certificate", "ca.pem"),
    ] {
        if !has(name) {
            more.push(make(name, &[format!("{folder}/{path}")]));
        }
    }
    // A file of sites relies on the map that its distribution has in nginx.conf.
    if !block.iter().any(|one| {
        one.name == "map" && one.arguments.get(1).is_some_and(|name| name == "$connection_upgrade")
    }) {
        let mut map = make("map", &["$http_upgrade".into(), "$connection_upgrade".into()]);
        map.block = Some(vec![make("default", &["upgrade".into()]), make("", &["close".into()])]);
        more.push(map);
    }
    block.splice(0..0, more);
}

/// Appends a directive and its block to `out` in nginx's syntax, with all arguments quoted. In `http`, also disables
/// the access log, and sets the folders of temporary files to ones in `folder`.
fn write_directive(directive: &Directive, out: &mut String, folder: &str) {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let plain = !directive.name.is_empty()
        && directive
            .name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_' || byte.is_ascii_digit());
    out.push_str(&if plain { directive.name.clone() } else { quoted(&directive.name) });
    for argument in &directive.arguments {
        out.push(' ');
        out.push_str(&quoted(argument));
    }
    let Some(block) = &directive.block else {
        out.push_str(";\n");
        return;
    };
    out.push_str(" {\n");
    if directive.name == "http" {
        out.push_str("access_log off;\n");
        for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
            out.push_str(&format!("{kind}_temp_path \"{folder}/temp-{kind}\";\n"));
        }
    }
    block.iter().for_each(|one| write_directive(one, out, folder));
    out.push_str("}\n");
}
