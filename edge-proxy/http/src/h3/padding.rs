//! The removal of QUIC's PADDING frames (RFC 9000 §19.1), which have one byte each. A client may fill the packet of a
//! short request with a thousand of them.

use super::varint;

/// The number of zero bytes at the beginning or the end of a payload from which on its frames are parsed.
const MIN_RUN: usize = 32;

/// Removes the PADDING frames from a decrypted packet payload by moving the other frames to its beginning, and returns
/// the length of what remains, in bytes. The bytes behind it are unspecified.
///
/// A payload of PADDING alone keeps one frame, since a packet without frames is a protocol violation (RFC 9000 §12.4).
/// An unknown or malformed frame and everything behind it are kept. Nothing is removed if neither end of the payload
/// has at least 32 bytes of padding.
pub fn remove(payload: &mut [u8]) -> usize {
    const RUN: Option<&[u8; MIN_RUN]> = Some(&[0; MIN_RUN]);
    if payload.last_chunk() != RUN && payload.first_chunk() != RUN {
        return payload.len();
    }
    let (mut from, mut to) = (0, 0);
    while from < payload.len() {
        if payload[from] == 0 {
            from += zeros(&payload[from..]);
            continue;
        }
        let len = frame_len(&payload[from..]).unwrap_or(payload.len() - from);
        payload.copy_within(from..from + len, to);
        from += len;
        to += len;
    }
    // The first byte is still that of a PADDING frame if nothing was moved.
    to.max(1)
}

/// Returns the number of zero bytes at the beginning of `bytes`.
fn zeros(bytes: &[u8]) -> usize {
    // Most runs are long: blocks without another byte are skipped as a whole.
    let (blocks, _) = bytes.as_chunks::<32>();
    let skipped = 32 * blocks.iter().take_while(|block| **block == [0; 32]).count();
    let rest = bytes.get(skipped..).unwrap_or_default();
    skipped + rest.iter().take_while(|byte| **byte == 0).count()
}

/// Returns the length in bytes of the frame at the beginning of `bytes`. `None` if it is incomplete or of an unknown
/// type.
fn frame_len(bytes: &[u8]) -> Option<usize> {
    let mut rest = bytes;
    match varint::take(&mut rest)? {
        // PADDING in a longer encoding, PING, IMMEDIATE_ACK and HANDSHAKE_DONE
        0x00 | 0x01 | 0x1e | 0x1f => {}
        // ACK
        kind @ (0x02 | 0x03) => {
            skip_integers(&mut rest, 2)?;
            let ranges = varint::take(&mut rest)?;
            skip_integers(&mut rest, 1)?;
            skip_integers(&mut rest, ranges.checked_mul(2)?)?;
            skip_integers(&mut rest, if kind == 0x03 { 3 } else { 0 })?;
        }
        // MAX_DATA, MAX_STREAMS, DATA_BLOCKED, STREAMS_BLOCKED and RETIRE_CONNECTION_ID
        0x10 | 0x12 | 0x13 | 0x14 | 0x16 | 0x17 | 0x19 => skip_integers(&mut rest, 1)?,
        // STOP_SENDING, MAX_STREAM_DATA and STREAM_DATA_BLOCKED
        0x05 | 0x11 | 0x15 => skip_integers(&mut rest, 2)?,
        // RESET_STREAM
        0x04 => skip_integers(&mut rest, 3)?,
        // ACK_FREQUENCY
        0xaf => skip_integers(&mut rest, 4)?,
        // CRYPTO
        0x06 => {
            skip_integers(&mut rest, 1)?;
            skip_content(&mut rest)?;
        }
        // NEW_TOKEN, and DATAGRAM with a length
        0x07 | 0x31 => skip_content(&mut rest)?,
        // DATAGRAM up to the end
        0x30 => rest = &[],
        // STREAM: offset and length are there by a bit each
        kind @ 0x08..=0x0f => {
            skip_integers(&mut rest, 1 + (kind >> 2 & 1))?;
            if kind & 0x02 == 0 {
                rest = &[];
            } else {
                skip_content(&mut rest)?;
            }
        }
        // NEW_CONNECTION_ID: the ID has its length in one byte; a token follows
        0x18 => {
            skip_integers(&mut rest, 2)?;
            let len = usize::from(*rest.first()?);
            rest = rest.get(1 + len + 16..)?;
        }
        // PATH_CHALLENGE and PATH_RESPONSE
        0x1a | 0x1b => rest = rest.get(8..)?,
        // CONNECTION_CLOSE
        kind @ (0x1c | 0x1d) => {
            skip_integers(&mut rest, if kind == 0x1c { 2 } else { 1 })?;
            skip_content(&mut rest)?;
        }
        _ => return None,
    }
    Some(bytes.len() - rest.len())
}

/// Advances past `count` variable-length integers. `None` if they are incomplete.
fn skip_integers(rest: &mut &[u8], count: u64) -> Option<()> {
    // As many integers as there are bytes are the most there can be.
    (0..count).try_for_each(|_| varint::take(rest).map(drop))
}

/// Advances past a length and as many bytes of content. `None` if they are incomplete.
fn skip_content(rest: &mut &[u8]) -> Option<()> {
    let len = varint::take(rest)?.try_into().ok()?;
    *rest = rest.get(len..)?;
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn integers(kind: u64, values: &[u64]) -> Vec<u8> {
        let mut frame = Vec::new();
        varint::write(&mut frame, kind);
        for value in values {
            varint::write(&mut frame, *value);
        }
        frame
    }

    /// Frames of every type that do not reach to the end of the packet. Their contents have zeros.
    fn frame() -> impl Strategy<Value = Vec<u8>> {
        let value = 0..=varint::MAX;
        let content = prop::collection::vec(prop_oneof![Just(0), any::<u8>()], 0..80);
        let plain = (
            prop::sample::select(vec![
                (0x01, 0),
                (0x1e, 0),
                (0x1f, 0),
                (0x10, 1),
                (0x12, 1),
                (0x13, 1),
                (0x14, 1),
                (0x16, 1),
                (0x17, 1),
                (0x19, 1),
                (0x05, 2),
                (0x11, 2),
                (0x15, 2),
                (0x04, 3),
                (0xaf, 4),
            ]),
            prop::array::uniform4(prop_oneof![Just(0), value.clone()]),
        )
            .prop_map(|((kind, count), values)| integers(kind, &values[..count]));
        let ack = (any::<bool>(), prop::collection::vec(value.clone(), 0..20), value.clone()).prop_map(
            |(ecn, ranges, first)| {
                let pairs = ranges.len() as u64 / 2;
                let mut frame = integers(if ecn { 3 } else { 2 }, &[first, 0, pairs, 0]);
                let counts = if ecn { 3 } else { 0 };
                for value in ranges.iter().take(2 * pairs as usize).chain([0u64; 3].iter().take(counts)) {
                    varint::write(&mut frame, *value);
                }
                frame
            },
        );
        let lengthy = (
            prop::sample::select(vec![
                (0x06, 1),
                (0x07, 0),
                (0x31, 0),
                (0x0a, 1),
                (0x0f, 2),
                (0x1c, 2),
                (0x1d, 1),
            ]),
            value,
            content.clone(),
        )
            .prop_map(|((kind, count), value, content)| {
                let mut frame = integers(kind, &[0, value][..count]);
                varint::write(&mut frame, content.len() as u64);
                [frame, content].concat()
            });
        let connection_id = (1u8..=20, content.clone()).prop_map(|(len, content)| {
            let mut frame = integers(0x18, &[7, 0]);
            frame.push(len);
            frame.extend(content.into_iter().chain(std::iter::repeat(0)).take(usize::from(len) + 16));
            frame
        });
        let path = (0x1a..=0x1bu8, any::<[u8; 8]>()).prop_map(|(kind, data)| [&[kind][..], &data].concat());
        prop_oneof![plain, ack, lengthy, connection_id, path]
    }

    /// A frame that reaches to the end of its packet.
    fn last_frame() -> impl Strategy<Value = Vec<u8>> {
        let content = prop::collection::vec(prop_oneof![Just(0), any::<u8>()], 0..80);
        let kinds = prop::sample::select(vec![(0x30, 0), (0x08, 1), (0x0d, 2)]);
        (kinds, content)
            .prop_map(|((kind, count), content)| [integers(kind, &[3, 0][..count]), content].concat())
    }

    proptest! {
        #[test]
        fn padding_is_removed_and_nothing_else(
            frames in prop::collection::vec((0usize..90, frame()), 0..12),
            last in prop::option::of(last_frame()),
            end in MIN_RUN..400,
        ) {
            let mut padded = vec![0; if last.is_some() { MIN_RUN } else { 0 }];
            let mut plain = Vec::new();
            for (padding, frame) in frames {
                padded.extend(std::iter::repeat_n(0, padding));
                padded.extend(&frame);
                plain.extend(frame);
            }
            match last {
                Some(frame) => {
                    padded.extend(&frame);
                    plain.extend(frame);
                }
                None => padded.extend(std::iter::repeat_n(0, end)),
            }
            if plain.is_empty() {
                plain.push(0);
            }
            let len = remove(&mut padded);
            prop_assert_eq!(&padded[..len], &plain);
        }

        /// Whatever a payload is, only zeros disappear, and one byte stays.
        #[test]
        fn only_zeros_disappear(mut payload in prop::collection::vec(prop_oneof![3 => Just(0), 1 => any::<u8>()], 1..300)) {
            let before = payload.clone();
            let len = remove(&mut payload);
            prop_assert!(1 <= len && len <= before.len());
            let others = |bytes: &[u8]| bytes.iter().copied().filter(|byte| *byte != 0).collect::<Vec<_>>();
            prop_assert_eq!(others(&payload[..len]), others(&before));
        }
    }

    #[test]
    fn payloads_without_much_padding_stay() {
        for payload in [vec![0; MIN_RUN - 1], [vec![1], vec![0; MIN_RUN - 1]].concat(), Vec::new()] {
            let mut moved = payload.clone();
            assert_eq!((remove(&mut moved), &moved), (payload.len(), &payload));
        }
    }

    /// The rest of a payload with a frame that is not known is for the connection to refuse.
    #[test]
    fn from_an_unknown_frame_on_everything_stays() {
        let mut payload = [vec![0, 0, 0x21], vec![0; MIN_RUN]].concat();
        let len = remove(&mut payload);
        assert_eq!(payload[..len], [vec![0x21], vec![0; MIN_RUN]].concat());
    }
}
