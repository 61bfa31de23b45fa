//! What becomes of connections when the gateway reloads, ends or hands over.

use super::{BINARY, CLOSE, FIN, TEXT, c, code, open, request, s, switch};
use crate::support::{Config, Engine, Origin, on_both_engines};

on_both_engines!(
    a_connection_outlives_reloads_that_leave_it_be,
    a_connection_whose_route_goes_is_closed,
    a_connection_whose_endpoint_goes_is_closed,
    a_connection_whose_settings_change_is_closed,
    a_connection_whose_listener_goes_is_closed,
    a_gateway_that_ends_closes_its_connections,
);

const SOON: &str = "websocket = { drain = \"50ms\" }";

fn a_connection_outlives_reloads_that_leave_it_be(engine: Engine) {
    let origin = Origin::listen();
    let config = Config::new(engine).origin(&origin).route(SOON);
    let gateway = config.start();
    let mut open = open(&gateway, &origin);
    open.down(&s(FIN | BINARY, [1; 100])[..50]);
    let other = "[[route]]\nname = \"first\"\npath = \"/first\"\nupstream = \"origin\"\n";
    for (round, config) in
        [config.clone().more(other), config.clone().timeouts("head = \"3s\""), config].iter().enumerate()
    {
        gateway.run(config);
        open.up(c(FIN | TEXT, format!("round {round}")));
    }
    open.down(&s(FIN | BINARY, [1; 100])[50..]);
    open.up(c(FIN | CLOSE, code(1000)));
    open.down(s(FIN | CLOSE, code(1000)));
    open.upstream.finish();
    open.client.expect_end();
}

fn a_connection_whose_route_goes_is_closed(engine: Engine) {
    let origin = Origin::listen();
    let config = Config::new(engine).origin(&origin).route(SOON);
    let gateway = config.start();
    let first = open(&gateway, &origin);
    gateway.run(&config.clone().route("path = \"/other\""));
    first.expect_closed(1001, 1001);
}

fn a_connection_whose_endpoint_goes_is_closed(engine: Engine) {
    let (origin, other) = (Origin::listen(), Origin::listen());
    let config = Config::new(engine).route(SOON);
    let gateway = config.clone().origin(&origin).start();
    let mut stays = open(&gateway, &origin);
    gateway.run(&config.clone().origin(&other).origin(&origin));
    stays.up(c(FIN | TEXT, "its endpoint is another one of the list now"));
    gateway.run(&config.clone().origin(&other));
    stays.expect_closed(1001, 1001);
}

fn a_connection_whose_settings_change_is_closed(engine: Engine) {
    let origin = Origin::listen();
    let config = Config::new(engine).origin(&origin);
    let gateway = config.clone().route(SOON).start();
    let open = open(&gateway, &origin);
    gateway.run(&config.route("websocket = { drain = \"50ms\", max_message = \"1KiB\" }"));
    open.expect_closed(1001, 1001);
}

fn a_connection_whose_listener_goes_is_closed(engine: Engine) {
    let origin = Origin::listen();
    let config = Config::new(engine).origin(&origin).route(SOON);
    let second = "[listener.second]\naddress = \"127.0.0.1:0\"\n";
    let gateway = config.clone().more(second).start();
    let mut client = crate::support::Client::connect(gateway.addresses[1]);
    client.send(request(""));
    let mut upstream = origin.accept();
    upstream.head();
    upstream.send(switch(""));
    assert_eq!(client.head().status(), 101);
    gateway.run(&config);
    super::Open { client, upstream }.expect_closed(1001, 1001);
}

fn a_gateway_that_ends_closes_its_connections(engine: Engine) {
    let origin = Origin::listen();
    let gateway = Config::new(engine).origin(&origin).route(SOON).start();
    let (first, mut second) = (open(&gateway, &origin), open(&gateway, &origin));
    let frame = s(FIN | TEXT, "it has begun and so it ends");
    second.down(&frame[..10]);
    gateway.terminate();
    first.expect_closed(1001, 1001);
    assert_eq!(second.upstream_reads(), (FIN | CLOSE, code(1001)));
    second.down(&frame[10..]);
    assert_eq!(second.client_reads(), (FIN | CLOSE, code(1001)));
    second.upstream.finish();
    assert!(second.client.rest_or_reset().0.is_empty());
    assert_eq!(gateway.child.wait().exit.code(), Some(0));
}
