//! Events of the cores as lines of the log.

use super::{Field, Told};
use crate::observe::records::{Event, EventKind};
use crate::plan::Level;

/// What the log says of an event of this core.
pub(super) fn told(core: usize, event: &Event<'_>) -> Told {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let [route, upstream, endpoint, code] = [event.route, event.upstream, event.endpoint, event.code].map(text);
    let [old, new, listener, peer] = [event.old, event.new, event.listener, event.peer].map(text);
    let mut level = Level::Warn;
    let of = match (event.id, route.is_empty()) {
        (Some(id), false) => format!("request {id:016x} of route `{route}`"),
        (Some(id), true) => format!("request {id:016x}"),
        (None, _) => String::new(),
    };
    let mut fields = vec![("kind", Field::Text(event.kind.name().to_owned())), ("core", Field::Number(core as u64))];
    let message = match event.kind {
        EventKind::SlowRequest => {
            let millis = event.amount / 1_000_000;
            fields.push(("duration_ms", Field::Number(millis)));
            let by = if upstream.is_empty() {
                String::new()
            } else {
                format!("; it asked {endpoint} of upstream {upstream}")
            };
            format!("{of} took {millis} ms{by}")
        }
        EventKind::UpstreamFailed => format!("endpoint {endpoint} of upstream {upstream} failed: {code}; {of}"),
        EventKind::Shed => format!("requests are shed, there is too much of: {code}; {of}"),
        // These are so for all cores; the one that tells is the one that saw it.
        EventKind::EndpointChanged | EventKind::BreakerChanged => {
            if matches!(&*new, "healthy" | "used" | "closed" | "half-open") {
                level = Level::Info;
            }
            let breaker = if event.kind == EventKind::BreakerChanged { "breaker of " } else { "" };
            let of = if endpoint.is_empty() { String::new() } else { format!("endpoint {endpoint} of ") };
            format!("{breaker}{of}upstream {upstream}: {old} -> {new}: {code}")
        }
        EventKind::ProxyHeaderRefused => {
            format!("listener `{listener}` refuses a connection of {peer}: {code}")
        }
        EventKind::Untold => {
            fields.push(("count", Field::Number(event.amount)));
            format!("{} more events of kind {code} were not told", event.amount)
        }
    };
    if let Some(id) = event.id {
        fields.push(("id", Field::Text(format!("{id:016x}"))));
    }
    let texts = [listener, peer, route, upstream, endpoint, code, old, new];
    let names = ["listener", "peer", "route", "upstream", "endpoint", "code", "old", "new"];
    for (name, text) in names.into_iter().zip(texts) {
        if !text.is_empty() {
            fields.push((name, Field::Text(text)));
        }
    }
    let message = match event.kind {
        EventKind::EndpointChanged | EventKind::BreakerChanged => message,
        _ => format!("core {core}: {message}"),
    };
    Told { fields, ..Told::new(level, message) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_all_that_an_operator_looks_for() {
        let event = |kind| Event {
            id: Some(0xab),
            amount: 1_234_567_890,
            route: b"users",
            upstream: b"api",
            endpoint: b"10.0.0.1:9000",
            code: b"upstream_reset",
            ..Event::new(kind, 0)
        };
        let message = |event: &Event<'_>| told(3, event).message;
        assert_eq!(
            message(&event(EventKind::SlowRequest)),
            "core 3: request 00000000000000ab of route `users` took 1234 ms; it asked 10.0.0.1:9000 of upstream api"
        );
        assert_eq!(
            message(&event(EventKind::UpstreamFailed)),
            "core 3: endpoint 10.0.0.1:9000 of upstream api failed: upstream_reset; \
             request 00000000000000ab of route `users`"
        );
        let refused = Event {
            listener: b"web",
            peer: b"10.0.0.9:4000",
            code: b"proxy_untrusted",
            ..event(EventKind::ProxyHeaderRefused)
        };
        assert_eq!(message(&refused), "core 3: listener `web` refuses a connection of 10.0.0.9:4000: proxy_untrusted");
        let untold = Event { amount: 12, code: b"shed", ..Event::new(EventKind::Untold, 0) };
        assert_eq!(message(&untold), "core 3: 12 more events of kind shed were not told");
        let changed = |kind, endpoint, old, new, code| {
            let told = told(3, &Event { upstream: b"api", endpoint, old, new, code, ..Event::new(kind, 0) });
            (told.level, told.message)
        };
        let ill = changed(EventKind::EndpointChanged, b"10.0.0.1:9000", b"healthy", b"unhealthy", b"status");
        assert_eq!(
            ill,
            (Level::Warn, "endpoint 10.0.0.1:9000 of upstream api: healthy -> unhealthy: status".to_owned())
        );
        let tries = changed(EventKind::BreakerChanged, b"", b"open", b"half-open", b"open_for");
        assert_eq!(tries, (Level::Info, "breaker of upstream api: open -> half-open: open_for".to_owned()));
        let names: Vec<&str> = told(3, &event(EventKind::SlowRequest)).fields.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["kind", "core", "duration_ms", "id", "route", "upstream", "endpoint", "code"]);
    }
}
