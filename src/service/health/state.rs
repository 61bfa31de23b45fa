//! How well things are, and what follows from one for another.

use crate::plan::Aggregate;
use crate::upstream::{Cause, Checked};

/// How well something is; what is worse is greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum State {
    /// Nobody has asked yet.
    #[default]
    Unknown,
    /// It works.
    Healthy,
    /// It works, but not as it should.
    Degraded,
    /// It does not work.
    Down,
}

impl State {
    const ALL: [Self; 4] = [Self::Unknown, Self::Healthy, Self::Degraded, Self::Down];

    pub(super) fn of(code: u8) -> Self {
        Self::ALL.get(usize::from(code)).copied().unwrap_or_default()
    }

    /// As it is shown.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Down => "down",
        }
    }

    /// What whoever needs something in this state is at best. Without what is critical nothing works that needs it.
    fn felt(self, critical: bool) -> Self {
        match self {
            Self::Down if !critical => Self::Degraded,
            state => state,
        }
    }
}

/// How asking one endpoint ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Finding {
    #[default]
    Never,
    Passed,
    /// Passed, but too late to be well.
    Slow,
    Connect,
    Timeout,
    Reset,
    Protocol,
    Status,
    Body,
    Drained,
    Unhealthy,
    Ejected,
    Broken,
}

impl Finding {
    const ALL: [Self; 13] = [
        Self::Never,
        Self::Passed,
        Self::Slow,
        Self::Connect,
        Self::Timeout,
        Self::Reset,
        Self::Protocol,
        Self::Status,
        Self::Body,
        Self::Drained,
        Self::Unhealthy,
        Self::Ejected,
        Self::Broken,
    ];

    pub(super) fn of(code: u8) -> Self {
        Self::ALL.get(usize::from(code)).copied().unwrap_or_default()
    }

    /// As it is shown.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Passed => "passed",
            Self::Slow => "slow",
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::Protocol => "protocol",
            Self::Status => "status",
            Self::Body => "body",
            Self::Drained => "drained",
            Self::Unhealthy => "unhealthy",
            Self::Ejected => "ejected",
            Self::Broken => "broken",
        }
    }

    /// How well an endpoint is that was found so; nothing of one that nobody has asked, or that an operator took out.
    pub(super) fn state(self) -> Option<State> {
        match self {
            Self::Never | Self::Drained => None,
            Self::Passed => Some(State::Healthy),
            Self::Slow => Some(State::Degraded),
            _ => Some(State::Down),
        }
    }
}

impl From<Checked> for Finding {
    fn from(checked: Checked) -> Self {
        match checked {
            Checked::Never => Self::Never,
            Checked::Passed => Self::Passed,
            Checked::Refused => Self::Connect,
            Checked::Timeout => Self::Timeout,
            Checked::Reset => Self::Reset,
            Checked::Protocol => Self::Protocol,
            Checked::Status | Checked::GrpcStatus | Checked::NotServing => Self::Status,
            Checked::Body => Self::Body,
        }
    }
}

impl From<Cause> for Finding {
    fn from(cause: Cause) -> Self {
        match cause {
            Cause::Drained => Self::Drained,
            Cause::Unhealthy => Self::Unhealthy,
            Cause::Ejected => Self::Ejected,
            Cause::Broken => Self::Broken,
        }
    }
}

/// How well a check is by itself: all endpoints are well, some, or none.
pub(super) fn own(endpoints: &[Finding]) -> State {
    let mut states = endpoints.iter().filter_map(|finding| finding.state()).peekable();
    if states.peek().is_none() {
        return State::Down;
    }
    let (mut is_down, mut is_well) = (true, true);
    for state in states {
        is_down &= state == State::Down;
        is_well &= state == State::Healthy;
    }
    match (is_down, is_well) {
        (true, _) => State::Down,
        (_, true) => State::Healthy,
        _ => State::Degraded,
    }
}

/// How well each check is with what it needs, and how well the whole is, which needs all of them.
pub(super) fn judge(plan: &Aggregate, own: &[State]) -> (Vec<State>, State) {
    let mut states = own.to_vec();
    states.resize(plan.checks.len(), State::Unknown);
    let felt = |states: &[State], at: u16| {
        let at = usize::from(at);
        states.get(at).zip(plan.checks.get(at)).map(|(state, check)| state.felt(check.critical))
    };
    for &at in &plan.order {
        let Some(check) = plan.checks.get(usize::from(at)) else { continue };
        let worst = check.needs.iter().filter_map(|&need| felt(&states, need)).max();
        if let Some(state) = states.get_mut(usize::from(at)) {
            *state = (*state).max(worst.unwrap_or_default());
        }
    }
    let all = (0..plan.checks.len() as u16).filter_map(|at| felt(&states, at));
    let whole = all.max().unwrap_or_default();
    // What nobody has asked about might be down.
    let is_unknown = states.contains(&State::Unknown) && whole < State::Down;
    (states, if is_unknown { State::Unknown } else { whole })
}

/// The checks that are not well by themselves and make others so, for each check, in the order of the config.
pub(super) fn causes(plan: &Aggregate, own: &[State]) -> Vec<Vec<u16>> {
    let mut causes: Vec<Vec<u16>> = vec![Vec::new(); plan.checks.len()];
    for &at in &plan.order {
        let Some(check) = plan.checks.get(usize::from(at)) else { continue };
        let mut roots: Vec<u16> = Vec::new();
        for &need in &check.needs {
            roots.extend(causes.get(usize::from(need)).into_iter().flatten());
            if own.get(usize::from(need)).is_some_and(|state| *state > State::Healthy) {
                roots.push(need);
            }
        }
        roots.sort_unstable();
        roots.dedup();
        if let Some(place) = causes.get_mut(usize::from(at)) {
            *place = roots;
        }
    }
    causes
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::plan::{AggregateCheck, Check, CheckTarget, Detail};

    /// A service of so many checks; each is critical or not and needs only those before it.
    pub(in super::super) fn plan(checks: &[(bool, Vec<u16>)]) -> Aggregate {
        let check = |(at, (critical, needs)): (usize, &(bool, Vec<u16>))| AggregateCheck {
            name: format!("c{at}").into(),
            label: format!("s/c{at}").into(),
            critical: *critical,
            needs: needs.as_slice().into(),
            target: CheckTarget::Addresses([("a:1".into(), "10.0.0.1:1".parse().unwrap())].into()),
            check: Some(Check::Tcp),
            timeout: Duration::from_secs(1),
            slow: None,
        };
        Aggregate {
            name: "s".into(),
            checks: checks.iter().enumerate().map(check).collect(),
            order: (0..checks.len() as u16).collect(),
            ttl: Duration::from_secs(5),
            total_timeout: Duration::from_secs(2),
            degraded_status: 207,
            history: 10,
            detail: Detail::Names,
        }
    }

    use State::{Degraded, Down, Healthy, Unknown};

    #[test]
    fn all_well_is_healthy_some_is_degraded_and_none_is_down() {
        use Finding::{Connect, Drained, Passed, Slow, Timeout};
        for (endpoints, expected) in [
            (&[Passed, Passed][..], Healthy),
            (&[Passed, Connect], Degraded),
            (&[Timeout, Connect], Down),
            (&[Slow], Degraded),
            (&[Slow, Connect], Degraded),
            (&[Passed, Drained], Healthy),
            (&[Drained, Timeout], Down),
            (&[Drained], Down),
            (&[], Down),
        ] {
            assert_eq!(own(endpoints), expected, "{endpoints:?}");
        }
    }

    #[test]
    fn what_needs_something_critical_is_down_with_it_and_else_degraded() {
        // A chain: 2 needs 1 needs 0.
        let chain =
            |critical: [bool; 3]| plan(&[(critical[0], vec![]), (critical[1], vec![0]), (critical[2], vec![1])]);
        let judged = |critical, own| judge(&chain(critical), own);
        assert_eq!(judged([false; 3], &[Healthy; 3]), (vec![Healthy; 3], Healthy));
        assert_eq!(judged([false; 3], &[Down, Healthy, Healthy]), (vec![Down, Degraded, Degraded], Degraded));
        assert_eq!(judged([true, false, false], &[Down, Healthy, Healthy]), (vec![Down, Down, Degraded], Down));
        assert_eq!(judged([true, true, false], &[Down, Healthy, Healthy]), (vec![Down; 3], Down));
        assert_eq!(judged([true; 3], &[Degraded, Healthy, Healthy]), (vec![Degraded; 3], Degraded));
        assert_eq!(judged([false; 3], &[Unknown, Healthy, Healthy]).1, Unknown);
        assert_eq!(judged([true; 3], &[Unknown, Healthy, Down]).1, Down);
        assert_eq!(causes(&chain([true; 3]), &[Down, Healthy, Healthy]), [vec![], vec![0], vec![0]]);
        assert_eq!(causes(&chain([true; 3]), &[Down, Degraded, Healthy]), [vec![], vec![0], vec![0, 1]]);
    }

    proptest! {
        /// The same as asking, for each check, everything that it needs by any way.
        #[test]
        fn the_order_of_checks_does_not_matter(
            checks in proptest::collection::vec((any::<bool>(), proptest::collection::vec(0..64_u16, 0..4), 1..4_u8), 1..24)
        ) {
            let graph: Vec<(bool, Vec<u16>)> = (checks.iter().enumerate())
                .map(|(at, (critical, needs, _))| (*critical, needs.iter().filter(|_| at > 0).map(|need| need % at.max(1) as u16).collect()))
                .collect();
            let found: Vec<State> = checks.iter().map(|(.., code)| State::of(*code)).collect();
            fn naive(graph: &[(bool, Vec<u16>)], found: &[State], at: usize) -> State {
                let needs = graph[at].1.iter().map(|&need| {
                    let state = naive(graph, found, usize::from(need));
                    if state == Down && !graph[usize::from(need)].0 { Degraded } else { state }
                });
                needs.fold(found[at], Ord::max)
            }
            let plan = plan(&graph);
            let (states, whole) = judge(&plan, &found);
            let expected: Vec<State> = (0..graph.len()).map(|at| naive(&graph, &found, at)).collect();
            prop_assert_eq!(&states, &expected);
            let any = |state| (0..graph.len()).any(|at| expected[at] == state && (state != Down || graph[at].0));
            let not_well = expected.iter().any(|state| *state != Healthy);
            prop_assert_eq!(whole, if any(Down) { Down } else if not_well { Degraded } else { Healthy });
            for (at, causes) in causes(&plan, &found).iter().enumerate() {
                prop_assert!(causes.iter().all(|&cause| found[usize::from(cause)] > Healthy));
                prop_assert!(!causes.is_empty() || states[at] == found[at]);
            }
        }
    }
}
