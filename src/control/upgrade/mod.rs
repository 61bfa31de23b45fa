//! One process takes a gateway over from another, and nobody is refused meanwhile.
//!
//! The new process asks at the upgrade socket of the old one ([`take`]) and is given its listening sockets and what else
//! a gateway has that its config does not say. It starts its cores on them. While both accept, whoever comes is served
//! by one of them. When every core of the new one accepts, it says so: this is the moment at which the gateway changes
//! hands. The old one lets go of the sockets, serves what it has accepted and ends. Whatever goes wrong before that
//! moment ends the new process alone.

mod give;
mod launch;
mod steps;
mod take;
mod wire;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::Sender;
use std::time::Duration;

use ringway_runtime::clock::Instant;

pub(super) use give::{Giving, Outgoing, Server};
pub(super) use launch::Launch;
pub(super) use take::{AdminSockets, Inherited, Link, take};

use super::admin::Serving;
use super::command::Answer;
use super::events::Events;

/// How often it is looked whether the last answers of the admin API are out.
const LOOK: Duration = Duration::from_millis(10);

/// What control hears of a take-over.
#[derive(Debug)]
pub(super) enum Event {
    /// A process wants to take over from this one.
    Wanted {
        /// Which one.
        pid: u32,
        /// What it gets, or why it gets nothing.
        reply: Sender<Result<Outgoing, String>>,
    },
    /// It accepts on every core. It waits for the word that this process does so no more.
    Accepted {
        /// Which one.
        pid: u32,
        /// The doors it goes on with, by their place in what it was offered.
        keeps: Vec<usize>,
        /// Lets it go on.
        reply: Sender<()>,
    },
    /// It has been told that this process does so no more.
    Said,
    /// It did not take over after all.
    Failed(String),
    /// The process that this one started to take over from it has ended, and has not.
    ChildEnded(String),
    /// The gateway before has let go, or goes on.
    Yours(Result<(), String>),
}

/// How far a take-over is.
#[derive(Debug, Default)]
pub(super) enum Stage {
    /// There is none.
    #[default]
    Idle,
    /// A process has what it takes to take over, and has not done so yet.
    Offered,
    /// A process has taken over and waits until these cores accept no more.
    LettingGo { reply: Sender<()>, waits_for: Vec<usize>, by: Instant },
    /// A process has taken over and is told that no core here accepts any more.
    Telling,
    /// A process has taken over.
    HandedOver,
    /// This process takes over.
    Taking(Link),
    /// It takes over, and waits until the gateway before accepts no more.
    Told {
        /// That gateway.
        pid: u32,
    },
    /// It could not.
    GaveUp(String),
}

/// What control keeps for taking over and being taken over.
#[derive(Debug)]
pub(super) struct Upgrade {
    pub(super) stage: Stage,
    /// How the program is started again; nothing where there is no config to start it with.
    pub(super) launch: Option<Launch>,
    /// The upgrade socket.
    pub(super) giving: Option<Giving>,
    pub(super) events: Events,
    /// Who wants to take over, and waits until no change of plan is under way.
    wanted: Option<(u32, Sender<Result<Outgoing, String>>)>,
    /// Who asked for it and waits for an answer.
    asked: Option<Sender<Answer>>,
    /// Tells whoever waits for the process that was started that it has taken over.
    started: Option<Arc<AtomicBool>>,
    /// The admin API of a process that was taken over, until it has given its last answer, and when it must have.
    admin: Option<(Serving, Instant)>,
    /// When to look whether processes before this one have ended, whose metrics are then folded.
    fold_at: Option<Instant>,
}

impl Upgrade {
    pub(super) fn new(events: Events, launch: Option<Launch>, giving: Option<Giving>, stage: Stage) -> Self {
        Self { stage, launch, giving, events, wanted: None, asked: None, started: None, admin: None, fold_at: None }
    }

    /// Whether this process takes over from another and has not done so yet.
    pub(super) fn is_taking(&self) -> bool {
        matches!(self.stage, Stage::Taking(_) | Stage::Told { .. })
    }

    /// Whether another process has taken over.
    pub(super) fn is_handed_over(&self) -> bool {
        self.owes_a_word() || matches!(self.stage, Stage::HandedOver)
    }

    /// Whether somebody still waits for this process, whatever its cores do.
    pub(super) fn is_needed(&self) -> bool {
        self.owes_a_word() || self.admin.is_some()
    }

    /// Whether that process waits for this one.
    fn owes_a_word(&self) -> bool {
        matches!(self.stage, Stage::LettingGo { .. } | Stage::Telling)
    }

    /// When there is something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let letting_go = if let Stage::LettingGo { by, .. } = self.stage { Some(by) } else { None };
        let look = self.admin.is_some().then(|| Instant::now() + LOOK);
        letting_go.into_iter().chain(self.fold_at).chain(look).min()
    }
}
