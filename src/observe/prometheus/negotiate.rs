//! Which format a reader asks for (RFC 9110 section 12.5.1).

use super::Format;

/// The format of the range with the most weight; among equals the first. Text when no range names one.
pub(super) fn negotiate(accept: &str) -> Format {
    let mut best = (Format::Text, 0);
    for range in accept.split(',') {
        if let Some((format, weight)) = read(range)
            && weight > best.1
        {
            best = (format, weight);
        }
    }
    best.0
}

/// The format a media range asks for and its weight in thousandths; nothing where the range is of something else.
fn read(range: &str) -> Option<(Format, u32)> {
    let mut parts = range.split(';').map(str::trim);
    let media = parts.next()?.to_ascii_lowercase();
    let (mut weight, mut version, mut proto, mut encoding) = (1_000, None, None, None);
    for parameter in parts {
        let Some((name, value)) = parameter.split_once('=') else { continue };
        let value = value.trim().trim_matches('"');
        match name.trim().to_ascii_lowercase().as_str() {
            "q" => weight = (value.parse::<f64>().ok()?.clamp(0.0, 1.0) * 1_000.0).round() as u32,
            "version" => version = Some(value),
            "proto" => proto = Some(value),
            "encoding" => encoding = Some(value),
            _ => {}
        }
    }
    let format = match media.as_str() {
        "application/vnd.google.protobuf"
            if proto == Some("io.prometheus.client.MetricFamily") && encoding == Some("delimited") =>
        {
            Format::Protobuf
        }
        "application/openmetrics-text" if version.is_none_or(|version| matches!(version, "1.0.0" | "0.0.1")) => {
            Format::OpenMetrics
        }
        "text/plain" if version.is_none_or(|version| version == "0.0.4") => Format::Text,
        "text/*" | "*/*" => Format::Text,
        _ => return None,
    };
    Some((format, weight))
}
