//! The subcommands of `ringway`, one file each.

mod admin;
mod check;
mod completions;
mod demo;
mod diff;
mod doctor;
pub mod explain;
mod fmt;
mod hdr;
mod man;
mod run;
mod schema;
mod top;
mod version;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand};

/// How every command ends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// The config or another input is wrong.
    Input = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The machine or a peer failed.
    Machine = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

#[derive(Parser, Debug)]
#[command(name = "ringway", version, about, disable_help_subcommand = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

// One line a command: its arguments live in its own file.
#[derive(Subcommand, Debug)]
enum Command {
    /// Run the gateway that FILE describes, until SIGTERM
    Run(run::Args),
    /// Run a gateway with sample origins, to try things on
    Demo(demo::Args),
    /// Check a config: exit 0, or 1 with every error at once
    Check(check::Args),
    /// Tell what changed between two configs
    Diff(diff::Args),
    /// Format configs in place, comments kept
    Fmt(fmt::Args),
    /// Print the JSON Schema of the config, for editors
    Schema,
    /// Say what would become of a request, and why
    Explain(explain::Args),
    /// Print the latencies and counters of a live or dead gateway
    Hdr(hdr::Args),
    /// Show what a gateway does, live
    Top(top::Args),
    /// Look at a running gateway, and change what it runs
    Admin(admin::Args),
    /// Check this machine: what the gateway needs, what it lacks, and how to mend it
    Doctor(doctor::Args),
    /// Print what a shell needs to complete commands and options
    Completions(completions::Args),
    /// Write the manual pages
    Man(man::Args),
    /// Print the version and what it was built for
    Version,
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Where even the message cannot be written there is nobody left to tell.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Done.into() };
        }
    };
    // Not locked: a core that panics must be able to say so while a command runs.
    let mut out = io::stdout();
    let mut err = io::stderr();
    let exit = match cli.command {
        Command::Demo(args) => demo::run(&args, &mut out, &mut err),
        Command::Run(args) => run::run(&args, &mut out, &mut err),
        Command::Check(args) => check::run(&args, &mut out, &mut err),
        Command::Diff(args) => diff::run(&args, &mut out, &mut err),
        Command::Fmt(args) => fmt::run(&args, &mut out, &mut err),
        Command::Schema => schema::run(&mut out),
        Command::Explain(args) => explain::run(&args, &mut out, &mut err),
        Command::Hdr(args) => hdr::run(&args, &mut out, &mut err),
        Command::Top(args) => top::run(&args, &mut out, &mut err),
        Command::Admin(args) => admin::run(&args, &mut out, &mut err),
        Command::Doctor(args) => doctor::run(&args, &mut out, &mut err),
        Command::Completions(args) => completions::run(&args, Cli::command(), &mut out),
        Command::Man(args) => man::run(&args, Cli::command(), &mut err),
        Command::Version => version::run(&mut out),
    };
    finish(exit.and_then(|exit| out.flush().map(|()| exit)))
}

/// Reads an interval of the command line: a number with `ms`, `s`, `m` or `h`, such as `1s`.
fn interval(text: &str) -> Result<Duration, String> {
    let wrong = || "an interval such as 500ms, 1s or 5m is wanted".to_owned();
    let (number, unit) =
        text.split_at_checked(text.find(|char: char| !char.is_ascii_digit()).unwrap_or(0)).ok_or_else(wrong)?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    let number: u32 = number.parse().map_err(|_| wrong())?;
    let interval = Duration::from_millis(u64::from(number) * milliseconds);
    if interval.is_zero() { Err(wrong()) } else { Ok(interval) }
}

/// A reader that goes away, as `head` does, is no failure; a full disk behind standard output is one.
fn finish(exit: io::Result<Exit>) -> ExitCode {
    match exit {
        Ok(exit) => exit.into(),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done.into(),
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: could not write the output: {error}");
            Exit::Machine.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole command line.
    pub(super) fn whole() -> clap::Command {
        Cli::command()
    }

    /// Every command that is not hidden, as the words that call it, with the names of its options.
    pub(super) fn everything() -> Vec<(Vec<String>, Vec<String>)> {
        let mut whole = whole();
        whole.build();
        let mut all = Vec::new();
        let mut commands = vec![(Vec::new(), whole)];
        while let Some((mut words, command)) = commands.pop() {
            words.push(command.get_name().to_owned());
            let under = command.get_subcommands().filter(|under| !under.is_hide_set());
            commands.extend(under.map(|under| (words.clone(), under.clone())));
            let options = command.get_arguments().filter(|option| !option.is_positional() && !option.is_hide_set());
            all.push((words, options.filter_map(|option| option.get_long().map(str::to_owned)).collect()));
        }
        assert!(all.len() > 5, "{all:?}");
        all
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_interval_has_a_unit_and_is_longer_than_none() {
        assert_eq!(interval("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(interval("2m"), Ok(Duration::from_mins(2)));
        for wrong in ["", "1", "s", "0s", "-1s", "1.5s", "1 s", "99999999999s", "1d"] {
            assert!(interval(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_not_a_command_is_wrong_usage() {
        for line in [&["ringway", "fly"][..], &["ringway", "hdr"], &["ringway", "version", "extra"]] {
            assert!(Cli::try_parse_from(line).is_err_and(|error| error.use_stderr()), "{line:?}");
        }
    }
}
