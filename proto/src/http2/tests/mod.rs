//! Tests of the state machines as their callers see them.

mod budget;
mod conformance;
mod conversation;
mod driver;
mod heads;
mod recorded;
mod rows;
mod sending;
mod time;

use self::rows::wire;
use super::*;
use crate::hpack::Encoder;
