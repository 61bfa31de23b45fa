//! Ringway as a library, so that tests can run a whole gateway in one process.
