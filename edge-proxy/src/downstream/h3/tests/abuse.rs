use super::client::{RawConnection, endpoint, frame, get, headers, reset, section};
use super::service::{NAME, on_a_worker, start};
use crate::downstream::h3::QuicLimits;
use edge_http::h3::Code;

#[test]
fn malformed_requests_are_reset() {
    on_a_worker(async {
        let server = start(&QuicLimits::default());
        let client = RawConnection::new(&server).await;
        let no_path = section(&[(":method", "GET"), (":scheme", "https"), (":authority", NAME)]);
        let connect = section(&[(":method", "CONNECT"), (":authority", "example.org:443")]);
        let post = |length| headers("POST", "/x", &[("content-length", length)]);
        for (what, bytes, code) in [
            ("nothing", vec![], Code::H3_REQUEST_INCOMPLETE),
            ("no path", frame(1, &no_path), Code::H3_MESSAGE_ERROR),
            ("CONNECT", frame(1, &connect), Code::H3_REQUEST_REJECTED),
            ("connection", headers("GET", "/x", &[("connection", "close")]), Code::H3_MESSAGE_ERROR),
            ("another host", headers("GET", "/x", &[("host", "other.example")]), Code::H3_MESSAGE_ERROR),
            ("an end instead of content", post("3"), Code::H3_MESSAGE_ERROR),
            ("too little", [post("5"), frame(0, b"abc")].concat(), Code::H3_MESSAGE_ERROR),
            ("too much", [post("2"), frame(0, b"abc")].concat(), Code::H3_MESSAGE_ERROR),
            (
                "pseudo-header in trailers",
                [post("3"), frame(0, b"abc"), frame(1, &section(&[(":path", "/")]))].concat(),
                Code::H3_MESSAGE_ERROR,
            ),
        ] {
            assert_eq!(reset(client.ask(&bytes).await), code, "{what}");
        }
        // An end that comes later than everything else.
        let (mut send, mut receive) = client.open(&post("5")).await;
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        send.finish().unwrap();
        let answer = receive.read_to_end(1000).await.map(|_| Default::default());
        assert_eq!(reset(answer), Code::H3_MESSAGE_ERROR);

        let long = "x".repeat(20_000);
        let answer = client.ask(&headers("GET", "/x", &[("a", &long)])).await.unwrap();
        assert_eq!(answer.statuses(), ["431"]);
        assert_eq!(client.get("/hello").await.content, b"hello", "the connection goes on");
    });
}

#[test]
fn errors_of_a_connection() {
    on_a_worker(async {
        let server = start(&QuicLimits::default());
        for (what, bytes, code) in [
            ("DATA first", frame(0, b"x"), Code::H3_FRAME_UNEXPECTED),
            ("SETTINGS on a request", [get("/x"), frame(4, b"")].concat(), Code::H3_FRAME_UNEXPECTED),
            ("a frame of HTTP/2", [get("/x"), frame(9, b"")].concat(), Code::H3_FRAME_UNEXPECTED),
            ("half a frame", [get("/x"), vec![0, 5, b'x']].concat(), Code::H3_FRAME_ERROR),
            ("dynamic table", frame(1, b"\0\0\x80"), Code::QPACK_DECOMPRESSION_FAILED),
            ("grease without end", frame(0x21, b"").repeat(300), Code::H3_EXCESSIVE_LOAD),
        ] {
            let client = RawConnection::new(&server).await;
            let (mut send, _receive) = client.open(&bytes).await;
            let _ = send.finish();
            assert_eq!(client.closed().await, code, "{what}");
        }
        for (what, bytes, end, code) in [
            ("a second control stream", &[0, 4, 0][..], false, Code::H3_STREAM_CREATION_ERROR),
            ("a push stream", &[1, 0], false, Code::H3_STREAM_CREATION_ERROR),
            ("a capacity", &[2, 0x3f, 0xe1, 0x1f], false, Code::QPACK_ENCODER_STREAM_ERROR),
            ("an insertion", &[2, 0xc1, 1, b'a'], false, Code::QPACK_ENCODER_STREAM_ERROR),
            ("half an instruction", &[2, 0x3f], true, Code::QPACK_ENCODER_STREAM_ERROR),
            ("an increment", &[3, 1], false, Code::QPACK_DECODER_STREAM_ERROR),
            ("half a cancellation", &[3, 0x7f], true, Code::QPACK_DECODER_STREAM_ERROR),
            ("the encoder stream's end", &[2], true, Code::H3_CLOSED_CRITICAL_STREAM),
            ("the decoder stream's end", &[3], true, Code::H3_CLOSED_CRITICAL_STREAM),
        ] {
            let client = RawConnection::new(&server).await;
            let mut stream = client.quic.open_uni().await.unwrap();
            stream.write_all(bytes).await.unwrap();
            if end {
                stream.finish().unwrap();
            }
            assert_eq!(client.closed().await, code, "{what}");
        }
        for (what, bytes, end, code) in [
            ("no SETTINGS", &[0, 7, 1, 0][..], false, Code::H3_MISSING_SETTINGS),
            ("a shrinking MAX_PUSH_ID", &[0, 4, 0, 0xd, 1, 5, 0xd, 1, 4], false, Code::H3_ID_ERROR),
            ("a growing GOAWAY", &[0, 4, 0, 7, 1, 0, 7, 1, 4], false, Code::H3_ID_ERROR),
            ("a setting of HTTP/2", &[0, 4, 2, 3, 1], false, Code::H3_SETTINGS_ERROR),
            ("DATA", &[0, 4, 0, 0, 1, b'x'], false, Code::H3_FRAME_UNEXPECTED),
            ("the control stream's end", &[0, 4, 0], true, Code::H3_CLOSED_CRITICAL_STREAM),
        ] {
            let quic = endpoint(&server).connect(server.address, NAME).unwrap().await.unwrap();
            let mut stream = quic.open_uni().await.unwrap();
            stream.write_all(bytes).await.unwrap();
            if end {
                stream.finish().unwrap();
            }
            match quic.closed().await {
                quinn::ConnectionError::ApplicationClosed(close) => {
                    assert_eq!(Code(close.error_code.into_inner()), code, "{what}");
                }
                other => panic!("{what}: {other:?}"),
            }
        }
    });
}

#[test]
fn streams_and_frames_that_nobody_knows() {
    on_a_worker(async {
        let server = start(&QuicLimits::default());
        let client = RawConnection::new(&server).await;
        let mut stream = client.quic.open_uni().await.unwrap();
        stream.write_all(&[0x21, 1, 2, 3]).await.unwrap();
        let stopped = stream.stopped().await.unwrap().map(quinn::VarInt::into_inner);
        assert_eq!(stopped, Some(Code::H3_STREAM_CREATION_ERROR.0));
        let mut untyped = client.quic.open_uni().await.unwrap();
        untyped.write_all(&[0x40]).await.unwrap();
        untyped.finish().unwrap();
        let greasy = [frame(0x21, b"abc"), get("/hello"), frame(0x40, b"abc")].concat();
        assert_eq!(client.ask(&greasy).await.unwrap().content, b"hello");
    });
}

#[test]
fn rapid_resets_end_the_connection() {
    on_a_worker(async {
        let server = start(&QuicLimits::default());
        let client = RawConnection::new(&server).await;
        for i in 0..2000 {
            let Ok((mut send, mut receive)) = client.quic.open_bi().await else { break };
            let _ = send.write_all(&get("/wait")).await;
            let _ = send.reset(quinn::VarInt::from_u32(0x10c));
            let _ = receive.stop(quinn::VarInt::from_u32(0x10c));
            assert!(i < 1900, "nobody minds");
        }
        assert_eq!(client.closed().await, Code::H3_EXCESSIVE_LOAD);
    });
}

#[test]
fn a_flood_on_the_control_stream_ends_the_connection() {
    on_a_worker(async {
        let server = start(&QuicLimits::default());
        let quic = endpoint(&server).connect(server.address, NAME).unwrap().await.unwrap();
        let mut control = quic.open_uni().await.unwrap();
        control.write_all(&[0, 4, 0]).await.unwrap();
        for _ in 0..100 {
            let _ = control.write_all(&[0x21, 0].repeat(100)).await;
        }
        match quic.closed().await {
            quinn::ConnectionError::ApplicationClosed(close) => {
                assert_eq!(Code(close.error_code.into_inner()), Code::H3_EXCESSIVE_LOAD);
            }
            other => panic!("{other:?}"),
        }
    });
}
