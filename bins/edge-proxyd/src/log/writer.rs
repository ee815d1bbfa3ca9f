//! The writer of the log. Workers format lines; a separate thread writes them, so that a slow disk never slows a
//! request.

use super::{Format, LogRecord};
use edge_proxy::{AccessRecord, ConnectionRejected, Observer, Reason, SharedEvent};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::SystemTime;

/// The longest queue of lines. Further lines are dropped and counted.
const WAITING: usize = 8192;

/// The writer of the access log.
pub(crate) struct Writer {
    format: Format,
    rejected: bool,
    lines: SyncSender<Vec<u8>>,
    lost: AtomicU64,
    /// Set when the file must be reopened after it was renamed.
    reopen: Arc<AtomicBool>,
}

impl Writer {
    /// Opens the log. Without a file, lines go to standard output.
    pub(crate) fn open(format: Format, file: Option<&Path>, rejected: bool) -> io::Result<Self> {
        let out = file.map(|path| OpenOptions::new().append(true).create(true).open(path)).transpose()?;
        let (lines, receiver) = sync_channel(WAITING);
        let reopen = Arc::new(AtomicBool::new(false));
        let (path, asked) = (file.map(Path::to_owned), reopen.clone());
        std::thread::Builder::new()
            .name("log".into())
            .spawn(move || write(&receiver, out, path.as_deref(), &asked))?;
        Ok(Self { format, rejected, lines, lost: AtomicU64::new(0), reopen })
    }

    /// Reopens the file before the next line; a renamed file is left alone.
    pub(crate) fn reopen(&self) {
        self.reopen.store(true, Ordering::Relaxed);
        // An empty line wakes the thread and writes nothing.
        self.send(Vec::new());
    }

    /// Returns the number of lines lost because the disk was too slow.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    fn send(&self, line: Vec<u8>) {
        if let Err(TrySendError::Full(_)) = self.lines.try_send(line) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Writes queued lines in batches.
fn write(lines: &Receiver<Vec<u8>>, mut file: Option<File>, path: Option<&Path>, reopen: &AtomicBool) {
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
                Ok(opened) => file = Some(opened),
                Err(why) => eprintln!("edge-proxyd: cannot open the access log {}: {why}", path.display()),
            }
        }
        // A full disk must not stop the service; the lines are lost.
        let _ = match &mut file {
            Some(file) => file.write_all(&batch),
            None => io::stdout().lock().write_all(&batch),
        };
        batch.clear();
    }
}

impl Observer for Writer {
    fn shared(&self, event: &SharedEvent) {
        crate::shared::tell(event);
    }

    fn access(&self, record: &AccessRecord<'_>) {
        if self.format == Format::Off || (record.status.is_none() && record.site.is_none() && !self.rejected)
        {
            return;
        }
        let mut line = Vec::with_capacity(384);
        LogRecord {
            time: SystemTime::now(),
            client: record.client,
            peer: record.peer,
            method: record.method.as_str(),
            authority: record.authority,
            target: record.target,
            version: &record.version.to_string(),
            status: record.status,
            received: record.received,
            sent: record.sent,
            duration: record.duration,
            site: record.site,
            upstream: record.upstream,
            reason: record.reason.map(Reason::as_str),
            early: record.early,
            referer: record.head.fields.get_named(b"referer"),
            user_agent: record.head.fields.get_named(b"user-agent"),
        }
        .write(self.format, &mut line);
        self.send(line);
    }

    fn turned_away(&self, record: &ConnectionRejected<'_>) {
        if !self.rejected || self.format == Format::Off {
            return;
        }
        let value = serde_json::json!({
            "turned_away": record.reason.as_str(),
            "peer": record.peer,
            "listener": record.local,
            "sni": record.sni,
            "transport": if record.quic { "quic" } else { "tcp" },
        });
        self.send(format!("{value}\n").into_bytes());
    }
}
