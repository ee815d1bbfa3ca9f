use super::*;
use proptest::prelude::*;

type Line = (Vec<u8>, Vec<u8>);

fn lines(decoder: &mut HpackDecoder, block: &[u8]) -> Result<Vec<Line>, InvalidBlock> {
    let mut lines = Vec::new();
    decoder.decode(block, |name, value| lines.push((name.to_vec(), value.to_vec())))?;
    Ok(lines)
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}

fn shown(lines: &[Line]) -> Vec<String> {
    lines
        .iter()
        .map(|(name, value)| format!("{}: {}", String::from_utf8_lossy(name), String::from_utf8_lossy(value)))
        .collect()
}

/// Runs a sequence of RFC 7541, appendix C: encoded sections, their lines, and the table size after each.
fn appendix(sections: &[(&str, &[&str], usize)]) {
    let mut decoder = HpackDecoder::new();
    for (hex, expected, size) in sections {
        let found = lines(&mut decoder, &bytes(hex)).unwrap();
        assert_eq!(shown(&found), *expected);
        assert_eq!(decoder.table.size(), *size);
    }
}

#[test]
fn appendix_c3_requests_without_huffman_coding() {
    appendix(&[
        (
            "828684410f7777772e6578616d706c652e636f6d",
            &[":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com"],
            57,
        ),
        (
            "828684be58086e6f2d6361636865",
            &[
                ":method: GET",
                ":scheme: http",
                ":path: /",
                ":authority: www.example.com",
                "cache-control: no-cache",
            ],
            110,
        ),
        (
            "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
            &[
                ":method: GET",
                ":scheme: https",
                ":path: /index.html",
                ":authority: www.example.com",
                "custom-key: custom-value",
            ],
            164,
        ),
    ]);
}

#[test]
fn appendix_c4_requests_with_huffman_coding() {
    appendix(&[
        (
            "828684418cf1e3c2e5f23a6ba0ab90f4ff",
            &[":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com"],
            57,
        ),
        (
            "828684be5886a8eb10649cbf",
            &[
                ":method: GET",
                ":scheme: http",
                ":path: /",
                ":authority: www.example.com",
                "cache-control: no-cache",
            ],
            110,
        ),
    ]);
}

#[test]
fn the_table_gives_up_its_oldest_lines() {
    let mut decoder = HpackDecoder::new();
    let mut entering = |name: &[u8], value: &[u8]| {
        let mut block = vec![0x40];
        write_integer(&mut block, 0, 7, name.len());
        block.extend_from_slice(name);
        write_integer(&mut block, 0, 7, value.len());
        block.extend_from_slice(value);
        lines(&mut decoder, &block).unwrap();
    };
    entering(b"a", &[b'x'; 2000]);
    entering(b"b", &[b'y'; 2000]);
    entering(b"c", b"z");
    // 2033 twice and 34: the first line was evicted.
    assert_eq!(decoder.table.size(), 2033 + 34);
    assert_eq!(lines(&mut decoder, &[0x80 | 62]).unwrap()[0].0, b"c");
    assert_eq!(lines(&mut decoder, &[0x80 | 63]).unwrap()[0].0, b"b");
    assert_eq!(lines(&mut decoder, &[0x80 | 64]), Err(InvalidBlock));
    // A line whose name is that of the line evicted for it.
    let mut block = Vec::new();
    write_integer(&mut block, 0x40, 6, 63);
    write_integer(&mut block, 0, 7, 4050);
    block.extend_from_slice(&[b'q'; 4050]);
    assert_eq!(lines(&mut decoder, &block).unwrap()[0].0, b"b");
    assert_eq!(decoder.table.size(), 1 + 4050 + 32);
    // The client sets the table size to 0.
    assert_eq!(lines(&mut decoder, &[0x20, 0x82]).unwrap().len(), 1);
    assert_eq!(decoder.table.size(), 0);
}

#[test]
fn what_is_no_section() {
    for hex in [
        "80",                     // index 0
        "be",                     // beyond both tables
        "7e00",                   // named after what is beyond them
        "ffffffffffffffffffffff", // an integer without end
        "ff",                     // an integer that is cut off
        "3fe21f",                 // a table of 4097 bytes
        "8220",                   // a change of size behind a line
        "4005616263",             // a name that is cut off
        "400161",                 // no value
        "00816100",               // the padding of a code that is not ones
        "0085ffffffffff00",       // the end-of-string symbol
    ] {
        assert_eq!(lines(&mut HpackDecoder::new(), &bytes(hex)), Err(InvalidBlock), "{hex}");
    }
    assert_eq!(lines(&mut HpackDecoder::new(), &[]), Ok(Vec::new()));
    assert_eq!(
        lines(&mut HpackDecoder::new(), &bytes("3fe11f82")).unwrap().len(),
        1,
        "4096 is what it may be"
    );
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        fields in proptest::collection::vec(
            (
                prop_oneof![
                    "[a-z][a-z0-9-]{0,40}",
                    proptest::sample::select(table::STATIC.iter().map(|line| String::from_utf8_lossy(line.0).into_owned()).collect::<Vec<_>>()),
                ],
                prop_oneof![
                    "[ -~]{0,300}",
                    proptest::sample::select(table::STATIC.iter().map(|line| String::from_utf8_lossy(line.1).into_owned()).collect::<Vec<_>>()),
                ],
            ),
            0..20,
        ),
    ) {
        let mut block = Vec::new();
        write_no_table(&mut block);
        for (name, value) in &fields {
            write_field(&mut block, name.to_ascii_uppercase().as_bytes(), value.as_bytes());
        }
        let expected: Vec<Line> = fields.into_iter().map(|(name, value)| (name.into_bytes(), value.into_bytes())).collect();
        prop_assert_eq!(lines(&mut HpackDecoder::new(), &block).unwrap(), expected);
    }

    #[test]
    fn whatever_comes_the_table_keeps_its_bound(blocks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..20)) {
        let mut decoder = HpackDecoder::new();
        for block in blocks {
            let _ = lines(&mut decoder, &block);
            prop_assert!(decoder.table.size() <= TABLE_SIZE);
            let counted: usize = (62..).map_while(|at| decoder.table.line(at)).map(|(name, value)| name.len() + value.len() + 32).sum();
            prop_assert_eq!(counted, decoder.table.size());
        }
    }
}
