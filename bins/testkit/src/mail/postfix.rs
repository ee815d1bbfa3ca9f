//! Postfix, with Dovecot for authentication.

use super::{CertificateFiles, listening, until};
use crate::free_port;
use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// User ID of `nobody`, which receives the mail.
const NOBODY: u32 = 65_534;

/// Postfix with one account, which may send only as one address of example.org. Mail for example.org is delivered to
/// one folder, whatever its recipient. It requires root, listens on 127.0.0.1, and is stopped when dropped.
pub struct Postfix {
    folder: TempDir,
    master: Child,
    dovecot: Child,
    /// TCP port for implicit TLS.
    pub smtps: u16,
    /// TCP port for STARTTLS, which offers AUTH only after it.
    pub submission: u16,
    /// TCP port for STARTTLS, which offers AUTH before it, too.
    pub careless: u16,
}

impl Postfix {
    /// Starts the server with this certificate for an account, with its password, that sends as `ACCOUNT@example.org`.
    ///
    /// # Panics
    /// Panics like [`start_for`](Self::start_for).
    pub fn start(pair: &CertificateFiles, account: &str, password: &str) -> Self {
        Self::start_for(pair, account, password, account)
    }

    /// Starts the server with this certificate, for one account with its password, which may send only as
    /// `SENDER@example.org`.
    ///
    /// # Panics
    /// Panics if Postfix or Dovecot is not installed, this process is not root, or the server does not listen within 60
    /// s.
    pub fn start_for(pair: &CertificateFiles, account: &str, password: &str, sender: &str) -> Self {
        assert!(
            Path::new("/usr/sbin/postfix").exists() && Path::new("/usr/sbin/dovecot").exists(),
            "postfix and dovecot are missing: cargo xtask tools"
        );
        let folder = tempfile::Builder::new().prefix("postfix-").tempdir_in("/tmp").expect("a folder");
        let root = folder.path().to_owned();
        std::fs::set_permissions(&root, Permissions::from_mode(0o755)).expect("a mode");
        for name in ["conf", "queue", "mail", "data", "dovecot"] {
            std::fs::create_dir(root.join(name)).expect("a folder");
        }
        chown(root.join("mail"), Some(NOBODY), Some(NOBODY)).expect("root: mail servers take it");
        let owned = Command::new("chown").arg("postfix").arg(root.join("data")).status().expect("chown");
        assert!(owned.success(), "the user of postfix: cargo xtask tools");
        let at = |name: &str| root.join(name).display().to_string();
        std::fs::write(root.join("users"), format!("{account}:{{PLAIN}}{password}\n")).expect("a file");
        let (smtps, submission, careless) = (free_port(), free_port(), free_port());
        std::fs::write(root.join("dovecot.conf"), dovecot(&root)).expect("a file");
        let main = format!(
            "compatibility_level = 3.6\nqueue_directory = {queue}\ndata_directory = {data}\n\
             command_directory = /usr/sbin\ndaemon_directory = /usr/lib/postfix/sbin\n\
             mail_owner = postfix\nsetgid_group = postdrop\nmyhostname = mail.example.org\n\
             inet_interfaces = loopback-only\ninet_protocols = ipv4\nmydestination =\nmynetworks =\n\
             virtual_mailbox_domains = example.org\nvirtual_mailbox_base = {mail}\n\
             virtual_mailbox_maps = static:box/\nvirtual_uid_maps = static:{NOBODY}\n\
             virtual_gid_maps = static:{NOBODY}\nvirtual_minimum_uid = 100\n\
             maillog_file = {log}\nmaillog_file_prefixes = {root}\n\
             smtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = dovecot\nsmtpd_sasl_path = {auth}\n\
             smtpd_tls_chain_files = {key}, {chain}\nsmtpd_tls_security_level = may\nsmtpd_delay_reject = no\n\
             smtpd_sender_login_maps = inline:{{ {{{sender}@example.org = {account}}} }}\n\
             smtpd_sender_restrictions = reject_sender_login_mismatch\n\
             smtpd_relay_restrictions = permit_sasl_authenticated, reject\n",
            queue = at("queue"),
            data = at("data"),
            mail = at("mail"),
            log = at("log"),
            auth = at("auth"),
            root = root.display(),
            key = pair.key.display(),
            chain = pair.chain.display(),
        );
        std::fs::write(root.join("conf/main.cf"), main).expect("a file");
        let master = format!(
            "127.0.0.1:{smtps} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes -o smtpd_tls_auth_only=yes\n\
             127.0.0.1:{submission} inet n - n - - smtpd -o smtpd_tls_auth_only=yes\n\
             127.0.0.1:{careless} inet n - n - - smtpd -o smtpd_tls_auth_only=no\n\
             cleanup unix n - n - 0 cleanup\nqmgr unix n - n 300 1 qmgr\n\
             rewrite unix - - n - - trivial-rewrite\nbounce unix - - n - 0 bounce\n\
             defer unix - - n - 0 bounce\ntrace unix - - n - 0 bounce\nproxymap unix - - n - - proxymap\n\
             tlsmgr unix - - n 1000? 1 tlsmgr\nvirtual unix - n n - - virtual\nanvil unix - - n - 1 anvil\n\
             error unix - - n - - error\nretry unix - - n - - error\npostlog unix-dgram n - n - 1 postlogd\n"
        );
        std::fs::write(root.join("conf/master.cf"), master).expect("a file");
        let dovecot = Command::new("/usr/sbin/dovecot")
            .args(["-F", "-c"])
            .arg(root.join("dovecot.conf"))
            .stdin(Stdio::null())
            .spawn()
            .expect("dovecot starts");
        let master = Command::new("/usr/sbin/postfix")
            .arg("-c")
            .arg(root.join("conf"))
            .arg("start-fg")
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("postfix starts");
        let postfix = Self { folder, master, dovecot, smtps, submission, careless };
        until("postfix and dovecot listen", || {
            postfix.folder.path().join("auth").exists()
                && [smtps, submission, careless].iter().all(|port| listening(*port))
        });
        postfix
    }

    /// Waits until a message that contains `words` is delivered, and returns its text.
    ///
    /// # Panics
    /// Panics if no such message is delivered within 60 s.
    pub fn delivered(&self, words: &str) -> String {
        let new = self.folder.path().join("mail/box/new");
        let mut found = None;
        until(&format!("a message with {words:?} arrives"), || {
            let entries = std::fs::read_dir(&new).into_iter().flatten().flatten();
            let texts = entries.filter_map(|entry| std::fs::read_to_string(entry.path()).ok());
            found = texts.into_iter().find(|text| text.contains(words));
            found.is_some()
        });
        found.expect("it is there")
    }

    /// Returns the command, with its arguments, by which the server reloads its certificate. It is not run.
    pub fn reload(&self) -> Vec<String> {
        let conf = self.folder.path().join("conf").display().to_string();
        ["/usr/sbin/postfix", "-c", &conf, "reload"].map(str::to_owned).to_vec()
    }

    /// Returns the content of the log. Empty if there is none.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        let conf: PathBuf = self.folder.path().join("conf");
        let _ =
            Command::new("/usr/sbin/postfix").arg("-c").arg(conf).arg("abort").stderr(Stdio::null()).status();
        let _ = Command::new("kill").arg(self.dovecot.id().to_string()).status();
        let _ = self.master.wait();
        let _ = self.dovecot.wait();
    }
}

/// Returns the configuration of Dovecot: only authentication, by the file `users` in the folder `root`, at the socket
/// `auth` there.
fn dovecot(root: &Path) -> String {
    let root = root.display();
    format!(
        "base_dir = {root}/dovecot\nstate_dir = {root}/dovecot\nlog_path = {root}/dovecot.log\nprotocols =\nssl = no\n\
         auth_mechanisms = plain login\ndisable_plaintext_auth = no\n\
         passdb {{\n  driver = passwd-file\n  args = scheme=PLAIN username_format=%u {root}/users\n}}\n\
         userdb {{\n  driver = static\n  args = uid={NOBODY} gid={NOBODY} home={root}\n}}\n\
         service auth {{\n  unix_listener {root}/auth {{\n    mode = 0666\n  }}\n}}\n"
    )
}
