//! HTTP/1.1 as a client and an origin see it.

mod answers;
mod bodies;
mod connection;
mod forwarded;
mod interim;
mod limits;
mod peers;
mod pool;
mod routes;
mod streaming;
mod timeouts;
mod truncation;
mod upgrade;
