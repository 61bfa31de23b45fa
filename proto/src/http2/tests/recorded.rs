//! Conversations that another implementation had: `tests/data/h2.txt` says how.

use std::collections::BTreeMap;

use super::driver::{Driver, Machine};
use super::*;

type Fields = Vec<(String, String)>;

/// A message, its bytes escaped: fields with cookies made one and last, body, trailers.
#[derive(Default, PartialEq, Eq, Debug)]
struct Message {
    fields: Fields,
    body: String,
    trailers: Fields,
}

fn hex(text: &str) -> Vec<u8> {
    let text = text.trim_start_matches('-');
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn escaped(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// One side of a conversation: what it sent, and what that was.
#[derive(Default)]
struct Side {
    bytes: Vec<u8>,
    messages: BTreeMap<u32, Message>,
}

/// The sides of all conversations: clients and servers in turn.
fn recorded() -> Vec<(bool, Side)> {
    let mut sides: Vec<(bool, Side)> = Vec::new();
    let mut id = 0;
    for line in include_str!("../../../tests/data/h2.txt").lines().filter(|line| !line.starts_with('#')) {
        let (word, rest) = line.split_once(' ').unwrap();
        if matches!(word, "client" | "server") {
            sides.push((word == "client", Side { bytes: hex(rest), ..Side::default() }));
            continue;
        }
        let Some((_, side)) = sides.last_mut() else { continue };
        if matches!(word, "request" | "response") {
            id = rest.parse().unwrap();
        }
        let message = side.messages.entry(id).or_default();
        let field = || {
            let (name, value) = rest.split_once(' ').unwrap();
            (escaped(&hex(name)), escaped(&hex(value)))
        };
        match word {
            "field" => message.fields.push(field()),
            "trailer" => message.trailers.push(field()),
            "body" => message.body = escaped(&hex(rest)),
            "conversation" => {
                side.messages
                    .remove(&id)
                    .filter(|message| *message != Message::default())
                    .map(|message| side.messages.insert(id, message));
            }
            _ => {}
        }
    }
    sides
}

/// What a head's text says, in the form of a message's fields.
fn fields(text: &[u8], pseudo: Fields) -> Fields {
    let text = escaped(text);
    let lines = text.split("\\r\\n").skip(1).take_while(|line| !line.is_empty());
    let fields =
        lines.map(|line| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned())).unwrap());
    pseudo.into_iter().chain(fields).collect()
}

/// The same for what was meant: pseudo-header fields first, one cookie, last.
fn meant(fields: &Fields, order: &[&str]) -> Fields {
    let find = |name: &&str| {
        fields.iter().find(|(other, _)| other == name).map(|(_, value)| ((*name).to_owned(), value.clone()))
    };
    let cookies: Vec<_> = fields.iter().filter(|(name, _)| name == "cookie").map(|(_, value)| value.clone()).collect();
    let is_request = order.len() > 1;
    let rest = fields.iter().filter(|(name, _)| !name.starts_with(':') && (name != "cookie" || !is_request)).cloned();
    let cookie = (!cookies.is_empty() && is_request).then(|| ("cookie".to_owned(), cookies.join("; ")));
    order.iter().filter_map(find).chain(rest).chain(cookie).collect()
}

fn note(driver: &Driver, order: &[&str]) -> BTreeMap<u32, Message> {
    let mut messages: BTreeMap<u32, Message> = BTreeMap::new();
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    for seen in &driver.seen {
        match seen.event {
            Event::Request { stream, .. } | Event::Response { stream, .. } => {
                let text = escaped(&seen.text);
                let words: Vec<_> = text.split("\\r\\n").next().unwrap().split(' ').collect();
                let message = messages.entry(stream.id()).or_default();
                if order.len() > 1 {
                    let pseudo = vec![pair(":method", words[0]), pair(":path", words[1])];
                    message.fields = fields(&seen.text, pseudo);
                    // Host is `:authority`.
                    assert_eq!(message.fields[2].0, "host");
                    message.fields[2].0 = ":authority".to_owned();
                } else if words[1] != "103" {
                    message.fields = fields(&seen.text, vec![pair(":status", words[1])]);
                }
            }
            Event::Data { stream, .. } => messages.entry(stream.id()).or_default().body += &escaped(&seen.text),
            Event::Trailers { stream, trailers } => {
                messages.entry(stream.id()).or_default().trailers =
                    trailers.iter(&seen.text).map(|(name, value)| (escaped(name), escaped(value))).collect();
            }
            _ => {}
        }
    }
    messages
}

#[test]
fn conversations_of_another_implementation_are_understood() {
    let sides = recorded();
    assert!(sides.len() == 8);
    for (is_client, side) in sides {
        for step in [usize::MAX, 1, 1000] {
            let mut driver = if is_client {
                Driver::fresh_server(Config::default())
            } else {
                let mut driver = Driver::fresh_client(Config::default());
                let now = driver.now;
                let Machine::Client(client) = &mut driver.machine else { unreachable!() };
                let line = RequestLine { method: b"GET", scheme: b"http", authority: b"a", path: b"/", protocol: None };
                for _ in 0..side.messages.len() {
                    client.request(&line, std::iter::empty(), true, now, &mut Vec::new()).unwrap();
                }
                driver
            };
            driver.step = step;
            driver.feed(&side.bytes);
            assert_eq!((driver.error, driver.resets()), (None, vec![]));
            let order: &[&str] = if is_client { &[":method", ":path", ":authority"] } else { &[":status"] };
            let seen = note(&driver, order);
            assert_eq!(seen.len(), side.messages.len());
            for (id, message) in &side.messages {
                let expected = Message {
                    fields: meant(&message.fields, order),
                    body: message.body.clone(),
                    trailers: message.trailers.clone(),
                };
                assert_eq!(seen[id], expected, "stream {id}");
            }
        }
    }
}
