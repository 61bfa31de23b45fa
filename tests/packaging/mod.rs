//! What is built around the gateway: the service manager's protocol, the seccomp profile, the package.

mod notify;
mod package;
mod seccomp;

use std::process::Command;

/// A file of the source.
fn source(path: &str) -> String {
    format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))
}

/// Whether `program` is there; says so where it is not, as the test then shows nothing.
fn is_there(program: &str) -> bool {
    let there = Command::new("sh").args(["-c", "command -v \"$0\" >/dev/null", program]).status();
    let there = there.is_ok_and(|status| status.success());
    if !there {
        eprintln!("left out: there is no {program} (tools/setup installs it)");
    }
    there
}
