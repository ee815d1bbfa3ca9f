//! The process is ended by SIGKILL: after each line of its journal, and at random, again and again until it is done.

use crate::lab::Lab;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use testkit::postgres::{Options, Postgres};

/// One certificate of its own, in a folder of its own, of a laboratory that others use too.
struct CrashTrial<'l> {
    lab: &'l Lab,
    number: usize,
    /// The reference of a database that all of them share.
    database: Option<&'l str>,
}

impl CrashTrial<'_> {
    fn folder(&self) -> String {
        format!("acme-{}", self.number)
    }

    fn name(&self) -> String {
        format!("k{}.example.test", self.number)
    }

    fn own(&self) -> PathBuf {
        self.lab.path(&self.folder()).join(".acme-dns01/certificates").join(self.site())
    }

    fn site(&self) -> String {
        format!("site-{}", self.number)
    }

    fn configure(&self) {
        let first = self.database.map(|database| format!("database = \"{database}\"\n"));
        let text = self.lab.configuration(&self.folder(), &first.unwrap_or_default(), "");
        let text = text.replace("a.example.test", &self.name());
        let text = text.replace("name = \"site\"", &format!("name = \"{}\"", self.site()));
        std::fs::write(self.lab.path(&format!("{}.toml", self.folder())), text).expect("a file");
    }

    fn start(&self) -> Child {
        Command::new(env!("CARGO_BIN_EXE_acme-dns01"))
            .arg("--config")
            .arg(self.lab.path(&format!("{}.toml", self.folder())))
            .arg("once")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(self.lab.path(&format!("{}.log", self.folder()))).expect("a log"))
            .spawn()
            .expect("the program was built")
    }

    fn lines(&self) -> usize {
        let journal = std::fs::read(self.own().join("journal")).unwrap_or_default();
        journal.iter().filter(|byte| **byte == b'\n').count()
    }

    /// Runs until it ends, or until `enough` says so, which kills it. Its status, if it ended by itself.
    fn run(&self, enough: impl Fn(Duration) -> bool) -> Option<ExitStatus> {
        let mut child = self.start();
        let began = Instant::now();
        loop {
            if let Some(status) = child.try_wait().expect("a child") {
                return Some(status);
            }
            if enough(began.elapsed()) {
                child.kill().expect("it runs");
                child.wait().expect("a child");
                return None;
            }
            assert!(began.elapsed() < Duration::from_secs(100), "it does not end: {}", self.said());
            std::thread::sleep(Duration::from_micros(500));
        }
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.lab.path(&format!("{}.log", self.folder()))).unwrap_or_default()
    }

    /// Undisturbed, it comes to a certificate, with its key, and nothing is left.
    fn is_done(&self, about: &str) {
        let read = |name: &str| {
            std::fs::read_to_string(self.lab.path(&self.folder()).join(self.site()).join(name))
                .expect("a file")
        };
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let status = self.run(|_| false);
            assert_eq!(status.and_then(|status| status.code()), Some(0), "{about}: {}", self.said());
            // A server takes a moment to see that a process is gone, and holds its lock until then.
            if self.database.is_none() || read("fullchain.pem").matches("BEGIN CERTIFICATE").count() > 1 {
                break;
            }
            assert!(Instant::now() < until, "{about}: {}", self.said());
        }
        let pair = (read("fullchain.pem"), read("key.pem"));
        assert!(pair.0.matches("BEGIN CERTIFICATE").count() > 1, "{about}: not of the CA");
        assert_eq!(read("full.pem"), format!("{}{}", pair.1, pair.0), "{about}");
        assert!(belong_together(&pair.0, &pair.1), "{about}: a key that is not the certificate's");
        let challenge = format!("_acme-challenge.{}", self.name());
        assert!(self.lab.knot.txt(&challenge).is_empty(), "{about}: a TXT record is left");
        let left = |name: &str| self.own().join(name).exists();
        assert!(!left("pending-key.pem") && !left("staged"), "{about}: something is left");
    }
}

fn belong_together(chain: &str, key: &str) -> bool {
    let public = |arguments: &[&str], text: &str| {
        let mut child = Command::new("/usr/bin/openssl")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("openssl");
        std::io::Write::write_all(&mut child.stdin.take().expect("piped"), text.as_bytes())
            .expect("it reads");
        child.wait_with_output().expect("openssl").stdout
    };
    let of_key = public(&["pkey", "-pubout"], key);
    !of_key.is_empty() && of_key == public(&["x509", "-noout", "-pubkey"], chain)
}

/// How many orders and accounts there are at the CA, by what it said last.
fn made(lab: &Lab, what: &str) -> usize {
    let log = lab.pebble.log();
    let counts = log.lines().filter_map(|line| {
        line.split_once("There are now ")?.1.split_once(&format!(" {what}"))?.0.parse::<usize>().ok()
    });
    counts.max().unwrap_or(0)
}

/// Works on as many at once as there are threads.
fn each(count: usize, work: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    let work = || loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= count {
            return;
        }
        work(number);
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..6).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            if let Err(why) = thread.join() {
                std::panic::resume_unwind(why);
            }
        }
    });
}

#[test]
fn fault_27_the_process_is_killed_after_each_line_of_its_journal() {
    let lab = Lab::start();
    let undisturbed = CrashTrial { lab: &lab, number: 0, database: None };
    undisturbed.configure();
    undisturbed.is_done("undisturbed");
    let lines = undisturbed.lines();
    assert!(lines > 10, "{lines} lines");
    let kills = AtomicUsize::new(0);
    each(lines, |line| {
        let one = CrashTrial { lab: &lab, number: line + 1, database: None };
        one.configure();
        let about = format!("killed after line {}", line + 1);
        let ended = one.run(|_| one.lines() > line);
        kills.fetch_add(usize::from(ended.is_none()), Ordering::Relaxed);
        one.is_done(&about);
    });
    // Its last lines follow upon each other so soon that it may be at its end before it is killed.
    let kills = kills.into_inner();
    assert!(kills >= lines - 4, "killed {kills} times only, of {lines}");
    assert_eq!(made(&lab, "orders"), lines + 1, "one order a certificate");
    assert_eq!(made(&lab, "accounts"), lines + 1, "one account a store");
    assert_eq!(lab.pebble.logged("Issued certificate"), lines + 1);
}

/// Kills each of so many at random until it is done, and looks at all of them.
fn at_random(lab: &Lab, count: usize, database: Option<&str>) {
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_nanos() as u64;
    eprintln!("seed {seed}");
    each(count, |number| {
        let one = CrashTrial { lab, number, database };
        one.configure();
        let mut dice = seed ^ (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut kills = 0;
        // Each time it may live a little longer, so that it comes to its end some time.
        for round in 0..60 {
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            let lives = Duration::from_millis(dice % (40 + 25 * round));
            if one.run(|elapsed| elapsed >= lives).is_some() {
                break;
            }
            kills += 1;
        }
        assert!(kills > 2, "it was killed {kills} times only");
        one.is_done(&format!("seed {seed}, try {number}, killed {kills} times"));
    });
    assert_eq!(made(lab, "orders"), count, "seed {seed}: one order a certificate");
    assert_eq!(lab.pebble.logged("Issued certificate"), count, "seed {seed}");
}

#[test]
fn fault_27_the_process_is_killed_at_random_until_it_is_done() {
    let lab = Lab::start();
    at_random(&lab, 12, None);
    assert_eq!(made(&lab, "accounts"), 12, "one account a store");
}

#[test]
fn fault_27_the_process_is_killed_at_random_with_a_database_that_is_shared() {
    let lab = Lab::start();
    let postgres = Postgres::start(&Options::new(18));
    let config =
        format!("host={} port={} user=postgres", postgres.socket_folder().display(), postgres.port());
    lab.secret("database", &config);
    let reference = format!("file:{}", lab.path("database").display());
    at_random(&lab, 8, Some(&reference));
    assert_eq!(made(&lab, "accounts"), 1, "one account for all of them");
    let left =
        "SELECT count(*) FROM acme_dns01_certificate WHERE pending_key IS NOT NULL OR staged_key IS NOT NULL";
    assert_eq!(postgres.session().query(left).expect("a count")[0][0].as_deref(), Some("0"));
}
