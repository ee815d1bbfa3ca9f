//! Proof of artefacts: each is installed into an empty root folder, and its programs run there.

mod served;
mod unit;

pub(crate) use served::within;

use super::archive::PREFIX;
use super::files::{Build, NAME, PROGRAMS, run, sha256};
use crate::process::{Outcome, cargo, step};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Checks the digests of all artefacts, installs each into an empty root folder, and runs its programs there.
///
/// # Errors
/// Returns the artefact or command that failed.
pub(super) fn all(build: &Build, artefacts: &[PathBuf]) -> Outcome {
    let work = build.out.join("proof");
    let _ = std::fs::remove_dir_all(&work);
    run(Command::new("sha256sum").args(["--check", "--quiet", "SHA256SUMS"]).current_dir(&build.out))?;
    for artefact in artefacts {
        let name = artefact.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let root = work.join(&name);
        std::fs::create_dir_all(&root).map_err(|why| format!("{}: {why}", root.display()))?;
        if name.ends_with(".tar.gz") {
            let place = root.join(PREFIX.trim_start_matches('/'));
            std::fs::create_dir_all(&place).map_err(|why| format!("{}: {why}", place.display()))?;
            run(Command::new("tar")
                .arg("-xf")
                .arg(artefact)
                .arg("--strip-components=2")
                .arg("-C")
                .arg(&place))?;
            for (_, program) in PROGRAMS {
                runs(build.fixed, &root, &format!("{PREFIX}/bin/{program}"))?;
            }
            unit::prove(&root)?;
        } else if name.ends_with(".deb") {
            run(Command::new("dpkg-deb").arg("--extract").arg(artefact).arg(&root))?;
            let program = name.split('_').next().unwrap_or_default();
            runs(build.fixed, &root, &format!("/usr/bin/{program}"))?;
        } else if name.ends_with(".oci.tar") {
            // The library with which Podman reads archives.
            run(Command::new("skopeo").arg("inspect").arg(format!("oci-archive:{}", artefact.display())))?;
            unpack_image(artefact, &root)?;
            runs(build.fixed, &root, "/usr/bin/edge-proxyd")?;
            served::prove(build, &root)?;
        } else if name.starts_with(NAME) {
            let text = std::fs::read_to_string(artefact).map_err(|why| format!("{name}: {why}"))?;
            if !text.contains("\"bomFormat\":\"CycloneDX\"") || !text.contains("pkg:cargo/rustls@") {
                return Err(format!("{name}: not a bill of materials of these programs"));
            }
        }
    }
    std::fs::remove_dir_all(&work).map_err(|why| format!("{}: {why}", work.display()))?;
    println!("xtask: dist: {} artefacts installed into empty roots, and run there", artefacts.len());
    Ok(())
}

/// Installs from source as the book says, each program with its own features, into an empty root folder, statically for
/// `triple`, and runs the programs there.
///
/// # Errors
/// Returns the command that failed.
pub(super) fn from_source(triple: &str, root: &Path) -> Outcome {
    let page = crate::book::page("install.md")?;
    let mut count = 0;
    for line in page.lines().filter(|line| line.starts_with("cargo install ")) {
        let words: Vec<&str> = line.split_whitespace().skip(1).collect();
        let mut command = cargo(&words);
        command.args(["--target", triple, "--root"]).arg(root).env("RUSTFLAGS", super::STATIC);
        step(&format!("dist: {line}"), command)?;
        let folder = words.last().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
        runs(true, root, &format!("/bin/{folder}"))?;
        count += 1;
    }
    let _ = std::fs::remove_dir_all(root);
    if count == 0 { Err("install.md has no `cargo install`".to_owned()) } else { Ok(()) }
}

/// Runs a program with `--version` and `--help` in a root folder that contains nothing else but, unless the programs
/// are static (`fixed`), the shared libraries, which are copied first.
///
/// # Errors
/// Returns the status and output if it fails.
fn runs(fixed: bool, root: &Path, program: &str) -> Outcome {
    if !fixed {
        libraries(&root.join(program.trim_start_matches('/')), root)?;
    }
    for argument in ["--version", "--help"] {
        run(&mut inside(root, program, &[argument], false))?;
    }
    Ok(())
}

/// Script that mounts the folders that every container engine mounts, then runs the program. `chroot` is in `/usr/sbin`,
/// which the search path of an ordinary user of Debian lacks.
const ENTER: &str = "mkdir -p \"$1/proc\" \"$1/dev\" && mount --rbind /dev \"$1/dev\" && mount -t proc proc \"$1/proc\" && \
                     PATH=$PATH:/usr/sbin:/sbin && exec env -i \"$(command -v chroot)\" \"$@\"";

/// Returns a command whose root is the folder, in namespaces of its own. With `mapped`, the process is already in a
/// user namespace and stays in it, since only there it may listen on ports of its network.
pub(super) fn inside(root: &Path, program: &str, arguments: &[&str], mapped: bool) -> Command {
    let mut command = Command::new("unshare");
    command.args((!mapped).then_some("--map-root-user"));
    command.args(["--mount", "--pid", "--fork", "--kill-child", "sh", "-c", ENTER, "sh"]);
    command.arg(root).arg(program).args(arguments);
    command
}

/// Copies the shared libraries of a program into a root folder.
pub(super) fn libraries(program: &Path, root: &Path) -> Outcome {
    let said = run(Command::new("ldd").arg(program))?;
    for path in said.split_whitespace().filter(|word| word.starts_with('/')) {
        super::files::copy(Path::new(path), &root.join(path.trim_start_matches('/')), 0o755)?;
    }
    Ok(())
}

/// Unpacks the layers of an image as a container engine does, after it has compared every digest.
///
/// # Errors
/// Returns the first blob that differs from its digest.
fn unpack_image(archive: &Path, root: &Path) -> Outcome {
    let layout = root.with_extension("layout");
    std::fs::create_dir_all(&layout).map_err(|why| format!("{}: {why}", layout.display()))?;
    run(Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(&layout))?;
    let read =
        |path: PathBuf| std::fs::read_to_string(&path).map_err(|why| format!("{}: {why}", path.display()));
    let blob = |digest: &str| layout.join("blobs/sha256").join(digest);
    let index = read(layout.join("index.json"))?;
    for manifest in digests(&index) {
        for digest in digests(&read(blob(&manifest))?) {
            let found = sha256(&blob(&digest))?;
            if found != digest {
                return Err(format!("the image's blob {digest} has the digest {found}"));
            }
            // The configuration is JSON, a layer is compressed.
            let bytes = std::fs::read(blob(&digest)).map_err(|why| why.to_string())?;
            if bytes.starts_with(&[0x1f, 0x8b]) {
                run(Command::new("tar").arg("-xzf").arg(blob(&digest)).arg("-C").arg(root))?;
            }
        }
    }
    Ok(())
}

/// Returns the SHA-256 digests that a document contains.
fn digests(text: &str) -> Vec<String> {
    let parts = text.split("\"digest\":\"sha256:").skip(1);
    parts.map(|rest| rest.chars().take_while(char::is_ascii_hexdigit).collect()).collect()
}
