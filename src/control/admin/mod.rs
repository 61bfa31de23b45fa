//! The admin API: HTTP with JSON on a Unix socket and, if asked, on a TCP address. It has a thread of its own and asks
//! control, never a data core.

mod certificates;
pub mod client;
mod endpoints;
mod gate;
mod live;
mod problem;
mod serve;
mod views;

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use tokio::sync::watch;

use super::command::Handle;
use super::machine::Failed;
use super::socket::{self, SocketFile};
use super::upgrade::AdminSockets;
use crate::config::Secret;
use crate::plan::{Admin, DiscoverIn, Plan, Registration, Upstream};
use live::Live;
pub(in crate::control) use problem::Reply;

/// How long the end of the gateway waits for answers that are under way.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The admin API, bound.
#[derive(Debug)]
pub(super) struct Server {
    unix: UnixListener,
    tcp: Option<TcpListener>,
    file: SocketFile,
}

/// The admin API as it is served. It ends with this.
#[derive(Debug)]
pub(super) struct Serving {
    shared: Arc<Shared>,
    /// The plan that was taken up last.
    plan: Option<Arc<Plan>>,
    stop: watch::Sender<bool>,
    /// Closes when the last answer is out.
    stopped: mpsc::Receiver<()>,
    file: Option<SocketFile>,
    /// Further handles on its sockets, for a process that takes over.
    sockets: Vec<Arc<OwnedFd>>,
}

/// What every connection needs.
#[derive(Debug)]
struct Shared {
    handle: Handle,
    metrics_dir: Option<PathBuf>,
    /// What the plan that runs says of the API,
    settings: Mutex<Admin>,
    /// and what lets endpoints register themselves, by their upstreams.
    registrations: Mutex<Vec<(Arc<str>, Secret)>>,
    live: Mutex<Live>,
}

impl Shared {
    fn settings(&self) -> Admin {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The upstreams for which a client has shown the token: it may register endpoints of these.
    fn may_register(&self, is_shown: impl Fn(&Secret) -> bool) -> Vec<Arc<str>> {
        let registrations = self.registrations.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = registrations.iter().filter(|(_, token)| is_shown(token));
        shown.map(|(upstream, _)| upstream.clone()).collect()
    }
}

fn registrations(plan: &Plan) -> Vec<(Arc<str>, Secret)> {
    let token = |upstream: &Arc<Upstream>| match &upstream.discover.as_ref()?.place {
        DiscoverIn::Registration(Registration { token: Some(token), .. }) => {
            Some((upstream.name.clone(), token.clone()))
        }
        _ => None,
    };
    plan.upstreams.iter().filter_map(token).collect()
}

impl Server {
    /// Binds what the config asks for, and goes on with what the gateway before has bound. A socket that a process left
    /// behind is replaced; one that is in use is not.
    pub(super) fn bind(admin: &Admin, inherited: Option<AdminSockets>) -> Result<Self, String> {
        let (unix, tcp) = inherited.map_or((None, None), |sockets| (Some(sockets.unix), sockets.tcp));
        let unix = unix.filter(|(path, _)| *path == admin.socket).and_then(|(path, unix)| socket::go_on(unix, &path));
        let bound = unix.map_or_else(|| socket::bind(&admin.socket), Ok);
        let (unix, file) = bound.map_err(|why| format!("admin.socket: {why}"))?;
        let mut inherited = tcp.into_iter();
        let tcp = admin.tcp.map(|address| {
            let inherited = inherited.next().filter(|(known, _)| *known == address).map(|(_, listener)| Ok(listener));
            let listener = inherited.unwrap_or_else(|| TcpListener::bind(address)).and_then(|listener| {
                listener.set_nonblocking(true)?;
                Ok(listener)
            });
            listener.map_err(|error| format!("admin.tcp: cannot listen on {address}: {error}"))
        });
        Ok(Self { unix, tcp: tcp.transpose()?, file })
    }

    /// Where it is, for the log.
    pub(super) fn place(&self) -> String {
        let socket = self.file.path().display();
        match self.tcp.as_ref().and_then(|tcp| tcp.local_addr().ok()) {
            Some(address) => format!("{socket} and http://{address}/"),
            None => socket.to_string(),
        }
    }

    /// Serves on a thread of its own.
    pub(super) fn start(self, handle: Handle, plan: &Plan) -> Result<Serving, Failed> {
        let Self { unix, tcp, file } = self;
        file.own();
        let further =
            [Some(unix.try_clone()?.into()), tcp.as_ref().map(TcpListener::try_clone).transpose()?.map(OwnedFd::from)];
        let sockets = further.into_iter().flatten().map(Arc::new).collect();
        let shared = Arc::new(Shared {
            handle,
            metrics_dir: plan.cores.metrics_dir.clone(),
            settings: Mutex::new(plan.admin.clone().unwrap_or_default()),
            registrations: Mutex::new(registrations(plan)),
            live: Mutex::default(),
        });
        // Control waits only for questions to control; those who ask wait on threads of this runtime.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .max_blocking_threads(serve::WAITING_MAX)
            .thread_name("ringway-admin-wait")
            .build()?;
        let (stop, stopping) = watch::channel(false);
        let (is_running, stopped) = mpsc::channel();
        let serving = shared.clone();
        thread::Builder::new().name("ringway-admin".to_owned()).spawn(move || {
            let _is_running = is_running;
            let uid = socket::owner(&unix);
            runtime.block_on(serve::serve(serving, unix, uid, tcp, stopping));
            // What still waits for control must not hold up the end.
            runtime.shutdown_background();
        })?;
        Ok(Serving { shared, plan: None, stop, stopped, file: Some(file), sockets })
    }
}

impl Serving {
    /// Its sockets, for a process that takes over.
    pub(super) fn sockets(&self) -> impl Iterator<Item = Arc<OwnedFd>> {
        self.sockets.iter().cloned()
    }

    /// Accepts no more: another process goes on with the sockets. What is under way is still answered.
    pub(super) fn leave(&mut self) {
        if let Some(file) = self.file.take() {
            file.leave();
        }
        self.sockets.clear();
        let _ = self.stop.send(true);
    }

    /// Whether nothing is under way any more, once it accepts no more.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.stopped.try_recv(), Err(mpsc::TryRecvError::Disconnected))
    }

    /// Takes up what the plan that runs says of the API, where it is new.
    pub(super) fn take_up(&mut self, plan: &Arc<Plan>) {
        let is_known = self.plan.as_ref().is_some_and(|known| Arc::ptr_eq(known, plan));
        if let (false, Some(admin)) = (is_known, &plan.admin) {
            self.shared.settings.lock().unwrap_or_else(PoisonError::into_inner).clone_from(admin);
            *self.shared.registrations.lock().unwrap_or_else(PoisonError::into_inner) = registrations(plan);
            self.plan = Some(plan.clone());
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.file.take();
        let _ = self.stop.send(true);
        // The answer to whoever ended the gateway goes out first.
        let _ = self.stopped.recv_timeout(LAST_WORDS);
    }
}
