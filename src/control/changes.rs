//! What differs between two plans, on one line.

use std::collections::HashMap;

use crate::plan::Plan;

/// As in `+2 routes, ~1 upstream`.
pub(super) fn changes(old: &Plan, new: &Plan) -> String {
    let mut parts = Vec::new();
    let mut kind = |what: &str, old: Vec<(&str, String)>, new: Vec<(&str, String)>| {
        let before: HashMap<&str, &String> = old.iter().map(|(name, text)| (*name, text)).collect();
        let added = new.iter().filter(|(name, _)| !before.contains_key(name)).count();
        let removed = before.len() - (new.len() - added);
        let changed = new.iter().filter(|(name, text)| before.get(name).is_some_and(|before| *before != text)).count();
        for (sign, count) in [('+', added), ('-', removed), ('~', changed)] {
            if count > 0 {
                parts.push(format!("{sign}{count} {what}{}", if count == 1 { "" } else { "s" }));
            }
        }
    };
    macro_rules! all {
        ($field:ident, $what:literal) => {
            kind(
                $what,
                old.$field.iter().map(|one| (&*one.name, format!("{one:?}"))).collect(),
                new.$field.iter().map(|one| (&*one.name, format!("{one:?}"))).collect(),
            )
        };
    }
    all!(listeners, "listener");
    all!(upstreams, "upstream");
    all!(routes, "route");
    if parts.is_empty() { "no change".to_owned() } else { parts.join(", ") }
}
