//! The allocator: mimalloc for what is small, that of the system for what is large.
//!
//! A request takes and gives back a dozen small things, at which mimalloc is quicker. Large buffers (a TLS record and more) it hands
//! out in turn, each cold in the processor's cache, where the system's gives the last one again.

use mimalloc::MiMalloc;
use std::alloc::{GlobalAlloc, Layout, System};

/// Bytes from which something is large: below a TLS record of 16 KiB, above the state of a connection or a request.
const LARGE: usize = 12 * 1024;

/// It.
pub(crate) struct BySize;

// SAFETY: the size of the layout alone says whose a block is, and the same layout comes back when it is freed. What grows or
// shrinks across the border moves, which is what the trait's own `realloc` does.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for BySize {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise, passed on.
        unsafe { if layout.size() < LARGE { MiMalloc.alloc(layout) } else { System.alloc(layout) } }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise, passed on.
        unsafe {
            if layout.size() < LARGE { MiMalloc.alloc_zeroed(layout) } else { System.alloc_zeroed(layout) }
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: a block of this layout came from the allocator that its size names.
        unsafe {
            if layout.size() < LARGE {
                MiMalloc.dealloc(block, layout);
            } else {
                System.dealloc(block, layout);
            }
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        match (layout.size() < LARGE, size < LARGE) {
            // SAFETY: both sizes are of the allocator that the block came from.
            (true, true) => unsafe { MiMalloc.realloc(block, layout, size) },
            // SAFETY: as above.
            (false, false) => unsafe { System.realloc(block, layout, size) },
            _ => {
                // SAFETY: the caller promises that the size with this alignment is a layout. Both blocks are as long as what is
                // copied, and they do not overlap: the new one was just made.
                unsafe {
                    let new = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
                    if !new.is_null() {
                        new.copy_from_nonoverlapping(block, layout.size().min(size));
                        self.dealloc(block, layout);
                    }
                    new
                }
            }
        }
    }
}
