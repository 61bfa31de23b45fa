//! A whole gateway on this machine: sockets first, then one pinned thread a core, then signals and commands until the
//! end.

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use ringway_runtime::clock::{Instant, Wall};
use ringway_runtime::core::{Pulse, cpus};
use ringway_runtime::engine::{self, EngineKind};
use ringway_runtime::histogram::{self, Start};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;

use super::admin::{Server, Serving};
use super::build::{self, Base, Built, NotBuilt};
use super::command::{Answer, Command, Handle};
use super::discovery::{self, Discovery};
use super::log::{self, Log, Spawned, Told};
use super::notify::{self, Notifier};
use super::offers::{DoorKey, Offers};
use super::plans::{MetricsPlace, Origin, Plans};
use super::sights::{Looks, Sight, Status};
use super::upgrade::{self, Launch, Stage, Upgrade};
use super::watch::Watcher;
use super::watchdog::{self, Stall};
use crate::config::Effective;
use crate::core::{self, Ended, FromCore, Inbox, Offer, Place, ToCore};
use crate::observe::Metrics;
use crate::observe::records::Recorder;
use crate::plan::{self, BusyPoll, DataCores, Level, Plan, Upstream};
use crate::upstream::Drained;

/// Stack of a core's thread in bytes. Tasks live on the heap; this is for calls alone.
const STACK: usize = 2 << 20;

/// The least time between two looks at a config that changes.
const CONFIG_REST: Duration = Duration::from_secs(1);

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

/// Where plans come from when the gateway is told to reload.
#[derive(Clone, Debug)]
pub enum Source {
    /// A file.
    File {
        /// Which one.
        file: PathBuf,
        /// What it said when the first plan was made of it.
        says: Effective,
        /// The files that were read then.
        read: Vec<PathBuf>,
    },
    /// Nowhere: the first plan is the only one.
    Nothing,
}

/// What control waits for.
pub(super) enum Event {
    Core(usize, FromCore),
    /// The loop of this core turns.
    Beat(usize),
    Ended(usize, Result<Ended, String>),
    Signal(i32),
    Command(Command, Sender<Answer>),
    Status(Sender<Status>),
    Look(Sender<Sight>),
    Built(Result<Built, NotBuilt>),
    /// A file of the config may have changed.
    FileChanged,
    Discovery(discovery::Event),
    Stalled(Stall),
    /// A line for the log.
    Told(Told),
    Upgrade(upgrade::Event),
}

/// A gateway that is about to run.
pub struct Control {
    plan: Plan,
    source: Source,
    takes_over: bool,
    send: Sender<Event>,
    events: Receiver<Event>,
}

impl Control {
    /// For a gateway that starts with `plan`.
    pub fn new(plan: Plan, source: Source) -> Self {
        let (send, events) = mpsc::channel();
        Self { plan, source, takes_over: false, send, events }
    }

    /// It takes over from the gateway that listens on `control.upgrade_socket`.
    #[must_use]
    pub fn taking_over(self) -> Self {
        Self { takes_over: true, ..self }
    }

    /// Asks this gateway, as long as it runs.
    pub fn handle(&self) -> Handle {
        Handle { events: self.send.clone() }
    }

    /// Runs until SIGTERM or SIGINT and until every core has drained; a second signal ends it at once. SIGHUP reloads,
    /// SIGUSR1 opens the access log anew, SIGUSR2 starts the program anew, for it to take over. One line goes to `out` when every core accepts; all else, a failure included, is
    /// told on `err`.
    pub fn run(self, out: &mut dyn Write, err: &mut dyn Write) -> Result<(), Failed> {
        let log = &mut Log::new(err, &self.plan.log);
        let ended = self.start(out, log);
        if let Err(failed) = &ended {
            log.error(format_args!("{failed}"));
        }
        ended
    }

    fn start(self, out: &mut dyn Write, log: &mut Log<'_>) -> Result<(), Failed> {
        let Self { mut plan, source, takes_over, send, events } = self;
        let launch = launch(&source)?;
        let cpus = data_cpus(&plan)?;
        let descriptors = cpus::raise_open_files()? / cpus.len().max(1) as u64;
        let upgrade_socket = plan.control.upgrade_socket.clone();
        let before = match &upgrade_socket {
            Some(socket) if takes_over => upgrade::take(socket).map(Some).map_err(Failed)?,
            None if takes_over => return Err(Failed("control.upgrade_socket is not set".to_owned())),
            _ => None,
        };
        let Before { doors, upgrade, admin, drained, found, start, stage } = Before::new(before, &mut plan);
        let mut discovery = Discovery::new(send.clone(), found, &plan, log);
        // Before any port is bound, so that nobody waits for an answer that could not be given.
        let (plan, in_use) = discovery.first(plan, &events, log);
        let bound = build::bind(&plan, &cpus, &[], doors).map_err(Failed)?;
        let giving = upgrade_socket.map(|path| upgrade::Server::bind(&path, upgrade)).transpose().map_err(Failed)?;
        let admin = plan.admin.as_ref().map(|wanted| Server::bind(wanted, admin)).transpose().map_err(Failed)?;
        let access = plan.access_log.as_ref().map(log::open).transpose().map_err(Failed)?;
        // Before the first core, so that no signal is missed.
        watch_signals(&send)?;
        let metrics = MetricsPlace { dir: plan.cores.metrics_dir.clone(), start };
        remove_stale_metrics(&metrics, cpus.len(), log);
        let notifier = Notifier::from_env(cpus.len(), log);
        let mut offers = Offers::new(cpus.len());
        let first =
            offers.draft(plan.epoch, plan.clone(), bound, |core, new| metrics.open(core, new, log)).map_err(Failed)?;
        let inboxes: Vec<_> = cpus.iter().map(|_| Inbox::new()).collect();
        for inbox in inboxes.iter().filter(|_| drained.count() > 0) {
            // It is empty.
            let _ = inbox.send(ToCore::Endpoints(drained.clone()));
        }
        let (file, config) = match source {
            Source::File { file, says, read } => (Some(file), (says, read)),
            Source::Nothing => (None, (Effective::default(), Vec::new())),
        };
        let builder = Box::new(builder(file, send.clone()));
        let (mut plans, first) =
            Plans::start(first, config, offers, inboxes.clone(), cpus.clone(), metrics.clone(), builder);
        plans.in_use = in_use;
        let watcher = Watcher::new(send.clone(), || Event::FileChanged, CONFIG_REST, "files of the config");
        let places = core::places(cpus.len(), plan.cores.placement);
        let mut pulses = Vec::new();
        let told = send.clone();
        // Without control there is nobody to tell.
        let tell = log::bounded(move |line| drop(told.send(Event::Told(line))));
        let Spawned { scribe, recorders } =
            log::spawn(plan.cores.control.map(|cpu| cpu as usize), cpus.len(), plan.log.queue as usize, access, tell)?;
        log.set_scribe(scribe);
        let mut recorders = recorders.into_iter();
        for (core, (((&cpu, offer), inbox), place)) in cpus.iter().zip(first).zip(&inboxes).zip(places).enumerate() {
            let pulse = Arc::new(Pulse::default());
            // The core owns it; the watchdog ends with the last.
            pulses.push(Arc::downgrade(&pulse));
            let life = Life { beat_interval: notifier.beat_interval(), pulse };
            let records = recorders.next().unwrap_or_else(Recorder::to_nobody);
            let outfit = Outfit { first: offer, inbox: inbox.clone(), place, records, descriptors };
            start_core(core, cpu, metrics.clone(), outfit, life, &send)?;
        }
        if let Some(cpu) = plan.cores.control {
            cpus::pin(cpu as usize)?;
        }
        // After the pinning, which its thread inherits.
        if let Some(warning) = plan.cores.stall_warning {
            let events = send.clone();
            // Without control there is nobody to tell.
            watchdog::start(pulses, warning, move |stall| drop(events.send(Event::Stalled(stall))))?;
        }
        let giving = giving.map(|server| server.start(send.clone())).transpose()?;
        let upgrade = Upgrade::new(send, launch, giving, stage);
        plans.freeze(upgrade.is_taking());
        drop(plan);
        let mut gateway = Loop {
            plans,
            inboxes,
            watcher,
            discovery,
            notifier,
            looks: Looks::default(),
            drained,
            unserved_admin: admin,
            admin: None,
            upgrade,
            ready: 0,
            running: cpus.len(),
            cut: 0,
            draining: false,
            is_told_to_end: false,
        };
        if !gateway.upgrade.is_taking() {
            gateway.start_admin(log);
        }
        let ended = gateway.run(&events, out, log);
        let last = log.finish();
        let before =
            events.try_iter().filter_map(|event| if let Event::Told(told) = event { Some(told) } else { None });
        before.chain(last).for_each(|told| log.tell(&told));
        ended
    }
}

/// How this program can be started again.
fn launch(source: &Source) -> io::Result<Option<Launch>> {
    let Source::File { file, .. } = source else { return Ok(None) };
    // Found now: once another file lies there, the kernel says that this one is deleted.
    let program = std::env::current_exe()?;
    Ok(Some(Launch { program, file: file.clone(), cpus: cpus::allowed()? }))
}

/// What a gateway starts with: what the one before it had, or nothing.
#[derive(Default)]
struct Before {
    doors: HashMap<DoorKey, (SocketAddr, Vec<OwnedFd>)>,
    upgrade: Option<UnixListener>,
    admin: Option<upgrade::AdminSockets>,
    drained: Arc<Drained>,
    found: Option<discovery::Sets>,
    start: Start,
    stage: Stage,
}

impl Before {
    fn new(before: Option<upgrade::Inherited>, plan: &mut Plan) -> Self {
        let (wall_ns, mono_ns) = (Wall::now().as_nanos(), Instant::now().as_nanos());
        let mut start = Start { wall_ns, mono_ns, ..Start::default() };
        let Some(before) = before else { return Self { start, ..Self::default() } };
        plan.epoch = before.epoch + 1;
        if let Some((_, of_before)) = before.metrics.filter(|(dir, _)| Some(dir) == plan.cores.metrics_dir.as_ref()) {
            start = Start { generation: of_before.generation.saturating_add(1), hidden: true, ..of_before };
        }
        Self {
            doors: before.doors,
            upgrade: Some(before.upgrade),
            admin: before.admin,
            drained: Arc::new(before.drained),
            found: before.found,
            start,
            stage: Stage::Taking(before.link),
        }
    }
}

/// The loop that waits for events.
pub(super) struct Loop {
    pub(super) plans: Plans,
    pub(super) inboxes: Vec<Arc<Inbox>>,
    watcher: Watcher,
    pub(super) discovery: Discovery,
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
}

impl Loop {
    fn run(mut self, events: &Receiver<Event>, out: &mut dyn Write, log: &mut Log<'_>) -> Result<(), Failed> {
        while self.running > 0 || self.upgrade.is_needed() {
            self.watcher.watch(self.plans.watched(), log);
            self.discovery.turn(&mut self.plans, log);
            let deadlines = [self.plans.deadline(), self.discovery.deadline(&self.plans), self.looks.deadline()];
            let deadline = deadlines.into_iter().flatten().chain(self.upgrade.deadline()).min();
            let event = match deadline {
                None => events.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(deadline) => events.recv_timeout(deadline.since(Instant::now())),
            };
            match event {
                Ok(event) => self.deal_with(event, out, log)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Failed("every core ended without a word".to_owned()));
                }
            }
            self.plans.time_passed(log);
            self.upgrade_time_passed(log);
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
            Event::Core(_, FromCore::Runs(_)) if self.ready < self.inboxes.len() => {
                self.ready += 1;
                if self.ready == self.inboxes.len() {
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
            Event::Upgrade(event) => self.upgrade_event(event, out, log),
            Event::Core(core, message) => self.plans.heard(core, message, log),
            Event::Beat(core) => self.notifier.beat(core),
            Event::Built(built) => self.plans.built(built, log),
            Event::FileChanged => {
                self.watcher.look_again();
                self.plans.file_changed(log);
            }
            Event::Discovery(event) => self.discovery.heard(event, log),
            Event::Command(Command::Discovery(ask), reply) => {
                let answer = self.discovery.ask(ask, log);
                let _ = reply.send(answer);
            }
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
            Event::Look(reply) => self.looks.ask(reply, &self.inboxes),
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
            addresses: self.plans.offers().addresses().map(|(name, address)| (name.into(), address)).collect(),
            cores: self.inboxes.len(),
            accepting: self.ready,
            // For who asks, the gateway goes on where another process has taken over.
            is_draining: self.draining && !self.upgrade.is_handed_over(),
            drained: self.drained.clone(),
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
        let drained = Arc::new(self.drained.with(upstream, endpoint, is_drained));
        let tell = |inbox: &Arc<Inbox>, drained: &Arc<Drained>| inbox.send(ToCore::Endpoints(drained.clone())).is_ok();
        if let Some(stuck) = self.inboxes.iter().position(|inbox| !tell(inbox, &drained)) {
            for inbox in self.inboxes.iter().take(stuck) {
                // It took the last message, and this one has room unless it is stuck by now, too.
                let _ = tell(inbox, &self.drained);
            }
            return Answer::refused(format!("core {stuck} does not listen to control"));
        }
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
        for inbox in &self.inboxes {
            // A core whose inbox is full is stuck: the second signal is for that.
            let _ = inbox.send(ToCore::Drain);
        }
    }

    fn tell_of_reloads(&mut self) {
        if self.plans.is_changing() {
            self.notifier.reloading();
        } else if self.notifier.is_reloading() {
            self.notifier.ready(&self.ready_line());
        }
    }

    fn ready_line(&self) -> String {
        let engine = match self.plans.plan().cores.engine {
            plan::Engine::Ring => "ring",
            plan::Engine::Glommio => "glommio",
        };
        let addresses = self.plans.offers().addresses();
        let listeners: Vec<String> = addresses.map(|(name, address)| format!("{name} {address}")).collect();
        let cores = self.inboxes.len();
        let s = if cores == 1 { "" } else { "s" };
        format!("ringway ready: {cores} core{s}, engine {engine}, listening on {}", listeners.join(", "))
    }
}

fn short_of_files(core: usize) -> String {
    format!(
        "core {core} is short of file descriptors: clients took all but the reserved ones of its share, and some are \
         turned away; raise the limit on open files (LimitNOFILE, ulimit -Hn)"
    )
}

/// Builds plans on a thread of their own: resolving names and waiting for ports can take long.
fn builder(file: Option<PathBuf>, send: Sender<Event>) -> impl Fn(Origin, u64, Base) {
    move |origin, epoch, base| {
        let (file, done) = (file.clone(), send.clone());
        let build = move || {
            let built = match (origin, file) {
                (Origin::Again(version), _) => build::again(version, &base),
                (Origin::File, Some(file)) => build::build(&file, epoch, &base),
                (Origin::File, None) => Err("this gateway has no config to read".to_owned().into()),
            };
            // Without control there is nobody to build for.
            let _ = done.send(Event::Built(built));
        };
        if let Err(error) = thread::Builder::new().name("ringway-build".to_owned()).spawn(build) {
            let _ = send.send(Event::Built(Err(format!("cannot start the thread that builds: {error}").into())));
        }
    }
}

fn watch_signals(send: &Sender<Event>) -> Result<(), Failed> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2])?;
    let send = send.clone();
    thread::Builder::new()
        .name("ringway-signals".to_owned())
        .spawn(move || {
            for signal in &mut signals {
                if send.send(Event::Signal(signal)).is_err() {
                    return;
                }
            }
        })
        .map_err(|error| Failed(format!("cannot start the thread that waits for signals: {error}")))?;
    Ok(())
}

/// The CPUs the config names, checked against those the process may use.
fn data_cpus(plan: &Plan) -> Result<Vec<usize>, Failed> {
    let allowed = cpus::allowed()?;
    let list = |cpus: &[usize]| cpus.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let chosen: Vec<usize> = match &plan.cores.data {
        DataCores::All => {
            let control = plan.cores.control.map(|cpu| cpu as usize);
            let others: Vec<usize> = allowed.iter().copied().filter(|&cpu| Some(cpu) != control).collect();
            if others.is_empty() { allowed.clone() } else { others }
        }
        DataCores::Count(count) => {
            let count = *count as usize;
            if count > allowed.len() {
                let have = list(&allowed);
                return Err(Failed(format!("cores.data = {count}, but the process may use only CPUs {have}")));
            }
            allowed.iter().copied().take(count).collect()
        }
        DataCores::List(cpus) => cpus.iter().map(|&cpu| cpu as usize).collect(),
    };
    let missing: Vec<usize> = chosen.iter().copied().filter(|cpu| !allowed.contains(cpu)).collect();
    if !missing.is_empty() {
        let (missing, have) = (list(&missing), list(&allowed));
        return Err(Failed(format!("cores.data names CPUs {missing}, but the process may use only {have}")));
    }
    Ok(chosen)
}

/// What a core starts with.
struct Outfit {
    first: Offer,
    inbox: Arc<Inbox>,
    place: Option<Place>,
    records: Recorder,
    /// Its share of what the process may have open.
    descriptors: u64,
}

/// How a core shows that it is alive.
struct Life {
    /// How often it tells control, where the service manager wants to know.
    beat_interval: Option<Duration>,
    /// What the watchdog looks at.
    pulse: Arc<Pulse>,
}

/// Starts the pinned thread of a core.
fn start_core(
    core: usize,
    cpu: usize,
    metrics: MetricsPlace,
    outfit: Outfit,
    life: Life,
    events: &Sender<Event>,
) -> Result<(), Failed> {
    let events = events.clone();
    thread::Builder::new()
        .name(format!("ringway-core-{core}"))
        .stack_size(STACK)
        .spawn(move || {
            let run = || run_core(core, cpu, &metrics, outfit, life, events.clone());
            let outcome = catch_unwind(AssertUnwindSafe(run))
                .unwrap_or_else(|_| Err("it panicked; the message is above".to_owned()));
            // Without control there is nobody to tell.
            let _ = events.send(Event::Ended(core, outcome));
        })
        .map_err(|error| Failed(format!("cannot start the thread of core {core}: {error}")))?;
    Ok(())
}

fn run_core(
    core: usize,
    cpu: usize,
    metrics: &MetricsPlace,
    outfit: Outfit,
    life: Life,
    events: Sender<Event>,
) -> Result<Ended, String> {
    let Outfit { first, inbox, place, records, descriptors } = outfit;
    cpus::pin(cpu).map_err(|error| error.to_string())?;
    let metrics = open_metrics(core, metrics, &events)?;
    let cores = &first.plan.cores;
    let kind = match cores.engine {
        plan::Engine::Ring => EngineKind::Ring,
        plan::Engine::Glommio => EngineKind::Glommio,
    };
    let config = engine::Config {
        buffers: u16::try_from(cores.buffers).unwrap_or(u16::MAX),
        buffer_size: cores.buffer_size as usize,
        read_ahead: cores.read_ahead as usize,
        busy_poll: match cores.busy_poll {
            BusyPoll::Off => engine::BusyPoll::Off,
            BusyPoll::For(time) => engine::BusyPoll::For(time),
            BusyPoll::Always => engine::BusyPoll::Always,
        },
        descriptors,
        pulse: life.pulse,
        ..engine::Config::default()
    };
    engine::run(kind, &config, move |engine| {
        if let Some(interval) = life.beat_interval {
            let events = events.clone();
            engine.spawn(notify::beats(engine.clone(), interval, move || events.send(Event::Beat(core)).is_ok()));
        }
        // Without control there is nobody to tell.
        let tell = Rc::new(move |message| drop(events.send(Event::Core(core, message))));
        core::run(engine, metrics, first, inbox, tell, place, records)
    })
    .map_err(|error| error.to_string())?
}

/// Files of cores that an earlier run had and this one has not would be merged into this one's figures.
fn remove_stale_metrics(metrics: &MetricsPlace, cores: usize, log: &mut Log<'_>) {
    let Some(dir) = metrics.dir.as_ref().filter(|dir| dir.exists()) else { return };
    let cores: Vec<u32> = (0..cores as u32).collect();
    let removed = match metrics.start.generation {
        0 => histogram::remove_stale(dir, &cores),
        // The gateway before still writes its files.
        _ => histogram::remove_half_made(dir),
    };
    if let Err(error) = removed {
        log.warn(format_args!("cannot tidy {}: {error}", dir.display()));
    }
}

fn open_metrics(core: usize, place: &MetricsPlace, events: &Sender<Event>) -> Result<Metrics, String> {
    let Some(dir) = &place.dir else { return Metrics::in_memory().map_err(|error| error.to_string()) };
    let start = Start { core: core as u32, ..place.start };
    let (metrics, warning) = Metrics::open(dir, &start).map_err(|error| error.to_string())?;
    if let Some(warning) = warning {
        // Without control there is nobody to tell.
        let _ = events.send(Event::Told(Told::new(Level::Warn, warning.to_string())));
    }
    Ok(metrics)
}

fn has_endpoint(upstream: &Upstream, endpoint: &str) -> bool {
    upstream.endpoints.iter().any(|known| &*known.name == endpoint)
}

fn unknown(upstream: &str, endpoint: &str, found: Option<&Upstream>) -> Answer {
    Answer::Unknown(match found {
        None => format!("the plan has no upstream \"{upstream}\""),
        Some(found) => {
            let known: Vec<&str> = found.endpoints.iter().map(|endpoint| &*endpoint.name).collect();
            format!("upstream \"{upstream}\" has no endpoint \"{endpoint}\"; it has {}", known.join(", "))
        }
    })
}
