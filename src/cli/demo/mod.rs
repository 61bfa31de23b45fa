//! `ringway demo`: a gateway and sample origins in one process, to try things on.

mod origin;

use std::io::{self, Write};

use super::Exit;
use crate::config;
use crate::control::{self, Control, Source};

/// The config of the demo; `ORIGIN_A`, `ORIGIN_B` and `ADDRESS` stand for addresses.
const CONFIG: &str = include_str!("demo.toml");

/// Where the demo listens.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// Where the gateway listens
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: std::net::SocketAddr,
    /// Print the config of the demo and end
    #[arg(long)]
    print_config: bool,
}

/// Runs until SIGTERM or SIGINT.
pub(super) fn run(args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<Exit> {
    let text = if args.print_config {
        filled(args, "127.0.0.1:9001", "127.0.0.1:9002")
    } else {
        let origins = [origin::start("a")?, origin::start("b")?];
        filled(args, &origins[0].to_string(), &origins[1].to_string())
    };
    if args.print_config {
        write!(out, "{text}")?;
        return Ok(Exit::Done);
    }
    let plan = match config::compile("demo.toml", &text, 1, &mut control::resolve) {
        Ok((plan, _)) => plan,
        Err(report) => {
            write!(err, "{report}")?;
            return Ok(Exit::Input);
        }
    };
    let at = format!("http://{}", args.listen);
    write!(
        out,
        "Try, in another terminal:\n\
         \x20 curl -i {at}/users/7              one of two origins, in turn; it shows what it was sent\n\
         \x20 curl -i {at}/v1/users/7           a prefix taken off, a header added\n\
         \x20 curl -i {at}/old/page             a redirect\n\
         \x20 curl -i {at}/health               a fixed response\n\
         \x20 curl -i -X POST {at}/health       405, and what would do\n\
         \x20 curl -i {at}/nowhere//else        400: an ambiguous path\n\
         \x20 ringway hdr /dev/shm/ringway-demo       latencies so far\n\
         \x20 ringway demo --print-config       the config behind it\n\
         Ctrl-C ends it.\n"
    )?;
    out.flush()?;
    match Control::new(plan, Source::Nothing).run(out, err) {
        Ok(()) => Ok(Exit::Done),
        // It was told already.
        Err(_) => Ok(Exit::Machine),
    }
}

fn filled(args: &Args, a: &str, b: &str) -> String {
    CONFIG.replace("ORIGIN_A", a).replace("ORIGIN_B", b).replace("ADDRESS", &args.listen.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_config_is_a_config() {
        let args = Args { listen: ([127, 0, 0, 1], 8080).into(), print_config: true };
        let text = filled(&args, "127.0.0.1:1", "127.0.0.1:2");
        let (plan, report) = config::compile("demo.toml", &text, 1, &mut control::resolve).unwrap();
        assert_eq!((plan.upstreams[0].endpoints.len(), report.warnings()), (2, 0), "{report}");
    }
}
