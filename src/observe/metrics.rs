//! The gateway's metrics: their names, and one method for each thing that happens.
//!
//! Names follow the conventions of Prometheus: base units, `_total` on what only grows. Times are recorded in
//! nanoseconds. A method costs a few nanoseconds and allocates nothing.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use ringway_proto::http2::Fault;
use ringway_proto::websocket::Kind;
use ringway_proto::websocket::deflate::Work;
use ringway_runtime::histogram::{
    CounterId, CounterSet, CreateError, GaugeId, GaugeSet, HistogramId, Problem, Schema, SchemaBuilder, SchemaError,
    Shape, Snapshot, Start, Unit, Writer,
};
use ringway_runtime::mesh::PortStats;

use super::Reason;
use super::early::{self, EarlyDataOutcome, EarlyRequest};
use super::labels::{
    Cause, Direction, HandshakeFailure, Http2Reset, Http2Side, Lost, MeshPeer, ProxyHeader, Timeout, TlsSide,
};
use super::names::{NAMED, Segment, Segments, Series, Slots, UpstreamSeries};
use super::websocket::{self, ControlFrame, WebsocketEnd, WebsocketError, WebsocketSide};
use crate::plan::Priority;
use crate::tls::Version;

const STATUS_CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Statuses of gRPC as labels have them, each at its own number, and one for all others.
const GRPC_STATUSES: [&str; 18] =
    ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16", "other"];

/// The versions of TLS as labels have them, in the order of [`Version`].
const TLS_VERSIONS: [&str; 2] = ["1.2", "1.3"];

/// The metrics of one core, and the only one who writes them.
#[derive(Debug)]
pub struct Metrics {
    writer: Writer,
    ids: Ids,
    segments: Segments,
}

#[derive(Debug)]
struct Ids {
    connections_accepted: CounterId,
    connections_closed: CounterId,
    connections_refused: CounterId,
    connections_evicted: CounterId,
    proxy_headers: CounterSet,
    files_short: CounterId,
    accept_failures: CounterId,
    requests_in_flight: GaugeId,
    shed: CounterSet,
    connections_open: GaugeId,
    handed_over: CounterSet,
    moved: CounterSet,
    load: GaugeId,
    mesh: CounterSet,
    mesh_doorbells: CounterId,
    requests: CounterSet,
    client_received: CounterId,
    client_sent: CounterId,
    upstream_received: CounterId,
    upstream_sent: CounterId,
    loop_iterations: CounterId,
    loop_stall: HistogramId,
    core_cpu: CounterId,
    receive_buffers_exhausted: CounterId,
    timeouts: CounterSet,
    deadlines_malformed: CounterId,
    refusals: CounterSet,
    refusal_codes: Vec<&'static str>,
    request_duration: HistogramId,
    request_admit: HistogramId,
    upstream_connect: HistogramId,
    upstream_first_byte: HistogramId,
    health_check: HistogramId,
    names_in_other: GaugeSet,
    http2_connections: CounterSet,
    http2_streams: CounterSet,
    http2_resets: CounterSet,
    http2_faults: CounterSet,
    http2_fault_codes: Vec<&'static str>,
    grpc_answers: CounterSet,
    access_records: CounterId,
    access_dropped: CounterSet,
    events_untold: CounterId,
    websocket: websocket::Ids,
    handshakes: CounterSet,
    handshake_failures: CounterSet,
    kernel_tls: CounterSet,
    handshake_duration: HistogramId,
    handshakes_under_way: GaugeId,
    certificate_expiry: GaugeId,
    early: early::Ids,
}

impl Metrics {
    /// Opens the file of a core, or private memory and a warning where there can be no file.
    pub fn open(dir: &Path, start: &Start) -> Result<(Metrics, Option<CreateError>), SchemaError> {
        let (schema, ids) = schema()?;
        let (writer, warning) = Writer::create_or_in_memory(dir, start, &schema);
        Ok((Metrics { writer, ids, segments: Segments::default() }, warning))
    }

    /// The same metrics in private memory, for tests and simulation.
    pub fn in_memory() -> Result<Metrics, SchemaError> {
        let (schema, ids) = schema()?;
        Ok(Metrics { writer: Writer::in_memory(&schema), ids, segments: Segments::default() })
    }

    /// Takes in the metrics of new names. They come in the order in which control made them.
    pub fn add_segment(&self, segment: Segment) {
        self.segments.add(segment);
    }

    /// The metrics of the names of a plan. Every segment they are in must have been added.
    pub fn series(&self, slots: &Arc<Slots>) -> Series {
        self.segments.of_plan(slots.clone())
    }

    /// So many routes, upstreams, policies and checks of the plan share `(other)`.
    pub fn set_names_in_other(&self, counts: [usize; NAMED]) {
        for (at, &count) in counts.iter().enumerate() {
            if let Some(id) = self.ids.names_in_other.get(at) {
                self.writer.gauge(id).set(count as i64);
            }
        }
    }

    /// Reads everything back; it copies the whole files.
    pub fn snapshot(&self) -> Result<Snapshot, Problem> {
        let mut all = self.writer.snapshot()?;
        for segment in self.segments.snapshots()? {
            all.metrics.extend(segment.metrics);
        }
        Ok(all)
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

    /// The core's loop was away for so long before it looked for events again.
    #[inline]
    pub fn turned(&self, away_ns: u64) {
        self.writer.record(self.ids.loop_stall, away_ns);
    }

    /// The core's thread used so much more CPU time.
    #[inline]
    pub fn worked(&self, cpu_ns: u64) {
        self.add(self.ids.core_cpu, cpu_ns);
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

    /// A connection had to begin with a PROXY header.
    pub fn proxy_header(&self, outcome: ProxyHeader) {
        self.add_at(self.ids.proxy_headers, outcome as usize);
    }

    /// An idle client connection is closed to make room.
    pub fn connection_evicted(&self) {
        self.add(self.ids.connections_evicted, 1);
    }

    /// A client connected when only the reserved file descriptors were left.
    pub fn files_short(&self) {
        self.add(self.ids.files_short, 1);
    }

    /// A listener could not accept, as without a file descriptor.
    pub fn accept_failed(&self) {
        self.add(self.ids.accept_failures, 1);
    }

    /// So many requests are in flight.
    pub fn set_requests_in_flight(&self, count: u32) {
        self.writer.gauge(self.ids.requests_in_flight).set(i64::from(count));
    }

    /// A request of this priority is shed.
    pub fn shed(&self, priority: Priority, cause: Cause) {
        // The last priority is never shed.
        self.add_at(self.ids.shed, cause as usize * (Priority::ALL.len() - 1) + priority as usize);
    }

    /// A client that has just connected comes from another core, or goes to one. The core that serves it counts it as
    /// accepted.
    #[inline]
    pub fn handed_over(&self, direction: Direction) {
        self.add_at(self.ids.handed_over, direction as usize);
    }

    /// An open client connection comes from another core, or goes to one. It is open there from now on.
    pub fn moved(&self, direction: Direction) {
        self.add_at(self.ids.moved, direction as usize);
        self.writer.gauge(self.ids.connections_open).add(if direction == Direction::In { 1 } else { -1 });
    }

    /// What the core has to do, in connections.
    pub fn set_load(&self, connections: u64) {
        self.writer.gauge(self.ids.load).set(connections as i64);
    }

    /// What the core's port of the mesh to those peers counted since the last time.
    pub fn mesh(&self, to: MeshPeer, now: &PortStats, before: &PortStats) {
        let counts = [now.sent - before.sent, now.full - before.full, now.dropped - before.dropped];
        for (at, count) in counts.into_iter().enumerate() {
            if let Some(id) = self.ids.mesh.get(to as usize * counts.len() + at) {
                self.add(id, count);
            }
        }
        self.add(self.ids.mesh_doorbells, now.doorbells - before.doorbells);
    }

    /// A request is answered, whoever the answer is from. The duration is from the first byte of the head to the
    /// last of the answer.
    #[inline]
    pub fn request_done(&self, status: u16, duration_ns: u64) {
        let class = usize::from(status / 100).wrapping_sub(1);
        self.add_at(self.ids.requests, class.min(STATUS_CLASSES.len() - 1));
        self.writer.record(self.ids.request_duration, duration_ns);
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

    /// A deadline of a client could not be read.
    pub fn deadline_malformed(&self) {
        self.add(self.ids.deadlines_malformed, 1);
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
    pub fn upstream_connected(&self, upstream: &UpstreamSeries, connect_ns: u64) {
        upstream.connected();
        self.writer.record(self.ids.upstream_connect, connect_ns);
    }

    /// The first byte of an answer came, so long after the request was sent.
    #[inline]
    pub fn upstream_first_byte(&self, since_sent_ns: u64) {
        self.writer.record(self.ids.upstream_first_byte, since_sent_ns);
    }

    /// A service of type `health` has asked an endpoint, which took so long.
    pub fn health_checked(&self, took_ns: u64) {
        self.writer.record(self.ids.health_check, took_ns);
    }

    /// A connection of HTTP/2 begins.
    pub fn http2_connection(&self, side: Http2Side) {
        self.add_at(self.ids.http2_connections, side as usize);
    }

    /// A stream of HTTP/2 is opened.
    #[inline]
    pub fn http2_stream(&self, side: Http2Side) {
        self.add_at(self.ids.http2_streams, side as usize);
    }

    /// A stream of HTTP/2 ended before its time.
    pub fn http2_reset(&self, side: Http2Side, by: Http2Reset) {
        self.add_at(self.ids.http2_resets, side as usize * Http2Reset::VALUES.len() + by as usize);
    }

    /// A peer did something wrong for which a stream or its connection ends.
    pub fn http2_fault(&self, side: Http2Side, fault: Fault) {
        let code = fault.code();
        if let Some(at) = self.ids.http2_fault_codes.iter().position(|&known| known == code) {
            self.add_at(self.ids.http2_faults, side as usize * self.ids.http2_fault_codes.len() + at);
        }
    }

    /// An answer to a call of gRPC had this status, as its field says.
    pub fn grpc_answered(&self, status: &[u8]) {
        let at = GRPC_STATUSES.iter().position(|known| known.as_bytes() == status);
        self.add_at(self.ids.grpc_answers, at.unwrap_or(GRPC_STATUSES.len() - 1));
    }

    /// The log thread is told of a request, or would have been, had there been room.
    #[inline]
    pub fn access_recorded(&self, is_told: bool) {
        self.add(self.ids.access_records, 1);
        if !is_told {
            self.access_lost(Lost::Queue, 1);
        }
    }

    /// The access log lacks so many requests.
    pub fn access_lost(&self, lost: Lost, count: u64) {
        if let Some(id) = self.ids.access_dropped.get(lost as usize) {
            self.add(id, count);
        }
    }

    /// A connection speaks WebSocket from now on.
    pub fn websocket_opened(&self) {
        self.add(self.ids.websocket.opened, 1);
        self.writer.gauge(self.ids.websocket.open).add(1);
    }

    /// It does so no more. Where nothing is known of its end, the gateway cut it.
    pub fn websocket_closed(&self, end: Option<WebsocketEnd>) {
        self.writer.gauge(self.ids.websocket.open).add(-1);
        let (by, code) = end.map_or((WebsocketSide::Gateway, WebsocketEnd::ABNORMAL), |end| (end.by, end.code));
        self.add_some(self.ids.websocket.close(by, code));
    }

    /// A message of so many bytes has gone past, from this side.
    #[inline]
    pub fn websocket_message(&self, from: WebsocketSide, kind: Kind, bytes: u64) {
        self.add_some(self.ids.websocket.message(from, kind));
        if let Some(id) = self.ids.websocket.message_bytes.get(from as usize) {
            self.writer.record(id, bytes);
        }
    }

    /// Messages of this side were expanded or compressed anew.
    pub fn websocket_recoded(&self, from: WebsocketSide, work: Work) {
        let stages = [work.expanded_from, work.expanded_to, work.compressed_from, work.compressed_to];
        for (stage, bytes) in stages.into_iter().enumerate().filter(|(_, bytes)| *bytes > 0) {
            if let Some(id) = self.ids.websocket.recoded(from, stage) {
                self.add(id, bytes);
            }
        }
    }

    /// A control frame was passed on, from this side, or was sent by the gateway.
    #[inline]
    pub fn websocket_control(&self, from: WebsocketSide, frame: ControlFrame) {
        self.add_some(self.ids.websocket.control(from, frame));
    }

    /// This side did something that ends its connection.
    pub fn websocket_error(&self, side: WebsocketSide, error: WebsocketError) {
        self.add_some(self.ids.websocket.error(side, error));
    }

    /// So many events were too many in their second.
    pub fn events_untold(&self, count: u64) {
        self.add(self.ids.events_untold, count);
    }

    /// A TLS handshake is done; with a client it took so long.
    pub fn handshake_done(&self, side: TlsSide, version: Version, resumed: bool, took_ns: u64) {
        let at = (side as usize * TLS_VERSIONS.len() + version as usize) * 2 + usize::from(resumed);
        self.add_at(self.ids.handshakes, at);
        if side == TlsSide::Client {
            self.writer.record(self.ids.handshake_duration, took_ns);
        }
    }

    /// A TLS handshake came to nothing, or was not begun.
    pub fn handshake_failed(&self, side: TlsSide, failure: HandshakeFailure) {
        self.add_at(self.ids.handshake_failures, side as usize * HandshakeFailure::VALUES.len() + failure as usize);
    }

    /// Counts, once the kernel is asked to seal what a connection sends, whether it does.
    pub fn kernel_asked(self: &Rc<Self>, side: TlsSide) -> Box<dyn FnOnce(bool)> {
        let metrics = self.clone();
        Box::new(move |is_taken| metrics.add_at(metrics.ids.kernel_tls, side as usize * 2 + usize::from(is_taken)))
    }

    /// A client sent data before its TLS handshake was done.
    pub fn early_data(&self, outcome: EarlyDataOutcome) {
        self.add_at(self.ids.early.data, outcome as usize);
    }

    /// A request may be replayed.
    pub fn early_request(&self, outcome: EarlyRequest) {
        self.add_at(self.ids.early.requests, outcome as usize);
    }

    /// So many TLS handshakes with clients are under way.
    pub fn set_handshakes_under_way(&self, count: u32) {
        self.writer.gauge(self.ids.handshakes_under_way).set(i64::from(count));
    }

    /// The first of the plan's certificates expires then, in seconds since 1970; 0 where it has none.
    pub fn set_certificate_expiry(&self, at: i64) {
        self.writer.gauge(self.ids.certificate_expiry).set(at.saturating_mul(1_000_000_000));
    }

    #[inline]
    fn add(&self, id: CounterId, n: u64) {
        self.writer.counter(id).add(n);
    }

    #[inline]
    fn add_some(&self, id: Option<CounterId>) {
        if let Some(id) = id {
            self.add(id, 1);
        }
    }

    #[inline]
    fn add_at(&self, set: CounterSet, index: usize) {
        if let Some(id) = set.get(index) {
            self.writer.counter(id).add(1);
        }
    }
}

/// What every request touches comes first and lies together.
fn schema() -> Result<(Schema, Ids), SchemaError> {
    use Unit::{Bytes, None, Seconds};
    let mut build = SchemaBuilder::new();
    let refusals = distinct_refusals();
    let faults = distinct_faults();
    let sides = || Http2Side::VALUES.iter().copied();
    let client = [("side", "client")];
    let upstream = [("side", "upstream")];
    let ids = Ids {
        requests: build.counters("ringway_requests_total", None, STATUS_CLASSES.map(|class| [("status", class)])),
        client_received: build.counter("ringway_received_bytes_total", Bytes, &client),
        client_sent: build.counter("ringway_sent_bytes_total", Bytes, &client),
        upstream_received: build.counter("ringway_received_bytes_total", Bytes, &upstream),
        upstream_sent: build.counter("ringway_sent_bytes_total", Bytes, &upstream),
        loop_iterations: build.counter("ringway_loop_iterations_total", None, &[]),
        core_cpu: build.counter("ringway_core_cpu_seconds_total", Seconds, &[]),
        connections_accepted: build.counter("ringway_connections_accepted_total", None, &[]),
        connections_closed: build.counter("ringway_connections_closed_total", None, &[]),
        connections_refused: build.counter("ringway_connections_refused_total", None, &[]),
        connections_evicted: build.counter("ringway_connections_evicted_total", None, &[]),
        proxy_headers: build.counters(
            "ringway_proxy_headers_total",
            None,
            ProxyHeader::VALUES.iter().map(|&outcome| [("outcome", outcome)]),
        ),
        files_short: build.counter("ringway_files_short_total", None, &[]),
        accept_failures: build.counter("ringway_accept_failures_total", None, &[]),
        requests_in_flight: build.gauge("ringway_requests_in_flight", None, &[]),
        shed: build.counters(
            "ringway_shed_total",
            None,
            Cause::VALUES.iter().flat_map(|&cause| {
                ["low", "normal", "high"].map(|priority| [("priority", priority), ("cause", cause)])
            }),
        ),
        connections_open: build.gauge("ringway_connections_open", None, &[]),
        handed_over: build.counters(
            "ringway_connections_handed_over_total",
            None,
            Direction::VALUES.iter().map(|&direction| [("direction", direction)]),
        ),
        moved: build.counters(
            "ringway_connections_moved_total",
            None,
            Direction::VALUES.iter().map(|&direction| [("direction", direction)]),
        ),
        load: build.gauge("ringway_load_connections", None, &[]),
        mesh: build.counters(
            "ringway_mesh_messages_total",
            None,
            MeshPeer::VALUES
                .iter()
                .flat_map(|&to| ["sent", "refused", "dropped"].map(|outcome| [("outcome", outcome), ("to", to)])),
        ),
        mesh_doorbells: build.counter("ringway_mesh_doorbells_total", None, &[]),
        receive_buffers_exhausted: build.counter("ringway_receive_buffers_exhausted_total", None, &[]),
        timeouts: build.counters("ringway_timeouts_total", None, Timeout::VALUES.iter().map(|&kind| [("kind", kind)])),
        deadlines_malformed: build.counter("ringway_deadlines_malformed_total", None, &[]),
        refusals: build.counters(
            "ringway_refusals_total",
            None,
            refusals.iter().map(|reason| [("reason", reason.code()), ("side", reason.side().name())]),
        ),
        refusal_codes: refusals.iter().map(|reason| reason.code()).collect(),
        loop_stall: build.histogram("ringway_loop_stall_seconds", Seconds, Shape::COARSE, &[]),
        request_duration: build.histogram("ringway_request_duration_seconds", Seconds, Shape::FINE, &[]),
        request_admit: build.histogram("ringway_request_admit_seconds", Seconds, Shape::FINE, &[]),
        upstream_first_byte: build.histogram("ringway_upstream_first_byte_seconds", Seconds, Shape::FINE, &[]),
        upstream_connect: build.histogram("ringway_upstream_connect_seconds", Seconds, Shape::FINE, &[]),
        health_check: build.histogram("ringway_health_check_duration_seconds", Seconds, Shape::COARSE, &[]),
        names_in_other: build.gauges(
            "ringway_names_in_other",
            None,
            ["route", "upstream", "policy", "check"].map(|kind| [("kind", kind)]),
        ),
        http2_connections: build.counters(
            "ringway_http2_connections_total",
            None,
            sides().map(|side| [("side", side)]),
        ),
        http2_streams: build.counters("ringway_http2_streams_total", None, sides().map(|side| [("side", side)])),
        http2_resets: build.counters(
            "ringway_http2_resets_total",
            None,
            sides().flat_map(|side| Http2Reset::VALUES.iter().map(move |&by| [("side", side), ("by", by)])),
        ),
        http2_faults: build.counters(
            "ringway_http2_faults_total",
            None,
            sides().flat_map(|side| faults.iter().map(move |&fault| [("side", side), ("fault", fault)])),
        ),
        http2_fault_codes: faults.clone(),
        grpc_answers: build.counters(
            "ringway_grpc_answers_total",
            None,
            GRPC_STATUSES.map(|status| [("grpc_status", status)]),
        ),
        access_records: build.counter("ringway_access_log_records_total", None, &[]),
        access_dropped: build.counters(
            "ringway_access_log_dropped_total",
            None,
            Lost::VALUES.iter().map(|&cause| [("cause", cause)]),
        ),
        events_untold: build.counter("ringway_events_untold_total", None, &[]),
        websocket: websocket::Ids::new(&mut build),
        handshakes: build.counters(
            "ringway_tls_handshakes_total",
            None,
            TlsSide::VALUES.iter().flat_map(|&side| {
                TLS_VERSIONS.into_iter().flat_map(move |version| {
                    ["false", "true"].map(|resumed| [("side", side), ("version", version), ("resumed", resumed)])
                })
            }),
        ),
        handshake_failures: build.counters(
            "ringway_tls_handshake_failures_total",
            None,
            TlsSide::VALUES.iter().flat_map(|&side| {
                HandshakeFailure::VALUES.iter().map(move |&reason| [("side", side), ("reason", reason)])
            }),
        ),
        kernel_tls: build.counters(
            "ringway_tls_kernel_total",
            None,
            TlsSide::VALUES
                .iter()
                .flat_map(|&side| ["refused", "taken"].map(|outcome| [("side", side), ("outcome", outcome)])),
        ),
        handshake_duration: build.histogram("ringway_tls_handshake_duration_seconds", Seconds, Shape::COARSE, &[]),
        handshakes_under_way: build.gauge("ringway_tls_handshakes_under_way", None, &[]),
        certificate_expiry: build.gauge("ringway_tls_certificate_expiry_timestamp_seconds", Seconds, &[]),
        early: early::Ids::new(&mut build),
    };
    Ok((build.build()?, ids))
}

/// The code of every fault once.
fn distinct_faults() -> Vec<&'static str> {
    let mut distinct: Vec<&str> = Vec::new();
    for fault in Fault::all() {
        if !distinct.contains(&fault.code()) {
            distinct.push(fault.code());
        }
    }
    distinct
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
mod tests;
