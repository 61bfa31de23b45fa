//! Writes frames. A client gives each its own mask, which nobody can foretell (RFC 6455 section 5.3); a server gives
//! none.

use super::frame::{CONTROL_MAX, FrameHead, Opcode};
use super::{CloseCode, mask::mask};

/// Appends a frame of a message: its head says all but the length.
pub fn frame(out: &mut Vec<u8>, head: FrameHead, payload: &[u8]) {
    FrameHead { len: payload.len() as u64, ..head }.encode(out);
    let start = out.len();
    out.extend_from_slice(payload);
    if let (Some(key), Some(payload)) = (head.mask, out.get_mut(start..)) {
        mask(payload, key, 0);
    }
}

/// Appends a message of one frame.
pub fn message(out: &mut Vec<u8>, is_text: bool, payload: &[u8], key: Option<[u8; 4]>) {
    let opcode = if is_text { Opcode::Text } else { Opcode::Binary };
    frame(out, FrameHead { mask: key, ..FrameHead::new(opcode, 0) }, payload);
}

/// Appends a ping or a pong, cut after [`CONTROL_MAX`] bytes.
pub fn control(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], key: Option<[u8; 4]>) {
    let payload = payload.get(..CONTROL_MAX).unwrap_or(payload);
    frame(out, FrameHead { mask: key, ..FrameHead::new(opcode, 0) }, payload);
}

/// Appends a close frame; a reason that is too long is cut at the end of a character.
pub fn close(out: &mut Vec<u8>, code: Option<CloseCode>, reason: &str, key: Option<[u8; 4]>) {
    let mut payload = [0; CONTROL_MAX];
    let mut len = 0;
    if let Some(code) = code {
        let reason = reason.get(..reason.floor_char_boundary(CONTROL_MAX - 2)).unwrap_or_default().as_bytes();
        for (place, byte) in payload.iter_mut().zip(code.get().to_be_bytes().iter().chain(reason)) {
            *place = *byte;
            len += 1;
        }
    }
    control(out, Opcode::Close, payload.get(..len).unwrap_or_default(), key);
}
