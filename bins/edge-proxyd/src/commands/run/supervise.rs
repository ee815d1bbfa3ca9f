//! The loop of the main thread: signals, requests, certificates and the takeover, while the workers serve.

use super::certificates::CertificateMonitor;
use super::identity::FolderIdentity;
use super::process_sandbox::ProcessSandbox;
use crate::cli::RunArgs;
use crate::config::Settings;
use crate::journal;
use crate::service::control::{
    ControlAnswer, ControlContent, ControlRequest, ControlSocket, MaintenanceRequest, Takeover,
};
use crate::service::maintenance::Switches;
use crate::service::{HandOver, Notifier, SocketStore};
use crate::status::{self, StatusSources};
use cli_support::outcome::chain;
use edge_proxy::Certificates;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::Receiver;

/// The interval at which the certificates folder and the listeners are checked.
const WATCH_INTERVAL: Duration = Duration::from_secs(2);

/// The reason for which a process stops serving.
pub(super) enum ShutdownReason {
    /// It was told to.
    Stopped,
    /// Another process serves in its place.
    Replaced,
}

/// The signal handlers of the process. They are installed before readiness is announced: a signal may arrive right
/// after, and an unhandled one would kill the process.
pub(super) struct Signals {
    hangup: Signal,
    interrupt: Signal,
    reopen: Signal,
    terminate: Signal,
    upgrade: Signal,
}

impl Signals {
    /// Installs the handlers. Must be called within the runtime.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            reopen: signal(SignalKind::user_defined1())?,
            terminate: signal(SignalKind::terminate())?,
            upgrade: signal(SignalKind::user_defined2())?,
        })
    }

    /// Waits for a signal to stop.
    pub(super) async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// A takeover in progress, and whoever waits for its outcome.
struct PendingTakeover<'a> {
    hand_over: HandOver<'a>,
    asked: Option<ControlRequest>,
}

/// The state of the main thread, which handles everything that is not a request.
pub(super) struct Supervisor<'a> {
    pub(super) args: &'a RunArgs,
    pub(super) settings: &'a Settings,
    pub(super) notifier: &'a Notifier,
    pub(super) process_sandbox: &'a ProcessSandbox,
    pub(super) control: Option<&'a ControlSocket>,
    pub(super) watched: Arc<StatusSources>,
    pub(super) certificates: Option<CertificateMonitor>,
    /// The folder of certificates.
    pub(super) identity: FolderIdentity,
    pub(super) store: SocketStore,
    pub(super) switches: Switches,
}

impl<'a> Supervisor<'a> {
    /// Handles signals, requests and new certificates until the program stops.
    pub(super) async fn run(
        mut self,
        took_over: bool,
        mut signals: Signals,
        mut requests: Option<Receiver<ControlRequest>>,
    ) -> io::Result<ShutdownReason> {
        self.serve_status(took_over).await?;
        let mut samples = tokio::time::interval(status::STEP);
        let mut watchdog = self.notifier.watchdog.map(tokio::time::interval);
        let mut watch = tokio::time::interval(WATCH_INTERVAL);
        let mut pending: Option<PendingTakeover<'a>> = None;
        loop {
            tokio::select! {
                _ = signals.terminate.recv() => return Ok(end_pending(pending)),
                _ = signals.interrupt.recv() => return Ok(end_pending(pending)),
                _ = signals.hangup.recv() => {
                    self.notifier.reloading();
                    self.refresh();
                    let reloaded = self.reload(false);
                    reloaded.tell();
                    self.notifier.say(&format!("READY=1\nSTATUS={}", status_line(&reloaded.answer)));
                }
                _ = signals.upgrade.recv() => pending = self.hand_over(pending, None).await,
                Some(request) = next_request(&mut requests) => pending = self.handle_request(pending, request).await,
                served = takeover_outcome(&mut pending) => {
                    if let Some(done) = pending.take()
                        && let Some(ending) = self.finish(done, served).await
                    {
                        return Ok(ending);
                    }
                }
                _ = next(&mut watchdog) => self.notifier.say("WATCHDOG=1"),
                _ = watch.tick() => {
                    if let Some(certificates) = &mut self.certificates {
                        certificates.refresh(Certificates::refresh_if_due);
                    }
                    self.store.sync(&self.watched.proxy, self.notifier);
                    if pending.is_none() && self.detect_replaced_folder() {
                        pending = self.hand_over(None, None).await;
                    }
                }
                _ = samples.tick() => self.watched.sample(),
                _ = signals.reopen.recv() => self.watched.log.reopen(),
            }
        }
    }

    /// Starts the status page.
    async fn serve_status(&self, took_over: bool) -> io::Result<()> {
        let Some(address) = &self.settings.status else { return Ok(()) };
        match status::StatusListener::bind(address).await {
            Ok(listener) => drop(tokio::spawn(status::run(listener, self.watched.clone()))),
            // The predecessor still holds the address.
            Err(_) if took_over => {
                drop(tokio::spawn(status::run_later(address.clone(), self.watched.clone())));
            }
            Err(why) => {
                return Err(io::Error::new(why.kind(), format!("cannot listen for the status page: {why}")));
            }
        }
        Ok(())
    }

    /// Detects a folder of certificates that was mounted or replaced since the sandbox was entered, and warns, once for each.
    /// Returns whether a takeover helps. `[acme]` writes to the folder, too.
    fn detect_replaced_folder(&mut self) -> bool {
        let denied = self.certificates.as_ref().is_some_and(CertificateMonitor::has_failed);
        if !self.process_sandbox.is_closed() || !(denied || self.settings.acme.is_some()) {
            return false;
        }
        let Some(path) = self.identity.detect_change() else { return false };
        // Without a manager that follows the main process, a takeover would look like its end.
        let follows = self.notifier.is_connected();
        let then = if follows { "a new one takes over" } else { "restart edge-proxyd" };
        journal::warning(format_args!(
            "{}: mounted or replaced since the start, which the sandbox of this process does not know: {then}",
            path.display()
        ));
        follows
    }

    fn refresh(&mut self) {
        if let Some(certificates) = &mut self.certificates {
            certificates.refresh(Certificates::refresh);
        }
    }

    /// Handles a request of `edge-proxyd reload` or `edge-proxyd maintenance`: answers it, or begins a takeover that answers
    /// it later. Returns the takeover that is pending afterwards. `None` if there is none.
    async fn handle_request(
        &mut self,
        pending: Option<PendingTakeover<'a>>,
        request: ControlRequest,
    ) -> Option<PendingTakeover<'a>> {
        let takeover = match &request.content {
            ControlContent::Reload(reload) => reload.takeover,
            ControlContent::Maintenance { maintenance } => {
                let answer = self.switch(maintenance, pending.is_some());
                request.answer(&answer).await;
                return pending;
            }
        };
        if takeover == Takeover::Always {
            return self.hand_over(pending, Some(request)).await;
        }
        self.refresh();
        let whole = takeover == Takeover::Needed;
        let reloaded = self.reload(whole);
        if whole && reloaded.successor_helps {
            return self.hand_over(pending, Some(request)).await;
        }
        reloaded.tell();
        self.notifier.say(&format!("STATUS={}", status_line(&reloaded.answer)));
        request.answer(&reloaded.answer).await;
        pending
    }

    /// Switches a site of the configuration in effect, unless a successor is about to serve. Returns the answer.
    fn switch(&mut self, asked: &MaintenanceRequest, handing_over: bool) -> ControlAnswer {
        let refused =
            |line: String, invalid| ControlAnswer { lines: vec![line], invalid, ..ControlAnswer::default() };
        if handing_over {
            // The successor has read the switches already.
            return refused("a new process is taking over: ask again when it serves".into(), false);
        }
        let mut config = self.watched.proxy.config();
        let line = match self.switches.set(&config, &asked.site, asked.on) {
            Ok(line) => line,
            Err(why) => return refused(why, true),
        };
        self.switches.apply(&mut config);
        if let Err(error) = self.watched.proxy.reload(config) {
            return refused(format!("{line} from the next reload on: {}", chain(&error)), false);
        }
        journal::info(&line);
        ControlAnswer { ok: true, lines: vec![line], ..ControlAnswer::default() }
    }

    /// Begins a takeover, unless there is one. Returns the takeover that is pending afterwards, or `None` if it could not
    /// begin.
    async fn hand_over(
        &self,
        pending: Option<PendingTakeover<'a>>,
        asked: Option<ControlRequest>,
    ) -> Option<PendingTakeover<'a>> {
        let patience = Duration::from_secs(self.args.takeover_timeout.into());
        let begun = match &pending {
            Some(_) => Err("a takeover is already in progress".to_owned()),
            None => {
                self.notifier.say("STATUS=handing over to a new process");
                let launcher = self.process_sandbox.launcher.as_ref();
                HandOver::begin(&self.watched.proxy, self.control, launcher, patience)
                    .map_err(|why| why.to_string())
            }
        };
        match begun {
            Ok(hand_over) => Some(PendingTakeover { hand_over, asked }),
            Err(why) => {
                self.fail(&why, asked, pending.is_some()).await;
                pending
            }
        }
    }

    /// Completes a takeover, and answers whoever asked for it. Returns the reason to stop, or `None` if the successor does
    /// not serve.
    async fn finish(
        &mut self,
        pending: PendingTakeover<'a>,
        served: Result<(), &'static str>,
    ) -> Option<ShutdownReason> {
        let PendingTakeover { hand_over, asked } = pending;
        if let Err(why) = served {
            hand_over.end();
            self.fail(why, asked, false).await;
            return None;
        }
        let process = hand_over.keep();
        let line = format!("process {process} took over; this one finishes the requests in flight");
        journal::info(&line);
        if let Some(request) = asked {
            let answer = ControlAnswer {
                ok: true,
                lines: vec![format!("process {process} took over with {}", self.args.config.display())],
                process: Some(process),
                ..ControlAnswer::default()
            };
            request.answer(&answer).await;
        }
        Some(ShutdownReason::Replaced)
    }

    /// Reports a takeover that failed.
    async fn fail(&self, why: &str, asked: Option<ControlRequest>, goes_on: bool) {
        self.watched.reloads.record(false);
        let line = format!("{why}; process {} continues to serve", std::process::id());
        journal::error(&line);
        if !goes_on {
            self.notifier.say(&format!("STATUS=serving; {why}"));
        }
        if let Some(request) = asked {
            let hint = "the journal has the lines of the new process: journalctl -u edge-proxyd".to_owned();
            request.answer(&ControlAnswer { lines: vec![line, hint], ..ControlAnswer::default() }).await;
        }
    }
}

/// Ends a successor that does not serve yet, since the whole service is to stop.
fn end_pending(pending: Option<PendingTakeover<'_>>) -> ShutdownReason {
    if let Some(pending) = pending {
        pending.hand_over.end();
    }
    ShutdownReason::Stopped
}

/// Returns the state for the service manager after a reload.
fn status_line(answer: &ControlAnswer) -> String {
    match answer.lines.first() {
        Some(line) if !answer.ok => format!("serving; the last reload was refused: {line}"),
        _ => "serving".to_owned(),
    }
}

/// Waits until the successor serves, or fails with the reason. Pending forever without a takeover.
async fn takeover_outcome(pending: &mut Option<PendingTakeover<'_>>) -> Result<(), &'static str> {
    match pending {
        Some(pending) => pending.hand_over.wait_until_serving().await,
        None => std::future::pending().await,
    }
}

/// Waits for the next request, or forever without a control socket.
async fn next_request(requests: &mut Option<Receiver<ControlRequest>>) -> Option<ControlRequest> {
    match requests {
        Some(requests) => requests.recv().await,
        None => std::future::pending().await,
    }
}

/// Waits for the next tick, or forever without a ticker.
async fn next(ticks: &mut Option<tokio::time::Interval>) {
    match ticks {
        Some(ticks) => drop(ticks.tick().await),
        None => std::future::pending().await,
    }
}
