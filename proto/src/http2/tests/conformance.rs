//! The codec against every row. `docs/conformance/http2.md` lists the rows and is held to them by a test here.

use std::fmt::Write as _;

use super::driver::Driver;
use super::rows::{Do, Expect, Row, Start, all};
use super::*;

/// The machine a row starts with.
fn start(start: Start) -> Driver {
    let config = Config::default();
    match start {
        Start::Fresh => Driver::fresh_server(config),
        Start::Silent => Driver::server(config),
        Start::Answering => {
            let mut driver = Driver::server(config);
            driver.answers = true;
            driver
        }
        Start::FreshClient | Start::Client => {
            let mut driver = if start == Start::Client { Driver::client(config) } else { Driver::fresh_client(config) };
            let now = driver.now;
            let mut out = Vec::new();
            if let driver::Machine::Client(client) = &mut driver.machine {
                for (method, end) in [("GET", true), ("POST", false)] {
                    let line = RequestLine {
                        method: method.as_bytes(),
                        scheme: b"http",
                        authority: b"a",
                        path: b"/",
                        protocol: None,
                    };
                    client.request(&line, std::iter::empty(), end, now, &mut out).unwrap();
                }
            }
            driver
        }
    }
}

fn run(row: &Row, step: usize) -> Driver {
    let mut driver = start(row.start);
    driver.step = step;
    for action in &row.steps {
        match action {
            Do::Send(bytes) => driver.feed(bytes),
            Do::Answered(id) => {
                let sent = driver.sent();
                let is_end = |frame: &wire::Sent| frame.stream == *id && frame.kind == 0 && frame.flags & 1 == 1;
                assert!(sent.iter().any(is_end), "{}: no answer yet", row.name);
            }
            Do::Hold => driver.takes = false,
            Do::Reset(id) => {
                let (stream, now) = (driver.stream(*id), driver.now);
                driver.connection().reset(stream, ErrorCode::Cancel, now);
                driver.forget();
            }
        }
    }
    driver
}

fn check(row: &Row, step: usize) {
    let mut driver = run(row, step);
    let name = row.name;
    if let Expect::Connection(code) = row.expect {
        let error = driver.error.unwrap_or_else(|| panic!("{name}: no connection error but {:?}", driver.resets()));
        assert_eq!(error.fault.error_code(), code, "{name}: {error:?}");
        assert_eq!(driver.goaway().map(|(_, code)| code), Some(code), "{name}");
        return;
    }
    assert_eq!(driver.error, None, "{name}");
    let resets = driver.resets();
    match row.expect {
        Expect::Stream(id, code) => assert!(resets.contains(&(id, code)), "{name}: {resets:?}"),
        _ => assert_eq!(resets, [], "{name}"),
    }
    let sent = driver.sent();
    let data: usize = match row.expect {
        Expect::Data(id, _) | Expect::Answer(id) => {
            sent.iter().filter(|frame| frame.kind == 0 && frame.stream == id).map(|frame| frame.payload.len()).sum()
        }
        _ => 0,
    };
    match row.expect {
        Expect::Data(_, len) => assert_eq!(data, len, "{name}"),
        Expect::Answer(id) => {
            assert!(sent.iter().any(|frame| frame.kind == 1 && frame.stream == id), "{name}: no head");
            assert!(
                sent.iter().any(|frame| frame.kind == 0 && frame.stream == id && frame.flags & 1 == 1),
                "{name}: no end"
            );
            assert_eq!(data, 5, "{name}");
        }
        _ => {}
    }
    assert!(driver.is_alive(), "{name}: the connection does not live");
}

#[test]
fn every_row_holds_in_one_piece_and_byte_by_byte() {
    // All of them, so that one failure does not hide the others.
    let failed: Vec<_> = all()
        .iter()
        .flat_map(|row| [usize::MAX, 1, 7].map(|step| (row, step)))
        .filter(|&(row, step)| std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(row, step))).is_err())
        .map(|(row, step)| (row.name, step))
        .collect();
    assert_eq!(failed, []);
}

#[test]
fn names_are_unique_and_every_case_of_h2spec_has_a_row() {
    let rows = all();
    let mut names: Vec<_> = rows.iter().map(|row| row.name).collect();
    names.sort_unstable();
    for pair in names.windows(2) {
        assert_ne!(pair[0], pair[1]);
    }
    let mut covered: Vec<&str> = rows.iter().flat_map(|row| row.h2spec.split_whitespace()).collect();
    covered.sort_unstable();
    covered.dedup();
    // The suite's sections and the number of cases in each.
    let suite: &[(&str, usize)] = &[
        ("generic/1", 1),
        ("generic/2", 5),
        ("generic/3.1", 3),
        ("generic/3.2", 3),
        ("generic/3.3", 5),
        ("generic/3.4", 1),
        ("generic/3.5", 1),
        ("generic/3.7", 1),
        ("generic/3.8", 1),
        ("generic/3.9", 2),
        ("generic/3.10", 2),
        ("generic/4", 4),
        ("generic/5", 15),
        ("http2/3.5", 2),
        ("http2/4.1", 3),
        ("http2/4.2", 3),
        ("http2/4.3", 3),
        ("http2/5.1", 13),
        ("http2/5.1.1", 2),
        ("http2/5.1.2", 1),
        ("http2/5.3.1", 2),
        ("http2/5.4.1", 2),
        ("http2/5.5", 2),
        ("http2/6.1", 3),
        ("http2/6.2", 4),
        ("http2/6.3", 2),
        ("http2/6.4", 3),
        ("http2/6.5", 3),
        ("http2/6.5.2", 5),
        ("http2/6.5.3", 2),
        ("http2/6.7", 4),
        ("http2/6.8", 1),
        ("http2/6.9", 3),
        ("http2/6.9.1", 3),
        ("http2/6.9.2", 3),
        ("http2/6.10", 6),
        ("http2/7", 2),
        ("http2/8.1", 1),
        ("http2/8.1.2", 1),
        ("http2/8.1.2.1", 4),
        ("http2/8.1.2.2", 2),
        ("http2/8.1.2.3", 7),
        ("http2/8.1.2.6", 2),
        ("http2/8.2", 1),
        ("hpack/2.3.3", 2),
        ("hpack/4.2", 1),
        ("hpack/5.2", 3),
        ("hpack/6.1", 1),
        ("hpack/6.3", 1),
    ];
    let mut missing = Vec::new();
    let mut cases = 0;
    for &(section, count) in suite {
        for case in 1..=count {
            let id = format!("{section}/{case}");
            cases += 1;
            if covered.binary_search(&id.as_str()).is_err() {
                missing.push(id);
            }
        }
    }
    assert_eq!(missing, Vec::<String>::new());
    assert_eq!(cases, covered.len());
}

/// The lists of the document.
fn document() -> String {
    let mut section = "";
    let rows = all();
    let of_clients = rows.iter().filter(|row| row.is_of_client()).count();
    let of_servers = rows.len() - of_clients;
    let mut out = format!(
        "\n| rows driven | the codec | the gateway in clear | the gateway over TLS |\n|---|---|---|---|\n\
         | to a server: a listener | {of_servers} | {of_servers} | {of_servers} |\n\
         | to a client: an upstream | {of_clients} | {of_clients} | {of_clients} |\n"
    );
    let mut order: Vec<usize> = (0..rows.len()).collect();
    // The role and then the section as numbers, so that 6.10 follows 6.9.
    let key = |row: &Row| {
        let numbers = |text: &str| text.split('.').map(|part| part.parse::<u32>().unwrap_or(0)).collect::<Vec<_>>();
        let (rfc, place) = row.section.split_once(' ').unwrap();
        (rfc.to_owned(), numbers(place))
    };
    order.sort_by_key(|&at| key(&rows[at]));
    order.sort_by_key(|&at| !rows[at].section.starts_with("9113"));
    for at in order {
        let row = &rows[at];
        if row.section != section {
            section = row.section;
            let (rfc, place) = section.split_once(' ').unwrap();
            let _ = writeln!(out, "\n### RFC {rfc}, section {place}\n");
            out.push_str("| what the peer does | to | what comes of it | test | h2spec |\n|---|---|---|---|---|\n");
        }
        let to = if row.is_of_client() { "client" } else { "server" };
        let comes = match row.expect {
            Expect::Connection(code) => format!("connection error {code:?}"),
            Expect::Stream(_, code) => format!("stream error {code:?}"),
            Expect::Fine => "nothing".to_owned(),
            Expect::Answer(_) => "an answer".to_owned(),
            Expect::Data(_, len) => format!("{len} bytes of data"),
        };
        let _ = writeln!(out, "| {} | {to} | {comes} | `{}` | {} |", row.says, row.name, row.h2spec);
    }
    out
}

#[test]
fn the_document_lists_the_rows() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/conformance/http2.md");
    let text = std::fs::read_to_string(path).unwrap();
    let mark =
        "<!-- rows: written by `WRITE_CONFORMANCE=1 cargo test -p ringway-proto the_document_lists_the_rows` -->\n";
    let (before, listed) = text.split_once(mark).expect("the document has no place for the rows");
    let rows = document();
    if std::env::var_os("WRITE_CONFORMANCE").is_some() {
        std::fs::write(path, format!("{before}{mark}{rows}")).unwrap();
        return;
    }
    for (line, (listed, row)) in listed.lines().zip(rows.lines()).enumerate() {
        assert_eq!(listed, row, "line {line} of the rows is out of date: write them anew");
    }
    assert_eq!(listed.lines().count(), rows.lines().count(), "write the rows anew");
}
