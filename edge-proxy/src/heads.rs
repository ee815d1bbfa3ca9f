//! Heads of a worker: taken for a message and returned after it, so that a message allocates none.

use edge_http::{RequestHead, ResponseHead, Version};
use std::cell::RefCell;

/// The highest number of unused heads that a worker stores for reuse, of each kind.
const MAX_FREE_HEADS: usize = 64;
/// The greatest size in bytes of the memory of a head that is stored for reuse.
const MAX_REUSED_SIZE: usize = 4 * 1024;

thread_local! {
    /// The unused request heads of the thread.
    static REQUESTS: RefCell<Vec<RequestHead>> = const { RefCell::new(Vec::new()) };
    /// The unused response heads of the thread.
    static RESPONSES: RefCell<Vec<ResponseHead>> = const { RefCell::new(Vec::new()) };
}

/// Returns an empty request head of HTTP/1.1, with the allocations of an earlier one if the thread has one.
pub(crate) fn request() -> RequestHead {
    REQUESTS.with_borrow_mut(Vec::pop).unwrap_or_else(|| RequestHead::new(Version::Http11))
}

/// Returns an empty response head, with the allocations of an earlier one if the thread has one.
pub(crate) fn response() -> ResponseHead {
    RESPONSES.with_borrow_mut(Vec::pop).unwrap_or_default()
}

/// Stores a request head for reuse. It is dropped instead if it is larger than [`MAX_REUSED_SIZE`], or if
/// [`MAX_FREE_HEADS`] are stored.
pub(crate) fn recycle_request(mut head: RequestHead) {
    let size = head.authority.capacity() + head.target.capacity() + head.fields.capacity();
    REQUESTS.with_borrow_mut(|free| {
        if size <= MAX_REUSED_SIZE && free.len() < MAX_FREE_HEADS {
            head.clear();
            head.version = Version::Http11;
            free.push(head);
        }
    });
}

/// Stores a response head for reuse. It is dropped instead if it is larger than [`MAX_REUSED_SIZE`], or if
/// [`MAX_FREE_HEADS`] are stored.
pub(crate) fn recycle_response(mut head: ResponseHead) {
    RESPONSES.with_borrow_mut(|free| {
        if head.fields.capacity() <= MAX_REUSED_SIZE && free.len() < MAX_FREE_HEADS {
            head.clear();
            free.push(head);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_reused_empty_and_large_ones_are_not() {
        let mut head = request();
        head.version = Version::Http3;
        head.target.push_str("/some/path");
        head.fields.push(b"Cookie", b"secret=1");
        recycle_request(head);
        let again = request();
        assert!(again.target.capacity() > 0);
        assert_eq!(again, RequestHead::new(Version::Http11));
        let mut large = again;
        large.fields.push(b"Cookie", &[b'a'; MAX_REUSED_SIZE]);
        recycle_request(large);
        assert_eq!(request().target.capacity(), 0);

        let mut head = response();
        head.status = 200;
        head.fields.push(b"Set-Cookie", b"secret=1");
        recycle_response(head);
        assert_eq!(response(), ResponseHead::default());
    }
}
