//! Discovery: the endpoints of upstreams as others tell them while the gateway runs.
//!
//! A source (a file, the DNS, endpoints that register themselves) yields sets. Each upstream has one set in use; when
//! that becomes another, control makes a plan that differs from the running one in the endpoints alone, and runs it as
//! it runs any other. Cores know nothing of all this.

mod ask;
mod dns;
mod file;
mod registered;
mod set;
mod source;
mod state;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ringway_runtime::clock::{Instant, Wall};

use super::events::{self, Events, Queue};
use super::log::Log;
use super::plans::Plans;
use super::watch::Watcher;
use crate::plan::{Discover, DiscoverIn, Endpoint, Level, Plan, Upstream};
pub use ask::{Ask, SourceSight};
use registered::Registered;
pub use set::Known;
use set::difference;
use source::{Looker, Report};
pub(super) use state::{Sets, from_json, to_json};

/// After a change others are waited for so long: they often come together.
const QUIET: Duration = Duration::from_millis(10);
/// The least time between two files that keep what was found.
const CACHE_REST: Duration = Duration::from_secs(1);
/// Bytes of what is handed to a process that takes over.
const HANDED_MAX: usize = 8 << 20;
/// The least time between two looks at files that change.
const FILES_REST: Duration = Duration::from_millis(200);

/// What happens.
#[derive(Debug)]
pub(super) enum Event {
    /// A source was asked.
    Looked(Report),
    /// A file of endpoints may have changed.
    FilesChanged,
    /// What was found could not be kept in its file.
    NotKept(String),
}

/// The endpoints in use of every upstream that has a source.
#[derive(Clone, Debug, Default)]
pub struct InUse(HashMap<Arc<str>, Arc<[Endpoint]>>);

impl FromIterator<(Arc<str>, Arc<[Endpoint]>)> for InUse {
    /// Of upstreams by their names.
    fn from_iter<T: IntoIterator<Item = (Arc<str>, Arc<[Endpoint]>)>>(all: T) -> Self {
        Self(all.into_iter().collect())
    }
}

impl InUse {
    /// `plan` with the endpoints in use, where they differ from those it has. An upstream that is new to discovery goes
    /// on with the endpoints that `runs` has of it.
    pub fn put_into(&self, plan: &Arc<Plan>, runs: &Plan) -> Arc<Plan> {
        let mut changed: Option<Plan> = None;
        for (at, upstream) in plan.upstreams.iter().enumerate() {
            let Some(discover) = &upstream.discover else { continue };
            let of_before = || {
                let before = runs.upstreams.iter().find(|before| before.name == upstream.name)?;
                discover.first.is_empty().then_some(&*before.endpoints)
            };
            let wanted = self.0.get(&upstream.name).map(|endpoints| &**endpoints);
            let wanted = wanted.or_else(of_before).unwrap_or(&discover.first);
            if *upstream.endpoints != *wanted {
                let upstream = Upstream { endpoints: wanted.into(), ..Upstream::clone(upstream) };
                if let Some(place) = changed.get_or_insert_with(|| Plan::clone(plan)).upstreams.get_mut(at) {
                    *place = Arc::new(upstream);
                }
            }
        }
        changed.map_or_else(|| plan.clone(), Arc::new)
    }
}

/// What is known of one upstream.
struct Entry {
    rule: Arc<Discover>,
    /// Tells reports of its source from those of sources before.
    nth: u64,
    known: Known,
    registered: Registered,
    /// The set of registered endpoints is another than the one that is known.
    is_stale: bool,
    /// The set in use is another than that of the running plan.
    is_news: bool,
    /// When the source said something last, on both clocks.
    good_at: Option<(Instant, u64)>,
    failing_since: Option<Instant>,
    failure: Option<String>,
    /// When it is asked again.
    again: Option<Instant>,
    sets: u64,
    failures: u64,
    shrunk: u64,
}

/// All sources and what they found.
pub(super) struct Discovery {
    events: Events,
    looker: Option<Looker>,
    entries: BTreeMap<Arc<str>, Entry>,
    /// The plan whose sources these are.
    plan: Option<Arc<Plan>>,
    watcher: Watcher,
    files: Vec<PathBuf>,
    /// What a process before found.
    before: Sets,
    sources_made: u64,
    /// When a plan with what is new may be made.
    due: Option<Instant>,
    offered: Instant,
    /// When what was found is to be kept in its file.
    cache_due: Option<Instant>,
    cached: Instant,
}

impl Discovery {
    /// With what a process before has found, or what is kept in a file.
    pub(super) fn new(events: Events, handed: Option<Sets>, plan: &Plan, log: &mut Log<'_>) -> Self {
        let path = plan.control.discovery_cache.as_ref();
        let before = handed.unwrap_or_else(|| {
            let read = path.map(|path| state::read(path).map_err(|why| format!("{}: {why}", path.display())));
            read.unwrap_or_else(|| Ok(Sets::default())).unwrap_or_else(|why| {
                log.warn(format_args!("endpoints that were found before are not known: {why}"));
                Sets::default()
            })
        });
        let changed = || events::Event::Discovery(Event::FilesChanged);
        let watcher = Watcher::new(events.clone(), changed, FILES_REST, "files of endpoints");
        Self {
            events,
            looker: None,
            entries: BTreeMap::new(),
            plan: None,
            watcher,
            files: Vec::new(),
            before,
            sources_made: 0,
            due: None,
            offered: Instant::default(),
            cache_due: None,
            cached: Instant::default(),
        }
    }

    /// Starts the sources of the first plan, waits until each has said something or has had its time, and returns the
    /// plan with what was found. Nobody else hears events yet; those of others go back into the line.
    pub(super) fn first(&mut self, plan: Plan, queue: &Queue, log: &mut Log<'_>) -> (Arc<Plan>, InUse) {
        let plan = Arc::new(plan);
        self.take_up(&plan, log);
        let by = Instant::now() + plan.control.discovery_wait.unwrap_or_default();
        let mut others = Vec::new();
        let is_asked = |entry: &Entry| !matches!(entry.rule.place, DiscoverIn::Registration(_));
        while self.entries.values().any(|entry| is_asked(entry) && entry.sets + entry.failures == 0) {
            match queue.next(by) {
                Some(events::Event::Discovery(event)) => self.heard(event, log),
                Some(other) => others.push(other),
                None => break,
            }
        }
        for other in others {
            let _ = self.events.send(other);
        }
        for (upstream, entry) in &self.entries {
            if entry.known.in_use().is_empty() && is_asked(entry) && entry.failure.is_none() && entry.sets == 0 {
                let source = entry.rule.place.name();
                log.warn(format_args!("upstream {upstream}: nothing was heard from {source} yet; it has no endpoint"));
            }
        }
        let in_use = self.in_use();
        let plan = in_use.put_into(&plan, &plan);
        self.runs(&plan);
        (plan, in_use)
    }

    /// The sets in use, for plans.
    fn in_use(&self) -> InUse {
        self.entries.iter().map(|(upstream, entry)| (upstream.clone(), entry.known.in_use().clone())).collect()
    }

    /// Whatever is to be done now: called whenever something has happened or the deadline is over.
    pub(super) fn turn(&mut self, plans: &mut Plans, log: &mut Log<'_>) {
        let now = Instant::now();
        if self.plan.as_ref().is_none_or(|plan| !Arc::ptr_eq(plan, plans.plan())) {
            let plan = plans.plan().clone();
            self.take_up(&plan, log);
            self.runs(&plan);
        }
        self.watcher.watch(Some(&self.files), log);
        for (upstream, entry) in &mut self.entries {
            let lapsed = entry.registered.lapse(now);
            if lapsed > 0 {
                entry.is_stale = true;
                let s = if lapsed == 1 { "endpoint has" } else { "endpoints have" };
                log.debug(format_args!("upstream {upstream}: {lapsed} {s} not been heard of in time"));
            }
        }
        let is_news = |entry: &Entry| entry.is_stale || entry.is_news;
        if self.due.is_none() && self.entries.values().any(is_news) {
            let rest = plans.plan().control.discovery_rest;
            self.due = Some((now + QUIET).max(self.offered + rest));
        }
        if self.due.is_some_and(|due| due <= now) && plans.is_free() {
            self.offer(plans, now, log);
        }
        if self.cache_due.is_some_and(|due| due <= now) {
            self.keep_in_file(plans.plan(), now);
        }
    }

    /// When [`Self::turn`] has something to do. A change that waits for another one is done when that ends.
    pub(super) fn deadline(&self, plans: &Plans) -> Option<Instant> {
        let lapses = self.entries.values().filter_map(|entry| entry.registered.next());
        let due = self.due.filter(|_| plans.is_free());
        lapses.chain(due).chain(self.cache_due).min()
    }

    /// Runs a plan with what is new.
    fn offer(&mut self, plans: &mut Plans, now: Instant, log: &mut Log<'_>) {
        let mut changes = Vec::new();
        for (upstream, entry) in &mut self.entries {
            if std::mem::take(&mut entry.is_stale) {
                let found = entry.registered.set();
                entry.found(upstream, found, log);
            }
            if !entry.is_news {
                continue;
            }
            let runs = plans.plan().upstreams.iter().find(|known| known.name == *upstream);
            let difference = runs.map(|runs| difference(&runs.endpoints, entry.known.in_use())).unwrap_or_default();
            changes.push(format!("upstream {upstream}: {difference} from {}", entry.rule.place.name()));
        }
        (self.due, self.offered) = (None, now);
        plans.in_use = self.in_use();
        if !changes.is_empty() {
            plans.change_found(changes, Vec::new(), log);
        }
    }

    /// This plan runs: what it has of endpoints is no news any more.
    fn runs(&mut self, plan: &Arc<Plan>) {
        for upstream in &plan.upstreams {
            if let Some(entry) = self.entries.get_mut(&upstream.name) {
                entry.is_news = **entry.known.in_use() != *upstream.endpoints;
            }
        }
        self.plan = Some(plan.clone());
        if plan.control.discovery_cache.is_some() {
            self.cache_due = Some((self.cached + CACHE_REST).max(Instant::now()));
        }
    }

    /// Asks the sources that this plan has, and no others.
    fn take_up(&mut self, plan: &Arc<Plan>, log: &mut Log<'_>) {
        let wanted: HashMap<&str, (&Upstream, &Arc<Discover>)> = (plan.upstreams.iter())
            .filter_map(|upstream| Some((&*upstream.name, (&**upstream, upstream.discover.as_ref()?))))
            .collect();
        if wanted.is_empty() && self.entries.is_empty() {
            return;
        }
        if self.looker.is_none() {
            let events = self.events.clone();
            // Without control there is nobody to tell.
            let tell = move |report| drop(events.send(events::Event::Discovery(Event::Looked(report))));
            match Looker::start(tell) {
                Ok(looker) => self.looker = Some(looker),
                Err(error) => {
                    log.error(format_args!("no endpoints can be looked for: {error}"));
                    return;
                }
            }
        }
        let Some(looker) = &self.looker else { return };
        self.entries.retain(|upstream, _| {
            let stays = wanted.contains_key(&**upstream);
            if !stays {
                looker.stop(upstream);
            }
            stays
        });
        for (upstream, rule) in wanted.into_values() {
            let name = &upstream.name;
            let place = state::place(&rule.place);
            let known = self.entries.get_mut(name);
            if let Some(entry) = known
                && state::place(&entry.rule.place) == place
            {
                let is_same = entry.rule.place == rule.place;
                if let (false, DiscoverIn::Registration(registration)) = (is_same, &rule.place) {
                    entry.registered.set_ttl(registration.ttl, Instant::now());
                }
                entry.rule = rule.clone();
                if is_same {
                    continue;
                }
            } else {
                let entry = Entry::new(upstream, rule, self.before.remove(name).filter(|(of, _)| *of == place));
                self.entries.insert(name.clone(), entry);
            }
            self.sources_made += 1;
            if let Some(entry) = self.entries.get_mut(name) {
                entry.nth = self.sources_made;
                looker.ask(name, self.sources_made, rule);
            }
        }
        let file = |entry: &Entry| match &entry.rule.place {
            DiscoverIn::File(path) => Some(path.to_path_buf()),
            _ => None,
        };
        self.files = self.entries.values().filter_map(file).collect();
    }

    /// Something has happened.
    pub(super) fn heard(&mut self, event: Event, log: &mut Log<'_>) {
        match event {
            Event::Looked(report) => {
                let found = self.entries.get_mut(&report.upstream).filter(|entry| entry.nth == report.nth);
                if let Some(entry) = found {
                    entry.looked(report, log);
                }
            }
            Event::FilesChanged => {
                self.watcher.look_again();
                let is_file = |entry: &Entry| matches!(entry.rule.place, DiscoverIn::File(_));
                for (upstream, _) in self.entries.iter().filter(|(_, entry)| is_file(entry)) {
                    self.looker.iter().for_each(|looker| looker.look_again(upstream));
                }
            }
            Event::NotKept(why) => {
                log.warn(format_args!("endpoints that were found are not kept: {why}"));
            }
        }
    }

    /// The last good sets, for a process that takes over; none where they are too much for a message.
    pub(super) fn sets_to_hand_over(&self, log: &mut Log<'_>) -> Sets {
        let sets = self.sets();
        let bytes = to_json(&sets).to_string().len();
        if bytes > HANDED_MAX {
            log.warn(format_args!("{bytes} bytes of endpoints that were found are too many to hand over"));
            return Sets::default();
        }
        sets
    }

    /// The last good sets.
    fn sets(&self) -> Sets {
        let set = |(upstream, entry): (&Arc<str>, &Entry)| {
            let is_known = entry.known.has_base();
            is_known.then(|| (upstream.clone(), (state::place(&entry.rule.place), entry.known.in_use().to_vec())))
        };
        self.entries.iter().filter_map(set).collect()
    }

    fn keep_in_file(&mut self, plan: &Plan, now: Instant) {
        (self.cache_due, self.cached) = (None, now);
        if let (Some(path), Some(looker)) = (plan.control.discovery_cache.clone(), &self.looker) {
            let (sets, events) = (self.sets(), self.events.clone());
            looker.run(move || {
                if let Err(error) = state::write(&path, &sets) {
                    let why = format!("{}: {error}", path.display());
                    let _ = events.send(events::Event::Discovery(Event::NotKept(why)));
                }
            });
        }
    }
}

impl Entry {
    fn new(upstream: &Upstream, rule: &Arc<Discover>, before: Option<(String, Vec<Endpoint>)>) -> Self {
        let mut registered = Registered::default();
        let known = match before {
            None => Known::before_the_first(&upstream.endpoints),
            Some((_, endpoints)) => {
                if let DiscoverIn::Registration(registration) = &rule.place {
                    let now = Instant::now();
                    // Each has its whole time for saying so again.
                    for endpoint in endpoints
                        .iter()
                        .filter(|endpoint| endpoint.address.ip().is_some_and(|ip| registration.allows(ip)))
                    {
                        registered.put(endpoint.clone(), registration.ttl, now);
                    }
                    Known::said_before(&registered.set())
                } else {
                    Known::said_before(&endpoints)
                }
            }
        };
        Self {
            rule: rule.clone(),
            nth: 0,
            is_news: **known.in_use() != *upstream.endpoints,
            known,
            registered,
            is_stale: false,
            good_at: None,
            failing_since: None,
            failure: None,
            again: None,
            sets: 0,
            failures: 0,
            shrunk: 0,
        }
    }

    /// Its source was asked.
    fn looked(&mut self, report: Report, log: &mut Log<'_>) {
        let Report { upstream, result, again, .. } = report;
        let now = Instant::now();
        self.again = again.map(|again| now + again);
        let most = self.rule.max_endpoints;
        let result = result.and_then(|endpoints| match endpoints.len() {
            count if count > most as usize => Err(format!("{count} endpoints are more than max_endpoints = {most}")),
            _ => Ok(endpoints),
        });
        match result {
            Ok(endpoints) => {
                if self.failure.take().is_some() {
                    let source = self.rule.place.name();
                    log.info(format_args!("upstream {upstream}: {source} answers again"));
                }
                self.failing_since = None;
                self.found(&upstream, endpoints, log);
            }
            Err(why) => self.failed(&upstream, &why, now, log),
        }
    }

    fn failed(&mut self, upstream: &str, why: &str, now: Instant, log: &mut Log<'_>) {
        let why = why.trim_end().to_owned();
        self.failures += 1;
        self.failing_since.get_or_insert(now);
        // The same again is no news.
        if self.failure.as_ref() == Some(&why) {
            return;
        }
        let (source, stay) = (self.rule.place.name(), self.known.in_use().len());
        let what = match stay {
            0 => "it has no endpoint".to_owned(),
            1 => "its endpoint stays".to_owned(),
            _ => format!("its {stay} endpoints stay"),
        };
        if let (true, Some(head)) = (why.contains('\n'), why.lines().next()) {
            log.report(Level::Warn, &format!("{why}\n"));
            log.warn(format_args!("upstream {upstream}: nothing from {source}, {what}: {head}"));
        } else {
            log.warn(format_args!("upstream {upstream}: nothing from {source}, {what}: {why}"));
        }
        self.failure = Some(why);
    }

    /// A set was found.
    fn found(&mut self, upstream: &str, endpoints: Vec<Endpoint>, log: &mut Log<'_>) {
        let (before, kept, count) = (self.known.in_use().clone(), self.known.kept(), endpoints.len());
        self.sets += 1;
        self.good_at = Some((Instant::now(), Wall::now().as_nanos()));
        let has_shrunk = self.known.find(endpoints, &self.rule);
        self.is_news |= before != *self.known.in_use();
        if has_shrunk {
            self.shrunk += 1;
        }
        if has_shrunk && self.known.kept() != kept {
            let (source, kept) = (self.rule.place.name(), self.known.kept());
            log.warn(format_args!(
                "upstream {upstream}: {source} says {count} endpoints, {kept} fewer than it had are kept \
                 (max_shrink); `ringway admin discovery accept {upstream}` takes its word"
            ));
        }
    }
}

#[cfg(test)]
mod tests;
