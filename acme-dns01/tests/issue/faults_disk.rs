//! Disks: ended, or refused, at every system call that writes (7); full, or not ours (21).

use crate::lab::{Lab, certificate, names};
use acme_dns01::client::{KeyPair, self_signed, verify_pair};
use acme_dns01::engine::{Renewal, RoundOutcome};
use acme_dns01::store::{CertificatePair, FileStore, Ownership, Store, StoreError};
use acme_dns01::{KeyType, Record, State, Time};
use secrecy::ExposeSecret;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use testkit::PebbleVersion;

const ID: &str = "a.example.test";
/// Where the store of the process is that is ended.
const FOLDER: &str = "ACME_TEST_STORE";
/// The system calls by which the store changes something, and an error that each may give.
const WRITES: [(&str, &str); 13] = [
    ("mkdir", "EACCES"),
    ("openat", "EACCES"),
    ("write", "ENOSPC"),
    ("fsync", "ENOSPC"),
    ("fdatasync", "ENOSPC"),
    ("fchmod", "EPERM"),
    ("fchown", "EPERM"),
    ("symlink", "ENOSPC"),
    ("rename", "EACCES"),
    ("renameat2", "EACCES"),
    ("unlink", "EACCES"),
    ("unlinkat", "EACCES"),
    ("rmdir", "EACCES"),
];

/// Returns a group that nobody is in, or for an ordinary user its own, since it may give files to no other.
fn group() -> u32 {
    let own = std::fs::metadata("/proc/self").expect("Linux");
    if own.uid() == 0 { 48_213 } else { own.gid() }
}

fn pair(seconds: u64) -> CertificatePair {
    let made = self_signed(&names(&[ID]), KeyType::Ec256, Time::from_secs(seconds));
    let (chain, key) = made.expect("a pair");
    CertificatePair { chain, key }
}

fn open(home: &Path) -> FileStore {
    FileStore::open(home.join("acme"), Ownership { group: Some(group()), ..Ownership::default() })
        .expect("a store")
}

/// What a renewal does to a store.
async fn renew(store: &FileStore, next: &CertificatePair) -> Result<(), StoreError> {
    store.save_pending_key(ID, &next.key).await?;
    store.append(ID, &Record::Ordering { at: Time::from_secs(1) }).await?;
    store.stage(ID, next).await?;
    store.install(ID).await?;
    store.append(ID, &Record::Deployed { at: Time::from_secs(2) }).await?;
    store.compact(ID, &State::default()).await
}

/// The pair that is in place, which is whole: every file is of it, and has its rights.
#[track_caller]
fn in_place(home: &Path) -> CertificatePair {
    let folder = home.join("acme").join(ID);
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect("a file");
    let mode = |path: &Path| {
        let found = path.metadata().expect("it is there");
        (found.mode() & 0o7777, found.gid())
    };
    assert_eq!(mode(&folder), (0o750, group()));
    for name in ["fullchain.pem", "key.pem", "chain.pem", "full.pem", "cert.pem"] {
        assert_eq!(mode(&folder.join(name)), (0o640, group()), "{name}");
    }
    assert_eq!(read("full.pem"), read("key.pem") + &read("fullchain.pem"));
    assert_eq!((read("cert.pem"), read("chain.pem")), (read("fullchain.pem"), String::new()));
    assert_eq!(std::fs::read_dir(&folder).expect("a folder").count(), 5, "nothing else is in it");
    let pair = CertificatePair { chain: read("fullchain.pem"), key: read("key.pem").into() };
    let key = KeyPair::from_pem(&pair.key).expect("a key");
    verify_pair(&pair.chain, &key, &names(&[ID])).expect("they belong together");
    pair
}

/// Runs this test in another process whose `number`th call of this name is tampered with. How it ended, what it said, and
/// whether there were so many calls.
fn tampered(test: &str, home: &Path, call: &str, with: &str, number: usize) -> (ExitStatus, String, bool) {
    let log = home.join("strace");
    let output = Command::new("/usr/bin/strace")
        .args(["-f", "-qqq", "-e", &format!("trace={call}")])
        .args(["-e", &format!("inject={call}:{with}:when={number}"), "-o"])
        .arg(&log)
        .arg(std::env::current_exe().expect("this program"))
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(FOLDER, home)
        .stdin(Stdio::null())
        .output()
        .expect("strace is there; cargo xtask tools installs it");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let log = std::fs::read_to_string(&log).expect("a log of strace");
    let hit = log.contains("(INJECTED)") || output.status.signal() == Some(9);
    (output.status, said, hit)
}

/// The part of the process that is tampered with.
fn renews_in(home: &Path) {
    let read = |name: &str| std::fs::read_to_string(home.join(name)).expect("a file");
    let next = CertificatePair { chain: read("next.pem"), key: read("next.key").into() };
    // One thread for files, so that calls are counted in one place.
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build();
    if let Err(why) = runtime.expect("a runtime").block_on(renew(&open(home), &next)) {
        eprintln!("refused: {why}");
        std::process::exit(3);
    }
}

/// Goes through every call of each name, and looks at what is left. How many calls there were.
fn at_every_write(test: &str, with: impl Fn(&str) -> String + Sync) -> usize {
    let (old, next) = (pair(1_800_000_000), pair(1_900_000_000));
    let (turn, calls) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        while let Some((call, error)) = WRITES.get(turn.fetch_add(1, Ordering::Relaxed)) {
            for number in 1.. {
                let folder = tempfile::tempdir().expect("a folder");
                let home = folder.path();
                let store = open(home);
                runtime.block_on(async {
                    store.stage(ID, &old).await.expect("it is staged");
                    store.install(ID).await.expect("it is installed");
                });
                std::fs::write(home.join("next.pem"), &next.chain).expect("a file");
                std::fs::write(home.join("next.key"), next.key.expose_secret()).expect("a file");
                let (status, said, hit) = tampered(test, home, call, &with(error), number);
                if !hit {
                    assert!(status.success(), "{call} {number}: {status}: {said}");
                    break;
                }
                calls.fetch_add(1, Ordering::Relaxed);
                let about = format!("{call} {number}: {status}: {said}");
                let found = in_place(home);
                let (is_old, is_new) = (found.chain == old.chain, found.chain == next.chain);
                assert!(is_old || is_new, "{about}");
                assert!(is_new || !status.success(), "a failure that nobody hears of: {about}");
                // Everything is done once more, as after a restart, and the way back is there.
                runtime.block_on(async {
                    store.journal(ID).await.expect("a journal that can be read");
                    renew(&store, &next).await.expect("nothing is in the way");
                    assert_eq!(in_place(home).chain, next.chain, "{about}");
                    assert!(store.pending_key(ID).await.expect("the store").is_none(), "{about}");
                    assert!(store.exchange(ID).await.expect("the store"), "no way back: {about}");
                });
                assert_eq!(in_place(home).chain, old.chain, "{about}");
            }
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            thread.join().expect("nothing is mixed");
        }
    });
    calls.into_inner()
}

#[test]
fn fault_07_ended_at_every_system_call_that_writes() {
    if let Some(home) = std::env::var_os(FOLDER) {
        return renews_in(Path::new(&home));
    }
    let test = "faults_disk::fault_07_ended_at_every_system_call_that_writes";
    let calls = at_every_write(test, |_| "signal=SIGKILL".to_owned());
    assert!(calls > 50, "only {calls} calls were found");
}

#[test]
fn fault_21_refused_at_every_system_call_that_writes() {
    if let Some(home) = std::env::var_os(FOLDER) {
        return renews_in(Path::new(&home));
    }
    let test = "faults_disk::fault_21_refused_at_every_system_call_that_writes";
    let calls = at_every_write(test, |error| format!("error={error}"));
    assert!(calls > 50, "only {calls} calls were found");
}

/// A disk of its own, which takes root.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: PathBuf, size: &str) -> Self {
        std::fs::create_dir(&at).expect("a folder");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size},mode=755"), "acme-test"]).arg(&at);
        assert!(mount.status().expect("mount").success(), "a disk of one's own takes root");
        Self(at)
    }

    /// Fills it but for so many bytes.
    fn fill(&self, but: u64) {
        let ballast = self.0.join("ballast");
        let full = std::fs::write(&ballast, vec![0; 4 << 20]).expect_err("it is smaller");
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
        let file = std::fs::OpenOptions::new().write(true).open(&ballast).expect("a file");
        file.set_len(file.metadata().expect("a size").len() - but).expect("it is cut");
    }

    fn empty(&self) {
        std::fs::remove_file(self.0.join("ballast")).expect("a file");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[tokio::test]
async fn fault_21_a_full_disk_leaves_the_old_certificate() {
    if !testkit::needs_root("acme-dns01: fault_21_a_full_disk_leaves_the_old_certificate") {
        return;
    }
    let lab = Lab::start(PebbleVersion::V2_4);
    let disk = Disk::mount(lab.folder.path().join("acme"), "512k");
    let certificate = certificate(&[ID]);
    let engine = lab.engine();
    assert_eq!(
        engine.round(&certificate, Renewal::WhenDue).await.outcome,
        RoundOutcome::Issued,
        "{}",
        lab.said()
    );
    let current = || async { lab.store().current(ID).await.expect("the store").expect("a pair").chain };
    let mut failed = 0;
    // Room for nothing at first, and then for one more file each time.
    for pages in 0..12 {
        let before = current().await;
        disk.fill(pages * 4096);
        let outcome = engine.round(&certificate, Renewal::Forced).await;
        match &outcome.outcome {
            RoundOutcome::Failed { reason: why, .. } => {
                failed += 1;
                let path = lab.folder.path().join("acme").display().to_string();
                assert!(why.contains(&path) && why.contains("make room"), "{why}");
                assert_eq!(current().await, before, "{why}");
            }
            how => assert_eq!(*how, RoundOutcome::Issued, "{}", lab.said()),
        }
        disk.empty();
        if failed > pages as usize {
            // Room again: the same order goes on where there is one.
            assert_eq!(
                engine.round(&certificate, Renewal::Forced).await.outcome,
                RoundOutcome::Issued,
                "{}",
                lab.said()
            );
        }
        assert_ne!(current().await, before);
    }
    assert!((3..12).contains(&failed), "{failed} of 12 failed");
    assert_eq!(lab.pebble.logged("There are now 14 orders"), 0, "an order a renewal: {}", lab.said());
    assert!(lab.knot.txt("_acme-challenge.a.example.test").is_empty());
    assert!(lab.said().contains("error: "), "{}", lab.said());
}

#[tokio::test]
async fn a_link_in_place_of_the_folder_is_named_and_not_replaced() {
    let home = tempfile::tempdir().expect("a folder");
    let store = open(home.path());
    let (first, second) = (pair(1_800_000_000), pair(1_800_000_001));
    renew(&store, &first).await.expect("it is renewed");
    let (folder, elsewhere) = (home.path().join("acme").join(ID), home.path().join("shared"));
    std::fs::rename(&folder, &elsewhere).expect("a folder");
    std::os::unix::fs::symlink(&elsewhere, &folder).expect("a link");
    let findings = store.check(ID).await.expect("a check");
    assert!(!findings[0].fine && findings[0].message.contains("symbolic link to"), "{findings:?}");
    // Before an order, and before the installation.
    let key = store.save_pending_key(ID, &second.key).await.expect_err("it is refused").to_string();
    let staged = store.stage(ID, &second).await.expect_err("it is refused").to_string();
    for why in [key, staged] {
        assert!(why.contains(&folder.display().to_string()) && why.contains("move the folder"), "{why}");
    }
    assert!(folder.is_symlink());
    assert_eq!(store.current(ID).await.expect("a pair").expect("a pair").chain, first.chain);
}

#[tokio::test]
async fn a_file_in_place_of_the_staged_folder_is_removed() {
    let home = tempfile::tempdir().expect("a folder");
    let store = open(home.path());
    renew(&store, &pair(1_800_000_000)).await.expect("it is renewed");
    let private = home.path().join("acme/.acme-dns01/certificates").join(ID);
    std::fs::write(private.join("staged"), "").expect("a file");
    let next = pair(1_800_000_001);
    renew(&store, &next).await.expect("it is renewed");
    assert_eq!(in_place(home.path()).chain, next.chain);
}

#[tokio::test]
async fn a_damaged_ledger_and_a_damaged_account_key_say_what_to_do() {
    let lab = Lab::start(PebbleVersion::V2_4);
    let private = lab.folder.path().join("acme/.acme-dns01");
    let certificate = certificate(&["a.example.test"]);
    let failed = async || match lab.engine().round(&certificate, Renewal::Forced).await.outcome {
        RoundOutcome::Failed { reason, .. } => reason,
        how => panic!("{how:?}"),
    };
    let first = lab.engine().round(&certificate, Renewal::WhenDue).await.outcome;
    assert_eq!(first, RoundOutcome::Issued, "{}", lab.said());
    let account = std::fs::read_dir(private.join("accounts")).expect("a folder").next();
    let key = account.expect("an account").expect("an entry").path().join("key.pem");
    let good = std::fs::read(&key).expect("a file");
    std::fs::write(&key, "-----BEGIN").expect("a file");
    let why = failed().await;
    assert!(why.contains("key.pem of .acme-dns01/accounts/") && why.contains("backup"), "{why}");
    std::fs::write(&key, good).expect("a file");
    std::fs::write(private.join("ledger.json"), "{").expect("a file");
    let why = failed().await;
    assert!(why.contains("ledger.json") && why.contains("move the file away"), "{why}");
}
