//! The loop of the main thread: signals, control requests, certificates and takeovers. Other threads serve meanwhile.

use super::certificates::CertificateMonitor;
use super::identity::{FolderIdentity, tell_replaced};
use super::process_sandbox::ProcessSandbox;
use crate::cli::RunArgs;
use crate::config::Settings;
use crate::journal;
use crate::service::control::{
    ControlAnswer, ControlContent, ControlRequest, ControlSocket, MaintenanceRequest, Takeover,
};
use crate::service::maintenance::Switches;
use crate::service::{HandOver, LastRequest, Notifier, SocketStore};
use crate::status::{self, StatusSources};
use cli_support::outcome::chain;
use edge_proxy::Certificates;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::Receiver;

/// The interval between two checks of the certificates and the listening sockets.
const WATCH_INTERVAL: Duration = Duration::from_secs(2);

/// The reason for which the process stops serving.
pub(super) enum ShutdownReason {
    /// SIGTERM or SIGINT was received.
    Stopped,
    /// A successor serves and took over.
    Replaced,
}

/// The signal handlers of the process. They are installed before readiness is announced: a signal may arrive right
/// after that, and without a handler it would end the process.
pub(super) struct Signals {
    /// SIGHUP: reload the configuration.
    hangup: Signal,
    /// SIGINT: stop the process.
    interrupt: Signal,
    /// SIGUSR1: open the access logs again.
    reopen: Signal,
    /// SIGTERM: stop the process.
    terminate: Signal,
    /// SIGUSR2: start a new process that takes over.
    upgrade: Signal,
}

impl Signals {
    /// Installs the handlers. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// A handler could not be installed.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            reopen: signal(SignalKind::user_defined1())?,
            terminate: signal(SignalKind::terminate())?,
            upgrade: signal(SignalKind::user_defined2())?,
        })
    }

    /// Waits for SIGTERM or SIGINT.
    pub(super) async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// A takeover that is in progress.
struct PendingTakeover<'a> {
    /// The successor, and the stream on which it reports that it serves.
    hand_over: HandOver<'a>,
    /// The control request that is answered with the outcome. `None` if a signal or the process itself began the
    /// takeover.
    asked: Option<ControlRequest>,
    /// True if the process that serves after the takeover, whichever that is, is to read the configuration again.
    reload: bool,
}

/// The state of the main thread, which supervises the proxy while other threads serve.
pub(super) struct Supervisor<'a> {
    /// The arguments of the command `run`.
    pub(super) args: &'a RunArgs,
    /// The configuration with which the process was started.
    pub(super) settings: &'a Settings,
    /// The connection to the service manager.
    pub(super) notifier: &'a Notifier,
    /// The sandbox of this process, and the launcher outside it.
    pub(super) process_sandbox: &'a ProcessSandbox,
    /// The control socket. `None` if there is none.
    pub(super) control: Option<&'a ControlSocket>,
    /// The proxy and the other sources of the status page.
    pub(super) watched: Arc<StatusSources>,
    /// The server certificates. `None` if none were configured at the start.
    pub(super) certificates: Option<CertificateMonitor>,
    /// The identity of the certificates folder, by which a replaced folder is detected.
    pub(super) identity: FolderIdentity,
    /// The listening sockets that the service manager stores across restarts.
    pub(super) store: SocketStore,
    /// The sites that were switched to maintenance.
    pub(super) switches: Switches,
}

impl<'a> Supervisor<'a> {
    /// Handles signals, control requests, certificates and takeovers until the process has to stop, and returns the
    /// reason. `took_over` is true if the process replaced another one, whose last request follows. `requests` are the
    /// control requests, `None` without a control socket. SIGTERM and SIGINT kill the successor of a takeover in
    /// progress.
    ///
    /// # Errors
    /// The status page could not be started.
    pub(super) async fn run(
        mut self,
        (took_over, last_request): (bool, LastRequest),
        mut signals: Signals,
        mut requests: Option<Receiver<ControlRequest>>,
    ) -> io::Result<ShutdownReason> {
        self.serve_status(took_over).await?;
        let mut last_request = std::pin::pin!(last_request.reload());
        let mut asked_last = false;
        let mut samples = tokio::time::interval(status::STEP);
        let mut watchdog = self.notifier.watchdog.map(tokio::time::interval);
        let mut watch = tokio::time::interval(WATCH_INTERVAL);
        let mut pending: Option<PendingTakeover<'a>> = None;
        loop {
            tokio::select! {
                _ = signals.terminate.recv() => return Ok(end_pending(pending)),
                _ = signals.interrupt.recv() => return Ok(end_pending(pending)),
                _ = signals.hangup.recv() => match &mut pending {
                    None => self.reload_by_signal(),
                    Some(pending) => {
                        pending.reload = true;
                        journal::info("a new process is taking over: the reload follows");
                        self.notifier.reloading();
                        self.notifier.say("READY=1\nSTATUS=handing over to a new process");
                    }
                },
                () = &mut last_request, if !asked_last => {
                    asked_last = true;
                    self.reload_by_signal();
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
                    if pending.is_none() && (self.detect_replaced_folder() || self.detect_denied_file()) {
                        pending = self.hand_over(None, None).await;
                    }
                }
                _ = samples.tick() => self.watched.sample(),
                _ = signals.reopen.recv() => self.watched.log.reopen(),
            }
        }
    }

    /// Reads the certificates and the configuration again, and reports the outcome in the log and to the service
    /// manager.
    fn reload_by_signal(&mut self) {
        self.notifier.reloading();
        self.refresh();
        let reloaded = self.reload(false);
        reloaded.tell();
        self.notifier.say(&format!("READY=1\nSTATUS={}", status_line(&reloaded.answer)));
    }

    /// Starts the status page in a task, if one is configured. If its address cannot be bound after a takeover, this is
    /// retried in the background until the predecessor has released it.
    ///
    /// # Errors
    /// The address could not be bound, and the process did not take over.
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

    /// Detects that another certificates folder was mounted or put in place, to which the sandbox gives no access, and
    /// logs a warning once for each. Only checked if the sandbox restricts files, and certificates cannot be read or
    /// `[acme]` writes to the folder. Returns true if a takeover should follow: only under a service manager, which can
    /// follow the new main process.
    fn detect_replaced_folder(&mut self) -> bool {
        let denied = self.certificates.as_ref().is_some_and(CertificateMonitor::has_failed);
        if !self.process_sandbox.is_closed() || !(denied || self.settings.acme.is_some()) {
            return false;
        }
        let Some(path) = self.identity.detect_change() else { return false };
        tell_replaced(path, self.notifier.is_connected())
    }

    /// Detects that the certificate of a site leads, by a link or a mount, to a file to which the sandbox gives no access,
    /// and logs a warning each time that such a file could not be read. Returns true if a takeover should follow.
    fn detect_denied_file(&mut self) -> bool {
        if !self.process_sandbox.is_closed() {
            return false;
        }
        let denied = self.certificates.as_mut().and_then(CertificateMonitor::take_denied);
        denied.is_some_and(|path| tell_replaced(&path, self.notifier.is_connected()))
    }

    /// Reads the certificates again, if any are configured, even if no file has changed.
    fn refresh(&mut self) {
        if let Some(certificates) = &mut self.certificates {
            certificates.refresh(Certificates::refresh);
        }
    }

    /// Handles a control request of `reload` or `maintenance`: responds to it, or begins a takeover that responds
    /// later. During a takeover, everything except that is refused. Returns the takeover that is in progress
    /// afterwards, or `None`.
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
        if pending.is_some() {
            // The successor may have read the configuration already, and lacks the sockets of listeners that are added now.
            request.answer(&while_handing_over()).await;
            return pending;
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

    /// Begins or ends the maintenance of a site, saves it and applies it to the proxy. Refused if `handing_over`, since
    /// the successor has already read the saved sites. Returns the response.
    fn switch(&mut self, asked: &MaintenanceRequest, handing_over: bool) -> ControlAnswer {
        let refused =
            |line: String, invalid| ControlAnswer { lines: vec![line], invalid, ..ControlAnswer::default() };
        if handing_over {
            // The successor has read the switches already.
            return while_handing_over();
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

    /// Begins a takeover. Fails if one is in progress or the successor cannot be started; the failure is logged,
    /// counted as a failed reload and sent to `asked`. Returns the takeover that is in progress afterwards, or `None`.
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
            Ok(hand_over) => Some(PendingTakeover { hand_over, asked, reload: false }),
            Err(why) => {
                self.fail(&why, asked, pending.is_some()).await;
                pending
            }
        }
    }

    /// Completes a takeover with the outcome `served`, logs it, and responds to the request that waits for it. Returns
    /// the reason to stop. `None` if the successor failed: it is killed, a reload that was requested meanwhile is
    /// carried out here, and this process continues.
    async fn finish(
        &mut self,
        pending: PendingTakeover<'a>,
        served: Result<(), &'static str>,
    ) -> Option<ShutdownReason> {
        let PendingTakeover { hand_over, asked, reload } = pending;
        if let Err(why) = served {
            hand_over.end();
            self.fail(why, asked, false).await;
            if reload {
                self.reload_by_signal();
            }
            return None;
        }
        let process = hand_over.keep(reload);
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

    /// Logs a takeover that failed for the reason `why`, records it as a failed reload, and responds to `asked`. If
    /// `goes_on`, another takeover is still in progress, and the status of the service is left unchanged.
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

/// Kills the successor of a takeover in progress, because the service is to stop. Returns [`ShutdownReason::Stopped`].
fn end_pending(pending: Option<PendingTakeover<'_>>) -> ShutdownReason {
    if let Some(pending) = pending {
        pending.hand_over.end();
    }
    ShutdownReason::Stopped
}

/// Returns the response to a request that cannot be carried out during a takeover.
fn while_handing_over() -> ControlAnswer {
    let line = "a new process is taking over: ask again when it serves".to_owned();
    ControlAnswer { lines: vec![line], ..ControlAnswer::default() }
}

/// Returns the status text for the service manager after a reload: `serving`, with the first line of the response if
/// the reload was refused.
fn status_line(answer: &ControlAnswer) -> String {
    match answer.lines.first() {
        Some(line) if !answer.ok => format!("serving; the last reload was refused: {line}"),
        _ => "serving".to_owned(),
    }
}

/// Waits until the successor of a takeover serves. Never completes without a takeover. Cancel safe.
///
/// # Errors
/// The reason for which the successor does not serve.
async fn takeover_outcome(pending: &mut Option<PendingTakeover<'_>>) -> Result<(), &'static str> {
    match pending {
        Some(pending) => pending.hand_over.wait_until_serving().await,
        None => std::future::pending().await,
    }
}

/// Waits for the next control request. `None` if the channel is closed. Never completes without a channel.
async fn next_request(requests: &mut Option<Receiver<ControlRequest>>) -> Option<ControlRequest> {
    match requests {
        Some(requests) => requests.recv().await,
        None => std::future::pending().await,
    }
}

/// Waits for the next tick. Never completes without a ticker.
async fn next(ticks: &mut Option<tokio::time::Interval>) {
    match ticks {
        Some(ticks) => drop(ticks.tick().await),
        None => std::future::pending().await,
    }
}
