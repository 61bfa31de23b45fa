//! Tests of the state machines as their callers see them.

mod budget;
mod conformance;
mod conversation;
mod driver;
mod heads;
mod recorded;
mod sending;
mod time;
mod wire;

use super::*;
