//! HTTP/2: clients of others and raw frames, in front of origins that speak HTTP/1.1.

pub(crate) mod clients;
mod conformance;
mod ends;
pub(crate) mod grpc;
mod heads;
mod streams;
mod upstreams;

/// A page without an origin.
const HELLO: &str = "[service.hello]\ntype = \"respond\"\nbody = \"hello\"\n\
                     [[route]]\nname = \"hello\"\npath = \"/hello\"\nservice = \"hello\"\n";
