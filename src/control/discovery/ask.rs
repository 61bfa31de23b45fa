//! What discovery can be asked to do, and what it tells of its sources.

use std::sync::Arc;
use std::time::Duration;

use ringway_runtime::clock::Instant;
use ringway_runtime::net::Address;

use super::{Discovery, Entry, state};
use crate::control::command::Answer;
use crate::control::log::Log;
use crate::plan::{DiscoverIn, Endpoint};

/// What discovery can be asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Tell how the sources are.
    Sources,
    /// Ask a source now, or all of them.
    LookAgain(Option<String>),
    /// Take the newest set of an upstream, however much it lacks.
    Accept(String),
    /// Take an endpoint for a time, or for more time.
    Register {
        /// The upstream's name.
        upstream: String,
        /// The endpoint.
        endpoint: Endpoint,
    },
    /// Let an endpoint go.
    Deregister {
        /// The upstream's name.
        upstream: String,
        /// The endpoint's address.
        address: Address,
    },
}

/// How the source of one upstream is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceSight {
    /// The upstream.
    pub upstream: Arc<str>,
    /// Its type, as the config has it.
    pub kind: &'static str,
    /// What is asked for.
    pub place: String,
    /// Endpoints in use,
    pub endpoints: usize,
    /// and how many of them only a set of before has.
    pub kept: usize,
    /// Sets that it said.
    pub sets: u64,
    /// Looks that failed.
    pub failures: u64,
    /// Sets that had lost too many.
    pub shrunk: u64,
    /// When it said something last: nanoseconds since the Unix epoch, and how long ago.
    pub good_at: Option<(u64, Duration)>,
    /// Why it does not know now, and for how long that has been so.
    pub failure: Option<(String, Duration)>,
    /// When it is asked again by itself.
    pub again_in: Option<Duration>,
}

impl Discovery {
    /// Does what is asked, as far as that goes at once; what changes comes with the next turn.
    pub(in crate::control) fn ask(&mut self, ask: Ask, log: &mut Log<'_>) -> Answer {
        let now = Instant::now();
        match ask {
            Ask::Sources => {
                Answer::Sources(self.entries.iter().map(|(upstream, entry)| sight(upstream, entry, now)).collect())
            }
            Ask::LookAgain(None) => {
                self.entries.keys().for_each(|upstream| self.look_again(upstream));
                Answer::Done
            }
            Ask::LookAgain(Some(upstream)) => match self.entries.get_key_value(&*upstream) {
                Some((upstream, _)) => {
                    self.look_again(upstream);
                    Answer::Done
                }
                None => self.unknown(&upstream),
            },
            Ask::Accept(upstream) => {
                let Some(entry) = self.entries.get_mut(&*upstream) else { return self.unknown(&upstream) };
                match entry.known.accept() {
                    0 => Answer::refused(format!("upstream \"{upstream}\" keeps nothing that its source lacks")),
                    gone => {
                        entry.is_news = true;
                        log.info(format_args!("upstream {upstream}: the newest set was accepted; {gone} go with it"));
                        Answer::Done
                    }
                }
            }
            Ask::Register { upstream, endpoint } => {
                let Some(entry) = self.entries.get_mut(&*upstream) else { return self.unknown(&upstream) };
                let DiscoverIn::Registration(registration) = &entry.rule.place else {
                    return no_registration(&upstream);
                };
                match entry.registered.register(endpoint, registration, entry.rule.max_endpoints, now) {
                    Ok(is_another) => {
                        entry.is_stale |= is_another;
                        Answer::Registered { ttl: registration.ttl }
                    }
                    Err(why) => Answer::refused(why),
                }
            }
            Ask::Deregister { upstream, address } => {
                let Some(entry) = self.entries.get_mut(&*upstream) else { return self.unknown(&upstream) };
                if !matches!(entry.rule.place, DiscoverIn::Registration(_)) {
                    return no_registration(&upstream);
                }
                if !entry.registered.deregister(&address) {
                    return Answer::Unknown(format!("upstream \"{upstream}\" has no registered endpoint {address}"));
                }
                entry.known.forget(&address);
                entry.is_stale = true;
                Answer::Done
            }
        }
    }

    fn look_again(&self, upstream: &Arc<str>) {
        if let Some(looker) = &self.looker {
            looker.look_again(upstream);
        }
    }

    fn unknown(&self, upstream: &str) -> Answer {
        let known: Vec<&str> = self.entries.keys().map(|name| &**name).collect();
        let known = if known.is_empty() { "none has".to_owned() } else { format!("{} have", known.join(", ")) };
        Answer::Unknown(format!("the plan has no upstream \"{upstream}\" with `discover`; {known}"))
    }
}

fn no_registration(upstream: &str) -> Answer {
    Answer::refused(format!("the endpoints of upstream \"{upstream}\" do not register themselves"))
}

fn sight(upstream: &Arc<str>, entry: &Entry, now: Instant) -> SourceSight {
    let failing_for = entry.failing_since.map(|since| now.since(since)).unwrap_or_default();
    SourceSight {
        upstream: upstream.clone(),
        kind: entry.rule.place.name(),
        place: state::place(&entry.rule.place),
        endpoints: entry.known.in_use().len(),
        kept: entry.known.kept(),
        sets: entry.sets,
        failures: entry.failures,
        shrunk: entry.shrunk,
        good_at: entry.good_at.map(|(at, unix_ns)| (unix_ns, now.since(at))),
        failure: entry.failure.clone().map(|why| (why, failing_for)),
        again_in: entry.again.map(|again| again.since(now)),
    }
}
