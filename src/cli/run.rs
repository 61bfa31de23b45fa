//! `ringway run FILE`: the gateway.

use std::io::{self, Write};
use std::path::PathBuf;

use super::Exit;
use crate::config::{self, LoadError, Loaded};
use crate::control::{self, Control, Source};

/// What to run.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// The config
    file: PathBuf,
    /// Take over from the gateway that runs: its sockets and connections to come, and its metrics
    #[arg(long)]
    take_over: bool,
}

/// Runs until SIGTERM or SIGINT; the gateway then drains. SIGHUP reads the config again.
pub(super) fn run(args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<Exit> {
    let loaded = match config::load(&args.file, 1, &mut control::resolve) {
        Ok(loaded) => {
            write!(err, "{}", loaded.report)?;
            loaded
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
    let Loaded { plan, report, effective } = loaded;
    let source = Source::File { file: args.file.clone(), says: effective, read: report.files() };
    if args.take_over && plan.control.upgrade_socket.is_none() {
        let file = args.file.display();
        writeln!(err, "{file}: error: --take-over needs control.upgrade_socket, the same as in the gateway that runs")?;
        return Ok(Exit::Input);
    }
    let control = Control::new(plan, source);
    let control = if args.take_over { control.taking_over() } else { control };
    match control.run(out, err) {
        Ok(()) => Ok(Exit::Done),
        // It was told already.
        Err(_) => Ok(Exit::Machine),
    }
}
