//! What time does: deadlines, pings, stalls, going away.

use std::time::Duration;

use super::driver::{Driver, Machine};
use super::wire::{Sent, data, frame, get, headers, of_number, settings, settings_ack, window};
use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// Lets the clock reach the next deadline, which must be so far away, and does what is due.
fn until(driver: &mut Driver, away: Duration) -> Result<Option<Event>, Fault> {
    let deadline = driver.connection().deadline().expect("a deadline");
    assert_eq!(deadline.checked_sub(driver.now), Some(away));
    let early = deadline.saturating_sub(Duration::from_nanos(1));
    assert_eq!(driver.connection().on_time(early), Ok(None));
    driver.now = deadline;
    driver.connection().on_time(deadline).map_err(|error| error.fault)
}

fn last(driver: &mut Driver) -> Sent {
    driver.sent().pop().expect("a frame")
}

#[test]
fn settings_must_be_acknowledged_in_time() {
    let mut driver = Driver::fresh_server(Config::default());
    driver.feed(&[frame::PREFACE, &settings(&[])].concat());
    assert_eq!(until(&mut driver, SECOND * 10), Err(Fault::SettingsTimeout));
    assert_eq!(driver.goaway().map(|(_, code)| code), Some(ErrorCode::SettingsTimeout));
    let mut driver = Driver::fresh_server(Config::default());
    driver.feed(&[frame::PREFACE, &settings(&[])].concat());
    driver.now += SECOND;
    driver.feed(&settings_ack());
    assert_eq!(driver.connection().deadline(), None);
    assert_eq!(driver.connection().round_trip(), Some(SECOND));
}

#[test]
fn a_header_block_must_end_in_time() {
    let mut driver = Driver::server(Config::default());
    driver.feed(&frame(1, 1, 1, &get(&[])[..5]));
    driver.now += SECOND * 4;
    // More of it buys no time.
    driver.feed(&frame(9, 0, 1, &get(&[])[5..7]));
    assert_eq!(until(&mut driver, SECOND * 6), Err(Fault::BlockTimeout));
}

#[test]
fn a_silent_peer_is_pinged_and_given_up() {
    let config = Config { ping_after: Some(SECOND * 30), ..Config::default() };
    let mut driver = Driver::server(config);
    assert_eq!(until(&mut driver, SECOND * 30), Ok(None));
    let ping = last(&mut driver);
    assert_eq!((ping.kind, ping.flags), (6, 0));
    // An answer measures the round trip; anything else shows that it lives.
    driver.now += SECOND * 2;
    driver.feed(&frame(6, 1, 0, &ping.payload));
    assert_eq!(driver.seen.pop().map(|seen| seen.event), Some(Event::Pong));
    assert_eq!(driver.connection().round_trip(), Some(SECOND * 2));
    assert_eq!(until(&mut driver, SECOND * 30), Ok(None));
    driver.now += SECOND;
    driver.feed(&window(0, 1));
    assert_eq!(until(&mut driver, SECOND * 9), Ok(None));
    assert_eq!(until(&mut driver, SECOND * 21), Ok(None));
    assert_eq!(until(&mut driver, SECOND * 10), Err(Fault::PingTimeout));
}

#[test]
fn a_stream_whose_window_stays_shut_ends() {
    let mut driver = Driver::server(Config::default());
    driver.answers = true;
    driver.feed(&settings(&[(4, 3)]));
    driver.feed(&headers(1, true, &get(&[])));
    driver.now += SECOND * 5;
    driver.feed(&headers(3, true, &get(&[])));
    let Ok(Some(Event::Reset { stream, reset })) = until(&mut driver, SECOND * 25) else { panic!("no reset") };
    assert_eq!((stream.id(), reset.fault, reset.side), (1, Some(Fault::Stalled), Side::Local));
    // What the other one is given gives it time.
    driver.now += SECOND;
    driver.feed(&window(3, 1));
    assert!(matches!(until(&mut driver, SECOND * 4), Ok(None)));
    assert!(matches!(until(&mut driver, SECOND * 26), Ok(Some(Event::Reset { .. }))));
    assert_eq!(driver.connection().deadline(), None);
    assert_eq!(driver.resets(), [(1, ErrorCode::EnhanceYourCalm), (3, ErrorCode::EnhanceYourCalm)]);
}

#[test]
fn who_keeps_many_windows_shut_loses_the_connection() {
    // Each of which had a window at first.
    let body: &'static [u8] = &[0; 2000];
    let mut driver = Driver::server(Config::default());
    driver.answers = true;
    driver.feed(&settings(&[(4, 256)]));
    for at in 0..60 {
        driver.feed(&headers(2 * at + 1, false, &get(&[])));
        let stream = driver.stream(2 * at + 1);
        driver.answer(stream, body);
    }
    driver.now += SECOND * 30;
    let (now, mut resets) = (driver.now, 0);
    let fault = loop {
        match driver.connection().on_time(now) {
            Ok(Some(Event::Reset { .. })) => resets += 1,
            Ok(_) => panic!("{resets} resets and no end"),
            Err(error) => break error.fault,
        }
    };
    // What it had, and what it got in that time, which is no less.
    let budget = Budget::default();
    assert_eq!((fault, resets), (Fault::Calm, 2 * budget.capacity / budget.costs.stall));
}

#[test]
fn a_connection_whose_window_stays_shut_ends() {
    let mut driver = Driver::server(Config::default());
    driver.answers = true;
    let body: &'static [u8] = &[0; 65_536];
    driver.feed(&settings(&[(4, 1 << 20)]));
    driver.feed(&headers(1, false, &get(&[])));
    let stream = driver.stream(1);
    driver.answer(stream, body);
    assert_eq!(until(&mut driver, SECOND * 30), Err(Fault::Stalled));
}

#[test]
fn a_server_goes_away_in_two_steps_and_loses_no_request() {
    let mut driver = Driver::server(Config::default());
    driver.feed(&headers(1, true, &get(&[])));
    let now = driver.now;
    driver.connection().drain(now);
    assert_eq!(driver.goaway(), Some((frame::MAX, ErrorCode::NoError)));
    // One that was under way is still served.
    driver.feed(&headers(3, true, &get(&[])));
    assert_eq!(driver.seen.len(), 2);
    let ping = driver.sent().into_iter().find(|frame| frame.kind == 6).unwrap();
    driver.feed(&frame(6, 1, 0, &ping.payload));
    assert_eq!(driver.goaway(), Some((3, ErrorCode::NoError)));
    // One that comes after is not, and its client knows that it can be sent again.
    driver.feed(&headers(5, true, &get(&[("x-a", "b")])));
    driver.feed(&data(5, true, b""));
    assert_eq!((driver.seen.len(), driver.error), (2, None));
    for id in [1, 3] {
        assert!(!driver.connection().is_drained());
        let stream = driver.stream(id);
        driver.answer(stream, b"hello");
    }
    assert!(driver.connection().is_drained());
}

#[test]
fn the_first_step_of_going_away_ends_by_itself() {
    let mut driver = Driver::server(Config::default());
    let now = driver.now;
    driver.connection().drain(now);
    driver.connection().drain(now);
    assert_eq!(until(&mut driver, SECOND), Ok(None));
    assert_eq!(driver.goaway(), Some((0, ErrorCode::NoError)));
    assert!(driver.connection().is_drained());
}

/// A client with so many requests under way.
fn asking(count: usize) -> (Driver, Vec<Stream>) {
    let mut driver = Driver::client(Config::default());
    let now = driver.now;
    let line = RequestLine { method: b"GET", scheme: b"http", authority: b"a", path: b"/", protocol: None };
    let mut streams = Vec::new();
    if let Machine::Client(client) = &mut driver.machine {
        for _ in 0..count {
            streams.push(client.request(&line, std::iter::empty(), true, now, &mut Vec::new()).unwrap());
        }
    }
    (driver, streams)
}

#[test]
fn goaway_tells_which_requests_can_be_sent_again() {
    let (mut driver, streams) = asking(3);
    driver.feed(&frame(7, 0, 0, &[0, 0, 0, 3, 0, 0, 0, 2]));
    let events: Vec<_> = driver.seen.iter().map(|seen| seen.event).collect();
    let reset = Reset { side: Side::Remote, code: ErrorCode::RefusedStream, fault: None, is_retry_safe: true };
    assert_eq!(
        events,
        [Event::GoAway { last: 3, code: ErrorCode::InternalError }, Event::Reset { stream: streams[2], reset },]
    );
    let Machine::Client(client) = &mut driver.machine else { unreachable!() };
    assert!(!client.can_open());
    assert!(client.is_open(streams[1]) && !client.is_open(streams[2]));
    assert!(!client.is_drained());
}

#[test]
fn a_reset_tells_whether_the_request_can_be_sent_again() {
    for (code, is_retry_safe) in [(7, true), (8, false), (0, false), (2, false), (11, false)] {
        let (mut driver, streams) = asking(1);
        driver.feed(&of_number(3, 1, code));
        let reset = Reset { side: Side::Remote, code: ErrorCode::from_u32(code), fault: None, is_retry_safe };
        assert_eq!(driver.seen[0].event, Event::Reset { stream: streams[0], reset });
    }
}

#[test]
fn a_slot_is_used_again_and_told_from_its_last_owner() {
    let (mut driver, streams) = asking(2);
    let now = driver.now;
    driver.connection().reset(streams[0], ErrorCode::Cancel, now);
    let line = RequestLine { method: b"GET", scheme: b"http", authority: b"a", path: b"/", protocol: None };
    let Machine::Client(client) = &mut driver.machine else { unreachable!() };
    let stream = client.request(&line, std::iter::empty(), true, now, &mut Vec::new()).unwrap();
    assert_eq!((stream.slot(), stream.id()), (streams[0].slot(), 5));
    assert!(!client.is_open(streams[0]) && client.is_open(stream));
    client.reset(streams[0], ErrorCode::Cancel, now);
    assert!(client.is_open(stream));
}
