//! The plan: the checked, compiled, immutable form of the config. Cores run a plan, never a config.
//!
//! A plan is built off the data cores by [`build`], shared between them behind an `Arc` and never changed.
//! Everything a request needs is found by index: names were resolved and templates compiled when it was built.

mod aggregate;
mod answer;
mod balance;
mod build;
mod certificates;
mod deadline;
mod discover;
mod grpc;
mod health;
mod host;
mod http2;
mod log;
mod method;
mod mirror;
mod path;
mod retry;
mod router;
mod template;
mod templates;
mod trie;
mod websocket;

pub use aggregate::{Aggregate, AggregateCheck, AggregateId, AggregateRoute, CheckTarget, Detail};
pub use answer::{Redirect, Respond};
pub use balance::{Balance, Failover, HashKey, SlowStart, Sticky, Subset, is_in};
pub(crate) use build::build;
pub use certificates::{Acme, AcmeChallenge, Certificates, HttpChallenges, Stored};
pub use deadline::{Deadline, DeadlineField, DeadlineFormat, DeadlineTrust};
pub use discover::{Discover, DiscoverIn, Dns, Family, Registration};
pub use grpc::{Codes, Grpc};
pub use health::{Breaker, Check, Fallback, Health, Outlier};
pub use host::HostPattern;
pub use http2::{Http2, Http2Windows};
pub use log::{AccessFormat, AccessLog, Level, Log, LogFormat, LogTo, ServerTiming};
pub use method::MethodSet;
pub use mirror::{MIRROR_MARK, Mirror};
pub use path::{Normalized, PathError, normalize};
pub use retry::{Hedge, HedgeAfter, Retry, RetryOn, RouteRetry, Statuses};
pub use router::{Captures, Explained, Headers, Lost, MAX_CAPTURES, Miss, NoHeaders, Query, Router};
pub(crate) use router::{Predicate, Test};
pub use template::{Scope, Template, TemplateError, Variable, Vars};
pub(crate) use templates::Templates;
pub use websocket::{Compression, Origin, Rate, Termination, Websocket};

use crate::config::Secret;
use crate::policy::Policy;
use crate::tls::{ClientSettings, ServerSettings};
use ipnet::IpNet;
use ringway_proto::{http1, proxy_protocol};
use ringway_runtime::net::{Access, Address};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The names of the captures of a path template in order; empty for `*`.
pub(crate) fn capture_names(path: &str) -> Vec<String> {
    trie::PathPattern::parse(path).map(|pattern| pattern.names).unwrap_or_default()
}

/// The index of a listener in [`Plan::listeners`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId(pub u32);

/// The index of an upstream in [`Plan::upstreams`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UpstreamId(pub u32);

/// The index of a policy in [`Plan::policies`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyId(pub u32);

/// The index of a route in [`Plan::routes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteId(pub u32);

/// What every core runs. A copy shares all but the list of upstreams.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Counts the plans of one process, from 1.
    pub epoch: u64,
    /// Threads, engine and memory of the cores.
    pub cores: Cores,
    /// How plans replace each other.
    pub control: Control,
    /// Where the admin API is; there is none when absent.
    pub admin: Option<Admin>,
    /// What the gateway says on standard error.
    pub log: Log,
    /// A line for each request; there is none when absent.
    pub access_log: Option<AccessLog>,
    /// Where certificates are kept.
    pub certificates: Certificates,
    /// Those that an authority issues, in the order of the config.
    pub acme: Arc<[Arc<Acme>]>,
    /// What authorities may ask for now.
    pub http_challenges: Arc<HttpChallenges>,
    /// In the order of the config; [`ListenerId`] indexes it.
    pub listeners: Arc<[Listener]>,
    /// In the order of the config; [`UpstreamId`] indexes it.
    pub upstreams: Box<[Arc<Upstream>]>,
    /// The name of each policy that is used, for logs and metrics; [`PolicyId`] indexes it. One without a name is called
    /// by its place: `route/ROUTE/TYPE` or `listener/LISTENER/TYPE`.
    pub policies: Arc<[Arc<str>]>,
    /// The services of type `health` that routes have; [`AggregateId`] indexes it.
    pub aggregates: Arc<[Arc<Aggregate>]>,
    /// In the order of the config; [`RouteId`] indexes it.
    pub routes: Arc<[Route]>,
    /// Finds the route of a request.
    pub router: Arc<Router>,
}

impl Plan {
    /// The route behind an id that this plan's router gave.
    pub fn route(&self, id: RouteId) -> Option<&Route> {
        self.routes.get(id.0 as usize)
    }

    /// How long a request of this route may take in all; of none, where none was found.
    pub fn total_timeout(&self, id: Option<RouteId>) -> Duration {
        let route = id.and_then(|id| self.route(id));
        let of_upstream = |route: &Route| match route.action {
            Action::Proxy(proxy) => self.upstream(proxy.upstream).map(|upstream| upstream.timeout.total),
            Action::Redirect(_) | Action::Respond(_) | Action::Health(_) => None,
        };
        let own = route.and_then(|route| route.total_timeout.or_else(|| of_upstream(route)));
        own.unwrap_or(UpstreamTimeouts::TOTAL)
    }

    /// When the first of its certificates expires, in seconds since 1970.
    pub fn first_expiry(&self) -> Option<i64> {
        let of_listeners = self.listeners.iter().filter_map(|listener| listener.tls.as_ref());
        let shown = of_listeners.flat_map(|tls| tls.server.certificates());
        let of_upstreams = self.upstreams.iter().filter_map(|upstream| upstream.tls.as_ref()?.certificate());
        shown.chain(of_upstreams).map(|certificate| certificate.expires).min()
    }

    /// The service of type `health` behind an id of this plan.
    pub fn aggregate(&self, id: AggregateId) -> Option<&Aggregate> {
        self.aggregates.get(id.0 as usize).map(|aggregate| &**aggregate)
    }

    /// The upstream behind an id of this plan.
    pub fn upstream(&self, id: UpstreamId) -> Option<&Upstream> {
        self.upstreams.get(id.0 as usize).map(|upstream| &**upstream)
    }
}

/// `[cores]`: threads, engine and memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cores {
    /// The CPUs that carry traffic, one data core each.
    pub data: DataCores,
    /// The CPU of the control thread; unpinned when absent.
    pub control: Option<u32>,
    /// What drives input and output.
    pub engine: Engine,
    /// How long a core spins before it sleeps in the kernel.
    pub busy_poll: BusyPoll,
    /// Which core takes a new connection.
    pub placement: Placement,
    /// Where the mapped histograms live; in memory only when absent.
    pub metrics_dir: Option<PathBuf>,
    /// Receive buffers of one core.
    pub buffers: u32,
    /// Bytes of one receive buffer.
    pub buffer_size: u32,
    /// Bytes one connection may receive ahead of its reader.
    pub read_ahead: u32,
    /// Client connections one core holds at once.
    pub connections: u32,
    /// Requests one core has in flight before it sheds those of high priority; those below go earlier.
    pub requests: u32,
    /// Bytes of memory of the process at which the same happens; not looked at when absent.
    pub memory: Option<u64>,
    /// File descriptors of one core's share that client connections may not take; a quarter of it when absent.
    pub reserved_files: Option<u64>,
    /// How long requests in flight may take once the gateway is told to stop.
    pub drain_timeout: Duration,
    /// Health checks that a core may have under way at once.
    pub health_checks: u32,
    /// How long a core may be away from its loop before control says so; never when absent.
    pub stall_warning: Option<Duration>,
    /// TLS handshakes that a core may have under way at once.
    pub handshakes: u32,
    /// Those that one address may begin with a core; any number when absent.
    pub handshakes_per_source: Option<Rate>,
}

impl Default for Cores {
    fn default() -> Self {
        Self {
            data: DataCores::All,
            control: None,
            engine: Engine::Ring,
            busy_poll: BusyPoll::Off,
            placement: Placement::Kernel,
            metrics_dir: None,
            buffers: 256,
            buffer_size: 64 << 10,
            read_ahead: 64 << 10,
            connections: 65_536,
            requests: 65_536,
            memory: None,
            reserved_files: None,
            drain_timeout: Duration::from_secs(30),
            health_checks: 64,
            stall_warning: Some(Duration::from_millis(100)),
            handshakes: 512,
            handshakes_per_source: Some(Rate { count: 500, per: Duration::from_secs(1) }),
        }
    }
}

/// `[control]`: how plans replace each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// Whether a change of the config's files is a reason to reload.
    pub watch: bool,
    /// Plans before the running one that can be run again.
    pub history: u32,
    /// How long cores may take to prepare a plan, and then to switch to it.
    pub acknowledge: Duration,
    /// The least time between two plans that bring endpoints that were found.
    pub discovery_rest: Duration,
    /// How long a gateway that starts waits for the first endpoints of every upstream; not at all when absent.
    pub discovery_wait: Option<Duration>,
    /// The file that keeps the endpoints that were found; none when absent.
    pub discovery_cache: Option<PathBuf>,
    /// Where another process can take the gateway over; nowhere when absent.
    pub upgrade_socket: Option<PathBuf>,
    /// How long that process may take until it accepts.
    pub upgrade_timeout: Duration,
    /// How long the keys of TLS session tickets are used.
    pub ticket_rotation: Duration,
}

impl Default for Control {
    fn default() -> Self {
        Self {
            watch: false,
            history: 10,
            acknowledge: Duration::from_secs(5),
            discovery_rest: Duration::from_millis(50),
            discovery_wait: Some(Duration::from_secs(2)),
            discovery_cache: None,
            upgrade_socket: None,
            upgrade_timeout: Duration::from_mins(1),
            ticket_rotation: Duration::from_hours(12),
        }
    }
}

/// `[admin]`: where the admin API is and what it bears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// The Unix socket.
    pub socket: PathBuf,
    /// A TCP address beside it.
    pub tcp: Option<SocketAddr>,
    /// What a client over TCP has to show.
    pub token: Option<Secret>,
    /// Connections at once.
    pub connections: u32,
    /// How long a client may take for a head, for a body, and between two requests.
    pub timeout: Duration,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            socket: PathBuf::from("/run/ringway/admin.sock"),
            tcp: None,
            token: None,
            connections: 64,
            timeout: Duration::from_secs(10),
        }
    }
}

/// Which CPUs carry traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataCores {
    /// Every CPU the process may run on, less the one of `control` where others remain.
    All,
    /// The first so many of them.
    Count(u32),
    /// Exactly these, ascending and without repeats.
    List(Vec<u32>),
}

/// What drives input and output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// Ringway's own driver over `io_uring`.
    Ring,
    /// The glommio crate.
    Glommio,
}

/// How long a core spins before it sleeps in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BusyPoll {
    /// It sleeps at once.
    Off,
    /// It spins this long after the last event.
    For(Duration),
    /// It never sleeps.
    Always,
}

/// Which core takes a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// The kernel's hash over the `SO_REUSEPORT` group.
    Kernel,
    /// The core on the CPU that received the packet.
    Cpu,
    /// The core that has least to do; it gets the connection from the one that the kernel's hash picks.
    LeastLoaded,
}

/// `[limits]`: how much one client or one message may take. A listener may have its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request line.
    pub request_line: u32,
    /// Bytes of a request head, request line included.
    pub head: u32,
    /// Header fields of a request.
    pub headers: u32,
    /// Bytes of a request body; any size when absent.
    pub body: Option<u64>,
    /// Bytes of a chunk-size line, extensions included.
    pub chunk_line: u32,
    /// Bytes of a trailer section.
    pub trailers: u32,
    /// Bytes of an upstream's response head.
    pub response_head: u32,
    /// Header fields of an upstream's response.
    pub response_headers: u32,
    /// Bytes by which the chunk extensions of one body may outweigh its data.
    pub extensions: u32,
    /// Unsent bytes of one side of an exchange past which the other side is not read.
    pub stream_buffer: u32,
    /// Bytes a closing connection reads and throws away while it waits for the client's end.
    pub linger: u32,
    /// Bytes of a PROXY header.
    pub proxy_header: u32,
    /// Requests on one client connection, after which it is closed.
    pub keep_alive_requests: u64,
}

impl Limits {
    /// What the codec holds a client's requests to.
    pub fn of_requests(&self) -> http1::Limits {
        http1::Limits {
            line: self.request_line as usize,
            head: self.head as usize,
            fields: self.headers as usize,
            chunk_line: self.chunk_line as usize,
            extensions: self.extensions as usize,
            trailers: self.trailers as usize,
        }
    }

    /// What the codec holds an upstream's responses to.
    pub fn of_responses(&self) -> http1::Limits {
        http1::Limits {
            line: self.response_head as usize,
            head: self.response_head as usize,
            fields: self.response_headers as usize,
            ..self.of_requests()
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_line: 8 << 10,
            head: 32 << 10,
            headers: 100,
            body: Some(100 << 20),
            chunk_line: 256,
            trailers: 8 << 10,
            response_head: 32 << 10,
            response_headers: 100,
            extensions: 8 << 10,
            stream_buffer: 64 << 10,
            linger: 256 << 10,
            proxy_header: 4 << 10,
            keep_alive_requests: 1_000_000,
        }
    }
}

/// `[timeouts]`: how long one client may take. A listener may have its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From the first byte of a request to the end of its head; from accept for a connection's first request.
    pub head: Duration,
    /// Between two reads of a request body.
    pub body_idle: Duration,
    /// Without progress while a response is sent to a client.
    pub send_idle: Duration,
    /// Between two requests on one connection.
    pub keep_alive: Duration,
    /// Without a byte either way in an upgraded connection.
    pub tunnel_idle: Duration,
    /// Bytes a second below which a client counts as stalling; not checked when absent.
    pub min_rate: Option<u64>,
    /// How long a body may run before `min_rate` is checked.
    pub min_rate_grace: Duration,
    /// How long a closing connection waits for the client's end.
    pub linger: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            body_idle: Duration::from_secs(30),
            send_idle: Duration::from_secs(30),
            keep_alive: Duration::from_mins(1),
            tunnel_idle: Duration::from_hours(1),
            min_rate: Some(240),
            min_rate_grace: Duration::from_secs(5),
            linger: Duration::from_secs(2),
        }
    }
}

/// `[listener.NAME]`: where clients come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its name in logs and metrics.
    pub name: Arc<str>,
    /// The addresses it listens on, at least one.
    pub addresses: Box<[Address]>,
    /// Who may connect to its Unix sockets.
    pub access: Access,
    /// Connections the kernel may hold before a core accepts them, for each address and core.
    pub backlog: u32,
    /// The peers whose `X-Forwarded-*` and `Forwarded` fields are believed.
    pub trusted_proxies: Box<[IpNet]>,
    /// Whether every peer that comes by a Unix socket is believed as well.
    pub trusts_unix: bool,
    /// Whether each connection begins with a PROXY header, which only those may send who are believed.
    pub proxy_protocol: bool,
    /// Which fields tell the upstream about the client.
    pub forwarded: Forwarded,
    /// The name in `Via`; the field is not added when absent.
    pub via: Option<Arc<str>>,
    /// Who gets `Server-Timing`.
    pub server_timing: ServerTiming,
    /// Whether its requests are in the access log.
    pub access_log: bool,
    /// Met by every request before those of its route, and by its answer after them, in reverse.
    pub policies: Box<[PolicyStep]>,
    /// `[limits]` with this listener's own on top.
    pub limits: Limits,
    /// `[timeouts]` with this listener's own on top.
    pub timeouts: Timeouts,
    /// Whether its clients say by when they want their answer, where a route that proxies says nothing of that.
    pub deadline: Option<Box<Deadline>>,
    /// Whether clients speak TLS.
    pub tls: Option<ListenerTls>,
    /// What is allowed of HTTP/2.
    pub http2: Http2,
}

/// `tls` of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerTls {
    /// What clients are shown and asked for.
    pub server: Arc<ServerSettings>,
    /// Which certificates of the store it shows.
    pub stored: Stored,
    /// How long a handshake may take, from accept.
    pub handshake_timeout: Duration,
    /// Whether the kernel is to seal what is sent, where it can.
    pub ktls: bool,
}

impl ListenerTls {
    /// What holds where nothing is said.
    pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
}

impl Listener {
    /// Whether what this peer says about the client is believed; one without an address came by a Unix socket. An
    /// IPv4-mapped IPv6 address counts as IPv4.
    pub fn trusts(&self, peer: Option<IpAddr>) -> bool {
        let Some(peer) = peer else { return self.trusts_unix };
        let peer = peer.to_canonical();
        self.trusted_proxies.iter().any(|net| net.contains(&peer))
    }

    /// Whether nobody at all is believed.
    pub fn trusts_nobody(&self) -> bool {
        self.trusted_proxies.is_empty() && !self.trusts_unix
    }
}

/// Which fields tell the upstream about the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarded {
    /// `X-Forwarded-For`, `X-Forwarded-Proto` and `X-Forwarded-Host`.
    XForwarded,
    /// `Forwarded` (RFC 7239).
    Forwarded,
    /// Both sets.
    Both,
    /// Neither.
    None,
}

impl Forwarded {
    /// Whether the `X-Forwarded-*` fields are added.
    pub fn adds_x_forwarded(self) -> bool {
        matches!(self, Self::XForwarded | Self::Both)
    }

    /// Whether `Forwarded` is added.
    pub fn adds_forwarded(self) -> bool {
        matches!(self, Self::Forwarded | Self::Both)
    }
}

/// `[upstream.NAME]`: a named set of endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Its name in logs and metrics.
    pub name: Arc<str>,
    /// Where it answers. There are none only where they are looked for and none has been found.
    pub endpoints: Box<[Endpoint]>,
    /// Where else they are looked for.
    pub discover: Option<Arc<Discover>>,
    /// How an endpoint is chosen.
    pub balance: Balance,
    /// Whether clients come back to their endpoint.
    pub sticky: Option<Sticky>,
    /// Which endpoints are asked first.
    pub failover: Failover,
    /// Whether endpoints that come get their share little by little.
    pub slow_start: Option<SlowStart>,
    /// Whether endpoints are asked how they are.
    pub health: Option<Health>,
    /// Whether endpoints whose answers are bad are left out.
    pub outlier: Option<Outlier>,
    /// Whether what fails too often is not asked for a time.
    pub breaker: Option<Breaker>,
    /// What routes may ask for; the first is every endpoint.
    pub subsets: Box<[Subset]>,
    /// When a request is sent again.
    pub retry: Retry,
    /// How long it may take.
    pub timeout: UpstreamTimeouts,
    /// The connections one core keeps to it.
    pub pool: Pool,
    /// In which form each of its connections begins with a PROXY header, if it does.
    pub proxy_protocol: Option<ProxyVersion>,
    /// Whether it is spoken to over TLS.
    pub tls: Option<Arc<ClientSettings>>,
    /// Whether HTTP/2 is spoken with it, and what is allowed of that.
    pub http2: Http2,
}

impl Upstream {
    /// What answers while nothing of it may be used.
    pub fn fallback(&self) -> &Fallback {
        self.breaker.as_ref().map_or(&Fallback::Refuse, |breaker| &breaker.fallback)
    }

    /// Whether two say the same of everything but their endpoints.
    pub fn is_same_but_for_endpoints(&self, other: &Self) -> bool {
        let Self { name, endpoints: _, discover: _, balance, sticky, failover, slow_start, health, .. } = self;
        let Self { outlier, breaker, subsets, retry, timeout, pool, proxy_protocol, tls, http2, .. } = self;
        (name, balance, sticky, failover) == (&other.name, &other.balance, &other.sticky, &other.failover)
            && (slow_start, health, outlier) == (&other.slow_start, &other.health, &other.outlier)
            && (breaker, subsets, retry) == (&other.breaker, &other.subsets, &other.retry)
            && (timeout, pool, http2) == (&other.timeout, &other.pool, &other.http2)
            && (proxy_protocol, tls) == (&other.proxy_protocol, &other.tls)
    }
}

/// Which form the PROXY headers have that an upstream gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyVersion {
    /// Text.
    V1,
    /// Binary.
    V2,
}

impl ProxyVersion {
    /// A header of a connection that is nobody's but the gateway's, as that of a health check.
    pub fn own_header(self) -> Vec<u8> {
        let (said, mut header) = (proxy_protocol::Said::Nothing { is_local: true }, Vec::new());
        match self {
            Self::V1 => proxy_protocol::encode_v1(&said, &mut header),
            Self::V2 => proxy_protocol::encode_v2(&said, &proxy_protocol::Extras::default(), &mut header),
        }
        header
    }
}

/// One address of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// As the config wrote it, for logs.
    pub name: Arc<str>,
    /// Where to connect.
    pub address: Address,
    /// Its share of the requests against the other endpoints, 1 to 1,000.
    pub weight: u32,
    /// Those with the least number are asked first.
    pub priority: u32,
    /// Where it is.
    pub zone: Option<Arc<str>>,
    /// What routes may ask for, sorted by name.
    pub metadata: Box<[(Arc<str>, Arc<str>)]>,
    /// Requests of all cores that it may have at once.
    pub max_requests: Option<u32>,
    /// Connections that one core may have to it.
    pub max_connections: Option<u32>,
}

/// `timeout`: how long an upstream may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpstreamTimeouts {
    /// To connect.
    pub connect: Duration,
    /// From the request sent to the first byte of the response head.
    pub first_byte: Duration,
    /// Between two reads of a response, or two writes of a request.
    pub idle: Duration,
    /// For the whole exchange, from the request admitted to the last byte of the response. Tunnels are exempt.
    pub total: Duration,
}

impl UpstreamTimeouts {
    /// For a whole exchange where nothing else is said.
    const TOTAL: Duration = Duration::from_hours(1);
}

impl Default for UpstreamTimeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(1),
            first_byte: Duration::from_secs(30),
            idle: Duration::from_secs(30),
            total: Self::TOTAL,
        }
    }
}

/// `pool`: the connections one core keeps to one upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Idle connections kept.
    pub max_idle: u32,
    /// How long one may stay idle.
    pub idle: Duration,
    /// How old one may grow before it is closed instead of kept.
    pub lifetime: Duration,
    /// Connections in all, idle and busy.
    pub max_connections: u32,
    /// Requests that may wait for a connection when `max_connections` are busy.
    pub max_waiting: u32,
    /// How long one may wait.
    pub wait: Duration,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            max_idle: 64,
            idle: Duration::from_mins(1),
            lifetime: Duration::from_hours(1),
            max_connections: 1024,
            max_waiting: 1024,
            wait: Duration::from_secs(1),
        }
    }
}

/// `[[route]]`: what to do with the requests it matches.
#[derive(Debug)]
pub struct Route {
    /// Its name in logs and metrics.
    pub name: Arc<str>,
    /// The path template as written, for logs and `explain`.
    pub path: Arc<str>,
    /// Applied in this order to a request, in the reverse order to its response.
    pub policies: Box<[PolicyStep]>,
    /// What answers in the end.
    pub action: Action,
    /// Replaces the upstream's total timeout.
    pub total_timeout: Option<Duration>,
    /// Whether clients say by when they want their answer; as their listener has it where absent.
    pub deadline: Option<Box<Deadline>>,
    /// Who gets copies of its requests.
    pub mirror: Option<Box<Mirror>>,
    /// How it carries calls of gRPC.
    pub grpc: Box<Grpc>,
    /// How it carries WebSocket connections.
    pub websocket: Arc<Websocket>,
    /// Who is shed first when a core is at its limits.
    pub priority: Priority,
    /// Replaces the listener's limit on request bodies.
    pub body: Option<BodyLimit>,
    /// Whether its requests are in the access log, where those of their listener are.
    pub access_log: bool,
    /// Whether requests that may be replayed are served, where they are safe.
    pub early_data: bool,
}

/// How important the requests of a route are when not all can be served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Shed first.
    Low,
    /// Shed next; what a route has that says nothing.
    #[default]
    Normal,
    /// Shed at the limit itself.
    High,
    /// Never shed.
    Critical,
}

impl Priority {
    /// All of them, the least important first; the discriminant is the place.
    pub const ALL: [Self; 4] = [Self::Low, Self::Normal, Self::High, Self::Critical];
}

/// A policy in its place in a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyStep {
    /// Names it, and its state on each core.
    pub id: PolicyId,
    /// It only counts what it would do.
    pub shadow: bool,
    /// What it does, compiled for this place.
    pub policy: Policy,
}

/// A limit on request bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLimit {
    /// Bytes at most.
    Bytes(u64),
    /// Any size.
    Unlimited,
}

/// What answers a request in the end.
#[derive(Debug)]
pub enum Action {
    /// An upstream does.
    Proxy(Proxy),
    /// A redirect does.
    Redirect(Redirect),
    /// A fixed response does.
    Respond(Arc<Respond>),
    /// What is known of several things does.
    Health(AggregateRoute),
}

/// The upstream that answers, and what of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// Which one.
    pub upstream: UpstreamId,
    /// Which of its subsets.
    pub subset: u16,
    /// The capture of the path that is hashed, where one is.
    pub capture: Option<u8>,
    /// What it says otherwise than `retry` of the upstream.
    pub retry: RouteRetry,
    /// The upstream is told how much time is left.
    pub tells_deadline: bool,
    /// Another upstream gets copies.
    pub mirrors: bool,
    /// Calls of gRPC-Web become calls of gRPC, with messages of so many bytes.
    pub web: Option<u32>,
    /// This upstream stands in for the one of the route.
    pub stands_in: bool,
}
