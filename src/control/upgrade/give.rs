//! The side that is taken over: a thread that listens on the upgrade socket and asks control.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use ringway_runtime::net::handover;
use serde_json::{Value, json};

use super::Event;
use super::wire::{self, Offer, VERSION};
use crate::control::events::{self, Events};
use crate::control::socket::{self, SocketFile};

/// How long whoever connects may take to say what it wants, and to take what it asked for.
const HELLO: Duration = Duration::from_secs(10);
/// How long accepting rests where it failed, as without a free descriptor.
const REST: Duration = Duration::from_millis(100);

/// What goes to the process that takes over.
#[derive(Debug)]
pub(in crate::control) struct Outgoing {
    pub(super) offer: Offer,
    pub(super) descriptors: Vec<Arc<OwnedFd>>,
    /// How long it has until it must accept.
    pub(super) patience: Duration,
}

/// The upgrade socket, bound.
#[derive(Debug)]
pub(in crate::control) struct Server {
    listener: UnixListener,
    file: SocketFile,
}

/// The upgrade socket as it is served. Its file goes with this.
#[derive(Debug)]
pub(in crate::control) struct Giving {
    listener: Arc<OwnedFd>,
    file: SocketFile,
}

impl Server {
    /// Binds the socket, or goes on with that of the gateway before.
    pub(in crate::control) fn bind(path: &Path, inherited: Option<UnixListener>) -> Result<Self, String> {
        let bound = match inherited.and_then(|listener| socket::go_on(listener, path)) {
            Some(bound) => Ok(bound),
            None => socket::bind(path),
        };
        let (listener, file) = bound.map_err(|why| format!("control.upgrade_socket: {why}"))?;
        listener.set_nonblocking(false).map_err(|error| format!("control.upgrade_socket: {error}"))?;
        Ok(Self { listener, file })
    }

    /// Serves on a thread of its own.
    pub(in crate::control) fn start(self, events: Events) -> io::Result<Giving> {
        let Self { listener, file } = self;
        let handle = Arc::new(listener.try_clone()?.into());
        thread::Builder::new().name("ringway-upgrade".to_owned()).spawn(move || while serve(&listener, &events) {})?;
        Ok(Giving { listener: handle, file })
    }
}

impl Giving {
    /// The socket, for the process that takes over.
    pub(super) fn listener(&self) -> Arc<OwnedFd> {
        self.listener.clone()
    }

    /// The gateway before has let go of the socket.
    pub(super) fn own(&self) {
        self.file.own();
    }

    /// Another process goes on with the socket.
    pub(super) fn leave(self) {
        self.file.leave();
    }
}

/// Deals with the next who connects. False once it has taken over, or where there is no control any more.
fn serve(listener: &UnixListener, events: &Events) -> bool {
    let Ok((stream, _)) = listener.accept() else {
        thread::sleep(REST);
        return true;
    };
    let tell = |event| events.send(events::Event::Upgrade(event)).is_ok();
    match deal_with(&stream, &tell) {
        Ok(End::HandedOver | End::NoControl) => false,
        Ok(End::Refused) => true,
        Err(why) => tell(Event::Failed(why)),
    }
}

enum End {
    HandedOver,
    Refused,
    NoControl,
}

/// The error says why a process that was to take over did not.
fn deal_with(stream: &UnixStream, tell: &impl Fn(Event) -> bool) -> Result<End, String> {
    // Who is nobody to us gets no answer.
    let Ok(peer) = handover::peer(stream) else { return Ok(End::Refused) };
    if peer.uid != 0 && peer.uid != handover::user() {
        return Ok(End::Refused);
    }
    let refuse = |why: &str| {
        // Whoever asked may have gone.
        let _ = wire::send(stream, &json!({ "refused": why }));
        Ok(End::Refused)
    };
    let has_limits = stream.set_read_timeout(Some(HELLO)).and_then(|()| stream.set_write_timeout(Some(HELLO)));
    let Ok(hello) = has_limits.and_then(|()| wire::receive(stream)) else { return Ok(End::Refused) };
    if hello["version"] != VERSION {
        return refuse(&format!("it hands over by version {VERSION}, not by version {}", hello["version"]));
    }
    let (reply, answer) = channel();
    if !tell(Event::Wanted { pid: peer.pid, reply }) {
        return Ok(End::NoControl);
    }
    let outgoing = match answer.recv() {
        Ok(Ok(outgoing)) => outgoing,
        Ok(Err(why)) => return refuse(&why),
        Err(_) => return Ok(End::NoControl),
    };
    let descriptors: Vec<BorrowedFd<'_>> = outgoing.descriptors.iter().map(|descriptor| descriptor.as_fd()).collect();
    wire::send(stream, &json!({ "version": VERSION, "offer": outgoing.offer.to_json() }))
        .and_then(|()| handover::send(stream, &descriptors))
        .map_err(|error| format!("process {} did not take what it asked for: {error}", peer.pid))?;
    drop(descriptors);
    let patience = outgoing.patience;
    // What is open here would keep sockets alive that nobody accepts from.
    drop(outgoing);
    let said = stream.set_read_timeout(Some(patience)).and_then(|()| wire::receive(stream));
    let said = said.map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset => {
            format!("process {} ended before it accepted", peer.pid)
        }
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            format!("process {} did not accept within {patience:?}", peer.pid)
        }
        _ => format!("process {}: {error}", peer.pid),
    })?;
    let Some(keeps) = keeps(&said) else { return Err(format!("process {} said {said}", peer.pid)) };
    let (reply, answer) = channel();
    if !tell(Event::Accepted { pid: peer.pid, keeps, reply }) || answer.recv().is_err() {
        return Ok(End::NoControl);
    }
    // From here on it is the gateway, whatever becomes of it.
    let _ = wire::send(stream, &json!({ "yours": true }));
    tell(Event::Said);
    Ok(End::HandedOver)
}

/// Which of the doors that it was offered the other side goes on with.
fn keeps(said: &Value) -> Option<Vec<usize>> {
    said["accepts"].as_array()?.iter().map(|at| usize::try_from(at.as_u64()?).ok()).collect()
}
