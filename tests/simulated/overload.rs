//! A gateway that is asked for more than it may do at once.

use ringway_runtime::engine::sim::{World, explore};

use super::Gateway;
use super::http::origin;
use super::rough::ask;

fn start(world: &World) -> Gateway {
    let origin = origin(world, "origin");
    Gateway::start(
        world,
        1,
        &format!(
            "[limits]\nrequests = 8\n[upstream.origin]\nendpoints = [\"{origin}\"]\n\
             [[route]]\nname = \"all\"\npath = \"/{{rest...}}\"\nupstream = \"origin\"\n"
        ),
    )
}

#[test]
fn a_rush_is_served_or_shed_and_leaves_nothing_behind() {
    explore(0..10, |world| {
        let gateway = start(world);
        let rush = ask(world, &gateway, 60);
        let rush = rush.borrow();
        let count = |status: &str| rush.get(status).copied().unwrap_or(0);
        assert!(count("200") > 0 && count("503") > 0, "{rush:?}");
        // Some do not even get through the listener's queue.
        assert_eq!(count("200") + count("503") + count("connection refused"), 60 * 12, "{rush:?}");
        // Had one been counted and not discounted, fewer and fewer would be served.
        let calm = ask(world, &gateway, 1);
        assert_eq!(calm.borrow().get("200"), Some(&12), "{calm:?}");
        assert!(gateway.drain(world).iter().all(|end| end.cut == 0));
    });
}
