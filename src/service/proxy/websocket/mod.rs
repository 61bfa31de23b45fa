//! WebSocket connections: handshakes that are checked on the way, then frames that are looked at and passed on as they
//! came.

mod end;
mod handshake;
mod leg;
mod relay;
mod reload;

pub(super) use handshake::{admit, agree};
pub(super) use relay::run;
