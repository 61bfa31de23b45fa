//! Plans that replace each other: what changes, what stays, and that nobody notices who need not.

mod changes;
mod load;
mod refused;
mod watch;
