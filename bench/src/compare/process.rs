//! The processes being compared: started on their core, watched through `/proc`, and ended whatever happens.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::net;

const READY_WITHIN: Duration = Duration::from_secs(10);
const END_WITHIN: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(20);

/// A running peer and all processes it has started. Dropping it ends them.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    /// The child and its descendants when it was ready.
    pids: Vec<u32>,
}

impl Running {
    /// Starts `command` on `cores`, then returns to `own_core`; it is ready when it takes connections at `address`.
    ///
    /// # Errors
    /// When it cannot be started, ends at once, or does not listen in time; then with what it printed.
    pub(crate) fn start(
        command: &mut Command,
        cores: &[usize],
        own_core: usize,
        address: SocketAddr,
        log: &Path,
    ) -> io::Result<Self> {
        let output = std::fs::File::create(log)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        // A child inherits the CPU of the thread that starts it.
        net::pin_to(cores)?;
        let child = command.spawn();
        net::pin(own_core)?;
        let child = child.map_err(|error| {
            io::Error::new(error.kind(), format!("cannot start {}: {error}", command.get_program().display()))
        })?;
        let mut running = Self { pids: vec![child.id()], child };
        let end = Instant::now() + READY_WITHIN;
        loop {
            let listens = TcpStream::connect(address).is_ok();
            // Some listen first and fail then, so it has to be alive a moment later.
            std::thread::sleep(PAUSE);
            let over = running.child.try_wait()?;
            if over.is_some() || (!listens && Instant::now() > end) {
                let said = std::fs::read_to_string(log).unwrap_or_default();
                let why = over.map_or_else(|| "does not listen".to_owned(), |status| format!("ended with {status}"));
                let name = command.get_program().display();
                return Err(io::Error::other(format!("{name} {why}: {}", said.trim())));
            }
            if listens {
                break;
            }
        }
        running.pids = with_descendants(running.child.id())?;
        Ok(running)
    }

    /// The process that was started.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Processor time used so far by every task of these processes, kernel workers included, in nanoseconds.
    ///
    /// # Errors
    /// When a process is gone.
    pub(crate) fn cpu_ns(&self) -> io::Result<u64> {
        let mut total = 0;
        for pid in &self.pids {
            for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
                // A task may end between the listing and the reading.
                if let Ok(text) = std::fs::read_to_string(task?.path().join("schedstat")) {
                    total += text.split(' ').next().and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
                }
            }
        }
        Ok(total)
    }

    /// Resident memory of these processes in bytes.
    ///
    /// # Errors
    /// When a process is gone.
    pub(crate) fn resident_bytes(&self) -> io::Result<u64> {
        let mut total = 0;
        for pid in &self.pids {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).and_then(|kib| kib.parse::<u64>().ok());
            total += kib.unwrap_or(0) * 1024;
        }
        Ok(total)
    }

    /// Ends the processes: asked first, killed when they do not listen. Says whether asking was enough.
    pub(crate) fn end(&mut self) -> bool {
        let signal = |pid: u32, signal| {
            if let Some(pid) = Pid::from_raw(pid as i32) {
                // One that has ended already is what was asked for.
                let _ = kill_process(pid, signal);
            }
        };
        if !matches!(self.child.try_wait(), Ok(None)) {
            return true;
        }
        signal(self.child.id(), Signal::TERM);
        let end = Instant::now() + END_WITHIN;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > end {
                for &pid in self.pids.iter().rev() {
                    signal(pid, Signal::KILL);
                }
                let _ = self.child.wait();
                return false;
            }
            std::thread::sleep(PAUSE);
        }
        true
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// The same command, which goes before everything of ordinary priority on its CPU.
pub(crate) fn at_real_time(command: &Command) -> Command {
    let mut first = Command::new("chrt");
    first.args(["--fifo", "10"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => first.env(name, value),
            None => first.env_remove(name),
        };
    }
    if let Some(directory) = command.get_current_dir() {
        first.current_dir(directory);
    }
    first
}

/// A process and all that descend from it.
fn with_descendants(root: u32) -> io::Result<Vec<u32>> {
    let mut parents = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        // The name in parentheses may hold anything; the parent is the second field after it.
        let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse::<u32>().ok());
        parents.extend(parent.map(|parent| (pid, parent)));
    }
    let mut found = vec![root];
    let mut at = 0;
    while let Some(&parent) = found.get(at) {
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    Ok(found)
}

/// An address on the loopback that nothing listens on.
///
/// # Errors
/// When the machine has no free port.
pub(crate) fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind(("127.0.0.1", 0))?.local_addr()
}

/// A directory that goes away with this value.
#[derive(Debug)]
pub(crate) struct Scratch(std::path::PathBuf);

impl Scratch {
    /// # Errors
    /// When the temporary directory cannot be written to.
    pub(crate) fn new() -> io::Result<Self> {
        Self::named("ringway-bench")
    }

    /// One more, of another name.
    ///
    /// # Errors
    /// When the temporary directory cannot be written to.
    pub(crate) fn named(name: &str) -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left is a few small files in the temporary directory.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_ends_at_once_is_reported_with_what_it_said() {
        let scratch = Scratch::new().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo broken; exit 7"]);
        let address = free_address().unwrap();
        let error =
            Running::start(&mut command, &[0], 0, address, &scratch.path().join("log")).unwrap_err().to_string();
        assert!(error.contains("broken") && error.contains('7'), "{error}");
    }

    #[test]
    fn a_command_at_real_time_is_the_same_command() {
        let mut command = Command::new("server");
        command.args(["-c", "file"]).env("KEY", "value").current_dir("/");
        let first = at_real_time(&command);
        assert_eq!(first.get_args().collect::<Vec<_>>(), ["--fifo", "10", "server", "-c", "file"]);
        assert_eq!((first.get_envs().count(), first.get_current_dir()), (1, Some(Path::new("/"))));
    }

    #[test]
    fn this_process_has_used_processor_time_and_memory() {
        let child = Command::new("sleep").arg("60").spawn().unwrap();
        let pids = with_descendants(std::process::id()).unwrap();
        assert!(pids.contains(&child.id()));
        let mut running = Running { child, pids: vec![std::process::id()] };
        assert!(running.cpu_ns().unwrap() > 0);
        assert!(running.resident_bytes().unwrap() > 100_000);
        running.pids = vec![running.child.id()];
        assert!(running.end() && running.child.try_wait().unwrap().is_some());
    }
}
