//! `[listener.NAME]`.

use super::kind::Kind::{Either, Flag, List, Number, OneOf, Table, Text};
use super::kind::{ADDRESS, Kind, NETWORK, TOKEN_PATTERN};
use super::policy::{self, PolicyRef};
use super::reader::Otherwise::{Is, Required, Words};
use super::reader::{Fields, Problem, Read, Section, Spanned, key, section};
use super::tree::Value;
use super::values::{boolean, integer, is_token, listen_address, network, one_of};
use super::{Config, deadline, http2, limits, timeouts, tls, values};
use crate::plan::{Deadline, Forwarded, Http2, Limits, ListenerTls, ServerTiming, Timeouts};
use ipnet::IpNet;
use ringway_runtime::net::{Access, Address};

pub(super) const SECTION: Section = section(
    "[listener.NAME]",
    &[
        key("address", List("addresses and ports", &ADDRESS), Required),
        key("backlog", Number("number", 1, 65_535), Is("4096")),
        key("unix", Table(&UNIX), Words("as its keys say")),
        key("trusted_proxies", List("networks", &Either(&[NETWORK, OneOf(&["unix"])])), Is("[]")),
        key("proxy_protocol", OneOf(&["off", "required"]), Is("\"off\"")),
        key("forwarded", OneOf(&["x-forwarded", "forwarded", "both", "none"]), Is("\"x-forwarded\"")),
        key("via", Either(&[Text("string", TOKEN_PATTERN), Flag(false)]), Is("\"ringway\"")),
        key("server_timing", Either(&[Flag(true), Flag(false), OneOf(&["trusted"])]), Is("false")),
        key("access_log", Either(&[Flag(true), Flag(false)]), Is("true")),
        key("policies", policy::REFERENCES, Is("[]")),
        key("limits", Table(&limits::OF_LISTENER), Words("those of `[limits]`")),
        key("timeouts", Table(&timeouts::OF_LISTENER), Words("those of `[timeouts]`")),
        key("http2", Table(&http2::OF_LISTENER), Words("as its keys say")),
        key("deadline", Table(&deadline::OF_LISTENER), Words("nobody gives one, nobody is told")),
        key("tls", Table(&tls::OF_LISTENER), Words("none: what clients send is read as it is")),
    ],
);

/// Of the files of Unix sockets.
pub(super) const UNIX: Section = section(
    "[listener.NAME.unix]",
    &[
        key("mode", Text("permissions", "^0?[0-7]{3}$"), Is("\"0660\"")),
        key("owner", USER, Words("the user that the gateway runs as")),
        key("group", USER, Words("the group that the gateway runs as")),
    ],
);

/// A name of a user or a group, or a number.
const USER: Kind = Text("user or group", "^[A-Za-z0-9._-]{1,64}$");

/// A listener, as the config has it.
#[derive(Clone, Debug)]
pub struct ListenerSection {
    /// Its name.
    pub name: Spanned<String>,
    /// At least one, if the section is right.
    pub addresses: Vec<Spanned<Address>>,
    /// See [`crate::plan::Listener::access`].
    pub access: Access,
    /// See [`crate::plan::Listener::backlog`].
    pub backlog: u32,
    /// See [`crate::plan::Listener::trusted_proxies`].
    pub trusted_proxies: Vec<IpNet>,
    /// See [`crate::plan::Listener::trusts_unix`].
    pub trusts_unix: bool,
    /// See [`crate::plan::Listener::proxy_protocol`].
    pub proxy_protocol: bool,
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
    /// See [`crate::plan::Listener::http2`].
    pub http2: Http2,
    /// See [`crate::plan::Listener::deadline`].
    pub deadline: Option<Deadline>,
    /// See [`crate::plan::Listener::tls`].
    pub tls: Option<ListenerTls>,
}

pub(super) fn read_all(root: &Fields<'_>, config: &mut Config) {
    for (name, fields) in root.named("listener", &SECTION) {
        let mut listener = read(name, &fields, &config.limits, &config.timeouts);
        let has_store = config.certificates.directory.is_some();
        let rotation = config.control.ticket_rotation;
        listener.tls = tls::of_listener(&listener.name.value, &fields, rotation, listener.http2.is_enabled, has_store);
        // Before the others, so that it has the last word on the way out.
        listener.policies.splice(0..0, tls::hsts(&fields));
        config.listeners.push(listener);
    }
}

fn read(name: Spanned<String>, fields: &Fields<'_>, limits: &Limits, timeouts: &Timeouts) -> ListenerSection {
    let addresses = fields.some("address", listen_address);
    let mut listener = ListenerSection {
        name,
        addresses,
        backlog: 4096,
        access: Access { mode: 0o660, owner: None, group: None },
        trusted_proxies: Vec::new(),
        trusts_unix: false,
        proxy_protocol: false,
        forwarded: Forwarded::XForwarded,
        via: Some("ringway".to_owned()),
        server_timing: ServerTiming::Off,
        access_log: true,
        policies: policy::references(fields),
        limits: limits.clone(),
        timeouts: timeouts.clone(),
        http2: http2::of_listener(fields),
        deadline: fields.table("deadline", &deadline::OF_LISTENER).map(|own| deadline::deadline(&own)),
        tls: None,
    };
    fields.set("backlog", &mut listener.backlog, integer(1..=65_535));
    if let Some(trusted) = fields.list("trusted_proxies", trusted) {
        listener.trusts_unix = trusted.iter().any(|trusted| trusted.value.is_none());
        listener.trusted_proxies = trusted.into_iter().filter_map(|trusted| trusted.value).collect();
    }
    if let Some(own) = fields.table("unix", &UNIX) {
        own.set("mode", &mut listener.access.mode, mode);
        own.set("owner", &mut listener.access.owner, |value| values::name(value).map(Some));
        own.set("group", &mut listener.access.group, |value| values::name(value).map(Some));
        if !listener.addresses.is_empty() && !listener.addresses.iter().any(|address| has_file(&address.value)) {
            let problem = Problem::new("no address of this listener is the path of a Unix socket");
            fields.complain("unix", fields.key_span("unix"), problem);
        }
    }
    fields.set("proxy_protocol", &mut listener.proxy_protocol, one_of(&[("off", false), ("required", true)]));
    if listener.proxy_protocol && listener.trusted_proxies.is_empty() && !listener.trusts_unix {
        let problem = Problem::new("nobody may send the PROXY header that this listener requires");
        let help = "name those who may in `trusted_proxies`: networks, or \"unix\"";
        fields.complain("proxy_protocol", fields.key_span("proxy_protocol"), problem.with_help(help));
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

/// A network, or nothing for every Unix socket.
fn trusted(value: &Value) -> Read<Option<IpNet>> {
    if value.as_str() == Some("unix") { Ok(None) } else { network(value).map(Some) }
}

fn has_file(address: &Address) -> bool {
    address.unix().is_some_and(|name| !name.is_abstract())
}

/// Permissions as chmod has them.
fn mode(value: &Value) -> Read<u32> {
    let wrong = || Problem::new("permissions are wanted").with_help("three octal digits, such as \"0660\"");
    let text = value.as_str().ok_or_else(wrong)?;
    let digits = if text.len() == 4 { text.strip_prefix('0').unwrap_or_default() } else { text };
    let is_octal = digits.len() == 3 && digits.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
    if is_octal { u32::from_str_radix(digits, 8).map_err(|_| wrong()) } else { Err(wrong()) }
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
