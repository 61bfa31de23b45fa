//! `ringway run FILE`: the gateway.

use std::io::{self, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use super::Exit;
use crate::config::{self, LoadError};
use crate::control;

/// What to run.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// The config
    file: PathBuf,
}

/// Runs until SIGTERM or SIGINT; the gateway then drains.
pub(super) fn run(args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<Exit> {
    let plan = match config::load(&args.file, 1, &mut resolve) {
        Ok(loaded) => {
            write!(err, "{}", loaded.report)?;
            loaded.plan
        }
        Err(LoadError::File(why)) => {
            writeln!(err, "{why}")?;
            return Ok(Exit::Input);
        }
        Err(LoadError::Config(report)) => {
            write!(err, "{report}")?;
            return Ok(Exit::Input);
        }
    };
    match control::run(plan, out) {
        Ok(()) => Ok(Exit::Done),
        Err(failed) => {
            writeln!(err, "ringway: error: {failed}")?;
            Ok(Exit::Machine)
        }
    }
}

/// Asks the machine's resolver.
pub(super) fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    (host, port).to_socket_addrs().map(Iterator::collect).map_err(|error| error.to_string())
}
