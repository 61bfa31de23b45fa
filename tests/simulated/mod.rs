//! Whole gateways in simulated worlds: client, gateway and origins in one thread, from a seed.
//!
//! A failing seed prints `SIM_SEED=n`; with that in the environment the test replays it. Tests that call [`seeds`] run as
//! many as `SIM_SEEDS` says, where it says so.

mod aggregate;
mod balance;
mod explain;
mod failing;
mod faults;
mod health;
mod http;
mod http2;
mod overload;
mod placement;
mod plans;
mod records;
mod retry;
mod rough;
mod slow;
mod told;
mod websocket;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use ringway::control::offers::{Bound, Draft, Offers, wanted};
use ringway::core::{Ended, FromCore, Outfit, ToCore, lines, places};
use ringway::observe::Metrics;
use ringway::observe::records::{Records, ring};
use ringway::plan::Plan;
use ringway::tls::TicketKeys;
use ringway_runtime::engine::Engine;
use ringway_runtime::engine::sim::World;
use ringway_runtime::mesh::{ControlPort, Loads, Peer};

/// Where the gateway listens.
const PORT: u16 = 8080;
/// Where origins listen.
const ORIGIN_PORT: u16 = 9000;

/// The seeds of a scenario: so many, or as many as `SIM_SEEDS` says.
fn seeds(most_times: u64) -> std::ops::Range<u64> {
    let wanted = std::env::var("SIM_SEEDS").ok().map(|text| text.parse().expect("SIM_SEEDS is a number"));
    0..wanted.unwrap_or(most_times)
}

/// A gateway in a world: some cores of the machine called "gateway", and what control knows of them.
struct Gateway {
    address: SocketAddr,
    cores: Vec<Engine>,
    /// What its cores count, where they share connections.
    loads: Option<Loads>,
    control: RefCell<ControlPort<ToCore, FromCore>>,
    offers: Rc<RefCell<Offers>>,
    /// What the cores said to control.
    heard: RefCell<Vec<FromCore>>,
    ended: Rc<RefCell<Vec<Ended>>>,
    /// What each core tells of requests, where the config has it do so.
    records: Vec<Records>,
}

impl Gateway {
    /// Starts `cores` cores of a gateway whose config, a listener "web" at `PORT` aside, is `config`.
    fn start(world: &World, cores: usize, config: &str) -> Self {
        Self::start_plan(world, cores, with_listener(config))
    }

    /// The same with a plan that has such a listener.
    fn start_plan(world: &World, cores: usize, plan: Arc<Plan>) -> Self {
        Self::start_at(world, "gateway", cores, plan)
    }

    /// The same on a machine of this name.
    fn start_at(world: &World, name: &str, cores: usize, plan: Arc<Plan>) -> Self {
        let mut offers = Offers::new(cores);
        let mut first = draft_plan(&mut offers, cores, 1, plan);
        let lines = lines(cores);
        let mut this = Self {
            address: SocketAddr::new(world.address(name), PORT),
            cores: Vec::new(),
            loads: None,
            control: RefCell::new(lines.control.into_control()),
            offers: Rc::new(RefCell::new(offers)),
            heard: RefCell::default(),
            ended: Rc::default(),
            records: Vec::new(),
        };
        let places = places(cores, first.plan.cores.placement);
        let offers = std::mem::take(&mut first.offers);
        for ((first, line), place) in offers.into_iter().zip(lines.cores).zip(places) {
            let engine = world.node(name).unwrap();
            this.cores.push(engine.clone());
            this.loads = place.as_ref().map(|place| place.loads().clone());
            let (recorder, records) = ring(1 << 16, || ());
            this.records.push(records);
            let outfit = Outfit {
                first,
                line,
                place,
                records: recorder,
                beat: None,
                tickets: Arc::new(TicketKeys::new().unwrap()),
            };
            let core = ringway::core::run(engine.clone(), Metrics::in_memory().unwrap(), outfit);
            let ended = this.ended.clone();
            engine.spawn(async move {
                let end = core.await.unwrap();
                ended.borrow_mut().push(end);
            });
        }
        this.offers.borrow_mut().settle(first).unwrap();
        this
    }

    /// Tells one core.
    fn tell(&self, core: usize, message: ToCore) {
        self.control.borrow_mut().send(Peer::Core(core as u16), message).unwrap();
    }

    fn tell_all(&self, message: impl Fn() -> ToCore) {
        (0..self.cores.len()).for_each(|core| self.tell(core, message()));
    }

    /// How many such messages the cores have sent so far.
    fn heard(&self, wanted: impl Fn(&FromCore) -> bool) -> usize {
        let mut heard = self.heard.borrow_mut();
        while let Some((_, message)) = self.control.borrow_mut().try_receive() {
            heard.push(message);
        }
        heard.iter().filter(|message| wanted(message)).count()
    }

    /// Has every core run another config.
    fn change(&self, world: &World, epoch: u64, config: &str) {
        self.change_plan(world, epoch, with_listener(config));
    }

    /// Has every core run another plan.
    fn change_plan(&self, world: &World, epoch: u64, plan: Arc<Plan>) {
        let cores = self.cores.len();
        let mut next = draft_plan(&mut self.offers.borrow_mut(), cores, epoch, plan);
        for (core, offer) in std::mem::take(&mut next.offers).into_iter().enumerate() {
            self.tell(core, ToCore::Offer(Box::new(offer)));
        }
        let is_prepared = |message: &FromCore| matches!(message, FromCore::Prepared(at, Ok(())) if *at == epoch);
        world.run_until(|| self.heard(is_prepared) == cores).unwrap();
        self.tell_all(|| ToCore::Commit(epoch));
        self.offers.borrow_mut().settle(next).unwrap();
        world
            .run_until(|| self.heard(|message| matches!(message, FromCore::Runs(at) if *at == epoch)) == cores)
            .unwrap();
    }

    /// Tells every core to drain.
    fn raise(&self) {
        self.tell_all(|| ToCore::Drain);
    }

    /// Drains every core and returns how each ended.
    fn drain(self, world: &World) -> Vec<Ended> {
        self.raise();
        world.run_until(|| self.ended.borrow().len() == self.cores.len()).unwrap();
        self.ended.take()
    }
}

/// The offers of a config for cores that listen at addresses of the world.
fn draft(offers: &mut Offers, cores: usize, epoch: u64, config: &str) -> Draft {
    draft_plan(offers, cores, epoch, with_listener(config))
}

/// The plan of a config, with a listener at `PORT`.
fn with_listener(config: &str) -> Arc<Plan> {
    Arc::new(plan(&format!("[listener.web]\naddress = \"0.0.0.0:{PORT}\"\n{config}")))
}

/// The offers of a plan, the same way.
fn draft_plan(offers: &mut Offers, cores: usize, epoch: u64, plan: Arc<Plan>) -> Draft {
    let open = offers.open();
    let new = wanted(&plan).into_iter().filter(|wanted| !open.contains(&wanted.key));
    let bound = new.map(|wanted| {
        let sources = (0..cores).map(|_| wanted.address.socket_addr().unwrap().into()).collect();
        (wanted.key, Bound { address: wanted.address, file: None, sources, handles: Vec::new() })
    });
    let bound = bound.collect();
    offers.draft(epoch, plan, bound, |_, new| new.in_memory()).unwrap()
}

fn plan(text: &str) -> Plan {
    let mut no_names = |name: &str, _| Err(format!("{name}: these worlds have no name service"));
    match ringway::config::compile("world.toml", text, 1, &mut no_names) {
        Ok((plan, _)) => plan,
        Err(report) => panic!("{report}"),
    }
}
