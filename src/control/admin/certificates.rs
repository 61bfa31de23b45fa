//! Certificates, for who looks at the gateway: as JSON and as metrics. No key is in either.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::control::certificates::AcmeSight;
use crate::control::sights::Status;
use crate::observe::prometheus::{Beside, Labels};
use crate::tls::{self, Certificate};

/// Certificates that have metrics of their own: those that expire first.
const MAX: usize = 1024;
/// Characters of a label at most.
const LABEL_MAX: usize = 128;

/// A certificate, and whose it is.
struct Found<'s> {
    /// In the store.
    name: Option<&'s str>,
    source: &'static str,
    listeners: Vec<&'s str>,
    upstreams: Vec<&'s str>,
    certificate: &'s Certificate,
}

/// Every certificate that is kept or shown to somebody, each once.
fn all(status: &Status) -> Vec<Found<'_>> {
    let mut all: Vec<Found<'_>> = Vec::new();
    for (name, kept) in &*status.certificates {
        let certificate = &kept.certificate;
        let shows = |listener: &&crate::plan::Listener| {
            listener.tls.as_ref().is_some_and(|tls| {
                tls.stored.has(name) && tls.server.certificates().iter().any(|shown| shown.is_same(certificate))
            })
        };
        let listeners = status.plan.listeners.iter().filter(shows).map(|listener| &*listener.name).collect();
        let source = kept.source.name();
        all.push(Found { name: Some(name), source, listeners, upstreams: Vec::new(), certificate });
    }
    // Those of files, whoever shows them.
    let of_listeners = status.plan.listeners.iter().flat_map(|listener| {
        let own = listener.tls.iter().flat_map(|tls| tls.server.own_certificates());
        own.map(|one| (one, Some(&*listener.name), None))
    });
    let of_upstreams = status.plan.upstreams.iter().filter_map(|upstream| {
        let own = upstream.tls.as_ref()?.certificate()?;
        Some((own, None, Some(&*upstream.name)))
    });
    for (certificate, listener, upstream) in of_listeners.chain(of_upstreams) {
        let known = all.iter_mut().find(|known| known.name.is_none() && known.certificate.is_same(certificate));
        if let Some(known) = known {
            known.listeners.extend(listener);
            known.upstreams.extend(upstream);
            known.listeners.dedup();
        } else {
            let (listeners, upstreams) = (listener.into_iter().collect(), upstream.into_iter().collect());
            all.push(Found { name: None, source: "file", listeners, upstreams, certificate });
        }
    }
    all
}

/// As JSON.
pub(super) fn view(status: &Status) -> Value {
    let now = tls::now();
    let one = |found: &Found<'_>| {
        let Found { name, source, listeners, upstreams, certificate } = found;
        let about = &certificate.about;
        json!({
            "name": name,
            "source": source,
            "listeners": listeners,
            "upstreams": upstreams,
            "subject": about.subject,
            "names": about.names,
            "issuer": about.issuer,
            "serial": about.serial,
            "fingerprint": about.fingerprint,
            "key": certificate.kind(),
            "not_before": certificate.begins,
            "not_after": certificate.expires,
            "expires_in": certificate.expires - now,
        })
    };
    let certificates: Vec<Value> = all(status).iter().map(one).collect();
    json!({ "certificates": certificates, "acme": status.acme.iter().map(acme).collect::<Vec<_>>() })
}

/// How it goes with a certificate that an authority issues.
fn acme(sight: &AcmeSight) -> Value {
    let state = match (sight.is_under_way, sight.failures_in_a_row) {
        (true, _) => "ordering",
        (false, 0) => "good",
        _ => "failing",
    };
    json!({
        "name": &*sight.name,
        "directory": &*sight.directory,
        "challenge": sight.challenge,
        "state": state,
        "next": sight.next,
        "window": sight.window.map(|(start, end)| json!({ "start": start, "end": end })),
        "explanation": sight.explanation,
        "orders": sight.orders,
        "failures": sight.failures,
        "failures_in_a_row": sight.failures_in_a_row,
        "error": sight.error,
    })
}

/// As metrics.
pub(super) fn of(status: &Status) -> Vec<Beside> {
    let mut expiry: BTreeMap<Labels, u64> = BTreeMap::new();
    for found in all(status) {
        let about = &found.certificate.about;
        let name = found.name.unwrap_or_else(|| about.names.first().map_or(&about.subject, |name| name));
        let name: String = name.chars().take(LABEL_MAX).collect();
        let labels = vec![
            ("certificate", name.into()),
            ("source", found.source.into()),
            ("key", found.certificate.kind().into()),
        ];
        let at = found.certificate.expires.max(0).unsigned_abs().saturating_mul(1_000_000_000);
        // Of several that look alike the one that expires first.
        expiry.entry(labels).and_modify(|known| *known = at.min(*known)).or_insert(at);
    }
    let mut expiry: Vec<(Labels, u64)> = expiry.into_iter().collect();
    expiry.sort_by_key(|(_, at)| *at);
    expiry.truncate(MAX);
    let of_acme = |name, number: fn(&AcmeSight) -> u64| {
        let label = |sight: &AcmeSight| vec![("certificate", Arc::clone(&sight.name))];
        Beside { name, samples: status.acme.iter().map(|sight| (label(sight), number(sight))).collect() }
    };
    let next = |sight: &AcmeSight| sight.next.max(0).unsigned_abs().saturating_mul(1_000_000_000);
    vec![
        Beside { name: "ringway_certificate_not_after_timestamp_seconds", samples: expiry },
        of_acme("ringway_acme_orders_total", |sight| sight.orders),
        of_acme("ringway_acme_failures_total", |sight| sight.failures),
        of_acme("ringway_acme_failures_in_a_row", |sight| sight.failures_in_a_row.into()),
        of_acme("ringway_acme_next_timestamp_seconds", next),
    ]
}
