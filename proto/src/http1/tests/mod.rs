//! Tests of the codec as its callers see it.

mod body;
mod encode;
mod model;
mod request;
mod response;
mod values;

use super::*;

/// Decodes a whole request head, or gives the refusal.
fn request(input: &[u8]) -> Result<RequestHead, RequestError> {
    request_within(input, &Limits::default())
}

fn request_within(input: &[u8], limits: &Limits) -> Result<RequestHead, RequestError> {
    let mut head = RequestHead::default();
    let progress = decode_request(input, &mut HeadScan::default(), limits, &mut head)?;
    assert_eq!(progress, Progress::Complete, "the head is not complete: {}", input.escape_ascii());
    Ok(head)
}

/// Decodes a whole response head, or gives the refusal.
fn response(input: &[u8], method: Method) -> Result<ResponseHead, ResponseError> {
    let mut head = ResponseHead::default();
    let progress = decode_response(input, &mut HeadScan::default(), &Limits::default(), method, &mut head)?;
    assert_eq!(progress, Progress::Complete, "the head is not complete: {}", input.escape_ascii());
    Ok(head)
}

/// A request with these lines after a Host, which is what most rows of a table need.
fn request_with(lines: &str) -> Vec<u8> {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n").into_bytes()
}
