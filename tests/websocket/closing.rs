//! How connections are closed (RFC 6455 section 7).

use super::{CLOSE, FIN, PING, TEXT, c, code, gateway, open, s};
use crate::support::{Engine, Gateway, on_both_engines};

on_both_engines!(
    a_close_passes_with_its_code_and_reason,
    nothing_follows_a_close,
    a_side_that_leaves_without_a_close_is_missed_on_the_other,
    a_close_that_is_not_answered_is_waited_for_no_longer_than_that,
    an_idle_connection_is_closed,
    a_close_waits_for_the_end_of_a_frame_that_is_on_its_way,
);

fn a_close_passes_with_its_code_and_reason(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let with_reason = [code(1001), b"bye \xc3\xa9".to_vec()].concat();
    for payload in [vec![], code(1000), code(1003), code(1013), code(3000), code(4999), with_reason] {
        for client_first in [true, false] {
            let mut open = open(&gateway, &origin);
            if client_first {
                open.up(c(FIN | CLOSE, &payload));
                open.down(s(FIN | CLOSE, &payload));
            } else {
                open.down(s(FIN | CLOSE, &payload));
                open.up(c(FIN | CLOSE, &payload));
            }
            open.upstream.finish();
            open.client.expect_end();
            open.upstream.expect_end();
        }
    }
}

fn nothing_follows_a_close(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut open = open(&gateway, &origin);
    open.client.send([c(FIN | CLOSE, code(1000)), c(FIN | TEXT, "late"), vec![0xff; 40]].concat());
    assert_eq!(open.upstream_reads(), (FIN | CLOSE, code(1000)));
    // The other side may still say what it has to.
    open.down(s(FIN | TEXT, "last words"));
    open.down(s(FIN | CLOSE, code(1000)));
    assert!(open.upstream.nothing_waits());
    open.upstream.finish();
    open.client.expect_end();
}

fn a_side_that_leaves_without_a_close_is_missed_on_the_other(engine: Engine) {
    let (gateway, origin) = gateway(engine, "close_timeout = \"100ms\"");
    let mut first = open(&gateway, &origin);
    first.up(c(FIN | TEXT, "a"));
    first.client.finish();
    first.upstream.expect_end();
    let mut second = open(&gateway, &origin);
    second.upstream.finish();
    second.client.expect_end();
    let third = open(&gateway, &origin);
    third.client.reset();
    let mut upstream = third.upstream;
    upstream.expect_end();
    let mut fourth = open(&gateway, &origin);
    fourth.upstream.reset();
    assert!(fourth.client.rest_or_reset().0.is_empty());
}

fn a_close_that_is_not_answered_is_waited_for_no_longer_than_that(engine: Engine) {
    let (gateway, origin) = gateway(engine, "close_timeout = \"100ms\"");
    let mut open = open(&gateway, &origin);
    open.up(c(FIN | CLOSE, code(1000)));
    open.client.expect_end();
    open.upstream.expect_end();
}

fn an_idle_connection_is_closed(engine: Engine) {
    let (gateway, origin) = gateway(engine, "idle = \"200ms\"");
    let mut open = open(&gateway, &origin);
    open.up(c(FIN | PING, ""));
    open.expect_closed(1001, 1001);
}

fn a_close_waits_for_the_end_of_a_frame_that_is_on_its_way(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut open = open(&gateway, &origin);
    let frame = s(FIN | TEXT, "half of this is on its way to the client");
    open.down(&frame[..20]);
    open.client.send(c(FIN | 0x20 | TEXT, "broken"));
    assert_eq!(open.upstream_reads(), (FIN | CLOSE, code(1001)));
    open.down(&frame[20..]);
    assert_eq!(open.client_reads(), (FIN | CLOSE, code(1002)));
    open.upstream.send(s(FIN | TEXT, "too late"));
    open.upstream.finish();
    assert!(open.client.rest_or_reset().0.is_empty());
}
