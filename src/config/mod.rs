//! From TOML to typed sections. Every error is found, each with its place, before anything is said.

mod cores;
mod limits;
mod listener;
mod nearest;
mod policy;
mod reader;
mod report;
mod route;
mod service;
mod syntax;
mod timeouts;
mod upstream;
mod values;

pub use listener::ListenerSection;
pub(crate) use nearest::nearest;
pub use policy::{EditsSection, PolicyKind, PolicySection};
pub use reader::Spanned;
pub(crate) use report::Diagnostics;
pub use report::{Diagnostic, Report, Severity};
pub use route::{PolicyRef, RouteSection, Target};
pub use service::{ServiceKind, ServiceSection};
pub use upstream::{EndpointSection, UpstreamSection};
pub use values::HostPort;

use crate::plan::{self, Cores, Limits, Plan, Timeouts};
use reader::Otherwise::{Required, Words};
use reader::{Fields, Section, key};
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;

const ROOT: Section = Section {
    keys: &[
        key("cores", "table", Words("as its keys say")),
        key("limits", "table", Words("as its keys say")),
        key("timeouts", "table", Words("as its keys say")),
        key("listener", "tables by name", Required),
        key("upstream", "tables by name", Words("none")),
        key("policy", "tables by name", Words("none")),
        key("service", "tables by name", Words("none")),
        key("route", "array of tables", Required),
    ],
};

/// The largest config file, in bytes.
const FILE_MAX: u64 = 64 << 20;

/// A config, section by section. What could not be read has its default, and a diagnostic.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// `[cores]`, and what `[limits]` says of a core.
    pub cores: Cores,
    /// `[limits]`.
    pub limits: Limits,
    /// `[timeouts]`.
    pub timeouts: Timeouts,
    /// `[listener.NAME]`.
    pub listeners: Vec<ListenerSection>,
    /// `[upstream.NAME]`.
    pub upstreams: Vec<UpstreamSection>,
    /// `[policy.NAME]`.
    pub policies: Vec<PolicySection>,
    /// `[service.NAME]`.
    pub services: Vec<ServiceSection>,
    /// `[[route]]`.
    pub routes: Vec<RouteSection>,
}

/// How a host name and a port become addresses. The error says why they do not.
pub type Resolve<'a> = &'a mut dyn FnMut(&str, u16) -> Result<Vec<SocketAddr>, String>;

/// Why there is no plan.
#[derive(Debug)]
pub enum LoadError {
    /// The file could not be read.
    File(String),
    /// The config is wrong.
    Config(Report),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(why) => writeln!(f, "{why}"),
            Self::Config(report) => report.fmt(f),
        }
    }
}

impl std::error::Error for LoadError {}

/// Reads a file into a plan. The report that comes with a plan holds warnings only.
pub fn load(path: &Path, epoch: u64, resolve: Resolve<'_>) -> Result<(Plan, Report), LoadError> {
    let file = path.display().to_string();
    let text = read_file(path).map_err(|why| LoadError::File(format!("{file}: error: {why}")))?;
    compile(&file, &text, epoch, resolve).map_err(LoadError::Config)
}

fn read_file(path: &Path) -> Result<String, String> {
    let length = std::fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?.len();
    if length > FILE_MAX {
        return Err(format!("a config has at most {FILE_MAX} bytes"));
    }
    let bytes = std::fs::read(path).map_err(|error| format!("cannot be read: {error}"))?;
    String::from_utf8(bytes).map_err(|error| format!("byte {} is not UTF-8", error.utf8_error().valid_up_to() + 1))
}

/// Turns the text of a config into a plan. `file` is its name in reports; the report that comes with a plan holds
/// warnings only.
pub fn compile(file: &str, text: &str, epoch: u64, resolve: Resolve<'_>) -> Result<(Plan, Report), Report> {
    let diags = Diagnostics::default();
    let plan = read(text, &diags).and_then(|config| plan::build(&config, epoch, resolve, &diags));
    let report = Report::new(file, text, diags.into_vec());
    match plan {
        Some(plan) if report.errors() == 0 => Ok((plan, report)),
        _ => Err(report),
    }
}

/// Reads all sections; nothing when the text is no TOML.
fn read(text: &str, diags: &Diagnostics) -> Option<Config> {
    let document = syntax::parse(text, diags)?;
    let root = Fields::new(document.as_table(), "", 0..0, &ROOT, diags);
    let mut config = Config::default();
    if let Some(fields) = root.table("cores", &cores::SECTION) {
        config.cores = cores::read(&fields);
    }
    if let Some(fields) = root.table("limits", &limits::SECTION) {
        config.limits = limits::read(&fields, &config.limits);
        limits::read_core(&fields, &mut config.cores);
    }
    if let Some(fields) = root.table("timeouts", &timeouts::SECTION) {
        config.timeouts = timeouts::read(&fields, &config.timeouts);
    }
    for (name, fields) in root.named("listener", &listener::SECTION) {
        config.listeners.push(listener::read(checked(name, diags), &fields, &config.limits, &config.timeouts));
    }
    for (name, fields) in root.named("upstream", &upstream::SECTION) {
        config.upstreams.push(upstream::read(checked(name, diags), &fields));
    }
    for (name, table) in root.named_tables("policy") {
        let path = root.path_of(&format!("policy.{}", name.value));
        config.policies.push(policy::read(checked(name, diags), table, &root, &path));
    }
    for (name, table) in root.named_tables("service") {
        let path = root.path_of(&format!("service.{}", name.value));
        config.services.push(service::read(checked(name, diags), table, &root, &path));
    }
    config.routes = root.tables("route", &route::SECTION).iter().map(route::read).collect();
    for (key, header) in [("listener", "[listener.NAME]"), ("route", "[[route]]")] {
        if !root.has(key) {
            diags.push(Diagnostic::error(0..0, format!("the config has no {header}")));
        }
    }
    Some(config)
}

fn checked(name: Spanned<String>, diags: &Diagnostics) -> Spanned<String> {
    if let Err(problem) = values::check_name(&name.value) {
        diags.push(Diagnostic::error(name.span.clone(), problem.message).maybe_help(problem.help));
    }
    name
}

#[cfg(test)]
mod tests;
