//! The environment of the programs that are tested.
//!
//! It is defined: a test that passes on one machine must not fail on another because a job of continuous integration, a
//! terminal or a shell's profile sets a variable. What tools need to find programs, caches and certificates, and the
//! variables of cargo and of the tests themselves, are inherited.

use std::ffi::{OsStr, OsString};
use std::process::Command;

/// Names of variables that are removed, in lower case, since proxies are read in both.
const NAMES: &[&str] = &[
    // Programs choose colours, progress and widths by these.
    "ci",
    "clicolor",
    "clicolor_force",
    "colorterm",
    "columns",
    "force_color",
    "lines",
    "no_color",
    "tf_build",
    // Messages, sorting and time of the C library.
    "lang",
    "language",
    "term",
    "tz",
    // Output of programs written in Rust.
    "rust_backtrace",
    "rust_lib_backtrace",
    "rust_log",
    "rust_log_style",
    // Clients would connect to a proxy instead of the tests' servers.
    "all_proxy",
    "ftp_proxy",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    // What the manager of a service passes on to its process.
    "cache_directory",
    "configuration_directory",
    "credentials_directory",
    "invocation_id",
    "journal_stream",
    "listen_fdnames",
    "listen_fds",
    "listen_pid",
    "logs_directory",
    "mainpid",
    "notify_socket",
    "runtime_directory",
    "state_directory",
    "watchdog_pid",
    "watchdog_usec",
    // Sockets that nginx would take over.
    "nginx",
    // Preferences of shells, editors and tools.
    "bash_env",
    "browser",
    "cdpath",
    "curl_home",
    "editor",
    "env",
    "openssl_conf",
    "pager",
    "posixly_correct",
    "sslkeylogfile",
    "tar_options",
    "visual",
];

/// Beginnings of the names of variables that are removed, in lower case: locales; parameters of PostgreSQL's clients;
/// settings of git, SSH, systemd and the desktop; and jobs of continuous integration.
const BEGINNINGS: &[&str] =
    &["buildkite_", "ci_", "git_", "github_", "gitlab_", "lc_", "pg", "ssh_", "systemd_", "xdg_"];

/// Variables that are set, unless the command has its own.
const SET: [(&str, &str); 3] = [("LANG", "C.UTF-8"), ("TERM", "dumb"), ("TZ", "UTC")];

/// Gives a command the environment of programs that are tested: inherited without the variables that change results,
/// with a defined language, terminal and time zone. What the command sets or removes itself stays.
pub(crate) fn define(command: &mut Command) {
    define_with(command, std::env::vars_os().map(|(name, _)| name));
}

/// Does the same for the names of inherited variables.
fn define_with(command: &mut Command, inherited: impl Iterator<Item = OsString>) {
    let own: Vec<OsString> = command.get_envs().map(|(name, _)| name.to_owned()).collect();
    let is_own = |name: &OsStr| own.iter().any(|own| own == name);
    for name in inherited.filter(|name| !is_own(name) && changes_results(name)) {
        command.env_remove(name);
    }
    for (name, value) in SET.iter().filter(|(name, _)| !is_own(OsStr::new(name))) {
        command.env(name, value);
    }
}

/// Returns `true` if a variable with this name may change the result of a test.
fn changes_results(name: &OsStr) -> bool {
    // Those that are removed are ASCII.
    let Some(name) = name.to_str().map(str::to_ascii_lowercase) else { return false };
    NAMES.contains(&name.as_str()) || BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Returns the variables that a command sets (`Some`) and removes, where these are inherited.
    fn defined(mut command: Command, inherited: &[&str]) -> BTreeMap<String, Option<String>> {
        define_with(&mut command, inherited.iter().map(OsString::from));
        let text = |text: &OsStr| text.to_string_lossy().into_owned();
        command.get_envs().map(|(name, value)| (text(name), value.map(text))).collect()
    }

    #[test]
    fn what_a_job_or_a_terminal_sets_is_removed() {
        let hostile = [
            "CI",
            "GITHUB_ACTIONS",
            "GITLAB_CI",
            "NO_COLOR",
            "CLICOLOR_FORCE",
            "FORCE_COLOR",
            "COLUMNS",
            "RUST_LOG",
            "RUST_BACKTRACE",
            "LANGUAGE",
            "LC_ALL",
            "LC_MESSAGES",
            "PGHOST",
            "PGUSER",
            "PGPASSWORD",
            "PGSERVICEFILE",
            "http_proxy",
            "HTTPS_PROXY",
            "no_proxy",
            "XDG_CONFIG_HOME",
            "XDG_RUNTIME_DIR",
            "EDITOR",
            "GIT_DIR",
            "GIT_CONFIG_COUNT",
            "SSH_AUTH_SOCK",
            "NOTIFY_SOCKET",
            "JOURNAL_STREAM",
            "CREDENTIALS_DIRECTORY",
            "SSLKEYLOGFILE",
        ];
        let defined = defined(Command::new("x"), &hostile);
        for name in hostile {
            assert_eq!(defined.get(name), Some(&None), "{name}");
        }
    }

    #[test]
    fn what_tools_and_the_tests_themselves_need_is_kept() {
        let needed = [
            "PATH",
            "HOME",
            "USER",
            "TMPDIR",
            "CARGO",
            "CARGO_HOME",
            "CARGO_TARGET_DIR",
            "CARGO_HTTP_CAINFO",
            "RUSTUP_HOME",
            "RUSTUP_TOOLCHAIN",
            "RUSTFLAGS",
            "RUST_TEST_THREADS",
            "SSL_CERT_FILE",
            "SSL_CERT_DIR",
            "NIX_SSL_CERT_FILE",
            "CURL_CA_BUNDLE",
            "REQUESTS_CA_BUNDLE",
            "NODE_EXTRA_CA_CERTS",
            "PIP_CERT",
            "PIP_INDEX_URL",
            "NODE_PATH",
            "npm_config_registry",
            "GOPROXY",
            "GOCACHE",
            "PYTHONPATH",
            "PROPTEST_CASES",
            "UPGRADE_INTERVAL",
            "WRITE_REFERENCES",
            "LD_LIBRARY_PATH",
        ];
        let defined = defined(Command::new("x"), &needed);
        assert_eq!(defined.keys().collect::<Vec<_>>(), ["LANG", "TERM", "TZ"]);
    }

    #[test]
    fn language_terminal_and_time_zone_are_defined_and_a_command_has_its_own() {
        let defined_with = |command, name: &str| {
            defined(command, &["LANG", "TERM", "TZ", "LC_ALL"]).get(name).cloned().flatten()
        };
        assert_eq!(defined_with(Command::new("x"), "LANG").as_deref(), Some("C.UTF-8"));
        assert_eq!(defined_with(Command::new("x"), "TZ").as_deref(), Some("UTC"));
        let mut command = Command::new("x");
        command.env("LC_ALL", "de_DE.UTF-8").env("TERM", "xterm").env_remove("LANG");
        let all = defined(command, &["LANG", "TERM", "TZ", "LC_ALL"]);
        assert_eq!(all["LC_ALL"].as_deref(), Some("de_DE.UTF-8"));
        assert_eq!((all["TERM"].as_deref(), all["LANG"].as_deref()), (Some("xterm"), None));
    }

    /// The process gets what is defined, whatever this one was started with.
    #[test]
    fn a_process_has_the_environment() {
        let mut command = Command::new("env");
        define(&mut command);
        let output = command.output().expect("env runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let names: Vec<&str> =
            text.lines().filter_map(|line| line.split_once('=').map(|(name, _)| name)).collect();
        assert!(names.contains(&"PATH") && text.contains("TERM=dumb\n"), "{text}");
        let set = |name: &&&str| SET.iter().any(|(set, _)| set == *name);
        let left: Vec<_> =
            names.iter().filter(|name| !set(name) && changes_results(OsStr::new(name))).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}
