//! What must hold of messages that are expanded and compressed on their way, for any bytes at all. The fuzz target and an
//! ordinary test that replays its corpus share it.

use ringway_proto::websocket::deflate::{Compressor, Expander, Piece, Recoder, RecoderSettings};
use ringway_proto::websocket::{Event, FrameError, Incoming, Kind, Limits, Messages, Reader, Side};

const LIMITS: Limits = Limits { frame: 1 << 20, message: 1 << 16, fragments: 1_000 };

/// How the two sides agreed, as the first bytes of the input say.
#[derive(Clone, Copy)]
struct Choice {
    side: Side,
    settings: RecoderSettings,
    from: Option<(u8, bool)>,
    to: Option<(u8, u8, bool)>,
}

impl Choice {
    fn of(first: u8, second: u8) -> Self {
        let is_set = |bit: u8| first & (1 << bit) != 0;
        let ratio = if is_set(5) { 3 } else { 2_000 };
        let message = if is_set(6) { 200_000 } else { 300 };
        Self {
            side: if is_set(0) { Side::Server } else { Side::Client },
            settings: RecoderSettings { message, ratio, compress_from: usize::from(second & 0x1f) },
            from: is_set(1).then_some((8 + (second >> 5), is_set(2))),
            to: is_set(3).then_some((1 + second % 9, 9 + (second >> 5).min(6), is_set(4))),
        }
    }

    fn recoder(self) -> Recoder {
        let expander = self.from.map(|(bits, forgets)| Expander::new(bits, forgets));
        let compressor = self.to.and_then(|(level, bits, forgets)| Compressor::new(level, bits, forgets));
        Recoder::new(self.settings, expander, compressor, self.side == Side::Client)
    }
}

/// What was said in frames, and how they ended.
#[derive(PartialEq, Eq, Debug)]
struct Said {
    messages: Vec<(Kind, Vec<u8>)>,
    controls: Vec<Vec<u8>>,
    error: Option<FrameError>,
}

/// Checks everything of frames that come from either side.
pub(crate) fn websocket_deflate(data: &[u8]) {
    let Some((&[first, second], data)) = data.split_first_chunk() else { return };
    let choice = Choice::of(first, second);
    let expected = said(choice.side, choice.from, Some(choice.settings), data);
    for size in [1, 7, 512, 1 << 20] {
        let (out, error) = recode(choice, data, size);
        let to = choice.to.map(|(_, bits, forgets)| (bits, forgets));
        let came = said(choice.side, to, None, &out);
        assert_eq!(came.error, None, "what goes on is right");
        assert!(error.is_some() || expected.error.is_none(), "{:?}", expected.error);
        match error {
            None => assert_eq!((&came.messages, &came.controls), (&expected.messages, &expected.controls)),
            // It is seen while the message comes, which may get better as more of it comes.
            Some(FrameError::ExpandsTooMuch) => assert!(expected.messages.starts_with(&came.messages)),
            // And so is what is wrong with a message that never ends.
            Some(_) => assert_eq!(came.messages, expected.messages),
        }
        assert!(expected.controls.starts_with(&came.controls));
    }
}

/// The plain way: whole messages, expanded at once.
fn said(side: Side, deflate: Option<(u8, bool)>, settings: Option<RecoderSettings>, mut data: &[u8]) -> Said {
    let limits = if settings.is_some() { LIMITS } else { Limits::default() };
    let mut messages = Messages::new(side, limits, deflate.is_some());
    let mut expander = deflate.map(|(bits, forgets)| Expander::new(bits, forgets));
    let mut said = Said { messages: Vec::new(), controls: Vec::new(), error: None };
    while !data.is_empty() {
        let (taken, incoming) = match messages.next(data) {
            Ok(next) => next,
            Err(error) => {
                // A message under way may be wrong as well; either way the connection is over.
                said.error = Some(error);
                break;
            }
        };
        data = &data[taken..];
        match incoming {
            Some(Incoming::Message { kind, payload, is_compressed: false }) => {
                said.messages.push((kind, payload.to_vec()));
            }
            Some(Incoming::Message { kind, payload, .. }) => {
                let (mut plain, expander) = (Vec::new(), expander.as_mut().unwrap());
                let by_ratio =
                    |settings: RecoderSettings| (64 << 10) + payload.len() as u64 * u64::from(settings.ratio);
                let most = settings.map_or(u64::MAX, |settings| settings.message.min(by_ratio(settings)));
                let mut result = expander.expand(payload, &mut plain, most);
                if result.is_ok() {
                    let left = most - plain.len() as u64;
                    result = expander.end(&mut plain, left);
                }
                if result.is_err() || (kind == Kind::Text && str::from_utf8(&plain).is_err()) {
                    said.error = Some(FrameError::InvalidDeflate);
                    break;
                }
                said.messages.push((kind, plain));
            }
            Some(Incoming::Ping(payload) | Incoming::Pong(payload) | Incoming::Close(payload)) => {
                said.controls.push(payload.to_vec());
            }
            None => {}
        }
    }
    said
}

/// The way of a proxy: piece by piece.
fn recode(choice: Choice, data: &[u8], size: usize) -> (Vec<u8>, Option<FrameError>) {
    let mut reader = Reader::new(choice.side, LIMITS, choice.from.is_some());
    let (mut recoder, mut out) = (choice.recoder(), Vec::new());
    for mut piece in data.chunks(size) {
        while !piece.is_empty() {
            let key = reader.key();
            let step = match reader.next(piece) {
                Ok(step) => step,
                Err(error) => return (out, Some(error)),
            };
            let (taken, rest) = piece.split_at(step.taken);
            piece = rest;
            match step.event {
                Event::Data { payload, message, .. } => {
                    let (payload, mask) = Reader::payload_of(key, taken, payload);
                    let of = message.or(reader.message()).unwrap();
                    let (kind, is_compressed) = (of.kind, of.is_compressed);
                    let piece = Piece { kind, is_compressed, payload, mask, is_end: message.is_some() };
                    if let Err(error) = recoder.take(piece, &mut out) {
                        return (out, Some(error));
                    }
                    assert!(recoder.work().expanded_to <= choice.settings.message + 1);
                }
                Event::Held | Event::AfterClose => {}
                _ => out.extend_from_slice(if step.is_held { reader.held() } else { taken }),
            }
        }
    }
    (out, None)
}
