use ringway_runtime::histogram::{Distribution, Value};

use super::super::labels::{UpstreamEvent, UpstreamFailure, UpstreamPick};
use super::super::names::{Names, PlanNames};
use super::super::twice::{Hedged, Mirrored};
use super::*;

/// The metrics of a core whose plan has these routes and upstreams.
fn core(routes: &[&str], upstreams: &[&str]) -> (Metrics, Series) {
    let metrics = Metrics::in_memory().expect("a sound schema");
    let names = PlanNames {
        routes: routes.to_vec(),
        upstreams: upstreams.to_vec(),
        policies: vec!["p", "q"],
        checks: vec!["s/c", "s/d"],
    };
    let (slots, new) = Names::default().take_up(&names).expect("sound names");
    metrics.add_segment(new.expect("new names").in_memory());
    let series = metrics.series(&Arc::new(slots));
    (metrics, series)
}

fn metrics() -> (Metrics, Series) {
    core(&["users", "orders"], &["a", "b"])
}

fn read(metrics: &Metrics) -> Snapshot {
    metrics.snapshot().expect("a readable image")
}

#[test]
fn a_request_is_counted_by_class_in_total_and_for_its_route() {
    let (metrics, series) = metrics();
    for (route, status, ns) in [(Some(1), 204, 1_000), (None, 404, 2_000), (Some(0), 999, 3_000), (Some(0), 0, 3)] {
        metrics.request_done(status, ns);
        if let Some(route) = route {
            series.request_done(route, ns);
        }
    }
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
    let (metrics, _) = metrics();
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
    let (metrics, _) = metrics();
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
    type Step = fn(&Metrics, &UpstreamSeries);
    let steps: [(Step, &[&str]); 48] = [
        (|m, _| m.turned(5), &["ringway_loop_stall_seconds"]),
        (|m, _| m.worked(5), &["ringway_core_cpu_seconds_total"]),
        (|m, _| m.looped(5, 1), &["ringway_loop_iterations_total"]),
        (|m, _| m.receive_buffers_exhausted(1), &["ringway_receive_buffers_exhausted_total"]),
        (|m, _| m.set_names_in_other([0, 7, 0, 0]), &["ringway_names_in_other kind=upstream"]),
        (|m, _| m.connection_evicted(), &["ringway_connections_evicted_total"]),
        (|m, _| m.files_short(), &["ringway_files_short_total"]),
        (|m, _| m.accept_failed(), &["ringway_accept_failures_total"]),
        (|m, _| m.set_requests_in_flight(3), &["ringway_requests_in_flight"]),
        (|m, _| m.shed(Priority::High, Cause::Requests), &["ringway_shed_total priority=high cause=requests"]),
        (|m, _| m.shed(Priority::Low, Cause::Memory), &["ringway_shed_total priority=low cause=memory"]),
        (|m, _| m.handed_over(Direction::In), &["ringway_connections_handed_over_total direction=in"]),
        (|m, _| m.moved(Direction::In), &["ringway_connections_moved_total direction=in", "ringway_connections_open"]),
        (
            |m, _| m.moved(Direction::Out),
            &["ringway_connections_moved_total direction=out", "ringway_connections_open"],
        ),
        (|m, _| m.set_load(3), &["ringway_load_connections"]),
        (
            |m, _| {
                let now = PortStats { sent: 9, received: 8, full: 7, dropped: 6, doorbells: 5 };
                m.mesh(MeshPeer::Core, &now, &PortStats { sent: 2, ..PortStats::default() });
            },
            &[
                "ringway_mesh_messages_total outcome=sent to=core",
                "ringway_mesh_messages_total outcome=refused to=core",
                "ringway_mesh_messages_total outcome=dropped to=core",
                "ringway_mesh_doorbells_total",
            ],
        ),
        (
            |m, _| {
                let now = PortStats { dropped: 1, ..PortStats::default() };
                m.mesh(MeshPeer::Control, &now, &PortStats::default());
            },
            &["ringway_mesh_messages_total outcome=dropped to=control"],
        ),
        (|m, _| m.health_checked(1), &["ringway_health_check_duration_seconds"]),
        (|m, _| m.client_received(1), &["ringway_received_bytes_total side=client"]),
        (|m, _| m.client_sent(1), &["ringway_sent_bytes_total side=client"]),
        (|m, _| m.upstream_received(1), &["ringway_received_bytes_total side=upstream"]),
        (|m, _| m.upstream_sent(1), &["ringway_sent_bytes_total side=upstream"]),
        (|m, _| m.request_admitted(1), &["ringway_request_admit_seconds"]),
        (|m, _| m.upstream_first_byte(1), &["ringway_upstream_first_byte_seconds"]),
        (
            |m, b| m.upstream_connected(b, 9),
            &[
                "ringway_upstream_connects_total upstream=b",
                "ringway_upstream_connections_open upstream=b",
                "ringway_upstream_connect_seconds",
            ],
        ),
        (|_, b| b.closed(), &["ringway_upstream_connections_open upstream=b"]),
        (|_, b| b.reused(), &["ringway_upstream_reuses_total upstream=b"]),
        (|_, b| b.retried(), &["ringway_upstream_retries_total upstream=b"]),
        (|_, b| b.picked(UpstreamPick::Spilled), &["ringway_upstream_special_picks_total upstream=b kind=spilled"]),
        (|_, b| b.picked(UpstreamPick::Sticky), &["ringway_upstream_special_picks_total upstream=b kind=sticky"]),
        (|_, b| b.out_of_budget(), &["ringway_upstream_retries_out_of_budget_total upstream=b"]),
        (|_, b| b.hedged(Hedged::Won), &["ringway_upstream_hedges_total upstream=b outcome=won"]),
        (|_, b| b.mirrored(Mirrored::of(404)), &["ringway_upstream_mirrored_total upstream=b outcome=4xx"]),
        (|_, b| b.waited(), &["ringway_upstream_pool_waits_total upstream=b"]),
        (|_, b| b.failed(UpstreamFailure::Timeout), &["ringway_upstream_failures_total upstream=b kind=timeout"]),
        (|_, b| b.failed(UpstreamFailure::Connect), &["ringway_upstream_failures_total upstream=b kind=connect"]),
        (|_, b| b.event(UpstreamEvent::FellBack), &["ringway_upstream_events_total upstream=b event=fell_back"]),
        (|_, b| b.event(UpstreamEvent::Ejected), &["ringway_upstream_events_total upstream=b event=ejected"]),
        (|m, _| m.http2_connection(Http2Side::Upstream), &["ringway_http2_connections_total side=upstream"]),
        (|m, _| m.http2_stream(Http2Side::Client), &["ringway_http2_streams_total side=client"]),
        (
            |m, _| m.http2_reset(Http2Side::Upstream, Http2Reset::Fault),
            &["ringway_http2_resets_total side=upstream by=fault"],
        ),
        (
            |m, _| m.http2_fault(Http2Side::Client, Fault::Calm),
            &["ringway_http2_faults_total side=client fault=h2_misbehaviour"],
        ),
        (|m, _| m.grpc_answered(b"0"), &["ringway_grpc_answers_total grpc_status=0"]),
        (|m, _| m.grpc_answered(b"16"), &["ringway_grpc_answers_total grpc_status=16"]),
        (|m, _| m.grpc_answered(b"17"), &["ringway_grpc_answers_total grpc_status=other"]),
        (|m, _| m.deadline_malformed(), &["ringway_deadlines_malformed_total"]),
        (|m, _| m.timed_out(Timeout::Head), &["ringway_timeouts_total kind=head"]),
        (|m, _| m.timed_out(Timeout::Tunnel), &["ringway_timeouts_total kind=tunnel"]),
    ];
    for (step, expected) in steps {
        let (metrics, series) = metrics();
        step(&metrics, &series.upstream(1));
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
fn names_follow_the_conventions() {
    for metric in read(&metrics().0).metrics {
        let name = &metric.name;
        assert!(name.starts_with("ringway_"), "{name}");
        assert_eq!(matches!(metric.value, Value::Counter(_)), name.ends_with("_total"), "{name}");
        let base = name.strip_suffix("_total").unwrap_or(name);
        assert_eq!(metric.unit == Unit::Seconds, base.ends_with("_seconds"), "{name}");
        assert_eq!(metric.unit == Unit::Bytes, base.ends_with("_bytes"), "{name}");
    }
}

#[test]
fn every_metric_and_label_is_documented() {
    let page = include_str!("../../../docs/metrics-files.md");
    for metric in read(&metrics().0).metrics {
        let row = page.lines().find(|line| line.starts_with(&format!("| `{}` |", metric.name)));
        let row = row.unwrap_or_else(|| panic!("{} has no row", metric.name));
        for (label, value) in metric.labels {
            assert!(row.contains(&format!("`{label}`")), "{}: label {label}", metric.name);
            let is_of_ours = ["kind", "outcome", "priority", "cause"].contains(&&*label);
            assert!(!is_of_ours || row.contains(&format!("`{value}`")), "{}: {label} {value}", metric.name);
        }
    }
}
