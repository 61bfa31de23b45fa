//! Tests of the state machines as their callers see them.

mod conformance;
mod driver;
mod wire;

use super::*;
