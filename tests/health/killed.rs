//! An origin that is killed under load: no client notices, the others share what it got, and it is used again when it is
//! back.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use rustix::process::Signal;

use crate::support::{Client, Config, Engine, Gateway, Origin, PATIENCE, on_both_engines};

on_both_engines!(no_client_notices_that_an_origin_is_killed_and_comes_back);

const CLIENTS: usize = 4;

/// A process that answers with its name: a gateway that has no upstream.
fn named(name: &str, address: SocketAddr) -> Gateway {
    let respond = format!(
        "[service.name]\ntype = \"respond\"\nbody = \"{name}\"\n\
         [[route]]\nname = \"all\"\npath = \"/{{rest...}}\"\nservice = \"name\""
    );
    Config::new(Engine::Ring).address(address).more(&respond).start()
}

/// Answers by status and name.
type Answers = HashMap<(u16, String), usize>;

/// What clients that never stop got.
#[derive(Clone, Default)]
struct Load(Arc<(AtomicBool, Mutex<Answers>)>);

impl Load {
    fn start(gateway: &Gateway) -> (Self, Vec<thread::JoinHandle<()>>) {
        let this = Self::default();
        let one = |_| {
            let (own, mut client) = (this.clone(), gateway.connect());
            thread::spawn(move || {
                while !own.0.0.load(Ordering::SeqCst) {
                    own.one(&mut client);
                }
            })
        };
        let clients = (0..CLIENTS).map(one).collect();
        (this, clients)
    }

    fn one(&self, client: &mut Client) {
        let answer = client.get("/");
        let name = answer.text().to_owned();
        *self.0.1.lock().unwrap().entry((answer.status(), name)).or_default() += 1;
    }

    fn now(&self) -> HashMap<(u16, String), usize> {
        self.0.1.lock().unwrap().clone()
    }

    fn of(&self, name: &str) -> usize {
        self.now().get(&(200, name.to_owned())).copied().unwrap_or(0)
    }
}

fn wait(until: impl Fn() -> bool) {
    let begun = Instant::now();
    while !until() {
        assert!(begun.elapsed() < PATIENCE, "it never comes to that");
        thread::yield_now();
    }
}

fn no_client_notices_that_an_origin_is_killed_and_comes_back(engine: Engine) {
    let places = [(); 3].map(|()| Origin::elsewhere());
    let origins = ["one", "two", "three"].into_iter().zip(places);
    let mut origins: Vec<Gateway> = origins.map(|(name, address)| named(name, address)).collect();
    let gateway = places
        .into_iter()
        .fold(Config::new(engine).data(2), Config::endpoint)
        .upstream("health = { interval = \"50ms\", unhealthy_after = 1, healthy_after = 1 }")
        .upstream("outlier = { eject_for = \"100ms\", max_eject_for = \"100ms\" }")
        .upstream("retry = { attempts = 4, backoff = \"off\" }")
        .start();
    let (load, clients) = Load::start(&gateway);
    wait(|| ["one", "two", "three"].iter().all(|name| load.of(name) > 100));
    let killed = origins.remove(0);
    killed.child.signal(Signal::KILL);
    drop(killed);
    // Whatever was under way then has its answer after so many others, and it is found dead.
    let (before, others) = (load.of("one"), load.of("two"));
    wait(|| load.of("two") > others + 500);
    let (two, three) = (load.of("two"), load.of("three"));
    wait(|| load.of("two") > two + 1_000);
    let (two, three) = (load.of("two") - two, load.of("three") - three);
    assert!(two.abs_diff(three) < two / 5, "of what it got one has {two}, the other {three}");
    assert!(load.of("one") <= before + CLIENTS);
    let _again = named("one", places[0]);
    let before = load.of("one");
    wait(|| load.of("one") > before + 500);
    load.0.0.store(true, Ordering::SeqCst);
    for client in clients {
        client.join().unwrap();
    }
    let answers = load.now();
    assert!(answers.keys().all(|(status, _)| *status == 200), "{answers:?}");
}
