//! The global allocator: mimalloc for small blocks, the system allocator for large ones.
//!
//! A request allocates and frees a dozen small blocks, which mimalloc does faster. It hands out large buffers (a TLS
//! record and more) in rotation, each cold in the processor's cache, whereas the system allocator returns the last one
//! again.

use mimalloc::MiMalloc;
use std::alloc::{GlobalAlloc, Layout, System};

/// The size from which a block is large, in bytes: below a TLS record of 16 KiB, above the state of a connection or
/// request.
const LARGE: usize = 12 * 1024;

/// The global allocator: mimalloc for blocks below [`LARGE`], the system allocator for the others.
pub(crate) struct BySize;

// SAFETY: the size of the layout alone determines the owner of a block, and the same layout is passed when it is freed.
// A block that grows or shrinks across the threshold is moved, as the trait's own `realloc` does.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for BySize {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller upholds the contract of `alloc`.
        unsafe { if layout.size() < LARGE { MiMalloc.alloc(layout) } else { System.alloc(layout) } }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller upholds the contract of `alloc_zeroed`.
        unsafe {
            if layout.size() < LARGE { MiMalloc.alloc_zeroed(layout) } else { System.alloc_zeroed(layout) }
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: a block of this layout came from the allocator that its size selects.
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
            // SAFETY: both sizes select the allocator that the block came from.
            (true, true) => unsafe { MiMalloc.realloc(block, layout, size) },
            // SAFETY: as above.
            (false, false) => unsafe { System.realloc(block, layout, size) },
            _ => {
                // SAFETY: the caller guarantees that the size with this alignment is a valid layout. Both blocks are at
                // least as long as the copy, and they do not overlap, since the new one was just allocated.
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
