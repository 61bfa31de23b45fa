//! Which endpoint gets which request.

mod picks;
