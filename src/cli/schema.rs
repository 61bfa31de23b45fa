//! `ringway schema`: the JSON Schema of the config, for editors.

use super::Exit;
use crate::config;
use std::io::{self, Write};

pub(super) fn run(out: &mut impl Write) -> io::Result<Exit> {
    writeln!(out, "{:#}", config::schema())?;
    Ok(Exit::Done)
}
