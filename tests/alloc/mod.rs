//! The hot path allocates nothing: counted by the allocator of this test binary, on the thread of the core alone.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use ringway::control::offers::{Bound, Offers, wanted};
use ringway::core::{FromCore, Outfit, ToCore, lines};
use ringway::observe::Metrics;
use ringway::observe::records::{self, Record, Records};
use ringway::plan::{Captures, NoHeaders, Plan, Query};
use ringway::tls::TicketKeys;
use ringway_runtime::engine::{self, Engine, EngineKind};
use ringway_runtime::mesh::{ControlPort, Peer};
use ringway_runtime::net::{ListenSpec, Placement, bind_for_cores};
use ringway_runtime::testing::{Counting, allocations, held_bytes};

use crate::policy::CASES;
use crate::support::frames::{DATA, END_HEADERS, END_STREAM, HEADERS, Http2, block, frame, request};
use crate::support::{Client, Origin, PATIENCE};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn plan(text: &str) -> Plan {
    let mut no_names = |name: &str, _| Err(format!("{name} is no address"));
    match ringway::config::compile("test.toml", text, 1, &mut no_names) {
        Ok((plan, _)) => plan,
        Err(report) => panic!("{report}"),
    }
}

/// A core in a thread of this process.
struct Core {
    address: std::net::SocketAddr,
    control: ControlPort<ToCore, FromCore>,
    /// Asks what the core's thread has allocated, and gets it.
    ask: SyncSender<()>,
    count: Receiver<Allocated>,
    /// What the core tells the log thread.
    records: Records,
    thread: thread::JoinHandle<()>,
}

impl Core {
    fn start(config: &str) -> Self {
        let plan = Arc::new(plan(&format!("[listener.web]\naddress = \"127.0.0.1:0\"\n{config}")));
        let mut lines = lines(1);
        let own = wanted(&plan).remove(0);
        let spec = ListenSpec {
            address: own.address.socket_addr().unwrap(),
            backlog: own.backlog as i32,
            placement: Placement::Kernel,
        };
        let (address, sockets) = bind_for_cores(&spec, &[0]).unwrap();
        let sources = sockets.into_iter().map(Into::into).collect();
        let bound =
            HashMap::from([(own.key, Bound { address: address.into(), file: None, sources, handles: Vec::new() })]);
        let draft = Offers::new(1).draft(1, plan, bound, |_, new| new.in_memory()).unwrap();
        let first = draft.offers.into_iter().next().unwrap();
        // With room for what is sent, so that sending allocates nothing.
        let ((ask, asked), (tell, count)) = (sync_channel(1), sync_channel(1));
        let (recorder, records) = records::ring(1 << 20, || ());
        let line = lines.cores.remove(0);
        let outfit = Outfit {
            first,
            line,
            place: None,
            records: recorder,
            beat: None,
            tickets: Arc::new(TicketKeys::new().unwrap()),
        };
        let thread = thread::spawn(move || {
            engine::run(EngineKind::Ring, &engine::Config::default(), move |engine| async move {
                engine.spawn(meter(engine.clone(), asked, tell));
                let metrics = Metrics::in_memory().unwrap();
                ringway::core::run(engine, metrics, outfit).await.unwrap();
            })
            .unwrap();
        });
        Self { address, control: lines.control.into_control(), ask, count, records, thread }
    }

    fn allocated(&self) -> Allocated {
        self.ask.send(()).unwrap();
        self.count.recv_timeout(PATIENCE).unwrap()
    }

    fn end(mut self) {
        self.control.send(Peer::Core(0), ToCore::Drain).unwrap();
        self.thread.join().unwrap();
    }
}

/// What a thread has allocated.
#[derive(Clone, Copy)]
struct Allocated {
    blocks: u64,
    /// In the blocks that it still has.
    bytes: i64,
}

/// Tells what this thread has allocated whenever it is asked.
async fn meter(engine: Engine, asked: Receiver<()>, tell: SyncSender<Allocated>) {
    loop {
        let allocated = Allocated { blocks: allocations(), bytes: held_bytes() };
        if asked.try_recv().is_ok() && tell.send(allocated).is_err() {
            return;
        }
        engine.sleep(Duration::from_millis(1)).await;
    }
}

/// What `rounds` rounds of `round` made the core's thread allocate, after as many to warm up.
fn allocated_by(core: &Core, rounds: usize, mut round: impl FnMut()) -> u64 {
    (0..rounds).for_each(|_| round());
    let before = core.allocated().blocks;
    (0..rounds).for_each(|_| round());
    core.allocated().blocks - before
}

const ROUNDS: usize = 3000;

fn proxied(route: &str, answer: &'static [u8]) -> (Core, Client) {
    let (origin, _) = Origin::serve(move |_, upstream| upstream.try_send(answer));
    let core = Core::start(&format!(
        "[upstream.origin]\nendpoints = [\"{}\"]\n[[route]]\nname = \"all\"\nupstream = \"origin\"\n{route}\n",
        origin.address
    ));
    let client = Client::connect(core.address);
    (core, client)
}

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello";

#[test]
fn plain_proxying_allocates_nothing_per_request() {
    let (core, mut client) = proxied("path = \"/users/{id}\"", ANSWER);
    let allocated = allocated_by(&core, ROUNDS, || {
        client.send("GET /users/7?x=1 HTTP/1.1\r\nHost: example.com\r\nUser-Agent: x\r\nAccept: */*\r\n\r\n");
        assert_eq!(client.response().text(), "hello");
    });
    assert_eq!(allocated, 0, "in {ROUNDS} requests");
    core.end();
}

#[test]
fn requests_over_a_warm_connection_of_http2_allocate_nothing() {
    /// The encoder's table of fields takes in each new date, and grows by doubling until it is full.
    const GROWTH: u64 = 8;
    let (core, _client) = proxied("path = \"/users/{id}\"", ANSWER);
    let mut client = Http2::connect(core.address);
    let fields = block(&request("GET", "/users/7?x=1", &[]));
    let mut next = 1;
    // One alone, and then two at once. What the client says comes in one piece: the ring sets a second one aside in a block.
    let mut ask = |count: u32| {
        let streams: Vec<u32> = (0..count).map(|at| next + 2 * at).collect();
        next += 2 * count;
        client.wire.send(
            streams
                .iter()
                .flat_map(|&stream| frame(HEADERS, END_HEADERS | END_STREAM, stream, &fields))
                .collect::<Vec<u8>>(),
        );
        for _ in &streams {
            let data = client.next_of(DATA);
            assert_eq!((&*data.payload, data.flags), (&b"hello"[..], END_STREAM));
        }
    };
    // All answers together fit the first window.
    let allocated = allocated_by(&core, ROUNDS / 3, || (1..=2).for_each(&mut ask));
    assert!(allocated <= GROWTH, "{allocated} in {ROUNDS} requests");
    core.end();
}

#[test]
fn proxying_bodies_and_edits_allocates_nothing_per_request() {
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let edits = "path = \"/users/{id}\"\npolicies = [{ type = \"headers\", request = { set = { x-user = \"{id}\" } }, \
                 response = { remove = [\"server\"] } }, { type = \"rewrite\", path = \"/v2/{id}\" }]";
    let (core, mut client) = proxied(edits, chunked);
    let allocated = allocated_by(&core, ROUNDS, || {
        client.send("POST /users/./%37 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
        assert_eq!(client.response().text(), "hello");
    });
    assert_eq!(allocated, 0, "in {ROUNDS} requests");
    core.end();
}

#[test]
fn hashing_a_claim_allocates_nothing_per_request() {
    let (origin, _) = Origin::serve(move |_, upstream| upstream.try_send(ANSWER));
    let core = Core::start(&format!(
        "[upstream.origin]\nendpoints = [\"{}\"]\nbalance = {{ type = \"maglev\", key = \"claim:/n/tenant\" }}\n\
         [[route]]\nname = \"all\"\npath = \"/{{rest...}}\"\nupstream = \"origin\"\n",
        origin.address
    ));
    let mut client = Client::connect(core.address);
    let token = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm4iLCJuIjp7InRlbmFudCI6N319.";
    let allocated = allocated_by(&core, ROUNDS, || {
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n"));
        assert_eq!(client.response().text(), "hello");
    });
    assert_eq!(allocated, 0, "in {ROUNDS} requests");
    core.end();
}

#[test]
fn policies_of_a_listener_in_shadow_and_acting_allocate_nothing_per_request() {
    let acts = |at: usize| {
        let shadow = CASES.iter().map(|case| format!("{{ type = \"{}\", shadow = true, {} }}", case.kind, case.acts));
        let acting = format!("{{ type = \"{}\", {} }}", CASES[at].kind, CASES[at].acts);
        shadow.chain([acting]).collect::<Vec<_>>().join(", ")
    };
    for (at, case) in CASES.iter().enumerate() {
        let (origin, _) = Origin::serve(move |_, upstream| upstream.try_send(ANSWER));
        let core = Core::start(&format!(
            "policies = [{}]\n[upstream.origin]\nendpoints = [\"{}\"]\n\
             [[route]]\nname = \"all\"\nupstream = \"origin\"\npath = \"/api/{{rest...}}\"\n",
            acts(at),
            origin.address
        ));
        let mut client = Client::connect(core.address);
        let allocated = allocated_by(&core, ROUNDS / 10, || {
            let answer = client.get("/api/x");
            assert_eq!(answer.text() != "hello" || answer.status() != 200, case.replies, "{}", case.kind);
        });
        assert_eq!(allocated, 0, "{} in {} requests", case.kind, ROUNDS / 10);
        core.end();
    }
}

/// Everything that a core can have to tell of requests.
const TALKATIVE: &str = "[log]\nslow_request = \"1ns\"\n[access_log]\nto = \"stdout\"\n";

#[test]
fn telling_of_requests_allocates_nothing() {
    let (origin, _) = Origin::serve(move |_, upstream| upstream.try_send(ANSWER));
    let mut core = Core::start(&format!(
        "server_timing = true\n{TALKATIVE}[upstream.origin]\nendpoints = [\"{}\"]\n\
         [[route]]\nname = \"all\"\nupstream = \"origin\"\npath = \"/users/{{id}}\"\n",
        origin.address
    ));
    let mut client = Client::connect(core.address);
    let allocated = allocated_by(&core, ROUNDS / 10, || {
        client.send("GET /users/7?x=1 HTTP/1.1\r\nHost: a\r\nUser-Agent: x\r\nReferer: y\r\n\r\n");
        assert!(client.response().head.get("server-timing").is_some_and(|timing| timing.contains("first_byte;dur=")));
        assert_eq!(client.get("/absent").status(), 404);
    });
    assert_eq!(allocated, 0, "in {} requests", ROUNDS / 5);
    // They were told.
    let (mut bytes, mut requests, mut events) = (Vec::new(), 0, 0);
    while core.records.next(&mut bytes) {
        match Record::read(&bytes) {
            Some(Record::Access(_)) => requests += 1,
            Some(Record::Event(_)) => events += 1,
            None => panic!("not a record: {}", bytes.escape_ascii()),
        }
    }
    assert_eq!(requests, ROUNDS / 10 * 4);
    assert!(events > 0);
    core.end();
}

#[test]
fn refusals_allocate_nothing() {
    let (core, mut client) = proxied("path = \"/users/{id}\"\nmethods = [\"GET\"]", ANSWER);
    let allocated = allocated_by(&core, ROUNDS / 10, || {
        assert_eq!(client.get("/absent").status(), 404);
        client.send("PUT /users/7 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(client.response().head.get("allow"), Some("GET, HEAD"));
    });
    assert_eq!(allocated, 0, "in {} requests", ROUNDS / 5);
    core.end();
}

#[test]
fn an_idle_connection_holds_little() {
    /// The tables of a core grow by doubling: with so many they are nearly full, and have grown several times.
    const CONNECTIONS: usize = 500;
    const FIRST: usize = 50;
    let (core, _client) = proxied("path = \"/users/{id}\"", ANSWER);
    let open = |count: usize| -> Vec<Client> {
        let mut clients: Vec<Client> = (0..count).map(|_| Client::connect(core.address)).collect();
        for client in &mut clients {
            assert_eq!(client.get("/users/7").text(), "hello");
        }
        clients
    };
    let first = open(FIRST);
    let before = core.allocated().bytes;
    let rest = open(CONNECTIONS - FIRST);
    let each = (core.allocated().bytes - before) / rest.len() as i64;
    assert!(each <= 1200, "{each} bytes for an idle connection");
    drop((first, rest));
    core.end();
}

#[test]
fn a_health_page_allocates_nothing_between_two_rounds() {
    let (origin, _) = Origin::serve(move |_, upstream| upstream.try_send(ANSWER));
    let core = Core::start(&format!(
        "[service.health]\ntype = \"health\"\nttl = \"1h\"\ntimeout = \"10s\"\n\
         checks = [{{ name = \"a\", http = \"{0}\" }}, {{ name = \"b\", http = \"{0}\", needs = [\"a\"] }}]\n\
         [[route]]\nname = \"all\"\nservice = \"health\"\npath = \"/health/{{rest...}}\"\n",
        origin.address
    ));
    let mut client = Client::connect(core.address);
    let allocated = allocated_by(&core, ROUNDS / 10, || {
        for (path, accept) in [("", "*/*"), ("", "application/health+json"), ("history", "text/html;q=0.5, */*;q=0.1")]
        {
            client.send(format!("GET /health/{path} HTTP/1.1\r\nHost: a\r\nAccept: {accept}\r\n\r\n"));
            assert_eq!(client.response().status(), 200);
        }
    });
    assert_eq!(allocated, 0, "in {} requests", ROUNDS / 10 * 3);
    core.end();
}

#[test]
fn the_count_sees_what_a_core_allocates() {
    let (core, _client) = proxied("path = \"/users/{id}\"", ANSWER);
    // A connection has a task of its own: the counter is not blind.
    let allocated = allocated_by(&core, 100, || {
        let mut client = Client::connect(core.address);
        assert_eq!(client.get("/absent").status(), 404);
    });
    assert!(allocated >= 100, "{allocated} allocations in 100 connections");
    core.end();
}

#[test]
fn a_match_among_ten_thousand_routes_allocates_nothing() {
    let mut config = String::from("[listener.web]\naddress = \"127.0.0.1:0\"\n[service.hello]\ntype = \"respond\"\n");
    for at in 0..10_000 {
        let (host, group) = (at % 10, at / 10);
        let route = format!(
            "[[route]]\nname = \"r{at}\"\nservice = \"hello\"\nhosts = [\"h{host}.example.com\"]\n\
             path = \"/api/v1/group{group}/{{id}}/items/{{item}}\"\n"
        );
        config.push_str(&route);
    }
    let plan = plan(&config);
    let mut captures = Captures::default();
    let mut find = |host: &[u8], path: &[u8]| {
        let query = Query { method: b"GET", host, path, query: None, headers: &NoHeaders };
        plan.router.find(&query, &mut captures)
    };
    assert!(find(b"h7.example.com", b"/api/v1/group42/1/items/2").is_ok());
    let before = allocations();
    let mut found = 0;
    for _ in 0..1000 {
        found += usize::from(find(b"h7.example.com", b"/api/v1/group42/1/items/2").is_ok());
        found += usize::from(find(b"H0.EXAMPLE.com.:80", b"/api/v1/group999/abc/items/def").is_ok());
        found += usize::from(find(b"h1.example.com", b"/api/v1/group1000/1/items/2").is_ok());
        found += usize::from(find(b"other", b"/").is_ok());
    }
    assert_eq!((found, allocations() - before), (2000, 0));
}
