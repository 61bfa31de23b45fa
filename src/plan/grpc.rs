//! `grpc` of a route: how calls of gRPC are carried.

use std::time::Duration;

use ringway_proto::grpc::Code;

/// `grpc` of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grpc {
    /// Whether calls of gRPC-Web become calls of gRPC.
    pub web: bool,
    /// Bytes that a message of such a call may have, in either direction.
    pub max_message: u32,
    /// Whether calls end when the time is up that their `grpc-timeout` gives.
    pub ends_in_time: bool,
    /// The most time that a call may ask for; the total time of the route when absent.
    pub max_timeout: Option<Duration>,
}

impl Default for Grpc {
    fn default() -> Self {
        Self { web: false, max_message: 64 << 20, ends_in_time: true, max_timeout: None }
    }
}

/// A set of codes of gRPC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Codes(u32);

impl Codes {
    /// Adds one.
    pub fn add(&mut self, code: Code) {
        self.0 |= 1 << code.number();
    }

    /// Whether it is in the set.
    pub fn has(self, code: Code) -> bool {
        self.0 & 1 << code.number() != 0
    }

    /// Whether none is.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_what_was_added() {
        let mut set = Codes::default();
        assert!(set.is_empty());
        set.add(Code::Cancelled);
        set.add(Code::Unauthenticated);
        let has: Vec<Code> = Code::ALL.into_iter().filter(|&code| set.has(code)).collect();
        assert_eq!(has, [Code::Cancelled, Code::Unauthenticated]);
    }
}
