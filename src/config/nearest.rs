//! The known name nearest to a mistyped one.

/// The most alike of `known`, when it is alike enough to be meant: at most a third of its letters differ.
pub(crate) fn nearest<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let fold = |text: &str| text.to_lowercase().replace('_', "-");
    let name = fold(name);
    let scored = known.into_iter().map(|candidate| (distance(&name, &fold(candidate)), candidate));
    let (distance, best) = scored.min_by_key(|(distance, _)| *distance)?;
    (distance <= (best.chars().count().max(name.chars().count()) / 3).max(1)).then_some(best)
}

/// Insertions, removals, replacements and swaps of neighbors that turn `a` into `b` (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 0..a.len() {
        let mut row = vec![i + 1];
        for j in 0..b.len() {
            let mut best = (last[j + 1] + 1).min(row[j] + 1).min(last[j] + usize::from(a[i] != b[j]));
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        for (a, b, wanted) in
            [("", "", 0), ("abc", "", 3), ("kitten", "sitting", 3), ("ab", "ba", 1), ("héad", "head", 1)]
        {
            assert_eq!(distance(a, b), wanted, "{a} {b}");
            assert_eq!(distance(b, a), wanted, "{b} {a}");
        }
    }

    #[test]
    fn only_a_name_that_is_alike_is_nearest() {
        let known = ["address", "backlog", "via"];
        assert_eq!(nearest("adress", known), Some("address"));
        assert_eq!(nearest("BACKLOG", known), Some("backlog"));
        assert_eq!(nearest("vai", known), Some("via"));
        assert_eq!(nearest("timeout", known), None);
        assert_eq!(nearest("x", []), None);
    }
}
