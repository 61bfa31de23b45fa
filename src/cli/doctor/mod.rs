//! `ringway doctor`: what this machine has and lacks, and how to mend it.

mod checks;
mod listeners;
mod surroundings;

use std::io::{self, Write};
use std::path::PathBuf;

use serde_json::{Value as Json, json};

use super::Exit;
use crate::config;
use crate::control::resolve;
use checks::Machine;

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// A config: also look whether its listeners' addresses are free and its cores get their CPUs
    file: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// How bad a finding is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Level {
    /// As it should be.
    Ok,
    /// The gateway runs, but slower or with less than it could.
    Warn,
    /// The gateway will not run.
    Fail,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Level::Ok => "ok",
            Level::Warn => "warn",
            Level::Fail => "fail",
        }
    }
}

/// One thing looked at. Where it is not as it should be, `why` says what it costs and `fix` what to do.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Finding {
    check: &'static str,
    level: Level,
    what: String,
    why: &'static str,
    fix: &'static str,
}

impl Finding {
    fn ok(check: &'static str, what: impl Into<String>) -> Finding {
        Finding { check, level: Level::Ok, what: what.into(), why: "", fix: "" }
    }

    fn warn(check: &'static str, what: impl Into<String>, why: &'static str, fix: &'static str) -> Finding {
        Finding { check, level: Level::Warn, what: what.into(), why, fix }
    }

    fn fail(check: &'static str, what: impl Into<String>, why: &'static str, fix: &'static str) -> Finding {
        Finding { check, level: Level::Fail, what: what.into(), why, fix }
    }
}

pub(super) fn run(args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<Exit> {
    let plan = match &args.file {
        None => None,
        Some(file) => match config::load(file, 1, &mut resolve) {
            Ok(loaded) => Some(loaded.plan),
            Err(error) => {
                write!(err, "{error}")?;
                return Ok(Exit::Input);
            }
        },
    };
    let mut findings = Machine::this().findings(plan.as_ref());
    findings.extend(plan.iter().flat_map(listeners::findings));
    report(&findings, args.json, out)
}

fn report(findings: &[Finding], json: bool, out: &mut dyn Write) -> io::Result<Exit> {
    if json {
        writeln!(out, "{:#}", to_json(findings))?;
    } else {
        write_text(findings, out)?;
    }
    let failed = findings.iter().any(|finding| finding.level == Level::Fail);
    Ok(if failed { Exit::Machine } else { Exit::Done })
}

fn write_text(findings: &[Finding], out: &mut dyn Write) -> io::Result<()> {
    let width = findings.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
    for Finding { check, level, what, why, fix } in findings {
        writeln!(out, "{:<4}  {check:<width$}  {what}", level.name())?;
        if *level != Level::Ok {
            writeln!(out, "      {:<width$}  why: {why}", "")?;
            writeln!(out, "      {:<width$}  fix: {fix}", "")?;
        }
    }
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    writeln!(out, "\n{} ok, {} to improve, {} to mend", count(Level::Ok), count(Level::Warn), count(Level::Fail))
}

fn to_json(findings: &[Finding]) -> Json {
    let worst = findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok);
    let findings: Vec<Json> = (findings.iter())
        .map(|Finding { check, level, what, why, fix }| {
            json!({ "check": check, "level": level.name(), "what": what, "why": why, "fix": fix })
        })
        .collect();
    json!({ "level": worst.name(), "findings": findings })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(findings: &[Finding], json: bool) -> (Exit, String) {
        let mut out = Vec::new();
        let exit = report(findings, json, &mut out).expect("a vector takes all");
        (exit, String::from_utf8(out).expect("text"))
    }

    fn sample() -> Vec<Finding> {
        vec![
            Finding::ok("kernel", "6.18"),
            Finding::warn("thp", "always", "stalls", "echo madvise"),
            Finding::fail("io_uring", "refused", "no engine", "allow it"),
        ]
    }

    #[test]
    fn only_what_is_amiss_has_a_reason_and_a_fix() {
        let expected = "ok    kernel    6.18\n\
                        warn  thp       always\n                why: stalls\n                fix: echo madvise\n\
                        fail  io_uring  refused\n                why: no engine\n                fix: allow it\n\
                        \n1 ok, 1 to improve, 1 to mend\n";
        assert_eq!(told(&sample(), false), (Exit::Machine, expected.to_owned()));
    }

    #[test]
    fn a_warning_alone_is_no_failure() {
        assert_eq!(told(&sample()[..2], false).0, Exit::Done);
        assert_eq!(told(&sample()[..2], true).0, Exit::Done);
    }

    #[test]
    fn a_wrong_config_is_told_as_check_tells_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("ringway.toml");
        std::fs::write(&file, "[listener.a]\nadress = \"127.0.0.1:1\"\n").expect("a file");
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let args = Args { file: Some(file.clone()), json: false };
        assert_eq!(run(&args, &mut out, &mut err).expect("vectors take all"), Exit::Input);
        let err = String::from_utf8(err).expect("text");
        assert!(err.contains(&format!("{}:2:1: error: ", file.display())), "{err}");
        assert!(out.is_empty());
    }

    #[test]
    fn json_has_the_worst_level_and_every_finding() {
        let (exit, text) = told(&sample(), true);
        let found: Json = serde_json::from_str(&text).expect("JSON");
        assert_eq!((exit, &found["level"]), (Exit::Machine, &json!("fail")));
        let thp = json!({"check": "thp", "level": "warn", "what": "always", "why": "stalls", "fix": "echo madvise"});
        assert_eq!(found["findings"][1], thp);
    }
}
