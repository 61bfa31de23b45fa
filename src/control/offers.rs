//! Makes the offers of a plan: one for each core, with all that a core cannot make by itself.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use ringway_runtime::engine::ListenSource;
use ringway_runtime::net::{self, Access, Address};

use super::socket::SocketFile;
use crate::core::{DoorId, Offer, OfferedDoor};
use crate::observe::{NAMED, Names, NewNames, PlanNames, Segment, Slots};
use crate::plan::{Listener, ListenerId, Plan, Upstream, UpstreamId};
use crate::policy::Origins;
use crate::service;
use crate::upstream::{Seat, Shared};

/// What makes a listening address the same one in two plans. A port that the kernel picks belongs to its listener; any
/// other address may go from one listener to another and keep its connections.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DoorKey {
    /// This address.
    Address(Address),
    /// The listener's so many-th address with port 0.
    AnyPort(Arc<str>, SocketAddr, usize),
}

/// A listening address that a plan has.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Which one.
    pub key: DoorKey,
    /// As the config has it.
    pub address: Address,
    /// Who may connect, where it is a Unix socket.
    pub access: Access,
    /// The listener it belongs to.
    pub listener: ListenerId,
    /// That listener's name.
    pub name: Arc<str>,
    /// Connections that the kernel may queue for one core.
    pub backlog: u32,
}

/// Sockets for a listening address that is new.
#[derive(Debug)]
pub struct Bound {
    /// Where they are bound.
    pub address: Address,
    /// The file of a Unix socket.
    pub file: Option<Arc<SocketFile>>,
    /// One for each core, in their order. Where the gateway before had more cores there are more; where it had fewer,
    /// the last cores get theirs later, by [`Offers::took_over`].
    pub sources: Vec<ListenSource>,
    /// Further handles on the same sockets, for control: for a Unix socket one, as all cores share it.
    pub handles: Vec<OwnedFd>,
}

/// A listening address of the running plan.
#[derive(Debug)]
struct Door {
    id: DoorId,
    wanted: Wanted,
    bound: Address,
    /// It goes before the last handle on its socket.
    file: Option<Arc<SocketFile>>,
    handles: Vec<Arc<OwnedFd>>,
    /// How many sockets the gateway before had for it, until it has let go of them.
    inherited: Option<usize>,
}

/// Knows what the running plan has, and so what another plan needs.
#[derive(Debug)]
pub struct Offers {
    cores: usize,
    runs: Option<Arc<Plan>>,
    /// What its cores share of each upstream.
    shared: Arc<[Arc<Shared>]>,
    /// What they share of its services.
    services: Arc<service::Shared>,
    doors: Vec<Door>,
    doors_made: u64,
    names: Names,
}

/// What all cores refer to that run a plan.
#[derive(Clone, Debug)]
#[expect(dead_code, reason = "it is held, and let go of")]
pub struct Parts {
    plan: Arc<Plan>,
    slots: Arc<Slots>,
    shared: Arc<[Arc<Shared>]>,
    services: Arc<service::Shared>,
    policies: Arc<Origins>,
}

/// A plan that can be offered. Nothing has changed yet but for the names, which stay known.
#[derive(Debug)]
pub struct Draft {
    /// Which plan it is.
    pub epoch: u64,
    /// What to run.
    pub plan: Arc<Plan>,
    /// Where the metrics of its names are.
    pub slots: Arc<Slots>,
    /// One for each core.
    pub offers: Vec<Offer>,
    shared: Arc<[Arc<Shared>]>,
    services: Arc<service::Shared>,
    policies: Arc<Origins>,
    doors: Vec<Door>,
}

impl Offers {
    /// For so many cores that run nothing yet.
    pub fn new(cores: usize) -> Self {
        let (shared, services, doors) = (Arc::default(), Arc::default(), Vec::new());
        Self { cores, runs: None, shared, services, doors, doors_made: 0, names: Names::default() }
    }

    /// The listening addresses of the running plan.
    pub fn open(&self) -> Vec<DoorKey> {
        self.doors.iter().map(|door| door.wanted.key.clone()).collect()
    }

    /// Where the running plan listens: the listener's name and the address.
    pub fn addresses(&self) -> impl Iterator<Item = (&str, &Address)> {
        self.doors.iter().map(|door| (&*door.wanted.name, &door.bound))
    }

    /// What the cores share of each upstream of the running plan.
    pub fn upstreams(&self) -> impl Iterator<Item = &Arc<Shared>> {
        self.shared.iter()
    }

    /// What they share of its services.
    pub fn services(&self) -> &service::Shared {
        &self.services
    }

    /// Makes the offers of a plan. `bound` has the sockets for each of its addresses that is not open yet; `open_segment`
    /// makes what a core needs for new names.
    pub fn draft(
        &mut self,
        epoch: u64,
        plan: Arc<Plan>,
        mut bound: HashMap<DoorKey, Bound>,
        mut open_segment: impl FnMut(usize, &NewNames) -> Segment,
    ) -> Result<Draft, String> {
        let mut sources: Vec<HashMap<DoorId, Vec<ListenSource>>> = (0..self.cores).map(|_| HashMap::new()).collect();
        let mut doors = Vec::new();
        for wanted in wanted(&plan) {
            let open = self.doors.iter().find(|door| door.wanted.key == wanted.key);
            if let Some(Door { id, bound, file, handles, inherited, .. }) = open {
                let (bound, file, handles) = (bound.clone(), file.clone(), handles.clone());
                doors.push(Door { id: *id, bound, file, handles, inherited: *inherited, wanted });
                continue;
            }
            let new = bound.remove(&wanted.key).ok_or_else(|| format!("nothing is bound for {}", wanted.address))?;
            self.doors_made += 1;
            let id = DoorId(self.doors_made);
            let is_inherited = matches!(new.sources.first(), Some(ListenSource::Shared(_)));
            let inherited = is_inherited.then_some(new.sources.len());
            for (at, source) in new.sources.into_iter().enumerate() {
                if let Some(core) = sources.get_mut(at % self.cores.max(1)) {
                    core.entry(id).or_default().push(source);
                }
            }
            let handles = new.handles.into_iter().map(Arc::new).collect();
            doors.push(Door { id, wanted, bound: new.address, file: new.file, handles, inherited });
        }
        let (slots, new) = self.names.take_up(&PlanNames::from(&*plan)).map_err(|error| error.to_string())?;
        let slots = Arc::new(slots);
        let follows = self.follows(&plan);
        let kept = self.kept(&plan, &follows);
        let shared = self.shared(&plan, &kept, &follows);
        let services = Arc::new(service::Shared::new(&plan, &shared, Some(&*self.services)));
        let policies = Arc::new(Origins::new(&plan, self.runs.as_deref()));
        let cores = self.cores;
        let offers = sources.into_iter().enumerate().map(|(core, mut sources)| Offer {
            epoch,
            plan: plan.clone(),
            kept: kept.clone(),
            follows: follows.clone(),
            policies: policies.clone(),
            seat: Seat { core, cores },
            shared: shared.clone(),
            services: services.clone(),
            slots: slots.clone(),
            segment: new.as_ref().map(|new| open_segment(core, new)),
            names_in_other: if core == 0 { slots.in_other() } else { [0; NAMED] },
            doors: doors
                .iter()
                .map(|door| OfferedDoor {
                    id: door.id,
                    listener: door.wanted.listener,
                    sources: sources.remove(&door.id).unwrap_or_default(),
                })
                .collect(),
        });
        let offers = offers.collect();
        Ok(Draft { epoch, plan, slots, offers, shared, services, policies, doors })
    }

    /// The plan of this draft runs now. What listens with another backlog than before is told so; the error names one
    /// that did not take it.
    pub fn settle(&mut self, draft: Draft) -> Result<(), String> {
        let mut result = Ok(());
        for door in &draft.doors {
            let before = self.doors.iter().find(|before| before.id == door.id);
            if before.is_some_and(|before| before.wanted.backlog != door.wanted.backlog) {
                let told = door.handles.iter().try_for_each(|socket| net::set_backlog(socket, door.wanted.backlog));
                if let Err(error) = told {
                    result = Err(format!("listener `{}` keeps its backlog: {error}", door.wanted.name));
                }
            }
            if before.is_some_and(|before| before.wanted.access != door.wanted.access)
                && let Some(Err(error)) = door.file.as_ref().map(|file| door.wanted.access.set(file.path()))
            {
                result = Err(format!("listener `{}`: {error}", door.wanted.name));
            }
        }
        (self.runs, self.shared, self.services) = (Some(draft.plan), draft.shared, draft.services);
        self.doors = draft.doors;
        result
    }

    /// What the cores will share of each upstream. What is known of an endpoint stays known, whatever else changes.
    fn shared(&self, plan: &Plan, kept: &[Option<UpstreamId>], follows: &[Option<UpstreamId>]) -> Arc<[Arc<Shared>]> {
        let of = |id: &Option<UpstreamId>| id.and_then(|id| self.shared.get(id.0 as usize));
        let shared = plan.upstreams.iter().zip(kept).zip(follows).map(|((upstream, kept), follows)| {
            of(kept).cloned().unwrap_or_else(|| Shared::new(upstream, of(follows).map(|before| &**before)))
        });
        shared.collect()
    }

    /// What the running plan listens on, for a gateway that goes on with it: the key, the bound address and the sockets,
    /// in the order of the cores.
    pub fn sockets(&self) -> impl Iterator<Item = (DoorId, &DoorKey, &Address, &[Arc<OwnedFd>])> {
        self.doors.iter().map(|door| (door.id, &door.wanted.key, &door.bound, &*door.handles))
    }

    /// Doors whose sockets the gateway before may still need.
    pub fn inherited(&self) -> Vec<DoorId> {
        self.doors.iter().filter(|door| door.inherited.is_some()).map(|door| door.id).collect()
    }

    /// The keys of these doors.
    pub fn inherited_keys(&self) -> Vec<DoorKey> {
        let inherited = self.doors.iter().filter(|door| door.inherited.is_some());
        inherited.map(|door| door.wanted.key.clone()).collect()
    }

    /// Another process goes on with these sockets: nothing of any stays open here but what the cores have.
    pub fn let_go(&mut self, kept: &[DoorId]) {
        for door in &mut self.doors {
            // The file of one that the other does not want goes with this.
            if let Some(file) = door.file.take().filter(|_| kept.contains(&door.id)) {
                file.leave();
            }
            door.handles.clear();
        }
    }

    /// The gateway before has let go of its sockets: now each address has one for each core, and the kernel places
    /// connections on these. Returns what each core is to accept from as well. What goes wrong is told by `warn`: the
    /// sockets that are there go on.
    pub fn took_over(
        &mut self,
        cpus: &[usize],
        placement: net::Placement,
        mut warn: impl FnMut(String),
    ) -> Vec<Vec<(DoorId, ListenSource)>> {
        let mut further: Vec<Vec<(DoorId, ListenSource)>> = (0..self.cores).map(|_| Vec::new()).collect();
        for door in &mut self.doors {
            let Some(inherited) = door.inherited.take() else { continue };
            let mut told = Ok(());
            if let Some(file) = &door.file {
                file.own();
                told = door.wanted.access.set(file.path());
            }
            for (core, socket) in door.handles.iter().enumerate() {
                told = told.and_then(|()| net::set_backlog(socket, door.wanted.backlog));
                if core >= inherited
                    && let (Some(further), Ok(socket)) = (further.get_mut(core), socket.try_clone())
                {
                    further.push((door.id, socket.into()));
                }
            }
            let group = door.handles.len();
            // All cores share a Unix socket: there is nothing to place among.
            if let (Some(first), Address::Ip(_)) = (door.handles.first(), &door.bound) {
                told = told.and_then(|()| net::place_among(first, placement, cpus, group));
            }
            if let Err(error) = told {
                warn(format!("listener `{}`: {error}", door.wanted.name));
            }
            door.handles.truncate(self.cores);
        }
        further
    }

    /// For each upstream of `plan` the one of its name in the running plan.
    fn follows(&self, plan: &Plan) -> Arc<[Option<UpstreamId>]> {
        let runs = self.runs.iter().flat_map(|plan| &plan.upstreams).enumerate();
        let known: HashMap<&str, usize> = runs.map(|(at, old)| (&*old.name, at)).collect();
        plan.upstreams.iter().map(|new| known.get(&*new.name).map(|&at| UpstreamId(at as u32))).collect()
    }

    /// Those of them that are no different.
    fn kept(&self, plan: &Plan, follows: &[Option<UpstreamId>]) -> Arc<[Option<UpstreamId>]> {
        let old = |id: UpstreamId| self.runs.as_ref()?.upstreams.get(id.0 as usize);
        let is_same = |new: &Arc<Upstream>, id: UpstreamId| old(id).is_some_and(|old| old == new);
        plan.upstreams.iter().zip(follows).map(|(new, follows)| follows.filter(|&id| is_same(new, id))).collect()
    }
}

impl Draft {
    /// What the cores will share of its services.
    pub fn services(&self) -> &service::Shared {
        &self.services
    }

    /// What the cores will refer to.
    pub fn parts(&self) -> Parts {
        let Self { plan, slots, shared, services, policies, .. } = self;
        let (plan, slots, shared) = (plan.clone(), slots.clone(), shared.clone());
        Parts { plan, slots, shared, services: services.clone(), policies: policies.clone() }
    }
}

/// Every listening address of a plan.
pub fn wanted(plan: &Plan) -> Vec<Wanted> {
    let mut all = Vec::new();
    for (at, listener) in plan.listeners.iter().enumerate() {
        let mut any_port: HashMap<SocketAddr, usize> = HashMap::new();
        for address in &listener.addresses {
            let key = match address.socket_addr() {
                Some(any) if any.port() == 0 => {
                    let nth = any_port.entry(any).or_default();
                    *nth += 1;
                    DoorKey::AnyPort(listener.name.clone(), any, *nth)
                }
                _ => DoorKey::Address(address.clone()),
            };
            let Listener { name, backlog, access, .. } = listener;
            let (listener, name, address) = (ListenerId(at as u32), name.clone(), address.clone());
            all.push(Wanted { key, address, access: access.clone(), listener, name, backlog: *backlog });
        }
    }
    all
}
