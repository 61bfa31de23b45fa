use super::*;
use crate::config::{EndpointSays, compile};

fn plan(upstream: &str) -> Arc<Plan> {
    let text = format!(
        "[listener.web]\naddress = \"127.0.0.1:0\"\n[upstream.u]\n{upstream}\n\
         [[route]]\nname = \"u\"\npath = \"/\"\nupstream = \"u\"\n"
    );
    Arc::new(compile("t.toml", &text, 1, &mut |_, _| Ok(Vec::new())).unwrap_or_else(|report| panic!("{report}")).0)
}

fn addresses(plan: &Plan) -> Vec<String> {
    plan.upstreams[0].endpoints.iter().map(|endpoint| endpoint.address.to_string()).collect()
}

#[test]
fn a_plan_gets_the_set_in_use_and_without_one_what_is_nearest_to_it() {
    let found = plan("discover = { type = \"registration\" }");
    let with_first = plan("endpoints = \"10.0.0.1:80\"\ndiscover = { type = \"registration\" }");
    let fixed = plan("endpoints = \"10.0.0.2:80\"");
    let mut in_use = InUse::default();
    // Nothing is known: the config's own, then those of the plan that runs.
    assert_eq!(addresses(&in_use.put_into(&with_first, &fixed)), ["10.0.0.1:80"]);
    assert_eq!(addresses(&in_use.put_into(&found, &fixed)), ["10.0.0.2:80"]);
    let address: std::net::SocketAddr = "10.0.0.3:80".parse().unwrap();
    in_use.0.insert("u".into(), [EndpointSays::default().at("x".into(), address)].into());
    let put = in_use.put_into(&with_first, &fixed);
    assert_eq!((addresses(&put), &*put.upstreams[0].name), (vec!["10.0.0.3:80".to_owned()], "u"));
    // Who looks for none keeps his own, and what is right already is not copied.
    assert!(Arc::ptr_eq(&in_use.put_into(&fixed, &found), &fixed));
    assert!(Arc::ptr_eq(&in_use.put_into(&put, &fixed), &put));
    // A set that is empty is one, too.
    in_use.0.insert("u".into(), [].into());
    assert_eq!(addresses(&in_use.put_into(&put, &fixed)), [] as [&str; 0]);
}
