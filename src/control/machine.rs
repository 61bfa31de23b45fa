//! Control's loop: it takes what its cores and its other threads tell it, one thing after the other, until the end.

use std::io::{self, Write};
use std::rc::Rc;
use std::sync::Arc;

use ringway_runtime::clock::Instant;
use signal_hook::consts::{SIGHUP, SIGUSR1, SIGUSR2};

use super::admin::{Server, Serving};
use super::certificates::Certificates;
use super::command::{Answer, Command, Handle};
use super::cores::Cores;
use super::discovery::Discovery;
use super::events::{Event, Inlet};
use super::log::Log;
use super::notify::Notifier;
use super::plans::Plans;
use super::sights::{Looks, Status};
use super::tickets::Tickets;
use super::upgrade::Upgrade;
use super::watch::Watcher;
use super::words::{ready_line, short_of_files, unknown};
use crate::core::{FromCore, ToCore};
use crate::plan::Upstream;
use crate::upstream::Drained;

/// Endpoints that may be drained at once.
const DRAINED_MAX: usize = 1024;

/// Why the gateway could not run, or ended badly.
#[derive(Debug)]
pub struct Failed(String);

impl Failed {
    pub(super) fn new(why: String) -> Self {
        Self(why)
    }
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

/// What the loop begins with.
pub(super) struct Parts {
    pub(super) plans: Plans,
    pub(super) cores: Rc<Cores>,
    pub(super) watcher: Watcher,
    pub(super) discovery: Discovery,
    pub(super) certificates: Certificates,
    pub(super) notifier: Notifier,
    pub(super) drained: Arc<Drained>,
    /// The admin API, where there is to be one.
    pub(super) admin: Option<Server>,
    pub(super) upgrade: Upgrade,
    /// Those of TLS sessions.
    pub(super) tickets: Tickets,
}

/// The loop that waits for events.
pub(super) struct Loop {
    pub(super) plans: Plans,
    pub(super) cores: Rc<Cores>,
    watcher: Watcher,
    pub(super) discovery: Discovery,
    pub(super) certificates: Certificates,
    pub(super) notifier: Notifier,
    looks: Looks,
    pub(super) drained: Arc<Drained>,
    pub(super) admin: Option<Serving>,
    /// The admin API of a process that has not taken over yet.
    pub(super) unserved_admin: Option<Server>,
    pub(super) upgrade: Upgrade,
    /// Cores that accept.
    pub(super) ready: usize,
    /// Cores that have not ended.
    running: usize,
    cut: usize,
    pub(super) draining: bool,
    /// A signal came, whatever it drains for.
    is_told_to_end: bool,
    pub(super) tickets: Tickets,
}

impl Loop {
    /// With cores that have been started.
    pub(super) fn new(parts: Parts, log: &mut Log<'_>) -> Self {
        let Parts { plans, cores, watcher, discovery, certificates, notifier, drained, admin, upgrade, tickets } =
            parts;
        let running = cores.count();
        let mut this = Self {
            plans,
            cores,
            watcher,
            discovery,
            certificates,
            notifier,
            looks: Looks::default(),
            drained,
            unserved_admin: admin,
            admin: None,
            upgrade,
            ready: 0,
            running,
            cut: 0,
            draining: false,
            is_told_to_end: false,
            tickets,
        };
        if !this.upgrade.is_taking() {
            this.certificates.start(&this.plans.plan().clone(), log);
            this.start_admin(log);
        }
        this
    }

    /// Goes on until every core has ended.
    pub(super) fn run(mut self, inlet: &mut Inlet, out: &mut dyn Write, log: &mut Log<'_>) -> Result<(), Failed> {
        while self.running > 0 || self.upgrade.is_needed() {
            self.watcher.watch(self.plans.watched(), log);
            self.discovery.turn(&mut self.plans, log);
            self.certificates.turn(&mut self.plans, log);
            let deadlines = [self.plans.deadline(), self.discovery.deadline(&self.plans), self.looks.deadline()];
            let rotation = self.tickets.deadline(self.plans.plan());
            let of_certificates = self.certificates.deadline(&self.plans);
            let others = self.upgrade.deadline().into_iter().chain(rotation).chain(of_certificates);
            let deadline = deadlines.into_iter().flatten().chain(others).min();
            if let Some(event) = inlet.next(deadline) {
                self.deal_with(event, out, log)?;
            }
            self.plans.time_passed(log);
            self.upgrade_time_passed(log);
            self.tickets.time_passed(self.plans.plan(), &self.cores, log);
            self.tell_of_reloads();
            self.tell_and_show();
        }
        if self.cut > 0 {
            let (cut, timeout) = (self.cut, self.plans.plan().cores.drain_timeout);
            log.warn(format_args!("{cut} connections were cut after the drain timeout of {timeout:?}"));
        }
        self.gave_up()
    }

    fn deal_with(&mut self, event: Event, out: &mut dyn Write, log: &mut Log<'_>) -> Result<(), Failed> {
        if let Event::Signal(signal) = event {
            log.debug(format_args!("signal {signal}"));
        }
        match event {
            Event::Core(_, FromCore::Runs(_)) if self.ready < self.cores.count() => {
                self.ready += 1;
                if self.ready == self.cores.count() {
                    if self.upgrade.is_taking() {
                        self.accept_in_its_place(log);
                    } else {
                        self.is_ready(out);
                    }
                }
            }
            Event::Core(core, FromCore::Seen(sight)) => self.looks.heard(core, sight),
            Event::Core(core, FromCore::ShortOfFiles) => {
                log.warn(format_args!("{}", short_of_files(core)));
            }
            Event::Core(core, FromCore::LetGo) => self.core_let_go(core),
            Event::Core(core, FromCore::Beat) => self.notifier.beat(core),
            Event::Upgrade(event) => self.upgrade_event(event, out, log),
            Event::Core(core, message) => self.plans.heard(core, message, log),
            Event::Built(built) => self.plans.built(built, log),
            Event::FileChanged => {
                self.watcher.look_again();
                self.plans.file_changed(log);
            }
            Event::Discovery(event) => self.discovery.heard(event, log),
            Event::Command(Command::Discovery(ask), reply) => {
                let _ = reply.send(self.discovery.ask(ask, log));
            }
            Event::Certificates(event) => self.certificates.heard(event),
            Event::Command(Command::Certificates(ask), reply) => self.certificates.ask(ask, &reply, &self.plans),
            Event::Stalled(stall) => {
                log.warn(format_args!("{}", stall.told(self.plans.plan())));
            }
            Event::Command(Command::Drain, reply) => {
                self.drain(log);
                // Who asked may have gone.
                let _ = reply.send(Answer::Done);
            }
            Event::Command(Command::DrainEndpoint { upstream, endpoint, is_drained }, reply) => {
                let _ = reply.send(self.drain_endpoint(&upstream, &endpoint, is_drained, log));
            }
            Event::Command(Command::LogLevel(level), reply) => {
                if let Some(level) = level {
                    log.set_level(level);
                }
                let _ = reply.send(Answer::LogLevel(log.level()));
            }
            Event::Told(told) => log.tell(&told),
            Event::Command(Command::Upgrade, reply) => self.start_upgrade(Some(reply), log),
            Event::Command(Command::HoldBreaker { upstream, endpoint, is_open }, reply) => {
                let _ = reply.send(self.hold_breaker(&upstream, endpoint.as_deref(), is_open, log));
            }
            Event::Status(reply) => {
                let _ = reply.send(self.status());
            }
            Event::Look(reply) => self.looks.ask(reply, &self.cores),
            Event::Command(command, reply) => self.plans.command(&command, Some(reply), log),
            Event::Signal(SIGHUP) => self.plans.command(&Command::Reload, None, log),
            Event::Signal(SIGUSR1) => log.reopen(),
            Event::Signal(SIGUSR2) => self.start_upgrade(None, log),
            Event::Signal(signal) if self.is_told_to_end => {
                return Err(Failed(format!("signal {signal} during the drain: ended at once")));
            }
            Event::Signal(signal) => {
                self.is_told_to_end = true;
                if self.upgrade.is_taking() {
                    self.give_up(format!("signal {signal}"), log);
                } else {
                    self.drain(log);
                }
            }
            Event::Ended(core, Ok(ended)) => {
                self.running -= 1;
                self.notifier.ended(core);
                self.core_let_go(core);
                self.cut += ended.cut;
            }
            Event::Ended(core, Err(why)) => {
                // A gateway that lost a core would serve a part of its clients and drop the rest in silence.
                return Err(Failed(format!("core {core} died: {why}")));
            }
        }
        Ok(())
    }

    /// Answers those who asked for a look, and gives the admin API what the plan says of it.
    fn tell_and_show(&mut self) {
        let mut looks = std::mem::take(&mut self.looks);
        looks.settle(|| self.status());
        self.looks = looks;
        if let Some(serving) = &mut self.admin {
            serving.take_up(self.plans.plan());
        }
    }

    fn status(&self) -> Status {
        Status {
            plan: self.plans.plan().clone(),
            note: self.plans.note(),
            epoch: self.plans.epoch(),
            undone_in: self.plans.undone_at().map(|at| at.since(Instant::now())),
            addresses: self.plans.offers().addresses().map(|(name, address)| (name.into(), address.clone())).collect(),
            cores: self.cores.count(),
            accepting: self.ready,
            // For who asks, the gateway goes on where another process has taken over.
            is_draining: self.draining && !self.upgrade.is_handed_over(),
            drained: self.drained.clone(),
            certificates: self.certificates.set().clone(),
            acme: self.certificates.acme().clone(),
        }
    }

    /// Takes an endpoint out, or in again, on every core or on none.
    fn drain_endpoint(&mut self, upstream: &str, endpoint: &str, is_drained: bool, log: &mut Log<'_>) -> Answer {
        let plan = self.plans.plan();
        let found = plan.upstreams.iter().find(|known| &*known.name == upstream);
        let is_known = found.is_some_and(|upstream| has_endpoint(upstream, endpoint));
        let was_drained = self.drained.has(upstream, endpoint);
        // What has left the plan may still be taken off the list.
        if !is_known && (is_drained || !was_drained) {
            return unknown(upstream, endpoint, found.map(|found| &**found));
        }
        if self.draining {
            return Answer::refused("the gateway drains");
        }
        if is_drained && !was_drained && self.drained.count() >= DRAINED_MAX {
            return Answer::refused(format!("{DRAINED_MAX} endpoints are drained already"));
        }
        if let Some(stuck) = self.cores.deaf() {
            return Answer::refused(format!("core {stuck} does not listen to control"));
        }
        let drained = Arc::new(self.drained.with(upstream, endpoint, is_drained));
        self.cores.tell_all(|| ToCore::Endpoints(drained.clone()));
        self.drained = drained;
        if was_drained != is_drained {
            let what = if is_drained { "drained" } else { "in use again" };
            log.info(format_args!("endpoint {endpoint} of upstream {upstream} is {what}"));
        }
        Answer::Done
    }

    /// Prints the ready line and tells the service manager.
    pub(super) fn is_ready(&mut self, out: &mut dyn Write) {
        // A closed standard output is no reason to stop serving.
        let line = self.ready_line();
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
        self.notifier.ready(&line);
    }

    /// Serves the admin API, where there is to be one.
    pub(super) fn start_admin(&mut self, log: &mut Log<'_>) {
        let Some(admin) = self.unserved_admin.take() else { return };
        log.info(format_args!("admin API at {}", admin.place()));
        match admin.start(Handle { events: self.upgrade.events.clone() }, self.plans.plan()) {
            Ok(serving) => self.admin = Some(serving),
            Err(why) => {
                log.warn(format_args!("there is no admin API: {why}"));
            }
        }
    }

    /// Opens a breaker for as long as nobody closes it, or closes it. All cores see it at once: the state is shared.
    fn hold_breaker(&self, upstream: &str, endpoint: Option<&str>, is_open: bool, log: &mut Log<'_>) -> Answer {
        let mut all = self.plans.offers().upstreams();
        let Some(shared) = all.find(|shared| &*shared.upstream().name == upstream) else {
            return unknown(upstream, "", None);
        };
        let now = Instant::now();
        let held = match endpoint {
            None => shared.hold_breaker(None, is_open, now),
            Some(name) if !has_endpoint(shared.upstream(), name) => {
                return unknown(upstream, name, Some(shared.upstream()));
            }
            Some(name) => {
                let named = (0..).zip(&shared.upstream().endpoints).filter(|(_, endpoint)| &*endpoint.name == name);
                named.map(|(at, _)| at).try_for_each(|at| shared.hold_breaker(Some(at), is_open, now))
            }
        };
        if let Err(why) = held {
            return Answer::refused(why);
        }
        let whose = endpoint.map(|endpoint| format!("endpoint {endpoint} of ")).unwrap_or_default();
        let what = if is_open { "held open" } else { "closed" };
        log.info(format_args!("the breaker of {whose}upstream {upstream} is {what}"));
        Answer::Done
    }

    fn drain(&mut self, log: &mut Log<'_>) {
        if self.draining && !self.upgrade.is_handed_over() {
            return;
        }
        if !self.draining {
            self.notifier.stopping();
            self.plans.drain(log);
        }
        self.draining = true;
        // A core that does not listen is stuck: the second signal is for that.
        self.cores.tell_all(|| ToCore::Drain);
    }

    fn tell_of_reloads(&mut self) {
        if self.plans.is_changing() {
            self.notifier.reloading();
        } else if self.notifier.is_reloading() {
            self.notifier.ready(&self.ready_line());
        }
    }

    fn ready_line(&self) -> String {
        ready_line(self.plans.plan(), self.cores.count(), self.plans.offers().addresses())
    }
}

fn has_endpoint(upstream: &Upstream, endpoint: &str) -> bool {
    upstream.endpoints.iter().any(|known| &*known.name == endpoint)
}
