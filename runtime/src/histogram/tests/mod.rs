//! Tests by what they need: numbers only, files, or files that somebody damaged.

mod damage;
mod files;
mod fold;
mod numbers;

use super::{CounterId, HistogramId, Schema, SchemaBuilder, Shape, Start, Unit};

/// A counter, a gauge and two histograms.
struct Small {
    schema: Schema,
    requests: CounterId,
    duration: HistogramId,
}

const START: Start =
    Start { core: 3, segment: 0, generation: 0, hidden: false, wall_ns: 1_800_000_000_000_000_000, mono_ns: 77 };

fn small() -> Small {
    let mut builder = SchemaBuilder::new();
    let requests = builder.counter("requests_total", Unit::None, &[("status", "2xx")]);
    builder.gauge("connections_open", Unit::None, &[]);
    let duration = builder.histogram("duration_seconds", Unit::Seconds, Shape::FINE, &[]);
    builder.histograms("route_seconds", Unit::Seconds, Shape::COARSE, [[("route", "a")], [("route", "ü b")]]);
    Small { schema: builder.build().expect("a sound schema"), requests, duration }
}
