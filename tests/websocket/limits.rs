//! Limits on frames, messages and rates.

use super::{BINARY, FIN, PING, PONG, TEXT, c, gateway, open, s};
use crate::support::{Engine, on_both_engines};

on_both_engines!(
    a_message_may_be_as_large_as_its_limit,
    a_frame_may_be_as_large_as_its_limit,
    a_message_may_have_as_many_frames_as_its_limit,
    a_flood_of_control_frames_is_closed,
    a_flood_of_messages_is_closed,
    a_flood_of_fragments_is_closed,
);

fn a_message_may_be_as_large_as_its_limit(engine: Engine) {
    let (gateway, origin) = gateway(engine, "max_message = \"1000B\"");
    let mut ok = open(&gateway, &origin);
    ok.up([c(BINARY, [1; 400]), c(FIN, [1; 600])].concat());
    ok.down(s(FIN | BINARY, [1; 1000]));
    ok.client.send([c(BINARY, [1; 400]), c(FIN, [1; 601])].concat());
    assert_eq!(ok.upstream_reads().1.len(), 400);
    ok.expect_closed(1009, 1001);
    // It is known by the head, before any of it has come.
    let mut large = open(&gateway, &origin);
    large.client.send(&c(FIN | BINARY, [1; 1001])[..8]);
    large.expect_closed(1009, 1001);
    let mut down = open(&gateway, &origin);
    down.upstream.send(s(FIN | BINARY, [1; 1001]));
    down.expect_closed(1014, 1009);
}

fn a_frame_may_be_as_large_as_its_limit(engine: Engine) {
    let (gateway, origin) = gateway(engine, "max_frame = \"100B\"");
    let mut open = open(&gateway, &origin);
    open.up([c(BINARY, [1; 100]), c(FIN, [1; 100])].concat());
    open.client.send(c(FIN | BINARY, [1; 101]));
    open.expect_closed(1009, 1001);
}

fn a_message_may_have_as_many_frames_as_its_limit(engine: Engine) {
    let (gateway, origin) = gateway(engine, "max_fragments = 3");
    let mut open = open(&gateway, &origin);
    let three = [c(TEXT, ""), c(0, ""), c(FIN | PING, ""), c(FIN, "")].concat();
    open.up(&three);
    open.client.send([c(TEXT, ""), c(0, ""), c(0, ""), c(0, "")].concat());
    for _ in 0..3 {
        open.upstream_reads();
    }
    open.expect_closed(1008, 1001);
}

/// Sends so many frames, and expects those up to the limit and the close behind them.
fn flood(engine: Engine, keys: &str, each: &[u8], frames: usize, passed: usize) {
    let (gateway, origin) = gateway(engine, keys);
    let mut open = open(&gateway, &origin);
    open.client.send(each.repeat(frames));
    for _ in 0..passed {
        open.upstream_reads();
    }
    open.expect_closed(1008, 1001);
}

fn a_flood_of_control_frames_is_closed(engine: Engine) {
    // One more goes through than there may be: it was read before it was too much.
    flood(engine, "", &c(FIN | PING, ""), 200, 101);
    flood(engine, "control_rate = \"5/h\"", &c(FIN | PONG, "x"), 10, 6);
}

fn a_flood_of_messages_is_closed(engine: Engine) {
    flood(engine, "message_rate = \"10/h\"", &c(FIN | TEXT, "x"), 20, 11);
}

fn a_flood_of_fragments_is_closed(engine: Engine) {
    flood(engine, "frame_rate = \"10/h\"", &[c(TEXT, ""), c(0, ""), c(FIN, "")].concat(), 10, 11);
}
