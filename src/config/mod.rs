//! From TOML to typed sections. Every error is found, each with its place, before anything is said.

mod access_log;
mod acme;
mod admin;
mod balance;
mod certificates;
mod control;
mod cores;
mod deadline;
mod diff;
mod discover;
mod effective;
mod environment;
mod format;
mod grpc;
mod health;
mod http2;
mod include;
mod kind;
mod limits;
mod listener;
mod log;
mod mirror;
mod nearest;
mod policy;
mod reader;
mod report;
mod respond;
mod retry;
mod route;
mod schema;
mod secret;
mod service;
mod sources;
mod syntax;
mod timeouts;
mod tls;
mod tree;
mod upstream;
mod values;
mod websocket;
mod written;

pub use diff::{Change, Diff, Object, diff};
pub(crate) use discover::{EndpointsFile, is_name, read_endpoints};
pub use effective::Effective;
pub use format::format;
pub use listener::ListenerSection;
pub(crate) use nearest::nearest;
pub(crate) use policy::{
    DelaySection, Distribution, EditsSection, FaultSection, HeadersSection, PolicyKeys, RedirectPolicySection,
    RedirectTo, RespondPolicySection, RewriteSection, ValueSection,
};
pub use policy::{PolicyRef, PolicySection};
pub use reader::Spanned;
pub(crate) use reader::{Fields, Section as KeyTable};
pub(crate) use report::Diagnostics;
pub use report::{Diagnostic, Report, Severity};
pub use route::{RouteSection, Target};
pub use schema::schema;
pub use secret::Secret;
pub use service::{AggregateCheckSection, AggregateSection, ServiceKind, ServiceSection, TargetSection};
pub use upstream::{EndpointSays, EndpointSection, UpstreamSection};
pub use values::HostPort;
pub use written::Written;

use crate::plan::{self, AccessLog, Acme, Admin, Certificates, Control, Cores, Limits, Log, Plan, Timeouts};
use environment::Environment;
use kind::Kind::{List, Named, Table, Tables, Typed};
use kind::PATH;
use reader::Otherwise::{Required, Words};
use reader::{Section, key, section};
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;

/// Every section of the file: the field of [`Config`] with its type, the key, the kind and what holds without it.
/// `read` of the module named last fills the field; sections are read in this order. A new section is a module and a
/// line here.
macro_rules! sections {
    ($($(#[doc = $doc:literal])* $field:ident: $type:ty = $key:literal, $kind:expr, $otherwise:expr, $module:ident;)*) => {
        /// A config, section by section. What could not be read has its default, and a diagnostic.
        #[derive(Clone, Debug, Default)]
        pub struct Config {
            $($(#[doc = $doc])* pub $field: $type,)*
        }

        const ROOT: Section = section("The file", &[
            key("include", List("paths or patterns", &PATH), Words("no other file")),
            $(key($key, $kind, $otherwise),)*
        ]);

        const READERS: &[fn(&Fields<'_>, &mut Config)] = &[$($module::read_all),*];
    };
}

sections! {
    /// `[cores]`, and what `[limits]` says of a core.
    cores: Cores = "cores", Table(&cores::SECTION), Words("as its keys say"), cores;
    /// `[control]`.
    control: Control = "control", Table(&control::SECTION), Words("as its keys say"), control;
    /// `[admin]`; there is no admin API without it.
    admin: Option<Admin> = "admin", Table(&admin::SECTION), Words("no admin API"), admin;
    /// `[log]`.
    log: Log = "log", Table(&log::SECTION), Words("as its keys say"), log;
    /// `[access_log]`; there is no access log without it.
    access_log: Option<AccessLog> = "access_log", Table(&access_log::SECTION), Words("no access log"), access_log;
    /// `[limits]`.
    limits: Limits = "limits", Table(&limits::SECTION), Words("as its keys say"), limits;
    /// `[timeouts]`.
    timeouts: Timeouts = "timeouts", Table(&timeouts::SECTION), Words("as its keys say"), timeouts;
    /// `[certificates]`.
    certificates: Certificates = "certificates", Table(&certificates::SECTION), Words("as its keys say"), certificates;
    /// `[acme.NAME]`.
    acme: Vec<Acme> = "acme", Named(&Table(&acme::SECTION)), Words("none"), acme;
    /// `[listener.NAME]`.
    listeners: Vec<ListenerSection> = "listener", Named(&Table(&listener::SECTION)), Required, listener;
    /// `[upstream.NAME]`.
    upstreams: Vec<UpstreamSection> = "upstream", Named(&Table(&upstream::SECTION)), Words("none"), upstream;
    /// `[policy.NAME]`.
    policies: Vec<PolicySection> = "policy", Named(&Typed(policy::TYPES)), Words("none"), policy;
    /// `[service.NAME]`.
    services: Vec<ServiceSection> = "service", Named(&Typed(service::TYPES)), Words("none"), service;
    /// `[[route]]`.
    routes: Vec<RouteSection> = "route", Tables(&route::SECTION), Required, route;
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

/// What came of a config.
#[derive(Debug)]
pub struct Loaded {
    /// What cores run.
    pub plan: Plan,
    /// Warnings, and the files that were read.
    pub report: Report,
    /// What the config says, to be compared with another.
    pub effective: Effective,
}

/// Reads a file, and those it includes, into a plan.
pub fn load(path: &Path, epoch: u64, resolve: Resolve<'_>) -> Result<Loaded, LoadError> {
    let text = include::read_file(path).map_err(|why| LoadError::File(format!("{}: error: {why}", path.display())))?;
    load_text(path, &text, None, &|name| std::env::var_os(name), epoch, resolve).map_err(LoadError::Config)
}

/// Turns the text of a config into a plan. `file` is its name in reports, and relative paths in it are read against
/// the directory of that name; the report that comes with a plan holds warnings only.
pub fn compile(file: &str, text: &str, epoch: u64, resolve: Resolve<'_>) -> Result<(Plan, Report), Report> {
    let loaded = load_text(Path::new(file), text, None, &|name| std::env::var_os(name), epoch, resolve)?;
    Ok((loaded.plan, loaded.report))
}

/// What is `kept` takes the place of the other files.
fn load_text(
    path: &Path,
    text: &str,
    kept: Option<&Written>,
    environment: Environment<'_>,
    epoch: u64,
    resolve: Resolve<'_>,
) -> Result<Loaded, Report> {
    let diags = Diagnostics::default();
    let asked = written::Asked::default();
    let look_up = |name: &str| {
        let value = environment(name);
        asked.note(name, value.as_ref());
        value
    };
    let table = include::read(path, text, kept, &look_up, &diags);
    let loaded = table.map(|table| {
        let config = read(&table, &diags);
        // Secrets are known once the sections have been read.
        let mut effective = Effective::of(&table, &diags.sources());
        effective.written = diags.sources().written(asked.into_inner()).into();
        (plan::build(&config, epoch, resolve, &diags), effective)
    });
    let report = diags.into_report();
    match loaded {
        Some((Some(plan), effective)) if report.errors() == 0 => Ok(Loaded { plan, report, effective }),
        _ => Err(report),
    }
}

/// Reads all sections.
fn read(table: &tree::Table, diags: &Diagnostics) -> Config {
    let root = Fields::new(table, "", 0..0, &ROOT, diags);
    let mut config = Config::default();
    for read in READERS {
        read(&root, &mut config);
    }
    for (key, header) in [("listener", "[listener.NAME]"), ("route", "[[route]]")] {
        if !root.has(key) {
            diags.push(Diagnostic::error(0..0, format!("the config has no {header}")));
        }
    }
    config
}

#[cfg(test)]
mod several;
#[cfg(test)]
mod tests;
