//! Many plans, many requests: none is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use rustix::process::Signal;

use crate::support::{Client, Config, Engine, Gateway, Origin, on_both_engines};

on_both_engines!(
    no_request_is_lost_whatever_plans_come,
    signals_that_come_together_end_in_the_last_config,
    a_thousand_plans_leave_no_more_behind_than_ten,
);

/// Configs that differ in everything a reload can change but the listener.
fn config(engine: Engine, origins: &[Origin; 2], turn: usize) -> Config {
    let at = turn % 2;
    Config::new(engine)
        .data(2)
        .origin(&origins[at])
        .limits(&format!("headers = {}", 50 + at))
        .upstream(&format!("pool = {{ max_idle = {} }}", 10 + turn % 3))
        .route(&format!("policies = [{{ type = \"headers\", request = {{ set = {{ x-turn = \"{turn}\" }} }} }}]"))
        .more(&format!("[[route]]\nname = \"turn-{}\"\npath = \"/turn/{turn}\"\nupstream = \"origin\"\n", turn % 4))
}

/// Answers with the method and path.
fn origin() -> Origin {
    let (origin, _) = Origin::serve(|request, upstream| {
        let body = request.head.line.clone();
        upstream.try_send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes())
    });
    origin
}

/// Requests until told to stop; returns how many. Any that fails, fails the test.
fn ask(
    gateway: &Gateway,
    stop: &Arc<AtomicBool>,
    asked: &Arc<AtomicUsize>,
    per_connection: usize,
) -> thread::JoinHandle<()> {
    let (address, stop, asked) = (gateway.address, stop.clone(), asked.clone());
    thread::spawn(move || {
        while !stop.load(Ordering::SeqCst) {
            let mut client = Client::connect(address);
            for at in 0..per_connection {
                let close = if at + 1 == per_connection { "Connection: close\r\n" } else { "" };
                client.send(format!("GET /{at} HTTP/1.1\r\nHost: test\r\n{close}\r\n"));
                let answer = client.response();
                assert_eq!((answer.status(), answer.text()), (200, &*format!("GET /{at} HTTP/1.1")));
                asked.fetch_add(1, Ordering::SeqCst);
            }
            client.expect_end();
        }
    })
}

fn no_request_is_lost_whatever_plans_come(engine: Engine) {
    const PLANS: usize = 40;
    let origins = [origin(), origin()];
    let gateway = config(engine, &origins, 0).start();
    let (stop, asked) = (Arc::default(), Arc::default());
    let threads: Vec<_> = [1, 3, 50, 1000].map(|each| ask(&gateway, &stop, &asked, each)).into();
    for turn in 1..=PLANS {
        let said = gateway.run(&config(engine, &origins, turn));
        assert!(said.contains(&format!("plan {turn} -> {}", turn + 1)), "{said}");
    }
    stop.store(true, Ordering::SeqCst);
    for thread in threads {
        thread.join().expect("no request failed");
    }
    assert!(asked.load(Ordering::SeqCst) > PLANS, "the plans met requests");
    assert_eq!(gateway.stop().exit.code(), Some(0));
}

fn signals_that_come_together_end_in_the_last_config(engine: Engine) {
    let say = |text: &str| {
        Config::new(engine).more(&format!(
            "[service.hello]\ntype = \"respond\"\nbody = \"{text}\"\n\
             [[route]]\nname = \"hello\"\npath = \"/hello\"\nservice = \"hello\"\n"
        ))
    };
    let gateway = say("first").start();
    for round in 0..10 {
        let text = format!("round {round}");
        std::fs::write(gateway.file(), say("between").text()).unwrap();
        gateway.child.signal(Signal::HUP);
        std::fs::write(gateway.file(), say(&text).text()).unwrap();
        gateway.child.signal(Signal::HUP);
        let mut client = gateway.connect();
        // At least one reload follows the last signal; the one before it may have been cut short by the write.
        while client.get("/hello").text() != text {
            gateway.child.says("plan ");
        }
    }
}

fn a_thousand_plans_leave_no_more_behind_than_ten(engine: Engine) {
    let origins = [origin(), origin()];
    let gateway = config(engine, &origins, 0).start();
    // A client that stays, and one request on each plan.
    let mut client = gateway.connect();
    let mut turns = 1..;
    let mut run = |plans: usize| {
        for turn in turns.by_ref().take(plans) {
            gateway.run(&config(engine, &origins, turn));
            assert_eq!(client.get("/").status(), 200);
        }
        (gateway.child.resident(), gateway.child.descriptors())
    };
    // As many as the history keeps.
    let (memory, descriptors) = run(10);
    let (memory_after, descriptors_after) = run(990);
    println!("{memory} bytes after 10 plans, {memory_after} after 1,000");
    assert_eq!(descriptors_after, descriptors);
    // A plan of this test takes some 20 KiB: a thousand would be far more than this.
    assert!(memory_after < memory + (2 << 20), "{memory} bytes, then {memory_after}");
}
