//! Tests of the codec as its callers see it.

mod request;

use super::*;

/// Decodes a whole request head, or gives the refusal.
pub(super) fn request(input: &[u8]) -> Result<RequestHead, RequestError> {
    let mut head = RequestHead::default();
    let progress = decode_request(input, &mut HeadScan::default(), &Limits::default(), &mut head)?;
    assert_eq!(progress, Progress::Complete, "the head is not complete");
    Ok(head)
}
