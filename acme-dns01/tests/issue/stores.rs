//! What every store has to do, in files and in PostgreSQL; and what only a shared one does.

use acme_dns01::client::{KeyPair, self_signed};
use acme_dns01::store::{
    CertificatePair, Change, Encryption, FileStore, Mirror, Ownership, PostgresStore, Store, StoreError,
    StoredAccount,
};
use acme_dns01::{Entry, KeyType, Limits, Record, State, Time};
use secrecy::ExposeSecret;
use std::sync::Arc;
use std::time::Duration;
use testkit::postgres::{Options, Postgres};

const ID: &str = "a.example.test";

fn pair() -> CertificatePair {
    let names = crate::lab::names(&[ID]);
    let (chain, key) = self_signed(&names, KeyType::Ec256, Time::from_secs(1_800_000_000)).expect("a pair");
    CertificatePair { chain, key }
}

fn shared(postgres: &Postgres) -> PostgresStore {
    let folder = postgres.socket_folder().display();
    let config = format!("host={folder} port={} user=postgres dbname=postgres", postgres.port());
    PostgresStore::new(config.parse().expect("a configuration"), &Encryption::None).expect("a store")
}

async fn keeps_what_it_is_given(store: &dyn Store) {
    let lock = store.lock(ID).await.expect("a store").expect("nobody else is here");
    assert!(store.lock(ID).await.expect("a store").is_none(), "a lock is held by one");
    assert!(!lock.is_lost());
    assert!(store.lock("another").await.expect("a store").is_some());

    assert!(store.journal(ID).await.expect("a journal").is_empty());
    let records = [Record::Ordering { at: Time::from_secs(7) }, Record::Finalizing];
    for record in &records {
        store.append(ID, record).await.expect("it is written");
    }
    assert_eq!(store.journal(ID).await.expect("a journal"), records);
    let state = State { failures: 3, ..State::default() };
    store.compact(ID, &state).await.expect("it is written");
    assert_eq!(State::replay(&store.journal(ID).await.expect("a journal")), state);

    assert!(store.current(ID).await.expect("a store").is_none());
    assert!(!store.exchange(ID).await.expect("a store"), "there is nothing to go back to");
    let missing = store.install(ID).await;
    assert!(matches!(missing, Err(StoreError::Damaged { .. })), "nothing is staged: {missing:?}");
    let key = KeyPair::generate(KeyType::Ec256).expect("a key").pem();
    store.save_pending_key(ID, &key).await.expect("it is written");
    let missing = store.install(ID).await;
    assert!(matches!(missing, Err(StoreError::Damaged { .. })), "a key is no certificate: {missing:?}");
    let pairs = [pair(), pair(), pair()];
    let current = || async { store.current(ID).await.expect("a store").expect("a pair").chain };
    for (at, pair) in pairs.iter().enumerate() {
        store.save_pending_key(ID, &pair.key).await.expect("it is written");
        store.stage(ID, pair).await.expect("it is written");
        if at > 0 {
            assert_eq!(current().await, pairs[at - 1].chain, "what is staged is not in place");
        }
        store.install(ID).await.expect("it is written");
        assert_eq!(current().await, pair.chain);
        assert!(store.pending_key(ID).await.expect("a store").is_none());
        // Once more, as after a restart before it was written down: the one before it stays the way back.
        store.stage(ID, pair).await.expect("it is written");
        store.install(ID).await.expect("it is written");
        assert_eq!(current().await, pair.chain);
        store.install(ID).await.expect("a pair is in place");
        assert_eq!(current().await, pair.chain);
    }
    for chain in [&pairs[1].chain, &pairs[2].chain, &pairs[1].chain] {
        assert!(store.exchange(ID).await.expect("a store"));
        assert_eq!(current().await, *chain);
    }
    // A key for the next order is not forgotten because something else is installed.
    let next = KeyPair::generate(KeyType::Ec256).expect("a key").pem();
    store.save_pending_key(ID, &next).await.expect("it is written");
    store.stage(ID, &pairs[0]).await.expect("it is written");
    store.install(ID).await.expect("it is written");
    let kept = store.pending_key(ID).await.expect("a store").expect("the key");
    assert_eq!(kept.expose_secret(), next.expose_secret());

    assert!(store.account("ca").await.expect("a store").is_none());
    for (url, next_key) in
        [(None, None), (Some("https://ca/1"), Some("next\n")), (Some("https://ca/1"), None)]
    {
        let account = StoredAccount {
            key: "key\n".to_owned().into(),
            url: url.map(str::to_owned),
            next_key: next_key.map(|key| key.to_owned().into()),
        };
        store.save_account("ca", &account).await.expect("it is written");
        let found = store.account("ca").await.expect("a store").expect("an account");
        assert_eq!(found.url, account.url);
        let exposed = |account: &StoredAccount| {
            (
                account.key.expose_secret().to_owned(),
                account.next_key.as_ref().map(|key| key.expose_secret().to_owned()),
            )
        };
        assert_eq!(exposed(&found), exposed(&account));
    }

    let limits = Limits::default();
    let note = |at: u64| {
        let entry = Entry::Failure { at: Time::from_secs(at), authority: "ca".into(), name: ID.into() };
        store.note(entry, Time::from_secs(at), &limits)
    };
    let noted = futures_util::future::join_all((0..8).map(|at| note(1000 + at))).await;
    assert!(noted.iter().all(Result::is_ok), "{noted:?}");
    assert_eq!(store.ledger().await.expect("a ledger").entries().count(), 8, "none is lost");
    // What no limit counts any more falls out.
    assert_eq!(note(1000 + 8 * 86_400).await.expect("a ledger").entries().count(), 1);
    assert_eq!(store.ledger().await.expect("a ledger").entries().count(), 1);
    drop(lock);
    // A connection takes a moment to end.
    for _ in 0..500 {
        if store.lock(ID).await.expect("a store").is_some() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the lock is not released");
}

#[tokio::test]
async fn files_keep_what_they_are_given() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = FileStore::open(folder.path().join("acme"), Ownership::default()).expect("a store");
    keeps_what_it_is_given(&store).await;
}

#[tokio::test]
async fn a_folder_without_a_complete_pair_is_not_an_installation() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = FileStore::open(folder.path().join("acme"), Ownership::default()).expect("a store");
    let place = store.folder(ID).expect("a folder");
    std::fs::create_dir(&place).expect("a folder, as another program makes it");
    let not_installed = async |what: &str| {
        let done = store.install(ID).await;
        assert!(matches!(done, Err(StoreError::Damaged { .. })), "{what}: {done:?}");
    };
    not_installed("an empty folder").await;
    let pair = pair();
    std::fs::write(place.join("fullchain.pem"), &pair.chain).expect("a file");
    not_installed("a chain without its key").await;
    // What is staged takes the place of the folder, and is installed from then on.
    store.stage(ID, &pair).await.expect("it is written");
    store.install(ID).await.expect("it is in place");
    store.install(ID).await.expect("it is in place already");
    std::fs::remove_file(place.join("key.pem")).expect("a file");
    not_installed("a pair that lost its key").await;
}

#[tokio::test]
async fn postgres_keeps_what_it_is_given() {
    for major in [15, 18] {
        let postgres = Postgres::start(&Options::new(major));
        // Two that begin at once make the tables once.
        let (one, other) = (shared(&postgres), shared(&postgres));
        let (ours, theirs) = tokio::join!(one.ledger(), other.ledger());
        assert!(ours.is_ok() && theirs.is_ok(), "{ours:?} {theirs:?}");
        keeps_what_it_is_given(&one).await;
    }
}

#[tokio::test]
async fn a_mirror_that_was_interrupted_is_put_in_order() {
    let postgres = Postgres::start(&Options::new(18));
    let folder = tempfile::tempdir().expect("a folder");
    let files = FileStore::open(folder.path().join("acme"), Ownership::default()).expect("a store");
    let mirror = Mirror::new(Arc::new(shared(&postgres)), files.clone());
    let _held = mirror.lock(ID).await.expect("a store").expect("nobody else is here");
    let pairs = [pair(), pair()];
    for pair in &pairs {
        mirror.stage(ID, pair).await.expect("it is written");
        mirror.install(ID).await.expect("it is written");
    }
    let own = folder.path().join("acme/.acme-dns01/certificates").join(ID);
    let read = |folder: &str| std::fs::read_to_string(own.join(folder).join("fullchain.pem")).ok();
    assert_eq!(read("previous").as_ref(), Some(&pairs[0].chain));
    // As it is when the process ends after the folders were exchanged, before the old one was put aside.
    std::fs::rename(own.join("previous"), own.join("staged")).expect("it is there");
    assert!(!mirror.refresh(ID).await.expect("it is put in order"), "what is served is the same");
    assert_eq!(read("previous").as_ref(), Some(&pairs[0].chain), "it is the way back again");
    assert_eq!(read("staged"), None);
    assert_eq!(files.current(ID).await.expect("a store").expect("a pair").chain, pairs[1].chain);
    // As it is when it ends in the middle of writing.
    let another = pair();
    std::fs::create_dir(own.join("staged")).expect("a folder");
    std::fs::write(own.join("staged/fullchain.pem"), &another.chain[..100]).expect("a file");
    assert!(!mirror.refresh(ID).await.expect("it is put in order"));
    assert_eq!(read("staged"), None);
    assert_eq!(read("previous").as_ref(), Some(&pairs[0].chain), "half a pair is no way back");
    assert_eq!(files.current(ID).await.expect("a store").expect("a pair").chain, pairs[1].chain);
}

#[tokio::test]
async fn keys_cross_a_network_by_tls_or_not_at_all() {
    // Whoever does not speak TLS is turned away, and a password is asked for, so that channels are bound.
    let hba = "local all all trust\nhostssl all all all scram-sha-256\n".to_owned();
    let postgres = Postgres::start(&Options { tls: true, hba, ..Options::new(15) });
    let made = std::thread::scope(|scope| {
        scope
            .spawn(|| {
                postgres
                    .session()
                    .query("CREATE ROLE edge LOGIN PASSWORD 'p'; GRANT ALL ON SCHEMA public TO edge")
            })
            .join()
    });
    made.expect("no panic").expect("a role");
    let root = std::fs::read_to_string(postgres.data().join("server.crt")).expect("a certificate");
    let config = format!(
        "host=localhost port={} user=edge password=p dbname=postgres channel_binding=require",
        postgres.port()
    );
    let config: tokio_postgres::Config = config.parse().expect("a configuration");
    let with = |config: &tokio_postgres::Config, encryption| {
        PostgresStore::new(config.clone(), &encryption).expect("a store")
    };
    let store = with(&config, Encryption::Tls { roots: Some(root.clone()) });
    let mut changes = store.changes().expect("it is shared");
    keeps_what_it_is_given(&store).await;
    let heard = tokio::time::timeout(Duration::from_secs(30), changes.recv()).await;
    assert_eq!(heard.expect("something is heard"), Some(Change::Anything));
    let mut loose = config.clone();
    loose.channel_binding(tokio_postgres::config::ChannelBinding::Prefer);
    for (config, encryption, words) in [
        (&loose, Encryption::None, "no encryption"),
        (&config, Encryption::Tls { roots: None }, "certificate"),
    ] {
        let why = with(config, encryption).ledger().await.expect_err("it is refused").to_string();
        assert!(why.contains(words), "{why}");
    }
    assert!(
        PostgresStore::new(config, &Encryption::Tls { roots: Some(root.replace("MII", "***")) }).is_err()
    );
}

#[tokio::test]
async fn who_lost_the_lock_writes_nothing_more() {
    let postgres = Postgres::start(&Options::new(18));
    let (one, other) = (shared(&postgres), shared(&postgres));
    let record = Record::Finalizing;
    assert!(matches!(one.append(ID, &record).await, Err(StoreError::LockLost { .. })), "without a lock");
    let lock = one.lock(ID).await.expect("a store").expect("nobody else is here");
    assert!(other.lock(ID).await.expect("a store").is_none(), "held by another process");
    one.stage(ID, &pair()).await.expect("it is written");
    one.append(ID, &record).await.expect("it is written");
    // The connection that holds the lock breaks; the one for everything else does not.
    let sql = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted";
    let killed = std::thread::scope(|scope| scope.spawn(|| postgres.session().query(sql)).join());
    let killed = killed.expect("no panic").expect("an answer");
    assert_eq!(killed.len(), 1, "{killed:?}");
    let theirs = loop {
        if let Some(lock) = other.lock(ID).await.expect("a store") {
            break lock;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    for written in [one.append(ID, &record).await, one.install(ID).await, one.exchange(ID).await.map(|_| ())]
    {
        assert!(matches!(written, Err(StoreError::LockLost { .. })), "{written:?}");
    }
    for _ in 0..500 {
        if lock.is_lost() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(lock.is_lost() && !theirs.is_lost());
    other.install(ID).await.expect("it is written");
    assert_eq!(other.journal(ID).await.expect("a journal").len(), 1);
}

#[tokio::test]
async fn news_come_over_a_restart_of_the_server() {
    let postgres = Postgres::start(&Options::new(18));
    let (one, other) = (Arc::new(shared(&postgres)), shared(&postgres));
    let mut changes = one.changes().expect("it is shared");
    let mut next = async || {
        let change = tokio::time::timeout(Duration::from_secs(30), changes.recv()).await;
        change.expect("something is heard").expect("it goes on")
    };
    assert_eq!(next().await, Change::Anything, "what came before nobody heard");
    for round in 0..2 {
        {
            let _lock = other.lock(ID).await.expect("a store").expect("nobody else is here");
            other.stage(ID, &pair()).await.expect("it is written");
            other.install(ID).await.expect("it is written");
            assert_eq!(next().await, Change::Certificate(ID.to_owned()));
            other.exchange(ID).await.expect("it is written");
            assert_eq!(next().await, Change::Certificate(ID.to_owned()));
        }
        if round == 0 {
            postgres.kill();
            assert!(matches!(other.ledger().await, Err(StoreError::Database(_))), "it is away");
            postgres.restart();
            assert_eq!(next().await, Change::Anything);
            // A store that failed is not asked again at once.
            tokio::time::sleep(Duration::from_millis(1100)).await;
        }
    }
}

/// In libpq's words, all of these in their order; the first port is one where somebody listens and says nothing.
fn among(silent: u16, servers: [&Postgres; 2]) -> PostgresStore {
    let [one, other] = servers;
    let config = format!(
        "host=127.0.0.1,{},{} port={silent},{},{} user=postgres dbname=postgres connect_timeout=2",
        one.socket_folder().display(),
        other.socket_folder().display(),
        one.port(),
        other.port()
    );
    PostgresStore::new(config.parse().expect("a configuration"), &Encryption::None).expect("a store")
}

#[tokio::test]
async fn of_several_hosts_the_one_that_can_be_written_to_is_found_again_when_it_hangs() {
    let mut options = Options::new(18);
    options.hba.push_str("local replication all trust\n");
    let primary = Postgres::start(&options);
    let standby = Postgres::standby_of(&primary);
    // It takes connections, and nobody answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("an address").port();
    let (one, other) = (among(port, [&standby, &primary]), among(port, [&standby, &primary]));
    let mut changes = one.changes().expect("it is shared");
    let mut next = async || {
        let change = tokio::time::timeout(Duration::from_secs(90), changes.recv()).await;
        change.expect("something is heard").expect("it goes on")
    };
    assert_eq!(next().await, Change::Anything);
    let pairs = [pair(), pair()];
    {
        let _lock = other.lock(ID).await.expect("a store").expect("nobody else is here");
        other.stage(ID, &pairs[0]).await.expect("it is written");
        other.install(ID).await.expect("it is written");
    }
    assert_eq!(next().await, Change::Certificate(ID.to_owned()));
    // Until the standby has it too.
    let replicated = || {
        let rows = standby.session().query("SELECT chain FROM acme_dns01_certificate");
        rows.is_ok_and(|rows| rows.len() == 1)
    };
    while !std::thread::scope(|scope| scope.spawn(replicated).join()).expect("no panic") {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    primary.freeze();
    standby.promote();
    let found = async {
        loop {
            match one.current(ID).await {
                Ok(found) => return found.expect("a pair"),
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    };
    let found =
        tokio::time::timeout(Duration::from_secs(60), found).await.expect("the promoted one is found");
    assert_eq!(found.chain, pairs[0].chain);
    assert_eq!(next().await, Change::Anything, "news come from there too");
    let _lock = other.lock(ID).await.expect("a store").expect("nobody else is here");
    other.stage(ID, &pairs[1]).await.expect("it is written");
    other.install(ID).await.expect("it is written");
    assert_eq!(next().await, Change::Certificate(ID.to_owned()));
}
