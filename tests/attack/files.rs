//! More connections than the process may have files: who was there goes on, control answers, and it passes.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use ringway_runtime::histogram::read_dir;
use tempfile::TempDir;

use crate::support::{Client, Config, Engine, Gateway, Origin, OriginConn, PATIENCE, on_both_engines};

on_both_engines!(
    a_flood_of_connections_leaves_files_for_everybody_else,
    a_flood_that_takes_every_file_stops_nobody_who_is_there,
);

/// Files that the gateway may have, and connections that want one.
const FILES: usize = 256;
const FLOOD: usize = 500;

const HELLO: &str = "[service.hello]\ntype = \"respond\"\nbody = \"hello\"\n\
                     [[route]]\nname = \"hello\"\npath = \"/hello\"\nservice = \"hello\"\n";

fn config(engine: Engine, origin: &Origin, dir: &TempDir, limits: &str) -> Config {
    let launcher = ["sh", "-c", &format!("ulimit -n {FILES}; exec \"$@\""), "sh"].map(str::to_owned);
    let admin = format!("{HELLO}[admin]\nsocket = \"{}\"\n", dir.path().join("admin.sock").display());
    let config = Config::new(engine).origin(origin).route("path = \"/proxied\"").limits(limits).more(&admin);
    config.cores(&format!("metrics_dir = \"{}\"", dir.path().join("metrics").display())).under(launcher.to_vec())
}

fn counter(dir: &TempDir, name: &str) -> u64 {
    let files = read_dir(&dir.path().join("metrics")).unwrap().into_iter().map(Result::unwrap);
    files.filter_map(|file| file.counter(name, &[])).sum()
}

/// A request that is proxied over a connection to the upstream which is there.
fn proxied(client: &mut Client, upstream: &mut OriginConn, number: usize) {
    client.send("GET /proxied HTTP/1.1\r\nHost: a\r\n\r\n");
    upstream.request();
    upstream.answer(&format!("answer {number}"));
    assert_eq!(client.response().text(), format!("answer {number}"));
}

/// Floods the gateway, with a request of who was there before every ten connections.
fn flood(gateway: &Gateway, client: &mut Client, upstream: &mut OriginConn) -> Vec<Client> {
    let mut flood = Vec::new();
    for number in 0..FLOOD {
        if number % 10 == 0 {
            proxied(client, upstream, number);
        }
        flood.extend(Client::try_connect(gateway.address));
    }
    proxied(client, upstream, FLOOD);
    flood
}

fn begin(gateway: &Gateway, origin: &Origin) -> (Client, OriginConn) {
    let mut client = gateway.connect();
    client.send("GET /proxied HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut upstream = origin.accept();
    upstream.request();
    (client, upstream)
}

fn end((client, upstream): &mut (Client, OriginConn)) {
    upstream.answer("waited");
    assert_eq!(client.response().text(), "waited");
}

/// What control says of itself.
fn control(dir: &TempDir) -> String {
    let mut stream = UnixStream::connect(dir.path().join("admin.sock")).expect("the admin socket answers");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn a_flood_of_connections_leaves_files_for_everybody_else(engine: Engine) {
    let (origin, dir) = (Origin::listen(), tempfile::tempdir().unwrap());
    let config = config(engine, &origin, &dir, "");
    let gateway = config.start();
    let mut busy: Vec<_> = (0..10).map(|_| begin(&gateway, &origin)).collect();
    let mut present = begin(&gateway, &origin);
    end(&mut present);
    let (mut client, mut upstream) = present;
    let held = flood(&gateway, &mut client, &mut upstream);
    gateway.child.says("is short of file descriptors");
    assert!(counter(&dir, "ringway_files_short_total") > 0);
    assert_eq!(counter(&dir, "ringway_accept_failures_total"), 0);
    // Who comes now is served, over new connections to the upstream: the one that is there is in use.
    client.send("GET /proxied HTTP/1.1\r\nHost: a\r\n\r\n");
    upstream.request();
    let mut new: Vec<_> = (0..10).map(|_| begin(&gateway, &origin)).collect();
    upstream.answer("waited");
    assert_eq!(client.response().text(), "waited");
    assert!(control(&dir).starts_with("HTTP/1.1 200"), "{}", control(&dir));
    gateway.run(&config.more("[listener.second]\naddress = \"127.0.0.1:0\"\n"));
    proxied(&mut client, &mut upstream, FLOOD + 1);
    busy.iter_mut().chain(&mut new).for_each(end);
    drop(held);
    assert_eq!(gateway.connect().get("/hello").text(), "hello");
    drop((busy, new, client));
    let said = gateway.stop().errors;
    assert_eq!(said.matches("is short of file descriptors").count(), 1, "{said}");
}

fn a_flood_that_takes_every_file_stops_nobody_who_is_there(engine: Engine) {
    let (origin, dir) = (Origin::listen(), tempfile::tempdir().unwrap());
    // Nothing is kept back for what the gateway has open beside its connections.
    let gateway = config(engine, &origin, &dir, "reserved_files = 0").start();
    let mut busy = begin(&gateway, &origin);
    let mut present = begin(&gateway, &origin);
    end(&mut present);
    let (mut client, mut upstream) = present;
    let held = flood(&gateway, &mut client, &mut upstream);
    gateway.child.says("is short of file descriptors");
    assert!(counter(&dir, "ringway_accept_failures_total") > 0);
    proxied(&mut client, &mut upstream, FLOOD + 1);
    end(&mut busy);
    drop(held);
    assert_eq!(gateway.connect().get("/hello").text(), "hello");
}
