//! The JSON of `ringway hdr`, in base units.

use ringway_runtime::histogram::{Metric, Snapshot, Unit, Value};
use serde_json::{Map, Value as Json, json};

use super::{QUANTILES, state_name};

pub(super) fn to_json(found: &Snapshot) -> Json {
    let cores: Vec<Json> = (found.cores.iter())
        .map(|process| {
            json!({
                "core": process.core,
                "pid": process.pid,
                "state": state_name(process.state),
                "start_unix_ns": process.wall_ns,
                "epoch": process.epoch,
            })
        })
        .collect();
    let of_kind = |wanted: fn(&Value) -> bool| -> Vec<Json> {
        found.metrics.iter().filter(|metric| wanted(&metric.value)).map(metric_json).collect()
    };
    json!({
        "cores": cores,
        "histograms": of_kind(|value| matches!(value, Value::Histogram(_))),
        "counters": of_kind(|value| matches!(value, Value::Counter(_))),
        "gauges": of_kind(|value| matches!(value, Value::Gauge(_))),
    })
}

/// In base units, as the metric's name promises.
fn metric_json(metric: &Metric) -> Json {
    let labels: Map<String, Json> =
        metric.labels.iter().map(|(label, value)| (label.clone(), Json::from(value.as_str()))).collect();
    let mut json = Map::new();
    json.insert("name".to_owned(), Json::from(metric.name.as_str()));
    json.insert("labels".to_owned(), Json::Object(labels));
    let base = |value: f64| if metric.unit == Unit::Seconds { value / 1e9 } else { value };
    match &metric.value {
        Value::Counter(value) if metric.unit == Unit::Seconds => {
            json.insert("value".to_owned(), Json::from(base(*value as f64)));
        }
        Value::Counter(value) => drop(json.insert("value".to_owned(), Json::from(*value))),
        Value::Gauge(value) => drop(json.insert("value".to_owned(), Json::from(*value))),
        Value::Histogram(values) => {
            json.insert("count".to_owned(), Json::from(values.count()));
            json.insert("mean".to_owned(), Json::from(base(values.mean())));
            for (name, quantile) in QUANTILES {
                json.insert(name.to_owned(), Json::from(base(values.quantile(quantile) as f64)));
            }
            json.insert("max".to_owned(), Json::from(base(values.max() as f64)));
        }
    }
    Json::Object(json)
}
