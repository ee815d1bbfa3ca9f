//! The state shared by an engine and the tasks of its requests, all on one thread.

use super::QuicLimits;
use bytes::{Bytes, BytesMut};
use edge_http::h3::qpack::QpackDecoder;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;
use std::time::Instant;

/// The minimum size in bytes of the memory blocks that encoded output is stored in.
const BLOCK_SIZE: usize = 32 * 1024;

/// The state shared by an engine, its connections and their tasks.
pub(super) struct EngineState {
    /// The time at which the engine was polled last.
    pub(super) now: Cell<Instant>,
    /// The limits of the engine, which a reload may replace.
    limits: RefCell<Rc<QuicLimits>>,
    /// The indexes of the connections that have changed and are to be driven.
    pub(super) dirty: RefCell<Vec<usize>>,
    /// True if tasks were woken or spawned, which are to run before anything is sent.
    pub(super) tasks: Cell<bool>,
    /// The waker of the engine's task. `None` before the task was polled.
    pub(super) waker: RefCell<Option<Waker>>,
    /// True if the engine is running, or was woken and has not run since.
    pub(super) awake: Cell<bool>,
    /// The block of memory that encoded output is stored in.
    arena: RefCell<BytesMut>,
    /// The memory that output is encoded in before it is stored. It is reused.
    scratch: RefCell<Vec<u8>>,
    /// The QPACK decoder, which has no state between sections.
    pub(super) decoder: RefCell<QpackDecoder>,
}

impl EngineState {
    /// Returns the limits in effect, which stay the same for the caller if they are replaced.
    pub(super) fn limits(&self) -> Rc<QuicLimits> {
        self.limits.borrow().clone()
    }

    /// Replaces the limits of the engine.
    pub(super) fn set_limits(&self, limits: QuicLimits) {
        *self.limits.borrow_mut() = Rc::new(limits);
    }

    /// Creates the state of an engine that has not run yet.
    pub(super) fn new(limits: QuicLimits) -> Rc<Self> {
        Rc::new(Self {
            now: Cell::new(Instant::now()),
            limits: RefCell::new(Rc::new(limits)),
            dirty: RefCell::default(),
            tasks: Cell::new(false),
            waker: RefCell::default(),
            awake: Cell::new(false),
            arena: RefCell::default(),
            scratch: RefCell::default(),
            decoder: RefCell::default(),
        })
    }

    /// Wakes the engine's task, unless the engine is running, was woken already, or was never polled.
    pub(super) fn wake(&self) {
        if !self.awake.replace(true)
            && let Some(waker) = &*self.waker.borrow()
        {
            waker.wake_by_ref();
        }
    }

    /// Returns the bytes that `write` appends to the empty vector that it is given. They share a block of memory with
    /// other output; the block is reused once all of its output is released.
    pub(super) fn encode(&self, write: impl FnOnce(&mut Vec<u8>)) -> Bytes {
        let mut scratch = self.scratch.borrow_mut();
        scratch.clear();
        write(&mut scratch);
        let mut arena = self.arena.borrow_mut();
        if arena.capacity() < scratch.len() {
            arena.reserve(scratch.len().max(BLOCK_SIZE));
        }
        arena.extend_from_slice(&scratch);
        arena.split().freeze()
    }
}
