//! `Server-Timing` (W3C): how long the request took in each stage, for clients that may know.

use ringway_proto::http1::encode as http1;
use ringway_runtime::clock::Instant;

use super::client::Client;
use super::encode::begin_own;
use super::exchange::Exchange;
use crate::plan::ServerTiming;

/// Appends the field, where the listener has it for this client.
pub(super) fn write(out: &mut Vec<u8>, client: &Client, exchange: &Exchange) {
    let listener = client.listener();
    let is_wanted = match listener.server_timing {
        ServerTiming::Off => false,
        ServerTiming::Trusted => listener.trusts(client.peer.ip()),
        ServerTiming::On => true,
    };
    if is_wanted && begin_own(out, &exchange.answer, b"server-timing: ") {
        let ledger = &exchange.ledger;
        for (name, from, to) in [
            (&b"head"[..], ledger.received, ledger.parsed),
            (b"admit", ledger.parsed, ledger.admitted),
            (b"connect", ledger.admitted, ledger.sent),
            (b"first_byte", ledger.sent, ledger.first_byte),
        ] {
            if from != Instant::default() && to != Instant::default() {
                metric(out, name, to.nanos_since(from));
                out.extend_from_slice(b", ");
            }
        }
        metric(out, b"total", client.now().nanos_since(ledger.received));
        out.extend_from_slice(http1::CRLF);
    }
}

/// A duration is in milliseconds.
fn metric(out: &mut Vec<u8>, name: &[u8], nanos: u64) {
    out.extend_from_slice(name);
    out.extend_from_slice(b";dur=");
    http1::decimal(out, nanos / 1_000_000);
    let micros = nanos / 1000 % 1000;
    out.push(b'.');
    out.extend([micros / 100, micros / 10 % 10, micros % 10].map(|digit| b'0' + digit as u8));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_milliseconds_with_three_decimals() {
        let text = |nanos| {
            let mut out = Vec::new();
            metric(&mut out, b"total", nanos);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(text(0), "total;dur=0.000");
        assert_eq!(text(1_234_567_890), "total;dur=1234.567");
        assert_eq!(text(20_999), "total;dur=0.020");
    }
}
