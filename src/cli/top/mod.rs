//! `ringway top DIR|FILE`: what a gateway does, live. It reads the metrics files, which costs the data cores nothing.

mod screen;
mod sections;

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ringway_runtime::clock::Instant;
use ringway_runtime::histogram::State;

use self::figures::Figures;
use self::sections::{Sort, sections, summary, to_json};
use super::hdr::push_table;
use super::{Exit, check};
use crate::config::LoadError;
use crate::observe::{Run, figures, read_run};

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// The `metrics_dir` of the gateway, or its config
    target: PathBuf,
    /// How long figures are gathered for each display
    #[arg(long, value_name = "INTERVAL", default_value = "1s", value_parser = super::interval)]
    interval: Duration,
    /// Print the figures of one interval and end
    #[arg(long)]
    once: bool,
    /// Print the figures of one interval as JSON and end
    #[arg(long)]
    json: bool,
}

/// What is on the screen.
#[derive(Debug, Default)]
struct View {
    figures: Option<Figures>,
    /// Why there are no newer figures.
    problem: Option<String>,
    sort: Sort,
    paused: bool,
    color: bool,
}

pub(super) fn run(args: &Args, out: &mut impl Write, err: &mut impl Write) -> io::Result<Exit> {
    let dir = match metrics_dir(&args.target) {
        Ok(dir) => dir,
        Err(why) => {
            writeln!(err, "{why}")?;
            return Ok(Exit::Input);
        }
    };
    if args.once || args.json {
        return once(&dir, args, out, err);
    }
    if !io::stdout().is_terminal() {
        writeln!(err, "error: standard output is no terminal; --once and --json print one interval")?;
        return Ok(Exit::Usage);
    }
    if let Err(none) = read_run(&dir) {
        none.to_string().lines().try_for_each(|line| writeln!(err, "error: {line}"))?;
        return Ok(Exit::Input);
    }
    let mut terminal = ratatui::try_init()?;
    let shown = show(&dir, args.interval, &mut terminal);
    ratatui::restore();
    shown.map(|()| Exit::Done)
}

/// A directory is one; of a config it is its `metrics_dir`.
fn metrics_dir(target: &Path) -> Result<PathBuf, String> {
    if !target.is_file() {
        return Ok(target.to_owned());
    }
    match check::load(target) {
        Ok(loaded) => loaded.plan.cores.metrics_dir.ok_or_else(|| {
            format!("error: {}: no `metrics_dir` under [cores]: its metrics stay in memory", target.display())
        }),
        Err(LoadError::File(why)) => Err(why),
        Err(LoadError::Config(report)) => Err(report.to_string()),
    }
}

/// One interval of a gateway that runs; all of a run that is over.
fn once(dir: &Path, args: &Args, out: &mut impl Write, err: &mut impl Write) -> io::Result<Exit> {
    let mut look = || match read_run(dir) {
        Ok(run) => Ok(Some((Instant::now(), run))),
        Err(none) => none.to_string().lines().try_for_each(|line| writeln!(err, "error: {line}")).map(|()| None),
    };
    let Some(mut last) = look()? else { return Ok(Exit::Input) };
    let mut before = None;
    if last.1.state() == State::Running {
        std::thread::sleep(args.interval);
        let Some(newer) = look()? else { return Ok(Exit::Input) };
        before = Some(std::mem::replace(&mut last, newer));
    }
    let Some(figures) = Figures::between(before.as_ref(), last.0, &last.1) else { return Ok(Exit::Input) };
    if args.json {
        writeln!(out, "{:#}", to_json(&figures, Sort::default()))?;
        return Ok(Exit::Done);
    }
    write!(out, "{}", to_text(&figures))?;
    Ok(Exit::Done)
}

fn to_text(figures: &Figures) -> String {
    let mut text = summary(figures).join("\n") + "\n";
    for section in sections(figures, Sort::default()) {
        if section.rows.is_empty() {
            continue;
        }
        let head = section.head.iter().map(|&name| name.to_owned()).collect();
        let rows: Vec<Vec<String>> = std::iter::once(head).chain(section.rows).collect();
        text.push('\n');
        push_table(&mut text, &rows);
    }
    text
}

/// Until `q`. What is read anew each interval is compared with the look before.
fn show(dir: &Path, interval: Duration, terminal: &mut ratatui::DefaultTerminal) -> io::Result<()> {
    // https://no-color.org: any value but an empty one.
    let color = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let mut view = View { color, ..View::default() };
    let mut before: Option<(Instant, Run)> = None;
    let mut next = Instant::now();
    loop {
        let now = Instant::now();
        if now >= next {
            next = now + interval;
            if !view.paused {
                view.update(&mut before, dir);
            }
        }
        terminal.draw(|frame| screen::draw(frame, &view))?;
        // A key or another size of the terminal draws at once.
        if event::poll(next.since(Instant::now()))?
            && let Event::Key(key) = event::read()?
            && key.kind == KeyEventKind::Press
            && !view.key(key)
        {
            return Ok(());
        }
    }
}

impl View {
    fn update(&mut self, before: &mut Option<(Instant, Run)>, dir: &Path) {
        match read_run(dir) {
            Ok(run) => {
                let now = Instant::now();
                self.problem = None;
                // The last figures of a run that is over stay; what came after them is only a part of an interval.
                if run.state() != State::Running
                    && let Some(last) = self.figures.as_mut().filter(|last| last.is_of(&run))
                {
                    last.state = run.state();
                    return;
                }
                self.figures = Figures::between(before.as_ref(), now, &run);
                *before = Some((now, run));
            }
            Err(none) => self.problem = Some(format!("cannot read: {none}")),
        }
    }

    /// False when the user has seen enough.
    fn key(&mut self, key: KeyEvent) -> bool {
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return false,
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return false,
            KeyCode::Char('s') => self.sort = self.sort.next(),
            KeyCode::Char('p' | ' ') => self.paused = !self.paused,
            _ => {}
        }
        true
    }
}

#[cfg(test)]
mod tests;
