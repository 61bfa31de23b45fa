//! The side that takes over.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ringway_runtime::clock::Instant;
use ringway_runtime::histogram::Start;
use ringway_runtime::net::{Address, handover};
use serde_json::json;

use super::wire::{self, Offer, VERSION};
use crate::control::discovery::Sets;
use crate::control::history::Past;
use crate::control::offers::DoorKey;
use crate::service::Histories;
use crate::tls::TicketKeys;
use crate::upstream::Drained;

/// How long the gateway before may take for an answer: a change of plan that is under way comes first.
const PATIENCE: Duration = Duration::from_mins(2);

/// What the gateway before had.
#[derive(Debug)]
pub(in crate::control) struct Inherited {
    /// Its plan.
    pub(in crate::control) epoch: u64,
    /// Endpoints that it sent no requests to.
    pub(in crate::control) drained: Drained,
    /// Endpoints that it found.
    pub(in crate::control) found: Option<Sets>,
    /// Its plans that could run again, and the one that runs, oldest first.
    pub(in crate::control) past: Vec<Past>,
    /// How the health of things changed, by the services that tell of it.
    pub(in crate::control) histories: Histories,
    /// The keys of its session tickets, and since when it had them.
    pub(in crate::control) tickets: Option<(Arc<TicketKeys>, Instant)>,
    /// Where its metrics are, and whose they are.
    pub(in crate::control) metrics: Option<(PathBuf, Start)>,
    /// The sockets of each door, in the order of its cores.
    pub(in crate::control) doors: HashMap<DoorKey, (Address, Vec<OwnedFd>)>,
    /// The upgrade socket.
    pub(in crate::control) upgrade: UnixListener,
    /// The sockets of the admin API, with what its config called them.
    pub(in crate::control) admin: Option<AdminSockets>,
    /// The way to it.
    pub(in crate::control) link: Link,
}

/// The sockets of an admin API.
#[derive(Debug)]
pub(in crate::control) struct AdminSockets {
    pub(in crate::control) unix: (PathBuf, UnixListener),
    pub(in crate::control) tcp: Option<(SocketAddr, TcpListener)>,
}

/// The way to the gateway before, which waits for an answer. It goes on by itself where this goes without one.
#[derive(Debug)]
pub(in crate::control) struct Link {
    stream: UnixStream,
    pid: u32,
    /// The doors in the order in which they were offered.
    doors: Vec<DoorKey>,
}

/// Asks the gateway that listens on `socket` for all it has.
pub(in crate::control) fn take(socket: &Path) -> Result<Inherited, String> {
    let shown = socket.display();
    let failed = |error: io::Error| format!("cannot take over at {shown}: {error}");
    let stream = UnixStream::connect(socket).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            format!("no gateway that could be taken over answers at {shown}; start this one without --take-over")
        }
        _ => failed(error),
    })?;
    let peer = handover::peer(&stream).map_err(failed)?;
    let user = handover::user();
    if user != 0 && peer.uid != 0 && peer.uid != user {
        return Err(format!("{shown} is another user's (uid {})", peer.uid));
    }
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    wire::send(&stream, &json!({ "version": VERSION })).map_err(failed)?;
    let answer = wire::receive(&stream).map_err(failed)?;
    if let Some(why) = answer["refused"].as_str() {
        return Err(format!("process {} is not handed over: {why}", peer.pid));
    }
    let offer = Some(&answer["offer"]).filter(|_| answer["version"] == VERSION).and_then(Offer::from_json);
    let offer = offer.ok_or_else(|| format!("process {} offers what this one does not understand", peer.pid))?;
    let mut descriptors = handover::receive(&stream, offer.descriptors()).map_err(failed)?.into_iter();
    let doors = offer.doors.iter().map(|door| door.key.clone()).collect();
    let sockets = offer.doors.into_iter().map(|door| {
        let sockets = descriptors.by_ref().take(door.sockets).collect();
        (door.key, (door.bound, sockets))
    });
    let all = sockets.collect();
    let mut next = || descriptors.next().ok_or_else(|| failed(io::ErrorKind::UnexpectedEof.into()));
    let upgrade = next()?.into();
    let admin = match offer.admin {
        None => None,
        Some((path, tcp)) => Some(AdminSockets {
            unix: (path, next()?.into()),
            tcp: match tcp {
                None => None,
                Some(address) => Some((address, next()?.into())),
            },
        }),
    };
    Ok(Inherited {
        epoch: offer.epoch,
        drained: offer.drained.into_iter().collect(),
        found: Some(offer.found).filter(|found| !found.is_empty()),
        past: offer.past,
        histories: offer.histories,
        tickets: offer.tickets,
        metrics: offer.metrics,
        doors: all,
        upgrade,
        admin,
        link: Link { stream, pid: peer.pid, doors },
    })
}

impl Link {
    /// The gateway before.
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Says that every core accepts, by these doors too, and waits until the gateway before does so no more. After an
    /// error that one goes on.
    pub(super) fn accepts(&self, keeps: &[DoorKey]) -> Result<(), String> {
        let is_kept = |(_, door): &(usize, &DoorKey)| keeps.contains(door);
        let keeps: Vec<usize> = self.doors.iter().enumerate().filter(is_kept).map(|(at, _)| at).collect();
        let said = wire::send(&self.stream, &json!({ "accepts": keeps })).and_then(|()| wire::receive(&self.stream));
        match said {
            Ok(said) if said["yours"] == true => Ok(()),
            Ok(said) => Err(format!("process {} said {said}", self.pid)),
            Err(error) => Err(format!("process {} does not hand over: {error}", self.pid)),
        }
    }
}
