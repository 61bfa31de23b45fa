//! Processes a test starts, and what the kernel says of them.

use std::cell::RefCell;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{self, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};

use rustix::process::{Pid, Signal, kill_process};

/// A process that ends with the test at the latest.
#[derive(Debug)]
pub(crate) struct Child {
    process: process::Child,
    /// Gives what it says, line by line.
    errors: Receiver<String>,
    /// What it said so far, and how much of that was asked for.
    said: RefCell<(String, usize)>,
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
        let pipe = child.stderr.take().expect("a pipe");
        let (send, errors) = mpsc::channel();
        std::thread::spawn(move || {
            let mut lines = BufReader::new(pipe);
            let mut line = Vec::new();
            // A test that is over needs it no more.
            while lines.read_until(b'\n', &mut line).is_ok_and(|read| read > 0)
                && send.send(String::from_utf8_lossy(&line).into_owned()).is_ok()
            {
                line.clear();
            }
        });
        Self { process: child, errors, said: RefCell::default() }
    }

    /// Waits until it says a line with `wanted` in it, and returns what it said since this was last asked, that line
    /// included.
    pub(crate) fn says(&self, wanted: &str) -> String {
        let mut said = self.said.borrow_mut();
        let (text, asked) = &mut *said;
        loop {
            let new = &text[*asked..];
            if let Some(end) = new.find(wanted).map(|at| new[at..].find('\n').map_or(new.len(), |end| at + end + 1)) {
                let new = new[..end].to_owned();
                *asked += end;
                return new;
            }
            let Ok(line) = self.errors.recv_timeout(super::PATIENCE) else {
                panic!("it does not say {wanted:?}, but {:?}", &text[*asked..]);
            };
            text.push_str(&line);
        }
    }

    /// What it said until its end.
    fn all_said(&self) -> String {
        let mut said = self.said.borrow_mut();
        while let Ok(line) = self.errors.recv_timeout(super::PATIENCE) {
            said.0.push_str(&line);
        }
        said.0.clone()
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn stdout(&mut self) -> process::ChildStdout {
        self.process.stdout.take().expect("a pipe that nobody took")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).expect("the process is there");
    }

    /// Waits until it ends by itself.
    pub(crate) fn wait(mut self) -> Process {
        let errors = self.all_said();
        Process { exit: self.process.wait().expect("the child can be waited for"), errors }
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
        if self.process.try_wait().is_ok_and(|exit| exit.is_none()) {
            // Nobody is left to tell when this fails.
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
        let errors = self.all_said();
        if std::thread::panicking() && !errors.is_empty() {
            eprintln!("process {} said:\n{errors}", self.id());
        }
    }
}
