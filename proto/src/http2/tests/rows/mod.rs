//! What an endpoint can do wrong, or right where others went wrong, as raw frames, and what comes of it.
//!
//! Two tests run these rows: that of the codec (`conformance`), and the black-box tests, which include this module and
//! drive the gateway itself (`tests/http2/conformance.rs`). Who includes it has `Encoder` and `ErrorCode` beside it.

mod client;
mod connection;
mod frames;
mod headers;
mod streams;
pub(crate) mod wire;

use super::{Encoder, ErrorCode};

/// What is done to the machine.
pub(crate) enum Do {
    /// The peer sends this.
    Send(Vec<u8>),
    /// Nothing more happens until this stream has its whole answer.
    Answered(u32),
    /// Data is no longer taken out of the way.
    Hold,
    /// The stream is reset by us.
    Reset(u32),
}

/// What must come of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Expect {
    /// GOAWAY with this code, and nothing more is read.
    Connection(ErrorCode),
    /// RST_STREAM with this code, and the connection lives.
    Stream(u32, ErrorCode),
    /// No error, and the connection lives.
    Fine,
    /// The stream gets its answer whole, and the connection lives.
    Answer(u32),
    /// The stream has got so many bytes of data, and the connection lives.
    Data(u32, usize),
}

/// How a row starts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// A server that heard nothing.
    Fresh,
    /// A server after both SETTINGS. It answers nothing.
    Silent,
    /// As before, but it answers whole requests at once.
    Answering,
    /// A client that heard nothing, and has sent `GET` on stream 1, which is whole, and `POST` on stream 3, which is not.
    FreshClient,
    /// As before, after both SETTINGS.
    Client,
}

pub(crate) struct Row {
    pub(crate) section: &'static str,
    /// Its number in h2spec, if it has one.
    pub(crate) h2spec: &'static str,
    pub(crate) name: &'static str,
    pub(crate) says: &'static str,
    pub(crate) start: Start,
    pub(crate) steps: Vec<Do>,
    pub(crate) expect: Expect,
}

impl Row {
    /// Whether the peer is a server, and so the row is about us as a client.
    pub(crate) fn is_of_client(&self) -> bool {
        matches!(self.start, Start::Client | Start::FreshClient)
    }
}

/// A row whose steps are one piece of input.
pub(crate) fn send(
    (section, h2spec, name): (&'static str, &'static str, &'static str),
    says: &'static str,
    start: Start,
    input: Vec<u8>,
    expect: Expect,
) -> Row {
    Row { section, h2spec, name, says, start, steps: vec![Do::Send(input)], expect }
}

/// A row with several steps.
pub(crate) fn steps(
    (section, h2spec, name): (&'static str, &'static str, &'static str),
    says: &'static str,
    start: Start,
    steps: Vec<Do>,
    expect: Expect,
) -> Row {
    Row { section, h2spec, name, says, start, steps, expect }
}

pub(crate) fn all() -> Vec<Row> {
    [connection::rows(), frames::rows(), streams::rows(), headers::rows(), client::rows()]
        .into_iter()
        .flatten()
        .collect()
}
