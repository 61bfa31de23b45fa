//! What single parts cost: nanoseconds for one call, the median of many rounds. With `--only` and `--iterations` a
//! part runs so many times and nothing else does, which is what callgrind wants.

use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use ringway::flow::{Exchange, Walked, walk};
use ringway::observe::{Metrics, Names, PlanNames};
use ringway::plan::{Captures, NoHeaders, Query, normalize};
use ringway::policy::{Origins, States};
use ringway::upstream::{Asked, Balancer, Outcome, Shared};
use ringway_proto::grpc::web::Response as WebResponse;
use ringway_proto::grpc::{Prefix, Reader};
use ringway_proto::http1::{
    Body, Framing, HeadScan, Limits, Method, RequestHead, ResponseHead, Version, decode_request, decode_response,
    encode,
};
use ringway_runtime::engine::{self, BusyPoll, EngineKind};
use ringway_runtime::histogram::{SchemaBuilder, SchemaError, Shape, Unit, Writer};
use serde::Serialize;

use crate::cli::Error;
use crate::clock::nanoseconds;
use crate::compare::median;
use crate::{http2, mesh};

const REQUEST: &[u8] = b"GET /users/1234?fields=name HTTP/1.1\r\nHost: api.example.com\r\nUser-Agent: bench/1.0\r\n\
    Accept: application/json\r\nX-Request-Id: 0123456789abcdef\r\nConnection: keep-alive\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nServer: origin\r\nContent-Type: application/octet-stream\r\n\
    Content-Length: 128\r\nConnection: keep-alive\r\n\r\n";
const CHUNKED: &[u8] = b"40\r\n0123456789012345678901234567890123456789012345678901234567890123\r\n0\r\n\r\n";
const ROUTES: usize = 10_000;
const ROUNDS: usize = 51;
/// A round takes about so long.
const ROUND_NS: u64 = 2_000_000;

#[derive(Args)]
pub(crate) struct MicroArgs {
    /// Only the part of this name
    #[arg(long)]
    only: Option<String>,
    /// Run it so many times, without measuring
    #[arg(long, requires = "only")]
    iterations: Option<u64>,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
}

/// Runs a part so many times.
pub(crate) type Part = Box<dyn FnMut(u64)>;

/// Makes a part ready.
type Make = fn() -> Result<Part, Error>;

/// Name, what is counted in one call, and how it is made ready.
const PARTS: [(&str, u64, Make); 46] = [
    ("codec-request-head", 1, request_head),
    ("codec-response-head", 1, response_head),
    ("codec-chunked-body", 1, chunked_body),
    ("codec-write-head", 1, write_head),
    ("hpack-decode-head", 1, http2::decode_head),
    ("hpack-encode-head", 1, http2::encode_head),
    ("http2-server-request", 1, http2::server_request),
    ("router-10000-literal", 1, || router("/service-7777/items")),
    ("router-10000-capture", 1, || router("/service-7777/items/42/parts/7")),
    ("path-normalize", 1, path_normalize),
    ("histogram-record", 1, histogram_record),
    ("spsc-single", mesh::MANY, || Ok(mesh::spsc_single())),
    ("grpc-frames", 16, grpc_frames),
    ("grpc-web-text-1kib", 1, grpc_web_text),
    ("spsc-batched", mesh::MANY, || Ok(mesh::spsc_batched())),
    ("spsc-one-thread", 1, || Ok(mesh::spsc_one_thread())),
    ("mpsc-two-senders", mesh::MANY, || Ok(mesh::mpsc_two_senders())),
    ("line-round-trip", mesh::TRIPS, || Ok(mesh::line_round_trip())),
    ("mesh-round-trip", 1, || mesh::round_trip(EngineKind::Ring, BusyPoll::Off)),
    ("mesh-round-trip-polling", 1, || mesh::round_trip(EngineKind::Ring, BusyPoll::Always)),
    ("mesh-round-trip-glommio", 1, || mesh::round_trip(EngineKind::Glommio, BusyPoll::Off)),
    ("mesh-ask", 1, || mesh::ask(BusyPoll::Off, 1)),
    ("mesh-ask-polling", 1, || mesh::ask(BusyPoll::Always, 1)),
    ("mesh-ask-64-at-once", 1, || mesh::ask(BusyPoll::Off, 64)),
    ("policies-none", 1, || policies("")),
    ("policies-one-empty", 1, || policies("{ type = \"headers\" }")),
    ("policies-ten-empty", 1, || policies(&["{ type = \"headers\" }"; 10].join(", "))),
    ("policies-one-set", 1, || policies("{ type = \"headers\", request = { set = { x-a = \"value\" } } }")),
    ("pick-round-robin-3", 1, || pick("round-robin", 3)),
    ("pick-round-robin-100", 1, || pick("round-robin", 100)),
    ("pick-random-3", 1, || pick("random", 3)),
    ("pick-random-100", 1, || pick("random", 100)),
    ("pick-two-choices-3", 1, || pick("two-choices", 3)),
    ("pick-two-choices-100", 1, || pick("two-choices", 100)),
    ("pick-least-requests-3", 1, || pick("least-requests", 3)),
    ("pick-least-requests-100", 1, || pick("least-requests", 100)),
    ("pick-peak-ewma-3", 1, || pick("peak-ewma", 3)),
    ("pick-peak-ewma-100", 1, || pick("peak-ewma", 100)),
    ("pick-adaptive-3", 1, || pick("adaptive", 3)),
    ("pick-adaptive-100", 1, || pick("adaptive", 100)),
    ("pick-ring-hash-3", 1, || pick("ring-hash", 3)),
    ("pick-ring-hash-100", 1, || pick("ring-hash", 100)),
    ("pick-maglev-3", 1, || pick("maglev", 3)),
    ("pick-maglev-100", 1, || pick("maglev", 100)),
    ("pick-weighted-100", 1, || pick("round-robin", 101)),
    ("pick-maglev-bounded-100", 1, || pick("bounded", 100)),
];

#[derive(Serialize)]
struct Figure {
    name: &'static str,
    median_ns: f64,
    fastest_ns: f64,
    slowest_ns: f64,
}

pub(crate) fn run(args: &MicroArgs) -> Result<(), Error> {
    let chosen: Vec<_> =
        PARTS.iter().filter(|(name, ..)| args.only.as_deref().is_none_or(|only| only == *name)).collect();
    if chosen.is_empty() {
        let names = PARTS.map(|(name, ..)| name).join(", ");
        return Err(Error::Input(format!("no such part; there are {names}")));
    }
    let mut figures = Vec::new();
    for (name, counted, make) in chosen {
        let mut part = make()?;
        if let Some(iterations) = args.iterations {
            part(iterations);
        } else {
            figures.push(measure(name, *counted, &mut part));
        }
    }
    if args.json {
        let text = serde_json::to_string_pretty(&figures).map_err(|error| Error::Failed(error.to_string()))?;
        println!("{text}");
    } else if args.iterations.is_none() {
        println!("{:<24} {:>10} {:>10} {:>10}", "ns a call", "median", "fastest", "slowest");
        for figure in figures {
            let Figure { name, median_ns, fastest_ns, slowest_ns } = figure;
            println!("{name:<24} {median_ns:>10.1} {fastest_ns:>10.1} {slowest_ns:>10.1}");
        }
    }
    Ok(())
}

fn measure(name: &'static str, counted: u64, part: &mut Part) -> Figure {
    let mut time = |calls: u64| {
        let start = Instant::now();
        part(calls);
        nanoseconds(start.elapsed()).max(1)
    };
    // What counts much in one call starts threads, and is not called more often than it must be.
    let mut calls = if counted > 1 { 1 } else { 16 };
    loop {
        let taken = time(calls);
        if taken >= ROUND_NS / 4 {
            calls = (calls * ROUND_NS / taken).max(1);
            break;
        }
        calls *= 2;
    }
    let rounds: Vec<f64> = (0..ROUNDS).map(|_| time(calls) as f64 / (calls * counted) as f64).collect();
    Figure {
        name,
        median_ns: median(rounds.iter().copied()),
        fastest_ns: rounds.iter().copied().fold(f64::INFINITY, f64::min),
        slowest_ns: rounds.iter().copied().fold(0.0, f64::max),
    }
}

pub(crate) fn repeat(mut call: impl FnMut() + 'static) -> Part {
    Box::new(move |calls| (0..calls).for_each(|_| call()))
}

/// A part that fails measures nothing, so each is tried once.
pub(crate) fn tried(works: bool, part: Part) -> Result<Part, Error> {
    if works { Ok(part) } else { Err(Error::Failed("the part does not do what it should".to_owned())) }
}

fn request_head() -> Result<Part, Error> {
    let (limits, mut scan, mut head) = (Limits::default(), HeadScan::default(), RequestHead::default());
    let works = decode_request(REQUEST, &mut scan, &limits, &mut head).is_ok() && head.len == REQUEST.len();
    let part = repeat(move || {
        let _ = black_box(decode_request(black_box(REQUEST), &mut scan, &limits, &mut head));
    });
    tried(works, part)
}

fn response_head() -> Result<Part, Error> {
    let (limits, mut scan, mut head) = (Limits::default(), HeadScan::default(), ResponseHead::default());
    let decoded = decode_response(RESPONSE, &mut scan, &limits, Method::Get, &mut head);
    let works = decoded.is_ok() && head.len == RESPONSE.len();
    let part = repeat(move || {
        let _ = black_box(decode_response(black_box(RESPONSE), &mut scan, &limits, Method::Get, &mut head));
    });
    tried(works, part)
}

fn chunked_body() -> Result<Part, Error> {
    let limits = Limits::default();
    let pass = move || {
        let mut body = Body::new(Framing::Chunked);
        let mut rest = black_box(CHUNKED);
        while let Ok(event) = body.decode(rest, &limits)
            && !body.is_done()
            && event.consumed > 0
        {
            rest = rest.get(event.consumed..).unwrap_or_default();
        }
        black_box(body.is_done())
    };
    tried(pass(), repeat(move || _ = pass()))
}

fn write_head() -> Result<Part, Error> {
    let (mut scan, mut head) = (HeadScan::default(), ResponseHead::default());
    let decoded = decode_response(RESPONSE, &mut scan, &Limits::default(), Method::Get, &mut head);
    let mut out = Vec::with_capacity(1024);
    let part = repeat(move || {
        out.clear();
        encode::status_line(&mut out, Version::Http11, head.status, Some(head.reason.of(RESPONSE)));
        for field in head.fields.iter().filter(|field| !field.hop_by_hop) {
            encode::field(&mut out, field.name.of(RESPONSE), field.value.of(RESPONSE));
        }
        out.extend_from_slice(encode::CRLF);
        black_box(out.as_slice());
    });
    tried(decoded.is_ok(), part)
}

/// Sixteen messages of 64 bytes are followed.
fn grpc_frames() -> Result<Part, Error> {
    let messages = [&Prefix::DATA.to_bytes(64)[..], &[b'x'; 64]].concat().repeat(16);
    let pass = move || {
        let (mut reader, mut left, mut ends) = (Reader::new(u32::MAX), black_box(&messages[..]), 0);
        while let Ok(step) = reader.next(left)
            && step.taken > 0
        {
            ends += u32::from(step.is_end);
            left = left.get(step.taken..).unwrap_or_default();
        }
        black_box(ends) == 16
    };
    tried(pass(), repeat(move || _ = pass()))
}

/// A message of a kilobyte becomes base64.
fn grpc_web_text() -> Result<Part, Error> {
    let message = [&Prefix::DATA.to_bytes(1024)[..], &[b'x'; 1024]].concat();
    let mut out = Vec::with_capacity(2048);
    let mut pass = move || {
        out.clear();
        WebResponse::new(true, u32::MAX).push(black_box(&message), &mut out).is_ok() && black_box(out.len()) == 1372
    };
    tried(pass(), repeat(move || _ = pass()))
}

/// A router of 10,000 routes, half of them with captures, on the way to one in the middle.
fn router(path: &'static str) -> Result<Part, Error> {
    let mut config =
        String::from("[listener.web]\naddress = \"127.0.0.1:0\"\n[upstream.u]\nendpoints = [\"127.0.0.1:9\"]\n");
    for route in 0..ROUTES / 2 {
        let route = route * 2 + 1;
        // Writing to a String cannot fail.
        let _ = write!(
            config,
            "[[route]]\nname = \"l{route}\"\npath = \"/service-{route}/items\"\nupstream = \"u\"\n\
             [[route]]\nname = \"c{route}\"\npath = \"/service-{route}/items/{{item}}/parts/{{part}}\"\nupstream = \"u\"\n"
        );
    }
    let mut resolve = |_: &str, _: u16| Err("only addresses".to_owned());
    let (plan, _) = ringway::config::compile("micro", &config, 1, &mut resolve)
        .map_err(|report| Error::Failed(report.to_string()))?;
    let mut captures = Captures::default();
    let mut find = move || {
        let query =
            Query { method: b"GET", host: b"api.example.com", path: path.as_bytes(), query: None, headers: &NoHeaders };
        black_box(plan.router.find(black_box(&query), &mut captures)).is_ok()
    };
    tried(find(), repeat(move || _ = find()))
}

fn path_normalize() -> Result<Part, Error> {
    let path: &[u8] = b"/service-7777/items/42/parts/7";
    let mut out = Vec::with_capacity(256);
    let mut call = move || black_box(normalize(black_box(path), &mut out)).is_ok();
    tried(call(), repeat(move || _ = call()))
}

fn histogram_record() -> Result<Part, Error> {
    let mut schema = SchemaBuilder::new();
    let id = schema.histogram("duration_seconds", Unit::Seconds, Shape::FINE, &[]);
    let schema = schema.build().map_err(|error| Error::Failed(error.to_string()))?;
    let writer = Writer::in_memory(&schema);
    let mut value = 1u64;
    Ok(repeat(move || {
        // Values from all over the range, so that no bucket stays in a register.
        value = value.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        writer.record(id, value >> 34);
    }))
}

/// A walk along a chain of policies on the way in, and the exchange made ready for the next request.
fn policies(chain: &str) -> Result<Part, Error> {
    let config = format!(
        "[listener.web]\naddress = \"127.0.0.1:0\"\n[service.s]\ntype = \"respond\"\n\
         [[route]]\nname = \"r\"\npath = \"/\"\nservice = \"s\"\npolicies = [{chain}]\n"
    );
    let mut resolve = |_: &str, _: u16| Err("only addresses".to_owned());
    let (plan, _) = ringway::config::compile("micro", &config, 1, &mut resolve)
        .map_err(|report| Error::Failed(report.to_string()))?;
    let (metrics, names) = (Metrics::in_memory(), Names::default().take_up(&PlanNames::from(&plan)));
    let failed = |error: SchemaError| Error::Failed(error.to_string());
    let (metrics, (slots, new)) = (metrics.map_err(failed)?, names.map_err(failed)?);
    if let Some(new) = new {
        metrics.add_segment(new.in_memory());
    }
    let series = metrics.series(&Arc::new(slots));
    // No policy here waits, so its handle is all that is needed of an engine.
    let engine = engine::run(EngineKind::Ring, &engine::Config::default(), |engine| async move { engine })
        .map_err(|error| Error::Failed(error.to_string()))?;
    let (states, mut exchange) = (States::new(&plan, &Origins::new(&plan, None), None), Exchange::default());
    let mut call = move || {
        let steps = plan.routes.first().map_or(&[][..], |route| &route.policies);
        let walked = walk(&engine, &series, &states, &mut exchange, black_box(steps), 0);
        let through = matches!(black_box(walked), Walked::Through);
        exchange.clear();
        through
    };
    tried(call(), repeat(move || _ = call()))
}

/// A pick of one of so many endpoints, and the end of its exchange. The odd one of 101 weighs twice.
fn pick(balance: &'static str, endpoints: usize) -> Result<Part, Error> {
    let weight = |at: usize| 1 + usize::from(at >= 100);
    let endpoint = |at: usize| format!("{{ address = \"10.0.0.{at}:80\", weight = {} }}", weight(at));
    let endpoints: Vec<String> = (0..endpoints).map(endpoint).collect();
    let balance = match balance {
        "bounded" => "{ type = \"maglev\", max_load = 125 }".to_owned(),
        name => format!("\"{name}\""),
    };
    let config = format!(
        "[listener.web]\naddress = \"127.0.0.1:0\"\n[upstream.u]\nbalance = {balance}\nendpoints = [{}]\n\
         [[route]]\nname = \"r\"\npath = \"/\"\nupstream = \"u\"\n",
        endpoints.join(", ")
    );
    let mut resolve = |_: &str, _: u16| Err("only addresses".to_owned());
    let (plan, _) = ringway::config::compile("micro", &config, 1, &mut resolve)
        .map_err(|report| Error::Failed(report.to_string()))?;
    let upstream = plan.upstreams.first().ok_or_else(|| Error::Failed("no upstream".to_owned()))?;
    let (balancer, mut number) = (Balancer::new(&Shared::new(upstream, None), 1, now(0), None), 0u64);
    let mut call = move || {
        number += 1;
        let asked = Asked { hash: Some(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)), ..Asked::default() };
        let Ok(picked) = balancer.pick(black_box(&asked), now(number)) else { return false };
        let took = Duration::from_micros(1000 + number % 256);
        balancer.end(black_box(picked), Outcome::Answered(200, took), now(number));
        true
    };
    tried(call(), repeat(move || _ = call()))
}

/// A microsecond for each call.
fn now(number: u64) -> ringway_runtime::clock::Instant {
    ringway_runtime::clock::Instant::from_nanos(1_000_000_000_000 + number * 1_000)
}
