use hdrhistogram::Histogram;
use proptest::prelude::*;

use super::super::{Distribution, SchemaBuilder, SchemaError, Shape, Unit, Writer};
use super::small;

const QUANTILES: [f64; 8] = [0.0, 0.07, 0.5, 0.9, 0.99, 0.999, 0.9999, 1.0];

/// Values of every magnitude, small ones as likely as large ones.
fn value(bits: u32) -> impl Strategy<Value = u64> {
    (0..bits, any::<u64>()).prop_map(|(shift, bits)| (bits | 1 << 63) >> (63 - shift))
}

fn distribution(shape: Shape, values: &[u64]) -> Distribution {
    let mut builder = SchemaBuilder::new();
    let id = builder.histogram("values", Unit::None, shape, &[]);
    let writer = Writer::in_memory(&builder.build().expect("a sound schema"));
    for &value in values {
        writer.record(id, value);
    }
    let snapshot = writer.snapshot().expect("a readable image");
    snapshot.histogram("values", &[]).cloned().expect("the histogram")
}

/// The slow model: sort, then count.
fn at_rank(values: &[u64], quantile: f64) -> (usize, u64) {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let share = (quantile * 1e4).round() as usize * sorted.len();
    let rank = share.div_ceil(10_000).max(1);
    (rank, sorted[rank - 1])
}

proptest! {
    #[test]
    fn what_came_since_a_snapshot_is_what_was_recorded_after_it(
        before in prop::collection::vec(value(50), 0..50),
        after in prop::collection::vec(value(50), 0..50),
    ) {
        let all: Vec<u64> = before.iter().chain(&after).copied().collect();
        let since = distribution(Shape::COARSE, &all).since(&distribution(Shape::COARSE, &before));
        let wanted = distribution(Shape::COARSE, &after);
        prop_assert!(since.max() >= wanted.max());
        // All but the end of the highest bucket, which may be known less exactly.
        let ends = |found: &Distribution| found.buckets().map(|(low, _, count)| (low, count)).collect::<Vec<_>>();
        prop_assert_eq!(ends(&since), ends(&wanted));
        prop_assert_eq!(since.buckets().last().map(|(_, high, _)| high), since.count().gt(&0).then(|| since.max()));
    }

    #[test]
    fn every_value_lies_in_its_bucket_and_every_bucket_is_narrow(
        value in value(63), precision in 1_u8..=12, range in 13_u8..=63,
    ) {
        let shape = Shape::new(precision, range).expect("in bounds");
        let index = shape.index(value);
        prop_assert!(index < shape.buckets());
        if value < 1 << range {
            prop_assert!(shape.lowest(index) <= value && value <= shape.highest(index));
            prop_assert!((shape.highest(index) - shape.lowest(index)) << precision <= shape.lowest(index));
        } else {
            prop_assert_eq!(index, shape.buckets() - 1);
        }
    }

    #[test]
    fn buckets_follow_each_other_without_gap_or_overlap(precision in 1_u8..=8, range in 9_u8..=44) {
        let shape = Shape::new(precision, range).expect("in bounds");
        prop_assert_eq!(shape.lowest(0), 0);
        for index in 1..shape.buckets() {
            prop_assert_eq!(shape.lowest(index), shape.highest(index - 1) + 1);
        }
        prop_assert_eq!(shape.highest(shape.buckets() - 1), (1 << range) - 1);
    }

    #[test]
    fn quantiles_are_those_of_sorting_within_the_stated_error(
        values in prop::collection::vec(value(42), 1..400), coarse: bool,
    ) {
        let (shape, error) = if coarse { (Shape::COARSE, 0.032) } else { (Shape::FINE, 0.0079) };
        let found = distribution(shape, &values);
        for quantile in QUANTILES {
            let (_, exact) = at_rank(&values, quantile);
            let got = found.quantile(quantile);
            prop_assert!(got >= exact, "{quantile}: {got} is below {exact}");
            prop_assert!((got - exact) as f64 <= exact as f64 * error, "{quantile}: {got} is far above {exact}");
        }
        prop_assert_eq!(found.count(), values.len() as u64);
        prop_assert_eq!(Some(&found.max()), values.iter().max());
        let mean = values.iter().map(|&value| value as f64).sum::<f64>() / values.len() as f64;
        prop_assert!((found.mean() - mean).abs() <= mean * error / 2.0 + 0.5);
    }

    #[test]
    fn quantiles_are_those_of_hdr_histogram_with_two_digits(values in prop::collection::vec(value(42), 1..400)) {
        let mut model = Histogram::<u64>::new_with_bounds(1, (1 << 42) - 1, 2).expect("a model");
        for &value in &values {
            model.record(value).expect("in range");
        }
        let found = distribution(Shape::FINE, &values);
        for quantile in QUANTILES {
            // Ask the model for the middle of the rank, so that both round to the same one.
            let (rank, _) = at_rank(&values, quantile);
            let expected = model.value_at_quantile((rank as f64 - 0.5) / values.len() as f64);
            prop_assert_eq!(found.quantile(quantile), expected.min(found.max()));
        }
    }

    #[test]
    fn merged_cores_read_as_one(
        one in prop::collection::vec(value(44), 0..60), two in prop::collection::vec(value(44), 0..60),
    ) {
        let small = small();
        let record = |values: &[u64]| {
            let writer = Writer::in_memory(&small.schema);
            for &value in values {
                writer.record(small.duration, value);
                writer.counter(small.requests).add(2);
            }
            writer.snapshot().expect("a readable image")
        };
        let mut merged = record(&one);
        merged.merge(record(&two)).expect("one shape");
        let together = record(&[one, two].concat());
        prop_assert_eq!(&merged.metrics, &together.metrics);
        prop_assert_eq!(merged.cores.len(), 2);
    }
}

#[test]
fn a_value_past_the_range_is_counted_and_its_maximum_is_exact() {
    let found = distribution(Shape::FINE, &[5, 1 << 50, u64::MAX - 1]);
    assert_eq!((found.count(), found.max(), found.quantile(0.9)), (3, u64::MAX - 1, u64::MAX - 1));
}

#[test]
fn an_empty_histogram_is_all_zero() {
    let found = distribution(Shape::FINE, &[]);
    assert_eq!((found.count(), found.min(), found.max(), found.quantile(0.99)), (0, 0, 0, 0));
    assert!(found.mean().abs() < f64::EPSILON);
}

#[test]
fn a_share_that_falls_on_a_rank_is_that_rank() {
    let values: Vec<u64> = (1..=100).collect();
    let found = distribution(Shape::FINE, &values);
    for percent in 1..=100_u32 {
        assert_eq!(found.quantile(f64::from(percent) / 100.0), u64::from(percent));
    }
}

#[test]
fn a_gauge_goes_below_zero_and_back() {
    let mut builder = SchemaBuilder::new();
    let id = builder.gauge("level", Unit::None, &[]);
    let writer = Writer::in_memory(&builder.build().expect("a sound schema"));
    let level = || writer.snapshot().expect("a readable image").gauge("level", &[]);
    writer.gauge(id).add(-3);
    assert_eq!(level(), Some(-3));
    writer.gauge(id).set(10);
    writer.gauge(id).add(-1);
    assert_eq!(level(), Some(9));
}

#[test]
fn a_set_has_one_metric_for_each_value_and_none_beyond() {
    let mut builder = SchemaBuilder::new();
    let bytes = builder.counters("bytes_total", Unit::Bytes, ["client", "upstream"].map(|side| [("side", side)]));
    let open = builder.gauges("open", Unit::None, ["client", "upstream"].map(|side| [("side", side)]));
    let time = builder.histograms(
        "time_seconds",
        Unit::Seconds,
        Shape::COARSE,
        ["client", "upstream"].map(|side| [("side", side)]),
    );
    let writer = Writer::in_memory(&builder.build().expect("a sound schema"));
    writer.counter(bytes.get(1).expect("two counters")).add(7);
    writer.gauge(open.get(0).expect("two gauges")).set(4);
    writer.record(time.get(1).expect("two histograms"), 1_000);
    assert_eq!((bytes.get(2), open.get(2), time.get(2)), (None, None, None));

    let found = writer.snapshot().expect("a readable image");
    assert_eq!(found.counter("bytes_total", &[("side", "upstream")]), Some(7));
    assert_eq!(found.counter("bytes_total", &[("side", "client")]), Some(0));
    assert_eq!(found.gauge("open", &[("side", "client")]), Some(4));
    let counts =
        ["client", "upstream"].map(|side| found.histogram("time_seconds", &[("side", side)]).map(Distribution::count));
    assert_eq!(counts, [Some(0), Some(1)]);
}

#[test]
fn an_id_of_another_schema_does_no_harm() {
    let small = small();
    let mut builder = SchemaBuilder::new();
    let only = builder.counter("only", Unit::None, &[]);
    let writer = Writer::in_memory(&builder.build().expect("a sound schema"));
    writer.record(small.duration, 5);
    writer.counter(only).add(1);
    assert_eq!(writer.snapshot().expect("a readable image").counter("only", &[]), Some(1));
}

#[test]
fn metrics_of_different_kinds_do_not_merge() {
    let snapshot = |builder: SchemaBuilder| {
        Writer::in_memory(&builder.build().expect("a sound schema")).snapshot().expect("a readable image")
    };
    let mut builder = SchemaBuilder::new();
    builder.counter("x", Unit::None, &[]);
    let counter = snapshot(builder);
    let [fine, coarse] = [Shape::FINE, Shape::COARSE].map(|shape| {
        let mut builder = SchemaBuilder::new();
        builder.histogram("x", Unit::None, shape, &[]);
        snapshot(builder)
    });
    assert_eq!(counter.clone().merge(fine.clone()).map_err(|error| error.0), Err("x".to_owned()));
    assert_eq!(fine.clone().merge(coarse).map_err(|error| error.0), Err("x".to_owned()));
    assert_eq!(fine.clone().merge(fine), Ok(()));
}

#[test]
fn a_schema_refuses_what_no_reader_could_name() {
    let build = |name: &str, labels: &[(&str, &str)]| {
        let mut builder = SchemaBuilder::new();
        builder.counter("first", Unit::None, &[]);
        builder.counter(name, Unit::None, labels);
        builder.build().map(drop)
    };
    assert_eq!(build("a b", &[]), Err(SchemaError::Name("a b".to_owned())));
    assert_eq!(build("", &[]), Err(SchemaError::Name(String::new())));
    assert_eq!(build("ok", &[("1", "")]), Err(SchemaError::Name("1".to_owned())));
    assert_eq!(build("ok", &[("l", "a\nb")]), Err(SchemaError::LabelValue("ok".to_owned(), "l".to_owned())));
    assert_eq!(build("ok", &[("l", "a"), ("l", "b")]), Err(SchemaError::Labels("ok".to_owned())));
    assert_eq!(build("first", &[]), Err(SchemaError::Duplicate("first".to_owned())));
    assert_eq!(build("first", &[("l", "a")]), Ok(()));
}

#[test]
fn a_schema_is_bounded_in_bytes() {
    let mut builder = SchemaBuilder::new();
    let names: Vec<String> = (0..10_000).map(|route| format!("route-{route}")).collect();
    builder.histograms("time", Unit::Seconds, Shape::FINE, names.iter().map(|name| [("route", name.as_str())]));
    assert_eq!(builder.build().map(drop), Err(SchemaError::TooLarge));
}
