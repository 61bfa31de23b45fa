//! A whole gateway on this machine: sockets first, then one pinned thread a core, then signals until the end.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use ringway_runtime::clock::{Instant, Wall};
use ringway_runtime::core::cpus;
use ringway_runtime::engine::{self, EngineKind};
use ringway_runtime::histogram::{self, Start};
use ringway_runtime::net::{self, ListenSpec};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::core::{self, DrainSignal, Ended};
use crate::observe::Metrics;
use crate::plan::{self, BusyPoll, DataCores, ListenerId, Plan};

/// Stack of a core's thread in bytes. Tasks live on the heap; this is for calls alone.
const STACK: usize = 2 << 20;

/// Why the gateway could not run, or ended badly.
#[derive(Debug)]
pub struct Failed(String);

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

enum Event {
    Ready,
    Ended { core: usize, outcome: Result<Ended, String> },
    Signal(i32),
}

/// Runs `plan` until SIGTERM or SIGINT and until every core has drained; a second signal ends it at once.
/// One line goes to `out` when every core accepts.
pub fn run(plan: Plan, out: &mut dyn Write) -> Result<(), Failed> {
    let cpus = data_cpus(&plan)?;
    cpus::raise_open_files()?;
    let plan = Arc::new(plan);
    let (mut sockets, addresses) = bind(&plan, &cpus)?;
    let (send, events) = mpsc::channel();
    // Before the first core, so that no signal is missed.
    watch_signals(&send)?;
    let mut drains = Vec::new();
    let started = (Instant::now(), Wall::now());
    remove_stale_metrics(&plan, cpus.len());
    for (core, &cpu) in cpus.iter().enumerate() {
        let drain = Arc::new(DrainSignal::default());
        drains.push(drain.clone());
        let sockets = sockets.remove(0);
        let (plan, send) = (plan.clone(), send.clone());
        thread::Builder::new()
            .name(format!("ringway-core-{core}"))
            .stack_size(STACK)
            .spawn(move || {
                let outcome =
                    catch_unwind(AssertUnwindSafe(|| run_core(core, cpu, &plan, sockets, drain, started, &send)))
                        .unwrap_or_else(|_| Err("it panicked; the message is above".to_owned()));
                // Without control there is nobody to tell.
                let _ = send.send(Event::Ended { core, outcome });
            })
            .map_err(|error| Failed(format!("cannot start the thread of core {core}: {error}")))?;
    }
    if let Some(cpu) = plan.cores.control {
        cpus::pin(cpu as usize)?;
    }
    watch(&events, &plan, &cpus, &addresses, &drains, out)
}

fn watch(
    events: &Receiver<Event>,
    plan: &Plan,
    cpus: &[usize],
    addresses: &[(ListenerId, SocketAddr)],
    drains: &[Arc<DrainSignal>],
    out: &mut dyn Write,
) -> Result<(), Failed> {
    let (mut ready, mut running, mut cut, mut draining) = (0, cpus.len(), 0, false);
    while running > 0 {
        match events.recv() {
            Ok(Event::Ready) => {
                ready += 1;
                if ready == cpus.len() {
                    // A closed standard output is no reason to stop serving.
                    let _ = writeln!(out, "{}", ready_line(plan, cpus, addresses)).and_then(|()| out.flush());
                }
            }
            Ok(Event::Signal(signal)) => {
                if draining {
                    return Err(Failed(format!("signal {signal} during the drain: ended at once")));
                }
                draining = true;
                for drain in drains {
                    drain.raise();
                }
            }
            Ok(Event::Ended { outcome: Ok(ended), .. }) => {
                running -= 1;
                cut += ended.cut;
            }
            Ok(Event::Ended { core, outcome: Err(why) }) => {
                // A gateway that lost a core would serve a part of its clients and drop the rest in silence.
                return Err(Failed(format!("core {core} died: {why}")));
            }
            Err(_) => return Err(Failed("every core ended without a word".to_owned())),
        }
    }
    if cut > 0 {
        let timeout = plan.cores.drain_timeout;
        // The log of a dying process is best effort.
        let _ = writeln!(io::stderr(), "ringway: {cut} connections were cut after the drain timeout of {timeout:?}");
    }
    Ok(())
}

fn ready_line(plan: &Plan, cpus: &[usize], addresses: &[(ListenerId, SocketAddr)]) -> String {
    let engine = match plan.cores.engine {
        plan::Engine::Ring => "ring",
        plan::Engine::Glommio => "glommio",
    };
    let listeners: Vec<String> = addresses
        .iter()
        .map(|(id, address)| {
            let name = plan.listeners.get(id.0 as usize).map_or("?", |listener| &*listener.name);
            format!("{name} {address}")
        })
        .collect();
    let s = if cpus.len() == 1 { "" } else { "s" };
    format!("ringway ready: {} core{s}, engine {engine}, listening on {}", cpus.len(), listeners.join(", "))
}

fn watch_signals(send: &Sender<Event>) -> Result<(), Failed> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
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

/// The sockets of each core, and the addresses they are bound to.
type Bound = (Vec<Vec<(ListenerId, OwnedFd)>>, Vec<(ListenerId, SocketAddr)>);

fn bind(plan: &Plan, cpus: &[usize]) -> Result<Bound, Failed> {
    let mut sockets: Vec<Vec<(ListenerId, OwnedFd)>> = cpus.iter().map(|_| Vec::new()).collect();
    let mut addresses = Vec::new();
    let placement = match plan.cores.placement {
        plan::Placement::Kernel => net::Placement::Kernel,
        plan::Placement::Cpu => net::Placement::Cpu,
    };
    for (at, listener) in plan.listeners.iter().enumerate() {
        let id = ListenerId(at as u32);
        for &address in &listener.addresses {
            let spec = ListenSpec { address, backlog: listener.backlog as i32, placement };
            let (bound, group) = net::bind_for_cores(&spec, cpus)
                .map_err(|error| Failed(format!("listener `{}`: {error}", listener.name)))?;
            addresses.push((id, bound));
            for (core, socket) in sockets.iter_mut().zip(group) {
                core.push((id, socket));
            }
        }
    }
    Ok((sockets, addresses))
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

fn run_core(
    core: usize,
    cpu: usize,
    plan: &Arc<Plan>,
    sockets: Vec<(ListenerId, OwnedFd)>,
    drain: Arc<DrainSignal>,
    started: (Instant, Wall),
    events: &Sender<Event>,
) -> Result<Ended, String> {
    cpus::pin(cpu).map_err(|error| error.to_string())?;
    let metrics = open_metrics(core, plan, started)?;
    let kind = match plan.cores.engine {
        plan::Engine::Ring => EngineKind::Ring,
        plan::Engine::Glommio => EngineKind::Glommio,
    };
    let config = engine::Config {
        buffers: u16::try_from(plan.cores.buffers).unwrap_or(u16::MAX),
        buffer_size: plan.cores.buffer_size as usize,
        read_ahead: plan.cores.read_ahead as usize,
        busy_poll: match plan.cores.busy_poll {
            BusyPoll::Off => engine::BusyPoll::Off,
            BusyPoll::For(time) => engine::BusyPoll::For(time),
            BusyPoll::Always => engine::BusyPoll::Always,
        },
        ..engine::Config::default()
    };
    let (plan, events) = (plan.clone(), events.clone());
    engine::run(kind, &config, move |engine| async move {
        let listeners: io::Result<_> =
            sockets.into_iter().map(|(id, socket)| Ok((id, engine.listen(socket)?))).collect();
        let listeners = listeners.map_err(|error| format!("cannot accept: {error}"))?;
        let _ = events.send(Event::Ready);
        Ok(core::run(engine, plan, metrics, listeners, drain).await)
    })
    .map_err(|error| error.to_string())?
}

/// Files of cores that an earlier run had and this one has not would be merged into this one's figures.
fn remove_stale_metrics(plan: &Plan, cores: usize) {
    let Some(dir) = plan.cores.metrics_dir.as_ref().filter(|dir| dir.exists()) else { return };
    let cores: Vec<u32> = (0..cores as u32).collect();
    if let Err(error) = histogram::remove_stale(dir, &cores) {
        let _ = writeln!(io::stderr(), "ringway: warning: cannot tidy {}: {error}", dir.display());
    }
}

fn open_metrics(core: usize, plan: &Plan, started: (Instant, Wall)) -> Result<Metrics, String> {
    let routes: Vec<&str> = plan.routes.iter().map(|route| &*route.name).collect();
    let upstreams: Vec<&str> = plan.upstreams.iter().map(|upstream| &*upstream.name).collect();
    let Some(dir) = &plan.cores.metrics_dir else {
        return Metrics::in_memory(&routes, &upstreams).map_err(|error| error.to_string());
    };
    let (mono, wall) = started;
    let start = Start { core: core as u32, wall_ns: wall.as_nanos(), mono_ns: mono.as_nanos() };
    let (metrics, warning) = Metrics::open(dir, &start, &routes, &upstreams).map_err(|error| error.to_string())?;
    if let Some(warning) = warning {
        let _ = writeln!(io::stderr(), "ringway: warning: {warning}");
    }
    Ok(metrics)
}
