//! What control tells of the gateway as it is now.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use ringway_runtime::clock::Instant;
use ringway_runtime::net::Address;

use super::certificates::{AcmeSight, Set};
use super::command::PlanNote;
use super::cores::Cores;
use crate::core::{CoreSight, ToCore};
use crate::plan::Plan;
use crate::upstream::Drained;

/// How long a core may take to say how its connections are.
const PATIENCE: Duration = Duration::from_secs(1);

/// How the gateway is, as control knows it.
#[derive(Clone, Debug)]
pub struct Status {
    /// What every core runs.
    pub plan: Arc<Plan>,
    /// When that began, and what changed with it.
    pub note: PlanNote,
    /// Its own epoch, which is later than that of the note where endpoints have changed since.
    pub epoch: u64,
    /// How long until it is undone unless somebody confirms it.
    pub undone_in: Option<Duration>,
    /// Where it listens: the listener's name and the address.
    pub addresses: Vec<(Box<str>, Address)>,
    /// How many data cores there are.
    pub cores: usize,
    /// How many of them began to accept.
    pub accepting: usize,
    /// Whether the gateway is about to end.
    pub is_draining: bool,
    /// Endpoints that get no new requests.
    pub drained: Arc<Drained>,
    /// Certificates that are kept.
    pub certificates: Arc<Set>,
    /// How it goes with those that authorities issue.
    pub acme: Arc<[AcmeSight]>,
}

/// How the gateway is, with what its cores say.
#[derive(Clone, Debug)]
pub struct Sight {
    /// As control knows it.
    pub status: Status,
    /// As each core knows it; nothing where a core did not answer in time.
    pub cores: Vec<Option<CoreSight>>,
}

/// The one question to the cores that is under way. Whoever asks meanwhile gets the same answer, so that no
/// client of the admin API can fill a core's ring with it.
#[derive(Debug, Default)]
pub(super) struct Looks {
    asked: Vec<Sender<Sight>>,
    seen: Vec<Option<CoreSight>>,
    /// Cores that still owe an answer to this question, or to one that was given up.
    owed: Vec<bool>,
    by: Option<Instant>,
}

impl Looks {
    /// Asks every core, unless that is under way.
    pub(super) fn ask(&mut self, reply: Sender<Sight>, cores: &Cores) {
        self.asked.push(reply);
        if self.by.is_some() {
            return;
        }
        self.seen = vec![None; cores.count()];
        self.owed.resize(cores.count(), false);
        for (core, owed) in self.owed.iter_mut().enumerate() {
            // One that has not answered the last question is not asked another.
            if !*owed && cores.listens(core) {
                cores.tell(core, ToCore::Look);
                *owed = true;
            }
        }
        self.by = Some(Instant::now() + PATIENCE);
    }

    /// A core has answered.
    pub(super) fn heard(&mut self, core: usize, sight: CoreSight) {
        if let (Some(seen), Some(owed)) = (self.seen.get_mut(core), self.owed.get_mut(core)) {
            (*seen, *owed) = (Some(sight), false);
        }
    }

    /// When [`Looks::settle`] has something to do at the latest.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.by
    }

    /// Answers where every core has, or where it took too long.
    pub(super) fn settle(&mut self, status: impl FnOnce() -> Status) {
        let Some(by) = self.by else { return };
        if self.seen.iter().any(Option::is_none) && Instant::now() < by {
            return;
        }
        self.by = None;
        let sight = Sight { status: status(), cores: std::mem::take(&mut self.seen) };
        for reply in self.asked.drain(..) {
            // Who asked may have gone.
            let _ = reply.send(sight.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use crate::config::compile;
    use crate::core::lines;

    fn status() -> Status {
        let text = "[listener.web]\naddress = \"127.0.0.1:0\"\n[service.s]\ntype = \"respond\"\n\
                    [[route]]\nname = \"s\"\npath = \"/\"\nservice = \"s\"\n";
        let (plan, _) = compile("t.toml", text, 1, &mut |_, _| Ok(Vec::new())).expect("a plan");
        let note = PlanNote { epoch: 1, since_unix_ns: 0, changes: "".into(), runs: true };
        Status {
            plan: Arc::new(plan),
            epoch: note.epoch,
            note,
            undone_in: None,
            addresses: Vec::new(),
            cores: 2,
            accepting: 2,
            is_draining: false,
            drained: Arc::default(),
            certificates: Arc::default(),
            acme: Arc::default(),
        }
    }

    #[test]
    fn all_who_ask_at_once_share_one_question_and_its_answer() {
        let mut lines = lines(2);
        let cores = Cores::new(lines.control);
        let mut looks = Looks::default();
        let asked: Vec<_> = (0..40)
            .map(|_| {
                let (send, receive) = channel();
                looks.ask(send, &cores);
                receive
            })
            .collect();
        looks.heard(1, CoreSight { connections: 7, ..CoreSight::default() });
        looks.settle(status);
        assert!(asked.iter().all(|asked| asked.try_recv().is_err()), "core 0 has not answered");
        looks.heard(0, CoreSight::default());
        looks.settle(status);
        for asked in asked {
            let sight = asked.try_recv().expect("an answer");
            assert_eq!(sight.cores.iter().flatten().map(|core| core.connections).collect::<Vec<_>>(), [0, 7]);
        }
        assert!(looks.deadline().is_none());
        for seat in lines.cores.drain(..) {
            let mut core = seat.into_control();
            assert!(matches!(core.try_receive(), Some((_, ToCore::Look))));
            assert!(core.try_receive().is_none(), "one question is enough");
        }
    }
}
