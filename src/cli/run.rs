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
    match Control::new(plan, source).run(out, err) {
        Ok(()) => Ok(Exit::Done),
        // It was told already.
        Err(_) => Ok(Exit::Machine),
    }
}
