//! Black-box tests: each starts the real binary.
