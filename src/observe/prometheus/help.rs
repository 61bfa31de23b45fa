//! What each metric means: the tables of `docs/metrics-files.md`, so that page and exposition cannot disagree.

use std::collections::HashMap;

const PAGE: &str = include_str!("../../../docs/metrics-files.md");

/// The last cell of every row that begins with a metric's name, without marks for code.
pub(super) fn texts() -> HashMap<&'static str, String> {
    let rows = PAGE.lines().filter_map(|line| {
        let cells = line.strip_prefix("| `")?.strip_suffix(" |")?;
        let (name, rest) = cells.split_once("` | ")?;
        let (_, what) = rest.rsplit_once(" | ")?;
        let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        is_name.then(|| (name, what.replace('`', "")))
    });
    rows.collect()
}
