//! `ringway check FILE`: says everything that is wrong with a config, or that nothing is.

use super::Exit;
use crate::config;
use crate::plan::Plan;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// Arguments of `check`.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// The config to check
    file: PathBuf,
}

/// One line on `out` when the config can be used; everything wrong with it on `err`. Host names are not resolved: a
/// config can be checked on a machine that does not know them.
pub(super) fn run(args: &Args, out: &mut impl Write, err: &mut impl Write) -> io::Result<Exit> {
    let file = args.file.display();
    match load(&args.file) {
        Ok(config::Loaded { plan, report, .. }) => {
            write!(err, "{report}")?;
            writeln!(out, "{file}: ok: {}{}", summary(&plan), warnings(report.warnings()))?;
            Ok(Exit::Done)
        }
        Err(config::LoadError::Config(report)) => {
            let errors = count(report.errors(), "error");
            writeln!(err, "{report}\n{file}: {errors}{}", warnings(report.warnings()))?;
            Ok(Exit::Input)
        }
        Err(error @ config::LoadError::File(_)) => {
            write!(err, "{error}")?;
            Ok(Exit::Input)
        }
    }
}

/// Loads a config without resolving host names.
pub(super) fn load(file: &Path) -> Result<config::Loaded, config::LoadError> {
    let mut names = Vec::new();
    config::load(file, 1, &mut |host, port| Ok(vec![stand_in(&mut names, host, port)]))
}

/// What stands for the address of a name that is not looked up: another one of `0.0.0.0/8` for each name, so that a name
/// that appears twice is still seen.
fn stand_in(names: &mut Vec<String>, host: &str, port: u16) -> SocketAddr {
    let known = names.iter().position(|name| name.eq_ignore_ascii_case(host));
    let index = known.unwrap_or_else(|| {
        names.push(host.to_owned());
        names.len() - 1
    });
    SocketAddr::from((Ipv4Addr::from_bits(index as u32 & 0x00ff_ffff), port))
}

fn summary(plan: &Plan) -> String {
    let listeners = count(plan.listeners.len(), "listener");
    let upstreams = count(plan.upstreams.len(), "upstream");
    format!("{listeners}, {upstreams}, {}", count(plan.routes.len(), "route"))
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn warnings(number: usize) -> String {
    if number == 0 { String::new() } else { format!(", {}", count(number, "warning")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    /// What a shell would show: exit code, standard output, standard error.
    fn checked(file: &Path) -> String {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let exit = run(&Args { file: file.to_owned() }, &mut out, &mut err).unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        format!("exit {}\n{}{}", exit as u8, text(out), text(err))
    }

    /// Each `tests/check/NAME.toml` has beside it, in `NAME.txt`, what `check` says of it. With `RINGWAY_BLESS=1` the
    /// files are written anew, to be read before they are committed.
    #[test]
    fn each_bad_config_gets_its_errors() {
        // What is said of these is that everybody may read them, whatever those who check the tree out leave others.
        for key in ["other", "server"] {
            let key = format!("tests/tls/fixed/{key}.key");
            fs::set_permissions(key, fs::Permissions::from_mode(0o644)).unwrap();
        }
        let mut seen = 0;
        for entry in fs::read_dir("tests/check").unwrap() {
            let file = entry.unwrap().path();
            if file.extension().is_none_or(|extension| extension != "toml") {
                continue;
            }
            seen += 1;
            let said = checked(&file);
            let golden = file.with_extension("txt");
            if std::env::var_os("RINGWAY_BLESS").is_some() {
                fs::write(&golden, &said).unwrap();
            }
            let wanted = fs::read_to_string(&golden).unwrap_or_default();
            assert!(said == wanted, "{} differs; it says now:\n{said}", golden.display());
        }
        assert!(seen >= 18, "{seen} configs found");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_wrong_input() {
        let said = checked(Path::new("tests/check/absent.toml"));
        assert!(said.starts_with("exit 1\ntests/check/absent.toml: error: cannot be read: "), "{said}");
    }

    #[test]
    fn bytes_that_are_no_text_are_wrong_input() {
        let file = std::env::temp_dir().join(format!("ringway-check-{}.toml", std::process::id()));
        fs::write(&file, b"a = 1\n\xff").unwrap();
        let said = checked(&file);
        fs::remove_file(&file).unwrap();
        assert!(said.starts_with("exit 1\n") && said.contains("byte 7 is not UTF-8"), "{said}");
    }
}
