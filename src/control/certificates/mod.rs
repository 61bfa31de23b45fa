//! Certificates that the gateway keeps itself: those that somebody brings through the admin API, and those that an
//! authority issues by ACME.
//!
//! A thread of its own has the directory in which they are kept, and asks authorities. Control has what is in use; when
//! that becomes another, it makes a plan that differs from the running one in certificates alone, and runs it as it runs
//! any other. Cores know nothing of all this but what authorities may ask for.

mod acme;
mod ask;
mod expiry;
mod store;
mod worker;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use ringway_runtime::clock::Instant;

use super::command::Answer;
use super::events::{self, Events};
use super::log::Log;
use super::plans::Plans;
use super::watch::Watcher;
use crate::plan::{HttpChallenges, Level, Listener, Plan, Stored};
use crate::tls::Certificate;
pub use acme::AcmeSight;
pub use ask::Ask;
use expiry::Expiry;
use store::Store;
pub use store::{Kept as KeptCertificate, Set, Source};
use worker::{Order, Worker};

/// The least time between two looks at a directory in which much happens.
const REST: Duration = Duration::from_millis(200);
/// How long is waited before what cores did not take is offered again.
const AGAIN: Duration = Duration::from_secs(1);

/// What happens.
#[derive(Debug)]
pub(super) enum Event {
    /// Others are kept now: all of them, what changed, and who waits for it.
    Set { set: Arc<Set>, change: String, reply: Option<Sender<Answer>> },
    /// Authorities may ask for this now, and whoever waits until every core knows.
    Challenges { challenges: Arc<Challenges>, reply: Sender<Answer> },
    /// How it goes with what authorities issue.
    Acme(Vec<AcmeSight>),
    /// Something in the directory may have changed.
    Changed,
}

/// What authorities may ask for.
#[derive(Debug, Default)]
pub(super) struct Challenges {
    /// By HTTP.
    pub(super) http: Arc<HttpChallenges>,
    /// By TLS: the name, and what is shown.
    pub(super) tls: Vec<(String, Certificate)>,
}

/// What is kept, for plans.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept {
    set: Arc<Set>,
    challenges: Arc<Challenges>,
}

impl Kept {
    /// `plan` with what is kept, where it has something else.
    pub(super) fn put_into(&self, plan: Arc<Plan>) -> Arc<Plan> {
        let changed: Vec<Option<Listener>> = plan.listeners.iter().map(|listener| self.listener(listener)).collect();
        let has_others = changed.iter().any(Option::is_some);
        if !has_others && plan.http_challenges == self.challenges.http {
            return plan;
        }
        let mut plan = Plan::clone(&plan);
        if has_others {
            let with = changed.into_iter().zip(&*plan.listeners);
            plan.listeners = with.map(|(changed, listener)| changed.unwrap_or_else(|| listener.clone())).collect();
        }
        plan.http_challenges = self.challenges.http.clone();
        Arc::new(plan)
    }

    /// A listener with what is kept, where it has something else.
    fn listener(&self, listener: &Listener) -> Option<Listener> {
        let tls = listener.tls.as_ref().filter(|tls| tls.stored != Stored::Nothing)?;
        let stored: Vec<Certificate> = match &tls.stored {
            Stored::Nothing => Vec::new(),
            Stored::Named(names) => {
                names.iter().filter_map(|name| Some(self.set.get(name)?.certificate.clone())).collect()
            }
            Stored::All => self.set.values().map(|kept| kept.certificate.clone()).collect(),
        };
        let server = Arc::new(tls.server.with_stored(&stored, &self.challenges.tls)?);
        let tls = crate::plan::ListenerTls { server, ..tls.clone() };
        Some(Listener { tls: Some(tls), ..listener.clone() })
    }
}

/// Certificates, as control has them.
pub(super) struct Certificates {
    events: Events,
    directory: Option<PathBuf>,
    store: Option<Store>,
    worker: Option<Worker>,
    watcher: Watcher,
    kept: Kept,
    acme: Arc<[AcmeSight]>,
    expiry: Expiry,
    /// What changed since the last offer, and who waits for that.
    changes: Vec<String>,
    replies: Vec<Sender<Answer>>,
    /// What is kept may be another than what cores have.
    is_news: bool,
    offered: Option<Instant>,
    /// The plan that was looked at last.
    plan: Option<Arc<Plan>>,
}

impl Certificates {
    /// Opens the directory, where the plan has one.
    pub(super) fn new(events: Events, plan: &Plan, log: &mut Log<'_>) -> Result<Self, String> {
        let directory = plan.certificates.directory.clone();
        let store = directory.as_deref().map(|dir| Store::open(dir, plan.certificates.max)).transpose()?;
        let mut kept = Kept::default();
        if let Some(store) = &store {
            let found = store.read()?;
            for warning in found.warnings {
                log.warn(format_args!("{warning}"));
            }
            kept.set = Arc::new(found.set);
        }
        let changed = || events::Event::Certificates(Event::Changed);
        let watcher = Watcher::new(events.clone(), changed, REST, "certificates that are kept");
        Ok(Self {
            events,
            directory,
            store,
            worker: None,
            watcher,
            kept,
            acme: Arc::default(),
            expiry: Expiry::default(),
            changes: Vec::new(),
            replies: Vec::new(),
            is_news: true,
            offered: None,
            plan: None,
        })
    }

    /// What is kept, for plans.
    pub(super) fn kept(&self) -> &Kept {
        &self.kept
    }

    /// All that are kept.
    pub(super) fn set(&self) -> &Arc<Set> {
        &self.kept.set
    }

    /// How it goes with what authorities issue.
    pub(super) fn acme(&self) -> &Arc<[AcmeSight]> {
        &self.acme
    }

    /// Begins to change what is kept: this process is the gateway.
    pub(super) fn start(&mut self, plan: &Plan, log: &mut Log<'_>) {
        let Some(store) = self.store.clone() else { return };
        for listener in plan.listeners.iter() {
            let Some(tls) = &listener.tls else { continue };
            if let Stored::Named(names) = &tls.stored {
                for name in names.iter().filter(|name| !self.kept.set.contains_key(&***name)) {
                    let listener = &listener.name;
                    log.warn(format_args!("listener {listener}: there is no certificate {name} yet"));
                }
            }
            if tls.server.certificates().is_empty() {
                let listener = &listener.name;
                log.warn(format_args!("listener {listener}: no handshake comes to an end until it has a certificate"));
            }
        }
        match Worker::start(self.events.clone(), store, self.kept.set.clone()) {
            Ok(worker) => {
                worker.order(Order::Plan(plan.acme.clone(), plan.certificates.max));
                self.worker = Some(worker);
            }
            Err(error) => log.error(format_args!("certificates that are kept stay as they are: {error}")),
        }
    }

    /// Another process goes on with the directory.
    pub(super) fn stop(&mut self) {
        self.worker = None;
        for reply in self.replies.drain(..) {
            let _ = reply.send(Answer::refused("another process has taken over"));
        }
    }

    /// Whatever is to be done now: called whenever something has happened or the deadline is over.
    pub(super) fn turn(&mut self, plans: &mut Plans, log: &mut Log<'_>) {
        let plan = plans.plan();
        if self.plan.as_ref().is_none_or(|known| !Arc::ptr_eq(known, plan)) {
            self.plan = Some(plan.clone());
            self.is_news = true;
            if let Some(worker) = &self.worker {
                worker.order(Order::Plan(plan.acme.clone(), plan.certificates.max));
            }
        }
        self.expiry.turn(plan, &self.kept.set, log);
        if let Some(dir) = self.directory.as_ref().filter(|_| self.worker.is_some()) {
            // Files in it: what is watched are directories.
            self.watcher.watch(Some(&[dir.join("any"), dir.join(store::ACME).join("any")]), log);
        }
        if let Some(why) = plans.closed() {
            for reply in self.replies.drain(..) {
                let _ = reply.send(Answer::refused(why));
            }
        }
        let is_due = self.offered.is_none_or(|offered| offered + AGAIN <= Instant::now());
        if self.is_news && is_due && plans.is_free() {
            self.offer(plans, log);
        }
    }

    fn offer(&mut self, plans: &mut Plans, log: &mut Log<'_>) {
        plans.kept = self.kept.clone();
        let (changes, replies) = (std::mem::take(&mut self.changes), std::mem::take(&mut self.replies));
        let plan = plans.plan().clone();
        if Arc::ptr_eq(&self.kept.put_into(plan.clone()), &plan) {
            // No listener shows it.
            for change in changes {
                log.info(format_args!("{change}"));
            }
            for reply in replies {
                let _ = reply.send(Answer::Done);
            }
            (self.is_news, self.offered) = (false, None);
            return;
        }
        // A plan that cores did not take is offered again after a while.
        self.offered = Some(Instant::now());
        plans.change_found(changes, replies, log);
    }

    /// When [`Self::turn`] has something to do.
    pub(super) fn deadline(&self, plans: &Plans) -> Option<Instant> {
        let offer = self.offered.filter(|_| self.is_news && plans.is_free()).map(|offered| offered + AGAIN);
        offer.into_iter().chain(self.expiry.deadline()).min()
    }

    /// Something has happened.
    pub(super) fn heard(&mut self, event: Event) {
        match event {
            Event::Set { set, change, reply } => {
                self.kept.set = set;
                self.changes.push(change);
                self.replies.extend(reply);
                (self.is_news, self.offered) = (true, None);
            }
            Event::Challenges { challenges, reply } => {
                self.kept.challenges = challenges;
                self.replies.push(reply);
                (self.is_news, self.offered) = (true, None);
            }
            Event::Acme(sights) => self.acme = sights.into(),
            Event::Changed => {
                self.watcher.look_again();
                if let Some(worker) = &self.worker {
                    worker.order(Order::LookAgain);
                }
            }
        }
    }
}

/// Tells control something for its log. Without control there is nobody to tell.
fn tell(events: &Events, level: Level, message: String) {
    let _ = events.send(events::Event::Told(super::log::Told::new(level, message)));
}
