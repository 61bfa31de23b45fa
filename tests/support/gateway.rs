//! The gateway as a process.

use std::fmt::Write;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc;

use rustix::process::Signal;
use tempfile::TempDir;

use super::{Child, Client, Origin, PATIENCE, Process};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    Ring,
    Glommio,
}

impl Engine {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Engine::Ring => "ring",
            Engine::Glommio => "glommio",
        }
    }
}

/// A config under construction: one listener on a free port, and, once it has an origin, one upstream with one route
/// for every path.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    cores: String,
    limits: String,
    timeouts: String,
    listener: String,
    upstream: String,
    route: String,
    more: String,
    endpoints: Vec<SocketAddr>,
    address: String,
    launcher: Vec<String>,
    flags: Vec<String>,
}

impl Config {
    pub(crate) fn new(engine: Engine) -> Self {
        let engine = engine.name();
        Self {
            // Few buffers: many gateways run at once.
            cores: format!("data = 1\nengine = \"{engine}\"\nbuffers = 64\n"),
            limits: String::new(),
            timeouts: String::new(),
            listener: String::new(),
            upstream: String::new(),
            route: String::new(),
            more: String::new(),
            endpoints: Vec::new(),
            address: "127.0.0.1:0".to_owned(),
            launcher: Vec::new(),
            flags: Vec::new(),
        }
    }

    /// With so many cores instead of one.
    pub(crate) fn data(self, cores: usize) -> Self {
        Self { cores: self.cores.replace("data = 1\n", &format!("data = {cores}\n")), ..self }
    }

    fn line(mut self, part: fn(&mut Self) -> &mut String, line: &str) -> Self {
        writeln!(part(&mut self), "{line}").expect("a String takes it");
        self
    }

    pub(crate) fn origin(self, origin: &Origin) -> Self {
        self.endpoint(origin.address)
    }

    pub(crate) fn endpoint(mut self, endpoint: SocketAddr) -> Self {
        self.endpoints.push(endpoint);
        self
    }

    pub(crate) fn address(self, address: impl std::fmt::Display) -> Self {
        Self { address: address.to_string(), ..self }
    }

    pub(crate) fn cores(self, line: &str) -> Self {
        self.line(|config| &mut config.cores, line)
    }

    pub(crate) fn limits(self, line: &str) -> Self {
        self.line(|config| &mut config.limits, line)
    }

    pub(crate) fn timeouts(self, line: &str) -> Self {
        self.line(|config| &mut config.timeouts, line)
    }

    pub(crate) fn listener(self, line: &str) -> Self {
        self.line(|config| &mut config.listener, line)
    }

    pub(crate) fn upstream(self, line: &str) -> Self {
        self.line(|config| &mut config.upstream, line)
    }

    /// The program, with its arguments, that turns into the gateway: `env`, say.
    pub(crate) fn under(self, launcher: Vec<String>) -> Self {
        Self { launcher, ..self }
    }

    /// A flag of `ringway run`.
    pub(crate) fn flag(mut self, flag: &str) -> Self {
        self.flags.push(flag.to_owned());
        self
    }

    /// A key of the one route.
    pub(crate) fn route(self, line: &str) -> Self {
        self.line(|config| &mut config.route, line)
    }

    /// Further tables.
    pub(crate) fn more(self, text: &str) -> Self {
        self.line(|config| &mut config.more, text)
    }

    pub(crate) fn text(&self) -> String {
        let Self { cores, limits, timeouts, listener, upstream, route, more, endpoints, address, .. } = self;
        let mut text = format!(
            "[cores]\n{cores}\n[limits]\n{limits}\n[timeouts]\n{timeouts}\n\
             [listener.web]\naddress = \"{address}\"\n{listener}\n"
        );
        if !endpoints.is_empty() {
            let endpoints: Vec<String> = endpoints.iter().map(ToString::to_string).collect();
            let path = if route.contains("path =") { "" } else { "path = \"/{rest...}\"\n" };
            write!(
                text,
                "[upstream.origin]\nendpoints = {endpoints:?}\n{upstream}\n\
                 [[route]]\nname = \"all\"\nupstream = \"origin\"\n{path}{route}\n"
            )
            .expect("a String takes it");
        }
        text + more
    }

    /// Starts the gateway without waiting until it is ready.
    pub(crate) fn spawn(&self) -> (Child, TempDir) {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("ringway.toml");
        fs::write(&file, self.text()).expect("the config is written");
        let ringway = env!("CARGO_BIN_EXE_ringway").to_owned();
        let mut words = self.launcher.iter().chain([&ringway]);
        let mut command = Command::new(words.next().unwrap_or(&ringway));
        command.args(words).arg("run").arg(&file).args(&self.flags).stdout(Stdio::piped());
        (Child::start(&mut command), dir)
    }

    /// Starts the gateway and waits until it is ready.
    pub(crate) fn start(&self) -> Gateway {
        let (mut child, dir) = self.spawn();
        let out = child.stdout();
        let (send, ready) = mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let read = BufReader::new(out).read_line(&mut line);
            // A test that is over needs it no more.
            let _ = send.send(read.map(|_| line));
        });
        let ready = ready.recv_timeout(PATIENCE).expect("the gateway starts or fails");
        let ready = ready.expect("the gateway says when it is ready");
        assert!(!ready.is_empty(), "the gateway does not start: {}\n{}", child.wait().errors, self.text());
        let addresses = ready.trim_end().rsplit_once("listening on ").expect("a ready line").1;
        let address = |listener: &str| listener.rsplit_once(' ').and_then(|(_, address)| address.parse().ok());
        let addresses: Vec<SocketAddr> = addresses.split(", ").filter_map(address).collect();
        Gateway { child, address: *addresses.first().expect("a listener"), addresses, ready, dir }
    }
}

/// A running gateway.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) child: Child,
    /// Where its first listener is.
    pub(crate) address: SocketAddr,
    pub(crate) addresses: Vec<SocketAddr>,
    /// The line it printed when it was ready.
    pub(crate) ready: String,
    dir: TempDir,
}

impl Gateway {
    /// A gateway in front of an origin, all else left at its default.
    pub(crate) fn before(engine: Engine) -> (Self, Origin) {
        let origin = Origin::listen();
        (Config::new(engine).origin(&origin).start(), origin)
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// Where its config is.
    pub(crate) fn file(&self) -> PathBuf {
        self.dir.path().join("ringway.toml")
    }

    /// Has it read another config, and waits for what it says of that.
    pub(crate) fn reload(&self, config: &Config) -> String {
        fs::write(self.file(), config.text()).expect("the config is written");
        self.child.signal(Signal::HUP);
        let mut said = self.child.says("plan ");
        // On a machine that is busy the watchdog may say which plan a core is at.
        while said.lines().last().is_some_and(|line| line.contains("away from its loop")) {
            said += &self.child.says("plan ");
        }
        said
    }

    /// As [`Gateway::reload`] with a config that it takes.
    pub(crate) fn run(&self, config: &Config) -> String {
        let said = self.reload(config);
        // What happened before that was told, too.
        let last = said.lines().last().unwrap_or_default();
        let runs = last.starts_with("ringway: plan ") || last.contains("\"message\":\"plan ");
        assert!(runs, "{said}\n{}", config.text());
        said
    }

    /// Asks it to end and waits until it has.
    pub(crate) fn stop(self) -> Process {
        self.child.signal(Signal::TERM);
        self.child.wait()
    }

    pub(crate) fn terminate(&self) {
        self.child.signal(Signal::TERM);
    }
}
