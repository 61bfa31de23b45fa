//! From the config's file to a plan that could be offered: everything slow, off control's own thread.

use std::collections::HashMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ringway_runtime::engine::ListenSource;
use ringway_runtime::net::{self, Address, ListenSpec, UnixName};

use super::log::{self, Opened};
use super::offers::{Bound, DoorKey, Wanted, wanted};
use super::socket::{self, SocketFile};
use crate::config::{self, Effective, LoadError, Loaded, Report, Written};
use crate::plan::{self, Plan};

/// A plan, and what the config said for it.
#[derive(Clone, Debug)]
pub(super) struct Version {
    pub(super) plan: Arc<Plan>,
    pub(super) says: Arc<Effective>,
}

/// A plan of before.
#[derive(Clone, Debug)]
pub(super) enum Known {
    /// Of this process.
    Built(Version),
    /// Of the gateway that this process took over from.
    Written(Arc<Written>),
}

/// A plan with sockets for what it listens on anew.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) version: Version,
    /// The files that were read; of a plan of before nothing.
    pub(super) files: Vec<PathBuf>,
    pub(super) bound: HashMap<DoorKey, Bound>,
    /// What `check` would warn of.
    pub(super) warnings: String,
    /// The access log, where the plan has one.
    pub(super) access: Option<Opened>,
}

/// Why there is no plan: what `check` would say, and in a few words.
#[derive(Debug)]
pub(super) struct NotBuilt {
    pub(super) report: String,
    pub(super) why: String,
    /// The files that were read.
    pub(super) files: Vec<PathBuf>,
}

impl From<String> for NotBuilt {
    fn from(why: String) -> Self {
        Self { report: String::new(), why, files: Vec::new() }
    }
}

/// What a build has to know of the gateway that runs.
#[derive(Clone, Debug)]
pub(super) struct Base {
    pub(super) plan: Arc<Plan>,
    pub(super) cpus: Vec<usize>,
    pub(super) open: Vec<DoorKey>,
}

/// Reads the config and binds what is new.
pub(super) fn build(file: &Path, epoch: u64, base: &Base) -> Result<Built, NotBuilt> {
    let Loaded { plan, report, effective } = config::load(file, epoch, &mut resolve).map_err(|error| match error {
        LoadError::File(why) => NotBuilt {
            report: format!("{why}\n"),
            why: "the config cannot be read".to_owned(),
            files: vec![file.to_owned()],
        },
        LoadError::Config(report) => refused(&report),
    })?;
    can_run(&base.plan, &plan)?;
    let bound = bind(&plan, &base.cpus, &base.open, HashMap::new())?;
    let access = plan.access_log.as_ref().map(log::open).transpose()?;
    let version = Version { plan: Arc::new(plan), says: Arc::new(effective) };
    Ok(Built { version, files: report.files(), bound, warnings: report.to_string(), access })
}

fn refused(report: &Report) -> NotBuilt {
    let errors = report.errors();
    let s = if errors == 1 { "" } else { "s" };
    NotBuilt { report: report.to_string(), why: format!("the config has {errors} error{s}"), files: report.files() }
}

/// Whether a plan can run in the place of another in this process.
fn can_run(old: &Plan, new: &Plan) -> Result<(), NotBuilt> {
    let fixed = need_restart(old, new);
    if fixed.is_empty() {
        return Ok(());
    }
    Err(format!("a change of {} takes an upgrade or a restart", fixed.join(", ")).into())
}

/// Binds for a plan of before what has been closed meanwhile.
pub(super) fn again(known: Known, epoch: u64, base: &Base) -> Result<Built, NotBuilt> {
    let version = match known {
        Known::Built(version) => version,
        Known::Written(written) => {
            let loaded = written.load(epoch, &mut resolve);
            // What is watched are the files of the plan that runs.
            let loaded = loaded.map_err(|report| NotBuilt { files: Vec::new(), ..refused(&report) })?;
            can_run(&base.plan, &loaded.plan)?;
            Version { plan: Arc::new(loaded.plan), says: Arc::new(loaded.effective) }
        }
    };
    let bound = bind(&version.plan, &base.cpus, &base.open, HashMap::new())?;
    let access = version.plan.access_log.as_ref().map(log::open).transpose()?;
    Ok(Built { version, files: Vec::new(), bound, warnings: String::new(), access })
}

/// Which core a connection goes to, as the kernel is told.
pub(super) fn placement(plan: &Plan) -> net::Placement {
    match plan.cores.placement {
        // The kernel picks the core that accepts, which then picks the one that serves.
        plan::Placement::Kernel | plan::Placement::LeastLoaded => net::Placement::Kernel,
        plan::Placement::Cpu => net::Placement::Cpu,
    }
}

/// Binds the addresses of a plan that are not open yet, one socket for each core, or for a Unix socket one for all. Those that the gateway before listens
/// on are `inherited`; where it has fewer cores the others are bound, but do not listen yet.
pub(super) fn bind(
    plan: &Plan,
    cpus: &[usize],
    open: &[DoorKey],
    mut inherited: HashMap<DoorKey, (Address, Vec<OwnedFd>)>,
) -> Result<HashMap<DoorKey, Bound>, String> {
    let placement = placement(plan);
    let mut all = HashMap::new();
    for wanted in wanted(plan).into_iter().filter(|wanted| !open.contains(&wanted.key)) {
        let failed = |error: std::io::Error| format!("listener `{}`: {error}", wanted.name);
        if let Address::Unix(name) = &wanted.address {
            let inherited = inherited.remove(&wanted.key).and_then(|(_, sockets)| sockets.into_iter().next());
            let bound = bind_unix(&wanted, name, cpus.len(), inherited);
            all.insert(wanted.key.clone(), bound.map_err(|why| format!("listener `{}`: {why}", wanted.name))?);
            continue;
        }
        let Some(at) = wanted.address.socket_addr() else { continue };
        if let Some((address, mut handles)) = inherited.remove(&wanted.key).filter(|(_, sockets)| !sockets.is_empty()) {
            let sources = handles.iter().map(|socket| socket.try_clone().map(ListenSource::Shared));
            let sources = sources.collect::<Result<_, _>>().map_err(failed)?;
            let more = cpus.len().saturating_sub(handles.len());
            handles.extend(net::bind_more(address.socket_addr().unwrap_or(at), more).map_err(failed)?);
            all.insert(wanted.key, Bound { address, file: None, sources, handles });
            continue;
        }
        let spec = ListenSpec { address: at, backlog: wanted.backlog as i32, placement };
        let (address, sockets) = net::bind_for_cores(&spec, cpus).map_err(failed)?;
        let handles = sockets.iter().map(OwnedFd::try_clone).collect::<Result<_, _>>().map_err(failed)?;
        let sources = sockets.into_iter().map(ListenSource::from).collect();
        all.insert(wanted.key, Bound { address: address.into(), file: None, sources, handles });
    }
    Ok(all)
}

/// Binds a Unix socket, which all cores share, or goes on with that of the gateway before. What a process left behind is
/// removed, what anybody listens on is not.
fn bind_unix(wanted: &Wanted, name: &UnixName, cores: usize, inherited: Option<OwnedFd>) -> Result<Bound, String> {
    let is_inherited = inherited.is_some();
    let file = match (name.path(), inherited.is_some()) {
        (Some(path), false) => {
            socket::make_room(path)?;
            None
        }
        (Some(path), true) => Some(SocketFile::inherited(path)),
        (None, _) => None,
    };
    let socket = match inherited {
        Some(socket) => socket,
        None => net::bind_unix(name, wanted.backlog, &wanted.access).map_err(|error| error.to_string())?,
    };
    let file = file.or_else(|| name.path().map(SocketFile::of)).map(Arc::new);
    let source = |socket| if is_inherited { ListenSource::Shared(socket) } else { ListenSource::Socket(socket) };
    let sources = (0..cores).map(|_| socket.try_clone().map(source)).collect::<Result<_, _>>();
    let sources = sources.map_err(|error| error.to_string())?;
    Ok(Bound { address: wanted.address.clone(), file, sources, handles: vec![socket] })
}

/// The keys that only another process changes, and that differ.
fn need_restart(old: &Plan, new: &Plan) -> Vec<&'static str> {
    let has_come_or_gone = old.admin.is_some() != new.admin.is_some();
    let (old_admin, new_admin) = (old.admin.clone().unwrap_or_default(), new.admin.clone().unwrap_or_default());
    let has_other_queue = old.log.queue != new.log.queue;
    let has_other_store = old.certificates.directory != new.certificates.directory;
    let (old_socket, new_socket) = (&old.control.upgrade_socket, &new.control.upgrade_socket);
    let (old, new) = (&old.cores, &new.cores);
    let keys = [
        ("cores.data", old.data != new.data),
        ("cores.control", old.control != new.control),
        ("cores.engine", old.engine != new.engine),
        ("cores.busy_poll", old.busy_poll != new.busy_poll),
        ("cores.placement", old.placement != new.placement),
        ("cores.metrics_dir", old.metrics_dir != new.metrics_dir),
        ("cores.buffers", old.buffers != new.buffers),
        ("cores.buffer_size", old.buffer_size != new.buffer_size),
        ("cores.read_ahead", old.read_ahead != new.read_ahead),
        ("cores.stall_warning", old.stall_warning != new.stall_warning),
        ("log.queue", has_other_queue),
        ("control.upgrade_socket", old_socket != new_socket),
        ("certificates.directory", has_other_store),
        ("admin", has_come_or_gone),
        ("admin.socket", !has_come_or_gone && old_admin.socket != new_admin.socket),
        ("admin.tcp", !has_come_or_gone && old_admin.tcp != new_admin.tcp),
    ];
    keys.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
}

/// Asks the machine's resolver.
pub fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    (host, port).to_socket_addrs().map(Iterator::collect).map_err(|error| error.to_string())
}
