//! What control can be asked to do, and what it answers.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::certificates;
use super::discovery::{Ask, SourceSight};
use super::events::{Event, Events};
use super::sights::{Sight, Status};
use crate::plan::Level;

/// What control can be asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Read the config again and run it.
    Reload,
    /// Read the config again and run it, and go back to the plan before unless [`Command::Confirm`] comes in time.
    ReloadUnlessUndone(Duration),
    /// Keep what [`Command::ReloadUnlessUndone`] began to run.
    Confirm,
    /// Run a plan of before again: that of an epoch, or the one before the one that runs.
    RollBack(Option<u64>),
    /// The plans that could be run again, and the one that runs.
    Plans,
    /// Send no new requests to an endpoint, or send them to it again.
    DrainEndpoint {
        /// The upstream's name.
        upstream: String,
        /// The endpoint's name: as the config writes it.
        endpoint: String,
        /// Whether it gets no new requests.
        is_drained: bool,
    },
    /// Write what matters at least so much until the next plan; or only say what is written.
    LogLevel(Option<Level>),
    /// Let nothing through a breaker until it is closed, or close it.
    HoldBreaker {
        /// The upstream's name.
        upstream: String,
        /// The endpoint's name; the breaker of the upstream itself without one.
        endpoint: Option<String>,
        /// Whether it is opened.
        is_open: bool,
    },
    /// About the endpoints that are found while the gateway runs.
    Discovery(Ask),
    /// About the certificates that are kept.
    Certificates(certificates::Ask),
    /// Take no more connections and end with the last request.
    Drain,
    /// Start the program anew, for it to take over from this process.
    Upgrade,
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Another plan runs on every core.
    Runs {
        /// Its epoch.
        epoch: u64,
        /// What changed, on one line.
        changes: String,
    },
    /// Done, with nothing to tell.
    Done,
    /// Another process has taken over.
    Upgraded {
        /// Which one.
        pid: u32,
    },
    /// The plans, oldest first.
    Plans(Vec<PlanNote>),
    /// An endpoint is registered.
    Registered {
        /// For how long, unless it says so again.
        ttl: Duration,
    },
    /// How the sources of endpoints are.
    Sources(Vec<SourceSight>),
    /// What matters at least so much is written.
    LogLevel(Level),
    /// What was sent is wrong: where, and what.
    Wrong(String),
    /// There is no such thing in the plan that runs.
    Unknown(String),
    /// It was not done, and nothing has changed.
    Refused {
        /// What `check` says of the config, where that is the reason.
        report: String,
        /// In a few words.
        why: String,
    },
}

impl Answer {
    pub(super) fn refused(why: impl Into<String>) -> Self {
        Self::Refused { report: String::new(), why: why.into() }
    }
}

/// A plan that runs or ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanNote {
    /// Counts plans, from 1.
    pub epoch: u64,
    /// When it began to run: nanoseconds since the Unix epoch.
    pub since_unix_ns: u64,
    /// What changed with it, on one line.
    pub changes: Arc<str>,
    /// Whether it runs now.
    pub runs: bool,
}

/// Asks control, from any thread.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(super) events: Events,
}

impl Handle {
    /// Sends a command. The answer comes when it is done; the channel closes without one when control ends first.
    pub fn send(&self, command: Command) -> Receiver<Answer> {
        let (reply, answer) = channel();
        // Where control has ended the reply channel closes with the event.
        let _ = self.events.send(Event::Command(command, reply));
        answer
    }

    /// Asks how the gateway is, without a question to the cores.
    pub fn status(&self) -> Receiver<Status> {
        let (reply, answer) = channel();
        let _ = self.events.send(Event::Status(reply));
        answer
    }

    /// Asks how the gateway is, and its cores.
    pub fn look(&self) -> Receiver<Sight> {
        let (reply, answer) = channel();
        let _ = self.events.send(Event::Look(reply));
        answer
    }
}
