//! Compression of response content.

use edge_policy::config::Coding;
use std::io::{self, Write};

/// A compressor, with the output that is not sent yet.
pub(super) struct Encoder {
    /// The compressor of the response's coding.
    inner: Compressor,
    /// True if content was written since the last flush, so that the compressor may not have output all of it.
    dirty: bool,
    /// True if the end of the content was encoded.
    finished: bool,
    /// The number of bytes at the beginning of `ready` that were sent.
    sent: usize,
    /// The compressed output, including the part that was sent.
    ready: Vec<u8>,
}

/// A compressor that writes to memory.
enum Compressor {
    /// Brotli (RFC 7932).
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    /// gzip (RFC 1952).
    Gzip(Box<flate2::write::GzEncoder<Vec<u8>>>),
    /// Zstandard (RFC 8878).
    Zstd(Box<zstd::stream::write::Encoder<'static, Vec<u8>>>),
}

impl Encoder {
    /// Creates an encoder of this coding at a fast level, since content is compressed for every response.
    ///
    /// # Errors
    /// The error of creating or configuring a Zstandard compressor.
    pub(super) fn new(coding: Coding) -> io::Result<Self> {
        let inner = match coding {
            Coding::Brotli => {
                // 256 KiB of window, so that a connection does not take megabytes.
                Compressor::Brotli(Box::new(brotli::CompressorWriter::new(Vec::new(), 4096, 4, 18)))
            }
            Coding::Gzip => Compressor::Gzip(Box::new(flate2::write::GzEncoder::new(
                Vec::new(),
                flate2::Compression::new(5),
            ))),
            Coding::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3)?;
                encoder.window_log(19)?;
                Compressor::Zstd(Box::new(encoder))
            }
        };
        Ok(Self { inner, dirty: false, finished: false, sent: 0, ready: Vec::new() })
    }

    /// Returns the encoded bytes that are not sent yet.
    pub(super) fn ready(&self) -> &[u8] {
        &self.ready[self.sent..]
    }

    /// Records that the first `n` of the ready bytes were sent.
    pub(super) fn sent(&mut self, n: usize) {
        self.sent += n;
        if self.sent == self.ready.len() {
            self.ready.clear();
            self.sent = 0;
        }
    }

    /// Returns whether all written content was flushed or finished. Output may still have to be sent.
    pub(super) const fn is_clean(&self) -> bool {
        !self.dirty
    }

    /// Returns whether [`Encoder::finish`] was called. Output may still have to be sent.
    pub(super) const fn is_finished(&self) -> bool {
        self.finished
    }

    /// Compresses a part of the content. Its output may only be ready after [`Encoder::flush`] or [`Encoder::finish`].
    ///
    /// # Errors
    /// The error of the compressor.
    pub(super) fn write(&mut self, content: &[u8]) -> io::Result<()> {
        self.dirty = true;
        match &mut self.inner {
            Compressor::Brotli(encoder) => encoder.write_all(content),
            Compressor::Gzip(encoder) => encoder.write_all(content),
            Compressor::Zstd(encoder) => encoder.write_all(content),
        }?;
        self.collect();
        Ok(())
    }

    /// Completes the output of all written content, so that the client does not wait for it.
    ///
    /// # Errors
    /// The error of the compressor.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        match &mut self.inner {
            Compressor::Brotli(encoder) => encoder.flush(),
            Compressor::Gzip(encoder) => encoder.flush(),
            Compressor::Zstd(encoder) => encoder.flush(),
        }?;
        self.dirty = false;
        self.collect();
        Ok(())
    }

    /// Ends the content: completes the output of all written content and the end of the coding.
    ///
    /// # Errors
    /// The error of the compressor.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        match &mut self.inner {
            Compressor::Brotli(encoder) => {
                // Ending is what taking the output out does.
                let empty = brotli::CompressorWriter::new(Vec::new(), 16, 0, 10);
                let rest = std::mem::replace(&mut **encoder, empty).into_inner();
                self.ready.extend_from_slice(&rest);
            }
            Compressor::Gzip(encoder) => encoder.try_finish()?,
            Compressor::Zstd(encoder) => encoder.do_finish()?,
        }
        (self.dirty, self.finished) = (false, true);
        self.collect();
        Ok(())
    }

    /// Moves the compressor's output to `ready`.
    fn collect(&mut self) {
        let made = match &mut self.inner {
            Compressor::Brotli(encoder) => encoder.get_mut(),
            Compressor::Gzip(encoder) => encoder.get_mut(),
            Compressor::Zstd(encoder) => encoder.get_mut(),
        };
        self.ready.append(made);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Read;

    fn decode(coding: Coding, bytes: &[u8]) -> Vec<u8> {
        let mut content = Vec::new();
        match coding {
            Coding::Brotli => {
                brotli::Decompressor::new(bytes, 4096).read_to_end(&mut content).unwrap();
            }
            Coding::Gzip => {
                flate2::read::GzDecoder::new(bytes).read_to_end(&mut content).unwrap();
            }
            Coding::Zstd => zstd::stream::copy_decode(bytes, &mut content).unwrap(),
        }
        content
    }

    proptest! {
        #[test]
        fn what_comes_out_is_what_went_in(
            parts in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..3000), any::<bool>()), 0..8),
        ) {
            for coding in [Coding::Brotli, Coding::Gzip, Coding::Zstd] {
                let (mut encoder, mut out, mut whole) = (Encoder::new(coding).unwrap(), Vec::new(), Vec::new());
                for (part, flush) in &parts {
                    encoder.write(part).unwrap();
                    whole.extend_from_slice(part);
                    if *flush {
                        encoder.flush().unwrap();
                    }
                    let n = encoder.ready().len() / 2;
                    out.extend_from_slice(&encoder.ready()[..n]);
                    encoder.sent(n);
                }
                encoder.finish().unwrap();
                out.extend_from_slice(encoder.ready());
                prop_assert_eq!(decode(coding, &out), whole);
            }
        }
    }
}
