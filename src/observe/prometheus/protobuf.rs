//! The protobuf format: `MetricFamily` messages of Prometheus's data model, each after its length. It is the only one
//! that carries native histograms.
//!
//! A handful of fields is written and nothing is read, so the wire format (tags, varints, lengths) is written by hand.

use ringway_runtime::histogram::{Distribution, Unit};

use super::families::{Family, Kind, Number, classic};
use super::text::unit;

/// Values below half a nanosecond, which are those of zero, are in the native zero bucket: 2^-31 s.
const ZERO_THRESHOLD_SECONDS: f64 = 1.0 / 2_147_483_648.0;
/// The same for what is counted in whole numbers.
const ZERO_THRESHOLD: f64 = 0.5;

pub(super) fn render(families: &[Family<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    for family in families {
        let message = self::family(family);
        varint(&mut out, message.len() as u64);
        out.extend_from_slice(&message);
    }
    out
}

fn family(family: &Family<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    bytes(&mut out, 1, family.name.as_bytes());
    bytes(&mut out, 2, family.help.as_bytes());
    let kind = match family.kind {
        Kind::Counter => 0,
        Kind::Gauge => 1,
        Kind::Histogram => 4,
    };
    number(&mut out, 3, kind);
    for sample in &family.samples {
        let mut metric = Vec::new();
        for (name, value) in &sample.labels {
            let mut pair = Vec::new();
            bytes(&mut pair, 1, name.as_bytes());
            bytes(&mut pair, 2, value.as_bytes());
            bytes(&mut metric, 1, &pair);
        }
        let mut value = Vec::new();
        match sample.number {
            Number::Counter(count) => {
                double(&mut value, 1, scaled(count as f64, family.unit));
                bytes(&mut metric, 3, &value);
            }
            Number::Gauge(gauge) => {
                double(&mut value, 1, scaled(gauge as f64, family.unit));
                bytes(&mut metric, 2, &value);
            }
            Number::Histogram(values) => bytes(&mut metric, 7, &histogram(values, family.unit)),
        }
        bytes(&mut out, 4, &metric);
    }
    if let Some(unit) = unit(family) {
        bytes(&mut out, 5, unit.as_bytes());
    }
    out
}

fn scaled(value: f64, unit: Unit) -> f64 {
    if unit == Unit::Seconds { value / 1e9 } else { value }
}

fn histogram(values: &Distribution, unit: Unit) -> Vec<u8> {
    let mut out = Vec::new();
    number(&mut out, 1, values.count());
    double(&mut out, 2, scaled(values.sum(), unit));
    // The bucket without an end is implied by the count.
    for (edge, count) in classic(values) {
        let mut bucket = Vec::new();
        number(&mut bucket, 1, count);
        double(&mut bucket, 2, scaled(edge as f64, unit));
        bytes(&mut out, 3, &bucket);
    }
    let native = Native::of(values, unit);
    number(&mut out, 5, zigzag(i64::from(native.schema)));
    double(&mut out, 6, if unit == Unit::Seconds { ZERO_THRESHOLD_SECONDS } else { ZERO_THRESHOLD });
    number(&mut out, 7, native.zeros);
    let (mut next, mut before) = (None, 0);
    let mut spans: Vec<(i64, u64)> = Vec::new();
    let mut deltas = Vec::new();
    for &(index, count) in &native.buckets {
        match spans.last_mut() {
            Some((_, length)) if next == Some(index) => *length += 1,
            // The first span is placed from zero, every other from the end of the one before.
            _ => spans.push((i64::from(index) - i64::from(next.unwrap_or(0)), 1)),
        }
        next = Some(index + 1);
        varint(&mut deltas, zigzag(count.wrapping_sub(before).cast_signed()));
        before = count;
    }
    for (offset, length) in spans {
        let mut span = Vec::new();
        number(&mut span, 1, zigzag(offset));
        number(&mut span, 2, length);
        bytes(&mut out, 12, &span);
    }
    bytes(&mut out, 13, &deltas);
    out
}

/// A distribution in the exponential buckets of a native histogram: bucket `i` holds what is above `b^(i-1)` and not
/// above `b^i`, where `b` is `2^(2^-schema)`.
#[derive(Debug)]
pub(super) struct Native {
    pub(super) schema: i32,
    pub(super) zeros: u64,
    /// Ascending, without empty ones.
    pub(super) buckets: Vec<(i32, u64)>,
}

impl Native {
    /// The schema follows the precision of the file: 32 buckets a power of two (2.2 % wide) for [`Shape::FINE`], 8
    /// (9.1 %) for [`Shape::COARSE`]. A bucket of the file goes where its upper end lies, so a value is at most one
    /// bucket of the file too high: in all an error below 3.0 % and 12.6 %.
    ///
    /// [`Shape::FINE`]: ringway_runtime::histogram::Shape::FINE
    /// [`Shape::COARSE`]: ringway_runtime::histogram::Shape::COARSE
    pub(super) fn of(values: &Distribution, unit: Unit) -> Native {
        let schema = i32::from(values.shape().precision()).saturating_sub(2).clamp(0, 5);
        let per_power = f64::from(1 << schema);
        let mut native = Native { schema, zeros: 0, buckets: Vec::new() };
        for (_, high, count) in values.buckets() {
            if high == 0 {
                native.zeros = native.zeros.saturating_add(count);
                continue;
            }
            let index = (scaled(high as f64, unit).log2() * per_power).ceil() as i32;
            match native.buckets.last_mut() {
                Some((last, sum)) if *last == index => *sum = sum.saturating_add(count),
                _ => native.buckets.push((index, count)),
            }
        }
        native
    }
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

fn number(out: &mut Vec<u8>, field: u32, value: u64) {
    varint(out, u64::from(field << 3));
    varint(out, value);
}

fn double(out: &mut Vec<u8>, field: u32, value: f64) {
    varint(out, u64::from(field << 3 | 1));
    out.extend_from_slice(&value.to_le_bytes());
}

fn bytes(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    varint(out, u64::from(field << 3 | 2));
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}
