//! Sees data cores that are away from their loop for too long, and says what they run.
//!
//! It looks at each core's pulse a few times within `cores.stall_warning`. A core costs it two words it writes anyway.

use std::fmt;
use std::io;
use std::sync::Weak;
use std::thread;
use std::time::Duration;

use ringway_runtime::clock::Instant;
use ringway_runtime::core::{Look, Pulse};

use crate::observe::Activity;
use crate::plan::Plan;

/// Looks within the time after which a core counts as away: how exactly its end is seen.
const LOOKS: u32 = 4;
/// More looks than that would take a share of control's CPU that shows.
const LEAST_SLEEP: Duration = Duration::from_millis(2);
/// The least time between two reports on one core; stalls in between are counted into the next.
const QUIET: Duration = Duration::from_secs(1);

/// Starts the thread that watches and tells `tell` what it sees. It ends with the last core.
pub(super) fn start(
    pulses: Vec<Weak<Pulse>>,
    warning: Duration,
    tell: impl Fn(Stall) + Send + 'static,
) -> io::Result<()> {
    let run = move || watch(&pulses, warning, &tell);
    thread::Builder::new().name("ringway-watchdog".to_owned()).spawn(run).map(drop)
}

fn watch(pulses: &[Weak<Pulse>], warning: Duration, tell: &impl Fn(Stall)) {
    let mut cores: Vec<Watch> = pulses.iter().map(|_| Watch::default()).collect();
    loop {
        thread::sleep((warning / LOOKS).max(LEAST_SLEEP));
        let now = Instant::now();
        let mut alive = 0;
        for (core, (pulse, watch)) in pulses.iter().zip(&mut cores).enumerate() {
            let Some(pulse) = pulse.upgrade() else { continue };
            alive += 1;
            if let Some(report) = watch.look(now, pulse.look(), warning) {
                tell(Stall { core, report });
            }
        }
        if alive == 0 {
            return;
        }
    }
}

/// A core that is away from its loop, or back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stall {
    core: usize,
    report: Report,
}

impl Stall {
    /// In words, with the names of the plan that runs.
    pub(super) fn told(self, plan: &Plan) -> impl fmt::Display {
        Told { stall: self, plan }
    }
}

/// What has been seen of one core.
#[derive(Debug, Default)]
struct Watch {
    /// The turn that it was at and since when that is known.
    turn: Option<(u64, Instant)>,
    /// Whether that turn has been reported as too long.
    told: bool,
    /// When the last report was.
    reported: Option<Instant>,
    /// Stalls that went without a report since.
    unreported: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Report {
    kind: Kind,
    unreported: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// For at least so long, running what has this label.
    Away(Duration, u64),
    /// It is back after about so long.
    Back(Duration),
}

impl Watch {
    /// Takes a look; a report where a turn became too long, or one that was reported ended.
    fn look(&mut self, now: Instant, look: Look, warning: Duration) -> Option<Report> {
        if let (Some((turn, since)), Some(current)) = (self.turn, look.turn)
            && turn == current
        {
            let away = now.since(since);
            if self.told || away < warning {
                return None;
            }
            if self.reported.is_some_and(|last| now.since(last) < QUIET) {
                // Told later, if it lasts that long.
                return None;
            }
            self.told = true;
            self.reported = Some(now);
            return Some(self.report(Kind::Away(away, look.label)));
        }
        let ended = self.turn.take();
        self.turn = look.turn.map(|turn| (turn, now));
        let (_, since) = ended?;
        let away = now.since(since);
        if std::mem::take(&mut self.told) {
            self.reported = Some(now);
            return Some(self.report(Kind::Back(away)));
        }
        // What was seen at one look alone is no stall, however far apart the looks were.
        if away >= warning + warning / LOOKS && self.reported.is_some_and(|last| now.since(last) < QUIET) {
            self.unreported += 1;
        }
        None
    }

    fn report(&mut self, kind: Kind) -> Report {
        Report { kind, unreported: std::mem::take(&mut self.unreported) }
    }
}

struct Told<'a> {
    stall: Stall,
    plan: &'a Plan,
}

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stall { core, report } = self.stall;
        match report.kind {
            Kind::Away(away, label) => {
                write!(f, "core {core} has been away from its loop for {} ms; it runs ", away.as_millis())?;
                match Activity::of_label(label) {
                    Activity::Connection => write!(f, "a client connection")?,
                    Activity::Accept => write!(f, "the accepting of connections")?,
                    Activity::Housekeeping => write!(f, "its housekeeping")?,
                    activity @ Activity::Route { epoch, route } => {
                        match self.plan.route(route).filter(|_| activity.is_of(self.plan.epoch)) {
                            Some(route) => write!(f, "a request of route `{}`", route.name)?,
                            None => write!(f, "a request of route {} of plan {epoch}", route.0 + 1)?,
                        }
                    }
                }
            }
            Kind::Back(away) => write!(f, "core {core} is back after about {} ms", away.as_millis())?,
        }
        match report.unreported {
            0 => Ok(()),
            count => write!(f, " ({count} more stalls were not told)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::RouteId;

    const WARNING: Duration = Duration::from_millis(100);

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(1_000_000_000 + ms * 1_000_000)
    }

    fn working(turn: u64) -> Look {
        Look { turn: Some(turn), label: 9 }
    }

    const RESTING: Look = Look { turn: None, label: 9 };

    fn away(ms: u64) -> Report {
        Report { kind: Kind::Away(Duration::from_millis(ms), 9), unreported: 0 }
    }

    #[test]
    fn a_core_that_stays_at_one_turn_is_told_once_and_told_when_it_is_back() {
        let mut watch = Watch::default();
        let looks = [
            (0, working(1)),
            (25, working(3)),
            (100, working(3)),
            (125, working(3)),
            (150, working(3)),
            (250, RESTING),
        ];
        let told: Vec<_> = looks.map(|(ms, look)| watch.look(at(ms), look, WARNING)).to_vec();
        let back = Some(Report { kind: Kind::Back(Duration::from_millis(225)), unreported: 0 });
        assert_eq!(told, [None, None, None, Some(away(100)), None, back]);
    }

    #[test]
    fn a_busy_core_and_a_resting_one_are_not_away() {
        let mut watch = Watch::default();
        for step in 0..100 {
            let look = if step % 10 < 5 { working(step * 2 + 1) } else { RESTING };
            assert_eq!(watch.look(at(step * 99), look, WARNING), None);
        }
    }

    #[test]
    fn many_stalls_are_told_once_a_second_and_counted() {
        let mut watch = Watch::default();
        let (mut reports, mut unreported) = (0, 0);
        for stall in 0..20_u64 {
            for step in 0..8 {
                if let Some(report) = watch.look(at(stall * 200 + step * 25), working(stall * 2 + 1), WARNING) {
                    reports += 1;
                    unreported += report.unreported;
                }
            }
        }
        assert!((4..=9).contains(&reports), "{reports} reports in 4 s");
        assert!(unreported >= 8, "{unreported}");
    }

    #[test]
    fn the_report_names_what_the_core_runs() {
        let text = "[listener.web]\naddress = \"0.0.0.0:1\"\n[service.hi]\ntype = \"respond\"\n\
                    [[route]]\nname = \"hello\"\npath = \"/\"\nservice = \"hi\"\n";
        let (plan, _) = crate::config::compile("x", text, 4, &mut |_, _| Err(String::new())).expect("a config");
        let told = |activity: Activity, unreported| {
            let report = Report { kind: Kind::Away(WARNING, activity.label()), unreported };
            Stall { core: 2, report }.told(&plan).to_string()
        };
        let route = Activity::route(4, RouteId(0));
        assert_eq!(told(route, 0), "core 2 has been away from its loop for 100 ms; it runs a request of route `hello`");
        assert!(told(Activity::route(3, RouteId(0)), 0).ends_with("a request of route 1 of plan 3"));
        assert!(told(Activity::Housekeeping, 3).ends_with("its housekeeping (3 more stalls were not told)"));
    }
}
