//! The order in which the streams of a connection send.

use std::collections::VecDeque;

/// The queue of streams that wait to send. The most urgent (0) is the first, and among equally urgent ones that which
/// was added first.
#[derive(Debug)]
pub(crate) struct SendQueue<K> {
    /// The waiting streams with their urgency, in the order in which they were added.
    queue: VecDeque<(K, u8)>,
}

impl<K> Default for SendQueue<K> {
    fn default() -> Self {
        Self { queue: VecDeque::new() }
    }
}

impl<K: Copy + PartialEq> SendQueue<K> {
    /// Adds a stream behind the waiting ones of the same urgency. 0 is the most urgent (RFC 9218 §4.1).
    pub(crate) fn push(&mut self, stream: K, urgency: u8) {
        self.queue.push_back((stream, urgency));
    }

    /// Adds a stream in front of the waiting ones of the same urgency: one that [`SendQueue::pop`] returned and that
    /// could not send.
    pub(crate) fn push_front(&mut self, stream: K, urgency: u8) {
        self.queue.push_front((stream, urgency));
    }

    /// Removes and returns the next stream and its urgency. `None` if the queue is empty.
    pub(crate) fn pop(&mut self) -> Option<(K, u8)> {
        let (at, _) = self.queue.iter().enumerate().min_by_key(|(_, (_, urgency))| *urgency)?;
        self.queue.remove(at)
    }

    /// Changes the urgency of a waiting stream, whose position among streams of the new urgency is by the time it was
    /// added. No effect if the stream does not wait.
    pub(crate) fn set_urgency(&mut self, stream: K, urgency: u8) {
        self.queue.iter_mut().filter(|(waiting, _)| *waiting == stream).for_each(|(_, of)| *of = urgency);
    }

    /// Returns the urgency of the most urgent waiting stream. `None` if none waits.
    pub(crate) fn first(&self) -> Option<u8> {
        self.queue.iter().map(|(_, urgency)| *urgency).min()
    }

    /// Returns the number of waiting streams that have the urgency of the most urgent one. 0 if none waits.
    pub(crate) fn equals(&self) -> usize {
        let first = self.first();
        self.queue.iter().filter(|(_, urgency)| Some(*urgency) == first).count()
    }

    /// Returns the number of waiting streams.
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Returns whether no stream waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Removes all streams.
    pub(crate) fn clear(&mut self) {
        self.queue.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn streams_of_one_urgency_send_in_turns(urgencies in proptest::collection::vec(0u8..8, 1..40)) {
            let mut queue = SendQueue::default();
            for (stream, urgency) in urgencies.iter().enumerate() {
                queue.push(stream, *urgency);
            }
            let first = *urgencies.iter().min().unwrap();
            prop_assert_eq!(queue.equals(), urgencies.iter().filter(|urgency| **urgency == first).count());
            let mut sent = vec![0u32; urgencies.len()];
            for _ in 0..4 * urgencies.len() {
                let (stream, urgency) = queue.pop().unwrap();
                prop_assert_eq!(urgency, first);
                sent[stream] += 1;
                queue.push(stream, urgency);
                let equal = || sent.iter().zip(&urgencies).filter(|(_, urgency)| **urgency == first);
                let most = equal().map(|(sent, _)| *sent).max().unwrap();
                prop_assert!(equal().all(|(sent, _)| most - sent <= 1));
            }
            prop_assert_eq!(queue.len(), urgencies.len());
        }
    }

    #[test]
    fn an_urgent_stream_overtakes() {
        let mut queue = SendQueue::default();
        queue.push(1, 3);
        queue.push(2, 3);
        queue.push(3, 0);
        queue.set_urgency(2, 1);
        assert_eq!(queue.first(), Some(0));
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).map(|(stream, _)| stream).collect();
        assert_eq!(order, [3, 2, 1]);
    }
}
