//! Whether the listeners of a config could be opened now.

use ringway_runtime::net::{Address, ListenSpec, Placement, bind_for_cores};

use super::Finding;
use crate::control;
use crate::plan::Plan;

/// Binds every address for a moment, as the gateway does before it starts; nothing is left open.
pub(super) fn findings(plan: &Plan) -> Vec<Finding> {
    let listeners = plan.listeners.iter();
    let addresses = listeners.flat_map(|listener| listener.addresses.iter().map(|address| (&listener.name, address)));
    addresses
        .map(|(name, address)| {
            let could = match address {
                Address::Ip(address) => {
                    let spec = ListenSpec { address: *address, backlog: 1, placement: Placement::Kernel };
                    // Without cores it does no more than look whether anybody has the address.
                    bind_for_cores(&spec, &[]).map(drop).map_err(|error| error.to_string())
                }
                Address::Unix(name) => control::is_unix_free(name),
            };
            match could {
                Ok(()) => Finding::ok("listener", format!("{name}: {address} is free")),
                Err(error) => Finding::fail(
                    "listener",
                    format!("{name}: {error}"),
                    "the gateway does not start while an address is not its own",
                    "stop what listens there, choose another address, or for ports below 1024 see low_ports",
                ),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::super::Level;
    use super::*;
    use crate::config;

    #[test]
    fn a_port_that_somebody_holds_is_found_and_a_free_one_stays_free() {
        // An address that no other test uses.
        let port = || TcpListener::bind("127.77.1.1:0").expect("a port");
        let holder = port();
        let taken = holder.local_addr().expect("an address");
        // Closed again at once: this one only finds a free port.
        let free = port().local_addr().expect("an address");
        let text = format!(
            "[listener.free]\naddress = \"{free}\"\n[listener.taken]\naddress = \"{taken}\"\n\
             [upstream.u]\nendpoints = [\"127.0.0.1:9\"]\n\
             [[route]]\nname = \"all\"\npath = \"/{{rest...}}\"\nupstream = \"u\"\n"
        );
        let (plan, _) = config::compile("test", &text, 1, &mut |_, _| Ok(Vec::new())).expect("a sound config");
        let found = findings(&plan);
        assert_eq!(found.iter().map(|finding| finding.level).collect::<Vec<_>>(), [Level::Ok, Level::Fail]);
        assert_eq!(found[0].what, format!("free: {free} is free"));
        assert!(found[1].what.contains(&taken.to_string()), "{}", found[1].what);
        TcpListener::bind(free).expect("it is left free");
    }
}
