//! permessage-deflate (RFC 7692) for what stands between two sides that each agreed on it, or did not, on their own.
//!
//! [`Expander`] expands the messages of one side, [`Compressor`] compresses those for one. [`Recoder`] carries the
//! messages of one side to the other as that one wants them, piece by piece, with limits on what comes out.

mod compress;
mod expand;
mod recode;

pub use compress::Compressor;
pub use expand::Expander;
pub use recode::{Piece, Recoder, RecoderSettings, Work};

/// What ends the compressed bytes of every message and is never sent (RFC 7692 section 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
/// The smallest window that is dealt with: DEFLATE libraries have none of 256 bytes.
const LEAST_BITS: u8 = 9;
/// By so much a buffer grows at a time.
const STEP: usize = 4 << 10;
