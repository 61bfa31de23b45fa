//! The metrics files of one run of the gateway, live or dead.

use std::fmt;
use std::path::{Path, PathBuf};

use ringway_runtime::histogram::{Found, MergeError, Process, ReadError, Snapshot, State, read_all};

/// What a directory holds of the run that started last. Files of another run would add up what never ran together.
#[derive(Debug, Default)]
pub struct Run {
    /// One snapshot a core, in their order; at least one.
    pub cores: Vec<Snapshot>,
    /// What processes counted that handed the run over to this one, as far as they have not been folded.
    pub earlier: Vec<Snapshot>,
    /// Files that could not be read.
    pub unread: Vec<ReadError>,
    /// Cores whose file is of an earlier run, with that run's pid.
    pub left_out: Vec<(u32, u32)>,
}

/// Why a directory has no run to show.
#[derive(Debug)]
pub enum NoRun {
    /// The directory cannot be read.
    Directory(ReadError),
    /// It has no metrics files at all.
    Empty(PathBuf),
    /// It has some, but none of them can be read.
    Unread(Vec<ReadError>),
}

impl fmt::Display for NoRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoRun::Directory(error) => error.fmt(f),
            NoRun::Empty(dir) => {
                let dir = dir.display();
                write!(f, "{dir}: no metrics files (core-N.metrics); is this the gateway's metrics_dir?")
            }
            NoRun::Unread(errors) => {
                let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
                f.write_str(&errors.join("\n"))
            }
        }
    }
}

/// Reads the metrics files of a directory.
pub fn read_run(dir: &Path) -> Result<Run, NoRun> {
    let mut run = Run::default();
    let Found { files, before } = read_all(dir).map_err(NoRun::Directory)?;
    for file in files {
        match file {
            Ok(snapshot) => run.cores.push(snapshot),
            Err(error) => run.unread.push(error),
        }
    }
    run.keep_newest();
    run.earlier.extend(before.filter(|before| before.cores.iter().any(|process| run.is_of(process))));
    match (run.cores.is_empty(), run.unread.is_empty()) {
        (false, _) => Ok(run),
        (true, true) => Err(NoRun::Empty(dir.to_owned())),
        (true, false) => Err(NoRun::Unread(run.unread)),
    }
}

impl Run {
    fn keep_newest(&mut self) {
        let processes = self.cores.iter().flat_map(|core| &core.cores);
        let newest = processes.max_by_key(|process| (process.wall_ns, process.generation)).copied();
        let Some(newest) = newest else { return };
        for core in std::mem::take(&mut self.cores) {
            let Some(process) = core.cores.first() else { continue };
            if process.is_same_process(&newest) {
                self.cores.push(core);
            } else if process.is_same_run(&newest) && process.generation < newest.generation {
                self.earlier.push(core);
            } else {
                self.left_out.push((process.core, process.pid));
            }
        }
    }

    /// The process that has the run now.
    pub fn newest(&self) -> Option<&Process> {
        self.cores.iter().flat_map(|core| &core.cores).next()
    }

    /// Every process that has, or had, the run, once for each core.
    pub fn all(&self) -> impl Iterator<Item = &Process> {
        self.cores.iter().chain(&self.earlier).flat_map(|core| &core.cores)
    }

    /// Whether a process is of this run.
    pub fn is_of(&self, process: &Process) -> bool {
        self.newest().is_some_and(|newest| newest.is_same_run(process))
    }

    /// All cores as one, with what was counted before the run was handed over. An error only where a file was forged: one
    /// process writes one schema.
    pub fn merged(&self) -> Result<Snapshot, MergeError> {
        let mut merged = Snapshot { cores: Vec::new(), metrics: Vec::new() };
        for core in &self.cores {
            merged.merge(core.clone())?;
        }
        for earlier in &self.earlier {
            merged.add_earlier(earlier.clone());
        }
        Ok(merged)
    }

    /// A run is dead as soon as one of its cores is.
    pub fn state(&self) -> State {
        let states: Vec<State> = self.cores.iter().flat_map(|core| &core.cores).map(|process| process.state).collect();
        worst_state(&states)
    }
}

/// The state of a whole whose parts have these.
fn worst_state(states: &[State]) -> State {
    let has = |wanted| states.contains(&wanted);
    if has(State::Died) {
        State::Died
    } else if has(State::Running) {
        State::Running
    } else {
        State::Closed
    }
}

#[cfg(test)]
mod tests {
    use ringway_runtime::histogram::{SchemaBuilder, Unit, Writer};

    use super::*;

    fn core(core: u32, start_ticks: u64, wall_ns: u64) -> Snapshot {
        let mut builder = SchemaBuilder::new();
        let requests = builder.counter("requests_total", Unit::None, &[]);
        let writer = Writer::in_memory(&builder.build().expect("a schema"));
        writer.counter(requests).add(1);
        let mut snapshot = writer.snapshot().expect("a snapshot");
        let process = &mut snapshot.cores[0];
        (process.core, process.start_ticks, process.wall_ns) = (core, start_ticks, wall_ns);
        snapshot
    }

    #[test]
    fn files_of_an_earlier_run_are_left_out_and_named() {
        let mut run = Run { cores: vec![core(7, 1, 10), core(8, 2, 20), core(9, 2, 19)], ..Run::default() };
        run.keep_newest();
        let merged = run.merged().expect("one schema");
        assert_eq!(merged.cores.iter().map(|process| process.core).collect::<Vec<_>>(), [8, 9]);
        assert_eq!(merged.counter("requests_total", &[]), Some(2));
        assert_eq!(run.left_out, [(7, std::process::id())]);
    }

    #[test]
    fn what_was_counted_before_a_run_was_handed_over_counts_on() {
        let handed_over = |core_number, start_ticks, generation| {
            let mut snapshot = core(core_number, start_ticks, 10);
            snapshot.cores[0].generation = generation;
            snapshot
        };
        let cores = vec![handed_over(0, 1, 0), handed_over(1, 1, 0), handed_over(0, 2, 1)];
        let mut run = Run { cores, ..Run::default() };
        run.keep_newest();
        assert!(run.left_out.is_empty());
        let merged = run.merged().expect("one schema");
        assert_eq!(merged.cores.iter().map(|process| process.generation).collect::<Vec<_>>(), [1]);
        assert_eq!(merged.counter("requests_total", &[]), Some(3));
    }

    #[test]
    fn one_dead_core_makes_a_dead_run() {
        use State::{Closed, Died, Running};
        assert_eq!(worst_state(&[Closed, Died, Running]), Died);
        assert_eq!(worst_state(&[Closed, Running]), Running);
        assert_eq!(worst_state(&[Closed, Closed]), Closed);
    }
}
