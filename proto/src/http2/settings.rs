//! Settings (RFC 9113 section 6.5).

use super::config::Config;
use super::error::Fault;
use super::frame::{self, MAX};
use super::window::DEFAULT_WINDOW;
use crate::hpack::DEFAULT_TABLE_SIZE;

const HEADER_TABLE_SIZE: u16 = 0x1;
const ENABLE_PUSH: u16 = 0x2;
const MAX_CONCURRENT_STREAMS: u16 = 0x3;
const INITIAL_WINDOW_SIZE: u16 = 0x4;
const MAX_FRAME_SIZE: u16 = 0x5;
const MAX_HEADER_LIST_SIZE: u16 = 0x6;
const ENABLE_CONNECT_PROTOCOL: u16 = 0x8;
const NO_RFC7540_PRIORITIES: u16 = 0x9;

/// The least and the most that a maximum of frames can be (section 4.2).
pub(super) const FRAME_MIN: u32 = 16_384;
const FRAME_MAX: u32 = (1 << 24) - 1;

/// What the peer said, or what holds as long as it says nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Settings {
    pub(super) table: u32,
    pub(super) streams: u32,
    pub(super) window: u32,
    pub(super) frame: u32,
    pub(super) list: u32,
    pub(super) extended_connect: bool,
    no_old_priorities: Option<bool>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            table: DEFAULT_TABLE_SIZE as u32,
            streams: u32::MAX,
            window: DEFAULT_WINDOW,
            frame: FRAME_MIN,
            list: u32::MAX,
            extended_connect: false,
            no_old_priorities: None,
        }
    }
}

impl Settings {
    /// Applies the payload of a SETTINGS frame, value after value (section 6.5.3). `window` is told each change of the
    /// initial window, `table` each size of the table.
    pub(super) fn apply(
        &mut self,
        payload: &[u8],
        from_server: bool,
        mut window: impl FnMut(u32, u32) -> Result<(), Fault>,
        mut table: impl FnMut(u32),
    ) -> Result<(), Fault> {
        let (settings, _) = payload.as_chunks::<6>();
        for &[a, b, value @ ..] in settings {
            let value = u32::from_be_bytes(value);
            match u16::from_be_bytes([a, b]) {
                HEADER_TABLE_SIZE => {
                    self.table = value;
                    table(value);
                }
                // A server may only say that it does not push (section 6.5.2).
                ENABLE_PUSH if value > 1 || (from_server && value == 1) => return Err(Fault::BadSetting),
                MAX_CONCURRENT_STREAMS => self.streams = value,
                INITIAL_WINDOW_SIZE => {
                    if value > MAX {
                        return Err(Fault::BadInitialWindow);
                    }
                    let before = std::mem::replace(&mut self.window, value);
                    window(before, value)?;
                }
                MAX_FRAME_SIZE => {
                    if !(FRAME_MIN..=FRAME_MAX).contains(&value) {
                        return Err(Fault::BadSetting);
                    }
                    self.frame = value;
                }
                MAX_HEADER_LIST_SIZE => self.list = value,
                ENABLE_CONNECT_PROTOCOL => {
                    // Once offered it stays offered (RFC 8441 section 3).
                    if value > 1 || (value == 0 && self.extended_connect) {
                        return Err(Fault::BadSetting);
                    }
                    self.extended_connect = value == 1;
                }
                NO_RFC7540_PRIORITIES => {
                    // It does not change (RFC 9218 section 2.1).
                    let value = match value {
                        0 => false,
                        1 => true,
                        _ => return Err(Fault::BadSetting),
                    };
                    if *self.no_old_priorities.get_or_insert(value) != value {
                        return Err(Fault::BadSetting);
                    }
                }
                // Unknown ones are ignored (section 6.5.2).
                _ => {}
            }
        }
        Ok(())
    }
}

/// Appends the SETTINGS frame that says how we are.
pub(super) fn write(config: &Config, is_server: bool, out: &mut Vec<u8>) {
    let list = u32::try_from(config.limits.list).unwrap_or(u32::MAX);
    let all = [
        (HEADER_TABLE_SIZE, config.decoder_table, config.decoder_table != DEFAULT_TABLE_SIZE as u32),
        (ENABLE_PUSH, 0, !is_server),
        (MAX_CONCURRENT_STREAMS, config.streams, is_server),
        (INITIAL_WINDOW_SIZE, config.stream_window, config.stream_window != DEFAULT_WINDOW),
        (MAX_FRAME_SIZE, config.frame, config.frame != FRAME_MIN),
        (MAX_HEADER_LIST_SIZE, list, true),
        (ENABLE_CONNECT_PROTOCOL, 1, is_server && config.extended_connect),
        (NO_RFC7540_PRIORITIES, 1, true),
    ];
    let said = all.iter().filter(|(.., is_said)| *is_said);
    frame::header(out, said.clone().count() * 6, frame::SETTINGS, 0, 0);
    for (setting, value, _) in said {
        out.extend_from_slice(&setting.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    }
}

/// The configuration with every value in its range.
pub(super) fn in_range(config: &Config) -> Config {
    Config {
        stream_window: config.stream_window.min(MAX),
        stream_window_max: config.stream_window_max.clamp(config.stream_window.min(MAX), MAX),
        connection_window: config.connection_window.clamp(DEFAULT_WINDOW, MAX),
        connection_window_max: config.connection_window_max.clamp(config.connection_window.max(DEFAULT_WINDOW), MAX),
        frame: config.frame.clamp(FRAME_MIN, FRAME_MAX),
        frame_sent: config.frame_sent.clamp(1, FRAME_MAX),
        ..*config
    }
}
