//! The sites that were switched to maintenance. A file in the state folder preserves them over reloads, takeovers and
//! restarts.

use crate::journal;
use edge_proxy::config::Config;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The state folder of the packaged unit.
const FOLDER: &str = "/var/lib/edge-proxyd";
/// The name of the file in the state folder.
const NAME: &str = "maintenance.json";

/// Returns the first folder of `STATE_DIRECTORY`, which systemd sets (`StateDirectory=`). `None` if it is not set or
/// empty.
pub(crate) fn folder_from_environment() -> Option<PathBuf> {
    let folders = std::env::var("STATE_DIRECTORY").ok()?;
    folders.split(':').next().filter(|folder| !folder.is_empty()).map(PathBuf::from)
}

/// Returns the folder in which a command expects the state of the service: that of [`folder_from_environment`], or else
/// that of the packaged unit.
pub(crate) fn default_folder() -> PathBuf {
    folder_from_environment().unwrap_or_else(|| FOLDER.into())
}

/// The sites under maintenance, and the state folder.
#[derive(Debug, Default)]
pub(crate) struct Switches {
    /// The state folder. `None` if there is none, so that sites cannot be switched.
    folder: Option<PathBuf>,
    /// The names of the sites under maintenance.
    sites: BTreeSet<String>,
}

/// The content of the file [`NAME`] in the state folder, as JSON.
#[derive(Deserialize, Serialize)]
struct MaintenanceFile {
    /// The names of the sites under maintenance.
    sites: BTreeSet<String>,
}

impl Switches {
    /// Reads the sites under maintenance from a state folder. None is under maintenance without a folder or file.
    ///
    /// # Errors
    /// The file exists, but cannot be read or is not valid.
    pub(crate) fn read(folder: Option<PathBuf>) -> io::Result<Self> {
        let Some(path) = &folder else { return Ok(Self::default()) };
        let sites = match std::fs::read_to_string(path.join(NAME)) {
            Ok(text) => serde_json::from_str::<MaintenanceFile>(&text)?.sites,
            Err(why) if why.kind() == io::ErrorKind::NotFound => BTreeSet::new(),
            Err(why) => return Err(why),
        };
        Ok(Self { folder, sites })
    }

    /// Reads the sites under maintenance from a state folder. On an error, which is logged, none is under maintenance.
    pub(crate) fn open(folder: Option<PathBuf>) -> Self {
        let path = folder.clone().unwrap_or_default().join(NAME);
        Self::read(folder.clone()).unwrap_or_else(|why| {
            journal::error(format_args!(
                "{}: {why}; no site is under maintenance: remove the file, and switch again",
                path.display()
            ));
            Self { folder, sites: BTreeSet::new() }
        })
    }

    /// Sets `under_maintenance` of every site of a configuration, to true for the sites that were switched and to false
    /// for all others.
    pub(crate) fn apply(&self, config: &mut Config) {
        for site in &mut config.sites {
            site.under_maintenance = self.sites.contains(&site.name);
        }
    }

    /// Begins (`on`) or ends the maintenance of a site, and writes the file. `asked` is the name of the site, or one of
    /// its hosts; to end maintenance, also the name of a site that is no longer configured. Returns a message about the
    /// outcome, also if the site is in this state already.
    ///
    /// # Errors
    /// A message if the site does not exist, passes TLS through and is to be switched on, there is no state folder, or
    /// the file could not be written. Nothing is changed then.
    pub(crate) fn set(&mut self, config: &Config, asked: &str, on: bool) -> Result<String, String> {
        let by_host = |host: &str| {
            let host = edge_http::host::normalize(host);
            config.sites.iter().find(|site| site.hosts.iter().any(|known| known.to_string() == host))
        };
        let site = config.sites.iter().find(|site| site.name == asked).or_else(|| by_host(asked));
        let name = match site {
            Some(site) if site.passthrough.is_some() && on => {
                return Err(format!(
                    "site `{}` passes TLS on, so that no request of it is answered here",
                    site.name
                ));
            }
            Some(site) => &site.name,
            // One that has left the configuration meanwhile.
            None if !on && self.sites.contains(asked) => asked,
            None => {
                let known = || config.sites.iter().map(|site| site.name.as_str());
                let hint = cli_support::words::nearest(asked, known()).map_or_else(
                    || format!("the sites are {}", known().collect::<Vec<_>>().join(", ")),
                    |near| format!("did you mean `{near}`?"),
                );
                return Err(format!("no site has the name or the host `{asked}`: {hint}"));
            }
        };
        let Some(folder) = &self.folder else {
            return Err("there is no state folder that would keep it over a restart: start edge-proxyd with --state FOLDER, or with StateDirectory= in its unit".into());
        };
        let mut sites = self.sites.clone();
        let changed = if on { sites.insert(name.to_owned()) } else { sites.remove(name) };
        let words = if on { "under maintenance" } else { "in service" };
        if !changed {
            return Ok(format!("site `{name}` is {words} already"));
        }
        write(folder, &MaintenanceFile { sites: sites.clone() })
            .map_err(|why| format!("{}: {why}; nothing has changed", folder.join(NAME).display()))?;
        self.sites = sites;
        Ok(format!("site `{name}` is {words}"))
    }
}

/// Replaces the file [`NAME`] atomically, after the new content has been synced to disk. Its mode is 0644, so that
/// commands of other accounts can read it.
///
/// # Errors
/// The file could not be written or renamed.
fn write(folder: &Path, kept: &MaintenanceFile) -> io::Result<()> {
    let new = folder.join(format!("{NAME}.new"));
    std::fs::write(&new, serde_json::to_vec(kept)?)?;
    std::fs::set_permissions(&new, PermissionsExt::from_mode(0o644))?;
    std::fs::File::open(&new)?.sync_all()?;
    std::fs::rename(&new, folder.join(NAME))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        let text = "listen = [{ address = '127.0.0.1:80' }]\n[upstream.a]\ntarget = 'http://127.0.0.1:1'\n\
                    [[site]]\nname = 'git'\nhosts = ['git.test', '*.git.test']\nupstream = 'a'\n\
                    [[site]]\nhosts = 'wiki.test'\nupstream = 'a'\n[[site]]\nhosts = 'raw.test'\npassthrough = 'tcp://127.0.0.1:2'\n";
        crate::config::read("edge.toml", text).expect("a configuration").0.proxy
    }

    #[test]
    fn a_switch_is_kept_in_the_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut config = config();
        let open = || Switches::read(Some(folder.path().to_owned())).expect("the file");
        let mut switches = open();
        assert_eq!(switches.set(&config, "GIT.test", true), Ok("site `git` is under maintenance".into()));
        assert_eq!(switches.set(&config, "git", true), Ok("site `git` is under maintenance already".into()));
        assert_eq!(
            switches.set(&config, "wiki.test", true),
            Ok("site `wiki.test` is under maintenance".into())
        );
        open().apply(&mut config);
        let on: Vec<_> = config.sites.iter().map(|site| site.under_maintenance).collect();
        assert_eq!(on, [true, true, false]);
        assert_eq!(open().set(&config, "git", false), Ok("site `git` is in service".into()));
        open().apply(&mut config);
        assert!(!config.sites[0].under_maintenance && config.sites[1].under_maintenance);
        // A site that has left the configuration can be switched back.
        config.sites.clear();
        assert_eq!(open().set(&config, "wiki.test", false), Ok("site `wiki.test` is in service".into()));
    }

    #[test]
    fn faults_say_what_to_do_and_change_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = config();
        let mut switches = Switches::read(Some(folder.path().to_owned())).expect("no file");
        for (site, said) in [("gti", "did you mean `git`?"), ("raw.test", "passes TLS on")] {
            let why = switches.set(&config, site, true).expect_err(site);
            assert!(why.contains(said), "{why}");
        }
        assert!(!folder.path().join(NAME).exists());
        let why = Switches::default().set(&config, "git", true).expect_err("no folder");
        assert!(why.contains("--state"), "{why}");
        std::fs::write(folder.path().join(NAME), "{").expect("a file");
        assert!(Switches::read(Some(folder.path().to_owned())).is_err());
        let gone = folder.path().join("gone");
        let mut switches = Switches::read(Some(gone)).expect("no file");
        assert!(switches.set(&config, "git", true).expect_err("no folder").contains("nothing has changed"));
        assert!(switches.sites.is_empty());
    }
}
