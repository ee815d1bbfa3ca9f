//! Passwords that were right before, which are not verified again for a time.

use crate::limits::sketch::client_key;
use aws_lc_rs::hmac;
use edge_policy::auth::basic::{Credentials, User};
use std::net::IpAddr;
use std::sync::LazyLock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::{Duration, Instant};

/// The number of buckets of the password cache.
const BUCKETS: usize = 1 << 10;
/// The number of cells in a bucket.
const BUCKET_CELLS: usize = 8;

/// Recently verified passwords, as HMAC-SHA256 tags of client, user, password, hash and existence of the user. The key
/// is random and ends with the process, so no password can be derived from the cache.
pub(super) struct PasswordCache {
    /// The random key of the tags.
    key: hmac::Key,
    /// The time at which the cache was created.
    epoch: Instant,
    /// The cells: a part of the tag, and the time of the last verification in milliseconds since `epoch` plus 1; 0
    /// marks a free cell. [`BUCKET_CELLS`] successive cells form a bucket.
    cells: Box<[(AtomicU64, AtomicU64)]>,
}

/// The password cache of the process.
pub(super) static PASSWORD_CACHE: LazyLock<PasswordCache> = LazyLock::new(|| {
    let mut key = [0; 32];
    // Without random numbers there is no TLS either, and nothing here is sent anywhere.
    let _ = aws_lc_rs::rand::fill(&mut key);
    PasswordCache {
        key: hmac::Key::new(hmac::HMAC_SHA256, &key),
        epoch: Instant::now(),
        cells: (0..BUCKETS * BUCKET_CELLS).map(|_| Default::default()).collect(),
    }
});

/// The keyed hash of a client's credentials: the index of its bucket, and 64 bits that are compared.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Tag {
    /// The index of the bucket.
    bucket: usize,
    /// The bits that are compared.
    tag: u64,
}

impl PasswordCache {
    /// Returns the user whose hash the password of an unknown name is verified against, so that the time does not
    /// reveal which names exist. The user is chosen by a keyed hash, so it is always the same for a name and the same
    /// users. `None` without users.
    pub(super) fn stand_in_user<'u>(&self, users: &'u [User], name: &str) -> Option<&'u User> {
        let signed = hmac::sign(&self.key, name.as_bytes());
        let number = signed.as_ref().iter().take(8).fold(0usize, |all, byte| all << 8 | usize::from(*byte));
        users.get(number.checked_rem(users.len())?)
    }

    /// Returns the keyed hash of the client's address or prefix, the credentials, the hash that they are verified
    /// against, and whether a user has the name (`known`), since the hash is another user's otherwise.
    pub(super) fn tag(&self, client: IpAddr, given: &Credentials, hash: &str, known: bool) -> Tag {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&[u8::from(known)]);
        context.update(&client_key(client).to_be_bytes());
        for part in [given.user.as_bytes(), hash.as_bytes(), &given.password] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let signed = context.sign();
        let number = |at: usize| {
            signed.as_ref()[at..at + 8].iter().fold(0u64, |all, byte| all << 8 | u64::from(*byte))
        };
        Tag { bucket: number(0) as usize % BUCKETS, tag: number(8) }
    }

    /// Returns the time since the cache was created in milliseconds, plus 1.
    fn now(&self) -> u64 {
        self.epoch.elapsed().as_millis() as u64 + 1
    }

    /// Returns the cells of the tag's bucket.
    fn cells(&self, tag: Tag) -> &[(AtomicU64, AtomicU64)] {
        &self.cells[tag.bucket * BUCKET_CELLS..][..BUCKET_CELLS]
    }

    /// Returns the time since the password of this tag was last verified, however long ago. `None` if the cache does
    /// not contain the tag.
    pub(super) fn since(&self, tag: Tag) -> Option<Duration> {
        self.cells(tag).iter().find_map(|(known, at)| {
            let at = at.load(Acquire);
            let same = at > 0 && known.load(Acquire) == tag.tag;
            same.then(|| Duration::from_millis(self.now().saturating_sub(at)))
        })
    }

    /// Stores the tag of a correct password with the present time. If the tag is not stored yet, it replaces the
    /// oldest entry of its bucket.
    pub(super) fn keep(&self, tag: Tag) {
        let cells = self.cells(tag);
        let own = cells.iter().find(|(known, _)| known.load(Acquire) == tag.tag);
        let Some((known, at)) = own.or_else(|| cells.iter().min_by_key(|(_, at)| at.load(Acquire))) else {
            return;
        };
        // Whoever reads in between finds nothing.
        at.store(0, Release);
        known.store(tag.tag, Release);
        at.store(self.now(), Release);
    }
}
