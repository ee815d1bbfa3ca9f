//! The archive: programs, man pages, completions, units, examples and licences.

use super::files::{Build, NAME, PROGRAMS, copy, run, sources, tar};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Folder into which the archive is to be unpacked.
pub(super) const PREFIX: &str = "/usr/local";

/// Unit whose commands have the paths of Debian's package.
const UNIT: &str = "bins/edge-proxyd/packaging/edge-proxyd.service";

/// Other files than those of the programs, with their paths in the archive.
const FILES: &[(&str, &str)] = &[
    ("LICENSE-APACHE", "share/doc/LICENSE-APACHE"),
    ("LICENSE-MIT", "share/doc/LICENSE-MIT"),
    ("README.md", "share/doc/README.md"),
    ("bins/acme-dns01/CONFIG.md", "share/doc/acme-dns01.md"),
    ("bins/edge-proxyd/CONFIG.md", "share/doc/edge-proxyd.md"),
    ("bins/edge-proxyd/edge.toml", "share/examples/edge.toml"),
    (UNIT, "lib/systemd/system/edge-proxyd.service"),
    ("bins/edge-proxyd/packaging/edge-proxyd.socket", "lib/systemd/system/edge-proxyd.socket"),
    ("bins/packaging/deb/edge-proxyd/preset", "lib/systemd/system-preset/80-edge-proxyd.preset"),
    ("bins/packaging/deb/edge-proxyd/sysusers.conf", "lib/sysusers.d/edge-proxyd.conf"),
    ("bins/packaging/deb/edge-proxyd/tmpfiles.conf", "lib/tmpfiles.d/edge-proxyd.conf"),
    ("bins/pg-ensure/MANIFEST.md", "share/doc/pg-ensure.md"),
    ("bins/pg-hba/POLICY.md", "share/doc/pg-hba.md"),
    ("bins/smtp-config/SETTINGS.md", "share/doc/smtp-config.md"),
];

/// Writes the archive, with the bill of materials `sbom`. Returns its path.
///
/// # Errors
/// Returns the file or command that failed.
pub(super) fn write(build: &Build, sbom: &Path) -> Result<PathBuf, String> {
    let name = format!("{NAME}-{}-{}-linux", build.version, std::env::consts::ARCH);
    let work = build.out.join("work");
    let tree = work.join(&name);
    let said = |why: std::io::Error| format!("{}: {why}", tree.display());
    for (_, program) in PROGRAMS {
        let place = tree.join("bin").join(program);
        copy(&build.programs.join(program), &place, 0o755)?;
        run(Command::new("strip").arg("--strip-unneeded").arg(&place))?;
        let pages = tree.join("share/man");
        for section in ["man1", "man5"] {
            std::fs::create_dir_all(pages.join(section)).map_err(said)?;
        }
        run(Command::new(build.programs.join(program)).args(["man", "--folder"]).arg(pages.join("man1")))?;
        for shell in ["bash", "fish", "zsh"] {
            let text = run(Command::new(build.programs.join(program)).args(["completions", shell]))?;
            super::files::write(&tree.join(format!("share/completions/{program}.{shell}")), &text)?;
        }
    }
    let pages = std::fs::read_dir(tree.join("share/man/man1")).map_err(said)?;
    for page in
        pages.filter_map(Result::ok).filter(|page| page.path().extension().is_some_and(|end| end == "5"))
    {
        std::fs::rename(page.path(), tree.join("share/man/man5").join(page.file_name())).map_err(said)?;
    }
    for (source, place) in FILES {
        let source = sources().join(source);
        if place.ends_with(".service") {
            let unit =
                std::fs::read_to_string(&source).map_err(|why| format!("{}: {why}", source.display()))?;
            super::files::write(&tree.join(place), &below_prefix(&unit))?;
        } else {
            copy(&source, &tree.join(place), 0o644)?;
        }
    }
    copy(sbom, &tree.join("share/doc/sbom.cdx.json"), 0o644)?;
    let archive = build.out.join(format!("{name}.tar.gz"));
    tar(&work, &archive, Some("--gzip"))?;
    std::fs::remove_dir_all(&work).map_err(said)?;
    Ok(archive)
}

/// Returns a unit in whose commands the archive's programs have the paths to which they are unpacked. Commands of the
/// system are unchanged.
fn below_prefix(unit: &str) -> String {
    let mut text = String::new();
    for line in unit.lines() {
        let moved = PROGRAMS.iter().fold(line.to_owned(), |line, (_, program)| {
            line.replace(&format!("/usr/bin/{program} "), &format!("{PREFIX}/bin/{program} "))
        });
        text.extend([if line.starts_with("Exec") { &moved } else { line }, "\n"]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_of_a_unit_have_the_paths_of_the_archive() {
        let unit = "Documentation=/usr/bin/edge-proxyd \nExecStartPre=-+/usr/bin/systemd-tmpfiles --create\n\
                    ExecStart=/usr/bin/edge-proxyd run\n";
        let expected = unit.replace("ExecStart=/usr/bin/", "ExecStart=/usr/local/bin/");
        assert_eq!(below_prefix(unit), expected);
    }
}
