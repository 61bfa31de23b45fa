//! Processes a test starts, and what the kernel says of them.

use std::fs;
use std::io::Read;
use std::process::{self, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};

use rustix::process::{Pid, Signal, kill_process};

/// A process that ends with the test at the latest.
#[derive(Debug)]
pub(crate) struct Child {
    child: process::Child,
    /// Gives what it said once it has ended.
    errors: Receiver<String>,
}

/// How a process ended.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) exit: ExitStatus,
    pub(crate) errors: String,
}

impl Child {
    /// Starts `command`, whose standard error is collected.
    pub(crate) fn start(command: &mut process::Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the process starts");
        let mut pipe = child.stderr.take().expect("a pipe");
        let (send, errors) = mpsc::channel();
        std::thread::spawn(move || {
            let mut text = Vec::new();
            // What came until a failure is worth having, and a test that is over needs it no more.
            let _ = pipe.read_to_end(&mut text);
            let _ = send.send(String::from_utf8_lossy(&text).into_owned());
        });
        Self { child, errors }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn stdout(&mut self) -> process::ChildStdout {
        self.child.stdout.take().expect("a pipe that nobody took")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the process is there");
    }

    /// Waits until it ends by itself.
    pub(crate) fn wait(mut self) -> Process {
        let errors = self.errors.recv_timeout(super::PATIENCE).expect("the process ends");
        Process { exit: self.child.wait().expect("the child can be waited for"), errors }
    }

    /// Bytes of memory it has in RAM that are its own: no files, no shared pages.
    pub(crate) fn resident(&self) -> u64 {
        self.status("RssAnon:")
    }

    fn status(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).expect("the process is there");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("the kernel tells");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of kB") * 1024
    }

    /// Descriptors it has open.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.id())).expect("the process is there").count()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|exit| exit.is_none()) {
            // Nobody is left to tell when this fails.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        let errors = self.errors.recv_timeout(super::PATIENCE).unwrap_or_default();
        if std::thread::panicking() && !errors.is_empty() {
            eprintln!("process {} said:\n{errors}", self.id());
        }
    }
}
