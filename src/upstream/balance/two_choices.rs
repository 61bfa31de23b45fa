//! Power of two choices (Mitzenmacher, 2001): of two endpoints drawn by weight, the one with fewer requests under way.
//! Nearly as even as asking all of them, at the cost of two looks.

use super::View;
use super::random::Draw;

pub(super) fn pick(draw: &Draw, view: &View<'_>) -> Option<u32> {
    let (first, second) = pair(draw, view)?;
    Some(if is_less(view, second, first) { second } else { first })
}

/// Two endpoints drawn by weight, the same one twice where draws do not soon find another.
pub(super) fn pair(draw: &Draw, view: &View<'_>) -> Option<(u32, u32)> {
    const TRIES: usize = 4;
    let random = view.random();
    let first = draw.draw_usable(random, |at| view.is_usable(at))?;
    let other = |_| draw.draw(random).filter(|&at| at != first && view.is_usable(at));
    Some((first, (0..TRIES).find_map(other).unwrap_or(first)))
}

/// Whether the first has less to do for its weight.
pub(super) fn is_less(view: &View<'_>, one: u32, other: u32) -> bool {
    let load = |of: u32, by: u32| u64::from(view.requests(of)) * u64::from(view.weight(by));
    load(one, other) < load(other, one)
}
