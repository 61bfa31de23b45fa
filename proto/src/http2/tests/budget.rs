//! What costs a peer its connection, and what does not.

use super::driver::Driver;
use super::wire::{block, data, frame, get, headers, of_number, ping_frame, request, settings, settings_ack, window};
use super::*;

/// How many rounds of `input` a server takes, at one moment, before it is enough; `None` if that is more than `most`.
fn rounds(most: u32, config: Config, mut input: impl FnMut(u32) -> Vec<u8>) -> Option<(u32, Fault)> {
    let mut driver = Driver::server(config);
    for round in 0..most {
        driver.feed(&input(round));
        if let Some(error) = driver.error {
            assert_eq!(error.fault.error_code(), ErrorCode::EnhanceYourCalm);
            assert_eq!(driver.goaway().map(|(_, code)| code), Some(ErrorCode::EnhanceYourCalm));
            return Some((round, error.fault));
        }
        // The peer reads all, so that only the budget bounds it.
        driver.out.clear();
    }
    None
}

#[test]
fn each_flood_ends_when_its_budget_does() {
    let open = |round: u32, end: bool| headers(2 * round + 1, end, &get(&[]));
    let config = Config::default();
    let budget = config.budget.capacity;
    let costs = config.budget.costs;
    type Flood = Box<dyn Fn(u32) -> Vec<u8>>;
    let floods: [(&str, u32, Flood); 13] = [
        (
            "rapid reset",
            costs.reset,
            Box::new(move |round| [open(round, true), of_number(3, 2 * round + 1, 8)].concat()),
        ),
        (
            "made you reset",
            costs.fault + costs.window_update,
            Box::new(move |round| [open(round, true), window(2 * round + 1, 0)].concat()),
        ),
        ("malformed", costs.fault, Box::new(|round| headers(2 * round + 1, true, &block(&[("x", "y")])))),
        ("ping", costs.ping, Box::new(|_| ping_frame(*b"12345678"))),
        ("settings", costs.settings, Box::new(|_| settings(&[]))),
        ("acks", costs.settings, Box::new(|_| settings_ack())),
        ("priority", costs.priority, Box::new(|_| frame(2, 0, 1, &[0; 5]))),
        ("priority updates", costs.priority_update, Box::new(|_| frame(16, 0, 0, b"\0\0\0\x01u=1"))),
        ("window updates", costs.window_update, Box::new(|_| window(0, 1))),
        ("empty headers", costs.empty_fragment, Box::new(|round| headers(2 * round + 1, true, b""))),
        ("unknown frames", costs.unknown, Box::new(|_| frame(99, 0, 0, b""))),
        ("refused", costs.refused, Box::new(move |round| open(round, true))),
        (
            "continuations",
            costs.continuation + costs.empty_fragment,
            Box::new(|round| match round % 8 {
                0 => [frame(1, 1, 2 * round + 1, &get(&[])), frame(9, 0, 2 * round + 1, b"")].concat(),
                7 => frame(9, 4, 2 * (round - 7) + 1, b""),
                at => frame(9, 0, 2 * (round - at) + 1, b""),
            }),
        ),
    ];
    for (name, cost, flood) in floods {
        let (round, fault) = rounds(2 * budget, config, &*flood).unwrap_or_else(|| panic!("{name} goes on"));
        assert_eq!(fault, Fault::Calm, "{name}");
        assert!(round <= budget / cost + 101, "{name} takes {round} rounds at {cost} each");
        assert!(round >= budget / cost / 3, "{name} takes only {round} rounds at {cost} each");
    }
}

#[test]
fn empty_data_is_paid_for_and_data_is_not() {
    let config = Config::default();
    let flood = |bytes: &'static [u8]| {
        move |round: u32| {
            let begin = if round == 0 { headers(1, false, &request("POST", &[])) } else { Vec::new() };
            [begin, data(1, false, bytes)].concat()
        }
    };
    assert_eq!(rounds(10_000, config, flood(b"")).map(|(_, fault)| fault), Some(Fault::Calm));
    assert_eq!(rounds(10_000, config, flood(b"x")), None);
    // Padding is no data.
    let padded = |round: u32| {
        let begin = if round == 0 { headers(1, false, &request("POST", &[])) } else { Vec::new() };
        [begin, frame(0, 8, 1, &[4, 0, 0, 0, 0])].concat()
    };
    assert_eq!(rounds(10_000, config, padded).map(|(_, fault)| fault), Some(Fault::Calm));
}

#[test]
fn a_client_that_gives_up_every_other_request_is_no_flood() {
    let mut driver = Driver::server(Config::default());
    driver.answers = true;
    for round in 0..2000 {
        let id = 4 * round + 1;
        driver.feed(&headers(id, true, &get(&[])));
        driver.feed(&headers(id + 2, false, &request("POST", &[])));
        driver.feed(&of_number(3, id + 2, 8));
        driver.out.clear();
    }
    assert_eq!(driver.error, None);
}

#[test]
fn window_updates_that_answer_our_data_are_free() {
    let mut driver = Driver::server(Config::default());
    driver.feed(&headers(1, true, &get(&[])));
    let stream = driver.stream(1);
    let now = driver.now;
    if let driver::Machine::Server(server) = &mut driver.machine {
        server.respond(stream, 200, std::iter::empty(), false, now, &mut Vec::new()).unwrap();
    }
    for _ in 0..20_000 {
        let len = driver.connection().data(stream, 1000, false, now, &mut Vec::new());
        assert_eq!(len, Some(1000));
        driver.feed(&[window(0, 1000), window(1, 1000)].concat());
    }
    assert_eq!(driver.error, None);
}

#[test]
fn a_window_that_opens_byte_by_byte_is_paid_for() {
    let mut driver = Driver::server(Config::default());
    driver.answers = true;
    driver.feed(&settings(&[(4, 0)]));
    driver.feed(&headers(1, true, &get(&[])));
    driver.bodies_of(1, "x".repeat(60_000).leak().as_bytes());
    let mut rounds = 0;
    while driver.error.is_none() && rounds < 10_000 {
        driver.feed(&window(1, 1));
        rounds += 1;
    }
    assert_eq!(driver.error.map(|error| error.fault), Some(Fault::Calm));
    assert!((100..600).contains(&rounds), "{rounds}");
}

#[test]
fn only_a_few_streams_are_held_by_a_peer_that_opens_no_window() {
    let refused = |driver: &mut Driver| {
        let resets = driver.resets();
        assert!(resets.iter().all(|(_, code)| *code == ErrorCode::RefusedStream), "{resets:?}");
        resets.len()
    };
    let ask = |driver: &mut Driver, at: u32| driver.feed(&headers(2 * at + 1, true, &get(&[])));
    for window_size in [0, 1, 255] {
        let mut driver = Driver::server(Config::default());
        driver.feed(&settings(&[(4, window_size)]));
        for at in 0..8 {
            ask(&mut driver, at);
            let stream = driver.stream(2 * at + 1);
            driver.answer(stream, &[b'x'; 1000]);
        }
        assert_eq!((refused(&mut driver), driver.connection().streams()), (0, 8));
        // Those beyond may be sent again, and are, until it is enough.
        let mut more = 0;
        while driver.error.is_none() && more < 1000 {
            ask(&mut driver, 8 + more);
            more += 1;
        }
        assert_eq!(driver.error.map(|error| error.fault), Some(Fault::Calm));
        assert!((40..=50).contains(&more), "{more} more with a window of {window_size}");
        assert_eq!((refused(&mut driver) as u32, driver.connection().streams()), (more - 1, 8));
    }
}

#[test]
fn a_stream_whose_window_is_opened_is_not_held() {
    // A peer that opens each window by itself, one that opens all, and one whose streams end.
    let opens: [&dyn Fn(u32) -> Vec<Vec<u8>>; 3] =
        [&|id| vec![window(id, 1 << 20)], &|_| vec![settings(&[(4, 1 << 20)]), settings(&[(4, 0)])], &|id| {
            vec![of_number(3, id, 8)]
        }];
    for (at, open) in opens.iter().enumerate() {
        let mut driver = Driver::server(Config::default());
        driver.answers = true;
        driver.feed(&settings(&[(4, 0)]));
        for round in 0..40 {
            let id = 2 * round + 1;
            driver.feed(&headers(id, true, &get(&[])));
            for bytes in open(id) {
                driver.feed(&bytes);
            }
        }
        assert_eq!((driver.error, driver.resets()), (None, vec![]), "{at}");
    }
    // One that shuts them later holds them as well.
    let mut driver = Driver::server(Config::default());
    for at in 0..20 {
        driver.feed(&headers(2 * at + 1, true, &get(&[])));
    }
    driver.feed(&settings(&[(4, 0)]));
    driver.feed(&headers(41, true, &get(&[])));
    assert_eq!((driver.error, driver.resets()), (None, vec![(41, ErrorCode::RefusedStream)]));
}

#[test]
fn a_peer_that_reads_nothing_cannot_pile_up_answers() {
    let free = Budget { costs: Costs { ping: 0, settings: 0, ..Costs::default() }, ..Budget::default() };
    let config = Config { control: 1000, budget: free, ..Config::default() };
    let mut server = Server::new(&config, std::time::Duration::ZERO);
    let (mut head, mut text) = (crate::http1::RequestHead::default(), Vec::new());
    let input = [frame::PREFACE.to_vec(), settings(&[]), ping_frame(*b"12345678").repeat(100)].concat();
    let mut at = 0;
    let error = loop {
        match server.receive(&input[at..], std::time::Duration::ZERO, &mut head, &mut text) {
            Ok(step) if step.event.is_none() => break None,
            Ok(step) => at += step.consumed,
            Err(error) => break Some(error.fault),
        }
    };
    assert_eq!(error, Some(Fault::ControlQueue));
    let mut out = Vec::new();
    server.output(&mut out);
    assert!(out.len() < 1100);
}

#[test]
fn streams_that_have_ended_take_bounded_memory() {
    let mut driver = Driver::server(Config { remembered: 10, ..Config::default() });
    driver.answers = true;
    for round in 0..1000 {
        driver.feed(&headers(2 * round + 1, true, &get(&[])));
        driver.out.clear();
    }
    // What is remembered is told apart, what is forgotten is let go.
    assert_eq!(driver.connection().streams(), 0);
    driver.feed(&[data(1, true, b"x"), headers(3, true, &get(&[]))].concat());
    assert_eq!((driver.error, driver.resets()), (None, vec![]));
    driver.feed(&data(1999, true, b"x"));
    assert_eq!(driver.error.map(|error| error.fault), Some(Fault::StreamClosed));
}

#[test]
fn a_server_that_sends_interim_responses_without_end_is_stopped() {
    let mut driver = Driver::client(Config::default());
    let line = RequestLine { method: b"GET", scheme: b"http", authority: b"a", path: b"/", protocol: None };
    let now = driver.now;
    if let driver::Machine::Client(client) = &mut driver.machine {
        client.request(&line, std::iter::empty(), true, now, &mut Vec::new()).unwrap();
    }
    for _ in 0..1000 {
        driver.feed(&headers(1, false, &block(&[(":status", "103")])));
    }
    assert_eq!(driver.error.map(|error| error.fault), Some(Fault::Calm));
}
