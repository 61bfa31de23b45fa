//! What a pool takes over from the one of the plan before.

use ringway_runtime::engine::sim::World;

use super::*;
use crate::observe::{Names, PlanNames};
use crate::plan::Plan;

fn plan(endpoints: &str) -> Plan {
    let text = format!(
        "[listener.web]\naddress = \"127.0.0.1:0\"\n[upstream.u]\nendpoints = [{endpoints}]\n\
         retry = {{ hedge = {{ after = \"10ms\" }} }}\ntls = {{ verify = false }}\n\
         [[route]]\nname = \"r\"\npath = \"/\"\nupstream = \"u\"\n"
    );
    let mut resolve = |_: &str, _: u16| Err("only addresses".to_owned());
    crate::config::compile("test", &text, 1, &mut resolve).unwrap_or_else(|report| panic!("{report}")).0
}

/// Every field is named here, so that nobody adds one without a thought to what becomes of it when plans change.
#[test]
fn all_that_is_counted_goes_on() {
    let world = World::new(1);
    let engine = world.node("gateway").unwrap();
    let (metrics, records) = (Rc::new(Metrics::in_memory().unwrap()), Rc::new(Recorder::to_nobody()));
    let mut names = Names::default();
    let mut pool = |endpoints: &str, before: Option<&Rc<Pool>>| {
        let plan = plan(endpoints);
        let (slots, new) = names.take_up(&PlanNames::from(&plan)).unwrap();
        if let Some(new) = new {
            metrics.add_segment(new.in_memory());
        }
        let series = metrics.series(&Arc::new(slots)).upstream(0);
        let shared = Shared::new(&plan.upstreams[0], before.map(|before| before.shared()));
        let before = before.map(|before| &**before);
        Pool::new(&engine, &shared, &metrics, series, &records, &LayerRoom::default(), before).unwrap()
    };
    let before = pool("\"10.0.0.1:80\", \"10.0.0.2:80\"", None);
    let after = pool("\"10.0.0.9:80\", \"10.0.0.2:80\"", Some(&before));
    let Pool {
        budget,
        hedging,
        whole,
        lines,
        secure,
        // What they take over is for them to say.
        balancer: _,
        // Those of the core.
        engine: _,
        metrics: _,
        records: _,
        // From the plan, and from its names.
        upstream: _,
        http2: _,
        series: _,
        // Of this pool's own life: its tasks, and whether plans still have it.
        looks_for_room: _,
        retired: _,
        judges: _,
        is_settled: _,
        checkers: _,
    } = &*after;
    assert!(Rc::ptr_eq(budget, &before.budget) && Rc::ptr_eq(whole, &before.whole));
    // With the sessions it knows.
    let secures = secure.as_ref().zip(before.secure.as_ref());
    assert!(secures.is_some_and(|(after, before)| Rc::ptr_eq(after, before)));
    let hedgings = hedging.as_ref().zip(before.hedging.as_ref());
    assert!(hedgings.is_some_and(|(after, before)| Rc::ptr_eq(after, before)));
    assert!(Rc::ptr_eq(&lines[1], &before.lines[1]) && !Rc::ptr_eq(&lines[0], &before.lines[0]));
}
