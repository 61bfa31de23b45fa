//! Says it when a certificate is about to expire, and when it has.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ringway_runtime::clock::Instant;

use super::Set;
use crate::control::log::Log;
use crate::plan::Plan;
use crate::tls::{Certificate, now};

/// Between two looks.
const LOOK: Duration = Duration::from_mins(1);
/// Nothing is said before the last quarter of its life.
const SHORT: i64 = 4;
/// As long as it is so, it is said again after this.
const AGAIN: i64 = 24 * 3600;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Good,
    Soon,
    Expired,
}

/// What was said of each, by its fingerprint, and when.
#[derive(Debug, Default)]
pub(super) struct Expiry {
    said: HashMap<String, (State, i64)>,
    /// What was looked at, and when.
    looked: Option<(Instant, Arc<Plan>, Arc<Set>)>,
}

impl Expiry {
    /// Looks at all certificates of the plan and of the store, where that is due or there are others.
    pub(super) fn turn(&mut self, plan: &Arc<Plan>, set: &Arc<Set>, log: &mut Log<'_>) {
        let at = Instant::now();
        let is_known = self.looked.as_ref().is_some_and(|(looked, known, known_set)| {
            Arc::ptr_eq(known, plan) && Arc::ptr_eq(known_set, set) && at.since(*looked) < LOOK
        });
        if is_known {
            return;
        }
        self.looked = Some((at, plan.clone(), set.clone()));
        let warn = i64::try_from(plan.certificates.warn.as_secs()).unwrap_or(i64::MAX);
        for warning in self.look(now(), warn, all(plan, set)) {
            log.warn(format_args!("{warning}"));
        }
    }

    /// When to look again.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.looked.as_ref().filter(|_| !self.said.is_empty()).map(|(looked, ..)| *looked + LOOK)
    }

    fn look<'c>(&mut self, now: i64, warn: i64, all: impl Iterator<Item = (String, &'c Certificate)>) -> Vec<String> {
        let mut said = HashMap::new();
        let mut warnings = Vec::new();
        for (name, certificate) in all {
            let left = certificate.expires - now;
            // One that lives shortly is renewed shortly before its end.
            let warn = warn.min((certificate.expires - certificate.begins) / SHORT);
            let state = match left {
                ..=0 => State::Expired,
                left if left < warn => State::Soon,
                _ => State::Good,
            };
            let fingerprint = &certificate.about.fingerprint;
            if said.contains_key(fingerprint) {
                continue;
            }
            let before = self.said.get(fingerprint).copied();
            let is_news = before.is_none_or(|(known, at)| known != state || now - at >= AGAIN);
            if is_news && state != State::Good {
                warnings.push(match state {
                    State::Expired => format!("certificate {name} has expired {} ago", words(-left)),
                    _ => format!("certificate {name} expires in {}", words(left)),
                });
            }
            let at = before.filter(|_| !is_news).map_or(now, |(_, at)| at);
            said.insert(fingerprint.clone(), (state, at));
        }
        self.said = said;
        warnings
    }
}

/// A time in words.
fn words(seconds: i64) -> String {
    match seconds {
        ..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// Each certificate that is shown to somebody or kept, with what it is called: its name in the store, else the first name
/// that it is good for, and whose it is.
pub(super) fn all<'c>(plan: &'c Plan, set: &'c Set) -> impl Iterator<Item = (String, &'c Certificate)> {
    let first = |certificate: &Certificate| {
        let about = &certificate.about;
        about.names.first().unwrap_or(&about.subject).clone()
    };
    let kept = set.iter().map(|(name, kept)| (name.to_string(), &kept.certificate));
    let of_listeners = plan.listeners.iter().flat_map(move |listener| {
        let own = listener.tls.iter().flat_map(|tls| tls.server.own_certificates());
        own.map(move |one| (format!("{} of listener {}", first(one), listener.name), one))
    });
    let of_upstreams = plan.upstreams.iter().flat_map(move |upstream| {
        let own = upstream.tls.iter().filter_map(|tls| tls.certificate());
        own.map(move |one| (format!("{} of upstream {}", first(one), upstream.name), one))
    });
    kept.chain(of_listeners).chain(of_upstreams)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_once_a_day_as_long_as_it_is_so_and_at_once_when_it_gets_worse() {
        const PEM: &[u8] = include_bytes!("../../../tests/tls/fixed/server.pem");
        const KEY: &[u8] = include_bytes!("../../../tests/tls/fixed/server.key");
        let certificate = Certificate::read(PEM, KEY, None).unwrap();
        let expires = certificate.expires;
        let mut expiry = Expiry::default();
        let mut at =
            |left: i64| expiry.look(expires - left, 14 * 86_400, [("site".to_owned(), &certificate)].into_iter());
        let (hour, day) = (3600, 86_400);
        assert_eq!(at(15 * day), Vec::<String>::new());
        assert_eq!(at(14 * day - 1), ["certificate site expires in 13 d"]);
        assert_eq!(at(14 * day - hour), Vec::<String>::new());
        assert_eq!(at(13 * day - 1), ["certificate site expires in 12 d"]);
        assert_eq!(at(hour), ["certificate site expires in 1 h"]);
        assert_eq!(at(0), ["certificate site has expired 0 h ago"]);
        assert_eq!(at(-hour), Vec::<String>::new());
        assert_eq!(at(-3 * day), ["certificate site has expired 3 d ago"]);
    }
}
