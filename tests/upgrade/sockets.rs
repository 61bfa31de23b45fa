//! What goes over, and what becomes of what does not.

use std::net::TcpStream;

use ringway_runtime::core::cpus;
use ringway_runtime::histogram::{Snapshot, read_dir};
use rustix::process::Signal;

use super::{Place, echo, take_over};
use crate::support::{Client, Engine, Gateway, Origin, on_both_engines};

on_both_engines!(
    a_long_request_is_answered_by_the_process_that_it_began_on,
    an_idle_connection_may_ask_once_more,
    what_waits_for_accept_is_answered_when_the_gateway_drains,
    fewer_and_more_cores_leave_nobody_waiting,
    addresses_come_and_go_with_an_upgrade,
    the_other_engine_takes_over,
    connections_go_to_the_core_of_their_cpu_after_an_upgrade_too,
    connections_go_to_the_core_with_least_to_do_after_an_upgrade_too,
    drained_endpoints_stay_drained_and_plans_count_on,
    plans_of_before_an_upgrade_can_run_again,
    the_history_of_health_pages_goes_over,
);

fn a_long_request_is_answered_by_the_process_that_it_began_on(engine: Engine) {
    let (place, origin) = (Place::new(), Origin::listen());
    let config = place.config(engine).origin(&origin);
    let gateway = config.start();
    let mut client = gateway.connect();
    client.send("GET /long HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut upstream = origin.accept();
    upstream.request();
    let new = take_over(&config);
    gateway.child.says("has taken over");
    let mut other = new.connect();
    other.send("GET /short HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut second = origin.accept();
    second.request();
    second.answer("new");
    assert_eq!(other.response().text(), "new");
    upstream.answer("old");
    let answer = client.response();
    assert_eq!((answer.text(), answer.head.get("connection")), ("old", Some("close")));
    client.expect_end();
    let ended = gateway.child.wait();
    assert_eq!(ended.exit.code(), Some(0), "{}", ended.errors);
    assert!(!ended.errors.contains("cut"), "{}", ended.errors);
}

fn an_idle_connection_may_ask_once_more(engine: Engine) {
    let (place, origin) = (Place::new(), echo());
    let config = place.config(engine).origin(&origin);
    let gateway = config.start();
    let mut idle = gateway.connect();
    let mut silent = gateway.connect();
    let patient = silent.get("/").status();
    assert_eq!((idle.get("/first").text(), patient), ("GET /first HTTP/1.1", 200));
    let _new = take_over(&config);
    gateway.child.says("has taken over");
    let answer = idle.get("/second");
    assert_eq!((answer.text(), answer.head.get("connection")), ("GET /second HTTP/1.1", Some("close")));
    idle.expect_end();
    // A signal ends the patience for the other one, and not the process.
    gateway.terminate();
    silent.expect_end();
    assert_eq!(gateway.child.wait().exit.code(), Some(0));
}

/// The one core is held by a stopped process while clients come.
fn what_waits_for_accept_is_answered_when_the_gateway_drains(engine: Engine) {
    use rustix::process::Signal;
    let origin = echo();
    let gateway = crate::support::Config::new(engine).origin(&origin).start();
    gateway.child.signal(Signal::STOP);
    let mut clients: Vec<Client> = (0..50).map(|_| gateway.connect()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    gateway.terminate();
    gateway.child.signal(Signal::CONT);
    for client in &mut clients {
        assert_eq!(client.response().status(), 200);
        client.expect_end();
    }
    assert_eq!(gateway.child.wait().exit.code(), Some(0));
}

fn fewer_and_more_cores_leave_nobody_waiting(engine: Engine) {
    let (place, origin) = (Place::new(), echo());
    let config = |cores: usize| place.config(engine).data(cores).origin(&origin);
    let mut gateway = config(2).start();
    for cores in [1, 2, 1, 1, 2, 2] {
        let new = take_over(&config(cores));
        assert!(new.ready.contains(&format!("{cores} core")), "{}", new.ready);
        let old = std::mem::replace(&mut gateway, new);
        // Were a socket left to nobody, one of these would wait there.
        for _ in 0..40 {
            assert_eq!(gateway.connect().get("/").status(), 200);
        }
        assert_eq!(old.child.wait().exit.code(), Some(0));
        for _ in 0..40 {
            assert_eq!(gateway.connect().get("/").status(), 200);
        }
    }
    assert_eq!(gateway.stop().exit.code(), Some(0));
}

fn addresses_come_and_go_with_an_upgrade(engine: Engine) {
    let (place, origin) = (Place::new(), echo());
    let listener = |name: &str| format!("[listener.{name}]\naddress = \"127.0.0.1:0\"\n");
    let config = |name: &str| place.config(engine).origin(&origin).more(&listener(name));
    let gateway = config("gone").start();
    let named = |gateway: &Gateway, name: &str| -> std::net::SocketAddr {
        let at = gateway.ready.split(&format!("{name} ")).nth(1).expect("it listens there");
        at.split([',', '\n']).next().and_then(|address| address.parse().ok()).expect("an address")
    };
    let (web, closed) = (named(&gateway, "web"), named(&gateway, "gone"));
    let mut on_closed = Client::connect(closed);
    assert_eq!(on_closed.get("/").status(), 200);
    let new = take_over(&config("come"));
    let come = named(&new, "come");
    assert_eq!(named(&new, "web"), web);
    assert_eq!(Client::connect(come).get("/").status(), 200);
    // Nobody listens there once the old one has let go.
    while TcpStream::connect(closed).is_ok() {}
    let last = on_closed.get("/");
    assert_eq!((last.status(), last.head.get("connection")), (200, Some("close")));
    assert_eq!(gateway.child.wait().exit.code(), Some(0));
    assert_eq!(Client::connect(web).get("/").status(), 200);
}

fn the_other_engine_takes_over(engine: Engine) {
    let other = if engine == Engine::Ring { Engine::Glommio } else { Engine::Ring };
    let (place, origin) = (Place::new(), echo());
    let gateway = place.config(engine).origin(&origin).start();
    let new = take_over(&place.config(other).origin(&origin));
    assert!(new.ready.contains(other.name()), "{}", new.ready);
    assert_eq!(gateway.child.wait().exit.code(), Some(0));
    for _ in 0..10 {
        assert_eq!(new.connect().get("/").status(), 200);
    }
    assert_eq!(new.stop().exit.code(), Some(0));
}

/// Client connections of each core.
fn of_cores(place: &Place) -> Vec<u64> {
    let answer = place.ask("/v1/connections");
    let body = answer.split_once("\r\n\r\n").expect("a body").1;
    let sight: serde_json::Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}"));
    sight["cores"].as_array().expect("cores").iter().filter_map(|core| core["connections"].as_u64()).collect()
}

/// So many clients from a thread on this CPU, each with an answer.
fn clients_on(cpu: Option<usize>, gateway: &Gateway, count: usize) -> Vec<Client> {
    let address = gateway.address;
    let connect = move || {
        if let Some(cpu) = cpu {
            cpus::pin(cpu).expect("the CPU is ours");
        }
        let client = |_| {
            let mut client = Client::connect(address);
            assert_eq!(client.get("/").status(), 200);
            client
        };
        (0..count).map(client).collect()
    };
    std::thread::spawn(connect).join().expect("they connect")
}

fn connections_go_to_the_core_of_their_cpu_after_an_upgrade_too(engine: Engine) {
    let (place, origin) = (Place::new(), echo());
    let config = place.config(engine).cores("placement = \"cpu\"").data(2).origin(&origin);
    let mut gateway = config.start();
    for _ in 0..2 {
        let new = take_over(&config);
        assert_eq!(std::mem::replace(&mut gateway, new).child.wait().exit.code(), Some(0));
        let allowed = cpus::allowed().expect("CPUs");
        let first = clients_on(Some(allowed[0]), &gateway, 12);
        assert_eq!(of_cores(&place), [12, 0]);
        let second = clients_on(Some(allowed[1]), &gateway, 5);
        assert_eq!(of_cores(&place), [12, 5]);
        drop((first, second));
    }
}

fn connections_go_to_the_core_with_least_to_do_after_an_upgrade_too(engine: Engine) {
    let (place, origin) = (Place::new(), echo());
    let config = place.config(engine).cores("placement = \"least-loaded\"").data(2).origin(&origin);
    let gateway = config.start();
    let new = take_over(&config);
    assert_eq!(gateway.child.wait().exit.code(), Some(0));
    let passed = || {
        let files = read_dir(&place.metrics()).expect("metrics").into_iter().flatten();
        let count = |file: Snapshot| file.counter("ringway_connections_handed_over_total", &[("direction", "out")]);
        files.filter_map(count).sum::<u64>()
    };
    assert_eq!(passed(), 0);
    let clients = clients_on(None, &new, 100);
    let of_cores = of_cores(&place);
    assert_eq!(of_cores.iter().sum::<u64>(), 100);
    assert!(of_cores.iter().all(|&count| count >= 25), "{of_cores:?}");
    assert!(passed() > 0, "some went to the other core: {of_cores:?}");
    drop(clients);
}

fn plans_of_before_an_upgrade_can_run_again(engine: Engine) {
    let place = Place::new();
    let says = |text: &str, more: &str| {
        let hello = format!("[service.hello]\ntype = \"respond\"\nbody = \"{text}\"\n");
        let route = "[[route]]\nname = \"hello\"\npath = \"/\"\nservice = \"hello\"\n";
        place.config(engine).more(&hello).more(route).more(more)
    };
    let admin = |words: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_ringway"));
        let socket = place.dir.path().join("admin.sock");
        let ended = command.arg("admin").args(words).arg("--socket").arg(socket).output().expect("it runs");
        (ended.status.success(), String::from_utf8_lossy(&[ended.stdout, ended.stderr].concat()).into_owned())
    };
    let body = |gateway: &Gateway| gateway.connect().get("/").text().to_owned();
    // The second one says it in a file that it includes, and that is gone by then.
    let included = place.dir.path().join("included.toml");
    std::fs::write(&included, "[service.beside]\ntype = \"respond\"\nbody = \"beside\"\n").expect("it is written");
    let second = says("second", "[[route]]\nname = \"beside\"\npath = \"/beside\"\nservice = \"beside\"\n");
    let mut gateway = says("first", "").start();
    let text = format!("include = \"{}\"\n{}", included.display(), second.text());
    std::fs::write(gateway.file(), text).expect("the config is written");
    gateway.child.signal(Signal::HUP);
    assert!(gateway.child.says("plan ").contains("plan 1 -> 2"));
    assert_eq!(
        (body(&gateway), gateway.connect().get("/beside").text().to_owned()),
        ("second".to_owned(), "beside".to_owned())
    );
    gateway.run(&says("third", ""));
    std::fs::remove_file(&included).expect("it is there");
    // Number, when it began to run and what it changed, of each plan.
    let history = || {
        let answer = place.ask("/v1/plans");
        let body = answer.split_once("\r\n\r\n").expect("a head").1;
        let told: serde_json::Value = serde_json::from_str(body).expect("JSON");
        let plans = told["plans"].as_array().expect("plans").iter().cloned();
        plans
            .map(|mut plan| {
                plan.as_object_mut().expect("a plan").remove("runs");
                plan
            })
            .collect::<Vec<_>>()
    };
    let mut before = history();
    assert_eq!(before.len(), 3);
    for _ in 0..2 {
        let new = take_over(&says("fourth", ""));
        assert_eq!(std::mem::replace(&mut gateway, new).child.wait().exit.code(), Some(0));
        let after = history();
        assert_eq!(after[..before.len()], before[..], "all of it goes over");
        assert_eq!(after.len(), before.len() + 1);
        before = after;
    }
    assert_eq!(body(&gateway), "fourth");
    let (is_done, said) = admin(&["rollback", "2"]);
    assert!(is_done && said.contains("back to 2"), "{said}");
    assert_eq!(
        (body(&gateway), gateway.connect().get("/beside").text().to_owned()),
        ("second".to_owned(), "beside".to_owned())
    );
    let (is_done, said) = admin(&["rollback", "1"]);
    assert!(is_done, "{said}");
    assert_eq!(body(&gateway), "first");
    assert!(!admin(&["rollback", "9"]).0);
    assert_eq!(gateway.stop().exit.code(), Some(0));
}

fn drained_endpoints_stay_drained_and_plans_count_on(engine: Engine) {
    let (place, origin, other) = (Place::new(), echo(), echo());
    let config = place.config(engine).origin(&origin).origin(&other);
    let gateway = config.start();
    assert!(gateway.reload(&config.clone().limits("headers = 50")).contains("plan 1 -> 2"));
    let socket = place.dir.path().join("admin.sock");
    let mut admin = std::process::Command::new(env!("CARGO_BIN_EXE_ringway"));
    let words = ["admin", "drain", "origin", &other.address.to_string(), "--socket"].map(str::to_owned);
    assert!(admin.args(words).arg(&socket).status().expect("it runs").success());
    let new = take_over(&config);
    assert_eq!(gateway.child.wait().exit.code(), Some(0));
    let plan = place.ask("/v1/plan");
    assert!(plan.contains("\"epoch\":3"), "{plan}");
    let upstreams = place.ask("/v1/upstreams");
    assert_eq!(upstreams.matches("\"drained\":true").count(), 1, "{upstreams}");
    drop(new);
}

fn the_history_of_health_pages_goes_over(engine: Engine) {
    let place = Place::new();
    let config = place.config(engine).more(&format!(
        "[service.health]\ntype = \"health\"\nchecks = [{{ name = \"gone\", tcp = \"{}\", critical = true }}]\n\
         [[route]]\nname = \"health\"\npath = \"/health/{{rest...}}\"\nservice = \"health\"\n",
        Origin::refusing()
    ));
    let changes = |gateway: &Gateway| {
        let mut client = gateway.connect();
        // It waits for the first round.
        assert_eq!(client.get("/health/").status(), 503);
        let told: serde_json::Value = serde_json::from_str(client.get("/health/history").text()).expect("JSON");
        told["changes"].as_array().expect("changes").clone()
    };
    let gateway = config.start();
    let before = changes(&gateway);
    assert_eq!(before.len(), 2, "{before:?}");
    let new = take_over(&config);
    let after = changes(&new);
    assert_eq!(after[after.len() - 2..], before[..], "the newest come first");
    assert_eq!(gateway.child.wait().exit.code(), Some(0));
}
