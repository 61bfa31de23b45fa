//! What a balancer takes over from the one of the plan before.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use super::*;

const ENDPOINTS: &str = "{ address = \"10.0.0.1:80\", priority = 1 }, \"10.0.0.2:80\", \"10.0.0.3:80\"";

fn bounded(endpoints: &str, failover: &str) -> Arc<Upstream> {
    upstream(&format!(
        "balance = {{ type = \"maglev\", max_load = 120 }}\nfailover = {{ {failover} }}\nendpoints = [{endpoints}]"
    ))
}

fn next(upstream: &Arc<Upstream>, before: &Balancer) -> Balancer {
    Balancer::new(&Shared::new(upstream, Some(before.shared())), 8, now(), Some(before))
}

/// Every field is named here, so that nobody adds one without a thought to what becomes of it when plans change.
#[test]
fn all_that_is_counted_or_learned_goes_on() {
    let before = balancer(&bounded(ENDPOINTS, ""));
    before.mean.set(5.0);
    let after = next(&bounded(&format!("\"10.0.0.9:80\", {ENDPOINTS}"), ""), &before);
    let Balancer {
        locals,
        mean,
        // What shared state goes on is for it to say.
        shared: _,
        // From the plan alone.
        upstream: _,
        decay: _,
        counts_requests: _,
        has_limits: _,
        has_breakers: _,
        // From what is known of the endpoints.
        layouts: _,
        seen: _,
        ramps: _,
        // Drawn anew, so that not all turns begin at the same endpoint.
        seat: _,
        random: _,
    } = &after;
    assert!(before.locals.iter().zip(&locals[1..]).all(|(before, after)| Rc::ptr_eq(before, after)));
    assert_eq!(mean, &Cell::new(5.0));
}

#[test]
fn requests_under_way_count_for_the_bound_of_the_next_plan() {
    let before = balancer(&bounded(ENDPOINTS, ""));
    let under_way: Vec<_> = (0..40).map(|number| before.pick(&key(number), now()).unwrap()).collect();
    // One more, and another zone: the groups are in another order and of other members.
    let more = format!("{ENDPOINTS}, {{ address = \"10.0.0.4:80\", priority = 2, zone = \"b\" }}, \"10.0.0.5:80\"");
    let after = next(&bounded(&more, ""), &before);
    assert_eq!((0..3).map(|group| after.shared().in_group(group)).collect::<Vec<_>>(), [40, 0, 0]);
    let picked = after.pick(&key(1), now()).unwrap();
    assert_eq!((after.shared().in_group(0), before.shared().in_group(0)), (41, 41));
    after.end(picked, Outcome::Unknown, now());
    for picked in under_way {
        before.end(picked, Outcome::Unknown, now());
    }
    assert_eq!((after.shared().in_group(0), before.shared().in_group(0)), (0, 0));
}

#[test]
fn groups_are_the_same_by_subset_priority_and_nearness() {
    let near = |zone: &str| {
        let endpoints = "{ address = \"10.0.0.1:80\", zone = \"a\" }, { address = \"10.0.0.2:80\", zone = \"b\" }";
        bounded(endpoints, &format!("zone = \"{zone}\""))
    };
    let before = balancer(&near("a"));
    let picked = before.pick(&key(1), now()).unwrap();
    assert_eq!((before.shared().in_group(0), before.shared().in_group(1)), (1, 0));
    // Who was near is far now; the near group goes on as such.
    let after = next(&near("b"), &before);
    assert_eq!((after.shared().in_group(0), after.shared().in_group(1)), (1, 0));
    before.end(picked, Outcome::Unknown, now());
    assert_eq!(after.shared().in_group(0), 0);
}
