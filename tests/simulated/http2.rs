//! HTTP/2 between two gateways: the outer one asks the inner one over few connections, in front of origins that do everything
//! wrong by turns. Both sides of the protocol meet all of it at once: every request has an answer, it is its own, no task is
//! stuck, and what was taken is given back.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use ringway_runtime::engine::sim::{Faults, explore};

use super::faults::{CORES, ORIGINS, OTHER, Origin, SECOND, ask, count};
use super::{Gateway, seeds, with_listener};

/// What an upstream may have beside its endpoints, as a draw has it.
const KEYS: [&str; 4] = [
    "",
    "retry = { attempts = 4, on = [\"connect\", \"reset\", \"timeout\", \"5xx\"], per_try = \"300ms\", \
     non_idempotent = true }\n",
    // Few streams on a connection, and little on a stream.
    "http2 = { max_concurrent_streams = 1 }\n",
    "breaker = { min_requests = 4, open_for = \"200ms\" }\npool = { max_connections = 2 }\n",
];

#[test]
fn every_request_through_two_gateways_has_its_own_answer_and_nothing_is_left_over() {
    let total: RefCell<BTreeMap<String, u32>> = RefCell::default();
    explore(seeds(60), |world| {
        let dice = world.node("dice").unwrap();
        if dice.random().is_multiple_of(2) {
            world.set_faults(Faults::rough());
        }
        let cut = Rc::default();
        let origins: Vec<String> = (0..ORIGINS).map(|at| format!("\"{}\"", Origin::start(world, at, &cut))).collect();
        let config = |endpoints: &str, seconds: u32, keys: &str| {
            with_listener(&format!(
                "[upstream.u]\nendpoints = [{endpoints}]\n\
                 timeout = {{ connect = \"500ms\", first_byte = \"{seconds}s\", total = \"5s\" }}\n\
                 {keys}[[route]]\nname = \"all\"\npath = \"/{{rest...}}\"\nupstream = \"u\"\n"
            ))
        };
        let tasks = world.tasks();
        let draw = |most: usize| dice.random() as usize % most;
        let inner_plan = config(&origins.join(", "), 1, KEYS[draw(2)]);
        let inner = Gateway::start_at(world, "inner", CORES, inner_plan);
        let keys = format!("protocol = \"h2\"\n{}", KEYS[draw(KEYS.len())]);
        let outer = Gateway::start_plan(world, CORES, config(&format!("\"{}\"", inner.address), 2, &keys));
        count(ask(world, &outer, None), &cut, &mut total.borrow_mut());
        let mut cores = Vec::new();
        for gateway in [outer, inner] {
            // A plan without the upstream: connections that are kept close.
            gateway.change(world, 2, OTHER);
            cores.extend(gateway.cores.clone());
            assert!(gateway.drain(world).iter().all(|ended| ended.cut == 0), "a connection had to be cut");
        }
        // Longer than any origin sleeps, and than what is left of an answer may take.
        world.run_for(60 * SECOND).unwrap();
        for core in &cores {
            assert_eq!((core.pool().leased(), core.stats().streams), (0, 0), "buffers and connections");
        }
        // Two tasks of each core end with the process.
        assert_eq!((world.connections(), world.tasks()), (0, tasks + 4 * CORES), "connections and tasks");
    });
    let total = total.borrow();
    println!("{total:?}");
    assert!(total["200"] > 500, "{total:?}");
}
