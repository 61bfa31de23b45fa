use std::sync::Arc;

use proptest::prelude::*;
use ringway_runtime::histogram::{Distribution, SchemaBuilder, Shape, Unit, Writer};

use super::families::{HISTOGRAM_SERIES, classic};
use super::protobuf::Native;
use super::*;
use crate::observe::{Metrics, Names, PlanNames};

/// Durations as a gateway has them, from none to beyond the range of the files.
fn durations() -> impl Strategy<Value = Vec<u64>> {
    let one = (0_u32..=44, any::<u64>()).prop_map(|(bits, seed)| seed & ((1 << bits) - 1));
    prop::collection::vec(one, 0..200)
}

fn snapshot_of(shape: Shape, values: &[u64]) -> Snapshot {
    let mut builder = SchemaBuilder::new();
    let id = builder.histogram("ringway_request_duration_seconds", Unit::Seconds, shape, &[]);
    let writer = Writer::in_memory(&builder.build().expect("a schema"));
    for &value in values {
        writer.record(id, value);
    }
    writer.snapshot().expect("a snapshot")
}

fn distribution(shape: Shape, values: &[u64]) -> Distribution {
    snapshot_of(shape, values).histogram("ringway_request_duration_seconds", &[]).expect("the histogram").clone()
}

/// What a core has that runs a plan of these routes and upstreams.
fn core(routes: &[&str], upstreams: &[&str]) -> Snapshot {
    let metrics = Metrics::in_memory().expect("a sound schema");
    let (slots, new) = Names::default()
        .take_up(&PlanNames { routes: routes.to_vec(), upstreams: upstreams.to_vec(), ..PlanNames::default() })
        .expect("sound names");
    metrics.add_segment(new.expect("new names").in_memory());
    let _series = metrics.series(&Arc::new(slots));
    metrics.snapshot().expect("a snapshot")
}

fn text(snapshot: &Snapshot, format: Format, max: usize) -> String {
    String::from_utf8(render(snapshot, format, max)).expect("text")
}

proptest! {
    #[test]
    fn classic_buckets_are_monotone_and_count_what_a_slow_count_does(
        values in durations(), shape in prop::sample::select(vec![Shape::FINE, Shape::COARSE]),
    ) {
        let buckets = classic(&distribution(shape, &values));
        for &(edge, count) in &buckets {
            let model = values.iter().filter(|&&value| value <= edge).count() as u64;
            prop_assert_eq!(count, model, "not above {}", edge);
        }
        prop_assert!(buckets.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1));
    }

    #[test]
    fn a_native_bucket_holds_its_values_within_the_stated_error(
        values in durations(), fine in any::<bool>(),
    ) {
        let (shape, schema, error) =
            if fine { (Shape::FINE, 5, 0.030) } else { (Shape::COARSE, 3, 0.126) };
        let native = Native::of(&distribution(shape, &values), Unit::Seconds);
        prop_assert_eq!(native.schema, schema);
        prop_assert!(native.buckets.windows(2).all(|pair| pair[0].0 < pair[1].0));
        let mut sorted = values.clone();
        sorted.sort_unstable();
        let zeros = sorted.iter().filter(|&&value| value == 0).count();
        prop_assert_eq!(native.zeros, zeros as u64);
        let mut rest = sorted[zeros..].iter();
        for (index, count) in native.buckets {
            let upper = 2_f64.powf(f64::from(index) / f64::from(1 << schema)) * 1e9;
            for &value in rest.by_ref().take(count as usize) {
                // The last bucket of the file has no end: it goes where the maximum lies.
                if shape.index(value) + 1 < shape.buckets() {
                    let value = value as f64;
                    prop_assert!(value <= upper * 1.000_001, "{} above {}", value, upper);
                    prop_assert!(upper <= value * (1.0 + error), "{} too far below {}", value, upper);
                }
            }
        }
        prop_assert!(rest.next().is_none());
    }
}

#[test]
fn both_text_formats_of_a_small_file() {
    let mut builder = SchemaBuilder::new();
    let requests = builder.counter("ringway_requests_total", Unit::None, &[("status", "2xx")]);
    let bytes = builder.counter("ringway_received_bytes_total", Unit::Bytes, &[("side", "a\"b\\c")]);
    let open = builder.gauge("ringway_connections_open", Unit::None, &[]);
    let duration = builder.histogram("ringway_request_duration_seconds", Unit::Seconds, Shape::FINE, &[]);
    let writer = Writer::in_memory(&builder.build().expect("a schema"));
    writer.counter(requests).add(7);
    writer.counter(bytes).add(1 << 60);
    writer.gauge(open).set(-3);
    writer.record(duration, 100);
    writer.record(duration, 1_500_000_000);
    let mut snapshot = writer.snapshot().expect("a snapshot");
    let process = &mut snapshot.cores[0];
    (process.core, process.epoch, process.wall_ns, process.mono_ns) = (3, 9, 2_000_000_001, 500);
    process.heartbeat_mono_ns = 1_000_000_500;
    let found = text(&snapshot, Format::Text, DEFAULT_MAX_SERIES);
    for wanted in [
        "# HELP ringway_requests_total requests answered, whoever the answer was from\n\
         # TYPE ringway_requests_total counter\nringway_requests_total{status=\"2xx\"} 7\n",
        "ringway_received_bytes_total{side=\"a\\\"b\\\\c\"} 1152921504606846976\n",
        "# TYPE ringway_connections_open gauge\nringway_connections_open -3\n",
        "ringway_request_duration_seconds_bucket{le=\"0.000004095\"} 1\n",
        "ringway_request_duration_seconds_bucket{le=\"1.073741823\"} 1\n",
        "ringway_request_duration_seconds_bucket{le=\"2.147483647\"} 2\n",
        "ringway_request_duration_seconds_bucket{le=\"+Inf\"} 2\n",
        "ringway_request_duration_seconds_count 2\n",
        "process_start_time_seconds 2.000000001\n",
        "ringway_core_plan_epoch{core=\"3\"} 9\n",
        "ringway_core_heartbeat_timestamp_seconds{core=\"3\"} 3.000000001\n",
        "ringway_metrics_series_dropped 0\n",
    ] {
        assert!(found.contains(wanted), "{wanted} is not in\n{found}");
    }
    assert!(!found.contains("# UNIT") && !found.contains("# EOF"), "{found}");
    let found = text(&snapshot, Format::OpenMetrics, DEFAULT_MAX_SERIES);
    for wanted in [
        "# TYPE ringway_requests counter\nringway_requests_total{status=\"2xx\"} 7\n",
        "# TYPE ringway_received_bytes counter\n# UNIT ringway_received_bytes bytes\n",
        "# UNIT ringway_request_duration_seconds seconds\n",
    ] {
        assert!(found.contains(wanted), "{wanted} is not in\n{found}");
    }
    assert!(found.ends_with("# EOF\n"), "{found}");
}

#[test]
fn every_metric_of_the_gateway_has_a_help_text() {
    let found = text(&core(&["users"], &["a"]), Format::Text, DEFAULT_MAX_SERIES);
    for line in found.lines().filter(|line| line.starts_with("# TYPE ")) {
        let name = line.split(' ').nth(2).unwrap_or_default();
        assert!(found.contains(&format!("# HELP {name} ")), "{name} has no row in docs/metrics-files.md");
    }
}

#[test]
fn what_goes_beyond_the_bound_is_left_out_whole_and_counted() {
    let names: Vec<String> = (0..10).map(|route| format!("r{route}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let snapshot = core(&names, &[]);
    let series = |found: &str| found.lines().filter(|line| !line.starts_with('#')).count();
    let all = text(&snapshot, Format::Text, DEFAULT_MAX_SERIES);
    // What the exposition adds of its own does not count.
    let own = 5;
    let bound = series(&all) - own - HISTOGRAM_SERIES * 3 + 1;
    let found = text(&snapshot, Format::Text, bound);
    assert!(found.contains("route=\"r6\"") && !found.contains("route=\"r7\""), "{found}");
    assert!(found.contains(&format!("ringway_metrics_series_dropped {}\n", HISTOGRAM_SERIES * 3)), "{found}");
    assert!(series(&found) - own <= bound);
}

#[test]
fn the_best_liked_format_is_given() {
    let prometheus = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.8,\
                      application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
    let cases = [
        (None, Format::Text),
        (Some("*/*"), Format::Text),
        (Some(prometheus), Format::Protobuf),
        (
            Some("application/openmetrics-text; version=1.0.0; charset=utf-8;q=0.75,text/plain;q=0.5"),
            Format::OpenMetrics,
        ),
        (Some("text/plain;version=0.0.4;q=0.9, application/openmetrics-text;q=0.2"), Format::Text),
        (Some("application/openmetrics-text;version=2.0.0,text/plain;q=0.1"), Format::Text),
        (Some("application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text"), Format::Text),
        (Some("application/openmetrics-text;q=0"), Format::Text),
        (Some("application/json;q=x,,;,application/openmetrics-text"), Format::OpenMetrics),
    ];
    for (accept, wanted) in cases {
        assert_eq!(Format::negotiate(accept), wanted, "{accept:?}");
    }
}
