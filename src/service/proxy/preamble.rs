//! The PROXY header that connections to an upstream begin with, where it wants one.

use std::rc::Rc;

use ringway_proto::proxy_protocol::{Extras, Said, encode_v1, encode_v2};

use crate::flow::Client;
use crate::plan::{ProxyVersion, Upstream};

/// The header that tells an upstream of this client: the peer of the client's connection, whatever fields of a request
/// say. The pool keeps connections apart by it.
pub(super) fn preamble(client: &Client, upstream: &Upstream) -> Option<Rc<[u8]>> {
    let version = upstream.proxy_protocol?;
    let told = client.told();
    let destination = match told {
        Some(told) => told.destination,
        None => client.stream.local_address().ok(),
    };
    let said = match (client.peer.remote().socket_addr(), destination) {
        (Some(source), Some(destination)) => Said::Inet { source, destination },
        _ => Said::Nothing { is_local: false },
    };
    let mut header = Vec::new();
    match version {
        ProxyVersion::V1 => encode_v1(&said, &mut header),
        ProxyVersion::V2 => {
            let own = Extras { tls: client.session().map(|session| session.version.long_name()), ..Extras::default() };
            let extras = told.map_or(own, |told| Extras {
                unique_id: told.unique_id.as_deref(),
                authority: told.authority.as_deref(),
                tls: told.tls.as_deref(),
                checksum: false,
            });
            encode_v2(&said, &extras, &mut header);
        }
    }
    Some(header.into())
}
