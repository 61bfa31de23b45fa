//! `docs/recipes/16-websocket.toml`: WebSocket services behind one address.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::support::{Child, Client, Engine, Origin, OriginConn, on_both_engines};

const RECIPE: &str = include_str!("../../docs/recipes/16-websocket.toml");

on_both_engines!(people_chat, a_feed_is_for_reading, files_are_large, what_is_raw_is_left_alone,);

#[test]
fn the_recipe_stands() {
    super::recipe("16-websocket");
}

/// The recipe at a free port, before one service for all of its upstreams.
struct Services {
    _child: Child,
    _dir: TempDir,
    address: SocketAddr,
    origin: Origin,
}

fn services(engine: Engine) -> Services {
    let origin = Origin::listen();
    let mut text = RECIPE.replace("127.0.0.1:8080", "127.0.0.1:0");
    text = text.replace("data = \"all\"", &format!("data = 1\nengine = \"{}\"\nbuffers = 64", engine.name()));
    text = text.replace("\"127.0.0.1:9801\", \"127.0.0.1:9802\"", "\"127.0.0.1:9801\"");
    for port in ["9801", "9811", "9821", "9831"] {
        text = text.replace(&format!("127.0.0.1:{port}"), &origin.address.to_string());
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ringway.toml");
    fs::write(&file, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
    let mut child = Child::start(command.arg("run").arg(&file).stdout(Stdio::piped()));
    let mut line = String::new();
    BufReader::new(child.stdout()).read_line(&mut line).unwrap();
    let address = line.trim().rsplit_once(' ').unwrap().1.parse().unwrap();
    Services { _child: child, _dir: dir, address, origin }
}

impl Services {
    fn open(&self, path: &str) -> (Client, OriginConn) {
        let mut client = Client::connect(self.address);
        client
            .send(crate::websocket::request("Sec-WebSocket-Extensions: permessage-deflate\r\n").replace("/chat", path));
        let mut upstream = self.origin.accept();
        let extensions = if upstream.head().has("sec-websocket-extensions") { crate::websocket::DEFLATE } else { "" };
        upstream.send(crate::websocket::switch(extensions));
        assert_eq!(client.head().status(), 101);
        (client, upstream)
    }
}

/// A masked frame with a key of zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let head = match payload.len() {
        len @ 0..=125 => vec![first, 0x80 | len as u8],
        len => [vec![first, 0xff], (len as u64).to_be_bytes().to_vec()].concat(),
    };
    [head, vec![0; 4], payload.to_vec()].concat()
}

fn people_chat(engine: Engine) {
    let services = services(engine);
    let (mut client, mut upstream) = services.open("/chat/lobby");
    let hello = frame(0x81, b"hello");
    client.send(hello.repeat(30));
    // Twenty at once are enough; the one that was too much has gone through.
    assert_eq!(upstream.take(21 * hello.len()), hello.repeat(21));
    assert_eq!(client.take(4), [0x88, 2, 0x03, 0xf0]);
    let elsewhere = crate::websocket::request("Origin: https://elsewhere.example\r\n").replace("/chat", "/chat/lobby");
    assert_eq!(Client::connect(services.address).send(elsewhere).response().status(), 403);
    let (mut client, _upstream) = services.open("/chat/lobby");
    client.send(frame(0x82, &vec![0; 70_000]));
    assert_eq!(client.take(4), [0x88, 2, 0x03, 0xf1]);
}

fn a_feed_is_for_reading(engine: Engine) {
    let services = services(engine);
    let (mut client, mut upstream) = services.open("/feed");
    for _ in 0..1000 {
        upstream.send([&[0x81, 0x7e, 0x01, 0xf4][..], &b"price".repeat(100)].concat());
    }
    for _ in 0..1000 {
        let head = client.take(2);
        assert!(head[0] == 0xc1 && head[1] < 30, "it is compressed");
        client.take(usize::from(head[1]));
    }
    client.send(frame(0x81, b"x").repeat(12));
    assert_eq!(client.take(4), [0x88, 2, 0x03, 0xf0]);
}

fn files_are_large(engine: Engine) {
    let services = services(engine);
    let (mut client, mut upstream) = services.open("/files");
    let part = vec![7; 1 << 20];
    let parts = [frame(0x02, &part), frame(0, &part), frame(0x80, &part)].concat();
    let sending = parts.clone();
    let mut sender = client.stream().try_clone().unwrap();
    let writer = std::thread::spawn(move || std::io::Write::write_all(&mut sender, &sending).unwrap());
    assert!(upstream.take(parts.len()) == parts);
    writer.join().unwrap();
    // It is told that it was offered no compression.
    client.send(frame(0xc1, b"x"));
    assert_eq!(client.take(4), [0x88, 2, 0x03, 0xea]);
}

fn what_is_raw_is_left_alone(engine: Engine) {
    let services = services(engine);
    let (mut client, mut upstream) = services.open("/legacy");
    client.send("no frames");
    assert_eq!(upstream.take(9), b"no frames");
}
