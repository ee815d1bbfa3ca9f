//! The writer of the access log. Workers format lines and queue them; a thread for each file writes them, so that a
//! slow disk does not delay requests.

use super::{Format, LogRecord, LogSettings, Template, connection};
use crate::journal;
use edge_proxy::{
    AcceptEvent, AccessRecord, ConnectionRejected, ForwardRecord, ListenerEvent, Observer, Reason,
    SharedEvent, TargetChange, TargetEvent, WorkerFailure,
};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::SystemTime;

/// The largest number of lines in a queue. Lines beyond it are dropped and counted as lost.
const QUEUE_CAPACITY: usize = 8192;

/// The access log: formats records, and queues their lines for the log file or that of their site.
pub(crate) struct Writer {
    /// The format of lines, unless there is a template. With [`Format::Off`] nothing is logged, even with a template.
    format: Format,
    /// The template of all lines. `None` if `format` applies.
    template: Option<Template>,
    /// True if rejected connections, and requests without both a response and a site, are logged too.
    rejected: bool,
    /// The queue of the log file, or of standard output, for everything except requests of the sites in `sites`.
    log: Queue,
    /// The queues of sites with a log file of their own, by the name of the site.
    sites: BTreeMap<String, Queue>,
}

/// A queue of lines, which a thread writes to a file or standard output.
struct Queue {
    /// The sender of lines to the thread.
    lines: SyncSender<Vec<u8>>,
    /// The number of lines that were dropped or could not be written.
    lost: Arc<AtomicU64>,
    /// Set to true to make the thread open the file again before it writes the next lines, and reset by the thread.
    reopen: Arc<AtomicBool>,
}

impl Writer {
    /// Opens the log files for appending, creating them if needed, and starts a thread for each. Without a file, lines
    /// go to standard output.
    ///
    /// # Errors
    /// A file could not be opened, or a thread not started. The message begins with the path, or with `standard
    /// output`.
    pub(crate) fn open(settings: &LogSettings) -> io::Result<Self> {
        let open = |file: Option<&Path>| {
            Queue::open(file).map_err(|why| {
                let path = file.unwrap_or(Path::new("standard output"));
                io::Error::new(why.kind(), format!("{}: {why}", path.display()))
            })
        };
        let sites = settings.sites.iter().map(|(site, file)| Ok((site.clone(), open(Some(file))?)));
        Ok(Self {
            format: settings.format,
            template: settings.template.clone(),
            rejected: settings.rejected,
            sites: sites.collect::<io::Result<_>>()?,
            log: open(settings.file.as_deref())?,
        })
    }

    /// Returns the queue of the log and those of sites.
    fn queues(&self) -> impl Iterator<Item = &Queue> {
        std::iter::once(&self.log).chain(self.sites.values())
    }

    /// Makes the threads open the log files again by their paths, as is needed after they were renamed for rotation.
    /// Has no effect on standard output.
    pub(crate) fn reopen(&self) {
        self.queues().for_each(Queue::reopen);
    }

    /// Returns the number of lines since the start that were dropped because a queue was full, or that could not be
    /// written, in all files.
    pub(crate) fn lost(&self) -> u64 {
        self.queues().map(|queue| queue.lost.load(Ordering::Relaxed)).sum()
    }

    /// Returns the queue of a site's lines: that of its own file if it has one, or else that of the log file.
    fn of_site(&self, site: Option<&str>) -> &Queue {
        site.and_then(|site| self.sites.get(site)).unwrap_or(&self.log)
    }
}

impl Queue {
    /// Opens the file, or standard output without one, and starts the thread that writes to it.
    ///
    /// # Errors
    /// The file could not be opened, or the thread not be started.
    fn open(file: Option<&Path>) -> io::Result<Self> {
        let out = file.map(|path| OpenOptions::new().append(true).create(true).open(path)).transpose()?;
        let (lines, receiver) = sync_channel(QUEUE_CAPACITY);
        let reopen = Arc::new(AtomicBool::new(false));
        let lost = Arc::new(AtomicU64::new(0));
        let (path, asked, counted) = (file.map(Path::to_owned), reopen.clone(), lost.clone());
        std::thread::Builder::new()
            .name("log".into())
            .spawn(move || write(&receiver, out, path.as_deref(), &asked, &counted))?;
        Ok(Self { lines, lost, reopen })
    }

    /// Makes the thread open the file again, and wakes it. Without a file this has no effect.
    fn reopen(&self) {
        self.reopen.store(true, Ordering::Relaxed);
        // An empty line wakes the thread and writes nothing. It is not needed if the queue is full, and is no loss
        // then.
        drop(self.lines.try_send(Vec::new()));
    }

    /// Queues a line without blocking. If the queue is full, the line is dropped and counted. If the thread has ended,
    /// the line is dropped only.
    fn send(&self, line: Vec<u8>) {
        if let Err(TrySendError::Full(_)) = self.lines.try_send(line) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Writes queued lines in batches of about 256 KiB until the senders are dropped, and opens `path` again when `reopen`
/// is set. Failures and recoveries of the output are logged once each, and lines that were not written are added to
/// `lost`.
fn write(
    lines: &Receiver<Vec<u8>>,
    file: Option<File>,
    path: Option<&Path>,
    reopen: &AtomicBool,
    lost: &AtomicU64,
) {
    let mut log =
        Log::new(file.map_or_else(|| Box::new(io::stdout()) as Box<dyn Write>, |file| Box::new(file)));
    let name = path.map_or_else(|| "standard output".to_owned(), |path| path.display().to_string());
    let mut batch = Vec::new();
    while let Ok(line) = lines.recv() {
        batch.extend_from_slice(&line);
        while batch.len() < 256 * 1024
            && let Ok(line) = lines.try_recv()
        {
            batch.extend_from_slice(&line);
        }
        if let Some(path) = path
            && reopen.swap(false, Ordering::Relaxed)
        {
            match OpenOptions::new().append(true).create(true).open(path) {
                Ok(opened) => log.reopened(Box::new(opened)),
                Err(why) => journal::error(format_args!("cannot open the access log {name}: {why}")),
            }
        }
        // A full disk must not stop the service.
        let written = log.write(&batch);
        lost.fetch_add(written.lost, Ordering::Relaxed);
        match written.turn {
            Some(LogTransition::Failed(why)) => {
                journal::error(format_args!(
                    "cannot write the access log {name}: {why}; lines are lost until it can be written"
                ));
            }
            Some(LogTransition::Recovered(lost)) => {
                journal::warning(format_args!(
                    "the access log {name} can be written again; {lost} lines were lost"
                ));
            }
            None => {}
        }
        batch.clear();
    }
}

/// An output that may fail for a while, such as a file on a full disk. Each line is either written as a whole, or
/// counted as lost.
struct Log<W> {
    /// The file or stream to which lines are written.
    out: W,
    /// True if a line was written only in part, so that a line feed is written before the next line.
    cut: bool,
    /// The number of lines that were lost since the output failed. `None` while the output works.
    failing: Option<u64>,
}

/// The outcome of writing a batch of lines.
struct WriteOutcome {
    /// The number of lines of this batch that were lost.
    lost: u64,
    /// The change, if this batch was the first to fail or the first to succeed after failures. `None` otherwise.
    turn: Option<LogTransition>,
}

/// A change of the state of an output.
enum LogTransition {
    /// The output has failed, with this error.
    Failed(io::Error),
    /// The output works again, after this number of lines was lost.
    Recovered(u64),
}

impl<W: Write> Log<W> {
    /// Creates the state of an output that has not failed.
    const fn new(out: W) -> Self {
        Self { out, cut: false, failing: None }
    }

    /// Continues with another output. A failure of the former output counts until a batch is written without error.
    fn reopened(&mut self, out: W) {
        self.out = out;
        self.cut = false;
    }

    /// Writes a batch of complete lines, as far as possible. A line of which only the line feed is missing does not
    /// count as lost. Returns the number of lines lost and the change of state; an empty batch changes nothing.
    fn write(&mut self, batch: &[u8]) -> WriteOutcome {
        if batch.is_empty() {
            return WriteOutcome { lost: 0, turn: None };
        }
        let (written, failed) = self.attempt(batch);
        // One that is whole but for its end gets that before the next.
        let rest = &batch[written..];
        let rest = if self.cut { rest.strip_prefix(b"\n").unwrap_or(rest) } else { rest };
        let lost = rest.iter().filter(|byte| **byte == b'\n').count() as u64;
        let turn = match (failed, self.failing) {
            (Some(why), None) => {
                self.failing = Some(lost);
                Some(LogTransition::Failed(why))
            }
            (Some(_), Some(before)) => {
                self.failing = Some(before + lost);
                None
            }
            (None, Some(before)) => {
                self.failing = None;
                Some(LogTransition::Recovered(before))
            }
            (None, None) => None,
        };
        WriteOutcome { lost, turn }
    }

    /// Writes as much of a batch as possible, after the line feed that an earlier failure left out, and flushes it.
    /// Returns the number of bytes of the batch that were written, and the error if writing or flushing failed,
    /// otherwise `None`. Interrupted calls are repeated.
    fn attempt(&mut self, batch: &[u8]) -> (usize, Option<io::Error>) {
        while self.cut {
            match self.out.write(b"\n") {
                Ok(1..) => self.cut = false,
                Ok(0) => return (0, Some(io::ErrorKind::WriteZero.into())),
                Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                Err(why) => return (0, Some(why)),
            }
        }
        let mut written = 0;
        let failed = loop {
            if written == batch.len() {
                break self.out.flush().err();
            }
            match self.out.write(&batch[written..]) {
                Ok(0) => break Some(io::ErrorKind::WriteZero.into()),
                Ok(n) => written += n,
                Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                Err(why) => break Some(why),
            }
        };
        self.cut = written > 0 && batch[written - 1] != b'\n';
        (written, failed)
    }
}

/// Returns the message about a change of a target, such as ``upstream `git`: 127.0.0.1:3000 is not used for 10s after
/// failures in a row: connection refused``.
fn target_line(event: &TargetEvent<'_>) -> String {
    let change = match event.change {
        TargetChange::Ejected(time) => format!("is not used for {time:?} after failures in a row"),
        TargetChange::Down => "is down by its checks and not used".to_owned(),
        TargetChange::Back => "is used again".to_owned(),
    };
    let cause = event.cause.map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("upstream `{}`: {} {change}{cause}", event.upstream, event.target)
}

impl Observer for Writer {
    fn accepting(&self, event: &AcceptEvent<'_>) {
        journal::warning(event);
    }

    fn shared(&self, event: &SharedEvent) {
        crate::shared::tell(event);
    }

    fn listener(&self, event: &ListenerEvent<'_>) {
        let on = event.interface.map(|interface| format!(" on {interface}")).unwrap_or_default();
        match event.why {
            None => journal::info(format_args!("listening on {}{on} again", event.address)),
            Some(why) => journal::warning(format_args!(
                "not listening on {}{on}: {why}; served as soon as that changes",
                event.address
            )),
        }
    }

    fn target(&self, event: &TargetEvent<'_>) {
        let line = target_line(event);
        match event.change {
            TargetChange::Back => journal::info(line),
            TargetChange::Down | TargetChange::Ejected(_) => journal::warning(line),
        }
    }

    fn access(&self, record: &AccessRecord<'_>) {
        if self.format == Format::Off || (record.status.is_none() && record.site.is_none() && !self.rejected)
        {
            return;
        }
        let mut line = Vec::with_capacity(384);
        let record = LogRecord {
            time: SystemTime::now(),
            client: record.client,
            peer: record.peer,
            method: record.method.as_str(),
            authority: record.authority,
            target: record.target,
            version: &record.version.to_string(),
            tls: record.tls,
            status: record.status,
            received: record.received,
            sent: record.sent,
            duration: record.duration,
            site: record.site,
            upstream: record.upstream,
            reason: record.reason.map(Reason::as_str),
            error: record.error,
            early: record.early,
            proxy_header: record.proxy_header,
            request_id: record.request_id,
            referer: record.head.fields.get_named(b"referer"),
            user_agent: record.head.fields.get_named(b"user-agent"),
        };
        match &self.template {
            Some(template) => template.write(&record, &mut line),
            None => record.write(self.format, &mut line),
        }
        self.of_site(record.site).send(line);
    }

    fn worker_failed(&self, failure: &WorkerFailure<'_>) {
        let WorkerFailure { worker, quic, error, .. } = failure;
        match quic {
            Some(listener) => {
                journal::error(format_args!(
                    "worker {worker} no longer serves HTTP/3 on {listener}: {error}"
                ));
            }
            None => journal::error(format_args!(
                "worker {worker} has ended, and its connections with it: {error}"
            )),
        }
    }

    fn forwarded(&self, record: &ForwardRecord<'_>) {
        if self.format == Format::Off {
            return;
        }
        let line = connection::forwarded(record, SystemTime::now(), self.format, self.template.as_ref());
        self.of_site(record.site).send(line);
    }

    fn rejected(&self, record: &ConnectionRejected<'_>) {
        if !self.rejected || self.format == Format::Off {
            return;
        }
        let rejected = connection::RejectedConnection::from(record);
        self.log.send(rejected.line(SystemTime::now(), self.format, self.template.as_ref()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cell::Cell;
    use std::rc::Rc;

    /// A disk with so much room.
    struct Disk {
        bytes: Vec<u8>,
        room: Rc<Cell<usize>>,
    }

    impl Write for Disk {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            let n = buf.len().min(self.room.get());
            if n == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.room.set(self.room.get() - n);
            self.bytes.extend_from_slice(&buf[..n]);
            Ok(n)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reopening_is_no_line_and_loses_none() {
        let (lines, receiver) = sync_channel(2);
        let queue = Queue { lines, lost: Arc::default(), reopen: Arc::default() };
        queue.send(b"one\n".to_vec());
        queue.send(b"two\n".to_vec());
        queue.reopen();
        assert_eq!(
            queue.lost.load(Ordering::Relaxed),
            0,
            "the queue was full, and the file is reopened all the same"
        );
        assert!(queue.reopen.load(Ordering::Relaxed));
        queue.send(b"three\n".to_vec());
        assert_eq!(queue.lost.load(Ordering::Relaxed), 1);
        assert_eq!(receiver.try_iter().count(), 2);
    }

    #[test]
    fn a_failure_ends_in_the_file_that_is_opened_next() {
        let full = Rc::new(Cell::new(2));
        let mut log = Log::new(Disk { bytes: Vec::new(), room: full });
        assert!(matches!(log.write(b"{0}\n").turn, Some(LogTransition::Failed(_))));
        log.reopened(Disk { bytes: Vec::new(), room: Rc::new(Cell::new(100)) });
        assert!(matches!(log.write(b"{1}\n").turn, Some(LogTransition::Recovered(1))));
        assert_eq!(log.out.bytes, b"{1}\n");
    }

    proptest! {
        /// Whatever room there is and when it comes back: a line is whole in the log or counted as lost, each failure
        /// is said once, and no line is glued to another.
        #[test]
        fn lines_are_whole_or_counted(steps in proptest::collection::vec((0usize..60, 1usize..4), 1..60)) {
            let room = Rc::new(Cell::new(0));
            let mut log = Log::new(Disk { bytes: Vec::new(), room: room.clone() });
            let (mut lost, mut all, mut failing) = (0, 0, false);
            for (more, lines) in steps {
                room.set(room.get() + more);
                let batch: String = (0..lines).map(|line| format!("{{{}}}\n", all + line)).collect();
                all += lines;
                let written = log.write(batch.as_bytes());
                lost += written.lost;
                match written.turn {
                    Some(LogTransition::Failed(_)) => prop_assert!(!std::mem::replace(&mut failing, true)),
                    Some(LogTransition::Recovered(_)) => prop_assert!(std::mem::replace(&mut failing, false)),
                    None => prop_assert!(written.lost == 0 || failing),
                }
            }
            let text = String::from_utf8(log.out.bytes).unwrap();
            let whole = text.lines().filter(|line| line.starts_with('{') && line.ends_with('}'));
            prop_assert_eq!(whole.count() as u64 + lost, all as u64);
            let glued = text.lines().any(|line| line.matches('{').count() > 1);
            prop_assert!(!glued);
        }
    }
}
