//! OCI image of edge-proxyd: one layer from scratch with the program and the root certificates, created without a
//! daemon.

use super::files::{Build, copy, run, sha256, tar, write};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Root certificates on Debian and its derivatives.
const ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";
/// User ID of the image, which owns no file.
const USER: u32 = 65_532;

/// Writes the files of the image into a folder.
///
/// # Errors
/// Returns the file or command that failed.
pub(super) fn lay_out(build: &Build, tree: &Path) -> Result<(), String> {
    let program = tree.join("usr/bin/edge-proxyd");
    copy(&build.programs.join("edge-proxyd"), &program, 0o755)?;
    run(Command::new("strip").arg("--strip-unneeded").arg(&program))?;
    if !Path::new(ROOTS).exists() {
        return Err(format!("{ROOTS} is missing: apt-get install ca-certificates"));
    }
    copy(Path::new(ROOTS), &tree.join("etc/ssl/certs/ca-certificates.crt"), 0o644)?;
    write(&tree.join("etc/passwd"), &format!("edge-proxy:x:{USER}:{USER}::/:/usr/sbin/nologin\n"))?;
    write(&tree.join("etc/group"), &format!("edge-proxy:x:{USER}:\n"))?;
    for folder in ["dev", "etc/edge-proxyd", "proc", "run", "tmp", "var/lib/acme"] {
        std::fs::create_dir_all(tree.join(folder)).map_err(|why| format!("{folder}: {why}"))?;
    }
    Ok(())
}

/// Writes the image as an archive of the OCI layout. Returns its path.
///
/// # Errors
/// Returns the file or command that failed.
pub(super) fn write_archive(build: &Build) -> Result<PathBuf, String> {
    let work = build.out.join("work");
    let (tree, layout) = (work.join("tree"), work.join("layout"));
    lay_out(build, &tree)?;
    let plain = work.join("layer.tar");
    tar(&tree, &plain, None)?;
    let diff = sha256(&plain)?;
    run(Command::new("gzip").args(["-n", if build.fixed { "-9" } else { "-1" }]).arg(&plain))?;
    let (layer, layer_size) = blob(&layout, &work.join("layer.tar.gz"))?;
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let version = &build.version;
    let config = format!(
        "{{\"architecture\":\"{architecture}\",\"os\":\"linux\",\"config\":{{\"User\":\"{USER}:{USER}\",\
         \"Entrypoint\":[\"/usr/bin/edge-proxyd\"],\
         \"Cmd\":[\"run\",\"--config\",\"/etc/edge-proxyd/edge.toml\"],\"ExposedPorts\":{{\"80/tcp\":{{}},\
         \"443/tcp\":{{}},\"443/udp\":{{}}}},\"StopSignal\":\"SIGTERM\",\"Labels\":{{\
         \"org.opencontainers.image.title\":\"edge-proxyd\",\"org.opencontainers.image.version\":\"{version}\",\
         \"org.opencontainers.image.licenses\":\"MIT OR Apache-2.0\"}}}},\
         \"rootfs\":{{\"type\":\"layers\",\"diff_ids\":[\"sha256:{diff}\"]}}}}"
    );
    let (config, config_size) = text_blob(&work, &layout, &config)?;
    let manifest = format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"config\":{{\
         \"mediaType\":\"application/vnd.oci.image.config.v1+json\",\"digest\":\"sha256:{config}\",\
         \"size\":{config_size}}},\"layers\":[{{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar+gzip\",\
         \"digest\":\"sha256:{layer}\",\"size\":{layer_size}}}]}}"
    );
    let (manifest, manifest_size) = text_blob(&work, &layout, &manifest)?;
    let index = format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.index.v1+json\",\"manifests\":[{{\
         \"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"digest\":\"sha256:{manifest}\",\
         \"size\":{manifest_size},\"platform\":{{\"architecture\":\"{architecture}\",\"os\":\"linux\"}},\
         \"annotations\":{{\"io.containerd.image.name\":\"localhost/edge-proxyd:{version}\",\
         \"org.opencontainers.image.ref.name\":\"edge-proxyd:{version}\"}}}}]}}"
    );
    write(&layout.join("index.json"), &index)?;
    write(&layout.join("oci-layout"), "{\"imageLayoutVersion\":\"1.0.0\"}")?;
    let archive = build.out.join(format!("edge-proxyd-{version}-{architecture}.oci.tar"));
    tar(&layout, &archive, None)?;
    std::fs::remove_dir_all(&work).map_err(|why| format!("{}: {why}", work.display()))?;
    Ok(archive)
}

/// Copies a file to the name of its digest in the layout. Returns the digest in hexadecimal and the size in bytes.
///
/// # Errors
/// Returns a description if the file cannot be read or copied.
fn blob(layout: &Path, file: &Path) -> Result<(String, u64), String> {
    let digest = sha256(file)?;
    let size = std::fs::metadata(file).map_err(|why| format!("{}: {why}", file.display()))?.len();
    copy(file, &layout.join("blobs/sha256").join(&digest), 0o644)?;
    Ok((digest, size))
}

/// Writes a text as a blob, as [`blob`] does.
///
/// # Errors
/// Returns a description if a file cannot be written.
fn text_blob(work: &Path, layout: &Path, text: &str) -> Result<(String, u64), String> {
    let file = work.join("blob.json");
    write(&file, text)?;
    blob(layout, &file)
}
