//! The start of a gateway on this machine: sockets first, then one pinned thread a core, then control's loop until the
//! end.

use std::collections::HashMap;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ringway_runtime::clock::{Instant, Wall};
use ringway_runtime::core::{Pulse, cpus};
use ringway_runtime::engine::{self, EngineKind};
use ringway_runtime::histogram::{self, Start};
use ringway_runtime::net::Address;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;

use super::admin::Server;
use super::build::{self, Base};
use super::certificates::Certificates;
use super::command::Handle;
use super::cores::Cores;
use super::discovery::{self, Discovery};
use super::events::{Event, Events, Queue, queue};
use super::history::Past;
use super::log::{self, Log, Spawned, Told};
use super::machine::{Failed, Loop, Parts};
use super::notify::Notifier;
use super::offers::{DoorKey, Offers};
use super::plans::{MetricsPlace, Origin, Plans};
use super::tickets::Tickets;
use super::upgrade::{self, Launch, Stage, Upgrade};
use super::watch::Watcher;
use super::watchdog;
use crate::config::Effective;
use crate::core::{self, Ended, Outfit, ToCore};
use crate::observe::Metrics;
use crate::observe::records::Recorder;
use crate::plan::{self, BusyPoll, DataCores, Level, Plan};
use crate::service;
use crate::upstream::Drained;

/// Stack of a core's thread in bytes. Tasks live on the heap; this is for calls alone.
const STACK: usize = 2 << 20;

/// The least time between two looks at a config that changes.
const CONFIG_REST: Duration = Duration::from_secs(1);

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

/// A gateway that is about to run.
pub struct Control {
    plan: Plan,
    source: Source,
    takes_over: bool,
    events: Events,
    queue: Queue,
}

impl Control {
    /// For a gateway that starts with `plan`.
    pub fn new(plan: Plan, source: Source) -> Self {
        let (events, queue) = queue();
        Self { plan, source, takes_over: false, events, queue }
    }

    /// It takes over from the gateway that listens on `control.upgrade_socket`.
    #[must_use]
    pub fn taking_over(self) -> Self {
        Self { takes_over: true, ..self }
    }

    /// Asks this gateway, as long as it runs.
    pub fn handle(&self) -> Handle {
        Handle { events: self.events.clone() }
    }

    /// Runs until SIGTERM or SIGINT and until every core has drained; a second signal ends it at once. SIGHUP reloads,
    /// SIGUSR1 opens the access log anew, SIGUSR2 starts the program anew, for it to take over. One line goes to `out`
    /// when every core accepts; all else, a failure included, is told on `err`.
    pub fn run(self, out: &mut dyn Write, err: &mut dyn Write) -> Result<(), Failed> {
        let log = &mut Log::new(err, &self.plan.log);
        let ended = self.start(out, log);
        if let Err(failed) = &ended {
            log.error(format_args!("{failed}"));
        }
        ended
    }

    fn start(self, out: &mut dyn Write, log: &mut Log<'_>) -> Result<(), Failed> {
        let Self { mut plan, source, takes_over, events, queue } = self;
        let launch = launch(&source)?;
        let cpus = data_cpus(&plan)?;
        let descriptors = cpus::raise_open_files()? / cpus.len().max(1) as u64;
        let upgrade_socket = plan.control.upgrade_socket.clone();
        let before = match &upgrade_socket {
            Some(socket) if takes_over => upgrade::take(socket).map(Some).map_err(Failed::new)?,
            None if takes_over => return Err(Failed::new("control.upgrade_socket is not set".to_owned())),
            _ => None,
        };
        let Before { doors, upgrade, admin, drained, found, past, histories, tickets, start, stage } =
            Before::new(before, &mut plan);
        let mut discovery = Discovery::new(events.clone(), found, &plan, log);
        // Before any port is bound, so that nobody waits for an answer that could not be given.
        let (plan, in_use) = discovery.first(plan, &queue, log);
        let certificates = Certificates::new(events.clone(), &plan, log).map_err(Failed::new)?;
        let plan = certificates.kept().put_into(plan);
        let bound = build::bind(&plan, &cpus, &[], doors).map_err(Failed::new)?;
        let giving =
            upgrade_socket.map(|path| upgrade::Server::bind(&path, upgrade)).transpose().map_err(Failed::new)?;
        let admin = plan.admin.as_ref().map(|wanted| Server::bind(wanted, admin)).transpose().map_err(Failed::new)?;
        let access = plan.access_log.as_ref().map(log::open).transpose().map_err(Failed::new)?;
        // Before the first core, so that no signal is missed.
        watch_signals(&events)?;
        let metrics = MetricsPlace { dir: plan.cores.metrics_dir.clone(), start };
        remove_stale_metrics(&metrics, cpus.len(), log);
        let notifier = Notifier::from_env(cpus.len(), log);
        let mut offers = Offers::new(cpus.len());
        let first = offers
            .draft(plan.epoch, plan.clone(), bound, |core, new| metrics.open(core, new, log))
            .map_err(Failed::new)?;
        first.services().inherit(&histories);
        let lines = core::lines(cpus.len());
        let cores = Rc::new(Cores::new(lines.control));
        if drained.count() > 0 {
            cores.tell_all(|| ToCore::Endpoints(drained.clone()));
        }
        let (file, config) = match source {
            Source::File { file, says, read } => (Some(file), (says, read)),
            Source::Nothing => (None, (Effective::default(), Vec::new())),
        };
        let builder = Box::new(builder(file, events.clone()));
        let (mut plans, first) =
            Plans::start(first, config, offers, cores.clone(), cpus.clone(), metrics.clone(), builder);
        plans.inherit(past);
        plans.in_use = in_use;
        plans.kept = certificates.kept().clone();
        let watcher = Watcher::new(events.clone(), || Event::FileChanged, CONFIG_REST, "files of the config");
        let places = core::places(cpus.len(), plan.cores.placement);
        let mut pulses = Vec::new();
        let told = events.clone();
        // Without control there is nobody to tell.
        let tell = log::bounded(move |line| drop(told.send(Event::Told(line))));
        let Spawned { scribe, recorders } =
            log::spawn(plan.cores.control.map(|cpu| cpu as usize), cpus.len(), plan.log.queue as usize, access, tell)?;
        log.set_scribe(scribe);
        let mut recorders = recorders.into_iter();
        let tickets = tickets.or_else(Tickets::new);
        let tickets = tickets.ok_or_else(|| Failed::new("there is no randomness".to_owned()))?;
        for (core, (((&cpu, first), line), place)) in cpus.iter().zip(first).zip(lines.cores).zip(places).enumerate() {
            let pulse = Arc::new(Pulse::default());
            // The core owns it; the watchdog ends with the last.
            pulses.push(Arc::downgrade(&pulse));
            let records = recorders.next().unwrap_or_else(Recorder::to_nobody);
            let (beat, tickets) = (notifier.beat_interval(), tickets.keys().clone());
            let outfit = Outfit { first, line, place, records, beat, tickets };
            let machine = Machine { core, cpu, metrics: metrics.clone(), descriptors, pulse };
            start_core(machine, outfit, &events)?;
        }
        if let Some(cpu) = plan.cores.control {
            cpus::pin(cpu as usize)?;
        }
        // After the pinning, which its thread inherits.
        if let Some(warning) = plan.cores.stall_warning {
            let stalled = events.clone();
            // Without control there is nobody to tell.
            watchdog::start(pulses, warning, move |stall| drop(stalled.send(Event::Stalled(stall))))?;
        }
        let giving = giving.map(|server| server.start(events.clone())).transpose()?;
        let upgrade = Upgrade::new(events, launch, giving, stage);
        plans.freeze(upgrade.is_taking());
        drop(plan);
        let parts = Parts {
            plans,
            cores: cores.clone(),
            watcher,
            discovery,
            certificates,
            notifier,
            drained,
            admin,
            upgrade,
            tickets,
        };
        let mut inlet = queue.with(cores);
        let ended = Loop::new(parts, log).run(&mut inlet, out, log);
        let last = log.finish();
        let before = inlet.rest().filter_map(|event| if let Event::Told(told) = event { Some(told) } else { None });
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
    doors: HashMap<DoorKey, (Address, Vec<OwnedFd>)>,
    upgrade: Option<UnixListener>,
    admin: Option<upgrade::AdminSockets>,
    drained: Arc<Drained>,
    found: Option<discovery::Sets>,
    /// The plans that ran in its time.
    past: Vec<Past>,
    /// How the health of things changed in its time.
    histories: service::Histories,
    /// The keys of its session tickets.
    tickets: Option<Tickets>,
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
            past: before.past,
            histories: before.histories,
            tickets: before.tickets.map(|(keys, since)| Tickets::inherited(keys, since)),
            start,
            stage: Stage::Taking(before.link),
        }
    }
}

/// Builds plans on a thread of their own: resolving names and waiting for ports can take long.
fn builder(file: Option<PathBuf>, events: Events) -> impl Fn(Origin, u64, Base) {
    move |origin, epoch, base| {
        let (file, done) = (file.clone(), events.clone());
        let build = move || {
            let built = match (origin, file) {
                (Origin::Again(known), _) => build::again(known, epoch, &base),
                (Origin::File, Some(file)) => build::build(&file, epoch, &base),
                (Origin::File, None) => Err("this gateway has no config to read".to_owned().into()),
            };
            // Without control there is nobody to build for.
            let _ = done.send(Event::Built(built));
        };
        if let Err(error) = thread::Builder::new().name("ringway-build".to_owned()).spawn(build) {
            let _ = events.send(Event::Built(Err(format!("cannot start the thread that builds: {error}").into())));
        }
    }
}

fn watch_signals(events: &Events) -> Result<(), Failed> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2])?;
    let events = events.clone();
    thread::Builder::new()
        .name("ringway-signals".to_owned())
        .spawn(move || {
            for signal in &mut signals {
                if events.send(Event::Signal(signal)).is_err() {
                    return;
                }
            }
        })
        .map_err(|error| Failed::new(format!("cannot start the thread that waits for signals: {error}")))?;
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
                return Err(Failed::new(format!("cores.data = {count}, but the process may use only CPUs {have}")));
            }
            allowed.iter().copied().take(count).collect()
        }
        DataCores::List(cpus) => cpus.iter().map(|&cpu| cpu as usize).collect(),
    };
    let missing: Vec<usize> = chosen.iter().copied().filter(|cpu| !allowed.contains(cpu)).collect();
    if !missing.is_empty() {
        let (missing, have) = (list(&missing), list(&allowed));
        return Err(Failed::new(format!("cores.data names CPUs {missing}, but the process may use only {have}")));
    }
    Ok(chosen)
}

/// What the thread of a core needs of the machine.
struct Machine {
    core: usize,
    cpu: usize,
    metrics: MetricsPlace,
    /// Its share of what the process may have open.
    descriptors: u64,
    /// What the watchdog looks at.
    pulse: Arc<Pulse>,
}

/// Starts the pinned thread of a core.
fn start_core(machine: Machine, outfit: Outfit, events: &Events) -> Result<(), Failed> {
    let (core, events) = (machine.core, events.clone());
    thread::Builder::new()
        .name(format!("ringway-core-{core}"))
        .stack_size(STACK)
        .spawn(move || {
            let outcome = catch_unwind(AssertUnwindSafe(|| run_core(machine, outfit, &events)))
                .unwrap_or_else(|_| Err("it panicked; the message is above".to_owned()));
            // Without control there is nobody to tell.
            let _ = events.send(Event::Ended(core, outcome));
        })
        .map_err(|error| Failed::new(format!("cannot start the thread of core {core}: {error}")))?;
    Ok(())
}

fn run_core(machine: Machine, outfit: Outfit, events: &Events) -> Result<Ended, String> {
    cpus::pin(machine.cpu).map_err(|error| error.to_string())?;
    let metrics = open_metrics(machine.core, &machine.metrics, events)?;
    let cores = &outfit.first.plan.cores;
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
        descriptors: machine.descriptors,
        pulse: machine.pulse,
        ..engine::Config::default()
    };
    engine::run(kind, &config, move |engine| core::run(engine, metrics, outfit)).map_err(|error| error.to_string())?
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

fn open_metrics(core: usize, place: &MetricsPlace, events: &Events) -> Result<Metrics, String> {
    let Some(dir) = &place.dir else { return Metrics::in_memory().map_err(|error| error.to_string()) };
    let start = Start { core: core as u32, ..place.start };
    let (metrics, warning) = Metrics::open(dir, &start).map_err(|error| error.to_string())?;
    if let Some(warning) = warning {
        // Without control there is nobody to tell.
        let _ = events.send(Event::Told(Told::new(Level::Warn, warning.to_string())));
    }
    Ok(metrics)
}
