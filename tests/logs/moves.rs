//! The access log goes elsewhere while requests come, and none is lost.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use rustix::process::Signal;
use serde_json::Value;

use super::Place;
use crate::support::{Client, Engine, Gateway, on_both_engines};

on_both_engines!(
    rotation_by_rename_and_signal_loses_no_line,
    a_reload_that_changes_the_file_and_the_format_loses_no_line,
    an_access_log_comes_and_goes_with_reloads,
    a_file_that_cannot_be_opened_refuses_the_plan,
);

/// A client that asks without a rest until it is told to end.
struct Busy {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

impl Busy {
    fn start(gateway: &Gateway) -> Self {
        let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (told, counted, address) = (stop.clone(), asked.clone(), gateway.address);
        let thread = thread::spawn(move || {
            let mut client = Client::connect(address);
            while !told.load(Ordering::SeqCst) {
                let number = counted.fetch_add(1, Ordering::SeqCst);
                assert_eq!(client.get(&format!("/hello/{number}")).status(), 200);
            }
        });
        Self { stop, asked, thread }
    }

    /// Waits until it has asked some more.
    fn goes_on(&self) {
        let until = self.asked.load(Ordering::SeqCst) + 50;
        while self.asked.load(Ordering::SeqCst) < until {
            assert!(!self.thread.is_finished(), "the client failed");
            thread::yield_now();
        }
    }

    /// How many requests it made.
    fn end(self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().expect("every request is answered");
        self.asked.load(Ordering::SeqCst)
    }
}

/// Room for whatever clients ask while a busy machine keeps the log thread from its work.
const ROOMY: &str = "[log]\nqueue = \"64MiB\"\n";

/// Fails unless these lines have the requests with these numbers, each once.
fn expect_all(mut found: Vec<usize>, asked: usize) {
    found.sort_unstable();
    assert_eq!(found, (0..asked).collect::<Vec<_>>());
}

fn numbers(lines: &[Value]) -> Vec<usize> {
    let number = |line: &Value| line["path"].as_str()?.strip_prefix("/hello/")?.parse().ok();
    lines.iter().map(|line| number(line).unwrap_or_else(|| panic!("{line}"))).collect()
}

fn rotation_by_rename_and_signal_loses_no_line(engine: Engine) {
    let place = Place::new();
    let gateway = place.logged(engine, "log", "").more(ROOMY).data(2).start();
    let busy = [Busy::start(&gateway)];
    let names: Vec<String> = (0..5).map(|number| format!("log.{number}")).collect();
    for name in &names {
        busy.iter().for_each(Busy::goes_on);
        fs::rename(place.file("log"), place.file(name)).expect("it is moved");
        busy.iter().for_each(Busy::goes_on);
        gateway.child.signal(Signal::USR1);
        gateway.child.says("is open anew");
    }
    let asked = busy.into_iter().map(Busy::end).sum();
    let said = gateway.stop().errors;
    assert_eq!(place.total("ringway_access_log_dropped_total"), 0, "{said}");
    let all = names.iter().map(String::as_str).chain(["log"]).flat_map(|name| numbers(&place.lines(name)));
    expect_all(all.collect(), asked);
}

fn a_reload_that_changes_the_file_and_the_format_loses_no_line(engine: Engine) {
    let place = Place::new();
    let gateway = place.logged(engine, "a", "").more(ROOMY).start();
    let busy = Busy::start(&gateway);
    // Until the log thread, which may get no CPU for a while, has come to that file.
    let until_in = |name: &str| {
        while place.text(name).is_empty() {
            busy.goes_on();
        }
    };
    until_in("a");
    gateway.run(&place.logged(engine, "b", "").more(ROOMY));
    until_in("b");
    gateway.run(&place.logged(engine, "c", "format = \"combined\"").more(ROOMY));
    until_in("c");
    let asked = busy.end();
    let said = gateway.stop().errors;
    assert_eq!(place.total("ringway_access_log_dropped_total"), 0, "{said}");
    let combined = place.text("c");
    let of_combined = combined.lines().filter_map(|line| line.split_once("/hello/")?.1.split_once(' ')?.0.parse().ok());
    let of_json = [place.lines("a"), place.lines("b")].concat();
    assert!(!place.lines("a").is_empty() && !place.lines("b").is_empty() && !combined.is_empty());
    expect_all(numbers(&of_json).into_iter().chain(of_combined).collect(), asked);
}

fn an_access_log_comes_and_goes_with_reloads(engine: Engine) {
    let place = Place::new();
    let without = place.config(engine);
    let gateway = without.start();
    let mut client = gateway.connect();
    assert_eq!(client.get("/hello/0").status(), 200);
    assert!(!place.file("log").exists());
    let said = gateway.run(&place.logged(engine, "log", ""));
    assert!(said.contains("access_log"), "{said}");
    assert_eq!(client.get("/hello/1").status(), 200);
    gateway.run(&without);
    assert_eq!(client.get("/hello/2").status(), 200);
    drop(client);
    gateway.stop();
    assert_eq!(numbers(&place.lines("log")), [1]);
}

fn a_file_that_cannot_be_opened_refuses_the_plan(engine: Engine) {
    let place = Place::new();
    let gateway = place.logged(engine, "log", "").start();
    let said = gateway.reload(&place.logged(engine, "none/log", ""));
    assert!(said.contains("kept plan 1: access_log.to: ") && said.contains("No such file"), "{said}");
    // The log goes on where it was, and so it does when the place of the file is gone.
    let mut client = gateway.connect();
    assert_eq!(client.get("/hello/0").status(), 200);
    fs::create_dir(place.file("old")).expect("a directory");
    fs::rename(place.file("log"), place.file("old/log")).expect("it is moved");
    fs::create_dir(place.file("log")).expect("a directory in its place");
    gateway.child.signal(Signal::USR1);
    gateway.child.says("access log goes on in the file that was moved away");
    assert_eq!(client.get("/hello/1").status(), 200);
    drop(client);
    gateway.stop();
    assert_eq!(numbers(&place.lines("old/log")), [0, 1]);
    // And at the start it is a failure.
    let (child, _dir) = place.logged(engine, "none/log", "").spawn();
    let ended = child.wait();
    assert_eq!(ended.exit.code(), Some(3));
    assert!(ended.errors.contains("ringway: error: access_log.to: "), "{}", ended.errors);
}
