use super::key_ring::{KeyRing, SealedKind, WrappingKey};
use super::session_claim::{SessionClaim, with_claim};
use super::sessions::OfferedSession;
use super::*;
use proptest::prelude::*;
use rustls::server::StoresServerSessions;

const SECRET: &[u8] = b"an edge's secret of enough bytes, shared";

fn schedule() -> TicketSchedule {
    TicketSchedule::new(Duration::from_secs(100), Duration::from_secs(50), Duration::from_secs(5))
        .expect("it is in range")
}

fn ring(wrapping: &WrappingKey, now: u64) -> (KeyRing, Vec<SealedKey>) {
    let schedule = schedule();
    let keys: Vec<_> =
        schedule.required_epochs(now).filter_map(|epoch| wrapping.create_key(&schedule, epoch)).collect();
    let (ring, all) = KeyRing::default().merge_stored(&schedule, now, wrapping, &keys);
    assert!(all);
    (ring, keys)
}

#[test]
fn a_secret_that_can_be_guessed_is_refused() {
    struct Nowhere;
    impl SharedStore for Nowhere {
        fn keys<'a>(&'a self, _made: &'a [SealedKey]) -> StoreFuture<'a, Vec<SealedKey>> {
            Box::pin(async { Err(StoreError("nowhere".into())) })
        }
        fn put(&self, _session: SealedSession) -> StoreFuture<'_, ()> {
            Box::pin(async { Err(StoreError("nowhere".into())) })
        }
        fn take<'a>(&'a self, _id: &'a [u8; 32]) -> StoreFuture<'a, Option<Vec<u8>>> {
            Box::pin(async { Err(StoreError("nowhere".into())) })
        }
    }
    let made = Shared::new(Arc::new(Nowhere), b"short");
    assert_eq!(made.expect_err("it is short"), SharedError::Secret(5));
    assert!(Shared::new(Arc::new(Nowhere), SECRET).is_ok());
}

#[test]
fn keys_open_for_a_lifetime_and_no_longer() {
    let (schedule, wrapping) = (schedule(), WrappingKey::new(SECRET));
    let (ring, keys) = ring(&wrapping, 1000);
    let sealed = ring.seal(&schedule, 1099, SealedKind::Ticket, b"a session").expect("there is a key");
    // At another edge.
    let (other, _) = KeyRing::default().merge_stored(&schedule, 1000, &WrappingKey::new(SECRET), &keys);
    let opened = |ring: &KeyRing, now| ring.open(&schedule, now, SealedKind::Ticket, &sealed);
    assert_eq!(opened(&other, 1099).as_deref(), Some(b"a session".as_slice()));
    assert_eq!(opened(&other, 1154).as_deref(), Some(b"a session".as_slice()));
    assert_eq!(opened(&other, 1155), None);
    assert_eq!(other.merge_stored(&schedule, 1155, &wrapping, &keys).0.len(), 1);
    // Nothing seals beyond the keys that there are.
    assert_eq!(other.seal(&schedule, 1200, SealedKind::Ticket, b"a session"), None);
}

#[test]
fn what_was_sealed_for_one_thing_opens_for_no_other() {
    let (schedule, wrapping) = (schedule(), WrappingKey::new(SECRET));
    let (ring, keys) = ring(&wrapping, 1000);
    let sealed =
        ring.seal(&schedule, 1000, SealedKind::Session(&[1; 32]), b"a session").expect("there is a key");
    assert!(ring.open(&schedule, 1000, SealedKind::Session(&[1; 32]), &sealed).is_some());
    assert_eq!(ring.open(&schedule, 1000, SealedKind::Session(&[2; 32]), &sealed), None);
    assert_eq!(ring.open(&schedule, 1000, SealedKind::Ticket, &sealed), None);
    // A key is of use for its epoch only, and under its secret.
    let (first, second) = (&keys[0], &keys[1]);
    let moved = SealedKey { epoch: second.epoch, ..first.clone() };
    let (moved, all) = KeyRing::default().merge_stored(&schedule, 1000, &wrapping, &[moved]);
    assert!(moved.len() == 0 && !all);
    let other = WrappingKey::new(b"the secret of somebody else, long enough");
    let (other, all) = KeyRing::default().merge_stored(&schedule, 1000, &other, &keys);
    assert!(other.len() == 0 && !all);
}

#[test]
fn a_session_is_there_for_the_handshake_it_was_taken_for() {
    let (wishes, _receiver) = tokio::sync::mpsc::channel(1);
    let link =
        Arc::new(StoreClient::new(schedule(), Duration::from_millis(1), &IdentityMac::new(SECRET), wishes));
    let sessions = Sessions::new(link);
    let taken = || Some(SessionClaim::new([7; 32], b"session".to_vec()));
    with_claim(taken(), || {
        assert_eq!(sessions.take(&[8; 32]), None);
        assert_eq!(sessions.take(&[7; 32]).as_deref(), Some(b"session".as_slice()));
        assert_eq!(sessions.take(&[7; 32]), None);
    });
    // One that it did not look for is gone with it, however it ends.
    with_claim(taken(), || ());
    assert_eq!(sessions.take(&[7; 32]), None);
    let ended = std::panic::catch_unwind(|| with_claim(taken(), || panic!("a handshake that ends")));
    assert!(ended.is_err());
    assert_eq!(sessions.take(&[7; 32]), None);
    // Without keys nothing is kept.
    assert!(!sessions.put(vec![7; 32], b"session".to_vec()));
}

proptest! {
    /// Whatever strangers send as a ticket or as a first flight.
    #[test]
    fn nothing_of_strangers_opens(bytes in prop::collection::vec(any::<u8>(), 0..200), epoch in 9u64..13) {
        let schedule = schedule();
        let (ring, _) = ring(&WrappingKey::new(SECRET), 1000);
        let sealed = [epoch.to_be_bytes().as_slice(), &bytes].concat();
        prop_assert_eq!(ring.open(&schedule, 1000, SealedKind::Ticket, &sealed), None);
        prop_assert_eq!(ring.open(&schedule, 1000, SealedKind::Ticket, &bytes), None);
        let _ = OfferedSession::of(&bytes);
    }

    /// However it is cut into records, a ClientHello says the same.
    #[test]
    fn records_may_cut_anywhere(identity: [u8; 32], cuts in prop::collection::vec(1usize..60, 1..20)) {
        let mut hello = Vec::new();
        let vector = |list: &[u8]| [&(list.len() as u16).to_be_bytes(), list].concat();
        let mut extensions = [[0, 43].as_slice(), &vector(&[4, 3, 4, 3, 3])].concat();
        let identities = [vector(&identity).as_slice(), &[0; 4]].concat();
        let offer = [vector(&identities), vector(&[32; 33])].concat();
        extensions.extend([[0, 41].as_slice(), &vector(&offer)].concat());
        hello.extend([3; 34]);
        hello.extend([0, 0, 2, 0x13, 1, 1, 0]);
        hello.extend(vector(&extensions));
        let len = (hello.len() as u32).to_be_bytes();
        let message = [&[1, len[1], len[2], len[3]], hello.as_slice()].concat();
        let mut records = Vec::new();
        let mut rest = message.as_slice();
        for cut in cuts.iter().cycle() {
            let (part, more) = rest.split_at((*cut).min(rest.len()));
            records.extend([[22, 3, 1].as_slice(), &vector(part)].concat());
            rest = more;
            if rest.is_empty() {
                break;
            }
        }
        let early = [records.as_slice(), &[23, 3, 3, 0, 2, 1, 1]].concat();
        let offered = OfferedSession { tls13: true, identity: Some(identity) };
        prop_assert_eq!(OfferedSession::of(&early), offered);
        prop_assert_eq!(OfferedSession::of(&records[..records.len() - 1]), OfferedSession::default());
    }
}

#[tokio::test]
async fn d21_identities_of_strangers_and_replays_cost_no_query() {
    let (wishes, mut receiver) = tokio::sync::mpsc::channel(8);
    let mac = IdentityMac::new(SECRET);
    let link = StoreClient::new(schedule(), Duration::from_millis(50), &mac, wishes);
    let mut identity = [0; 32];
    link.random().fill(&mut identity).expect("random bytes");
    // Any edge with the secret knows it, and none with another.
    assert!(IdentityMac::new(SECRET).is_ours(&identity));
    assert!(!IdentityMac::new(b"another secret of enough bytes, here").is_ours(&identity));
    for at in 0..32 {
        let mut other = identity;
        other[at] ^= 1;
        assert!(link.take(other).await.is_none());
    }
    assert!(receiver.try_recv().is_err(), "a stranger asked the store");
    assert_eq!(link.metrics().refused, 32);
    // The first of ours asks, once.
    assert!(link.take(identity).await.is_none());
    assert!(receiver.try_recv().is_ok());
    assert!(link.take(identity).await.is_none());
    assert!(receiver.try_recv().is_err(), "a replay asked the store");
    // After one that was late the store is not asked for a while, and what it was not asked about is owed.
    let mut second = [0; 32];
    link.random().fill(&mut second).expect("random bytes");
    assert!(link.take(second).await.is_none());
    assert!(receiver.try_recv().is_err());
    assert_eq!(link.metrics().unavailable, 1);
    assert_eq!(link.used.take_due(link.clock() + store::DELETION_DELAY, 9).len(), 1);
}
