//! State shared by the engine and the tasks of its requests, all on one thread.

use super::QuicLimits;
use bytes::{Bytes, BytesMut};
use edge_http::h3::qpack::QpackDecoder;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;
use std::time::Instant;

/// The size of the blocks that encoded output is written into, in bytes.
const BLOCK_SIZE: usize = 32 * 1024;

/// The state shared by an engine, its connections and their tasks.
pub(super) struct EngineState {
    pub(super) now: Cell<Instant>,
    limits: RefCell<Rc<QuicLimits>>,
    /// The indexes of connections that have changed.
    pub(super) dirty: RefCell<Vec<usize>>,
    /// True if tasks were woken or spawned, which should run before anything is sent.
    pub(super) tasks: Cell<bool>,
    /// The waker of the engine's task.
    pub(super) waker: RefCell<Option<Waker>>,
    pub(super) awake: Cell<bool>,
    arena: RefCell<BytesMut>,
    scratch: RefCell<Vec<u8>>,
    pub(super) decoder: RefCell<QpackDecoder>,
}

impl EngineState {
    /// Returns the current limits of clients.
    pub(super) fn limits(&self) -> Rc<QuicLimits> {
        self.limits.borrow().clone()
    }

    /// Sets the limits of clients from now on.
    pub(super) fn set_limits(&self, limits: QuicLimits) {
        *self.limits.borrow_mut() = Rc::new(limits);
    }

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

    /// Wakes the engine, unless it runs or was woken already.
    pub(super) fn wake(&self) {
        if !self.awake.replace(true)
            && let Some(waker) = &*self.waker.borrow()
        {
            waker.wake_by_ref();
        }
    }

    /// Returns the bytes that `write` appends. They share a block with others, which is reused once all of it is
    /// released.
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
