//! The generator against the origin in its own loop, and against servers that misbehave.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::report::{Handshakes, Outcome};
use super::tls::{Tls, Version};
use super::{Failure, Plan, run};
use crate::multiplex::grpc_message;
use crate::origin::{Options, Origin};

fn origin(body: u64, delay: Duration) -> Origin {
    Origin::new(&Options { delay, ..Options::plain(body) }).unwrap()
}

fn plan(target: SocketAddr) -> Plan {
    let (duration, grace) = (Duration::from_millis(50), Duration::from_secs(10));
    Plan { connections: 4, duration, grace, ..Plan::get(target) }
}

/// Runs against an origin in the same loop, and returns the answers it says it gave.
fn run_with(origin: &mut Origin, change: impl FnOnce(&mut Plan)) -> Outcome {
    let mut plan = plan(origin.address().unwrap());
    change(&mut plan);
    run(&plan, Some(origin), &mut |_, _| {}, &AtomicBool::new(false)).unwrap()
}

#[test]
fn a_closed_loop_gets_an_answer_to_every_request() {
    for (connections, pipeline) in [(1, 1), (4, 1), (3, 7)] {
        let mut origin = origin(1000, Duration::ZERO);
        let outcome = run_with(&mut origin, |plan| (plan.connections, plan.pipeline) = (connections, pipeline));
        assert_eq!(outcome.failed(), 0);
        assert!(outcome.completed > 0 && outcome.completed <= origin.served());
        assert_eq!(outcome.body_bytes, outcome.completed * 1000);
        assert!(!outcome.latency.is_empty());
    }
}

#[test]
fn large_bodies_go_both_ways() {
    let mut origin = origin(3_000_000, Duration::ZERO);
    let outcome = run_with(&mut origin, |plan| {
        plan.request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n".to_vec();
        plan.request.resize(plan.request.len() + 3_000_000, b'x');
        plan.body = Some(3_000_000);
    });
    assert_eq!((outcome.failed(), outcome.completed > 0), (0, true));
}

#[test]
fn a_connection_per_request_is_opened_and_closed_each_time() {
    let mut origin = origin(10, Duration::ZERO);
    let outcome = run_with(&mut origin, |plan| {
        plan.close = true;
        plan.request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".to_vec();
    });
    assert_eq!((outcome.failed(), outcome.reconnects, outcome.completed > 0), (0, 0, true));
}

#[test]
fn an_open_loop_sends_every_request_that_is_due() {
    let mut origin = origin(10, Duration::ZERO);
    let outcome = run_with(&mut origin, |plan| {
        plan.rate = Some(1000.0);
        plan.duration = Duration::from_millis(100);
    });
    assert_eq!(outcome.failed(), 0);
    // A hundred are due in the window, give or take the ones at its ends.
    assert!((98..=102).contains(&outcome.latency.len()), "{} requests", outcome.latency.len());
    assert_eq!(outcome.lateness.len(), outcome.latency.len());
}

#[test]
fn a_slow_server_cannot_hide_the_requests_it_delays() {
    // One connection and 20 ms an answer make 50 answers a second; 500 requests a second are due.
    let mut origin = origin(10, Duration::from_millis(20));
    let outcome = run_with(&mut origin, |plan| {
        plan.connections = 1;
        plan.rate = Some(500.0);
        plan.duration = Duration::from_millis(200);
    });
    assert_eq!(outcome.failed(), 0);
    assert!(outcome.latency.max() > 10 * outcome.service.min(), "latency must count from when a request was due");
    assert!(outcome.lateness.max() < outcome.latency.max(), "a busy connection is not the generator's error");
}

/// Runs against a server that answers every connection with `answer` once it was asked, and then closes it.
fn failures(answer: &'static [u8], change: impl FnOnce(&mut Plan)) -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut plan = plan(listener.local_addr().unwrap());
    plan.connections = 1;
    change(&mut plan);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = [0; 1024];
            if matches!(stream.read(&mut request), Ok(count) if count > 0) {
                let _ = stream.write_all(answer);
            }
        }
    });
    run(&plan, None, &mut |_, _| {}, &AtomicBool::new(false)).unwrap()
}

#[test]
fn what_goes_wrong_is_counted_by_its_kind() {
    let kinds: [(&[u8], Failure); 5] = [
        (b"", Failure::Closed),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", Failure::Truncated),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", Failure::Status),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nab", Failure::Length),
        (b"220 mail.example.com\r\n\r\n", Failure::Malformed),
    ];
    for (answer, kind) in kinds {
        let outcome = failures(answer, |plan| plan.body = Some(7));
        assert!(outcome.failures[kind as usize] > 0, "{}: {:?}", kind.name(), outcome.failures);
        assert_eq!(outcome.failed(), outcome.failures[kind as usize], "{} and nothing else", kind.name());
    }
}

#[test]
fn a_server_that_says_nothing_times_out() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut plan = plan(listener.local_addr().unwrap());
    plan.timeout = Duration::from_millis(20);
    plan.duration = Duration::from_millis(100);
    plan.grace = Duration::ZERO;
    let outcome = run(&plan, None, &mut |_, _| {}, &AtomicBool::new(false)).unwrap();
    assert!(outcome.failures[Failure::Timeout as usize] >= 4, "{:?}", outcome.failures);
    assert_eq!(outcome.completed, 0);
}

#[test]
fn a_server_that_is_not_there_is_an_error() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = run(&plan(gone), None, &mut |_, _| {}, &AtomicBool::new(false)).unwrap_err();
    assert!(error.to_string().contains("0 of 4 connections"), "{error}");
}

/// The same plan over HTTP/2; with a message it is a call of gRPC.
fn over_http2(plan: &mut Plan, streams: usize, message: Option<u64>) {
    let url: crate::url::Url = format!("http://{}/", plan.target).parse().unwrap();
    let (method, body) = message.map_or(("GET", Vec::new()), |bytes| ("POST", grpc_message(bytes)));
    let request = url.http2_request(method, &[], body).unwrap();
    plan.http2 = Some(if message.is_some() { request.of_grpc() } else { request });
    plan.pipeline = streams;
}

#[test]
fn over_http2_many_requests_share_a_connection() {
    for (connections, streams) in [(1, 1), (2, 16), (1, 100)] {
        let mut origin = origin(1000, Duration::ZERO);
        let outcome = run_with(&mut origin, |plan| {
            over_http2(plan, streams, None);
            (plan.connections, plan.body) = (connections, Some(1000));
        });
        assert_eq!(outcome.failed(), 0, "{:?}", outcome.failures);
        assert!(outcome.completed > 100, "{}", outcome.completed);
        assert_eq!(outcome.reconnects, 0);
    }
}

#[test]
fn bodies_larger_than_the_windows_go_both_ways_over_http2() {
    let mut origin = origin(5_000_000, Duration::ZERO);
    let outcome = run_with(&mut origin, |plan| {
        over_http2(plan, 3, None);
        let request = plan.http2.as_mut().unwrap();
        request.body = vec![b'x'; 5_000_000].into();
        "POST".clone_into(&mut request.method);
        (plan.body, plan.duration) = (Some(5_000_000), Duration::from_millis(500));
    });
    assert_eq!((outcome.failed(), outcome.completed > 0), (0, true), "{:?}", outcome.failures);
}

#[test]
fn a_call_of_grpc_gets_a_message_and_its_status() {
    let mut origin = origin(100, Duration::ZERO);
    let outcome = run_with(&mut origin, |plan| {
        over_http2(plan, 16, Some(20));
        plan.body = Some(105);
    });
    assert_eq!((outcome.failed(), outcome.completed > 0), (0, true), "{:?}", outcome.failures);
}

#[test]
fn an_open_loop_over_http2_sends_every_request_that_is_due() {
    let mut origin = origin(10, Duration::ZERO);
    let outcome = run_with(&mut origin, |plan| {
        over_http2(plan, 4, None);
        (plan.rate, plan.duration) = (Some(1000.0), Duration::from_millis(100));
    });
    assert_eq!(outcome.failed(), 0);
    assert!((98..=102).contains(&outcome.latency.len()), "{} requests", outcome.latency.len());
}

#[test]
fn what_speaks_no_http2_is_malformed() {
    let outcome = failures(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", |plan| over_http2(plan, 1, None));
    assert!(outcome.failures[Failure::Malformed as usize] > 0, "{:?}", outcome.failures);
}

/// A server over TLS that closes each connection after its first answer, in both versions and with tickets.
fn server_over_tls() -> SocketAddr {
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(issued.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_no_client_auth().with_single_cert(vec![issued.cert.der().clone()], key).unwrap();
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().unwrap();
    let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").unwrap());
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (Ok(stream), config) = (stream, config.clone()) else { return };
            std::thread::spawn(move || {
                let mut stream = rustls::StreamOwned::new(rustls::ServerConnection::new(config).unwrap(), stream);
                let mut request = [0; 1024];
                if matches!(stream.read(&mut request), Ok(count) if count > 0) {
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
                    stream.conn.send_close_notify();
                    let _ = stream.flush();
                }
            });
        }
    });
    address
}

#[test]
fn handshakes_are_full_or_resumed_as_asked_in_both_versions() {
    let target = server_over_tls();
    for version in [Version::V1_2, Version::V1_3] {
        for resume in [false, true] {
            let mut plan = plan(target);
            plan.tls = Some(Tls::new("localhost", version, resume, false).unwrap());
            (plan.close, plan.body) = (true, Some(2));
            (plan.warm_up, plan.duration) = (Duration::from_millis(200), Duration::from_millis(100));
            let outcome = run(&plan, None, &mut |_, _| {}, &AtomicBool::new(false)).unwrap();
            assert_eq!((outcome.failed(), outcome.completed > 0), (0, true), "{:?}", outcome.failures);
            let Handshakes { full, resumed } = outcome.handshakes;
            assert_eq!((full > 0, resumed > 0), (!resume, resume), "{version:?}: {:?}", outcome.handshakes);
        }
    }
}

#[test]
fn connections_over_tls_are_open_when_their_handshakes_are_over() {
    let mut plan = plan(server_over_tls());
    plan.tls = Some(Tls::new("localhost", Version::V1_3, false, false).unwrap());
    let outcome = run(&plan, None, &mut |_, _| {}, &AtomicBool::new(false)).unwrap();
    assert_eq!(outcome.failed(), 0, "{:?}", outcome.failures);
    // Each is closed after an answer, and opened anew.
    assert!(outcome.completed > 0 && outcome.reconnects > 0);
    plan.tls = Some(Tls::new("localhost", Version::V1_3, false, true).unwrap());
    over_http2(&mut plan, 1, None);
    let error = run(&plan, None, &mut |_, _| {}, &AtomicBool::new(false)).unwrap_err();
    assert!(error.to_string().contains("handshake"), "it does not speak HTTP/2: {error}");
}
