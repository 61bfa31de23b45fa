//! Origins that fail in every way, behind gateways that ask them again: every request has one answer, it is the right one,
//! nothing that may not be done twice is done twice, and nothing is left over.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use ringway_runtime::engine::Engine;
use ringway_runtime::engine::sim::{Faults, World, explore};

use super::http::{Peer, body, field, within};
use super::{Gateway, ORIGIN_PORT};

const PATIENCE: Duration = Duration::from_mins(10);
const ORIGINS: usize = 3;
const CLIENTS: usize = 6;
const REQUESTS: usize = 12;
const ATTEMPTS: u32 = 4;

/// What origins saw: how often each request's head came, by its number.
type Seen = Rc<RefCell<BTreeMap<usize, u32>>>;

pub(super) fn number_of(head: &str) -> usize {
    let path = head.split(' ').nth(1).unwrap_or_default();
    path.trim_start_matches('/').parse().unwrap_or_else(|_| panic!("no number: {head}"))
}

/// The body behind a head.
pub(super) async fn body_behind(peer: &mut Peer, head: &str) -> io::Result<Vec<u8>> {
    if field(head, "transfer-encoding").is_none() {
        let length = field(head, "content-length").map_or(Ok(0), str::parse).map_err(io::Error::other)?;
        return peer.bytes(length).await;
    }
    let mut all = Vec::new();
    loop {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.extend(peer.bytes(1).await?);
        }
        let size = std::str::from_utf8(&line).map_err(io::Error::other)?;
        let size = usize::from_str_radix(size.trim_end(), 16).map_err(io::Error::other)?;
        let chunk = peer.bytes(size + 2).await?;
        if size == 0 {
            return Ok(all);
        }
        all.extend_from_slice(&chunk[..size]);
    }
}

/// An origin that fails six calls in ten in some way, and says what it got in those that it answers.
fn origin(world: &World, at: usize, seen: &Seen) -> SocketAddr {
    let name = format!("origin-{at}");
    let engine = world.node(&name).unwrap();
    let address = SocketAddr::new(world.address(&name), ORIGIN_PORT);
    let listener = engine.listen(address).unwrap();
    let (inner, seen) = (engine.clone(), seen.clone());
    engine.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (engine, seen) = (inner.clone(), seen.clone());
            inner.spawn(async move { drop(serve(&engine, Peer::new(stream), &seen).await) });
        }
    });
    address
}

async fn serve(engine: &Engine, mut peer: Peer, seen: &Seen) -> io::Result<()> {
    loop {
        let head = peer.head().await?;
        let number = number_of(&head);
        *seen.borrow_mut().entry(number).or_insert(0) += 1;
        let how = engine.random() % 10;
        match how {
            // Gone before the body came, or with an answer before it.
            0 => return Ok(()),
            1 => return peer.send(b"HTTP/1.1 503 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await,
            _ => {}
        }
        let got = body_behind(&mut peer, &head).await?;
        match how {
            2 => return Ok(()),
            3 => engine.sleep(Duration::from_mins(5)).await,
            4 => {
                peer.send(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 503 X\r\nContent-Length: 6\r\n\r\nbu").await?;
                engine.sleep(Duration::from_millis(engine.random() % 50)).await;
                peer.send(b"sybu").await?;
                continue;
            }
            5 => {
                peer.send(b"HTTP/1.1 502 X\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nbad\r\n").await?;
                engine.sleep(Duration::from_millis(engine.random() % 50)).await;
                peer.send(b"0\r\n\r\n").await?;
                continue;
            }
            _ => {}
        }
        let told = format!("{number} {} {}", got.len(), got == body(got.len()));
        peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{told}", told.len()).as_bytes()).await?;
    }
}

/// How one request ended.
pub(super) async fn exchange(
    engine: &Engine,
    address: SocketAddr,
    peer: &mut Option<Peer>,
    number: usize,
    method: &str,
    length: usize,
) -> io::Result<u16> {
    let mut connected = match peer.take() {
        Some(connected) => connected,
        None => Peer::connect(engine, address).await?,
    };
    let content = body(length);
    let is_chunked = engine.random().is_multiple_of(2);
    let framing =
        if is_chunked { "Transfer-Encoding: chunked".to_owned() } else { format!("Content-Length: {length}") };
    connected.send(format!("{method} /{number} HTTP/1.1\r\nHost: world\r\n{framing}\r\n\r\n").as_bytes()).await?;
    for piece in content.chunks(1_500) {
        if engine.random().is_multiple_of(3) {
            engine.sleep(Duration::from_millis(engine.random() % 20)).await;
        }
        let sent = if is_chunked {
            let mut chunk = format!("{:x}\r\n", piece.len()).into_bytes();
            chunk.extend_from_slice(piece);
            chunk.extend_from_slice(b"\r\n");
            connected.send(&chunk).await
        } else {
            connected.send(piece).await
        };
        if sent.is_err() {
            // The answer may have come before the body was whole.
            break;
        }
    }
    if is_chunked {
        drop(connected.send(b"0\r\n\r\n").await);
    }
    let head = loop {
        let head = connected.head().await?;
        if !head.starts_with("HTTP/1.1 1") {
            break head;
        }
    };
    let status =
        head.get(9..12).and_then(|status| status.parse().ok()).ok_or_else(|| io::Error::other(head.clone()))?;
    let answer = body_behind(&mut connected, &head).await?;
    if status == 200 {
        assert_eq!(String::from_utf8_lossy(&answer), format!("{number} {length} true"), "a wrong answer");
    }
    if !head.contains("connection: close") {
        *peer = Some(connected);
    }
    Ok(status)
}

/// What became of all requests.
struct Course {
    outcomes: BTreeMap<String, u32>,
    seen: BTreeMap<usize, u32>,
    /// How often each came to the mirror.
    copied: BTreeMap<usize, u32>,
    is_post: BTreeMap<usize, bool>,
}

/// Hedges of each request, at most.
const HEDGES: u32 = 2;

fn run(world: &World, hedge: &str) -> Course {
    let (seen, copied) = (Seen::default(), Seen::default());
    let mirror = origin(world, ORIGINS, &copied);
    let endpoints: Vec<String> = (0..ORIGINS).map(|at| format!("\"{}\"", origin(world, at, &seen))).collect();
    let gateway = Gateway::start(
        world,
        2,
        &format!(
            "[upstream.u]\nendpoints = [{}]\ntimeout = {{ total = \"1m\" }}\n\
             retry = {{ attempts = {ATTEMPTS}, on = [\"connect\", \"reset\", \"timeout\", \"5xx\"], per_try = \"1s\", \
             body = \"8KiB\", bodies = \"32KiB\", budget = \"off\"{hedge} }}\n\
             [[route]]\nname = \"all\"\npath = \"/{{rest...}}\"\nupstream = \"u\"\n\
             mirror = {{ upstream = \"m\" }}\n[upstream.m]\nendpoints = \"{mirror}\"\n",
            endpoints.join(", ")
        ),
    );
    let outcomes: Rc<RefCell<BTreeMap<String, u32>>> = Rc::default();
    let is_post: Rc<RefCell<BTreeMap<usize, bool>>> = Rc::default();
    let left = Rc::new(Cell::new(CLIENTS));
    for client in 0..CLIENTS {
        let engine = world.node("client").unwrap();
        let (inner, address, left) = (engine.clone(), gateway.address, left.clone());
        let (outcomes, is_post) = (outcomes.clone(), is_post.clone());
        engine.spawn(async move {
            let mut peer = None;
            for turn in 0..REQUESTS {
                let number = client * REQUESTS + turn;
                let method = ["GET", "PUT", "POST", "DELETE"][inner.random() as usize % 4];
                let length = [0, 1, 3_000, 20_000][inner.random() as usize % 4];
                is_post.borrow_mut().insert(number, method == "POST");
                let asked = exchange(&inner, address, &mut peer, number, method, length);
                let outcome = match within(&inner, PATIENCE, asked).await {
                    Ok(status) => status.to_string(),
                    Err(error) => error.kind().to_string(),
                };
                *outcomes.borrow_mut().entry(outcome).or_insert(0) += 1;
            }
            left.set(left.get() - 1);
        });
    }
    world.run_until(|| left.get() == 0).unwrap();
    assert!(gateway.drain(world).iter().all(|ended| ended.cut == 0), "something is left over");
    let (seen, copied, is_post) = (seen.take(), copied.take(), is_post.take());
    Course { outcomes: outcomes.take(), seen, copied, is_post }
}

fn nothing_is_done_twice_that_may_not(course: &Course) {
    for (number, times) in &course.seen {
        let most = if course.is_post[number] { 1 } else { ATTEMPTS + 1 + HEDGES };
        assert!(*times <= most, "request {number} came {times} times");
    }
    for (number, times) in &course.copied {
        let most = if course.is_post[number] { 1 } else { 2 };
        assert!(*times <= most, "request {number} was copied {times} times");
    }
}

#[test]
fn every_request_has_one_answer_and_it_is_the_right_one() {
    every_request_has_one_answer("");
}

#[test]
fn nor_do_hedges_change_that() {
    every_request_has_one_answer(HEDGED);
}

const HEDGED: &str = ", hedge = { after = \"20ms\", budget = 1, max = 2 }";

fn every_request_has_one_answer(hedge: &str) {
    let total: RefCell<BTreeMap<String, u32>> = RefCell::default();
    explore(0..20, |world| {
        world.set_time_limit(Duration::from_hours(24));
        world.set_faults(Faults { segment: 700, ..Faults::rough() });
        let course = run(world, hedge);
        nothing_is_done_twice_that_may_not(&course);
        for (outcome, count) in course.outcomes {
            *total.borrow_mut().entry(outcome).or_insert(0) += count;
        }
    });
    let total = total.borrow();
    println!("{total:?}");
    // What is not an answer is the end of a connection whose answer came before its request's body had.
    let answers = ["200", "502", "503", "504"].map(|status| total.get(status).copied().unwrap_or(0));
    assert!(answers.iter().sum::<u32>() * 100 >= total.values().sum::<u32>() * 95, "{total:?}");
    // With four tries of six in ten that fail, many more are answered than fail.
    assert!(answers[0] > 2 * (answers[1] + answers[2] + answers[3]), "{total:?}");
    assert!(!total.contains_key("timed out"), "{total:?}");
}

#[test]
fn on_broken_networks_nothing_is_done_twice_either() {
    explore(0..20, |world| {
        world.set_time_limit(Duration::from_hours(24));
        world.set_faults(Faults {
            reset_per_million: 5_000,
            silence_per_million: 500,
            refuse_per_million: 100_000,
            ..Faults::rough()
        });
        let hedge = if world.node("coin").unwrap().random().is_multiple_of(2) { HEDGED } else { "" };
        nothing_is_done_twice_that_may_not(&run(world, hedge));
    });
}
