//! What keeps the plan that runs, and what is said then.

use std::net::TcpListener;

use rustix::process::Signal;

use crate::support::{Config, Engine, Gateway, Origin, on_both_engines};

on_both_engines!(
    a_bad_config_keeps_the_plan_and_gets_the_report_of_check,
    a_file_that_is_gone_keeps_the_plan,
    a_port_in_use_keeps_the_plan_and_names_its_holder,
    what_needs_a_restart_keeps_the_plan_and_is_named,
    a_reload_while_the_gateway_drains_is_refused,
);

const HELLO: &str = "[service.hello]\ntype = \"respond\"\nbody = \"hello\"\n\
                     [[route]]\nname = \"hello\"\npath = \"/hello\"\nservice = \"hello\"\n";

fn expect_as_before(gateway: &Gateway) {
    assert_eq!(gateway.connect().get("/hello").text(), "hello");
}

fn a_bad_config_keeps_the_plan_and_gets_the_report_of_check(engine: Engine) {
    let good = Config::new(engine).more(HELLO);
    let gateway = good.clone().start();
    let said = gateway.reload(&good.clone().limits("bdy = \"1B\"").more("[[route]]\nname = \"x\"\n"));
    assert!(said.contains("unknown key `bdy`") && said.contains("did you mean `body`?"), "{said}");
    assert!(said.contains("ringway.toml:"), "places are named: {said}");
    assert!(
        said.lines().last().is_some_and(|line| line.starts_with("ringway: kept plan 1: the config has ")),
        "{said}"
    );
    expect_as_before(&gateway);
    // The next good one is taken.
    assert!(gateway.run(&good).contains("no change"));
    assert_eq!(gateway.stop().exit.code(), Some(0));
}

fn a_file_that_is_gone_keeps_the_plan(engine: Engine) {
    let gateway = Config::new(engine).more(HELLO).start();
    std::fs::remove_file(gateway.file()).unwrap();
    gateway.child.signal(Signal::HUP);
    let said = gateway.child.says("kept plan");
    assert!(said.contains("cannot be read: ") && said.ends_with("kept plan 1: the config cannot be read\n"), "{said}");
    expect_as_before(&gateway);
}

fn a_port_in_use_keeps_the_plan_and_names_its_holder(engine: Engine) {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let good = Config::new(engine).more(HELLO);
    let gateway = good.clone().start();
    let address = taken.local_addr().unwrap();
    let said = gateway.reload(&good.clone().more(&format!("[listener.second]\naddress = \"{address}\"\n")));
    assert!(
        said.starts_with(&format!("ringway: kept plan 1: listener `second`: cannot listen on {address}")),
        "{said}"
    );
    assert!(said.contains(&format!("process {}", std::process::id())), "{said}");
    expect_as_before(&gateway);
}

fn what_needs_a_restart_keeps_the_plan_and_is_named(engine: Engine) {
    let good = Config::new(engine).more(HELLO);
    let gateway = good.clone().start();
    let said = gateway.reload(&good.clone().cores("busy_poll = \"10us\"\nread_ahead = \"128KiB\""));
    assert_eq!(
        said,
        "ringway: kept plan 1: a change of cores.busy_poll, cores.read_ahead takes an upgrade or a restart\n"
    );
    expect_as_before(&gateway);
    // These need none.
    gateway.run(&good.clone().cores("drain_timeout = \"1s\"").limits("connections = 10"));
}

fn a_reload_while_the_gateway_drains_is_refused(engine: Engine) {
    let origin = Origin::listen();
    let config = Config::new(engine).origin(&origin);
    let gateway = config.clone().start();
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut upstream = origin.accept();
    upstream.request();
    let mut idle = gateway.connect();
    idle.send("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    idle.response();
    gateway.terminate();
    idle.expect_end();
    gateway.child.signal(Signal::HUP);
    assert_eq!(gateway.child.says("kept plan"), "ringway: kept plan 1: the gateway drains\n");
    upstream.answer("done");
    assert_eq!(client.response().text(), "done");
    drop((client, idle));
    assert_eq!(gateway.child.wait().exit.code(), Some(0));
}
