//! What one head, one chunk and one date cost: `cargo bench -p ringway-proto --bench http1 [-- PART_OF_A_NAME]`.
//!
//! Each line is the fastest of many rounds, in nanoseconds for one call, since everything that disturbs a round
//! makes it slower. httparse stands beside it as the yardstick: it gives slices and checks no framing.

use std::hint::black_box;
use std::time::Instant;

use ringway_proto::http1::{
    Body, EventKind, Framing, HeadScan, Limits, Method, Progress, RequestHead, ResponseHead, decode_request,
    decode_response, encode,
};

/// An ordinary API request: 5 fields, about 150 bytes.
const ORDINARY: &[u8] = b"GET /users/1234?fields=name HTTP/1.1\r\nHost: api.example.com\r\nUser-Agent: wrk/4.2.0\r\n\
    Accept: application/json\r\nX-Api-Key: 0123456789abcdef\r\nConnection: keep-alive\r\n\r\n";

/// The least a load generator sends.
const SMALL: &[u8] = b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n";

/// A browser's request.
const BROWSER: &[u8] = b"GET /wp-content/uploads/2010/03/hello-kitty-darth-vader-pink.jpg HTTP/1.1\r\n\
    Host: www.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    Accept-Language: en-US,en;q=0.5\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Referer: https://www.example.com/index.html?from=somewhere\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; _ga=GA1.2.3456789.0123456789; consent=yes\r\n\
    Connection: keep-alive\r\n\
    Upgrade-Insecure-Requests: 1\r\n\
    Sec-Fetch-Dest: document\r\n\
    Sec-Fetch-Mode: navigate\r\n\
    Cache-Control: max-age=0\r\n\r\n";

/// An origin's answer.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nServer: nginx/1.26.2\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
    Content-Type: application/octet-stream\r\nContent-Length: 128\r\nConnection: keep-alive\r\n\r\n";

const ROUNDS: usize = 400;
const CALLS: usize = 2_000;

fn measure(name: &str, bytes: usize, mut call: impl FnMut()) {
    // Cargo passes `--bench`; anything else names what to measure.
    if !std::env::args().skip(1).all(|part| part.starts_with("--") || name.contains(&part)) {
        return;
    }
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for _ in 0..CALLS {
            call();
        }
        best = best.min(start.elapsed().as_nanos() as f64 / CALLS as f64);
    }
    println!("{name:<44} {bytes:>5} B {best:>8.1} ns");
}

fn main() {
    let limits = Limits::default();
    let mut scan = HeadScan::default();
    let mut head = RequestHead::default();
    for (name, input) in [("small", SMALL), ("ordinary", ORDINARY), ("browser", BROWSER)] {
        measure(&format!("request head, {name}"), input.len(), || {
            let progress = decode_request(black_box(input), &mut scan, &limits, &mut head);
            assert_eq!(progress, Ok(Progress::Complete));
        });
        measure(&format!("request head, {name}, httparse"), input.len(), || {
            let mut fields = [httparse::EMPTY_HEADER; 100];
            let mut request = httparse::Request::new(&mut fields);
            assert!(request.parse(black_box(input)).is_ok_and(|status| status.is_complete()));
            black_box(&request);
        });
    }
    let mut answer = ResponseHead::default();
    measure("response head", ANSWER.len(), || {
        let progress = decode_response(black_box(ANSWER), &mut scan, &limits, Method::Get, &mut answer);
        assert_eq!(progress, Ok(Progress::Complete));
    });
    measure("response head, httparse", ANSWER.len(), || {
        let mut fields = [httparse::EMPTY_HEADER; 100];
        let mut response = httparse::Response::new(&mut fields);
        assert!(response.parse(black_box(ANSWER)).is_ok_and(|status| status.is_complete()));
        black_box(&response);
    });

    let mut chunked = Vec::new();
    encode::chunk_head(&mut chunked, 128);
    chunked.extend_from_slice(&[b'x'; 128]);
    chunked.extend_from_slice(encode::CRLF);
    chunked.extend_from_slice(encode::LAST_CHUNK);
    measure("chunked body of one 128-byte chunk", chunked.len(), || {
        let mut body = Body::new(Framing::Chunked);
        let mut rest = black_box(chunked.as_slice());
        while let Ok(event) = body.decode(rest, &limits) {
            rest = rest.get(event.consumed..).unwrap_or_default();
            if event.kind == EventKind::End {
                break;
            }
        }
        assert!(body.is_done() && rest.is_empty());
    });

    let mut out = Vec::with_capacity(4096);
    measure("writing the ordinary head again", ORDINARY.len(), || {
        out.clear();
        let progress = decode_request(ORDINARY, &mut scan, &limits, &mut head);
        assert_eq!(progress, Ok(Progress::Complete));
        encode::request_line(&mut out, head.method_span.of(ORDINARY), head.target.whole.of(ORDINARY));
        for field in &head.fields {
            encode::field(&mut out, field.name.of(ORDINARY), field.value.of(ORDINARY));
        }
        out.extend_from_slice(encode::CRLF);
        black_box(&out);
    });
    measure("http_date", 29, || {
        out.clear();
        encode::http_date(&mut out, black_box(784_111_777));
        black_box(&out);
    });
}
