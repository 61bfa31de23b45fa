//! Changes the plan that the cores run: offered to every core, acknowledged by every core, then committed. Whatever goes
//! wrong before that leaves the plan that runs as it is.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use ringway_runtime::clock::{Instant, Wall};
use ringway_runtime::engine::ListenSource;
use ringway_runtime::histogram::Start;
use ringway_runtime::net;

use super::build::{Base, Built, Known, NotBuilt, Version};
use super::certificates::Kept;
use super::command::{Answer, Command, PlanNote};
use super::cores::Cores;
use super::discovery::InUse;
use super::history::{Held, History, Past};
use super::log::Log;
use super::offers::{Draft, Offers};
use crate::config::{Effective, diff};
use crate::core::{DoorId, FromCore, Offer, ToCore};
use crate::observe::{NewNames, Segment};
use crate::plan::{Level, Plan};

/// Changes that may wait for the one under way.
const MAX_WAITING: usize = 16;

/// What a build starts from.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    /// The config's file.
    File,
    /// A plan of before.
    Again(Known),
}

/// Starts a build, whose end comes as [`Plans::built`].
pub(super) type Builder = Box<dyn Fn(Origin, u64, Base)>;

/// Where the metrics of cores are, and since when.
#[derive(Clone, Debug)]
pub(super) struct MetricsPlace {
    pub(super) dir: Option<PathBuf>,
    pub(super) start: Start,
}

impl MetricsPlace {
    /// Makes what a core needs for new names. Where there can be no file that is a warning.
    pub(super) fn open(&self, core: usize, new: &NewNames, log: &mut Log<'_>) -> Segment {
        let Some(dir) = &self.dir else { return new.in_memory() };
        let (segment, warning) = new.open(dir, &Start { core: core as u32, ..self.start });
        if let Some(warning) = warning {
            log.warn(format_args!("{warning}"));
        }
        segment
    }
}

/// A change of plan that somebody wants.
struct Job {
    what: What,
    replies: Vec<Sender<Answer>>,
    /// The plan of before that is to run again, once that is known.
    back_to: Option<(u64, Known)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Reload,
    /// A file of the config may have changed.
    ReloadIfChanged,
    ReloadUnlessUndone(Duration),
    RollBack(Option<u64>),
    /// Nobody confirmed what [`What::ReloadUnlessUndone`] began to run.
    Undo,
    /// The same config with other endpoints or certificates that the gateway has found: what changed.
    Found(Vec<String>),
}

impl Job {
    fn is_found(&self) -> bool {
        matches!(self.what, What::Found(_))
    }
}

/// How far a change is.
enum Step {
    Idle,
    Building(Job),
    Preparing { job: Job, draft: Draft, says: Arc<Effective>, waits_for: Vec<usize> },
    Committing { job: Job, note: PlanNote, waits_for: Vec<usize> },
}

/// What is undone unless it is confirmed.
struct Unconfirmed {
    back_to: (u64, Known),
    by: Instant,
}

/// The plan that runs, those before it, and the change under way.
pub(super) struct Plans {
    cores: Rc<Cores>,
    cpus: Vec<usize>,
    builder: Builder,
    metrics: MetricsPlace,
    offers: Offers,
    epoch: u64,
    version: Version,
    last_epoch: u64,
    history: History,
    /// Endpoints that were found, for every plan that comes.
    pub(super) in_use: InUse,
    /// Certificates that are kept, for every plan that comes.
    pub(super) kept: Kept,
    held: Held,
    step: Step,
    began: Instant,
    /// When the step under way has taken too long.
    by: Option<Instant>,
    waiting: VecDeque<Job>,
    unconfirmed: Option<Unconfirmed>,
    /// The files of the config, as they were read last.
    files: Vec<PathBuf>,
    draining: bool,
    /// A process may be about to take over: what it was told of this one stays so.
    frozen: bool,
}

impl Plans {
    /// With the first plan, which every core starts with, what the config said for it, and the files that were read.
    /// Returns what each core starts with.
    pub(super) fn start(
        first: Draft,
        (says, files): (Effective, Vec<PathBuf>),
        mut offers: Offers,
        cores: Rc<Cores>,
        cpus: Vec<usize>,
        metrics: MetricsPlace,
        builder: Builder,
    ) -> (Self, Vec<Offer>) {
        let mut draft = first;
        let start = std::mem::take(&mut draft.offers);
        let (epoch, plan) = (draft.epoch, draft.plan.clone());
        let version = Version { plan: plan.clone(), says: Arc::new(says) };
        let mut held = Held::default();
        held.hold(epoch, cores.count(), draft.parts());
        let mut history = History::default();
        let changes = if epoch > 1 { "the first of a process that took over" } else { "the first" };
        let note = PlanNote { epoch, since_unix_ns: Wall::now().as_nanos(), changes: changes.into(), runs: true };
        history.add(note, version.clone(), plan.control.history as usize);
        // Nothing was open before, so no backlog can differ.
        let _ = offers.settle(draft);
        let this = Self {
            cores,
            cpus,
            builder,
            metrics,
            offers,
            epoch,
            version,
            last_epoch: epoch,
            history,
            in_use: InUse::default(),
            kept: Kept::default(),
            held,
            step: Step::Idle,
            began: Instant::default(),
            by: None,
            waiting: VecDeque::new(),
            unconfirmed: None,
            files,
            draining: false,
            frozen: false,
        };
        (this, start)
    }

    /// The plan that runs.
    pub(super) fn plan(&self) -> &Arc<Plan> {
        &self.version.plan
    }

    /// When it began to run, and what changed with it.
    pub(super) fn note(&self) -> PlanNote {
        self.history.newest()
    }

    /// The plans of the gateway before can run again, too.
    pub(super) fn inherit(&mut self, before: Vec<Past>) {
        let keep = self.plan().control.history as usize;
        self.history.inherit(before, keep);
    }

    /// Those that can run again, and the one that runs, for the process that takes over.
    pub(super) fn past(&self) -> Vec<Past> {
        self.history.past()
    }

    /// When it is undone unless somebody confirms it.
    pub(super) fn undone_at(&self) -> Option<Instant> {
        self.unconfirmed.as_ref().map(|unconfirmed| unconfirmed.by)
    }

    /// The files of the config, where the plan asks for a watch on them.
    pub(super) fn watched(&self) -> Option<&[PathBuf]> {
        (self.plan().control.watch && !self.draining).then_some(&*self.files)
    }

    /// A file of the config may have changed.
    pub(super) fn file_changed(&mut self, log: &mut Log<'_>) {
        self.add(Job { what: What::ReloadIfChanged, replies: Vec::new(), back_to: None }, log);
    }

    /// What it listens on.
    pub(super) fn offers(&self) -> &Offers {
        &self.offers
    }

    /// Where metrics are.
    pub(super) fn metrics(&self) -> &MetricsPlace {
        &self.metrics
    }

    /// Refuses changes from now on, or no more.
    pub(super) fn freeze(&mut self, is_frozen: bool) {
        self.frozen = is_frozen;
    }

    /// Another process goes on with the listening sockets.
    pub(super) fn let_go(&mut self, kept: &[DoorId]) {
        self.offers.let_go(kept);
    }

    /// The gateway before has let go of the listening sockets. Returns what each core is to accept from as well.
    pub(super) fn took_over(
        &mut self,
        placement: net::Placement,
        log: &mut Log<'_>,
    ) -> Vec<Vec<(DoorId, ListenSource)>> {
        self.offers.took_over(&self.cpus, placement, |warning| log.warn(format_args!("{warning}")))
    }

    /// Metrics files that come from now on are seen at once.
    pub(super) fn publish(&mut self) {
        self.metrics.start.hidden = false;
    }

    /// Whether a change of the config is under way.
    pub(super) fn is_changing(&self) -> bool {
        match &self.step {
            Step::Idle => false,
            Step::Building(job) | Step::Preparing { job, .. } | Step::Committing { job, .. } => !job.is_found(),
        }
    }

    /// Why no change can begin, now or later.
    pub(super) fn closed(&self) -> Option<&'static str> {
        match (self.draining, self.frozen) {
            (true, _) => Some("the gateway drains"),
            (_, true) => Some("an upgrade is under way"),
            _ => None,
        }
    }

    /// Whether a change could begin at once.
    pub(super) fn is_free(&self) -> bool {
        matches!(self.step, Step::Idle) && !self.draining && !self.frozen
    }

    /// The epoch of the plan that cores run: that of its config, or a later one where endpoints have changed since.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Runs what runs with the endpoints in use and the certificates that are kept. Nothing of the config changes, so this
    /// has no place in the history, and there is nothing to read or bind. Whoever asks knows that a change could begin.
    pub(super) fn change_found(&mut self, changes: Vec<String>, replies: Vec<Sender<Answer>>, log: &mut Log<'_>) {
        self.began = Instant::now();
        self.step = Step::Building(Job { what: What::Found(changes), replies, back_to: None });
        let version = self.version.clone();
        let built = Built { version, files: Vec::new(), bound: HashMap::new(), warnings: String::new(), access: None };
        self.built(Ok(built), log);
    }

    /// When [`Plans::time_passed`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let unconfirmed = self.unconfirmed.as_ref().map(|unconfirmed| unconfirmed.by);
        self.by.into_iter().chain(unconfirmed).min()
    }

    /// Takes a command about plans.
    pub(super) fn command(&mut self, command: &Command, reply: Option<Sender<Answer>>, log: &mut Log<'_>) {
        let replies: Vec<_> = reply.into_iter().collect();
        let what = match *command {
            Command::Reload => What::Reload,
            Command::ReloadUnlessUndone(within) => What::ReloadUnlessUndone(within),
            Command::RollBack(to) => What::RollBack(to),
            Command::Plans => return answer(replies, &Answer::Plans(self.history.notes())),
            Command::Confirm => {
                let was_open = self.unconfirmed.take().is_some();
                let nothing = || Answer::refused("nothing waits to be confirmed");
                return answer(replies, &if was_open { Answer::Done } else { nothing() });
            }
            Command::Drain
            | Command::DrainEndpoint { .. }
            | Command::HoldBreaker { .. }
            | Command::Discovery(_)
            | Command::Certificates(_)
            | Command::LogLevel(_)
            | Command::Upgrade => return answer(replies, &Answer::Done),
        };
        self.add(Job { what, replies, back_to: None }, log);
    }

    fn add(&mut self, job: Job, log: &mut Log<'_>) {
        if self.draining {
            return self.refuse(job, NotBuilt::from("the gateway drains".to_owned()), log);
        }
        if self.frozen {
            return self.refuse(job, NotBuilt::from("an upgrade is under way".to_owned()), log);
        }
        // Whoever asks for what will be done in any case needs no second time, unless an answer is due.
        if job.replies.is_empty() && self.waiting.iter().any(|waiting| waiting.what == job.what) {
            return;
        }
        if self.waiting.len() >= MAX_WAITING {
            return self.refuse(job, NotBuilt::from("too many changes wait already".to_owned()), log);
        }
        self.waiting.push_back(job);
        self.next(log);
    }

    /// Begins the next change, if none is under way.
    fn next(&mut self, log: &mut Log<'_>) {
        while matches!(self.step, Step::Idle)
            && let Some(mut job) = self.waiting.pop_front()
        {
            let found = match &job.what {
                What::RollBack(to) => self.history.find(*to).map(|found| job.back_to = Some(found)),
                _ => Ok(()),
            };
            match found {
                Ok(()) => {
                    let origin = job.back_to.as_ref().map_or(Origin::File, |(_, known)| Origin::Again(known.clone()));
                    self.began = Instant::now();
                    let base = Base { plan: self.plan().clone(), cpus: self.cpus.clone(), open: self.offers.open() };
                    (self.builder)(origin, self.last_epoch + 1, base);
                    self.step = Step::Building(job);
                }
                Err(why) => self.refuse(job, NotBuilt::from(why), log),
            }
        }
    }

    /// A build has ended.
    pub(super) fn built(&mut self, built: Result<Built, NotBuilt>, log: &mut Log<'_>) {
        let job = match std::mem::replace(&mut self.step, Step::Idle) {
            Step::Building(job) => job,
            // The gateway drains: nobody wants it any more.
            step => {
                self.step = step;
                return;
            }
        };
        let files = built.as_ref().map_or_else(|failed| &failed.files, |built| &built.files);
        if !files.is_empty() {
            self.files.clone_from(files);
        }
        if job.what == What::ReloadIfChanged
            && built.as_ref().is_ok_and(|built| diff(&self.version.says, &built.version.says).is_empty())
        {
            return self.next(log);
        }
        let draft = built.and_then(|Built { version, bound, warnings, access, .. }| {
            log.report(Level::Warn, &warnings);
            // A number that a core may have heard of is not used again.
            self.last_epoch += 1;
            let (metrics, epoch) = (&self.metrics, self.last_epoch);
            if !job.is_found() {
                log.offer(epoch, access);
            }
            let plan = self.kept.put_into(self.in_use.put_into(&version.plan, self.plan()));
            let open_segment = |core: usize, new: &NewNames| metrics.open(core, new, log);
            let draft = self.offers.draft(epoch, plan, bound, open_segment);
            draft.map(|draft| (draft, version.says)).map_err(NotBuilt::from)
        });
        match draft {
            Ok((draft, says)) => self.offer(job, draft, says, log),
            Err(failed) => {
                self.refuse(job, failed, log);
                self.next(log);
            }
        }
    }

    fn offer(&mut self, job: Job, mut draft: Draft, says: Arc<Effective>, log: &mut Log<'_>) {
        if let Some(core) = self.cores.deaf() {
            self.refuse(job, NotBuilt::from(format!("core {core} does not listen to control")), log);
            return self.next(log);
        }
        let offers = std::mem::take(&mut draft.offers);
        self.held.hold(draft.epoch, offers.len(), draft.parts());
        for (core, offer) in offers.into_iter().enumerate() {
            self.cores.tell(core, ToCore::Offer(Box::new(offer)));
        }
        log.debug(format_args!("plan {} is offered to every core", draft.epoch));
        let waits_for = (0..self.cores.count()).collect();
        self.by = Some(Instant::now() + self.plan().control.acknowledge);
        self.step = Step::Preparing { job, draft, says, waits_for };
    }

    /// A core said something.
    pub(super) fn heard(&mut self, core: usize, message: FromCore, log: &mut Log<'_>) {
        match message {
            FromCore::Released(epoch) => {
                log.debug(format_args!("core {core} has let go of plan {epoch}"));
                self.held.release(epoch);
            }
            FromCore::Prepared(epoch, result) => {
                let is_error = result.is_err();
                if is_error {
                    // What could not be prepared is never released.
                    self.held.release(epoch);
                }
                let Step::Preparing { draft, waits_for, .. } = &mut self.step else { return };
                if draft.epoch != epoch {
                    return;
                }
                waits_for.retain(|&waits_for| waits_for != core);
                let is_complete = waits_for.is_empty();
                match result {
                    Err(why) => self.withdraw(format!("core {core}: {why}"), log),
                    Ok(()) if is_complete => self.commit(log),
                    Ok(()) => {}
                }
            }
            // That is not about plans.
            FromCore::Seen(_) | FromCore::ShortOfFiles | FromCore::LetGo | FromCore::Beat => {}
            FromCore::Runs(epoch) => {
                let Step::Committing { note, waits_for, .. } = &mut self.step else { return };
                if note.epoch == epoch {
                    waits_for.retain(|&waits_for| waits_for != core);
                    if waits_for.is_empty() {
                        self.done(log);
                    }
                }
            }
        }
    }

    fn commit(&mut self, log: &mut Log<'_>) {
        let (job, draft, says) = match std::mem::replace(&mut self.step, Step::Idle) {
            Step::Preparing { job, draft, says, .. } => (job, draft, says),
            step => {
                self.step = step;
                return;
            }
        };
        let epoch = draft.epoch;
        // The access log is there before the first core writes to it.
        if !job.is_found() {
            log.take_up(&draft.plan, epoch);
        }
        let version = Version { plan: draft.plan.clone(), says };
        self.cores.tell_all(|| ToCore::Commit(epoch));
        let what = match (&job.what, &job.back_to) {
            (What::Undo, Some((to, _))) => format!(" (not confirmed, back to {to})"),
            (_, Some((to, _))) => format!(" (back to {to})"),
            (_, None) => String::new(),
        };
        let took = Instant::now().since(self.began).as_millis();
        let changed = diff(&self.version.says, &version.says);
        let line = format!("plan {} -> {epoch}{what}: {changed}, built in {took} ms", self.note().epoch);
        match &job.what {
            What::ReloadUnlessUndone(within) => {
                let back_to = (self.note().epoch, Known::Built(self.version.clone()));
                let back_to = self.unconfirmed.take().map_or(back_to, |before| before.back_to);
                self.unconfirmed = Some(Unconfirmed { back_to, by: Instant::now() + *within });
            }
            What::RollBack(_) | What::Undo => self.unconfirmed = None,
            // What waits to be confirmed still does.
            What::Reload | What::ReloadIfChanged | What::Found(_) => {}
        }
        let note = PlanNote { epoch, since_unix_ns: Wall::now().as_nanos(), changes: line.into(), runs: true };
        if !job.is_found() {
            self.history.add(note.clone(), version.clone(), version.plan.control.history as usize);
        }
        if let Err(warning) = self.offers.settle(draft) {
            log.warn(format_args!("{warning}"));
        }
        (self.epoch, self.version) = (epoch, version);
        self.by = Some(Instant::now() + self.plan().control.acknowledge);
        self.step = Step::Committing { job, note, waits_for: (0..self.cores.count()).collect() };
    }

    /// Every core runs the plan.
    fn done(&mut self, log: &mut Log<'_>) {
        if let Step::Committing { job, note, .. } = std::mem::replace(&mut self.step, Step::Idle) {
            self.by = None;
            if let What::Found(changes) = &job.what {
                for change in changes {
                    log.info(format_args!("{change}"));
                }
                let took = Instant::now().since(self.began).as_millis();
                log.debug(format_args!("plan {} with what was found runs after {took} ms", note.epoch));
            } else {
                log.info(format_args!("{}", note.changes));
            }
            let runs = || Answer::Runs { epoch: note.epoch, changes: note.changes.to_string() };
            let is_found = job.is_found();
            answer(job.replies, &if is_found { Answer::Done } else { runs() });
        }
        self.next(log);
    }

    /// Takes back what was offered.
    fn withdraw(&mut self, why: String, log: &mut Log<'_>) {
        match std::mem::replace(&mut self.step, Step::Idle) {
            Step::Preparing { job, draft, .. } => {
                // A core that is stuck prepares it when it comes to itself, and forgets it at once.
                self.cores.tell_all(|| ToCore::Withdraw(draft.epoch));
                self.by = None;
                self.refuse(job, NotBuilt::from(why), log);
            }
            step => self.step = step,
        }
        self.next(log);
    }

    /// Some time has passed.
    pub(super) fn time_passed(&mut self, log: &mut Log<'_>) {
        let now = Instant::now();
        if let Some(unconfirmed) = self.unconfirmed.take_if(|unconfirmed| unconfirmed.by <= now) {
            self.add(Job { what: What::Undo, replies: Vec::new(), back_to: Some(unconfirmed.back_to) }, log);
        }
        if self.by.is_none_or(|by| by > now) {
            return;
        }
        self.by = None;
        let named = |cores: &[usize]| {
            let names: Vec<String> = cores.iter().map(ToString::to_string).collect();
            format!("core {}", names.join(", "))
        };
        let patience = self.plan().control.acknowledge;
        match &self.step {
            Step::Preparing { waits_for, .. } => {
                let why = format!("{} did not answer within {patience:?}", named(waits_for));
                self.withdraw(why, log);
            }
            Step::Committing { waits_for, note, .. } => {
                let (cores, epoch) = (named(waits_for), note.epoch);
                log.warn(format_args!("{cores} did not say within {patience:?} that it runs plan {epoch}"));
                self.done(log);
            }
            Step::Idle | Step::Building(_) => {}
        }
    }

    /// The gateway drains: no plan follows.
    pub(super) fn drain(&mut self, log: &mut Log<'_>) {
        self.draining = true;
        self.unconfirmed = None;
        self.by = None;
        let under_way = match std::mem::replace(&mut self.step, Step::Idle) {
            Step::Building(job) | Step::Preparing { job, .. } => Some(job),
            Step::Committing { job, note, .. } => {
                answer(job.replies, &Answer::Runs { epoch: note.epoch, changes: note.changes.to_string() });
                None
            }
            Step::Idle => None,
        };
        for job in under_way.into_iter().chain(std::mem::take(&mut self.waiting)) {
            self.refuse(job, NotBuilt::from("the gateway drains".to_owned()), log);
        }
    }

    fn refuse(&self, job: Job, failed: NotBuilt, log: &mut Log<'_>) {
        let NotBuilt { report, why, .. } = failed;
        log.report(Level::Error, &report);
        log.refused(format_args!("kept plan {}: {why}", self.note().epoch));
        answer(job.replies, &Answer::Refused { report, why });
    }
}

fn answer(replies: Vec<Sender<Answer>>, answer: &Answer) {
    for reply in replies {
        // Who asked may have gone.
        let _ = reply.send(answer.clone());
    }
}

#[cfg(test)]
mod tests;
