//! `cargo xtask bench`: installs the peers, builds all programs for release, and runs the comparison.

use crate::clients;
use crate::process::{Outcome, cargo, root, step, target, tools_folder};
use std::process::Command;

/// Packages of the peers and the load generators.
const PACKAGES: &str = "nginx haproxy caddy nghttp2-client wrk";

/// Build tool of pingora's zlib, from PyPI: version and digest.
const CMAKE: (&str, &str) = ("4.4.5", "85625a9b6d5e88ff99c7eb79123d85570844e77ac076366cf75c609cc0b1b579");

/// Installs cmake if it is missing, and returns the value of `PATH` with it.
///
/// # Errors
/// Returns a description if the installation fails.
fn cmake() -> Result<String, String> {
    let folder = tools_folder().join(format!("cmake-{}", CMAKE.0));
    let programs = folder.join("cmake/data/bin");
    if !programs.join("cmake").exists() {
        let requirement = folder.with_extension("requirement");
        std::fs::write(&requirement, format!("cmake=={} --hash=sha256:{}\n", CMAKE.0, CMAKE.1))
            .map_err(|why| format!("{}: {why}", requirement.display()))?;
        let mut install = Command::new("python3");
        install.args(["-m", "pip", "--quiet", "install", "--no-deps", "--require-hashes", "--target"]);
        step(&format!("cmake {}: installing", CMAKE.0), install.arg(&folder).arg("-r").arg(&requirement))?;
    }
    Ok(format!("{}:{}", programs.display(), std::env::var("PATH").unwrap_or_default()))
}

/// Script that builds h2load with HTTP/3 from Debian's source of nghttp2, in a folder that contains the compiler and
/// the libraries of that suite. The program is kept with its libraries; everything else is removed.
const H2LOAD: &str = r#"
newer() { apt-get -q -o Dir::State::Lists="$state/lists" -o Dir::Etc::SourceList="$state/sources.list" \
    -o Dir::Etc::SourceParts=/dev/null -o Dir::Cache="$state/cache" -o Dir::State::status="$state/status" \
    -o APT::Sandbox::User=root "$@" > /dev/null; }
sed 's/^deb /deb-src /' "$state/sources.list" > "$state/source" && cat "$state/source" >> "$state/sources.list"
newer update
mkdir "$state/nghttp2" && (cd "$state/nghttp2" && newer --download-only --tar-only source nghttp2)
mkdir "$home/build" && tar -xzf "$state"/nghttp2/nghttp2_*.orig.tar.gz -C "$home/build" --strip-components=1
[ -e "$home/usr/bin/awk" ] || ln -s mawk "$home/usr/bin/awk"
cat > "$home/build/build.sh" <<'END'
set -e
cd /build && export PATH=/usr/bin
./configure --disable-dependency-tracking --enable-app --enable-http3 --disable-hpack-tools --disable-examples --without-libxml2 \
    --without-jansson --without-mruby --without-neverbleed --without-systemd --without-jemalloc --without-libbpf \
    --disable-shared --enable-static CXXFLAGS="-O2 -g0" > configure.log 2>&1 || { tail configure.log; exit 1; }
{ make -j2 -C lib && make -j2 -C third-party && make -j2 -C src h2load; } > make.log 2>&1 || { tail make.log; exit 1; }
END
export home
unshare $(test "$(id -u)" = 0 || echo --map-root-user) --mount sh -c '
    mount --rbind /dev "$home/dev" && mount --rbind /proc "$home/proc" && chroot "$home" /usr/bin/dash /build/build.sh'
mkdir -p "$home.kept/usr/bin" "$home.kept/usr/lib/x86_64-linux-gnu"
cp "$home/build/src/h2load" "$home.kept/usr/bin/"
cp -a "$home"/usr/lib/x86_64-linux-gnu/*.so* "$home.kept/usr/lib/x86_64-linux-gnu/"
rm -rf "$home" && mv "$home.kept" "$home"
"#;

/// Packages that are required to build h2load.
const H2LOAD_PACKAGES: &str = "base-files coreutils dash diffutils findutils g++ grep libc-ares-dev libc6-dev libev-dev libnghttp3-dev \
    libngtcp2-crypto-ossl-dev libngtcp2-dev libssl-dev make mawk pkgconf sed zlib1g-dev";

/// Installs, builds and runs the comparison with further arguments of the bench. Without any, the table, the
/// chart and the figures are written too; with `--curves` alone, the curves.
///
/// # Errors
/// Returns the step that failed.
pub(crate) fn run(extra: &[&str]) -> Outcome {
    let peers = tools_folder().join("peers");
    std::fs::create_dir_all(tools_folder()).map_err(|why| format!("{}: {why}", tools_folder().display()))?;
    if !peers.join("usr/bin/wrk").exists() {
        clients::unpack("nginx, HAProxy, Caddy, h2load, wrk", &peers, PACKAGES, "")?;
    }
    let http3 = tools_folder().join("h2load-http3");
    if !http3.join("usr/bin/h2load").exists() {
        clients::unpack("h2load with HTTP/3", &http3, H2LOAD_PACKAGES, H2LOAD)?;
    }
    // One after another, so that the bench's dependencies add no features to the measured program.
    for package in ["edge-proxyd", "peer-bench"] {
        let build = ["build", "--release", "--locked", "--package", package];
        step(&format!("{package}: building"), cargo(&build))?;
    }
    let path = cmake()?;
    // In a separate folder, since its packages have other features.
    let pingora = target().join("pingora");
    let mut build = cargo(&["build", "--release", "--locked"]);
    build
        .current_dir(root().join("bins/peer-bench/pingora"))
        .env("CARGO_TARGET_DIR", &pingora)
        .env("PATH", path);
    step("the pingora proxy: building", build)?;
    let release = target().join("release");
    let mut bench = Command::new(release.join("peer-bench"));
    bench.arg("--edge").arg(release.join("edge-proxyd")).arg("--peers").arg(&peers);
    bench.arg("--h2load-http3").arg(&http3);
    bench.arg("--pingora").arg(pingora.join("release/pingora-beside")).args(extra);
    if matches!(extra, [] | ["--curves"]) {
        bench.arg("--out").arg(root().join("edge-proxy"));
    }
    step("the bench", bench)
}
