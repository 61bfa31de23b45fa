//! The steps of a take-over, on control's thread: of the side that is taken over, and of the side that takes over.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

use ringway_runtime::clock::Instant;
use ringway_runtime::histogram;

use super::give::Outgoing;
use super::wire::{DESCRIPTORS_MAX, Door, Offer};
use super::{Event, Stage};
use crate::control::build;
use crate::control::command::Answer;
use crate::control::events;
use crate::control::log::Log;
use crate::control::machine::{Failed, Loop};
use crate::core::{DoorId, ToCore};

/// How long answers of the admin API may take that were under way when another process took over.
const LAST_ANSWERS: Duration = Duration::from_secs(5);
/// How often it is looked whether processes before this one have ended.
const FOLD: Duration = Duration::from_secs(1);

impl Loop {
    /// Something has come to pass.
    pub(in crate::control) fn upgrade_event(&mut self, event: Event, out: &mut dyn Write, log: &mut Log<'_>) {
        match event {
            Event::Wanted { pid, reply } => self.upgrade.wanted = Some((pid, reply)),
            Event::Accepted { pid, keeps, reply } => self.hand_over(pid, &keeps, reply, log),
            Event::Said => self.upgrade.stage = Stage::HandedOver,
            Event::Failed(why) => self.goes_on(&why, log),
            Event::ChildEnded(why) => {
                if self.upgrade.started.take().is_some() {
                    self.goes_on(&why, log);
                }
            }
            Event::Yours(Ok(())) => self.took_over(out, log),
            Event::Yours(Err(why)) => self.give_up(why, log),
        }
    }

    /// Some time has passed, or something else has come to pass.
    pub(in crate::control) fn upgrade_time_passed(&mut self, log: &mut Log<'_>) {
        if !self.plans.is_changing()
            && let Some((pid, reply)) = self.upgrade.wanted.take()
        {
            self.offer_upgrade(pid, &reply, log);
        }
        let now = Instant::now();
        if let Stage::LettingGo { by, waits_for, .. } = &self.upgrade.stage
            && (waits_for.is_empty() || *by <= now)
            && let Stage::LettingGo { reply, waits_for, .. } =
                std::mem::replace(&mut self.upgrade.stage, Stage::Telling)
        {
            if !waits_for.is_empty() {
                log.warn(format_args!("cores {waits_for:?} did not say that they accept no more"));
            }
            // Its thread waits for this.
            let _ = reply.send(());
        }
        let _ended = self.upgrade.admin.take_if(|(admin, by)| admin.is_over() || *by <= now);
        if self.upgrade.fold_at.is_some_and(|at| at <= now) {
            self.fold(log);
        }
    }

    /// A core accepts no more.
    pub(in crate::control) fn core_let_go(&mut self, core: usize) {
        if let Stage::LettingGo { waits_for, .. } = &mut self.upgrade.stage {
            waits_for.retain(|&waits_for| waits_for != core);
        }
    }

    /// Starts the program that lies where this one was started from, to take over.
    pub(in crate::control) fn start_upgrade(&mut self, reply: Option<Sender<Answer>>, log: &mut Log<'_>) {
        let refusal = if self.draining {
            Some("the gateway drains")
        } else if self.upgrade.giving.is_none() {
            Some("control.upgrade_socket is not set")
        } else if self.upgrade.started.is_some() || !matches!(self.upgrade.stage, Stage::Idle) {
            Some("an upgrade is under way already")
        } else {
            None
        };
        let started = match (refusal, self.upgrade.launch.clone()) {
            (Some(why), _) => Err(why.to_owned()),
            (None, None) => Err("this gateway has no config to start another one with".to_owned()),
            (None, Some(launch)) => {
                let taken = Arc::new(AtomicBool::new(false));
                let patience = self.plans.plan().control.upgrade_timeout;
                let program = launch.program.display().to_string();
                let started = launch.start(taken.clone(), patience, self.upgrade.events.clone());
                started.map(|()| (taken, program)).map_err(|error| error.to_string())
            }
        };
        match started {
            Ok((taken, program)) => {
                log.info(format_args!("starting {program} to take over"));
                (self.upgrade.started, self.upgrade.asked) = (Some(taken), reply);
            }
            Err(why) => {
                log.warn(format_args!("no upgrade: {why}"));
                if let Some(reply) = reply {
                    let _ = reply.send(Answer::refused(why));
                }
            }
        }
    }

    /// Gives a process what it takes to take over, or says why not.
    fn offer_upgrade(&mut self, pid: u32, reply: &Sender<Result<Outgoing, String>>, log: &mut Log<'_>) {
        let plan = self.plans.plan().clone();
        let refusal = if self.draining {
            Some("the gateway drains".to_owned())
        } else if self.upgrade.is_taking() || self.ready < self.cores.count() {
            Some("it has not started yet".to_owned())
        } else if self.plans.undone_at().is_some() {
            Some(format!("plan {} waits to be confirmed", self.plans.note().epoch))
        } else {
            None
        };
        let outgoing = match (refusal, &self.upgrade.giving) {
            (Some(why), _) => Err(why),
            (None, None) => Err("it has no upgrade socket".to_owned()),
            (None, Some(giving)) => {
                let mut descriptors: Vec<Arc<OwnedFd>> = Vec::new();
                let mut doors = Vec::new();
                for (_, key, bound, sockets) in self.plans.offers().sockets() {
                    doors.push(Door { key: key.clone(), bound: bound.clone(), sockets: sockets.len() });
                    descriptors.extend(sockets.iter().cloned());
                }
                descriptors.push(giving.listener());
                let admin = self.admin.as_ref().zip(plan.admin.as_ref()).map(|(serving, admin)| {
                    descriptors.extend(serving.sockets());
                    (admin.socket.clone(), admin.tcp)
                });
                let metrics = self.plans.metrics();
                let offer = Offer {
                    epoch: self.plans.epoch(),
                    drained: self.drained.iter().cloned().collect(),
                    found: self.discovery.sets_to_hand_over(log),
                    past: self.plans.past(),
                    histories: self.plans.offers().services().histories(),
                    tickets: Some((self.tickets.keys().clone(), self.tickets.since())),
                    metrics: metrics.dir.clone().map(|dir| (dir, metrics.start)),
                    doors,
                    admin,
                };
                if descriptors.len() == offer.descriptors() && descriptors.len() <= DESCRIPTORS_MAX {
                    Ok(Outgoing { offer, descriptors, patience: plan.control.upgrade_timeout })
                } else {
                    Err(format!("it has {} sockets, of which not all can be handed over", descriptors.len()))
                }
            }
        };
        match &outgoing {
            Ok(_) => {
                log.info(format_args!("process {pid} is to take over"));
                self.plans.freeze(true);
                self.upgrade.stage = Stage::Offered;
            }
            Err(why) => {
                log.info(format_args!("process {pid} does not take over: {why}"));
            }
        }
        // Who asked may have gone; then its thread says so.
        let _ = reply.send(outgoing);
    }

    /// No process takes over after all.
    fn goes_on(&mut self, why: &str, log: &mut Log<'_>) {
        if matches!(self.upgrade.stage, Stage::Offered) {
            self.upgrade.stage = Stage::Idle;
            self.plans.freeze(false);
        }
        log.warn(format_args!("no upgrade, this process goes on: {why}"));
        if let Some(reply) = self.upgrade.asked.take() {
            let _ = reply.send(Answer::refused(format!("{why}; its log says more")));
        }
    }

    /// Another process is the gateway from now on.
    fn hand_over(&mut self, pid: u32, keeps: &[usize], reply: Sender<()>, log: &mut Log<'_>) {
        if self.draining {
            // A signal came meanwhile. Without an answer the other one gives up.
            drop(reply);
            return self.goes_on("the gateway drains", log);
        }
        log.info(format_args!("process {pid} has taken over; this one ends what it has begun"));
        self.draining = true;
        self.plans.drain(log);
        self.certificates.stop();
        let doors: Vec<DoorId> = self.plans.offers().sockets().map(|(id, ..)| id).collect();
        let kept: Arc<[DoorId]> = keeps.iter().filter_map(|&at| doors.get(at).copied()).collect();
        // A core that does not listen is stuck; it is waited for below, and no longer.
        self.cores.tell_all(|| ToCore::HandOver(kept.clone()));
        self.plans.let_go(&kept);
        self.notifier.handed_over(pid);
        if let Some(started) = self.upgrade.started.take() {
            started.store(true, Ordering::Release);
        }
        if let Some(reply) = self.upgrade.asked.take() {
            let _ = reply.send(Answer::Upgraded { pid });
        }
        // From here on the other process folds.
        self.upgrade.fold_at = None;
        if let Some(giving) = self.upgrade.giving.take() {
            giving.leave();
        }
        if let Some(mut admin) = self.admin.take() {
            admin.leave();
            self.upgrade.admin = Some((admin, Instant::now() + LAST_ANSWERS));
        }
        let by = Instant::now() + self.plans.plan().control.acknowledge;
        self.upgrade.stage = Stage::LettingGo { reply, waits_for: (0..self.cores.count()).collect(), by };
    }

    /// Every core accepts: says so to the gateway before, whose answer comes as [`Event::Yours`].
    pub(in crate::control) fn accept_in_its_place(&mut self, log: &mut Log<'_>) {
        let link = match std::mem::take(&mut self.upgrade.stage) {
            Stage::Taking(link) => link,
            stage => {
                self.upgrade.stage = stage;
                return;
            }
        };
        self.upgrade.stage = Stage::Told { pid: link.pid() };
        let keeps = self.plans.offers().inherited_keys();
        let events = self.upgrade.events.clone();
        let tell = move || {
            let answer = link.accepts(&keeps);
            // Without control there is nobody to tell.
            let _ = events.send(events::Event::Upgrade(Event::Yours(answer)));
        };
        if let Err(error) = thread::Builder::new().name("ringway-take-over".to_owned()).spawn(tell) {
            self.give_up(format!("cannot start a thread: {error}"), log);
        }
    }

    /// The gateway before has let go: this process is the gateway.
    fn took_over(&mut self, out: &mut dyn Write, log: &mut Log<'_>) {
        let Stage::Told { pid } = self.upgrade.stage else { return };
        self.upgrade.stage = Stage::Idle;
        log.info(format_args!("took over from process {pid}"));
        let further = self.plans.took_over(build::placement(self.plans.plan()), log);
        for (core, further) in further.into_iter().enumerate() {
            self.cores.tell(core, ToCore::TookOver(further));
        }
        let metrics = self.plans.metrics();
        if let Some(dir) = metrics.dir.as_ref().filter(|_| metrics.start.hidden) {
            if let Err(error) = histogram::publish(dir) {
                log.warn(format_args!("{}: metrics cannot be shown: {error}", dir.display()));
            }
            self.upgrade.fold_at = Some(Instant::now() + FOLD);
        }
        self.plans.publish();
        self.plans.freeze(false);
        if let Some(giving) = &self.upgrade.giving {
            giving.own();
        }
        let plan = self.plans.plan().clone();
        self.certificates.start(&plan, log);
        self.start_admin(log);
        self.is_ready(out);
    }

    /// This process does not take over. It has accepted connections, and serves them before it ends.
    pub(in crate::control) fn give_up(&mut self, why: String, log: &mut Log<'_>) {
        self.upgrade.stage = Stage::GaveUp(why);
        self.draining = true;
        self.plans.drain(log);
        let inherited: Arc<[DoorId]> = self.plans.offers().inherited().into();
        self.cores.tell_all(|| ToCore::HandOver(inherited.clone()));
        self.plans.let_go(&inherited);
        // The files of sockets that it shares with the gateway before stay.
        self.upgrade.giving = None;
        self.unserved_admin = None;
    }

    /// Why it did not take over, where it was to.
    pub(in crate::control) fn gave_up(&mut self) -> Result<(), Failed> {
        match std::mem::take(&mut self.upgrade.stage) {
            Stage::GaveUp(why) => Err(Failed::new(why)),
            _ => Ok(()),
        }
    }

    /// Folds what processes before this one counted that have ended.
    fn fold(&mut self, log: &mut Log<'_>) {
        let metrics = self.plans.metrics();
        let folded = metrics.dir.as_ref().map(|dir| histogram::fold(dir, &metrics.start));
        self.upgrade.fold_at = match folded {
            Some(Ok(true)) => Some(Instant::now() + FOLD),
            Some(Err(error)) => {
                log.warn(format_args!("metrics of before stay in files of their own: {error}"));
                None
            }
            Some(Ok(false)) | None => None,
        };
    }
}
