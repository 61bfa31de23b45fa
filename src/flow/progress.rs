//! Who is slow: the time each side had, and whether it kept to the least rate.

use std::time::Duration;

use ringway_runtime::clock::Instant;

use crate::plan::Timeouts;

/// Watches one direction of a client's connection: waiting is counted only while the client is what is waited for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    bytes: u64,
    waited: Duration,
    /// When the current wait began.
    since: Option<Instant>,
}

/// Which bound comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    Idle(Instant),
    Rate(Instant),
}

impl Progress {
    /// Bytes moved: what is waited for next is counted anew.
    pub(crate) fn moved(&mut self, bytes: u64, now: Instant) {
        self.bytes += bytes;
        self.pause(now);
    }

    /// The client is not what is waited for.
    pub(crate) fn pause(&mut self, now: Instant) {
        if let Some(since) = self.since.take() {
            self.waited += now.since(since);
        }
    }

    /// The client is waited for from now on, or still. Returns by when something must come.
    pub(crate) fn wait(&mut self, now: Instant, idle: Duration, timeouts: &Timeouts) -> Bound {
        let since = *self.since.get_or_insert(now);
        let idle = since + idle;
        let Some(rate) = timeouts.min_rate.filter(|&rate| rate > 0) else { return Bound::Idle(idle) };
        // The wait at which the average would fall below the least rate.
        let allowed = timeouts.min_rate_grace + Duration::from_secs_f64(self.bytes as f64 / rate as f64);
        let rate = since + allowed.saturating_sub(self.waited);
        if rate < idle { Bound::Rate(rate) } else { Bound::Idle(idle) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    fn timeouts() -> Timeouts {
        Timeouts { min_rate: Some(100), min_rate_grace: Duration::from_secs(5), ..Timeouts::default() }
    }

    const IDLE: Duration = Duration::from_secs(30);

    #[test]
    fn a_trickle_runs_into_the_rate_though_it_never_idles() {
        let mut progress = Progress::default();
        let mut now = 0;
        let failed = loop {
            match progress.wait(at(now), IDLE, &timeouts()) {
                Bound::Rate(by) if by <= at(now + 1) => break now,
                _ => {}
            }
            now += 1;
            progress.moved(10, at(now));
        };
        // 10 bytes a second against 100: five seconds of grace and a tenth of the time so far.
        assert_eq!(failed, 5);
    }

    #[test]
    fn time_the_client_is_not_waited_for_does_not_count() {
        let mut progress = Progress::default();
        assert_eq!(progress.wait(at(0), IDLE, &timeouts()), Bound::Rate(at(5)));
        progress.moved(0, at(2));
        progress.pause(at(1000));
        assert_eq!(progress.wait(at(1000), IDLE, &timeouts()), Bound::Rate(at(1003)));
    }

    #[test]
    fn many_bytes_leave_only_the_idle_bound() {
        let mut progress = Progress::default();
        progress.moved(1 << 20, at(0));
        assert_eq!(progress.wait(at(1), IDLE, &timeouts()), Bound::Idle(at(31)));
    }
}
