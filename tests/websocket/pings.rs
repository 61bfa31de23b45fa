//! Pings of the gateway's own.

use super::{FIN, PING, PONG, TEXT, c, gateway, open, s};
use crate::support::{Engine, on_both_engines};

on_both_engines!(
    silent_sides_are_sent_pings_and_their_pongs_stay_here,
    a_client_that_does_not_answer_is_closed,
    an_endpoint_that_does_not_answer_is_closed,
    pongs_of_others_pass,
    pings_keep_no_idle_connection_open,
);

fn silent_sides_are_sent_pings_and_their_pongs_stay_here(engine: Engine) {
    let (gateway, origin) = gateway(engine, "ping_interval = \"50ms\"");
    let mut open = open(&gateway, &origin);
    for _ in 0..3 {
        let (first, payload) = open.client_reads();
        assert_eq!((first, payload.len()), (FIN | PING, 8));
        open.client.send(c(FIN | PONG, payload));
        let (first, payload) = open.upstream_reads();
        assert_eq!((first, payload.len()), (FIN | PING, 8));
        open.upstream.send(s(FIN | PONG, payload));
    }
    open.client.send(c(FIN | TEXT, "mine"));
    loop {
        match open.upstream_reads() {
            (first, payload) if first == FIN | PING => drop(open.upstream.send(s(FIN | PONG, payload)).try_send(b"")),
            (first, payload) => {
                assert_eq!((first, payload), (FIN | TEXT, b"mine".to_vec()));
                break;
            }
        }
    }
}

fn a_client_that_does_not_answer_is_closed(engine: Engine) {
    let (gateway, origin) =
        gateway(engine, "ping_interval = \"50ms\", ping_timeout = \"100ms\", close_timeout = \"100ms\"");
    let mut open = open(&gateway, &origin);
    let code = loop {
        match open.upstream_reads() {
            (first, payload) if first == FIN | PING => open.upstream.send(s(FIN | PONG, payload)),
            (first, payload) => break (first, payload),
        };
    };
    assert_eq!(code, (FIN | super::CLOSE, super::code(1001)));
    open.upstream.finish();
    assert_eq!(open.client_reads().0, FIN | PING);
    assert_eq!(open.client_reads(), (FIN | super::CLOSE, super::code(1008)));
    open.client.expect_end();
}

fn an_endpoint_that_does_not_answer_is_closed(engine: Engine) {
    let (gateway, origin) =
        gateway(engine, "ping_interval = \"50ms\", ping_timeout = \"100ms\", close_timeout = \"100ms\"");
    let mut open = open(&gateway, &origin);
    let code = loop {
        match open.client_reads() {
            (first, payload) if first == FIN | PING => open.client.send(c(FIN | PONG, payload)),
            (first, payload) => break (first, payload),
        };
    };
    assert_eq!(code, (FIN | super::CLOSE, super::code(1014)));
    open.client.expect_end();
}

fn pongs_of_others_pass(engine: Engine) {
    let (gateway, origin) = gateway(engine, "");
    let mut open = open(&gateway, &origin);
    open.up(c(FIN | PONG, "nobody asked"));
    open.down(s(FIN | PONG, [0; 8]));
    open.up(c(FIN | PING, [0; 8]));
    open.down(s(FIN | PONG, [0; 8]));
}

fn pings_keep_no_idle_connection_open(engine: Engine) {
    let (gateway, origin) = gateway(engine, "ping_interval = \"40ms\", idle = \"300ms\"");
    let mut open = open(&gateway, &origin);
    let mut pings = 0;
    let last = loop {
        match open.client_reads() {
            (first, payload) if first == FIN | PING => {
                pings += 1;
                open.client.send(c(FIN | PONG, payload));
                let (first, payload) = open.upstream_reads();
                assert_eq!(first, FIN | PING);
                open.upstream.send(s(FIN | PONG, payload));
            }
            last => break last,
        }
    };
    assert_eq!(last, (FIN | super::CLOSE, super::code(1001)));
    assert!(pings > 0);
}
