//! `[listener.NAME]`.

use super::reader::Otherwise::{Is, Later, Required, Words};
use super::reader::{Fields, Problem, Read, Section, Spanned, key};
use super::values::{integer, is_token, network, one_of, socket_address};
use super::{limits, timeouts};
use crate::plan::{Forwarded, Limits, Timeouts};
use ipnet::IpNet;
use std::net::SocketAddr;
use toml_edit::Value;

pub(super) const SECTION: Section = Section {
    keys: &[
        key("address", "address and port, or a list", Required),
        key("backlog", "number", Is("4096")),
        key("trusted_proxies", "list of networks", Is("[]")),
        key("forwarded", "\"x-forwarded\", \"forwarded\", \"both\" or \"none\"", Is("\"x-forwarded\"")),
        key("via", "string or false", Is("\"ringway\"")),
        key("limits", "table", Words("those of `[limits]`")),
        key("timeouts", "table", Words("those of `[timeouts]`")),
        key("tls", "table", Later),
    ],
};

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
    /// See [`crate::plan::Listener::limits`].
    pub limits: Limits,
    /// See [`crate::plan::Listener::timeouts`].
    pub timeouts: Timeouts,
}

pub(super) fn read(
    name: Spanned<String>,
    fields: &Fields<'_>,
    limits: &Limits,
    timeouts: &Timeouts,
) -> ListenerSection {
    let addresses = fields.some("address", socket_address);
    let mut listener = ListenerSection {
        name,
        addresses,
        backlog: 4096,
        trusted_proxies: Vec::new(),
        forwarded: Forwarded::XForwarded,
        via: Some("ringway".to_owned()),
        limits: limits.clone(),
        timeouts: timeouts.clone(),
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
    if let Some(own) = fields.table("limits", &limits::OF_LISTENER) {
        listener.limits = limits::read(&own, limits);
    }
    if let Some(own) = fields.table("timeouts", &timeouts::OF_LISTENER) {
        listener.timeouts = timeouts::read(&own, timeouts);
    }
    listener
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
