//! The resources that a process needs to serve a configuration.

use crate::config::{Connect, Settings, StatusAddress};
use edge_proxy::config::Target;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Paths that the C library (names, DNS), TLS (authorities) and the runtime read on every system. Mostly folders, since
/// files in them are replaced while the process runs. Paths that do not exist are ignored.
const SYSTEM: &[&str] = &[
    "/dev/null",
    "/dev/urandom",
    "/etc",
    "/lib",
    "/lib64",
    "/nix/store",
    "/proc/self",
    "/run/NetworkManager",
    "/run/resolvconf",
    "/run/systemd/resolve",
    "/sys/fs/cgroup",
    "/usr/lib",
    "/usr/lib64",
    "/usr/share",
];

/// Paths that environment variables name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment {
    /// `CREDENTIALS_DIRECTORY`, the folder of systemd's credentials. `None` if it is not set.
    pub(crate) credentials: Option<PathBuf>,
    /// `SSL_CERT_FILE` and `SSL_CERT_DIR`, as far as they are set.
    pub(crate) authorities: Vec<PathBuf>,
}

impl Environment {
    /// Reads the environment variables of this process.
    pub(crate) fn read() -> Self {
        let variable = |name| std::env::var_os(name).map(PathBuf::from);
        Self {
            credentials: variable("CREDENTIALS_DIRECTORY"),
            authorities: ["SSL_CERT_FILE", "SSL_CERT_DIR"].into_iter().filter_map(variable).collect(),
        }
    }
}

/// The resources that a process needs. A folder stands for everything in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// Files and folders to read.
    pub(crate) read: BTreeSet<PathBuf>,
    /// Folders to read, including the folders to which symbolic links in them lead.
    pub(crate) linked: BTreeSet<PathBuf>,
    /// Folders in which files are created, read and appended to, but not removed.
    pub(crate) append: BTreeSet<PathBuf>,
    /// Folders in which files and folders are created, changed and removed.
    pub(crate) change: BTreeSet<PathBuf>,
    /// Folders in which Unix sockets are created and removed.
    pub(crate) socket: BTreeSet<PathBuf>,
    /// TCP ports to bind; 0 for a port that the kernel chooses.
    pub(crate) listen: BTreeSet<u16>,
    /// TCP ports to connect to. `None` if all are needed, since the ports are not known.
    pub(crate) connect: Option<BTreeSet<u16>>,
    /// Keys of `[acme]` that run external programs, whose needs are not known.
    pub(crate) programs: BTreeSet<&'static str>,
}

impl Needs {
    /// Returns the needs of a configuration that was read from `file`. The folder of a file is granted in place of the
    /// file, since the file may be replaced. Outbound ports are restricted only with `sandbox.connect` for configured
    /// targets, and neither `[acme]` nor shared state.
    pub(crate) fn new(settings: &Settings, file: &Path, environment: &Environment) -> Self {
        let mut needs = Self::default();
        needs.read.extend(SYSTEM.iter().map(PathBuf::from));
        needs.read.insert(folder(file));
        // Files are replaced by new ones of the same name, so access is granted to their folder.
        needs.read.extend(settings.files.iter().map(|file| folder(&file.path)));
        needs.linked.extend(settings.certificates.clone());
        let named = settings.certificate_files.iter();
        // Those of certbot are links into another folder.
        needs.linked.extend(named.flat_map(|files| [folder(&files.certificate), folder(&files.key)]));
        needs.read.extend(settings.sandbox.read.iter().cloned());
        needs.read.extend(environment.credentials.clone());
        needs.read.extend(environment.authorities.iter().map(|file| folder(file)));
        needs
            .read
            .extend(settings.tracing.iter().flat_map(crate::config::Traces::paths).map(|file| folder(&file)));
        needs.append.extend(settings.log.file.as_deref().map(folder));
        needs.append.extend(settings.log.sites.iter().map(|(_, file)| folder(file)));
        needs.append.extend(settings.sandbox.write.iter().cloned());
        needs.listen.extend(settings.proxy.listeners.iter().map(|listener| listener.address.port()));
        match &settings.status {
            Some(StatusAddress::Loopback(address)) => drop(needs.listen.insert(address.port())),
            Some(StatusAddress::Unix(path)) => drop(needs.socket.insert(folder(path))),
            None => {}
        }
        if settings.sandbox.connect == Connect::Configured {
            let collector = settings.tracing.as_ref().map(|traces| &traces.tracing.collector);
            let upstreams = settings.proxy.upstreams.iter().chain(collector);
            let targets = upstreams.flat_map(|upstream| &upstream.targets);
            let ports = targets.filter_map(|target| match target {
                Target::Tcp { port, .. } => Some(*port),
                Target::Unix(_) => None,
            });
            // DNS uses TCP for large responses.
            needs.connect = Some(ports.chain([53]).collect());
        }
        if let Some(shared) = &settings.shared {
            needs.read.extend(shared.paths().iter().map(|file| folder(file)));
            // The address of the database is in a secret.
            needs.connect = None;
        }
        if let Some(acme) = &settings.acme {
            needs.change.extend(settings.certificates.clone());
            needs.change.insert(acme.folder());
            needs.read.extend(acme.paths().iter().map(|file| folder(file)));
            needs.programs.extend(acme.programs());
            // The addresses of CAs and of DNS providers are known only while talking to them.
            needs.connect = None;
        }
        needs
    }

    /// Returns the needs in `other` that these do not include, each as a phrase such as `listen on port 443`. Empty if
    /// all are included. A path is included by a folder above it.
    pub(crate) fn lacks(&self, other: &Self) -> Vec<String> {
        let mut lacking = Vec::new();
        let within = |folders: &[&BTreeSet<PathBuf>], path: &Path| {
            folders.iter().any(|set| set.iter().any(|folder| path.starts_with(folder)))
        };
        let mut paths = |what: &str, wanted: &BTreeSet<PathBuf>, granted: &[&BTreeSet<PathBuf>]| {
            let missing = wanted.iter().filter(|path| !within(granted, path));
            lacking.extend(missing.map(|path| format!("{what} {}", path.display())));
        };
        let readable = [&self.read, &self.linked, &self.append, &self.change];
        paths("read", &other.read, &readable);
        paths("read", &other.linked, &readable);
        paths("write to", &other.append, &[&self.append, &self.change]);
        paths("change", &other.change, &[&self.change]);
        paths("create a socket in", &other.socket, &[&self.socket, &self.change]);
        let ports = other.listen.difference(&self.listen);
        lacking.extend(ports.map(|port| format!("listen on port {port}")));
        match (&self.connect, &other.connect) {
            (None, _) => {}
            (Some(_), None) => lacking.push("connect to any port".into()),
            (Some(mine), Some(others)) => {
                lacking.extend(others.difference(mine).map(|port| format!("connect to port {port}")));
            }
        }
        lacking.extend(other.programs.difference(&self.programs).map(|key| format!("run programs ({key})")));
        lacking
    }
}

/// Returns the folder of a file; `.` if the path has none.
fn folder(file: &Path) -> PathBuf {
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new(".")).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn needs(text: &str) -> Needs {
        let (settings, _) = crate::config::read("edge.toml", text).expect("a good configuration");
        Needs::new(&settings, Path::new("/etc/edge-proxyd/edge.toml"), &Environment::default())
    }

    const PLAIN: &str = "listen = [{ address = '127.0.0.1:80' }]\n";

    #[test]
    fn what_the_keys_say() {
        let found = needs(&format!(
            "{PLAIN}[log]\nfile = '/var/log/edge/access.log'\n[status]\naddress = 'unix:/run/edge/status.sock'\n\
             [tracing]\ncollector = 'http://127.0.0.1:4318'\nheaders.Authorization = 'file:/run/otlp/token'\n\
             [sandbox]\nconnect = 'configured'\nread = '/srv/pages'\n[upstream.a]\ntarget = 'http://127.0.0.1:3000'\n"
        ));
        assert!(
            found.read.contains(Path::new("/etc/edge-proxyd"))
                && found.read.contains(Path::new("/srv/pages"))
                && found.read.contains(Path::new("/run/otlp"))
        );
        assert_eq!(found.append, BTreeSet::from(["/var/log/edge".into()]));
        assert_eq!(found.socket, BTreeSet::from(["/run/edge".into()]));
        assert_eq!(found.listen, BTreeSet::from([80]));
        assert_eq!(found.connect, Some(BTreeSet::from([53, 3000, 4318])));
        assert!(found.change.is_empty() && found.programs.is_empty());
    }

    #[test]
    fn certificates_of_ones_own() {
        let text = "listen = [{ address = '127.0.0.1:443', tls = true }]\n[certificates]\nfolder = '/var/lib/acme'\n\
                    [acme.provider.a]\nkind = 'cloudflare'\ntoken = 'file:/run/secrets/cloudflare'\n\
                    [[acme.certificate]]\nnames = ['a.org']\n";
        let found = needs(text);
        assert_eq!(found.change, BTreeSet::from(["/var/lib/acme".into()]));
        assert!(found.read.contains(Path::new("/run/secrets")), "{found:?}");
        assert!(found.programs.is_empty());
        let found = needs(&format!("{text}post_run = 'true'\n"));
        assert_eq!(found.programs, BTreeSet::from(["post_run"]));
    }

    #[test]
    fn what_a_reload_asks_for_in_vain() {
        let (old, new) =
            (needs(PLAIN), needs("listen = [{ address = '127.0.0.1:8080' }]\n[log]\nfile = '/a/b'"));
        assert_eq!(old.lacks(&new), ["read /a", "write to /a", "listen on port 8080"]);
    }

    fn any() -> impl Strategy<Value = Needs> {
        let paths = || prop::collection::btree_set("(/[ab]){1,3}".prop_map(PathBuf::from), 0..4);
        let ports = || prop::collection::btree_set(1u16..5, 0..4);
        (paths(), paths(), paths(), paths(), paths(), ports(), prop::option::of(ports())).prop_map(
            |(read, linked, append, change, socket, listen, connect)| Needs {
                read,
                linked,
                append,
                change,
                socket,
                listen,
                connect,
                programs: BTreeSet::new(),
            },
        )
    }

    proptest! {
        /// No needs lack anything of themselves, and more needs cover fewer.
        #[test]
        fn lacking_is_an_order(a in any(), b in any(), c in any()) {
            prop_assert!(a.lacks(&a).is_empty());
            if a.lacks(&b).is_empty() && b.lacks(&c).is_empty() {
                prop_assert!(a.lacks(&c).is_empty());
            }
        }
    }
}
