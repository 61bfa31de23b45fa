//! `mirror` of a route: another upstream gets copies of its requests.

use std::time::Duration;

use super::UpstreamId;

/// What marks a copy, so that nobody takes it for a request of a client.
pub const MIRROR_MARK: &str = "x-ringway-mirror";

/// `mirror` of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Who gets copies.
    pub upstream: UpstreamId,
    /// Which part of the requests, in millionths.
    pub share: u32,
    /// Bytes of a body, as it is sent; requests with more are not copied.
    pub body: u32,
    /// Copies that one core has at once.
    pub max_active: u32,
    /// How long a copy may take until its answer has ended.
    pub timeout: Duration,
    /// Fields that a copy has not, in lower case.
    pub remove: Box<[Box<str>]>,
}
