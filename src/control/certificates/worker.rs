//! The thread that has the directory: all that is written there goes through it, and so does all that authorities are
//! asked for, one order at a time.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::sleep;

use super::acme::{Acme, Ended};
use super::store::{self, Set, Source, Store};
use super::{Challenges, Event, tell};
use crate::control::command::Answer;
use crate::control::events::{self, Events};
use crate::plan::{self, Level};

/// Between two looks at the directory that nobody asked for: not every file system tells of changes.
const LOOK: Duration = Duration::from_mins(1);

/// What control wants of the thread.
pub(super) enum Order {
    /// What the plan that runs wants of authorities, and how many certificates may be kept.
    Plan(Arc<[Arc<plan::Acme>]>, u32),
    /// Keep this certificate, which was checked.
    Put { name: String, chain: String, key: String, reply: Sender<Answer> },
    /// Keep it no more.
    Delete { name: String, reply: Sender<Answer> },
    /// Have an authority issue it now.
    Renew { name: String, reply: Sender<Answer> },
    /// Something in the directory may have changed.
    LookAgain,
}

/// The way to the thread, which ends with this.
pub(super) struct Worker(UnboundedSender<Order>);

impl Worker {
    /// Starts the thread. Control has this set.
    pub(super) fn start(events: Events, store: Store, set: Arc<Set>) -> io::Result<Self> {
        let (send, orders) = unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .max_blocking_threads(4)
            .thread_name("ringway-certs-wait")
            .build()?;
        thread::Builder::new().name("ringway-certs".to_owned()).spawn(move || {
            let keeper =
                Keeper { acme: Acme::new(store.clone(), events.clone()), events, store, set, warned: Vec::new() };
            runtime.block_on(keeper.run(orders));
            // A name that is looked up must not hold up the end.
            runtime.shutdown_background();
        })?;
        Ok(Self(send))
    }

    /// Tells the thread. Without it there is nobody to do anything, which was said.
    pub(super) fn order(&self, order: Order) {
        let _ = self.0.send(order);
    }
}

/// What the thread knows.
struct Keeper {
    events: Events,
    store: Store,
    set: Arc<Set>,
    acme: Acme,
    /// What was wrong in the directory at the last look.
    warned: Vec<String>,
}

/// An order that is under way.
type UnderWay = Pin<Box<dyn Future<Output = Ended>>>;

impl Keeper {
    async fn run(mut self, mut orders: UnboundedReceiver<Order>) {
        // What another process has written since control looked.
        self.look_again("");
        let mut under_way: Option<UnderWay> = None;
        loop {
            if under_way.is_none() {
                under_way = self.acme.begin(&self.set).map(|order| Box::pin(order) as UnderWay);
            }
            let rest = self.acme.rest().min(LOOK);
            tokio::select! {
                order = orders.recv() => {
                    let Some(order) = order else { return };
                    self.deal_with(order);
                    if under_way.is_some() && !self.acme.is_wanted() {
                        // The plan wants something else now.
                        under_way = None;
                        self.acme.given_up();
                    }
                }
                ended = poll(&mut under_way) => {
                    under_way = None;
                    let change = self.acme.ended(ended, &self.set);
                    // What was issued is told when every core shows it.
                    self.look_again(&change);
                }
                () = sleep(rest) => self.look_again(""),
            }
        }
    }

    fn deal_with(&mut self, order: Order) {
        match order {
            Order::Plan(rules, max) => {
                self.store.set_max(max);
                self.acme.take_up(&rules, &self.set);
            }
            Order::Put { name, chain, key, reply } => {
                if !self.store.has_room(&self.set, &name) {
                    let why = format!("{} certificates are kept already (certificates.max)", self.set.len());
                    let _ = reply.send(Answer::refused(why));
                    return;
                }
                let what = if self.set.contains_key(&*name) { "replaced" } else { "added" };
                match self.store.put(&name, Source::Upload, &key, &chain) {
                    Ok(()) => self.found(&format!("certificate {name} was {what}"), Some(reply)),
                    Err(error) => {
                        let _ = reply.send(Answer::refused(format!("it cannot be kept: {error}")));
                    }
                }
            }
            Order::Delete { name, reply } => match self.store.remove(&name) {
                Ok(()) => self.found(&format!("certificate {name} was deleted"), Some(reply)),
                Err(error) => {
                    let _ = reply.send(Answer::refused(format!("it cannot be deleted: {error}")));
                }
            },
            Order::Renew { name, reply } => {
                self.acme.renew(&name);
                let _ = reply.send(Answer::Done);
            }
            Order::LookAgain => {
                self.look_again("");
                self.acme.look_at_challenges();
            }
        }
    }

    /// Takes what is there, where that is something else.
    fn look_again(&mut self, change: &str) {
        self.found(change, None);
    }

    fn found(&mut self, change: &str, reply: Option<Sender<Answer>>) {
        let found = match self.store.read() {
            Ok(found) => found,
            Err(why) => {
                tell(&self.events, Level::Warn, format!("certificates that are kept cannot be read: {why}"));
                if let Some(reply) = reply {
                    let _ = reply.send(Answer::refused(why));
                }
                return;
            }
        };
        // One that cannot be read for now must not take away what is shown.
        let mut set = found.set;
        for (name, kept) in &*self.set {
            if !set.contains_key(name) && self.store.has_file(name) {
                set.insert(name.clone(), kept.clone());
            }
        }
        for warning in found.warnings.iter().filter(|warning| !self.warned.contains(warning)) {
            tell(&self.events, Level::Warn, warning.clone());
        }
        self.warned = found.warnings;
        if store::is_same(&set, &self.set) && reply.is_none() {
            return;
        }
        let change = if change.is_empty() { difference(&self.set, &set) } else { change.to_owned() };
        self.set = Arc::new(set);
        self.acme.look_at(&self.set);
        let event = Event::Set { set: self.set.clone(), change, reply };
        let _ = self.events.send(events::Event::Certificates(event));
    }
}

/// The order under way, or nothing ever.
async fn poll(under_way: &mut Option<UnderWay>) -> Ended {
    match under_way {
        Some(order) => order.await,
        None => std::future::pending().await,
    }
}

/// What changed, on one line.
fn difference(before: &Set, after: &Set) -> String {
    let is_other = |name: &&Arc<str>| match (before.get(&***name), after.get(&***name)) {
        (Some(one), Some(other)) => !one.certificate.is_same(&other.certificate),
        (one, other) => one.is_some() != other.is_some(),
    };
    let mut names: Vec<&str> = before.keys().chain(after.keys()).filter(is_other).map(|name| &**name).collect();
    names.sort_unstable();
    names.dedup();
    match names.as_slice() {
        [] => "certificates that are kept changed".to_owned(),
        [one] => format!("certificate {one} changed"),
        [one, rest @ ..] => format!("certificate {one} and {} more changed", rest.len()),
    }
}

/// Tells control what authorities may ask for. The answer comes when every core knows.
pub(super) fn publish(events: &Events, challenges: Challenges) -> std::sync::mpsc::Receiver<Answer> {
    let (reply, answer) = std::sync::mpsc::channel();
    let event = Event::Challenges { challenges: Arc::new(challenges), reply };
    // Without control the channel closes.
    let _ = events.send(events::Event::Certificates(event));
    answer
}
