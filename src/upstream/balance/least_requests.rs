//! Least requests: the endpoint with the fewest requests under way for its weight, those of all cores counted.

use super::random::Draw;
use super::{View, two_choices};

/// Where there are more than `choices` endpoints, the least of so many draws: with 16 of them it is rarely another one.
pub(super) fn pick(draw: &Draw, choices: u32, view: &View<'_>) -> Option<u32> {
    let random = view.random();
    if draw.count() > choices as usize {
        let load = |at: u32| (u64::from(view.requests(at)), u64::from(view.weight(at)));
        let mut best = draw.draw_usable(random, |at| view.is_usable(at))?;
        let mut least = load(best);
        for _ in 1..choices {
            // There is none with fewer than none.
            if least.0 == 0 {
                break;
            }
            let Some(other) = draw.draw(random).filter(|&at| view.is_usable(at)) else { continue };
            let more = load(other);
            if more.0 * least.1 < least.0 * more.1 {
                (best, least) = (other, more);
            }
        }
        return Some(best);
    }
    // Equals share by weight.
    let (mut best, mut weights) = (None, 0);
    for at in (0..draw.count()).filter_map(|at| draw.nth(at)).filter(|&at| view.is_usable(at)) {
        let weight = view.weight(at) as usize;
        match best {
            Some(least) if two_choices::is_less(view, least, at) => {}
            Some(least) if !two_choices::is_less(view, at, least) => {
                weights += weight;
                if random.below(weights) < weight {
                    best = Some(at);
                }
            }
            _ => (best, weights) = (Some(at), weight),
        }
    }
    best
}
