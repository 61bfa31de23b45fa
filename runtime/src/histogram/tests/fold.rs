use std::fs;

use super::super::{Distribution, Shape, Snapshot, Start, State, Value, Writer, file_name, fold, publish, read_all};
use super::{START, small};

const LABELS: [(&str, &str); 1] = [("status", "2xx")];

/// All that a directory holds of the run, added up as readers do.
fn sum(dir: &std::path::Path) -> Snapshot {
    let found = read_all(dir).expect("a readable directory");
    let mut all = Snapshot { cores: Vec::new(), metrics: Vec::new() };
    for file in found.files.into_iter().map(|file| file.expect("a sound file")).chain(found.before) {
        all.add_earlier(file);
    }
    all
}

#[test]
fn what_has_ended_is_folded_once_and_counts_on() {
    let dir = tempfile::tempdir().expect("a directory");
    let small = small();
    let generation = |generation| {
        let start = Start { generation, ..START };
        let writer = Writer::create(dir.path(), &start, &small.schema).expect("a file");
        writer.counter(small.requests).add(10);
        writer.record(small.duration, 1_000 << generation);
        (start, writer)
    };
    let (_, zero) = generation(0);
    let (_, one) = generation(1);
    let (two, newest) = generation(2);
    let seen = || {
        let sum = sum(dir.path());
        let durations = sum.histogram("duration_seconds", &[]).expect("it is there");
        (sum.counter("requests_total", &LABELS), durations.count(), durations.max())
    };
    let expected = (Some(30), 3, 4_000);
    assert_eq!(seen(), expected);
    drop(one);
    assert!(fold(dir.path(), &two).expect("nothing fails"), "the first has not ended");
    assert_eq!((seen(), dir.path().join("before.metrics").exists()), (expected, false));
    drop(zero);
    assert!(!fold(dir.path(), &two).expect("it is folded"));
    assert_eq!(seen(), expected);
    let names = |dir: &std::path::Path| {
        let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(dir.path()), ["before.metrics", "core-3.g2.metrics"]);
    assert!(!fold(dir.path(), &two).expect("there is nothing to do"));
    drop(newest);
    let (three, _newest) = generation(3);
    assert!(!fold(dir.path(), &three).expect("it is folded"));
    assert_eq!(seen(), (Some(40), 4, 8_000));
    assert_eq!(names(dir.path()), ["before.metrics", "core-3.g3.metrics"]);
}

#[test]
fn files_that_are_folded_already_and_not_removed_yet_do_not_count_twice() {
    let dir = tempfile::tempdir().expect("a directory");
    let small = small();
    let zero = Writer::create(dir.path(), &START, &small.schema).expect("a file");
    zero.counter(small.requests).add(5);
    drop(zero);
    let first = dir.path().join(file_name(START.core, 0, 0));
    let kept = fs::read(&first).expect("the file");
    let _newest = Writer::create(dir.path(), &Start { generation: 1, ..START }, &small.schema).expect("a file");
    fold(dir.path(), &Start { generation: 1, ..START }).expect("it is folded");
    fs::write(&first, kept).expect("as if the fold had been cut short");
    assert_eq!(sum(dir.path()).counter("requests_total", &LABELS), Some(5));
}

#[test]
fn a_hidden_file_is_seen_once_it_is_published() {
    let dir = tempfile::tempdir().expect("a directory");
    let small = small();
    let start = Start { generation: 4, hidden: true, ..START };
    let writer = Writer::create(dir.path(), &start, &small.schema).expect("a file");
    assert!(read_all(dir.path()).expect("a directory").files.is_empty());
    publish(dir.path()).expect("it gets its name");
    writer.counter(small.requests).add(1);
    let found = read_all(dir.path()).expect("a directory").files;
    let process = found[0].as_ref().expect("the file").cores[0];
    assert_eq!((process.generation, process.state), (4, State::Running));
    assert_eq!(sum(dir.path()).counter("requests_total", &LABELS), Some(1));
}

#[test]
fn gauges_end_with_their_process_and_other_shapes_are_left_out() {
    let duration = |shape: Shape| {
        let mut builder = super::super::SchemaBuilder::new();
        let gauge = builder.gauge("open", super::super::Unit::None, &[]);
        let id = builder.histogram("duration_seconds", super::super::Unit::Seconds, shape, &[]);
        let writer = Writer::in_memory(&builder.build().expect("a schema"));
        writer.gauge(gauge).set(2);
        writer.record(id, 5);
        writer.snapshot().expect("a snapshot")
    };
    let mut now = duration(Shape::FINE);
    let mut earlier = duration(Shape::COARSE);
    now.add_earlier(earlier.clone());
    assert_eq!(
        (now.gauge("open", &[]), now.histogram("duration_seconds", &[]).map(Distribution::count)),
        (Some(4), Some(1))
    );
    earlier.cores[0].state = State::Closed;
    now.add_earlier(earlier);
    assert!(now.metrics.iter().any(|metric| metric.value == Value::Gauge(4)));
}
