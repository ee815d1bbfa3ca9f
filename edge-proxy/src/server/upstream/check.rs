//! Active checks: a request of our own to each target, again and again, by one of the workers for all of them.

use super::pool::{ConnectOptions, Pool};
use crate::balance::health::Event;
use crate::config::Check;
use crate::server::deadline::Sweep;
use crate::server::traces::Trace;
use crate::{RequestHead, ResponseHead, Version};
use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;
use tokio::task::AbortHandle;

/// Checks that run; they end when this is dropped.
#[derive(Default)]
pub(crate) struct Checks(Vec<AbortHandle>);

impl Checks {
    /// Begins to check every target of the pools that want it.
    pub(crate) fn of(pools: &[Rc<Pool>], sweep: &Rc<Sweep>) -> Self {
        let mut tasks = Vec::new();
        for pool in pools {
            let Some(check) = &pool.upstream().health.check else { continue };
            for at in 0..pool.upstream().targets.len() {
                let task = again(pool.clone(), at, check.clone(), sweep.clone());
                tasks.push(tokio::task::spawn_local(task).abort_handle());
            }
        }
        Self(tasks)
    }
}

impl Drop for Checks {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

async fn again(pool: Rc<Pool>, at: usize, check: Check, sweep: Rc<Sweep>) {
    // Spread over the first interval, so that many targets are not asked in the same moment.
    let count = pool.upstream().targets.len() as u32;
    tokio::time::sleep(check.interval.min(Duration::from_secs(1)) / count * at as u32).await;
    let mut ticks = tokio::time::interval(check.interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let well = tokio::time::timeout(check.timeout, once(&pool, at, &check, &sweep)).await;
        let event = if well.unwrap_or(false) { Event::CheckedUp } else { Event::CheckedDown };
        pool.shared(at).tell(event, &pool.upstream().health.rules);
    }
}

async fn once(pool: &Pool, at: usize, check: &Check, sweep: &Rc<Sweep>) -> bool {
    let mut head = RequestHead::new(Version::Http11);
    head.target.clone_from(&check.path);
    head.authority = match &check.host {
        Some(host) => host.clone(),
        None => pool.upstream().targets[at].authority(),
    };
    head.fields.push(b"User-Agent", b"health-check");
    let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let deadline = sweep.deadline();
    let options = ConnectOptions {
        client: nobody,
        local: nobody,
        deadline: &deadline,
        connect: check.timeout,
        // A connection of its own: whether one can be made is part of the question.
        fresh: true,
        websocket: false,
        host: check.host.is_none(),
        trace: &Trace::NONE,
    };
    let Ok(mut exchange) = pool.begin_at(at, &head, &options).await else { return false };
    let mut answer = ResponseHead::default();
    loop {
        let asked = poll_fn(|cx| {
            // What cannot be written shows when nothing can be read.
            let _ = exchange.poll_flush(cx);
            exchange.poll_head(cx, &mut answer)
        });
        if asked.await.is_err() {
            return false;
        }
        if !answer.is_interim() {
            return (check.status.0..=check.status.1).contains(&answer.status);
        }
    }
}
