//! WebSocket connections: handshakes that are checked on the way, then frames that are looked at and passed on as they
//! came, or messages that are compressed anew.

mod end;
mod handshake;
mod leg;
mod relay;
mod reload;
mod terminate;

pub(super) use handshake::{Terms, admit, agree};
pub(super) use relay::run;
