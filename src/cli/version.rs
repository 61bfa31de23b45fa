//! `ringway version`.

use std::io::{self, Write};

use ringway_runtime::histogram::LAYOUT_VERSION;

use super::Exit;

/// What the build asks of a processor beyond what all of its architecture have.
const LEVEL: &str = if cfg!(target_feature = "avx512f") {
    ", x86-64-v4"
} else if cfg!(target_feature = "avx2") {
    ", x86-64-v3"
} else {
    ""
};

pub(super) fn run(out: &mut impl Write) -> io::Result<Exit> {
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    writeln!(out, "ringway {}", env!("CARGO_PKG_VERSION"))?;
    writeln!(out, "target: {}-{}, {profile}{LEVEL}", std::env::consts::ARCH, std::env::consts::OS)?;
    writeln!(out, "metrics file layout: {LAYOUT_VERSION}")?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_the_version_and_nothing_else() {
        let mut out = Vec::new();
        assert_eq!(run(&mut out).expect("a vector takes all"), Exit::Done);
        let text = String::from_utf8(out).expect("text");
        assert_eq!(text.lines().next(), Some(concat!("ringway ", env!("CARGO_PKG_VERSION"))));
    }
}
