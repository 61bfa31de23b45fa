//! The gateway's metrics: their names, and one method for each thing that happens.
//!
//! Names follow the conventions of Prometheus: base units, `_total` on what only grows. Times are recorded in
//! nanoseconds. A method costs a few nanoseconds and allocates nothing.

use std::path::Path;

use ringway_runtime::histogram::{
    CounterId, CounterSet, CreateError, GaugeId, GaugeSet, HistogramId, HistogramSet, Problem, Schema, SchemaBuilder,
    SchemaError, Shape, Snapshot, Start, Unit, Writer,
};

use super::Reason;

/// Routes with a histogram of their own (9.5 KiB each, a core); those past it share the label value `(other)`.
pub const MAX_ROUTES: usize = 1024;
/// Upstreams with counters of their own; those past it share the label value `(other)`.
pub const MAX_UPSTREAMS: usize = 1024;

const OTHER: &str = "(other)";
const STATUS_CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Declares an enum whose variants are the values of a label.
macro_rules! label {
    ( $(#[$meta:meta])* $name:ident { $( $(#[$doc:meta])* $variant:ident = $value:literal, )* } ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum $name { $( $(#[$doc])* $variant, )* }

        impl $name {
            const VALUES: &'static [&'static str] = &[$( $value, )*];
        }
    };
}

label! {
    /// Which deadline passed.
    Timeout {
        /// A request head.
        Head = "head",
        /// A request body.
        Body = "body",
        /// An idle client connection, closed without an answer.
        KeepAlive = "keep_alive",
        /// The least rate of a client.
        Rate = "rate",
        /// A client that does not read its answer.
        Send = "send",
        /// Connecting to an upstream.
        Connect = "connect",
        /// The upstream's answer to begin.
        FirstByte = "first_byte",
        /// An upstream that stalls in the middle.
        Idle = "idle",
        /// The whole exchange.
        Total = "total",
        /// Waiting for an upstream connection.
        Pool = "pool",
        /// A tunnel after an upgrade.
        Tunnel = "tunnel",
    }
}

label! {
    /// How an exchange with an upstream failed.
    UpstreamFailure {
        /// No connection.
        Connect = "connect",
        /// The connection ended before an answer.
        Reset = "reset",
        /// The answer breaks the protocol.
        Protocol = "protocol",
        /// The answer ended before its stated length.
        Truncated = "truncated",
        /// A deadline passed.
        Timeout = "timeout",
    }
}

/// The metrics of one core, and the only one who writes them.
#[derive(Debug)]
pub struct Metrics {
    writer: Writer,
    ids: Ids,
}

#[derive(Debug)]
struct Ids {
    connections_accepted: CounterId,
    connections_closed: CounterId,
    connections_refused: CounterId,
    connections_open: GaugeId,
    requests: CounterSet,
    client_received: CounterId,
    client_sent: CounterId,
    upstream_received: CounterId,
    upstream_sent: CounterId,
    loop_iterations: CounterId,
    receive_buffers_exhausted: CounterId,
    upstream_connects: CounterSet,
    upstream_reuses: CounterSet,
    upstream_retries: CounterSet,
    pool_waits: CounterSet,
    upstream_open: GaugeSet,
    upstream_failures: CounterSet,
    timeouts: CounterSet,
    refusals: CounterSet,
    refusal_codes: Vec<&'static str>,
    request_duration: HistogramId,
    request_admit: HistogramId,
    upstream_connect: HistogramId,
    upstream_first_byte: HistogramId,
    route_duration: HistogramSet,
}

impl Metrics {
    /// Opens the file of a core, or private memory and a warning where there can be no file. The names are those of
    /// the plan's routes and upstreams, in the order of their ids.
    pub fn open(
        dir: &Path,
        start: &Start,
        routes: &[&str],
        upstreams: &[&str],
    ) -> Result<(Metrics, Option<CreateError>), SchemaError> {
        let (schema, ids) = schema(routes, upstreams)?;
        let (writer, warning) = Writer::create_or_in_memory(dir, start, &schema);
        Ok((Metrics { writer, ids }, warning))
    }

    /// The same metrics in private memory, for tests and simulation.
    pub fn in_memory(routes: &[&str], upstreams: &[&str]) -> Result<Metrics, SchemaError> {
        let (schema, ids) = schema(routes, upstreams)?;
        Ok(Metrics { writer: Writer::in_memory(&schema), ids })
    }

    /// Reads everything back; it copies the whole file.
    pub fn snapshot(&self) -> Result<Snapshot, Problem> {
        self.writer.snapshot()
    }

    /// The core runs the plan of this epoch.
    pub fn set_epoch(&self, epoch: u64) {
        self.writer.set_epoch(epoch);
    }

    /// The core made `iterations` more turns of its loop and is alive at `mono_ns`.
    #[inline]
    pub fn looped(&self, iterations: u64, mono_ns: u64) {
        self.add(self.ids.loop_iterations, iterations);
        self.writer.heartbeat(mono_ns);
    }

    /// So many receives found no free buffer (ENOBUFS).
    #[inline]
    pub fn receive_buffers_exhausted(&self, count: u64) {
        self.add(self.ids.receive_buffers_exhausted, count);
    }

    /// A client connected.
    #[inline]
    pub fn connection_accepted(&self) {
        self.add(self.ids.connections_accepted, 1);
        self.writer.gauge(self.ids.connections_open).add(1);
    }

    /// A client connection that was accepted is gone.
    #[inline]
    pub fn connection_closed(&self) {
        self.add(self.ids.connections_closed, 1);
        self.writer.gauge(self.ids.connections_open).add(-1);
    }

    /// A client was turned away before its first request, and not counted as accepted.
    #[inline]
    pub fn connection_refused(&self) {
        self.add(self.ids.connections_refused, 1);
    }

    /// A request is answered, whoever the answer is from. The duration is from the first byte of the head to the
    /// last of the answer; the route is its index in the plan, none where none was found.
    #[inline]
    pub fn request_done(&self, route: Option<usize>, status: u16, duration_ns: u64) {
        let class = usize::from(status / 100).wrapping_sub(1);
        self.add_at(self.ids.requests, class.min(STATUS_CLASSES.len() - 1));
        self.writer.record(self.ids.request_duration, duration_ns);
        if let Some(route) = route
            && let Some(id) = self.ids.route_duration.get(route.min(MAX_ROUTES))
        {
            self.writer.record(id, duration_ns);
        }
    }

    /// A request got from its parsed head to the point where it may be served.
    #[inline]
    pub fn request_admitted(&self, since_parsed_ns: u64) {
        self.writer.record(self.ids.request_admit, since_parsed_ns);
    }

    /// A request is answered by the gateway itself.
    pub fn refused(&self, reason: Reason) {
        let code = reason.code();
        if let Some(at) = self.ids.refusal_codes.iter().position(|&known| known == code) {
            self.add_at(self.ids.refusals, at);
        }
    }

    /// A deadline passed.
    #[inline]
    pub fn timed_out(&self, timeout: Timeout) {
        self.add_at(self.ids.timeouts, timeout as usize);
    }

    /// Bytes came from a client.
    #[inline]
    pub fn client_received(&self, bytes: u64) {
        self.add(self.ids.client_received, bytes);
    }

    /// Bytes went to a client.
    #[inline]
    pub fn client_sent(&self, bytes: u64) {
        self.add(self.ids.client_sent, bytes);
    }

    /// Bytes came from an upstream.
    #[inline]
    pub fn upstream_received(&self, bytes: u64) {
        self.add(self.ids.upstream_received, bytes);
    }

    /// Bytes went to an upstream.
    #[inline]
    pub fn upstream_sent(&self, bytes: u64) {
        self.add(self.ids.upstream_sent, bytes);
    }

    /// A new connection to an upstream is up.
    #[inline]
    pub fn upstream_connected(&self, upstream: usize, connect_ns: u64) {
        self.add_at(self.ids.upstream_connects, upstream.min(MAX_UPSTREAMS));
        self.add_upstream_open(upstream, 1);
        self.writer.record(self.ids.upstream_connect, connect_ns);
    }

    /// A connection to an upstream that was up is gone.
    #[inline]
    pub fn upstream_closed(&self, upstream: usize) {
        self.add_upstream_open(upstream, -1);
    }

    /// A request takes a pooled connection.
    #[inline]
    pub fn upstream_reused(&self, upstream: usize) {
        self.add_at(self.ids.upstream_reuses, upstream.min(MAX_UPSTREAMS));
    }

    /// The first byte of an answer came, so long after the request was sent.
    #[inline]
    pub fn upstream_first_byte(&self, since_sent_ns: u64) {
        self.writer.record(self.ids.upstream_first_byte, since_sent_ns);
    }

    /// An exchange with an upstream failed; it may still be tried again.
    #[inline]
    pub fn upstream_failed(&self, upstream: usize, failure: UpstreamFailure) {
        let at = upstream.min(MAX_UPSTREAMS) * UpstreamFailure::VALUES.len() + failure as usize;
        self.add_at(self.ids.upstream_failures, at);
    }

    /// A request is tried once more.
    #[inline]
    pub fn upstream_retried(&self, upstream: usize) {
        self.add_at(self.ids.upstream_retries, upstream.min(MAX_UPSTREAMS));
    }

    /// A request has to wait for a connection.
    #[inline]
    pub fn pool_waited(&self, upstream: usize) {
        self.add_at(self.ids.pool_waits, upstream.min(MAX_UPSTREAMS));
    }

    #[inline]
    fn add_upstream_open(&self, upstream: usize, delta: i64) {
        if let Some(id) = self.ids.upstream_open.get(upstream.min(MAX_UPSTREAMS)) {
            self.writer.gauge(id).add(delta);
        }
    }

    #[inline]
    fn add(&self, id: CounterId, n: u64) {
        self.writer.counter(id).add(n);
    }

    #[inline]
    fn add_at(&self, set: CounterSet, index: usize) {
        if let Some(id) = set.get(index) {
            self.writer.counter(id).add(1);
        }
    }
}

/// What every request touches comes first and lies together.
fn schema(routes: &[&str], upstreams: &[&str]) -> Result<(Schema, Ids), SchemaError> {
    use Unit::{Bytes, None, Seconds};
    let routes = bounded(routes, MAX_ROUTES);
    let upstreams = bounded(upstreams, MAX_UPSTREAMS);
    let mut build = SchemaBuilder::new();
    let each_upstream = || upstreams.iter().map(|&name| [("upstream", name)]);
    let refusals = distinct_refusals();
    let client = [("side", "client")];
    let upstream = [("side", "upstream")];
    let ids = Ids {
        requests: build.counters("ringway_requests_total", None, STATUS_CLASSES.map(|class| [("status", class)])),
        client_received: build.counter("ringway_received_bytes_total", Bytes, &client),
        client_sent: build.counter("ringway_sent_bytes_total", Bytes, &client),
        upstream_received: build.counter("ringway_received_bytes_total", Bytes, &upstream),
        upstream_sent: build.counter("ringway_sent_bytes_total", Bytes, &upstream),
        loop_iterations: build.counter("ringway_loop_iterations_total", None, &[]),
        connections_accepted: build.counter("ringway_connections_accepted_total", None, &[]),
        connections_closed: build.counter("ringway_connections_closed_total", None, &[]),
        connections_refused: build.counter("ringway_connections_refused_total", None, &[]),
        connections_open: build.gauge("ringway_connections_open", None, &[]),
        receive_buffers_exhausted: build.counter("ringway_receive_buffers_exhausted_total", None, &[]),
        upstream_reuses: build.counters("ringway_upstream_reuses_total", None, each_upstream()),
        upstream_connects: build.counters("ringway_upstream_connects_total", None, each_upstream()),
        upstream_open: build.gauges("ringway_upstream_connections_open", None, each_upstream()),
        pool_waits: build.counters("ringway_upstream_pool_waits_total", None, each_upstream()),
        upstream_retries: build.counters("ringway_upstream_retries_total", None, each_upstream()),
        upstream_failures: build.counters(
            "ringway_upstream_failures_total",
            None,
            upstreams.iter().flat_map(|&name| {
                UpstreamFailure::VALUES.iter().map(move |&kind| [("upstream", name), ("kind", kind)])
            }),
        ),
        timeouts: build.counters("ringway_timeouts_total", None, Timeout::VALUES.iter().map(|&kind| [("kind", kind)])),
        refusals: build.counters(
            "ringway_refusals_total",
            None,
            refusals.iter().map(|reason| [("reason", reason.code()), ("side", reason.side().name())]),
        ),
        refusal_codes: refusals.iter().map(|reason| reason.code()).collect(),
        request_duration: build.histogram("ringway_request_duration_seconds", Seconds, Shape::FINE, &[]),
        request_admit: build.histogram("ringway_request_admit_seconds", Seconds, Shape::FINE, &[]),
        upstream_first_byte: build.histogram("ringway_upstream_first_byte_seconds", Seconds, Shape::FINE, &[]),
        upstream_connect: build.histogram("ringway_upstream_connect_seconds", Seconds, Shape::FINE, &[]),
        route_duration: build.histograms(
            "ringway_route_request_duration_seconds",
            Seconds,
            Shape::COARSE,
            routes.iter().map(|&name| [("route", name)]),
        ),
    };
    Ok((build.build()?, ids))
}

/// The names, or as many as may be and one for all others.
fn bounded<'a>(names: &[&'a str], max: usize) -> Vec<&'a str> {
    match names.get(..max) {
        Some(first) if names.len() > max => first.iter().copied().chain([OTHER]).collect(),
        _ => names.to_vec(),
    }
}

/// One reason for each code.
fn distinct_refusals() -> Vec<Reason> {
    let mut distinct: Vec<Reason> = Vec::new();
    for reason in Reason::all() {
        if distinct.iter().all(|known| known.code() != reason.code()) {
            distinct.push(reason);
        }
    }
    distinct
}

#[cfg(test)]
mod tests {
    use ringway_runtime::histogram::{Distribution, Value};

    use super::*;

    fn metrics() -> Metrics {
        Metrics::in_memory(&["users", "orders"], &["a", "b"]).expect("sound names")
    }

    fn read(metrics: &Metrics) -> Snapshot {
        metrics.snapshot().expect("a readable image")
    }

    #[test]
    fn a_request_is_counted_by_class_in_total_and_for_its_route() {
        let metrics = metrics();
        metrics.request_done(Some(1), 204, 1_000);
        metrics.request_done(None, 404, 2_000);
        metrics.request_done(Some(0), 999, 3_000);
        metrics.request_done(Some(0), 0, 3_000);
        let found = read(&metrics);
        let classes = STATUS_CLASSES.map(|class| found.counter("ringway_requests_total", &[("status", class)]));
        assert_eq!(classes, [Some(0), Some(1), Some(0), Some(1), Some(2)], "odd statuses count as 5xx");
        let count = |name, labels: &[(&str, &str)]| found.histogram(name, labels).map(Distribution::count);
        assert_eq!(count("ringway_request_duration_seconds", &[]), Some(4));
        assert_eq!(count("ringway_route_request_duration_seconds", &[("route", "orders")]), Some(1));
        assert_eq!(count("ringway_route_request_duration_seconds", &[("route", "users")]), Some(2));
    }

    #[test]
    fn open_connections_are_those_accepted_less_those_closed() {
        let metrics = metrics();
        for _ in 0..3 {
            metrics.connection_accepted();
        }
        metrics.connection_closed();
        metrics.connection_refused();
        let found = read(&metrics);
        assert_eq!(found.gauge("ringway_connections_open", &[]), Some(2));
        assert_eq!(found.counter("ringway_connections_refused_total", &[]), Some(1));
    }

    #[test]
    fn every_reason_has_its_counter() {
        let metrics = metrics();
        let mut expected = 0;
        for reason in Reason::all() {
            metrics.refused(reason);
            expected += 1;
        }
        let found = read(&metrics);
        let refusals = found.metrics.iter().filter(|metric| metric.name == "ringway_refusals_total");
        let counted: u64 = refusals.map(|metric| if let Value::Counter(n) = metric.value { n } else { 0 }).sum();
        assert_eq!(counted, expected);
        let labels = [("reason", "no_route"), ("side", "client")];
        assert_eq!(found.counter("ringway_refusals_total", &labels), Some(1));
    }

    #[test]
    fn every_method_moves_its_own_metric_and_no_other() {
        type Step = fn(&Metrics);
        let steps: [(Step, &[&str]); 17] = [
            (|m| m.looped(5, 1), &["ringway_loop_iterations_total"]),
            (|metrics: &Metrics| metrics.receive_buffers_exhausted(1), &["ringway_receive_buffers_exhausted_total"]),
            (|m| m.client_received(1), &["ringway_received_bytes_total side=client"]),
            (|m| m.client_sent(1), &["ringway_sent_bytes_total side=client"]),
            (|m| m.upstream_received(1), &["ringway_received_bytes_total side=upstream"]),
            (|m| m.upstream_sent(1), &["ringway_sent_bytes_total side=upstream"]),
            (|m| m.request_admitted(1), &["ringway_request_admit_seconds"]),
            (|m| m.upstream_first_byte(1), &["ringway_upstream_first_byte_seconds"]),
            (
                |m| m.upstream_connected(1, 9),
                &[
                    "ringway_upstream_connects_total upstream=b",
                    "ringway_upstream_connections_open upstream=b",
                    "ringway_upstream_connect_seconds",
                ],
            ),
            (|m| m.upstream_closed(0), &["ringway_upstream_connections_open upstream=a"]),
            (|m| m.upstream_reused(0), &["ringway_upstream_reuses_total upstream=a"]),
            (|m| m.upstream_retried(1), &["ringway_upstream_retries_total upstream=b"]),
            (|m| m.pool_waited(1), &["ringway_upstream_pool_waits_total upstream=b"]),
            (
                |m| m.upstream_failed(0, UpstreamFailure::Timeout),
                &["ringway_upstream_failures_total upstream=a kind=timeout"],
            ),
            (
                |m| m.upstream_failed(1, UpstreamFailure::Connect),
                &["ringway_upstream_failures_total upstream=b kind=connect"],
            ),
            (|m| m.timed_out(Timeout::Head), &["ringway_timeouts_total kind=head"]),
            (|m| m.timed_out(Timeout::Tunnel), &["ringway_timeouts_total kind=tunnel"]),
        ];
        for (step, expected) in steps {
            let metrics = metrics();
            step(&metrics);
            let mut moved: Vec<String> = Vec::new();
            for metric in read(&metrics).metrics {
                let is_zero = match &metric.value {
                    Value::Counter(value) => *value == 0,
                    Value::Gauge(value) => *value == 0,
                    Value::Histogram(found) => found.count() == 0,
                };
                if !is_zero {
                    let labels = metric.labels.iter().map(|(label, value)| format!(" {label}={value}"));
                    moved.push(std::iter::once(metric.name).chain(labels).collect());
                }
            }
            moved.sort();
            let mut expected = expected.to_vec();
            expected.sort_unstable();
            assert_eq!(moved, expected);
        }
    }

    #[test]
    fn routes_and_upstreams_past_the_bound_share_one_label() {
        let names: Vec<String> = (0..MAX_ROUTES + 5).map(|route| format!("r{route}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let metrics = Metrics::in_memory(&names, &names).expect("sound names");
        for index in [MAX_ROUTES - 1, MAX_ROUTES, MAX_ROUTES + 4, usize::MAX] {
            metrics.request_done(Some(index), 200, 5);
            metrics.upstream_reused(index);
            metrics.upstream_failed(index, UpstreamFailure::Truncated);
        }
        let found = read(&metrics);
        let name = "ringway_route_request_duration_seconds";
        assert_eq!(found.histogram(name, &[("route", OTHER)]).map(Distribution::count), Some(3));
        assert_eq!(found.histogram(name, &[("route", "r1023")]).map(Distribution::count), Some(1));
        assert_eq!(found.counter("ringway_upstream_reuses_total", &[("upstream", OTHER)]), Some(3));
        let labels = [("upstream", OTHER), ("kind", "truncated")];
        assert_eq!(found.counter("ringway_upstream_failures_total", &labels), Some(3));
    }

    #[test]
    fn names_follow_the_conventions() {
        for metric in read(&metrics()).metrics {
            let name = &metric.name;
            assert!(name.starts_with("ringway_"), "{name}");
            assert_eq!(matches!(metric.value, Value::Counter(_)), name.ends_with("_total"), "{name}");
            assert_eq!(metric.unit == Unit::Seconds, name.ends_with("_seconds"), "{name}");
            assert_eq!(metric.unit == Unit::Bytes, name.ends_with("_bytes_total"), "{name}");
        }
    }

    #[test]
    fn every_metric_and_label_is_documented() {
        let page = include_str!("../../docs/metrics-files.md");
        for metric in read(&metrics()).metrics {
            let row = page.lines().find(|line| line.starts_with(&format!("| `{}` |", metric.name)));
            let row = row.unwrap_or_else(|| panic!("{} has no row", metric.name));
            for (label, value) in metric.labels {
                assert!(row.contains(&format!("`{label}`")), "{}: label {label}", metric.name);
                assert!(label != "kind" || row.contains(&format!("`{value}`")), "{}: kind {value}", metric.name);
            }
        }
    }
}
