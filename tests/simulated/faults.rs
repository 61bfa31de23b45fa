//! Origins that do everything wrong by turns, behind gateways that check, eject, break and retry as the seed has it, and
//! half of which find their endpoints in a DNS that does the same: every request has an answer, it is its own, no task is
//! stuck, and what was taken is given back.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ringway::control::{InUse, Known};
use ringway::plan::{Discover, Endpoint, Plan};
use ringway_runtime::engine::Engine;
use ringway_runtime::engine::sim::{Faults, World, explore};

use super::http::{Peer, body, within};
use super::retry::{body_behind, exchange, number_of};
use super::{Gateway, ORIGIN_PORT, seeds, with_listener};

pub(super) const CORES: usize = 2;
pub(super) const ORIGINS: usize = 3;
const CLIENTS: usize = 4;
const REQUESTS: usize = 6;
pub(super) const SECOND: Duration = Duration::from_secs(1);

/// A config that has no upstream.
pub(super) const OTHER: &str =
    "[service.s]\ntype = \"respond\"\n[[route]]\nname = \"all\"\npath = \"/{rest...}\"\nservice = \"s\"\n";

/// What an origin does with a connection or a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Well,
    /// It does not listen.
    Refuse,
    /// The connection ends when the request has come.
    Reset,
    /// Nothing comes for longer than anybody waits.
    Stall,
    /// The answer ends inside its head.
    CutHead,
    /// The answer ends inside its body.
    CutBody,
    /// The answer comes in pieces, with pauses.
    Slow,
    /// 503.
    Fail,
    /// No HTTP.
    Nonsense,
}

const MANNERS: [Manner; 9] = [
    Manner::Well,
    Manner::Refuse,
    Manner::Reset,
    Manner::Stall,
    Manner::CutHead,
    Manner::CutBody,
    Manner::Slow,
    Manner::Fail,
    Manner::Nonsense,
];

/// An origin whose manners follow each other.
#[derive(Clone)]
pub(super) struct Origin {
    engine: Engine,
    manners: Rc<[Manner]>,
    /// The requests whose answers it cut short.
    cut: Rc<RefCell<BTreeSet<usize>>>,
}

impl Origin {
    pub(super) fn start(world: &World, at: usize, cut: &Rc<RefCell<BTreeSet<usize>>>) -> SocketAddr {
        let name = format!("origin-{at}");
        let engine = world.node(&name).unwrap();
        let address = SocketAddr::new(world.address(&name), ORIGIN_PORT);
        // Half of the time all is well.
        let draw = |_| match engine.random() as usize % (2 * MANNERS.len()) {
            at if at < MANNERS.len() => MANNERS[at],
            _ => Manner::Well,
        };
        let this = Self { engine: engine.clone(), manners: (0..5).map(draw).collect(), cut: cut.clone() };
        engine.spawn(async move {
            loop {
                if this.now() == Manner::Refuse {
                    this.engine.sleep(SECOND / 20).await;
                    continue;
                }
                let listener = this.engine.listen(address).unwrap();
                while this.now() != Manner::Refuse {
                    if let Ok((stream, _)) = within(&this.engine, SECOND / 20, listener.accept()).await {
                        let own = this.clone();
                        this.engine.spawn(async move { drop(own.serve(Peer::new(stream)).await) });
                    }
                }
            }
        });
        address
    }

    fn now(&self) -> Manner {
        self.manners[self.engine.now().as_nanos() as usize / 300_000_000 % self.manners.len()]
    }

    async fn serve(&self, mut peer: Peer) -> io::Result<()> {
        loop {
            let head = peer.head().await?;
            if head.starts_with("GET /health ") {
                let status = if self.now() == Manner::Well { "200 OK" } else { "500 X" };
                peer.send(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes()).await?;
                continue;
            }
            let number = number_of(&head);
            let got = body_behind(&mut peer, &head).await?;
            let told = format!("{number} {} {}", got.len(), got == body(got.len()));
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{told}", told.len());
            let pieces = match self.now() {
                Manner::Reset | Manner::Refuse => return Ok(()),
                Manner::Stall => {
                    self.engine.sleep(3 * SECOND).await;
                    return Ok(());
                }
                Manner::CutHead => return peer.send(&answer.as_bytes()[..30]).await,
                Manner::CutBody => {
                    self.cut.borrow_mut().insert(number);
                    return peer.send(&answer.as_bytes()[..answer.len() - 1]).await;
                }
                Manner::Nonsense => return peer.send(b"nonsense\r\n\r\n").await,
                Manner::Fail => vec![&b"HTTP/1.1 503 X\r\nContent-Length: 4\r\n\r\nbusy"[..]],
                Manner::Slow => answer.as_bytes().chunks(20).collect(),
                Manner::Well => vec![answer.as_bytes()],
            };
            for piece in pieces {
                peer.send(piece).await?;
                if self.now() == Manner::Slow {
                    self.engine.sleep(SECOND / 50).await;
                }
            }
        }
    }
}

/// What may stand beside the endpoints of the upstream, as `draw` has it.
fn keys(draw: u64) -> String {
    let bit = |at: u32, text: &'static str| if draw >> at & 1 == 1 { text } else { "" };
    [
        bit(0, "health = { path = \"/health\", interval = \"200ms\", timeout = \"100ms\", unhealthy_after = 1 }\n"),
        bit(1, "outlier = { consecutive_failures = 2, min_requests = 3, eject_for = \"300ms\" }\n"),
        bit(2, "breaker = { of = \"both\", min_requests = 4, open_for = \"200ms\", slow = \"100ms\" }\n"),
        bit(
            3,
            "retry = { attempts = 4, on = [\"connect\", \"reset\", \"timeout\", \"5xx\"], per_try = \"300ms\", \
             non_idempotent = true }\n",
        ),
        bit(4, "balance = \"adaptive\"\n"),
        bit(5, "pool = { max_connections = 2 }\n"),
    ]
    .concat()
}

/// A name service whose answers follow each other, and what control makes of them.
pub(super) struct Names {
    dice: Engine,
    plan: Arc<Plan>,
    origins: Box<[Endpoint]>,
    known: Known,
    epoch: u64,
    /// How often it told nothing, or took everything away.
    gone: u32,
}

impl Names {
    /// For the upstream of a plan that has found all of these.
    fn new(dice: &Engine, plan: Arc<Plan>, origins: Box<[Endpoint]>) -> Self {
        let mut this = Self { dice: dice.clone(), plan, origins, known: Known::default(), epoch: 1, gone: 0 };
        this.known.find(this.origins.to_vec(), this.rule().as_ref());
        this
    }

    fn rule(&self) -> Arc<Discover> {
        self.plan.upstreams[0].discover.clone().unwrap()
    }

    /// The plan with what is known.
    fn found(&self) -> Arc<Plan> {
        let in_use: InUse = [("u".into(), self.known.in_use().clone())].into_iter().collect();
        in_use.put_into(&self.plan, &self.plan)
    }

    /// The name is looked up once more, and what comes of it runs.
    fn look(&mut self, world: &World, gateway: &Gateway) {
        let before = self.known.in_use().clone();
        let found = match self.dice.random() % 6 {
            // No server answers, or it says that it failed.
            0 | 1 => {
                self.gone += 1;
                return;
            }
            // There is no such name.
            2 => {
                self.gone += 1;
                Vec::new()
            }
            // An answer that lacks some.
            3 => self.origins.iter().filter(|_| self.dice.random().is_multiple_of(2)).cloned().collect(),
            // The same in another order.
            4 => self.origins.iter().rev().cloned().collect(),
            _ => self.origins.to_vec(),
        };
        self.known.find(found, &self.rule());
        if self.rule().keeps_last_good {
            assert!(!self.known.in_use().is_empty(), "the last good set is kept");
        }
        if before != *self.known.in_use() {
            self.epoch += 1;
            gateway.change_plan(world, self.epoch, self.found());
        }
    }
}

/// Counts how requests ended, by status. Only those that an origin cut short may have no answer, and no other status is right.
pub(super) fn count(
    outcomes: BTreeMap<usize, io::Result<u16>>,
    cut: &RefCell<BTreeSet<usize>>,
    total: &mut BTreeMap<String, u32>,
) {
    for (number, outcome) in outcomes {
        let outcome = match outcome {
            Ok(status) => {
                assert!([200, 502, 503, 504].contains(&status), "request {number}: {status}");
                status.to_string()
            }
            Err(error) => {
                assert!(cut.borrow().contains(&number), "request {number} has no answer: {error}");
                "cut short".to_owned()
            }
        };
        *total.entry(outcome).or_insert(0) += 1;
    }
}

/// Clients that ask for one thing after the other, while names may change: how each request ended, by its number.
pub(super) fn ask(world: &World, gateway: &Gateway, mut names: Option<&mut Names>) -> BTreeMap<usize, io::Result<u16>> {
    let outcomes: Rc<RefCell<BTreeMap<usize, io::Result<u16>>>> = Rc::default();
    let left = Rc::new(Cell::new(CLIENTS));
    for client in 0..CLIENTS {
        let engine = world.node("client").unwrap();
        let (inner, address, left, told) = (engine.clone(), gateway.address, left.clone(), outcomes.clone());
        engine.spawn(async move {
            let mut peer = None;
            for turn in 0..REQUESTS {
                let number = client * REQUESTS + turn;
                let method = ["GET", "PUT", "POST", "DELETE"][inner.random() as usize % 4];
                let length = [0, 1, 1_000][inner.random() as usize % 3];
                inner.sleep(Duration::from_millis(inner.random() % 200)).await;
                let asked = exchange(&inner, address, &mut peer, number, method, length);
                let outcome = within(&inner, 60 * SECOND, asked).await;
                told.borrow_mut().insert(number, outcome);
            }
            left.set(left.get() - 1);
        });
    }
    while let Some(names) = names.as_deref_mut().filter(|_| left.get() > 0) {
        world.run_for(SECOND / 10).unwrap();
        names.look(world, gateway);
    }
    world.run_until(|| left.get() == 0).unwrap();
    outcomes.take()
}

#[test]
fn every_request_has_its_own_answer_and_nothing_is_left_over_whatever_origins_do() {
    let (total, gone): (RefCell<BTreeMap<String, u32>>, RefCell<u32>) = Default::default();
    explore(seeds(100), |world| {
        let dice = world.node("dice").unwrap();
        if dice.random().is_multiple_of(2) {
            world.set_faults(Faults::rough());
        }
        let cut = Rc::default();
        let origins: Vec<String> = (0..ORIGINS).map(|at| format!("\"{}\"", Origin::start(world, at, &cut))).collect();
        let config = |place: &str, keys: &str| {
            with_listener(&format!(
                "[upstream.u]\n{place}\ntimeout = {{ connect = \"500ms\", first_byte = \"1s\", total = \"5s\" }}\n\
                 {keys}[[route]]\nname = \"all\"\npath = \"/{{rest...}}\"\nupstream = \"u\"\n"
            ))
        };
        let (keys, by_name) = (keys(dice.random()), dice.random().is_multiple_of(2));
        let fixed = config(&format!("endpoints = [{}]", origins.join(", ")), &keys);
        let mut names = by_name.then(|| {
            let keep = ["newest", "last-good"][dice.random() as usize % 2];
            let place =
                format!("discover = {{ type = \"dns\", name = \"origins.test\", port = 9000, keep = \"{keep}\" }}");
            Names::new(&dice, config(&place, &keys), fixed.upstreams[0].endpoints.clone())
        });
        let tasks = world.tasks();
        let gateway = Gateway::start_plan(world, CORES, names.as_ref().map_or(fixed, Names::found));
        count(ask(world, &gateway, names.as_mut()), &cut, &mut total.borrow_mut());
        // A plan without the upstream: checks end, and connections that are kept close.
        gateway.change(world, names.as_ref().map_or(1, |names| names.epoch) + 1, OTHER);
        *gone.borrow_mut() += names.map_or(0, |names| names.gone);
        let cores = gateway.cores.clone();
        assert!(gateway.drain(world).iter().all(|ended| ended.cut == 0), "a connection had to be cut");
        // Longer than any origin sleeps, and than what is left of an answer may take.
        world.run_for(60 * SECOND).unwrap();
        for core in &cores {
            assert_eq!((core.pool().leased(), core.stats().streams), (0, 0), "buffers and connections");
        }
        // Two tasks of each core end with the process.
        assert_eq!((world.connections(), world.tasks()), (0, tasks + 2 * CORES), "connections and tasks");
    });
    assert!(gone.take() > 0);
    println!("{:?}", total.borrow());
}
