//! Endpoints from a file, changed in all the ways in which editors and tools change one.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;

use serde_json::json;

use super::{Place, answer, named_origin};
use crate::support::{Config, Engine, on_both_engines};

on_both_engines!(
    each_way_to_change_the_file_is_noticed,
    links_that_are_swapped_are_noticed,
    a_file_that_is_wrong_leaves_the_last_good_set_and_says_where,
    a_set_that_lost_too_many_is_taken_when_somebody_accepts_it,
    a_change_of_endpoints_is_no_change_of_the_config,
    a_file_may_be_such_as_prometheus_reads,
    a_reload_keeps_the_set_and_what_is_new_to_discovery_goes_on_with_its_endpoints,
);

fn text(endpoints: &[SocketAddr]) -> String {
    let all: Vec<String> = endpoints.iter().map(|address| format!("{:?}", address.to_string())).collect();
    format!("endpoints = [{}]\n", all.join(", "))
}

fn discover(place: &Place, more: &str) -> String {
    format!("discover = {{ type = \"file\", path = \"{}\"{more} }}", place.path("e.toml").display())
}

fn each_way_to_change_the_file_is_noticed(engine: Engine) {
    let place = Place::new(engine);
    let (one, two) = (named_origin(), named_origin());
    let (file, beside) = (place.path("e.toml"), place.path("e.toml.new"));
    fs::write(&file, text(&[one.address])).unwrap();
    let gateway = place.config(&discover(&place, ", keep = \"newest\"")).start();
    assert_eq!(answer(&gateway), (200, one.address.to_string()));
    let expect = |said: &str, wanted: &super::Origin| {
        gateway.child.says(&format!("upstream origin: {said} from file"));
        assert_eq!(answer(&gateway), (200, wanted.address.to_string()));
    };
    fs::write(&file, text(&[two.address])).unwrap();
    expect("+1 -1 endpoints", &two);
    // As tools do: all of it under another name, then in the place of the file.
    fs::write(&beside, text(&[one.address])).unwrap();
    fs::rename(&beside, &file).unwrap();
    expect("+1 -1 endpoints", &one);
    // As editors do: the old one becomes a backup.
    fs::rename(&file, place.path("e.toml~")).unwrap();
    fs::write(&file, text(&[two.address])).unwrap();
    expect("+1 -1 endpoints", &two);
    fs::remove_file(&file).unwrap();
    gateway.child.says("nothing from file, its endpoint stays");
    assert_eq!(answer(&gateway), (200, two.address.to_string()));
    fs::write(&file, text(&[one.address])).unwrap();
    expect("+1 -1 endpoints", &one);
    // An empty set is one, too.
    fs::write(&file, "endpoints = []\n").unwrap();
    gateway.child.says("-1 endpoint from file");
    assert_eq!(answer(&gateway), (503, "no_endpoint".to_owned()));
}

fn a_file_may_be_such_as_prometheus_reads(engine: Engine) {
    let (place, one) = (Place::new(engine), named_origin());
    let file = place.path("e.json");
    let groups = json!([{ "targets": [one.address.to_string()], "labels": { "version": "2" } }]);
    fs::write(&file, groups.to_string()).unwrap();
    let gateway = place.config(&format!("discover = {{ type = \"file\", path = \"{}\" }}", file.display())).start();
    assert_eq!(answer(&gateway), (200, one.address.to_string()));
    let seen = &place.get("/v1/upstreams")["upstreams"][0]["endpoints"][0];
    assert_eq!(seen["metadata"], json!({ "version": "2" }));
    fs::write(&file, "[{ \"targets\": [7] }]").unwrap();
    gateway.child.says("nothing from file, its endpoint stays");
    assert_eq!(answer(&gateway), (200, one.address.to_string()));
}

fn links_that_are_swapped_are_noticed(engine: Engine) {
    let place = Place::new(engine);
    let origins = [named_origin(), named_origin()];
    let lay_out = |version: &str, origin: usize| {
        fs::create_dir(place.path(version)).unwrap();
        fs::write(place.path(version).join("e.toml"), text(&[origins[origin].address])).unwrap();
        symlink(version, place.path("..data_new")).unwrap();
        fs::rename(place.path("..data_new"), place.path("..data")).unwrap();
    };
    lay_out("..2025", 0);
    symlink("..data/e.toml", place.path("e.toml")).unwrap();
    let gateway = place.config(&discover(&place, ", keep = \"newest\"")).start();
    assert_eq!(answer(&gateway), (200, origins[0].address.to_string()));
    for (version, origin) in [("..2026", 1), ("..2027", 0)] {
        lay_out(version, origin);
        gateway.child.says("+1 -1 endpoints from file");
        assert_eq!(answer(&gateway), (200, origins[origin].address.to_string()));
    }
}

fn a_file_that_is_wrong_leaves_the_last_good_set_and_says_where(engine: Engine) {
    let place = Place::new(engine);
    let origin = named_origin();
    let file = place.path("e.toml");
    // Not there at the start: the gateway starts, and says why nobody answers.
    let gateway = place.config(&discover(&place, "")).start();
    gateway.child.says("nothing from file, it has no endpoint");
    assert_eq!(answer(&gateway), (503, "no_endpoint".to_owned()));
    assert_eq!(place.source()["state"], "failing");
    fs::write(&file, text(&[origin.address])).unwrap();
    gateway.child.says("+1 endpoint from file");
    assert_eq!(answer(&gateway), (200, origin.address.to_string()));
    fs::write(&file, "endpoints = [\"10.0.0.1:80\",\n  { adress = \"10.0.0.2:80\" }]\n").unwrap();
    let said = gateway.child.says("its endpoint stays");
    assert!(said.contains("e.toml:2:5: error: ") && said.contains("did you mean `address`?"), "{said}");
    assert_eq!(answer(&gateway), (200, origin.address.to_string()));
    let source = place.source();
    assert_eq!((&source["state"], &source["endpoints"]), (&json!("failing"), &json!(1)));
    assert!(source["failure"].as_str().unwrap().contains("unknown key `adress`"), "{source}");
    fs::write(&file, text(&[origin.address])).unwrap();
    gateway.child.says("file answers again");
    assert_eq!(place.source()["state"], "good");
}

fn a_set_that_lost_too_many_is_taken_when_somebody_accepts_it(engine: Engine) {
    let place = Place::new(engine);
    let all: Vec<SocketAddr> = (1..=4).map(|last| SocketAddr::from(([10, 0, 0, last], 80))).collect();
    let file = place.path("e.toml");
    fs::write(&file, text(&all)).unwrap();
    let gateway = place.config(&discover(&place, "")).start();
    assert_eq!(place.names().len(), 4);
    let new = SocketAddr::from(([10, 0, 0, 9], 80));
    fs::write(&file, text(&[all[0], new])).unwrap();
    // What is new gets requests, what is gone still does.
    let said = gateway.child.says("+1 endpoint from file");
    assert!(said.contains("file says 2 endpoints, 3 fewer than it had are kept (max_shrink)"), "{said}");
    assert_eq!(place.names().len(), 5);
    let source = place.source();
    assert_eq!((&source["state"], &source["kept"], &source["shrunk"]), (&json!("kept"), &json!(3), &json!(1)));
    assert_eq!(place.post("/v1/discovery/accept", &json!({ "upstream": "origin" })).0, 200);
    gateway.child.says("upstream origin: -3 endpoints from file");
    assert_eq!(place.names(), ["10.0.0.1:80", "10.0.0.9:80"]);
    assert_eq!(place.post("/v1/discovery/accept", &json!({ "upstream": "origin" })).0, 409);
    assert_eq!(place.post("/v1/discovery/accept", &json!({ "upstream": "other" })).0, 404);
    assert_eq!(place.post("/v1/discovery/refresh", &json!({})).0, 200);
}

fn a_change_of_endpoints_is_no_change_of_the_config(engine: Engine) {
    let place = Place::new(engine);
    let origin = named_origin();
    let other = SocketAddr::from(([10, 0, 0, 1], 80));
    let file = place.path("e.toml");
    fs::write(&file, text(&[origin.address])).unwrap();
    let config = place.config(&discover(&place, ""));
    let gateway = config.start();
    for _ in 0..3 {
        fs::write(&file, text(&[origin.address, other])).unwrap();
        gateway.child.says("+1 endpoint from file");
        fs::write(&file, text(&[origin.address])).unwrap();
        gateway.child.says("-1 endpoint from file");
    }
    assert_eq!(place.get("/v1/plans")["plans"].as_array().unwrap().len(), 1);
    let plan = place.get("/v1/plan");
    assert_eq!((&plan["epoch"], &plan["endpoints_epoch"]), (&json!(1), &json!(7)));
    assert_eq!(place.get("/v1/upstreams")["silent_cores"], json!([]));
    // The next config has a number of its own, and going back is going back to a config.
    let said = gateway.run(&config.clone().limits("body = \"1KiB\""));
    assert!(said.contains("plan 1 -> 8: ~limits"), "{said}");
    fs::write(&file, text(&[origin.address, other])).unwrap();
    gateway.child.says("+1 endpoint from file");
    assert_eq!(place.post("/v1/rollback", &json!({})).1["epoch"], 10);
    assert!(gateway.child.says("plan 8 -> 10 (back to 1)").contains("~limits"));
    // With the endpoints of now, not with those of then.
    assert_eq!(place.names().len(), 2);
}

fn a_reload_keeps_the_set_and_what_is_new_to_discovery_goes_on_with_its_endpoints(engine: Engine) {
    let place = Place::new(engine);
    let (one, two) = (named_origin(), named_origin());
    let fixed = place.config(&format!("endpoints = \"{}\"", one.address));
    let gateway = fixed.start();
    gateway.child.says("admin API at");
    assert_eq!(answer(&gateway), (200, one.address.to_string()));
    // The file is not there yet: nobody is left without an answer.
    let found: Config = place.config(&discover(&place, ", keep = \"newest\""));
    gateway.run(&found);
    gateway.child.says("nothing from file, its endpoint stays");
    assert_eq!(answer(&gateway), (200, one.address.to_string()));
    fs::write(place.path("e.toml"), text(&[two.address])).unwrap();
    gateway.child.says("+1 -1 endpoints from file");
    gateway.run(&found.clone().limits("body = \"1KiB\""));
    assert_eq!(answer(&gateway), (200, two.address.to_string()));
    gateway.run(&fixed);
    assert_eq!(answer(&gateway), (200, one.address.to_string()));
    assert_eq!(place.get("/v1/discovery")["sources"], json!([]));
}
