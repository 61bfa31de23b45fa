//! What is told of requests and of the gateway itself, where, and how much of it.

use std::path::PathBuf;
use std::time::Duration;

/// How much a line of the log matters, the most important first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Something was not done that should have been.
    Error,
    /// Something needs a look.
    Warn,
    /// What the gateway does.
    #[default]
    Info,
    /// For those who look for a fault.
    Debug,
}

impl Level {
    /// All of them, the most important first.
    pub const ALL: [Self; 4] = [Self::Error, Self::Warn, Self::Info, Self::Debug];

    /// As the config and the log in JSON have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }

    /// The level of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people: `ringway: warning: TEXT`.
    Text,
    /// An object a line.
    Json,
}

/// `[log]`: what the gateway says on standard error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// What matters less is not written.
    pub level: Level,
    /// How it is written.
    pub format: LogFormat,
    /// From how long on a request is told of; never when absent.
    pub slow_request: Option<Duration>,
    /// Events of one kind that a core tells in a second.
    pub events: u32,
    /// Bytes that wait in each core for the log thread.
    pub queue: u64,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: Level::Info, format: LogFormat::Text, slow_request: None, events: 10, queue: 1 << 20 }
    }
}

/// Where the access log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTo {
    /// Standard output.
    Stdout,
    /// The end of this file.
    File(PathBuf),
}

/// How a line of the access log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessFormat {
    /// An object a line.
    Json,
    /// The combined log format of web servers.
    Combined,
}

/// `[access_log]`: a line for each request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// Where it goes.
    pub to: LogTo,
    /// How a line is written.
    pub format: AccessFormat,
    /// How long a line may wait to be written.
    pub flush: Duration,
    /// Bytes of one text of a client that a line has at most.
    pub field: u64,
}

/// Which clients see how long their request took in which stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServerTiming {
    /// None.
    #[default]
    Off,
    /// Trusted proxies.
    Trusted,
    /// All.
    On,
}
