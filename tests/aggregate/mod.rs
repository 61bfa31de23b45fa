//! The health of several things, told by services of type `health`.

mod answers;
