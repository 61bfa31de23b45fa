//! `ringway man DIR`: the manual pages, made of the same definition as the command line.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::Exit;

const MANUAL: &str = "Ringway";

/// What the manual says beyond the commands and options: heading, and paragraphs of a term and its meaning.
const CLOSING: [(&str, &[(&str, &str)]); 5] = [
    (
        "EXIT STATUS",
        &[
            ("0", "Done."),
            ("1", "The config or another input is wrong."),
            ("2", "The command line is wrong."),
            ("3", "The machine or a peer failed."),
        ],
    ),
    ("SIGNALS", &[("SIGTERM, SIGINT", "The gateway drains, then ends. A second one ends it at once, with 3.")]),
    (
        "ENVIRONMENT",
        &[
            (
                "NOTIFY_SOCKET",
                "The service manager's socket, see sd_notify(3): it is told that the gateway is ready or drains.",
            ),
            (
                "WATCHDOG_USEC, WATCHDOG_PID",
                "The service manager is pinged within this time, as long as every core's loop turns.",
            ),
        ],
    ),
    (
        "FILES",
        &[
            ("/etc/ringway/ringway.toml", "The config of the packaged service."),
            ("/run/ringway/metrics", "Its counters and histograms, for ringway-hdr(1)."),
            ("/usr/share/doc/ringway", "The documentation: every key of the config, every limit, recipes."),
        ],
    ),
    ("SEE ALSO", &[("systemctl(1), journalctl(1), systemd.service(5)", "Running it as a service: ringway.service.")]),
];

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// Where the pages go; made if it is not there
    dir: PathBuf,
}

/// Writes a page for `command`, the whole command line of this program, and one for each of its commands.
pub(super) fn run(args: &Args, command: Command, err: &mut dyn Write) -> io::Result<Exit> {
    let written = fs::create_dir_all(&args.dir)
        .and_then(|()| pages(command)?.into_iter().try_for_each(|(name, page)| fs::write(args.dir.join(name), page)));
    if let Err(error) = written {
        writeln!(err, "error: cannot write the manual to {}: {error}", args.dir.display())?;
        return Ok(Exit::Machine);
    }
    Ok(Exit::Done)
}

/// File names and what is in them.
fn pages(mut command: Command) -> io::Result<Vec<(String, Vec<u8>)>> {
    command.build();
    let mut pages = Vec::new();
    let mut commands = vec![(command, &CLOSING[..])];
    while let Some((command, closing)) = commands.pop() {
        commands.extend(
            command.get_subcommands().filter(|under| !under.is_hide_set()).map(|under| (under.clone(), &[][..])),
        );
        pages.push(page(command, closing)?);
    }
    Ok(pages)
}

fn page(command: Command, closing: &[(&str, &[(&str, &str)])]) -> io::Result<(String, Vec<u8>)> {
    let man = Man::new(command).manual(MANUAL).source(format!("Ringway {}", env!("CARGO_PKG_VERSION")));
    let mut page = Vec::new();
    man.render(&mut page)?;
    let mut roff = Roff::default();
    for (heading, paragraphs) in closing {
        roff.control("SH", [*heading]);
        for (term, meaning) in *paragraphs {
            roff.control("TP", []);
            roff.text([bold(*term)]);
            roff.text([roman(*meaning)]);
        }
    }
    roff.to_writer(&mut page)?;
    Ok((man.get_filename(), page))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tests::{everything, whole};

    #[test]
    fn every_command_has_a_page_with_every_option() {
        let dir = tempfile::tempdir().expect("a directory");
        let args = Args { dir: dir.path().join("new") };
        assert_eq!(run(&args, whole(), &mut Vec::new()).expect("a vector takes all"), Exit::Done);
        for (command, options) in everything() {
            let page = fs::read_to_string(args.dir.join(format!("{}.1", command.join("-")))).expect("a page");
            assert!(page.contains(".SH NAME") && page.contains(".SH SYNOPSIS"), "{command:?}");
            for option in options {
                assert!(page.contains(&format!("\\-\\-{}", option.replace('-', "\\-"))), "{command:?} --{option}");
            }
        }
        assert!(args.dir.join("ringway-admin-reload.1").exists(), "an action of a command has a page, too");
        let main = fs::read_to_string(args.dir.join("ringway.1")).expect("a page");
        for (heading, paragraphs) in CLOSING {
            assert!(main.contains(heading), "{heading}");
            assert!(!paragraphs.is_empty(), "{heading}");
        }
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("file");
        fs::write(&file, "").expect("a file");
        let mut err = Vec::new();
        assert_eq!(run(&Args { dir: file.clone() }, whole(), &mut err).expect("a vector takes all"), Exit::Machine);
        let err = String::from_utf8(err).expect("text");
        assert!(err.contains(&file.display().to_string()), "{err}");
    }
}
