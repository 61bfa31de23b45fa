//! What the access log cannot take costs lines, never requests, and each is counted.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};

use super::Place;
use crate::support::{Engine, Gateway, Origin, on_both_engines};

on_both_engines!(
    a_burst_into_a_tiny_queue_is_written_or_counted_to_the_last_request,
    a_full_disk_holds_up_nothing,
    a_closed_pipe_holds_up_nothing,
    a_reader_that_does_not_read_holds_up_nothing,
);

/// Sends so many requests, many at once, and takes every answer.
fn burst(gateway: &Gateway, count: usize) {
    const AT_ONCE: usize = 250;
    let mut client = gateway.connect();
    let batch = "GET /hello/x HTTP/1.1\r\nHost: a\r\n\r\n".repeat(AT_ONCE);
    for _ in 0..count / AT_ONCE {
        client.send(&batch);
        for _ in 0..AT_ONCE {
            assert_eq!(client.response().status(), 200);
        }
    }
}

fn a_burst_into_a_tiny_queue_is_written_or_counted_to_the_last_request(engine: Engine) {
    const COUNT: usize = 25_000;
    let place = Place::new();
    let gateway = place.logged(engine, "log", "").more("[log]\nqueue = \"4KiB\"\n").start();
    burst(&gateway, COUNT);
    gateway.stop();
    let written = place.lines("log").len() as u64;
    assert_eq!(place.total("ringway_access_log_records_total"), COUNT as u64);
    assert_eq!(written + place.total("ringway_access_log_dropped_total"), COUNT as u64);
    assert!(written > 0);
}

fn a_full_disk_holds_up_nothing(engine: Engine) {
    let place = Place::new();
    let gateway = place.config(engine).more("[access_log]\nto = \"/dev/full\"\nflush = \"1ms\"\n").start();
    burst(&gateway, 1000);
    gateway.child.says("could not be written: No space left on device");
    burst(&gateway, 1000);
    // The cores hear of lost lines once a second, and at their end of those before.
    gateway.stop();
    let dropped = place.total("ringway_access_log_dropped_total");
    assert!((1..=2000).contains(&dropped), "{dropped}");
}

fn a_closed_pipe_holds_up_nothing(engine: Engine) {
    let place = Place::new();
    // Whoever starts it here reads one line of its standard output and goes away.
    let gateway = place.config(engine).more("[access_log]\nto = \"stdout\"\nflush = \"1ms\"\n").start();
    burst(&gateway, 500);
    gateway.child.says("access log standard output lacks ");
    burst(&gateway, 500);
    assert_eq!(gateway.stop().exit.code(), Some(0));
}

fn a_reader_that_does_not_read_holds_up_nothing(engine: Engine) {
    const COUNT: usize = 10_000;
    let place = Place::new();
    let fifo = place.file("fifo");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::RWXU, 0).expect("a pipe");
    let mut reader = File::options();
    let mut reader = reader.read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(fifo).expect("a reader");
    let gateway = place.logged(engine, "fifo", "").endpoint(Origin::refusing()).start();
    burst(&gateway, COUNT);
    // Events still come through.
    assert_eq!(gateway.connect().get("/x").status(), 502);
    gateway.child.says("failed: upstream_connect_failed");
    let process = gateway.stop();
    assert_eq!(process.exit.code(), Some(0));
    let mut text = String::new();
    reader.read_to_string(&mut text).expect("text");
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    let written = whole.filter(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()).count();
    let lost: usize = (process.errors.lines())
        .filter_map(|line| line.split_once(" lacks ")?.1.split_once(' ')?.0.parse::<usize>().ok())
        .sum();
    assert_eq!(written + lost, COUNT + 1, "{}", process.errors);
}
