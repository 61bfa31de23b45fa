//! `[upstream.NAME]`.

use super::Config;
use super::balance::{self, BALANCE, FAILOVER, METADATA, SLOW_START, STICKY};
use super::discover::{self, DISCOVER};
use super::health::{self, BREAKER, HEALTH, OUTLIER};
use super::http2;
use super::kind::Kind::{Duration, Either, List, Number, OneOf, Table};
use super::kind::{HOST_PORT, Kind, NAME};
use super::reader::Otherwise::{Is, Required, Words};
use super::reader::{Fields, Problem, Section, Spanned, key, section};
use super::retry;
use super::tls;
use super::tree::Value;
use super::values::{HostPort, duration, host_port, integer, name, one_of};
use crate::plan::{
    Balance, Breaker, Discover, Endpoint, Failover, Health, Http2, Outlier, Pool, ProxyVersion, Retry, SlowStart,
    Sticky, UpstreamTimeouts,
};
use crate::tls::ClientSettings;
use ringway_runtime::net::Address;
use std::sync::Arc;

pub(super) const SECTION: Section = section(
    "[upstream.NAME]",
    &[
        key("endpoints", ENDPOINTS, Words("those that `discover` finds")),
        key("discover", DISCOVER, Words("no others")),
        key("balance", BALANCE, Is("\"round-robin\"")),
        key("sticky", Table(&STICKY), Words("no cookies")),
        key("failover", Table(&FAILOVER), Words("as its keys say")),
        key("slow_start", SLOW_START, Words("whole shares at once")),
        key("health", Table(&HEALTH), Words("no checks")),
        key("outlier", Table(&OUTLIER), Words("none is left out")),
        key("breaker", Table(&BREAKER), Words("none")),
        key("retry", Table(&retry::RETRY), Words("as its keys say")),
        key("timeout", Table(&TIMEOUT), Words("as its keys say")),
        key("pool", Table(&POOL), Words("as its keys say")),
        key("proxy_protocol", OneOf(&["off", "v1", "v2"]), Is("\"off\"")),
        key("protocol", OneOf(&["http/1.1", "h2"]), Is("\"http/1.1\"")),
        key("http2", Table(&http2::OF_UPSTREAM), Words("as its keys say")),
        key("tls", Table(&tls::OF_UPSTREAM), Words("none: it is spoken to as it is")),
    ],
);

pub(super) const ENDPOINTS: Kind = List("addresses or tables", &Either(&[HOST_PORT, Table(&ENDPOINT)]));

const ENDPOINT: Section = section(
    "[upstream.NAME] endpoints",
    &[
        key("address", HOST_PORT, Required),
        key("weight", Number("number", 1, 1_000), Is("1")),
        key("priority", Number("number", 0, 15), Is("0")),
        key("zone", NAME, Words("none")),
        key("metadata", METADATA, Is("{}")),
        key("max_requests", Number("number", 1, 1_000_000), Words("any number")),
        key("max_connections", Number("number", 1, 1_000_000), Words("that of the pool")),
    ],
);

pub(super) const TIMEOUT: Section = section(
    "[upstream.NAME.timeout]",
    &[
        key("connect", Duration, Is("\"1s\"")),
        key("first_byte", Duration, Is("\"30s\"")),
        key("idle", Duration, Is("\"30s\"")),
        key("total", Duration, Is("\"1h\"")),
    ],
);

pub(super) const POOL: Section = section(
    "[upstream.NAME.pool]",
    &[
        key("max_idle", Number("number", 0, 1_000_000), Is("64")),
        key("idle", Duration, Is("\"60s\"")),
        key("lifetime", Duration, Is("\"1h\"")),
        key("max_connections", Number("number", 1, 1_000_000), Is("1024")),
        key("max_waiting", Number("number", 0, 1_000_000), Is("1024")),
        key("wait", Duration, Is("\"1s\"")),
    ],
);

/// An upstream, as the config has it.
#[derive(Clone, Debug)]
pub struct UpstreamSection {
    /// Its name.
    pub name: Spanned<String>,
    /// At least one, if the section is right and finds no others.
    pub endpoints: Vec<EndpointSection>,
    /// See [`crate::plan::Upstream::discover`].
    pub discover: Option<Discover>,
    /// See [`crate::plan::Upstream::balance`].
    pub balance: Balance,
    /// See [`crate::plan::Upstream::sticky`].
    pub sticky: Option<Sticky>,
    /// See [`crate::plan::Upstream::failover`].
    pub failover: Failover,
    /// See [`crate::plan::Upstream::slow_start`].
    pub slow_start: Option<SlowStart>,
    /// See [`crate::plan::Upstream::health`].
    pub health: Option<Health>,
    /// See [`crate::plan::Upstream::outlier`].
    pub outlier: Option<Outlier>,
    /// See [`crate::plan::Upstream::breaker`].
    pub breaker: Option<Breaker>,
    /// Where the fallback of the breaker is named.
    pub fallback: Option<Spanned<String>>,
    /// See [`crate::plan::Upstream::retry`].
    pub retry: Retry,
    /// See [`crate::plan::Upstream::timeout`].
    pub timeout: UpstreamTimeouts,
    /// See [`crate::plan::Upstream::pool`].
    pub pool: Pool,
    /// See [`crate::plan::Upstream::proxy_protocol`].
    pub proxy_protocol: Option<ProxyVersion>,
    /// See [`crate::plan::Upstream::tls`].
    pub tls: Option<Arc<ClientSettings>>,
    /// See [`crate::plan::Upstream::http2`].
    pub http2: Http2,
}

/// An endpoint, as the config has it.
#[derive(Clone, Debug)]
pub struct EndpointSection {
    /// Where it answers; not resolved yet.
    pub address: Spanned<HostPort>,
    /// What else is said of it.
    pub says: EndpointSays,
}

/// What is said of an endpoint beside its address; see [`crate::plan::Endpoint`].
#[derive(Clone, Debug)]
pub struct EndpointSays {
    pub(crate) weight: u32,
    pub(crate) priority: u32,
    pub(crate) zone: Option<Arc<str>>,
    pub(crate) metadata: Box<[(Arc<str>, Arc<str>)]>,
    pub(crate) max_requests: Option<u32>,
    pub(crate) max_connections: Option<u32>,
}

impl EndpointSays {
    /// The endpoint of which this is said.
    pub(crate) fn at(self, name: Arc<str>, address: impl Into<Address>) -> Endpoint {
        let address = address.into();
        let Self { weight, priority, zone, metadata, max_requests, max_connections } = self;
        Endpoint { name, address, weight, priority, zone, metadata, max_requests, max_connections }
    }
}

impl Default for EndpointSays {
    fn default() -> Self {
        let metadata = Box::default();
        Self { weight: 1, priority: 0, zone: None, metadata, max_requests: None, max_connections: None }
    }
}

pub(super) fn read_all(root: &Fields<'_>, config: &mut Config) {
    let upstreams = root.named("upstream", &SECTION).into_iter().map(|(name, fields)| read(name, &fields));
    config.upstreams = upstreams.collect();
}

fn read(name: Spanned<String>, fields: &Fields<'_>) -> UpstreamSection {
    let (breaker, fallback) = health::breaker(fields).unzip();
    if !fields.has("discover") {
        fields.must_have("endpoints");
        if let Some(list) = fields.get("endpoints", |value| Ok(value.as_list())).filter(|list| list.value.is_empty()) {
            fields.complain("endpoints", list.span, Problem::new("at least one is wanted"));
        }
    }
    let http2 = http2::of_upstream(fields);
    let mut upstream = UpstreamSection {
        name,
        endpoints: endpoints(fields),
        discover: discover::discover(fields),
        balance: balance::balance(fields),
        sticky: balance::sticky(fields),
        failover: balance::failover(fields),
        slow_start: balance::slow_start(fields),
        health: health::health(fields, http2.is_enabled),
        outlier: health::outlier(fields),
        breaker,
        fallback: fallback.flatten(),
        retry: Retry::default(),
        timeout: UpstreamTimeouts::default(),
        pool: Pool::default(),
        proxy_protocol: None,
        tls: tls::of_upstream(fields, http2.is_enabled),
        http2,
    };
    const VERSIONS: &[(&str, Option<ProxyVersion>)] =
        &[("off", None), ("v1", Some(ProxyVersion::V1)), ("v2", Some(ProxyVersion::V2))];
    fields.set("proxy_protocol", &mut upstream.proxy_protocol, one_of(VERSIONS));
    if upstream.proxy_protocol.is_some() && upstream.http2.is_enabled {
        let problem = Problem::new("requests of several clients share a connection of `protocol = \"h2\"`");
        let help = "a PROXY header tells of one client alone: leave out one of the two keys";
        fields.complain("proxy_protocol", fields.key_span("proxy_protocol"), problem.with_help(help));
    }
    if let Some(fields) = fields.table("retry", &retry::RETRY) {
        upstream.retry = retry::retry(&fields);
    }
    if let Some(fields) = fields.table("timeout", &TIMEOUT) {
        let timeout = &mut upstream.timeout;
        fields.set("connect", &mut timeout.connect, duration);
        fields.set("first_byte", &mut timeout.first_byte, duration);
        fields.set("idle", &mut timeout.idle, duration);
        fields.set("total", &mut timeout.total, duration);
    }
    if let Some(fields) = fields.table("pool", &POOL) {
        let pool = &mut upstream.pool;
        fields.set("max_idle", &mut pool.max_idle, integer(0..=1_000_000));
        fields.set("idle", &mut pool.idle, duration);
        fields.set("lifetime", &mut pool.lifetime, duration);
        fields.set("max_connections", &mut pool.max_connections, integer(1..=1_000_000));
        fields.set("max_waiting", &mut pool.max_waiting, integer(0..=1_000_000));
        fields.set("wait", &mut pool.wait, duration);
    }
    upstream
}

/// The endpoints of an upstream, or of a file of them.
pub(super) fn endpoints(fields: &Fields<'_>) -> Vec<EndpointSection> {
    let read = |value: &Value| match value.as_table() {
        None => host_port(value).map(|address| (Some(address), None)),
        Some(table) => {
            let span = value.span();
            let own = Fields::new(table, &fields.path_of("endpoints"), span.clone(), &ENDPOINT, fields.diags);
            let mut says = EndpointSays { metadata: balance::metadata(&own, "metadata"), ..EndpointSays::default() };
            own.set("weight", &mut says.weight, integer(1..=1_000));
            own.set("priority", &mut says.priority, integer(0..=15));
            says.zone = own.get("zone", name).map(|zone| zone.value.into());
            own.set("max_requests", &mut says.max_requests, |value| integer(1..=1_000_000)(value).map(Some));
            own.set("max_connections", &mut says.max_connections, |value| integer(1..=1_000_000)(value).map(Some));
            let address = own.required("address", host_port);
            // What is not there was complained about.
            let (address, span) = address.map_or((None, span), |address| (Some(address.value), address.span));
            Ok((address, Some((span, says))))
        }
    };
    let all = fields.list("endpoints", read).unwrap_or_default();
    let endpoint = |Spanned { value: (address, more), span, .. }: Spanned<(Option<HostPort>, Option<_>)>| {
        let (span, says) = more.unwrap_or((span, EndpointSays::default()));
        Some(EndpointSection { address: Spanned::new(address?, span), says })
    };
    all.into_iter().filter_map(endpoint).collect()
}
