//! What crosses between cores: bounded rings between every pair of them, and between control and each, with doorbells
//! that wake a peer only when it sleeps.
//!
//! A [`Mesh`] is made once for each kind of message, [`Spokes`] for what only control and the cores say to each other.
//! Each thread takes its [`Seat`]; a core attaches it to its engine and gets a [`Port`], control makes a [`ControlPort`]
//! of it.
//!
//! What a port sends within one turn of its engine's loop is announced at the end of that turn: one bit set for each
//! peer, and one doorbell for each peer that sleeps. Engines that do not show their turns announce each message.
//!
//! ```
//! use ringway_runtime::engine::{Config, EngineKind, run};
//! use ringway_runtime::mesh::{Capacity, Mesh, Peer};
//!
//! let mut mesh = Mesh::<u32>::new(1, Capacity::default());
//! let mut control = mesh.control.into_control();
//! let seat = mesh.cores.pop().unwrap();
//! let core = std::thread::spawn(move || {
//!     run(EngineKind::Ring, &Config::default(), |engine| async move {
//!         let port = seat.attach(&engine).unwrap();
//!         let (from, number) = port.receive().await;
//!         port.send(from, number + 1).unwrap();
//!     })
//! });
//! control.send(Peer::Core(0), 41).unwrap();
//! assert_eq!(control.receive(None), Some((Peer::Core(0), 42)));
//! core.join().unwrap().unwrap();
//! ```

pub mod bytes;
mod call;
mod control;
pub(crate) mod doorbell;
pub mod gate;
mod links;
mod loads;
mod mail;
pub mod mpsc;
mod padded;
pub(crate) mod port;
pub(crate) mod sleep;
pub mod spsc;
mod sync;
#[cfg(test)]
mod tests;
mod version;

use std::sync::Arc;

pub use call::{Answering, Call, CallError, CallLimits, CallStats, Calls};
pub use control::ControlPort;
pub use links::PortStats;
pub use loads::{Load, Loads};
pub use port::Port;
pub use spsc::SendError;
pub use version::Version;

use self::links::{Desk, Links};

/// Who sends or receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Peer {
    /// A data core, by its place among them.
    Core(u16),
    /// The control thread.
    Control,
}

/// Messages that the rings of a mesh hold at most; each is rounded up to a power of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Of a ring from a core to a core.
    pub between_cores: usize,
    /// Of a ring between control and a core, either way.
    pub with_control: usize,
}

impl Default for Capacity {
    fn default() -> Self {
        Self { between_cores: 256, with_control: 256 }
    }
}

/// The places in a mesh, one for each thread.
///
/// A mesh of `n` cores has `(n + 1)²` rings. Their slots are reserved and not touched: memory is used once messages have
/// been there, at most `n² * between_cores + 2 * n * with_control` messages' size.
pub struct Mesh<M> {
    /// Those of the cores, in order.
    pub cores: Vec<Seat<M>>,
    /// That of control.
    pub control: Seat<M>,
}

impl<M: Send> Mesh<M> {
    /// A mesh of so many cores and control.
    pub fn new(cores: u16, capacity: Capacity) -> Self {
        let peers = usize::from(cores) + 1;
        let desks: Arc<[Desk]> = (0..peers).map(|_| Desk::new(peers)).collect();
        let mut links: Vec<Links<M>> = (0..peers).map(|own| Links::new(own, desks.clone(), 0)).collect();
        // In order of sender, then of receiver, so that each list is in order of the peer.
        for from in 0..peers {
            for to in 0..peers {
                let control = usize::from(cores);
                let of_control = from == control || to == control;
                let (sender, receiver) =
                    spsc::channel(if of_control { capacity.with_control } else { capacity.between_cores });
                links[from].senders.push(sender);
                links[to].receivers.push(receiver);
            }
        }
        let mut seats: Vec<_> = links.into_iter().map(|links| Seat { links }).collect();
        // There is one more than there are cores.
        let control = seats.remove(usize::from(cores));
        Self { cores: seats, control }
    }
}

/// The places of control and of the cores where control says `D` to each core and hears `U`: a ring each way, and none
/// between cores.
pub struct Spokes<D, U> {
    /// Those of the cores, in order.
    pub cores: Vec<Seat<U, D>>,
    /// That of control.
    pub control: Seat<D, U>,
}

impl<D: Send, U: Send> Spokes<D, U> {
    /// For so many cores, with rings for so many messages down to a core and up from it; each is rounded up to a power
    /// of two.
    pub fn new(cores: u16, down: usize, up: usize) -> Self {
        let control = usize::from(cores);
        let desks: Arc<[Desk]> = (0..=control).map(|_| Desk::new(control + 1)).collect();
        let mut hub = Links::new(control, desks.clone(), 0);
        let mut seats = Vec::with_capacity(control);
        for core in 0..control {
            let mut links = Links::new(core, desks.clone(), control);
            let (sender, receiver) = spsc::channel(down);
            hub.senders.push(sender);
            links.receivers.push(receiver);
            let (sender, receiver) = spsc::channel(up);
            links.senders.push(sender);
            hub.receivers.push(receiver);
            seats.push(Seat { links });
        }
        Self { cores: seats, control: Seat { links: hub } }
    }
}

/// A place in a mesh, to be taken to its thread. It sends `S` and receives `R`.
pub struct Seat<S, R = S> {
    links: Links<S, R>,
}

/// Which of `cores` cores owns a key, from the key's hash, of which all 64 bits must be well mixed.
///
/// Multiply and shift: the hash as a fraction of 2^64, times the cores. It takes the place of a remainder at the price
/// of a multiplication and splits the hashes evenly, to one in 2^64. It uses the high bits, so the low ones may pick a
/// place in the owner's table. When the number of cores changes most keys move, which does not matter here: a process
/// keeps its cores, and what owners own dies with it. `cores` must not be zero; with none, the owner is core 0.
pub fn owner_of(key_hash: u64, cores: u16) -> Peer {
    Peer::Core(((u128::from(key_hash) * u128::from(cores)) >> 64) as u16)
}
