//! The readings of a path: the paths that other programs may take it for (RFC 3986 §6.2.2, RFC 9110 §17.11).
//!
//! Routing never decodes. A backend may decode escapes once or twice, take backslashes for slashes, merge slashes,
//! resolve dot segments, remove parameters, and end the path at a NUL, a `?` or a `#`, in any order. A path is refused
//! only if one of its readings would be decided differently from the path as received.

/// The highest number of readings that are computed for a path.
const MAX_READINGS: usize = 128;
/// The highest total length of the computed readings of a path in bytes.
const MAX_READING_BYTES: usize = 256 * 1024;
/// The highest number of times that a backend is assumed to decode escapes.
const MAX_DECODINGS: u8 = 2;

/// The error for a path with more readings, or longer ones in total, than are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooManyReadings;

/// Returns the readings of a path that differ from it, decoded and without duplicates. Empty for an unambiguous path.
///
/// # Errors
/// [`TooManyReadings`] if there are more than [`MAX_READINGS`], or more than [`MAX_READING_BYTES`] bytes in total.
pub(super) fn readings(path: &[u8]) -> Result<Vec<Vec<u8>>, TooManyReadings> {
    if is_unambiguous(path) {
        return Ok(Vec::new());
    }
    // With how often each was decoded.
    let mut found: Vec<(Vec<u8>, u8)> = vec![(path.to_vec(), 0)];
    let (mut at, mut bytes) = (0, path.len());
    while at < found.len() {
        let (reading, decoded) = &found[at];
        let decoded = *decoded;
        let mut next: Vec<(Vec<u8>, u8)> =
            STEPS.iter().filter_map(|step| step(reading)).map(|reading| (reading, decoded)).collect();
        if decoded < MAX_DECODINGS {
            next.extend(decode(reading).map(|reading| (reading, decoded + 1)));
        }
        for (reading, decoded) in next {
            match found.iter_mut().find(|(known, _)| *known == reading) {
                // Reached by fewer decodings it may be decoded more often.
                Some((_, before)) if *before > decoded => {
                    *before = decoded;
                    found.push((reading, decoded));
                }
                Some(_) => {}
                None => {
                    bytes += reading.len();
                    found.push((reading, decoded));
                }
            }
        }
        if found.len() > MAX_READINGS || bytes > MAX_READING_BYTES {
            return Err(TooManyReadings);
        }
        at += 1;
    }
    let mut readings: Vec<Vec<u8>> = Vec::new();
    for (reading, _) in found {
        if reading != path && !readings.contains(&reading) {
            readings.push(reading);
        }
    }
    Ok(readings)
}

/// Returns the other paths that a program may read this one as, each as it is written in a URI: escapes decoded once
/// or twice, slashes merged, dot segments resolved, and so on. `None` if there are more than 128, or more than 256 KiB
/// in total; such a path is refused where access depends on the path.
///
/// ```
/// use edge_policy::decide::other_readings;
///
/// assert_eq!(other_readings("/x/..%2fadmin").unwrap(), ["/x/../admin", "/admin"]);
/// assert!(other_readings("/admin").unwrap().is_empty());
/// ```
pub fn other_readings(path: &str) -> Option<Vec<String>> {
    let mut all: Vec<String> = Vec::new();
    for reading in readings(path.as_bytes()).ok()? {
        let written = percent_encode(&reading);
        if written != path && !all.contains(&written) {
            all.push(written);
        }
    }
    Some(all)
}

/// Returns whether every backend reads the path as received: it contains no escape, backslash, `;`, `#`, `?`, space or
/// control character, no double slash, and no segment that begins with a dot. True for most paths.
fn is_unambiguous(path: &[u8]) -> bool {
    let special = |b: u8| matches!(b, b'%' | b'\\' | b';' | b'#' | b'?') || b <= b' ';
    !path.iter().any(|b| special(*b)) && !path.windows(2).any(|pair| matches!(pair, b"//" | b"/."))
}

/// A normalization step: returns the changed path, or `None` if the step does not change it.
type PathStep = fn(&[u8]) -> Option<Vec<u8>>;

/// The normalization steps that backends may take, besides decoding.
const STEPS: [PathStep; 7] = [
    replace_backslashes,
    remove_parameters,
    merge_slashes,
    resolve_dot_segments,
    cut_at_nul,
    cut_at_query,
    trim_end,
];

/// Returns `reading`, or `None` if it equals `path`.
fn if_changed(path: &[u8], reading: Vec<u8>) -> Option<Vec<u8>> {
    (reading != path).then_some(reading)
}

/// Decodes each valid percent-escape once; invalid ones remain as they are. `None` if there is no valid one.
fn decode(path: &[u8]) -> Option<Vec<u8>> {
    let digit = |i: usize| path.get(i).and_then(|b| char::from(*b).to_digit(16));
    let mut reading = Vec::with_capacity(path.len());
    let mut at = 0;
    while at < path.len() {
        match (path[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                reading.push((high * 16 + low) as u8);
                at += 3;
            }
            (b, ..) => {
                reading.push(b);
                at += 1;
            }
        }
    }
    if_changed(path, reading)
}

/// Replaces backslashes by slashes. `None` without backslashes.
fn replace_backslashes(path: &[u8]) -> Option<Vec<u8>> {
    if_changed(path, path.iter().map(|b| if *b == b'\\' { b'/' } else { *b }).collect())
}

/// Removes the parameters of each segment, from its first `;`. `None` if there are none.
fn remove_parameters(path: &[u8]) -> Option<Vec<u8>> {
    let name = |segment: &[u8]| segment.split(|b| *b == b';').next().unwrap_or_default().to_vec();
    if_changed(path, path.split(|b| *b == b'/').map(name).collect::<Vec<_>>().join(&b'/'))
}

/// Replaces each sequence of slashes by one slash. `None` if there is no sequence of at least two.
fn merge_slashes(path: &[u8]) -> Option<Vec<u8>> {
    let mut reading = path.to_vec();
    reading.dedup_by(|b, before| *b == b'/' && *before == b'/');
    if_changed(path, reading)
}

/// Resolves `.` and `..` (RFC 3986 §5.2.4); `..` at the root stays at the root. `None` if that changes nothing, or
/// the path does not begin with `/`.
fn resolve_dot_segments(path: &[u8]) -> Option<Vec<u8>> {
    let rest = path.strip_prefix(b"/")?;
    let mut segments: Vec<&[u8]> = Vec::new();
    let mut folder = false;
    for segment in rest.split(|b| *b == b'/') {
        folder = matches!(segment, b"." | b"..");
        match segment {
            b"." => {}
            b".." => drop(segments.pop()),
            other => segments.push(other),
        }
    }
    let mut reading = vec![b'/'];
    reading.extend(segments.join(&b'/'));
    if folder && !segments.is_empty() {
        reading.push(b'/');
    }
    if_changed(path, reading)
}

/// Returns the path before its first NUL. `None` if it contains none.
fn cut_at_nul(path: &[u8]) -> Option<Vec<u8>> {
    path.iter().position(|b| *b == 0).map(|at| path[..at].to_vec())
}

/// Returns the path before its first `?` or `#`, which ends the path for a backend that decodes first. `None` if it
/// contains neither.
fn cut_at_query(path: &[u8]) -> Option<Vec<u8>> {
    path.iter().position(|b| matches!(b, b'?' | b'#')).map(|at| path[..at].to_vec())
}

/// Removes spaces and ASCII control characters at the end. `None` if there are none.
fn trim_end(path: &[u8]) -> Option<Vec<u8>> {
    let end = path.iter().rposition(|b| *b > b' ').map_or(0, |at| at + 1);
    if_changed(path, path[..end].to_vec())
}

/// Returns a reading as it is written in a URI: every byte that is not visible ASCII, and `?` and `#`, is
/// percent-encoded.
pub(super) fn percent_encode(reading: &[u8]) -> String {
    let mut text = String::with_capacity(reading.len());
    for b in reading {
        if b.is_ascii_graphic() && !matches!(b, b'?' | b'#') {
            text.push(char::from(*b));
        } else {
            text += &format!("%{b:02X}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(path: &str) -> Vec<String> {
        let mut found: Vec<String> =
            readings(path.as_bytes()).unwrap().iter().map(|path| percent_encode(path)).collect();
        found.sort();
        found
    }

    #[test]
    fn forms_of_a_path() {
        for path in ["/", "/a", "/a/", "/a/b.c", "/a..b", "*", "", "/a:b@c", "/npm/@scope/pkg"] {
            assert!(read(path).is_empty(), "{path}");
        }
        assert_eq!(read("/npm/@scope%2fpkg"), ["/npm/@scope/pkg"]);
        assert_eq!(read("/%61dmin"), ["/admin"]);
        assert_eq!(read("//admin"), ["/admin"]);
        assert_eq!(read("/admin;x=1"), ["/admin"]);
        assert_eq!(read("/a\\b"), ["/a/b"]);
        assert_eq!(read("/a/../b"), ["/b"]);
        assert_eq!(read("/.."), ["/"]);
        assert_eq!(read("/a/.."), ["/"]);
        assert_eq!(read("/a/b/."), ["/a/b/"]);
        // A blank within a segment is written as it came.
        assert_eq!(readings(b"/a%20b"), Ok(vec![b"/a b".to_vec()]));
        for (path, reading) in [
            ("/%2561dmin", "/admin"),
            ("/x%2f..%2fadmin", "/admin"),
            ("/x/%2e%2e/admin", "/admin"),
            ("/x%5c..%5cadmin", "/admin"),
            ("/admin%00.png", "/admin"),
            ("/admin%3fx", "/admin"),
            ("/admin%20", "/admin"),
            ("/;/admin", "/admin"),
            ("/a/..;/admin", "/admin"),
            ("/a//../admin", "/admin"),
            ("/%252e%252e/admin", "/admin"),
        ] {
            assert!(read(path).contains(&reading.to_owned()), "{path}: {:?}", read(path));
        }
    }

    #[test]
    fn there_is_a_bound() {
        let path = format!("/{}", "a%2f..;x\\./%252e%00//".repeat(2900));
        assert!(readings(path.as_bytes()).is_err());
    }

    /// The treatment of a path by a program: some steps in some order, some of them again, with at most two decodings.
    fn program() -> impl Strategy<Value = Vec<usize>> {
        proptest::collection::vec(0usize..8, 0..9)
    }

    proptest! {
        /// Whatever steps a program takes, in whatever order, its reading is among those.
        #[test]
        fn every_program_reads_one_of_them(path in "/(a|b|/|%2f|%5C|%2e|\\.|;|%25|2e|%00|\\\\|%20){0,6}", program in program()) {
            let Ok(known) = readings(path.as_bytes()) else { return Ok(()) };
            let (mut reading, mut decoded) = (path.clone().into_bytes(), 0);
            for step in program {
                let next = match step {
                    7 if decoded < MAX_DECODINGS => {
                        decoded += 1;
                        decode(&reading)
                    }
                    7 => None,
                    step => STEPS[step](&reading),
                };
                reading = next.unwrap_or(reading);
            }
            prop_assert!(reading == path.as_bytes() || known.contains(&reading), "{}", percent_encode(&reading));
        }

        /// A path without special characters has one reading, and is found to have it without being copied.
        #[test]
        fn plain_paths_have_one(path in "(/[a-z0-9_-]{1,5}){1,4}/?") {
            prop_assert!(is_unambiguous(path.as_bytes()));
            prop_assert_eq!(readings(path.as_bytes()), Ok(Vec::new()));
        }
    }
}
