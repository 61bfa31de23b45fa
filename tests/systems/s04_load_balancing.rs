//! `docs/recipes/04-load-balancing.toml`: for each service the balancer that suits it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{recipe, ringway};
use crate::support::{Child, Client, Engine, Message, Origin, on_both_engines};

const RECIPE: &str = include_str!("../../docs/recipes/04-load-balancing.toml");
/// The last two digits of the ports in the recipe.
const PORTS: [u16; 18] = [1, 2, 3, 11, 12, 21, 22, 23, 31, 32, 33, 41, 42, 51, 52, 53, 54, 55];

/// The recipe at a free port, before instances that say by what port the recipe knows them.
struct Balancing {
    _child: Child,
    dir: TempDir,
    address: SocketAddr,
    instances: BTreeMap<u16, SocketAddr>,
}

fn replace(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "the recipe has no {from}");
    text.replace(from, to)
}

impl Balancing {
    fn start(engine: Engine) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let cores = format!("data = 2\nengine = \"{}\"\nbuffers = 64 #", engine.name());
        let mut text = replace(&replace(RECIPE, "data = \"all\"", &cores), "127.0.0.1:8080", "127.0.0.1:0");
        let mut instances = BTreeMap::new();
        for port in PORTS {
            let (origin, _) = Origin::serve(move |_, connection| {
                connection.send(format!("HTTP/1.1 200 OK\r\nX-Instance: {port}\r\nContent-Length: 0\r\n\r\n"));
                true
            });
            text = replace(&text, &format!("127.0.0.1:94{port:02}\""), &format!("{}\"", origin.address));
            instances.insert(port, origin.address);
        }
        let admin = format!("[admin]\nsocket = \"{}\"\n", dir.path().join("admin.sock").display());
        text.push_str(&admin);
        let file = dir.path().join("balancing.toml");
        fs::write(&file, &text).expect("the config is written");
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
        let mut child = Child::start(command.arg("run").arg(&file).stdout(Stdio::piped()));
        let mut ready = String::new();
        BufReader::new(child.stdout()).read_line(&mut ready).expect("the gateway says when it is ready");
        let address = ready.trim_end().rsplit_once(' ').and_then(|(_, address)| address.parse().ok());
        let address = address.unwrap_or_else(|| panic!("no ready line: {ready:?}"));
        Self { _child: child, dir, address, instances }
    }

    fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// Drains an instance of an upstream, or has it back. Cores hear of things in order: once they have said how they are,
    /// they have heard of it.
    fn drain(&self, word: &str, upstream: &str, instance: u16) {
        self.admin(&[word, upstream, &self.instances[&instance].to_string()]);
        self.admin(&["status"]);
    }

    /// `ringway admin` with these words.
    fn admin(&self, words: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
        command.arg("admin").args(words).arg("--socket").arg(self.dir.path().join("admin.sock"));
        let output = command.output().expect("the command runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    }
}

fn ask(client: &mut Client, path: &str, fields: &str) -> Message {
    client.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n{fields}\r\n")).response()
}

fn instance(answer: &Message) -> u16 {
    assert_eq!(answer.status(), 200, "{:?}", answer.head);
    answer.head.get("x-instance").expect("an instance answered").parse().expect("a port")
}

/// How often each instance answers so many requests on one connection.
fn shares(client: &mut Client, path: &str, fields: &str, count: usize) -> BTreeMap<u16, usize> {
    let mut shares = BTreeMap::new();
    for _ in 0..count {
        *shares.entry(instance(&ask(client, path, fields))).or_default() += 1;
    }
    shares
}

on_both_engines!(
    each_service_is_balanced_as_it_says,
    users_and_carts_stay_where_they_are,
    near_instances_of_a_version_go_first_and_a_drain_loses_nothing,
);

#[test]
fn the_recipe_is_in_order_as_it_stands() {
    let file = &recipe("04-load-balancing");
    let explained = ringway(&["explain", file, "GET", "/orders/7", "-H", "x-version: v2", "--json"]);
    let explained: Value = serde_json::from_str(&explained).expect("JSON");
    let upstream = &explained["answer"]["upstream"];
    assert_eq!(upstream["subset"], json!({ "version": "v2" }));
    let addresses = upstream["endpoints"].as_array().expect("a list").iter().map(|at| at["address"].clone());
    assert_eq!(addresses.collect::<Vec<_>>(), ["127.0.0.1:9452", "127.0.0.1:9454"]);
    let text = ringway(&["explain", file, "GET", "/profiles/ann/x"]);
    assert!(text.contains("upstream profiles, maglev by path:user, target /profiles/ann/x"), "{text}");
    let text = ringway(&["explain", file, "GET", "/orders/7"]);
    assert!(text.contains("127.0.0.1:9455, weight 1, priority 1") && text.contains("zone west"), "{text}");
}

fn each_service_is_balanced_as_it_says(engine: Engine) {
    let balancing = Balancing::start(engine);
    let mut client = balancing.connect();
    assert_eq!(shares(&mut client, "/pages/a", "", 8), BTreeMap::from([(1, 2), (2, 4), (3, 2)]));
    assert_eq!(shares(&mut client, "/reports/a", "", 40).len(), 2);
    assert!(shares(&mut client, "/search", "", 60).len() == 3);
}

fn users_and_carts_stay_where_they_are(engine: Engine) {
    let balancing = Balancing::start(engine);
    let (mut homes, mut client) = (BTreeMap::new(), balancing.connect());
    for user in 0..12 {
        let path = format!("/profiles/user-{user}/x");
        let all = shares(&mut client, &path, "", 4);
        assert_eq!(all.len(), 1, "{all:?}");
        homes.extend(all);
    }
    assert!(homes.len() > 1);
    let first = ask(&mut client, "/cart/", "");
    let cookie = first.head.get("set-cookie").expect("a cookie").split(';').next().expect("a pair").to_owned();
    let fields = format!("Cookie: {cookie}\r\n");
    let home = instance(&first);
    for _ in 0..4 {
        assert_eq!(shares(&mut balancing.connect(), "/cart/items", &fields, 4), BTreeMap::from([(home, 4)]));
    }
    // Its instance is taken out: the client goes on at the other one, and comes to stay there.
    balancing.drain("drain", "cart", home);
    let moved = ask(&mut client, "/cart/items", &fields);
    assert_ne!(instance(&moved), home);
    assert!(moved.head.has("set-cookie"));
}

fn near_instances_of_a_version_go_first_and_a_drain_loses_nothing(engine: Engine) {
    let balancing = Balancing::start(engine);
    let mut client = balancing.connect();
    assert_eq!(shares(&mut client, "/orders/7", "", 4), BTreeMap::from([(51, 4)]));
    assert_eq!(shares(&mut client, "/orders/7", "X-Version: v2\r\n", 4), BTreeMap::from([(52, 4)]));
    for (drained, next) in [(51, 53), (53, 55)] {
        balancing.drain("drain", "orders", drained);
        assert_eq!(shares(&mut client, "/orders/7", "", 4), BTreeMap::from([(next, 4)]));
    }
    let told = balancing.admin(&["status"]);
    assert_eq!(told.matches(", drained").count(), 2, "{told}");
    balancing.drain("undrain", "orders", 51);
    assert_eq!(shares(&mut client, "/orders/7", "", 4), BTreeMap::from([(51, 4)]));
}
