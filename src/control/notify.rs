//! Tells the service manager how the gateway is, as `sd_notify(3)` describes: datagrams of lines to the socket that
//! `NOTIFY_SOCKET` names, and pings of its watchdog as long as every core's loop turns.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process;
use std::time::Duration;

use ringway_runtime::clock::Instant;

use super::log::Log;

/// How long a full socket of the service manager may hold up control.
const SEND_LIMIT: Duration = Duration::from_secs(1);
/// Beats of each core within the time after which the service manager takes the gateway for dead.
const BEATS: u32 = 4;

/// The service manager's ear. Without one nothing is sent.
#[derive(Debug)]
pub(super) struct Notifier {
    manager: Option<Manager>,
    watchdog: Option<Duration>,
    told: Told,
    /// Cores that have not ended.
    alive: Vec<usize>,
    /// Cores that have not beaten since the last ping.
    silent: Vec<usize>,
}

#[derive(Debug)]
struct Manager {
    address: SocketAddr,
    /// Waits a while for room: each state is told once.
    states: UnixDatagram,
    /// Never waits: a manager that does not listen must not hold up control, and there will be another ping.
    pings: UnixDatagram,
}

/// What the service manager takes the gateway to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Told {
    Starting,
    Ready,
    Reloading,
    Stopping,
}

impl Notifier {
    /// Whoever the environment names, for a gateway of `cores` cores. A manager that cannot be reached is no reason not
    /// to serve; it is told on `log`.
    pub(super) fn from_env(cores: usize, log: &mut Log<'_>) -> Self {
        let variable = |name| env::var_os(name).filter(|value| !value.is_empty());
        let manager = variable("NOTIFY_SOCKET").and_then(|path| match reach(&path) {
            Ok(manager) => Some(manager),
            Err(error) => {
                log.warn(format_args!("cannot use NOTIFY_SOCKET {}: {error}", path.display()));
                None
            }
        });
        let text = |name| variable(name).and_then(|value| value.into_string().ok());
        let watchdog = text("WATCHDOG_USEC").and_then(|limit| watchdog(&limit, text("WATCHDOG_PID").as_deref()));
        Self::new(manager, watchdog, cores)
    }

    fn new(manager: Option<Manager>, watchdog: Option<Duration>, cores: usize) -> Self {
        let watchdog = watchdog.filter(|_| manager.is_some());
        let alive: Vec<usize> = (0..cores).collect();
        Self { manager, watchdog, told: Told::Starting, silent: alive.clone(), alive }
    }

    /// Every core accepts; `status` is what an operator sees.
    pub(super) fn ready(&mut self, status: &str) {
        self.told = Told::Ready;
        self.send(&format!("READY=1\nSTATUS={status}"));
    }

    /// A new plan is on its way to the cores. That it has arrived is told by [`Notifier::ready`].
    pub(super) fn reloading(&mut self) {
        if self.told == Told::Ready {
            self.told = Told::Reloading;
            self.send(&format!("RELOADING=1\nMONOTONIC_USEC={}", Instant::now().as_nanos() / 1000));
        }
    }

    /// Whether the service manager waits for the end of a reload.
    pub(super) fn is_reloading(&self) -> bool {
        self.told == Told::Reloading
    }

    /// The gateway drains.
    pub(super) fn stopping(&mut self) {
        self.told = Told::Stopping;
        self.send("STOPPING=1\nSTATUS=draining");
    }

    /// Another process has taken over: from now on the service manager hears that one. It is told of it by this one, as
    /// long as it listens to it.
    pub(super) fn handed_over(&mut self, pid: u32) {
        self.told = Told::Stopping;
        self.watchdog = None;
        self.send(&format!("MAINPID={pid}"));
    }

    /// How often each core has to beat; nothing when there is no watchdog.
    pub(super) fn beat_interval(&self) -> Option<Duration> {
        self.watchdog.map(|limit| limit / BEATS)
    }

    /// `core` is alive. Once all of them have been since the last ping, the watchdog gets its next one.
    pub(super) fn beat(&mut self, core: usize) {
        self.silent.retain(|&silent| silent != core);
        if self.watchdog.is_some() && self.silent.is_empty() {
            if let Some(Manager { address, pings, .. }) = &self.manager {
                let _ = pings.send_to_addr(b"WATCHDOG=1", address);
            }
            self.silent.clone_from(&self.alive);
        }
    }

    /// `core` has ended as it should, and will beat no more.
    pub(super) fn ended(&mut self, core: usize) {
        self.alive.retain(|&alive| alive != core);
        self.beat(core);
    }

    fn send(&self, state: &str) {
        if let Some(Manager { address, states, .. }) = &self.manager {
            // A manager that is gone hears nothing, and one that hears nothing acts by itself.
            let _ = states.send_to_addr(state.as_bytes(), address);
        }
    }
}

/// A path, or behind `@` a name in the abstract namespace.
fn reach(path: &OsStr) -> io::Result<Manager> {
    let address = match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        [b'/', ..] => SocketAddr::from_pathname(path)?,
        _ => return Err(io::Error::new(io::ErrorKind::Unsupported, "neither an absolute path nor an @abstract name")),
    };
    let (states, pings) = (UnixDatagram::unbound()?, UnixDatagram::unbound()?);
    states.set_write_timeout(Some(SEND_LIMIT))?;
    pings.set_nonblocking(true)?;
    Ok(Manager { address, states, pings })
}

/// The watchdog's limit, if it is meant for this process and not for its parent.
fn watchdog(limit_us: &str, pid: Option<&str>) -> Option<Duration> {
    let is_ours = pid.is_none_or(|pid| pid.parse() == Ok(process::id()));
    let limit = Duration::from_micros(limit_us.parse().ok().filter(|&us| us > 0)?);
    is_ours.then_some(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A notifier of a gateway with `cores` cores, and the manager it talks to.
    fn notifier(cores: usize, watchdog: Option<Duration>) -> (Notifier, UnixDatagram, tempfile::TempDir) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("notify");
        let ear = UnixDatagram::bind(&path).expect("a socket");
        ear.set_nonblocking(true).expect("a socket");
        (Notifier::new(Some(reach(path.as_os_str()).expect("a path")), watchdog, cores), ear, dir)
    }

    fn heard(ear: &UnixDatagram) -> Vec<String> {
        let mut buffer = [0; 256];
        let next = || ear.recv(&mut buffer).ok().map(|length| String::from_utf8_lossy(&buffer[..length]).into_owned());
        std::iter::from_fn(next).collect()
    }

    const LIMIT: Option<Duration> = Some(Duration::from_secs(8));

    #[test]
    fn the_watchdog_is_pinged_only_once_every_core_has_beaten_since_the_last_ping() {
        let (mut notifier, ear, _dir) = notifier(3, LIMIT);
        assert_eq!(notifier.beat_interval(), Some(Duration::from_secs(2)));
        for core in [0, 1, 1, 0, 0] {
            notifier.beat(core);
        }
        assert!(heard(&ear).is_empty(), "core 2 has not beaten");
        notifier.beat(2);
        assert_eq!(heard(&ear), ["WATCHDOG=1"]);
        for core in [2, 1, 2] {
            notifier.beat(core);
        }
        assert!(heard(&ear).is_empty(), "core 0 has not beaten again");
        notifier.beat(0);
        assert_eq!(heard(&ear), ["WATCHDOG=1"]);
    }

    #[test]
    fn a_core_that_has_ended_is_not_waited_for() {
        let (mut notifier, ear, _dir) = notifier(2, LIMIT);
        notifier.beat(0);
        notifier.ended(1);
        assert_eq!(heard(&ear), ["WATCHDOG=1"]);
        notifier.beat(0);
        assert_eq!(heard(&ear), ["WATCHDOG=1"]);
    }

    #[test]
    fn a_manager_that_does_not_listen_holds_up_no_ping() {
        let (mut notifier, ear, _dir) = notifier(1, LIMIT);
        // Far more than its queue takes. Were one to wait for room, each further one would take a second.
        for _ in 0..100_000 {
            notifier.beat(0);
        }
        let heard = heard(&ear);
        assert!(!heard.is_empty() && heard.len() < 100_000, "{}", heard.len());
        assert!(heard.iter().all(|told| told == "WATCHDOG=1"));
    }

    #[test]
    fn without_a_watchdog_there_are_no_pings() {
        let (mut notifier, ear, _dir) = notifier(1, None);
        assert_eq!(notifier.beat_interval(), None);
        notifier.beat(0);
        assert!(heard(&ear).is_empty());
    }

    #[test]
    fn a_reload_is_told_once_and_a_drain_is_the_last() {
        let (mut notifier, ear, _dir) = notifier(1, None);
        // A reload before the first plan runs is part of starting.
        notifier.reloading();
        assert!(!notifier.is_reloading());
        notifier.ready("1 core");
        notifier.reloading();
        notifier.reloading();
        assert!(notifier.is_reloading());
        notifier.ready("1 core");
        notifier.stopping();
        notifier.reloading();
        assert!(!notifier.is_reloading());
        let heard = heard(&ear);
        let first_lines: Vec<&str> = heard.iter().filter_map(|state| state.lines().next()).collect();
        assert_eq!(first_lines, ["READY=1", "RELOADING=1", "READY=1", "STOPPING=1"]);
        assert_eq!(heard[0], "READY=1\nSTATUS=1 core");
        let since = heard[1].strip_prefix("RELOADING=1\nMONOTONIC_USEC=").and_then(|usec| usec.parse().ok());
        assert!(since.is_some_and(|usec: u64| usec > 0), "{}", heard[1]);
    }

    #[test]
    fn the_watchdog_of_another_process_is_not_ours() {
        let own = process::id().to_string();
        assert_eq!(watchdog("3000000", Some(&own)), Some(Duration::from_secs(3)));
        assert_eq!(watchdog("3000000", None), Some(Duration::from_secs(3)));
        for (limit, pid) in [("3000000", Some("1")), ("3000000", Some("x")), ("0", None), ("soon", None)] {
            assert_eq!(watchdog(limit, pid), None, "{limit} {pid:?}");
        }
        assert_eq!(Notifier::new(None, LIMIT, 1).beat_interval(), None, "nobody would hear it");
    }

    #[test]
    fn an_address_of_another_kind_is_refused() {
        for address in ["vsock:2:1234", "run/notify", &format!("/{}", "a".repeat(108))] {
            assert!(reach(OsStr::new(address)).is_err(), "{address}");
        }
    }
}
