//! Longer lines that control says.

use ringway_runtime::net::Address;

use super::command::Answer;
use crate::plan::{self, Plan, Upstream};

/// The one line of a gateway that serves.
pub(super) fn ready_line<'a>(
    plan: &Plan,
    cores: usize,
    addresses: impl Iterator<Item = (&'a str, &'a Address)>,
) -> String {
    let engine = match plan.cores.engine {
        plan::Engine::Ring => "ring",
        plan::Engine::Glommio => "glommio",
    };
    let listeners: Vec<String> = addresses.map(|(name, address)| format!("{name} {address}")).collect();
    let s = if cores == 1 { "" } else { "s" };
    format!("ringway ready: {cores} core{s}, engine {engine}, listening on {}", listeners.join(", "))
}

/// A core turns clients away for want of descriptors.
pub(super) fn short_of_files(core: usize) -> String {
    format!(
        "core {core} is short of file descriptors: clients took all but the reserved ones of its share, and some are \
         turned away; raise the limit on open files (LimitNOFILE, ulimit -Hn)"
    )
}

/// A command names an upstream or an endpoint that the plan has not.
pub(super) fn unknown(upstream: &str, endpoint: &str, found: Option<&Upstream>) -> Answer {
    Answer::Unknown(match found {
        None => format!("the plan has no upstream \"{upstream}\""),
        Some(found) => {
            let known: Vec<&str> = found.endpoints.iter().map(|endpoint| &*endpoint.name).collect();
            format!("upstream \"{upstream}\" has no endpoint \"{endpoint}\"; it has {}", known.join(", "))
        }
    })
}
