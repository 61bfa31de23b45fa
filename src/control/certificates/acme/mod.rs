//! Certificates that authorities issue by ACME (RFC 8555): when each is asked for, and what came of it.

mod challenge;
mod client;
mod order;
mod renewal;
mod state;

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use super::store::{Kept, Set, Source, Store};
use super::worker::publish;
use super::{Challenges, Event, tell};
use crate::control::events::{self, Events};
use crate::plan::{self, Level};
use crate::tls::{Certificate, now};
use challenge::Asked;
use renewal::{Advice, Silence};
use state::State;

/// After an order of another gateway with the same directory is met.
const ELSEWHERE: i64 = 5;
/// The part of its lifetime after which a certificate is renewed, as 2 of 3,
const RENEW: (i64, i64) = (2, 3);
/// less up to so many hundredths of it, so that not all that began together come together.
const JITTER: u64 = 5;
/// Characters of what an authority says.
const SAID_MAX: usize = 500;

/// How it goes with a certificate that an authority issues.
#[derive(Clone, Debug, PartialEq)]
pub struct AcmeSight {
    /// Its name in the store.
    pub name: Arc<str>,
    /// The authority's directory.
    pub directory: Arc<str>,
    /// How the authority finds out whose the names are.
    pub challenge: &'static str,
    /// Whether an order is under way.
    pub is_under_way: bool,
    /// When it is asked for next, in seconds since 1970.
    pub next: i64,
    /// From when to when the authority wants it renewed, where it says so.
    pub window: Option<(i64, i64)>,
    /// Where the authority says why.
    pub explanation: Option<String>,
    /// Orders that were begun,
    pub orders: u64,
    /// and those that failed.
    pub failures: u64,
    /// Failures since the last that did not.
    pub failures_in_a_row: u32,
    /// Why the last one failed.
    pub error: Option<String>,
}

/// How an order ended.
pub(super) struct Ended {
    name: Arc<str>,
    what: What,
}

enum What {
    /// The certificate is in the store.
    Issued,
    /// Another gateway is at it.
    Elsewhere,
    Failed(Failed),
    /// The authority was asked when it wants this certificate renewed, which is named by its fingerprint.
    Asked(String, Result<Advice, Silence>),
}

/// Why there is no certificate.
#[derive(Debug)]
pub(super) struct Failed {
    why: String,
    /// The authority wants to be left alone for so long.
    retry_after: Option<Duration>,
}

impl Failed {
    fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), retry_after: None }
    }

    /// The same, about one of the names.
    fn about(mut self, name: &str) -> Self {
        self.why = format!("{name}: {}", self.why);
        self
    }
}

struct Entry {
    rule: Arc<plan::Acme>,
    sight: AcmeSight,
    /// The certificate whose renewal was scheduled, by its fingerprint.
    scheduled: Option<String>,
    /// Not before this, in seconds since 1970.
    earliest: i64,
    /// When the authority is asked when it wants that one renewed, in seconds since 1970, if it is.
    ask: Option<i64>,
    /// How often in a row it has not said.
    silences: u32,
}

/// What may be due; of what is due at once the first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Order,
    Question,
}

/// What is under way.
struct UnderWay {
    rule: Arc<plan::Acme>,
    /// An order, and not only a question.
    is_order: bool,
}

/// All certificates that the plan wants of authorities.
pub(super) struct Acme {
    store: Store,
    events: Events,
    entries: Vec<Entry>,
    under_way: Option<UnderWay>,
    /// What another gateway with the same directory is asked.
    of_others: Vec<Asked>,
}

impl Acme {
    pub(super) fn new(store: Store, events: Events) -> Self {
        Self { store, events, entries: Vec::new(), under_way: None, of_others: Vec::new() }
    }

    /// Takes up what the plan that runs wants.
    pub(super) fn take_up(&mut self, rules: &[Arc<plan::Acme>], set: &Set) {
        let is_known = self.entries.len() == rules.len()
            && self.entries.iter().zip(rules).all(|(entry, rule)| entry.rule == *rule);
        if is_known {
            return;
        }
        let mut before = std::mem::take(&mut self.entries);
        for rule in rules {
            let known = before.iter().position(|entry| entry.rule.name == rule.name).map(|at| before.swap_remove(at));
            let entry = match known {
                Some(entry) if entry.rule == *rule => entry,
                // Asked for in another way: what failed before says nothing.
                Some(entry) => {
                    let (orders, failures) = (entry.sight.orders, entry.sight.failures);
                    State::forget(&self.store, &rule.name);
                    let mut entry = Entry::new(rule, State::default());
                    (entry.sight.orders, entry.sight.failures) = (orders, failures);
                    entry
                }
                None => Entry::new(rule, State::read(&self.store, &rule.name)),
            };
            self.entries.push(entry);
        }
        self.look_at(set);
    }

    /// Schedules what the store has or has not.
    pub(super) fn look_at(&mut self, set: &Set) {
        let now = now();
        for entry in &mut self.entries {
            entry.schedule(set.get(&*entry.rule.name), now);
        }
        self.show();
    }

    /// How long until something is due.
    pub(super) fn rest(&self) -> Duration {
        if self.under_way.is_some() {
            return Duration::MAX;
        }
        let next = self.entries.iter().map(|entry| entry.due().0).min();
        next.map_or(Duration::MAX, |next| Duration::from_secs((next - now()).max(0).unsigned_abs()))
    }

    /// Begins the order or the question that is most due, where one is.
    pub(super) fn begin(&mut self, set: &Set) -> Option<impl Future<Output = Ended> + use<>> {
        let now = now();
        let due = self.entries.iter_mut().filter(|entry| entry.due().0 <= now);
        let entry = due.min_by_key(|entry| entry.due())?;
        let rule = entry.rule.clone();
        let is_order = entry.due().1 == Due::Order;
        let kept = set.get(&*rule.name);
        let seen = kept.map(|kept| kept.certificate.about.fingerprint.clone());
        let known = kept.filter(|kept| is_good(&rule, kept)).and_then(|kept| renewal::identifier(&kept.certificate));
        // What failed may have failed for that.
        let replaces = known.clone().filter(|_| entry.sight.failures_in_a_row == 0);
        entry.sight.is_under_way = is_order;
        self.under_way = Some(UnderWay { rule: rule.clone(), is_order });
        if is_order {
            self.of_others.clear();
        }
        let (store, events) = (self.store.clone(), self.events.clone());
        self.show();
        Some(async move {
            let name = rule.name.clone();
            if !is_order {
                let asked = tokio::time::timeout(rule.timeout, renewal::ask(&rule, &store, known)).await;
                let late = |_| Err(Silence::Now(Failed::new(format!("no answer within {:?}", rule.timeout))));
                return Ended { name, what: What::Asked(seen.unwrap_or_default(), asked.unwrap_or_else(late)) };
            }
            let lock = match lock(&store) {
                Ok(Some(lock)) => lock,
                Ok(None) => return Ended { name, what: What::Elsewhere },
                Err(error) => {
                    let why = format!("the directory cannot be locked: {error}");
                    return Ended { name, what: What::Failed(Failed::new(why)) };
                }
            };
            // Another gateway may have been quicker.
            let has_other = store.read().ok().and_then(|found| found.set.get(&*name).cloned()).is_some_and(|kept| {
                seen.as_ref() != Some(&kept.certificate.about.fingerprint) && is_good(&rule, &kept)
            });
            if has_other {
                return Ended { name, what: What::Elsewhere };
            }
            let ordered = tokio::time::timeout(rule.timeout, order::order(&rule, &store, &events, replaces)).await;
            challenge::forget(&store);
            drop(publish(&events, Challenges::default()));
            drop(lock);
            let ordered =
                ordered.unwrap_or_else(|_| Err(Failed::new(format!("the order took longer than {:?}", rule.timeout))));
            Ended { name, what: ordered.map_or_else(What::Failed, |()| What::Issued) }
        })
    }

    /// Whether the plan still wants what is under way.
    pub(super) fn is_wanted(&self) -> bool {
        self.under_way.as_ref().is_none_or(|under| self.entries.iter().any(|entry| entry.rule == under.rule))
    }

    /// What was under way is not any more.
    pub(super) fn given_up(&mut self) {
        if self.under_way.take().is_some_and(|under| under.is_order) {
            challenge::forget(&self.store);
            drop(publish(&self.events, Challenges::default()));
        }
        self.show();
    }

    /// An order has ended; this is what the store had before. What is to be told once it is shown.
    pub(super) fn ended(&mut self, ended: Ended, set: &Set) -> String {
        self.under_way = None;
        let now = now();
        let mut change = String::new();
        let mut told = None;
        let Some(entry) = self.entries.iter_mut().find(|entry| entry.rule.name == ended.name) else { return change };
        let name = entry.rule.name.clone();
        let sight = &mut entry.sight;
        sight.is_under_way = false;
        match ended.what {
            What::Issued => {
                sight.orders += 1;
                (sight.failures_in_a_row, sight.error) = (0, None);
                // Whatever the authority says of its time, and even where it is gone again, it is not asked all the time.
                entry.earliest = now + entry.rule.retry.as_secs().max(1) as i64;
                sight.next = entry.earliest;
                entry.scheduled = None;
                State::forget(&self.store, &name);
                change = format!("certificate {name} was issued");
            }
            What::Elsewhere => {
                // Where it is there already, looking at the store says when the next one is due.
                sight.next = now + ELSEWHERE;
            }
            What::Failed(failed) => {
                sight.orders += 1;
                sight.failures += 1;
                sight.failures_in_a_row = sight.failures_in_a_row.saturating_add(1);
                let wait =
                    backoff(&entry.rule, sight.failures_in_a_row, random()).max(failed.retry_after.unwrap_or_default());
                sight.next = now + wait.as_secs().max(1) as i64;
                let why: String = failed.why.chars().take(SAID_MAX).collect();
                let has_one = if set.contains_key(&name) { "the one that is there stays" } else { "there is none" };
                let in_a_row = sight.failures_in_a_row;
                let message = format!(
                    "certificate {name} was not issued ({in_a_row} in a row, {has_one}, again in {} s): {why}",
                    wait.as_secs()
                );
                sight.error = Some(why);
                State::of(sight).write(&self.store, &name, &self.events);
                told = Some((Level::Warn, message));
            }
            What::Asked(fingerprint, said) => {
                let certificate = set.get(&name).map(|kept| &kept.certificate);
                // Of one that is not there any more nothing follows.
                if let Some(certificate) = certificate.filter(|known| known.about.fingerprint == fingerprint) {
                    told = entry.is_told(said, certificate, now).map(|message| (Level::Info, message));
                }
            }
        }
        // Whoever reads of it finds it in the list.
        self.show();
        if let Some((level, message)) = told {
            tell(&self.events, level, message);
        }
        change
    }

    /// Makes one due now.
    pub(super) fn renew(&mut self, name: &str) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| *entry.rule.name == *name) {
            entry.sight.next = now();
        }
        self.show();
    }

    /// Answers what authorities ask another gateway with the same directory.
    pub(super) fn look_at_challenges(&mut self) {
        if self.under_way.as_ref().is_some_and(|under| under.is_order) {
            return;
        }
        let asked = challenge::read(&self.store);
        if asked == self.of_others {
            return;
        }
        match Asked::all(&asked) {
            // Nobody waits for it.
            Ok(challenges) => drop(publish(&self.events, challenges)),
            Err(why) => tell(&self.events, Level::Warn, format!("a challenge cannot be answered: {why}")),
        }
        self.of_others = asked;
    }

    fn show(&self) {
        let sights = self.entries.iter().map(|entry| entry.sight.clone()).collect();
        let _ = self.events.send(events::Event::Certificates(Event::Acme(sights)));
    }
}

impl Entry {
    fn new(rule: &Arc<plan::Acme>, state: State) -> Self {
        let sight = AcmeSight {
            name: rule.name.clone(),
            directory: rule.directory.clone(),
            challenge: rule.challenge.name(),
            is_under_way: false,
            next: state.next,
            window: None,
            explanation: None,
            orders: 0,
            failures: 0,
            failures_in_a_row: state.failures_in_a_row,
            error: state.error,
        };
        Self { rule: rule.clone(), sight, scheduled: None, earliest: 0, ask: None, silences: 0 }
    }

    /// When something is due, and what.
    fn due(&self) -> (i64, Due) {
        let order = (self.sight.next, Due::Order);
        self.ask.map_or(order, |ask| order.min((ask, Due::Question)))
    }

    /// The authority has said when it wants the certificate renewed, or has not. What is to be told of it.
    fn is_told(&mut self, said: Result<Advice, Silence>, certificate: &Certificate, now: i64) -> Option<String> {
        let name = &self.rule.name;
        let advice = match said {
            Ok(advice) => advice,
            Err(Silence::Always) => {
                self.ask = None;
                return None;
            }
            Err(Silence::Now(failed)) => {
                self.silences = self.silences.saturating_add(1);
                let wait = renewal::after(&failed, backoff(&self.rule, self.silences, random()));
                self.ask = Some(now + wait.as_secs().max(1) as i64);
                let why: String = failed.why.chars().take(SAID_MAX).collect();
                let is_first = self.silences == 1;
                return is_first
                    .then(|| format!("certificate {name}: its authority does not say when to renew it: {why}"));
            }
        };
        self.silences = 0;
        self.ask = Some(now + advice.again.as_secs() as i64);
        let sight = &mut self.sight;
        sight.explanation.clone_from(&advice.explanation);
        if sight.window.replace(advice.window) == Some(advice.window) {
            return None;
        }
        let due = advice.picks(certificate.begins, certificate.expires, random()).max(self.earliest);
        let is_failing = sight.failures_in_a_row > 0;
        sight.next = if is_failing { due.max(sight.next) } else { due };
        let wait = (sight.next - now).max(0);
        let why = advice.explanation.map_or_else(String::new, |url| format!(" ({url})"));
        Some(format!("certificate {name} is renewed in {wait} s, as its authority wants{why}"))
    }

    /// Says when it is asked for next, where what is there is another than before.
    fn schedule(&mut self, kept: Option<&Kept>, now: i64) {
        let Some(kept) = kept.filter(|kept| is_good(&self.rule, kept)) else {
            if self.scheduled.take().is_some() {
                self.sight.next = now.max(self.earliest);
            }
            (self.ask, self.sight.window, self.sight.explanation) = (None, None, None);
            return;
        };
        let certificate = &kept.certificate;
        if self.scheduled.as_ref() == Some(&certificate.about.fingerprint) {
            return;
        }
        self.scheduled = Some(certificate.about.fingerprint.clone());
        (self.ask, self.silences, self.sight.window, self.sight.explanation) = (Some(now), 0, None, None);
        let due = renewal(certificate.begins, certificate.expires, random()).max(self.earliest);
        // What failed lately is not tried again before its time.
        let is_failing = self.sight.failures_in_a_row > 0;
        self.sight.next = if is_failing { due.max(self.sight.next) } else { due };
        if due > now {
            (self.sight.failures_in_a_row, self.sight.error) = (0, None);
        }
    }
}

/// Whether a certificate is one that this rule asks for.
fn is_good(rule: &plan::Acme, kept: &Kept) -> bool {
    let names = &kept.certificate.about.names;
    kept.source == Source::Acme
        && names.len() == rule.names.len()
        && rule.names.iter().all(|name| names.iter().any(|known| **known == **name))
}

/// When a certificate is renewed; `random` is up to `u32::MAX`.
fn renewal(begins: i64, expires: i64, random: u32) -> i64 {
    let lifetime = (expires - begins).max(0);
    let jitter = lifetime.unsigned_abs() * JITTER / 100 * u64::from(random) / u64::from(u32::MAX);
    begins + lifetime / RENEW.1 * RENEW.0 - jitter as i64
}

/// How long is waited after so many failures in a row: from half of it to all of it.
fn backoff(rule: &plan::Acme, failures: u32, random: u32) -> Duration {
    let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    let whole = rule.retry.saturating_mul(doubled).min(rule.retry_max);
    whole / 2 + (whole / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))
}

fn random() -> u32 {
    let mut bytes = [0; 4];
    // Without randomness there is no jitter.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    u32::from_ne_bytes(bytes)
}

/// The right to order, among all gateways with this directory; nothing where another one has it. It goes with the file, and
/// so with the process.
fn lock(store: &Store) -> std::io::Result<Option<File>> {
    let path = store.acme().join("lock");
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::compile;

    fn rule() -> Arc<plan::Acme> {
        let text = "[listener.web]\naddress = \"127.0.0.1:0\"\n[service.s]\ntype = \"respond\"\n\
                    [certificates]\ndirectory = \"/nowhere\"\n[acme.site]\nnames = \"a.example\"\nterms_agreed = true\n\
                    ca = \"tests/tls/fixed/other.pem\"\n\
                    [[route]]\nname = \"s\"\npath = \"/\"\nservice = \"s\"\n";
        let (plan, _) = compile("t.toml", text, 1, &mut |_, _| Ok(Vec::new())).expect("a plan");
        plan.acme[0].clone()
    }

    #[test]
    fn a_certificate_is_renewed_after_two_thirds_of_its_life_and_never_after_its_end() {
        let (begins, expires) = (1_000_000, 1_000_000 + 90 * 86_400);
        assert_eq!(renewal(begins, expires, 0), begins + 60 * 86_400);
        assert_eq!(renewal(begins, expires, u32::MAX), begins + 60 * 86_400 - 90 * 864 * 5);
        assert_eq!(renewal(5, 5, 7), 5);
        assert_eq!(renewal(9, 5, 7), 9);
    }

    #[test]
    fn failures_are_waited_for_longer_each_time_and_not_for_ever() {
        let rule = rule();
        let most = |failures| backoff(&rule, failures, u32::MAX).as_secs();
        assert_eq!([most(1), most(2), most(5), most(40), most(u32::MAX)], [60, 120, 960, 43_200, 43_200]);
        assert_eq!(backoff(&rule, 1, 0).as_secs(), 30);
    }

    #[test]
    fn one_gateway_at_a_time_may_order() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 1).unwrap();
        let first = lock(&store).unwrap();
        assert!(first.is_some() && lock(&store).unwrap().is_none());
        drop(first);
        assert!(lock(&store).unwrap().is_some());
    }
}
