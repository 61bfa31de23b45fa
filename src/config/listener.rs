//! `[listener.NAME]`.

use super::kind::Kind::{Either, Flag, List, Number, OneOf, Table, Text, Unknown};
use super::kind::{ADDRESS, NETWORK, TOKEN_PATTERN};
use super::policy::{self, PolicyRef};
use super::reader::Otherwise::{Is, Later, Required, Words};
use super::reader::{Fields, Problem, Read, Section, Spanned, key, section};
use super::tree::Value;
use super::values::{boolean, integer, is_token, network, one_of, socket_address};
use super::{Config, deadline, limits, timeouts};
use crate::plan::{Deadline, Forwarded, Limits, ServerTiming, Timeouts};
use ipnet::IpNet;
use std::net::SocketAddr;

pub(super) const SECTION: Section = section(
    "[listener.NAME]",
    &[
        key("address", List("addresses and ports", &ADDRESS), Required),
        key("backlog", Number("number", 1, 65_535), Is("4096")),
        key("trusted_proxies", List("networks", &NETWORK), Is("[]")),
        key("forwarded", OneOf(&["x-forwarded", "forwarded", "both", "none"]), Is("\"x-forwarded\"")),
        key("via", Either(&[Text("string", TOKEN_PATTERN), Flag(false)]), Is("\"ringway\"")),
        key("server_timing", Either(&[Flag(true), Flag(false), OneOf(&["trusted"])]), Is("false")),
        key("access_log", Either(&[Flag(true), Flag(false)]), Is("true")),
        key("policies", policy::REFERENCES, Is("[]")),
        key("limits", Table(&limits::OF_LISTENER), Words("those of `[limits]`")),
        key("timeouts", Table(&timeouts::OF_LISTENER), Words("those of `[timeouts]`")),
        key("deadline", Table(&deadline::OF_LISTENER), Words("nobody gives one, nobody is told")),
        key("tls", Unknown, Later),
    ],
);

/// A listener, as the config has it.
#[derive(Clone, Debug)]
pub struct ListenerSection {
    /// Its name.
    pub name: Spanned<String>,
    /// At least one, if the section is right.
    pub addresses: Vec<Spanned<SocketAddr>>,
    /// See [`crate::plan::Listener::backlog`].
    pub backlog: u32,
    /// See [`crate::plan::Listener::trusted_proxies`].
    pub trusted_proxies: Vec<IpNet>,
    /// See [`crate::plan::Listener::forwarded`].
    pub forwarded: Forwarded,
    /// See [`crate::plan::Listener::via`].
    pub via: Option<String>,
    /// In the order they apply.
    pub policies: Vec<PolicyRef>,
    /// See [`crate::plan::Listener::server_timing`].
    pub server_timing: ServerTiming,
    /// See [`crate::plan::Listener::access_log`].
    pub access_log: bool,
    /// See [`crate::plan::Listener::limits`].
    pub limits: Limits,
    /// See [`crate::plan::Listener::timeouts`].
    pub timeouts: Timeouts,
    /// See [`crate::plan::Listener::deadline`].
    pub deadline: Option<Deadline>,
}

pub(super) fn read_all(root: &Fields<'_>, config: &mut Config) {
    for (name, fields) in root.named("listener", &SECTION) {
        config.listeners.push(read(name, &fields, &config.limits, &config.timeouts));
    }
}

fn read(name: Spanned<String>, fields: &Fields<'_>, limits: &Limits, timeouts: &Timeouts) -> ListenerSection {
    let addresses = fields.some("address", socket_address);
    let mut listener = ListenerSection {
        name,
        addresses,
        backlog: 4096,
        trusted_proxies: Vec::new(),
        forwarded: Forwarded::XForwarded,
        via: Some("ringway".to_owned()),
        server_timing: ServerTiming::Off,
        access_log: true,
        policies: policy::references(fields),
        limits: limits.clone(),
        timeouts: timeouts.clone(),
        deadline: fields.table("deadline", &deadline::OF_LISTENER).map(|own| deadline::deadline(&own)),
    };
    fields.set("backlog", &mut listener.backlog, integer(1..=65_535));
    if let Some(networks) = fields.list("trusted_proxies", network) {
        listener.trusted_proxies = networks.into_iter().map(|network| network.value).collect();
    }
    const FORWARDED: &[(&str, Forwarded)] = &[
        ("x-forwarded", Forwarded::XForwarded),
        ("forwarded", Forwarded::Forwarded),
        ("both", Forwarded::Both),
        ("none", Forwarded::None),
    ];
    fields.set("forwarded", &mut listener.forwarded, one_of(FORWARDED));
    fields.set("via", &mut listener.via, via);
    fields.set("server_timing", &mut listener.server_timing, server_timing);
    fields.set("access_log", &mut listener.access_log, boolean);
    if let Some(own) = fields.table("limits", &limits::OF_LISTENER) {
        listener.limits = limits::read(&own, limits);
    }
    if let Some(own) = fields.table("timeouts", &timeouts::OF_LISTENER) {
        listener.timeouts = timeouts::read(&own, timeouts);
    }
    listener
}

fn server_timing(value: &Value) -> Read<ServerTiming> {
    match (value.as_bool(), value.as_str()) {
        (Some(true), _) => Ok(ServerTiming::On),
        (Some(false), _) => Ok(ServerTiming::Off),
        (None, Some("trusted")) => Ok(ServerTiming::Trusted),
        _ => Err(Problem::new("true, false or \"trusted\" is wanted")),
    }
}

/// A pseudonym (RFC 9110 section 7.6.3).
fn via(value: &Value) -> Read<Option<String>> {
    match (value.as_str(), value.as_bool()) {
        (Some(name), _) if is_token(name) => Ok(Some(name.to_owned())),
        (Some(name), _) => Err(Problem::new(format!("\"{name}\" is no pseudonym: letters, digits, `-`, `.` and `_`"))),
        (None, Some(false)) => Ok(None),
        _ => Err(Problem::new("a name, or false, is wanted")),
    }
}
