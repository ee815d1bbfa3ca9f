//! The dynamic modules of the nginx under comparison.

use crate::import::Directive;
use std::path::Path;
use std::process::Command;

/// The dynamic modules that a configuration loads.
#[derive(Debug, Default)]
pub(super) struct Modules {
    /// The paths of the modules, as [`path`](Self::path) returns them.
    loaded: Vec<String>,
    /// The folder of nginx's modules. Empty if it is not known.
    folder: String,
}

impl Modules {
    /// Reads the modules from `load_module` directives, and the folder of modules from the output of `nginx -V`, which
    /// is run only if there are such directives.
    pub(super) fn read(nginx: &Path, directives: &[Directive]) -> Self {
        let mut found = Self::default();
        let loads: Vec<&Directive> = directives.iter().filter(|one| one.name == "load_module").collect();
        if loads.is_empty() {
            return found;
        }
        let output = Command::new(nginx).arg("-V").output();
        let said =
            output.map(|output| String::from_utf8_lossy(&output.stderr).into_owned()).unwrap_or_default();
        let folder = said.split_whitespace().find_map(|word| word.strip_prefix("--modules-path="));
        found.folder = folder.unwrap_or_default().to_owned();
        found.loaded = loads.iter().map(|one| found.path(one.first())).collect();
        found
    }

    /// Returns the path of a module. A relative path is replaced by its file name in the folder of modules, if that is
    /// known.
    fn path(&self, file: &str) -> String {
        let name = file.rsplit('/').next().unwrap_or_default();
        if file.starts_with('/') || self.folder.is_empty() {
            file.to_owned()
        } else {
            format!("{}/{name}", self.folder)
        }
    }

    /// Replaces the paths in `load_module` directives by those of [`path`](Self::path).
    pub(super) fn place(&self, directives: &mut [Directive]) {
        for one in directives.iter_mut().filter(|one| one.name == "load_module") {
            one.arguments = vec![self.path(one.first())];
        }
    }

    /// Returns true if nginx accepts a configuration with these modules and a `stream` block (`nginx -t`). Writes that
    /// configuration into `folder`.
    pub(super) fn has_stream(&self, nginx: &Path, folder: &Path) -> bool {
        let file = folder.join("modules.conf");
        let loads: String = self.loaded.iter().map(|path| format!("load_module \"{path}\";\n")).collect();
        let text = format!("{loads}pid \"{}/modules.pid\";\nevents {{}}\nstream {{}}\n", folder.display());
        let tried = std::fs::write(&file, text).ok().and_then(|()| {
            let mut command = Command::new(nginx);
            command.arg("-t").arg("-p").arg(folder).arg("-c").arg(&file).args(["-e", "stderr"]).output().ok()
        });
        tried.is_some_and(|output| output.status.success())
    }
}
