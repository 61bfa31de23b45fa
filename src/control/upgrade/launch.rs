//! Starts the program anew, for it to take over from this process.

use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ringway_runtime::clock::Instant;
use ringway_runtime::core::cpus;

use super::Event;
use crate::control::events::{self, Events};

/// How often a process that was started is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// What it takes to start the program again.
#[derive(Clone, Debug)]
pub(in crate::control) struct Launch {
    /// Where the program was found when this process started: what lies there now is what is started.
    pub(in crate::control) program: PathBuf,
    /// The config.
    pub(in crate::control) file: PathBuf,
    /// The CPUs that this process was given.
    pub(in crate::control) cpus: Vec<usize>,
}

impl Launch {
    /// Starts it from a thread of its own, which tells when it ends before it has taken over, as `taken` shows. It is
    /// killed where it has not after `patience`.
    pub(super) fn start(self, taken: Arc<AtomicBool>, patience: Duration, events: Events) -> io::Result<()> {
        thread::Builder::new().name("ringway-launch".to_owned()).spawn(move || {
            if let Err(why) = self.run(&taken, patience) {
                // Without control there is nobody to tell.
                let _ = events.send(events::Event::Upgrade(Event::ChildEnded(why)));
            }
        })?;
        Ok(())
    }

    fn run(self, taken: &AtomicBool, patience: Duration) -> Result<(), String> {
        let failed = |error: io::Error| format!("cannot start {}: {error}", self.program.display());
        // Control may be pinned, and a child may run where the thread that starts it may.
        cpus::confine(&self.cpus).map_err(failed)?;
        let mut command = Command::new(&self.program);
        command.arg("run").arg(&self.file).arg("--take-over").stdin(Stdio::null());
        // It names this process: the new one would take the watchdog for somebody else's.
        command.env_remove("WATCHDOG_PID");
        let mut child = command.spawn().map_err(failed)?;
        let by = Instant::now() + patience;
        while !taken.load(Ordering::Acquire) {
            if let Some(status) = child.try_wait().map_err(failed)? {
                return Err(format!("process {} ended with {status}", child.id()));
            }
            if Instant::now() >= by {
                let _ = child.kill().and_then(|()| child.wait());
                return Err(format!("process {} did not take over within {patience:?} and was killed", child.id()));
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }
}
