//! A process that does not take over after all leaves the gateway as it was.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use rustix::process::Signal;

use super::{Place, echo, take_over};
use crate::support::{Engine, Gateway, Origin, PATIENCE, on_both_engines};

on_both_engines!(
    a_bad_config_ends_the_new_process_alone,
    a_process_that_dies_before_it_accepts_changes_nothing,
    a_process_that_takes_too_long_is_given_up,
    killed_in_the_middle_the_new_process_leaves_the_old_one,
    without_a_gateway_there_is_nothing_to_take_over,
    no_other_version_is_handed_over_to,
);

fn still_serves(gateway: &Gateway, place: &Place) {
    for _ in 0..10 {
        assert_eq!(gateway.connect().get("/").status(), 200);
    }
    assert!(place.ask("/metrics").contains("ringway_requests_total"));
    // Plans can be changed again.
    gateway.child.signal(Signal::HUP);
    gateway.child.says("plan ");
}

fn a_bad_config_ends_the_new_process_alone(engine: Engine) {
    let (place, origin) = (Place::new(), echo());
    let config = place.config(engine).origin(&origin);
    let gateway = config.start();
    for (bad, code) in [
        (config.clone().limits("haeders = 5"), 1),
        // What only fails once it has the sockets.
        (config.clone().more("[listener.more]\naddress = \"192.0.2.1:1\"\n"), 3),
        (config.clone().cores("control = 4000"), 3),
    ] {
        let (child, _dir) = bad.flag("--take-over").spawn();
        let ended = child.wait();
        assert_eq!(ended.exit.code(), Some(code), "{}", ended.errors);
        still_serves(&gateway, &place);
    }
    let new = take_over(&config);
    assert_eq!(gateway.child.wait().exit.code(), Some(0));
    assert_eq!(new.connect().get("/").status(), 200);
}

/// Asks to take over, as a process does, and takes what it is offered.
fn ask(place: &Place, hello: &str) -> (UnixStream, String) {
    let mut stream = UnixStream::connect(place.socket()).expect("the upgrade socket answers");
    stream.set_read_timeout(Some(PATIENCE)).expect("a deadline");
    stream.write_all(&(hello.len() as u32).to_le_bytes()).expect("it goes out");
    stream.write_all(hello.as_bytes()).expect("it goes out");
    let mut length = [0; 4];
    stream.read_exact(&mut length).expect("an answer");
    let mut answer = vec![0; u32::from_le_bytes(length) as usize];
    stream.read_exact(&mut answer).expect("an answer");
    (stream, String::from_utf8(answer).expect("text"))
}

fn a_process_that_dies_before_it_accepts_changes_nothing(engine: Engine) {
    let (place, origin) = (Place::new(), echo());
    let config = place.config(engine).origin(&origin);
    let gateway = config.start();
    for _ in 0..3 {
        let (stream, offer) = ask(&place, "{\"version\":1}");
        assert!(offer.contains("\"doors\":[{"), "{offer}");
        gateway.child.says("is to take over");
        gateway.child.signal(Signal::HUP);
        assert!(gateway.child.says("kept plan").contains("an upgrade is under way"));
        drop(stream);
        gateway.child.says("this process goes on");
        still_serves(&gateway, &place);
    }
    let _new = take_over(&config);
    assert_eq!(gateway.child.wait().exit.code(), Some(0));
}

fn a_process_that_takes_too_long_is_given_up(engine: Engine) {
    let (place, origin) = (Place::new(), echo());
    let gateway = place.config_with(engine, "upgrade_timeout = \"100ms\"").origin(&origin).start();
    let (mut stream, _) = ask(&place, "{\"version\":1}");
    gateway.child.says("did not accept within 100ms");
    // It is too late to accept.
    let _ = stream.write_all(b"\x0f\x00\x00\x00{\"accepts\":[0]}");
    still_serves(&gateway, &place);
}

fn killed_in_the_middle_the_new_process_leaves_the_old_one(engine: Engine) {
    let (place, origin) = (Place::new(), echo());
    let config = place.config(engine).data(2).origin(&origin);
    let mut gateway = config.start();
    let mut survived = 0;
    for _ in 0..5 {
        let (new, _dir) = config.clone().flag("--take-over").spawn();
        // It has the sockets, and starts its cores.
        gateway.child.says("is to take over");
        new.signal(Signal::KILL);
        assert_eq!(new.wait().exit.code(), None);
        // Either way the line has this word.
        if gateway.child.says(" this ").contains("this process goes on") {
            still_serves(&gateway, &place);
            survived += 1;
        } else {
            // It was quicker than the kill: then it was the gateway.
            gateway = config.start();
        }
    }
    assert!(survived > 0, "none was killed in the middle");
    let _new = take_over(&config);
    assert_eq!(gateway.child.wait().exit.code(), Some(0));
}

fn without_a_gateway_there_is_nothing_to_take_over(engine: Engine) {
    let place = Place::new();
    let config = place.config(engine).endpoint(Origin::refusing()).flag("--take-over");
    let (child, _dir) = config.spawn();
    let ended = child.wait();
    assert_eq!(ended.exit.code(), Some(3));
    assert!(ended.errors.contains("no gateway that could be taken over answers"), "{}", ended.errors);
    let (child, _dir) = crate::support::Config::new(engine).endpoint(Origin::refusing()).flag("--take-over").spawn();
    let ended = child.wait();
    assert_eq!(ended.exit.code(), Some(1));
    assert!(ended.errors.contains("--take-over needs control.upgrade_socket"), "{}", ended.errors);
}

fn no_other_version_is_handed_over_to(engine: Engine) {
    let (place, origin) = (Place::new(), echo());
    let gateway = place.config(engine).origin(&origin).start();
    for hello in ["{\"version\":2}", "{}", "[]"] {
        let (_, answer) = ask(&place, hello);
        assert!(answer.contains("refused"), "{answer}");
    }
    // Who says nothing that makes sense is hung up on.
    let mut stream = UnixStream::connect(place.socket()).expect("the upgrade socket answers");
    stream.write_all(&[0xff; 64]).expect("it goes out");
    assert!(!stream.read(&mut [0]).is_ok_and(|read| read > 0));
    still_serves(&gateway, &place);
}
