//! PostgreSQL from packages of newer Debian suites, unpacked but not installed, and run with the C library beside them: 17
//! and 18 with ICU, lz4 and TLS, which the wheels lack, and 19, of which there is no wheel yet.

use crate::process::{Outcome, step, tools_folder};
use std::process::Command;

/// A server from Debian packages.
struct Packaged {
    major: u32,
    /// Name of the folder of the tools, and of the version in the tests.
    name: &'static str,
    /// Debian suites. The programs are of the last one that has them, libraries of the first.
    suites: &'static str,
    /// Packages with further libraries of the server and its programs.
    libraries: &'static str,
}

/// The servers to unpack.
const SERVERS: [Packaged; 3] = [
    Packaged { major: 17, name: "17-icu", suites: "trixie", libraries: "libicu76 libxml2" },
    Packaged { major: 18, name: "18-icu", suites: "forky", libraries: "libicu78 libxml2-16 liburing2" },
    Packaged {
        major: 19,
        name: "19",
        suites: "sid experimental",
        libraries: "libicu78 libxml2-16 liburing2",
    },
];

/// Packages that have the same name in every suite.
const PACKAGES: &str = "libc6 libgcc-s1 libstdc++6 libssl3t64 libldap2 libsasl2-2 libgssapi-krb5-2 libkrb5-3 \
    libk5crypto3 libkrb5support0 libcom-err2 libkeyutils1 libpam0g libaudit1 libcap-ng0 libselinux1 libpcre2-8-0 \
    libsystemd0 libcap2 liblz4-1 libzstd1 liblzma5 zlib1g libreadline8t64 libtinfo6 libedit2 libbsd0 libmd0 libnuma1 \
    libgcrypt20 libgpg-error0 libcrypt1 libuuid1";

/// Script that unpacks into the folder `home`, and runs the programs.
const UNPACK: &str = r#"set -eu
state=$(mktemp -d); trap 'rm -rf "$state"' EXIT
mkdir -p "$state/lists/partial" "$state/cache/archives/partial"
: > "$state/status"
mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list 2>/dev/null |
    sed -n 's/^URIs: *//p;s/^deb \(\[[^]]*\] \)\{0,1\}\([^ ]*\) .*/\2/p' | grep '/debian/*$' | head -n 1)
test -n "$mirror" || { echo "no mirror of Debian among apt's sources" >&2; exit 1; }
for suite in $suites; do
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main"
done > "$state/sources.list"
newer() {
    apt-get -q -o Dir::State::Lists="$state/lists" -o Dir::Etc::SourceList="$state/sources.list" \
        -o Dir::Etc::SourceParts=/dev/null -o Dir::Cache="$state/cache" -o Dir::State::status="$state/status" \
        -o APT::Sandbox::User=root "$@"
}
newer update > /dev/null
mkdir "$state/packages"
there=$(apt-cache -o Dir::State::Lists="$state/lists" -o Dir::Etc::SourceList="$state/sources.list" \
    -o Dir::Etc::SourceParts=/dev/null -o Dir::Cache="$state/cache" -o Dir::State::status="$state/status" pkgnames)
wanted=
for package in $packages; do
    if echo "$there" | grep -qx -- "$package"; then wanted="$wanted $package"; fi
done
(cd "$state/packages" && newer download $wanted > /dev/null)
(cd "$state/packages" && newer download -t "$suite" postgresql-$major postgresql-client-$major libpq5 > /dev/null)
rm -rf "$home"; mkdir -p "$home"
for package in "$state"/packages/*.deb; do dpkg -x "$package" "$home"; done
libraries=$home/usr/lib/x86_64-linux-gnu
loader=$libraries/ld-linux-x86-64.so.2
test -e "$loader" || loader=$home/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2
for program in "$home/usr/lib/postgresql/$major/bin"/*; do
    if head -c 4 "$program" | grep -q ELF; then
        patchelf --set-interpreter "$loader" --force-rpath --set-rpath "$libraries" "$program"
    fi
done
ln -sfn "usr/lib/postgresql/$major/bin" "$home/bin"
"$home/bin/postgres" --version
"$home/bin/psql" --version
"$home/bin/pg_upgrade" --version
"#;

/// Installs the servers that are missing into `postgresql-<name>` of the tools folder.
///
/// # Errors
/// Returns the command that failed.
pub(crate) fn install() -> Outcome {
    for Packaged { major, name, suites, libraries } in SERVERS {
        let home = tools_folder().join(format!("postgresql-{name}"));
        let stamp = tools_folder().join(format!("postgresql-{name}-{}", suites.replace(' ', "-")));
        if stamp.exists() {
            println!("xtask: PostgreSQL {major} of {suites}: there");
            continue;
        }
        let mut unpack = Command::new("bash");
        unpack.args(["-c", UNPACK]).env("home", &home).env("suites", suites).env("major", major.to_string());
        unpack.env("packages", format!("{PACKAGES} {libraries}"));
        step(&format!("PostgreSQL {major} of {suites}: unpacking"), unpack)?;
        std::fs::write(&stamp, "").map_err(|why| format!("{}: {why}", stamp.display()))?;
    }
    Ok(())
}
