//! `ringway completions SHELL`: what a shell needs to complete commands and options.

use std::io::{self, Write};

use clap_complete::Shell;

use super::Exit;

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// The shell
    shell: Shell,
}

/// Writes the script for `command`, the whole command line of this program.
pub(super) fn run(args: &Args, mut command: clap::Command, out: &mut dyn Write) -> io::Result<Exit> {
    let name = command.get_name().to_owned();
    command.set_bin_name(name);
    command.build();
    clap_complete::Generator::try_generate(&args.shell, &command, out)?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tests::{everything, whole};

    #[test]
    fn every_command_and_option_is_completed() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            run(&Args { shell }, whole(), &mut script).expect("a vector takes all");
            let script = String::from_utf8(script).expect("text");
            for (command, options) in everything() {
                let name = command.last().expect("a command has a name");
                assert!(script.contains(&**name), "{shell}: {command:?}");
                for option in options {
                    // fish is given the bare name.
                    let option = if shell == Shell::Fish { format!("-l {option}") } else { format!("--{option}") };
                    assert!(script.contains(&option), "{shell}: {command:?} {option}");
                }
            }
        }
    }
}
