//! Whose turn it is to send data (RFC 9218 section 10).

use std::collections::VecDeque;

use super::priority::Priority;
use super::streams::Stream;

const LEVELS: usize = 8;

/// The streams that have data and window: the most urgent first; among equals, those that are of no use in parts one
/// after the other in the order of their requests, and those that are in turns.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    levels: [VecDeque<(Stream, bool)>; LEVELS],
}

impl Schedule {
    pub(super) fn push(&mut self, stream: Stream, priority: Priority) {
        let Some(level) = self.levels.get_mut(usize::from(priority.urgency)) else {
            return;
        };
        let at = if priority.is_incremental {
            level.len()
        } else {
            let later = |&(other, turns): &(Stream, bool)| !turns && other.id() > stream.id();
            level.iter().position(later).unwrap_or(level.len())
        };
        level.insert(at, (stream, priority.is_incremental));
    }

    pub(super) fn remove(&mut self, stream: Stream) {
        for level in &mut self.levels {
            level.retain(|&(other, _)| other != stream);
        }
    }

    /// Whose turn it is.
    pub(super) fn next(&self) -> Option<Stream> {
        self.levels.iter().find_map(|level| level.front()).map(|&(stream, _)| stream)
    }

    /// A stream had its turn: one that shares goes to the end.
    pub(super) fn served(&mut self, stream: Stream) {
        for level in &mut self.levels {
            if level.front() == Some(&(stream, true)) {
                level.rotate_left(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urgent_ones_go_first_whole_ones_in_order_and_the_rest_in_turns() {
        let stream = |id| Stream { id, slot: id };
        let priority = |urgency, is_incremental| Priority { urgency, is_incremental };
        let mut schedule = Schedule::default();
        schedule.push(stream(1), priority(3, false));
        schedule.push(stream(9), priority(1, true));
        schedule.push(stream(7), priority(1, true));
        schedule.push(stream(5), priority(3, false));
        schedule.push(stream(3), priority(3, false));
        let mut turns = Vec::new();
        for turn in 0..8 {
            let Some(next) = schedule.next() else { break };
            turns.push(next.id());
            schedule.served(next);
            if turn >= 3 {
                schedule.remove(next);
            }
        }
        assert_eq!(turns, [9, 7, 9, 7, 9, 1, 3, 5]);
        assert_eq!(schedule.next(), None);
    }
}
