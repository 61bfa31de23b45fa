//! `ringway diff OLD NEW`: what changed between two configs.

use super::{Exit, check};
use crate::config;
use std::io::{self, Write};
use std::path::PathBuf;

/// What to compare.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// The config before
    old: PathBuf,
    /// The config after
    new: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Exit with 1 where they differ, for scripts that want them to be the same
    #[arg(long)]
    exit_code: bool,
}

/// A line for each thing that changed on `out`, and the sum of them; everything wrong with either config on `err`.
pub(super) fn run(args: &Args, out: &mut impl Write, err: &mut impl Write) -> io::Result<Exit> {
    let mut effective = Vec::new();
    for file in [&args.old, &args.new] {
        match check::load(file) {
            Ok(loaded) => effective.push(loaded.effective),
            Err(error) => write!(err, "{error}")?,
        }
    }
    let [old, new] = &*effective else { return Ok(Exit::Input) };
    let diff = config::diff(old, new);
    if args.json {
        writeln!(out, "{:#}", diff.to_json())?;
    } else {
        writeln!(out, "{}{diff}", diff.report())?;
    }
    Ok(if args.exit_code && !diff.is_empty() { Exit::Input } else { Exit::Done })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// Exit code, standard output and standard error of a comparison.
    fn compared(old: &str, new: &str, flags: (bool, bool)) -> (Exit, String, String) {
        let dir = tempfile::tempdir().unwrap();
        let [old, new] = [("old.toml", old), ("new.toml", new)].map(|(name, text)| {
            let file = dir.path().join(name);
            fs::write(&file, text).unwrap();
            file
        });
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let exit = run(&Args { old, new, json: flags.0, exit_code: flags.1 }, &mut out, &mut err).unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (exit, text(out), text(err))
    }

    const OLD: &str = "[listener.web]\naddress = \"127.0.0.1:0\"\n[service.s]\ntype = \"respond\"\n\
                       [[route]]\nname = \"a\"\npath = \"/a\"\nservice = \"s\"\n";

    #[test]
    fn the_same_config_in_other_words_does_not_differ() {
        let other = "service.s = { type = \"respond\", status = 200 }\nlistener.web.address = [\"127.0.0.1:0\"]\n\
                     route = [{ name = \"a\", path = \"/a\", service = \"s\", policies = [] }]\n\
                     timeouts = { keep_alive = \"1m\" }\n";
        assert_eq!(compared(OLD, other, (false, true)), (Exit::Done, "no change\n".to_owned(), String::new()));
    }

    #[test]
    fn what_changed_is_told_and_may_decide_the_exit_code() {
        let new = OLD.replace("type = \"respond\"", "type = \"respond\"\nstatus = 404");
        let (exit, out, _) = compared(OLD, &new, (false, false));
        assert_eq!((exit, out.as_str()), (Exit::Done, "~ service s\n    status: 200 -> 404\n~1 service\n"));
        assert_eq!(compared(OLD, &new, (false, true)).0, Exit::Input);
        let (exit, out, _) = compared(OLD, &new, (true, false));
        let json: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!((exit, &json["same"]), (Exit::Done, &serde_json::json!(false)));
        assert_eq!(json["changed"][0]["changes"], serde_json::json!([{ "key": "status", "old": 200, "new": 404 }]));
    }

    #[test]
    fn errors_of_both_configs_are_told() {
        let (exit, out, err) = compared("[cores]\nx = 1\n", "y = 1\n", (false, false));
        assert_eq!((exit, out.as_str()), (Exit::Input, ""));
        assert!(err.contains("old.toml:2:1: error") && err.contains("new.toml:1:1: error"), "{err}");
    }
}
