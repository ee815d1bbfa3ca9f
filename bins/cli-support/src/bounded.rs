//! Reading of files within a time limit. A file system that does not answer, such as a network mount whose server is
//! away, blocks a read in the kernel; the program must go on nevertheless.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Time limit of a read.
pub const READ_TIMEOUT: Duration = Duration::from_secs(2);
/// Time limit of a read while an earlier one of another file still hangs, so that several files of one file system do
/// not add up.
const HURRIED_TIMEOUT: Duration = Duration::from_millis(200);

/// Files whose reads have exceeded the time limit and still hang. None of them is read a second time meanwhile, so that
/// threads do not accumulate.
static HANGING: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Locks a mutex, even if a thread panicked while it held the lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// State of a read in a thread of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ReadState {
    /// The caller waits for it.
    Awaited,
    /// It has ended, and its result is sent to the caller.
    Ended,
    /// The caller has ceased to wait.
    Hanging,
}

/// Calls a function that may block on the file at `path`, in a separate thread, and returns its result. The thread has
/// ended then. `None` if there is no result within the time limit of 2 s, or at once if an earlier call for this path
/// still hangs; after such a call the limit for other paths is 200 ms until it has ended. The result of a call that
/// exceeds the limit is dropped. `None` too if the function panics, or the thread cannot be started.
pub fn within<T: Send + 'static>(path: &Path, read: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let limit = {
        let hanging = lock(&HANGING);
        if hanging.contains(path) {
            return None;
        }
        if hanging.is_empty() { READ_TIMEOUT } else { HURRIED_TIMEOUT }
    };
    within_limit(path, limit, read)
}

/// Calls a function like [`within`], with this time limit and without regard to earlier calls.
fn within_limit<T: Send + 'static>(
    path: &Path,
    limit: Duration,
    read: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let state = Arc::new(Mutex::new(ReadState::Awaited));
    let (sender, receiver) = sync_channel(1);
    let (of_thread, place) = (state.clone(), path.to_owned());
    let work = move || {
        // A panic ends the read, too.
        let result = catch_unwind(AssertUnwindSafe(read));
        let mut state = lock(&of_thread);
        if *state == ReadState::Hanging {
            drop(result);
            lock(&HANGING).remove(&place);
        } else {
            *state = ReadState::Ended;
            if let Ok(result) = result {
                // The channel has room for it, and the caller receives it.
                let _ = sender.send(result);
            }
        }
    };
    let thread = std::thread::Builder::new().name("read".to_owned()).spawn(work).ok()?;
    match receiver.recv_timeout(limit) {
        Ok(result) => {
            let _ = thread.join();
            return Some(result);
        }
        // The function has panicked.
        Err(RecvTimeoutError::Disconnected) => return None,
        Err(RecvTimeoutError::Timeout) => {}
    }
    let mut state = lock(&state);
    if *state == ReadState::Ended {
        return receiver.recv().ok();
    }
    *state = ReadState::Hanging;
    lock(&HANGING).insert(path.to_owned());
    None
}

/// Returns the error of a read that exceeded the time limit.
pub(crate) fn timed_out() -> io::Error {
    let seconds = READ_TIMEOUT.as_secs();
    io::Error::new(io::ErrorKind::TimedOut, format!("its file system does not answer within {seconds} s"))
}

/// Reads a regular file as text, such as a file of root certificates, within the time limit of 2 s.
///
/// # Errors
/// Returns an error if the file cannot be read, is not a regular file, or is not UTF-8, and one of the kind
/// [`TimedOut`](io::ErrorKind::TimedOut) if its file system does not answer.
pub fn read_text(path: &Path) -> io::Result<String> {
    let file = path.to_owned();
    within(path, move || read_regular(&file)).unwrap_or_else(|| Err(timed_out()))
}

/// Reads a regular file as text. Of other files, such as named pipes, nothing is read.
///
/// # Errors
/// Returns an error if the file cannot be read, is not a regular file, or is not UTF-8.
fn read_regular(path: &Path) -> io::Result<String> {
    // O_NONBLOCK keeps a named pipe from blocking until it has a writer.
    let mut file =
        OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;
    use std::time::Instant;

    /// In one test, since the files that hang are those of the process.
    #[test]
    fn a_read_that_hangs_is_left_and_not_repeated_and_others_are_hurried() {
        let (hangs, other) = (Path::new("/of/a/mount"), Path::new("/of/another"));
        let (go, gate) = channel::<()>();
        let limit = Duration::from_millis(50);
        assert_eq!(within_limit(hangs, limit, move || gate.recv().is_ok()), None);
        // A second call would panic here.
        assert_eq!(within(hangs, || panic!("a second read of the same file")), None::<u8>);
        let (never, closed) = channel::<()>();
        let began = Instant::now();
        assert_eq!(within(other, move || closed.recv().is_ok()), None);
        assert!(began.elapsed() < READ_TIMEOUT, "{:?}", began.elapsed());
        go.send(()).expect("it is waited for");
        drop(never);
        // Once they have ended, the files are read again.
        let again = |path: &Path, value: u8| {
            let until = Instant::now() + Duration::from_secs(10);
            while within(path, move || value) != Some(value) {
                assert!(Instant::now() < until, "{} still counts as hanging", path.display());
                std::thread::sleep(Duration::from_millis(5));
            }
        };
        again(hangs, 8);
        again(other, 8);
        // Even a fault that comes late does not count as a hanging read.
        assert_eq!(within(hangs, || -> u8 { panic!("a fault") }), None);
        again(hangs, 9);
        let late = || -> u8 {
            std::thread::sleep(Duration::from_millis(200));
            panic!("a late fault")
        };
        assert_eq!(within_limit(hangs, limit, late), None);
        again(hangs, 10);
    }

    #[test]
    fn only_regular_files_are_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, pipe) = (folder.path().join("file"), folder.path().join("pipe"));
        std::fs::write(&file, "text").expect("a file");
        assert_eq!(read_regular(&file).expect("it is read"), "text");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs");
        assert!(made.success());
        for (path, kind) in
            [(&pipe, io::ErrorKind::InvalidInput), (&folder.path().join("no"), io::ErrorKind::NotFound)]
        {
            assert_eq!(read_regular(path).expect_err("it is not read").kind(), kind, "{}", path.display());
        }
        std::fs::write(&file, [0xff]).expect("a file");
        assert_eq!(read_regular(&file).expect_err("not text").kind(), io::ErrorKind::InvalidData);
    }
}
