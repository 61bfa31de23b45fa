//! What the cores share of a service of type `health`: what its last round of checks found, and its history.
//!
//! One core asks and writes; every core reads. A [`Version`] tells a reader that what it read may not belong together: it
//! then goes on with what it had. All of it outlives a plan for what keeps its name.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use ringway_runtime::clock::{Instant, Wall};
use ringway_runtime::mesh::Version;

use super::state::{Finding, State, causes, judge, own};
use crate::plan::{Aggregate, AggregateCheck, CheckTarget};
use crate::upstream::{Shared, hash};

/// What is known of one check.
#[derive(Debug)]
struct Known {
    state: AtomicU8,
    own: AtomicU8,
    /// Since when it is in its state, in nanoseconds since the Unix epoch.
    since: AtomicU64,
    /// How long the slowest endpoint took, in nanoseconds.
    took: AtomicU64,
    /// How asking each endpoint ended.
    endpoints: Box<[AtomicU8]>,
}

/// One change of state.
#[derive(Debug, Default)]
struct Entry {
    at: AtomicU64,
    /// The hash of the check's name; nothing for the whole.
    who: AtomicU64,
    /// The hash of the name of the check that made it so; nothing where that is itself.
    cause: AtomicU64,
    /// The state before, and the one after in the lower byte.
    states: AtomicU64,
}

/// The last changes of state.
#[derive(Debug)]
struct History {
    entries: Box<[Entry]>,
    /// All that ever were.
    written: AtomicU64,
}

/// What is known of the whole.
#[derive(Debug, Default)]
struct Whole {
    /// Of all that is written with it; 0 before the first round ended.
    version: Version,
    state: AtomicU8,
    since: AtomicU64,
    /// When the last round ended, in wall time.
    checked: AtomicU64,
    /// When the last round began, on the monotonic clock.
    began: AtomicU64,
}

/// A service of type `health`, as all cores see it.
#[derive(Debug)]
pub(super) struct Board {
    pub(super) plan: Arc<Aggregate>,
    /// For each check the upstream that it is about.
    upstreams: Box<[Option<Arc<Shared>>]>,
    checks: Box<[Arc<Known>]>,
    whole: Arc<Whole>,
    history: Arc<History>,
}

/// What one round found at the endpoints of one check.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    pub(super) endpoints: Vec<Finding>,
    /// How long the slowest took, in nanoseconds.
    pub(super) took: u64,
}

/// All of it at one time.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    pub(super) version: u64,
    pub(super) state: State,
    pub(super) since: Wall,
    pub(super) checked: Wall,
    pub(super) checks: Vec<CheckView>,
    /// The newest first.
    pub(super) changes: Vec<Change>,
}

/// One check at one time.
#[derive(Clone, Debug, Default)]
pub(super) struct CheckView {
    pub(super) state: State,
    pub(super) own: State,
    pub(super) since: Wall,
    pub(super) took: u64,
    pub(super) endpoints: Vec<Finding>,
    /// The checks that make it so, by index.
    pub(super) causes: Vec<u16>,
}

/// One change of state of a check, by index, or of the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) at: Wall,
    pub(super) check: Option<u16>,
    pub(super) from: State,
    pub(super) to: State,
    pub(super) cause: Option<u16>,
}

impl Known {
    fn new(endpoints: usize) -> Arc<Self> {
        Arc::new(Self {
            state: AtomicU8::default(),
            own: AtomicU8::default(),
            since: AtomicU64::default(),
            took: AtomicU64::default(),
            endpoints: (0..endpoints).map(|_| AtomicU8::default()).collect(),
        })
    }

    /// The same for other endpoints: for each its place here, where it has one. Nothing where none has.
    fn moved(&self, places: &[Option<usize>]) -> Option<Arc<Self>> {
        let code = |from: &AtomicU8| AtomicU8::new(from.load(Ordering::Relaxed));
        let time = |from: &AtomicU64| AtomicU64::new(from.load(Ordering::Relaxed));
        let endpoint = |at: &Option<usize>| at.and_then(|at| self.endpoints.get(at)).map(code).unwrap_or_default();
        places.iter().any(Option::is_some).then(|| {
            Arc::new(Self {
                state: code(&self.state),
                own: code(&self.own),
                since: time(&self.since),
                took: time(&self.took),
                endpoints: places.iter().map(endpoint).collect(),
            })
        })
    }

    fn state(&self) -> State {
        State::of(self.state.load(Ordering::Relaxed))
    }
}

impl History {
    fn new(size: u32) -> Arc<Self> {
        Arc::new(Self { entries: (0..size).map(|_| Entry::default()).collect(), written: AtomicU64::default() })
    }

    /// The same with another size: the newest stay.
    fn resized(&self, size: u32) -> Arc<Self> {
        let history = Self::new(size);
        for (at, who, cause, states) in self.newest().collect::<Vec<_>>().into_iter().take(size as usize).rev() {
            history.push(at, who, cause, states);
        }
        history
    }

    fn push(&self, at: u64, who: u64, cause: u64, states: u64) {
        let written = self.written.load(Ordering::Relaxed);
        let place = written.checked_rem(self.entries.len() as u64).unwrap_or(0);
        if let Some(entry) = self.entries.get(place as usize) {
            for (to, value) in [(&entry.at, at), (&entry.who, who), (&entry.cause, cause), (&entry.states, states)] {
                to.store(value, Ordering::Relaxed);
            }
            self.written.store(written + 1, Ordering::Relaxed);
        }
    }

    fn newest(&self) -> impl Iterator<Item = (u64, u64, u64, u64)> {
        let (written, size) = (self.written.load(Ordering::Relaxed), self.entries.len() as u64);
        (written.saturating_sub(size)..written).rev().filter_map(move |nth| {
            let entry = self.entries.get(nth.checked_rem(size)? as usize)?;
            let read = |from: &AtomicU64| from.load(Ordering::Relaxed);
            Some((read(&entry.at), read(&entry.who), read(&entry.cause), read(&entry.states)))
        })
    }
}

/// What names a check in the history. Never 0, which is the whole.
fn id(name: &str) -> u64 {
    hash(name.as_bytes()).max(1)
}

impl Board {
    /// For a service of a new plan, whose upstreams are these. Where nothing of it is different the board of the plan
    /// before goes on; else what is known of checks that stay, and the history, do.
    pub(super) fn new(plan: &Arc<Aggregate>, shared: &[Arc<Shared>], before: Option<&Arc<Self>>) -> Arc<Self> {
        let upstream = |check: &AggregateCheck| match check.target {
            CheckTarget::Upstream(id) => shared.get(id.0 as usize).cloned(),
            CheckTarget::Addresses(_) => None,
        };
        let upstreams: Box<[Option<Arc<Shared>>]> = plan.checks.iter().map(upstream).collect();
        let same = |(a, b): (&Option<Arc<Shared>>, &Option<Arc<Shared>>)| match (a, b) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (a, b) => a.is_none() && b.is_none(),
        };
        if let Some(before) = before
            && before.plan == *plan
            && before.upstreams.iter().zip(&upstreams).all(same)
        {
            return before.clone();
        }
        let endpoints = |(check, upstream): (&AggregateCheck, &Option<Arc<Shared>>)| match &check.target {
            CheckTarget::Upstream(_) => upstream.as_ref().map_or(0, |shared| shared.upstream().endpoints.len()),
            CheckTarget::Addresses(addresses) => addresses.len(),
        };
        let known = |(check, upstream): (&AggregateCheck, &Option<Arc<Shared>>)| {
            let stays = before.and_then(|before| before.stays(check, upstream.as_deref()));
            stays.unwrap_or_else(|| Known::new(endpoints((check, upstream))))
        };
        let history = match before {
            Some(before) if before.plan.history == plan.history => before.history.clone(),
            Some(before) => before.history.resized(plan.history),
            None => History::new(plan.history),
        };
        Arc::new(Self {
            checks: plan.checks.iter().zip(&upstreams).map(known).collect(),
            plan: plan.clone(),
            upstreams,
            whole: before.map_or_else(Arc::default, |before| before.whole.clone()),
            history,
        })
    }

    /// What is known of a check that asks the same of the same as one here does. Of an upstream whose endpoints come and
    /// go that is what is known while some stay: whoever looks is told of those of now, and the next round asks them.
    fn stays(&self, check: &AggregateCheck, upstream: Option<&Shared>) -> Option<Arc<Known>> {
        let at = self.plan.checks.iter().position(|known| known.name == check.name)?;
        let (known, places) = (self.checks.get(at)?, self.places_of(at, check, upstream)?);
        let is_same =
            places.len() == known.endpoints.len() && places.iter().enumerate().all(|(at, was)| *was == Some(at));
        if is_same { Some(known.clone()) } else { known.moved(&places) }
    }

    /// For each endpoint of a check its place here, where it has one; nothing where the check at `at` asks something else.
    fn places_of(&self, at: usize, check: &AggregateCheck, upstream: Option<&Shared>) -> Option<Box<[Option<usize>]>> {
        let plan = self.plan.checks.get(at).filter(|plan| plan.check == check.check)?;
        match (&plan.target, &check.target) {
            (CheckTarget::Addresses(before), CheckTarget::Addresses(wanted)) if before == wanted => {
                Some((0..wanted.len()).map(Some).collect())
            }
            (CheckTarget::Upstream(_), CheckTarget::Upstream(_)) => {
                let (before, shared) = (self.upstreams.get(at)?.as_deref()?.upstream(), upstream?);
                let is_same = before.name == shared.upstream().name;
                is_same.then(|| shared.stays(Some(before)).into())
            }
            _ => None,
        }
    }

    /// For each check, and each of its endpoints, the place on the board before: nothing unless a round that began there
    /// can end here, as it asks the same of the same in the same time and some endpoints of each check stay.
    pub(super) fn places(&self, before: &Self) -> Option<Vec<Box<[Option<usize>]>>> {
        let (plan, old) = (&self.plan, &before.plan);
        if plan.total_timeout != old.total_timeout || plan.checks.len() != old.checks.len() {
            return None;
        }
        let places = |(at, (check, old)): (usize, (&AggregateCheck, &AggregateCheck))| {
            let is_same = check.name == old.name && check.timeout == old.timeout && check.slow == old.slow;
            let places = before.places_of(at, check, self.upstream(at)).filter(|_| is_same)?;
            (places.is_empty() && before.endpoints(at) == 0 || places.iter().any(Option::is_some)).then_some(places)
        };
        plan.checks.iter().zip(&old.checks).enumerate().map(places).collect()
    }

    /// What is known of the endpoints of the upstream that a check is about.
    pub(super) fn upstream(&self, check: usize) -> Option<&Shared> {
        self.upstreams.get(check)?.as_deref()
    }

    /// How many endpoints a check has.
    pub(super) fn endpoints(&self, check: usize) -> usize {
        self.checks.get(check).map_or(0, |known| known.endpoints.len())
    }

    /// Differs from what it was when there is something new; odd while that is written.
    pub(super) fn version(&self) -> u64 {
        self.whole.version.now()
    }

    /// Whether every check has been made.
    pub(super) fn is_known(&self) -> bool {
        self.checks.iter().all(|known| known.state() != State::Unknown)
    }

    /// The states of the checks.
    pub(super) fn states(&self) -> impl Iterator<Item = State> {
        self.checks.iter().map(|known| known.state())
    }

    /// When the last round began.
    pub(super) fn began(&self) -> Instant {
        Instant::from_nanos(self.whole.began.load(Ordering::Relaxed))
    }

    /// Says what a round found. Only the core that asks may do so.
    pub(super) fn publish(&self, found: &[Found], began: Instant, now: Wall) {
        let owns: Vec<State> = found.iter().map(|found| own(&found.endpoints)).collect();
        self.whole.version.write(|| self.write(found, &owns, began, now.as_nanos()));
    }

    fn write(&self, found: &[Found], owns: &[State], began: Instant, now: u64) {
        let (states, whole) = judge(&self.plan, owns);
        let causes = causes(&self.plan, owns);
        let name = |at: u16| self.plan.checks.get(usize::from(at)).map_or(0, |check| id(&check.name));
        let tell = |who: u64, from: State, to: State, cause: u64| {
            // That something works which nobody had asked about is no news.
            if (from, to) != (State::Unknown, State::Healthy) {
                self.history.push(now, who, cause, u64::from(from as u8) << 8 | u64::from(to as u8));
            }
        };
        for (at, ((known, found), state)) in self.checks.iter().zip(found).zip(&states).enumerate() {
            let (before, own) = (known.state(), owns.get(at).copied().unwrap_or_default());
            known.own.store(own as u8, Ordering::Relaxed);
            known.took.store(found.took, Ordering::Relaxed);
            for (endpoint, finding) in known.endpoints.iter().zip(&found.endpoints) {
                endpoint.store(*finding as u8, Ordering::Relaxed);
            }
            if before != *state {
                known.state.store(*state as u8, Ordering::Relaxed);
                known.since.store(now, Ordering::Relaxed);
                let cause = causes.get(at).and_then(|causes| causes.first()).copied();
                tell(name(at as u16), before, *state, cause.filter(|_| own < *state).map_or(0, name));
            }
        }
        let before = State::of(self.whole.state.load(Ordering::Relaxed));
        if before != whole {
            self.whole.state.store(whole as u8, Ordering::Relaxed);
            self.whole.since.store(now, Ordering::Relaxed);
            let worst = owns.iter().zip(0..).filter(|(own, _)| **own > State::Healthy).max_by_key(|(own, at)| {
                let critical =
                    self.plan.checks.get(usize::from(*at)).is_some_and(|check: &AggregateCheck| check.critical);
                (critical, **own, u16::MAX - *at)
            });
            tell(0, before, whole, worst.map_or(0, |(_, at)| name(at)));
        }
        self.whole.checked.store(now, Ordering::Relaxed);
        self.whole.began.store(began.as_nanos(), Ordering::Relaxed);
    }

    /// All of it, or nothing where it changed meanwhile.
    pub(super) fn view(&self) -> Option<View> {
        let (version, mut view) = self.whole.version.read(|| self.read())?;
        view.version = version;
        // The whole is judged anew: a plan may have other checks than the round had that ended last.
        let owns: Vec<State> = view.checks.iter().map(|check| check.own).collect();
        let (states, whole) = judge(&self.plan, &owns);
        view.state = whole;
        let causes = causes(&self.plan, &owns);
        for ((check, state), causes) in view.checks.iter_mut().zip(states).zip(causes) {
            (check.state, check.causes) = (state, causes);
        }
        Some(view)
    }

    /// What is written there now, which may not belong together.
    fn read(&self) -> View {
        let wall = |from: &AtomicU64| Wall::from_nanos(from.load(Ordering::Relaxed));
        let check = |known: &Arc<Known>| CheckView {
            state: known.state(),
            own: State::of(known.own.load(Ordering::Relaxed)),
            since: wall(&known.since),
            took: known.took.load(Ordering::Relaxed),
            endpoints: known.endpoints.iter().map(|code| Finding::of(code.load(Ordering::Relaxed))).collect(),
            causes: Vec::new(),
        };
        View {
            version: 0,
            state: State::Unknown,
            since: wall(&self.whole.since),
            checked: wall(&self.whole.checked),
            checks: self.checks.iter().map(check).collect(),
            changes: self.changes(),
        }
    }

    /// The last changes as another process can go on with them, oldest first and at most so many.
    pub(super) fn told(&self, most: usize) -> Vec<[u64; 4]> {
        let read = || {
            let newest = self.history.newest().take(most).map(|(at, who, cause, states)| [at, who, cause, states]);
            newest.collect::<Vec<_>>()
        };
        // A write is short; where one never ends there is nothing to go on with.
        let told = (0..1_000).find_map(|_| {
            let found = self.whole.version.read(read);
            if found.is_none() {
                std::thread::yield_now();
            }
            found
        });
        let mut told = told.map(|(_, told)| told).unwrap_or_default();
        told.reverse();
        told
    }

    /// Goes on with them. For a board that no core has yet.
    pub(super) fn inherit(&self, told: &[[u64; 4]]) {
        for &[at, who, cause, states] in told {
            self.history.push(at, who, cause, states);
        }
    }

    fn changes(&self) -> Vec<Change> {
        let find = |who: u64| self.plan.checks.iter().position(|check| id(&check.name) == who).map(|at| at as u16);
        let change = |(at, who, cause, states): (u64, u64, u64, u64)| {
            let check = find(who);
            // What is said of a check that is no more is of no use to anybody.
            (who == 0 || check.is_some()).then(|| Change {
                at: Wall::from_nanos(at),
                check,
                from: State::of((states >> 8) as u8),
                to: State::of(states as u8),
                cause: find(cause),
            })
        };
        self.history.newest().filter_map(change).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::super::state::tests::plan;
    use super::*;

    fn found(findings: &[Finding]) -> Vec<Found> {
        findings.iter().map(|finding| Found { endpoints: vec![*finding], took: 5 }).collect()
    }

    fn board(plan: Aggregate, before: Option<&Arc<Board>>) -> Arc<Board> {
        Board::new(&Arc::new(plan), &[], before)
    }

    fn publish(board: &Board, findings: &[Finding], now: u64) {
        board.publish(&found(findings), Instant::from_nanos(now), Wall::from_nanos(now));
    }

    fn told(board: &Board) -> Vec<(u64, Option<u16>, &'static str, Option<u16>)> {
        let view = board.view().expect("nobody writes");
        view.changes.iter().map(|change| (change.at.as_nanos(), change.check, change.to.name(), change.cause)).collect()
    }

    #[test]
    fn changes_are_told_once_with_what_made_them() {
        use Finding::{Passed, Timeout};
        let board = board(plan(&[(true, vec![]), (false, vec![0])]), None);
        assert!(!board.is_known() && board.view().is_some_and(|view| view.state == State::Unknown));
        publish(&board, &[Passed, Passed], 1);
        assert!(board.is_known() && told(&board).is_empty());
        publish(&board, &[Timeout, Passed], 2);
        publish(&board, &[Timeout, Passed], 3);
        let down = [(2, None, "down", Some(0)), (2, Some(1), "down", Some(0)), (2, Some(0), "down", None)];
        assert_eq!(told(&board), down);
        publish(&board, &[Passed, Timeout], 4);
        let now = [(4, None, "degraded", Some(1)), (4, Some(0), "healthy", None)];
        assert_eq!(told(&board)[..2], now);
        let view = board.view().expect("nobody writes");
        assert_eq!((view.checks[1].since.as_nanos(), view.checks[0].since.as_nanos()), (2, 4));
        assert_eq!((view.since.as_nanos(), view.checked.as_nanos()), (4, 4));
    }

    #[test]
    fn the_history_keeps_the_newest() {
        use Finding::{Passed, Timeout};
        let small = Aggregate { history: 3, ..plan(&[(false, vec![])]) };
        let board = board(small, None);
        for now in 1..20 {
            publish(&board, &[if now % 2 == 0 { Passed } else { Timeout }], now);
        }
        let at = |board: &Board| told(board).iter().map(|told| told.0).collect::<Vec<_>>();
        assert_eq!(at(&board), [19, 19, 18]);
        let resized = |history, before: &Arc<Board>| {
            Board::new(&Arc::new(Aggregate { history, ..(*before.plan).clone() }), &[], Some(before))
        };
        let smaller = resized(2, &board);
        assert_eq!(at(&smaller), [19, 19]);
        publish(&smaller, &[Passed], 20);
        assert_eq!(at(&smaller), [20, 20]);
        let none = resized(0, &smaller);
        publish(&none, &[Timeout], 21);
        assert_eq!(at(&none), [0; 0]);
        publish(&resized(5, &none), &[Passed], 22);
    }

    #[test]
    fn another_process_goes_on_with_the_history() {
        use Finding::{Passed, Timeout};
        let before = board(plan(&[(false, vec![]), (false, vec![])]), None);
        for now in 1..6 {
            publish(&before, &[if now % 2 == 0 { Passed } else { Timeout }, Passed], now);
        }
        let after = board(plan(&[(false, vec![]), (false, vec![])]), None);
        after.inherit(&before.told(usize::MAX));
        assert_eq!(told(&after), told(&before));
        assert!(!after.is_known(), "how things are it finds out itself");
        let newest = board(plan(&[(false, vec![]), (false, vec![])]), None);
        newest.inherit(&before.told(3));
        assert_eq!(told(&newest), told(&before)[..3]);
    }

    #[test]
    fn what_stays_in_a_plan_stays_known() {
        use Finding::{Passed, Timeout};
        let first = board(plan(&[(true, vec![]), (false, vec![])]), None);
        publish(&first, &[Passed, Timeout], 1);
        assert!(Arc::ptr_eq(&board(plan(&[(true, vec![]), (false, vec![])]), Some(&first)), &first));
        // One more, and the first is not critical any more.
        let next = board(plan(&[(false, vec![]), (false, vec![]), (false, vec![0])]), Some(&first));
        let states: Vec<State> = next.states().collect();
        assert_eq!(states, [State::Healthy, State::Down, State::Unknown]);
        assert_eq!(told(&next).len(), 2);
        publish(&next, &[Passed, Timeout, Passed], 2);
        assert!(told(&next).iter().all(|told| told.0 == 1), "nothing has changed");
        // Another address is another thing.
        let mut moved = plan(&[(false, vec![]), (false, vec![])]);
        moved.checks[0].target = CheckTarget::Addresses([("b:1".into(), "10.0.0.2:1".parse().unwrap())].into());
        let moved = board(moved, Some(&next));
        assert_eq!(moved.states().collect::<Vec<_>>(), [State::Unknown, State::Down]);
    }

    #[test]
    fn what_is_known_of_endpoints_that_stay_goes_with_them() {
        use Finding::{Never, Passed, Timeout};
        let plan = |endpoints: &str| {
            let text = format!(
                "[listener.web]\naddress = \"127.0.0.1:0\"\n[upstream.u]\nendpoints = [{endpoints}]\n\
                 [service.s]\ntype = \"health\"\nchecks = [{{ name = \"c\", upstream = \"u\" }}]\n\
                 [[route]]\nname = \"r\"\npath = \"/\"\nservice = \"s\"\n"
            );
            let mut resolve = |_: &str, _: u16| Err("only addresses".to_owned());
            crate::config::compile("test", &text, 1, &mut resolve).unwrap_or_else(|report| panic!("{report}")).0
        };
        let next = |endpoints: &str, before: Option<(&Arc<Board>, &Arc<Shared>)>| {
            let plan = plan(endpoints);
            let shared = Shared::new(&plan.upstreams[0], before.map(|(_, shared)| &**shared));
            (Board::new(&plan.aggregates[0], std::slice::from_ref(&shared), before.map(|(board, _)| board)), shared)
        };
        let findings = |board: &Board| board.view().expect("nobody writes").checks[0].endpoints.clone();
        let (board, shared) = next("\"10.0.0.1:1\", \"10.0.0.2:1\"", None);
        let found = Found { endpoints: vec![Passed, Timeout], took: 5 };
        board.publish(&[found], Instant::from_nanos(1), Wall::from_nanos(1));
        let (board, shared) = next("\"10.0.0.3:1\", \"10.0.0.2:1\", \"10.0.0.1:1\"", Some((&board, &shared)));
        assert_eq!(findings(&board), [Never, Timeout, Passed]);
        assert!(board.is_known() && board.states().eq([State::Degraded]));
        let names: Vec<&str> =
            board.upstream(0).iter().flat_map(|of| &of.upstream().endpoints).map(|at| &*at.name).collect();
        assert_eq!(names, ["10.0.0.3:1", "10.0.0.2:1", "10.0.0.1:1"]);
        // With others alone nothing is known.
        let (board, _) = next("\"10.0.0.4:1\"", Some((&board, &shared)));
        assert!(!board.is_known() && findings(&board) == [Never]);
    }

    #[test]
    fn a_reader_never_sees_two_rounds_mixed() {
        use Finding::{Passed, Timeout};
        let board = board(plan(&vec![(false, vec![]); 40]), None);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for now in 1..3_000 {
                    publish(&board, &[if now % 2 == 0 { Passed } else { Timeout }; 40], now);
                }
                done.store(true, Ordering::Release);
            });
            let mut last = 0;
            while !done.load(Ordering::Acquire) {
                let Some(view) = board.view().filter(|view| view.version > 0) else { continue };
                assert!(view.checked.as_nanos() >= last);
                last = view.checked.as_nanos();
                let wanted = if last % 2 == 0 { State::Healthy } else { State::Down };
                assert!(view.checks.iter().all(|check| check.state == wanted && check.since.as_nanos() == last));
            }
        });
    }
}
