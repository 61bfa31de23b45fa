//! What the metrics files of this process say: read when somebody asks, and at most about once a second.

use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::ACCEPT;
use ringway_runtime::clock::Instant;

use super::problem::{Problem, Reply};
use super::serve::wait;
use super::{Shared, certificates};
use crate::control::command::{Answer, Command};
use crate::control::discovery::{Ask, SourceSight};
use crate::observe::figures::Figures;
use crate::observe::prometheus::{self, Beside, Format};
use crate::observe::{Run, read_run};

/// Figures of less than this age are not read anew.
const FRESH: Duration = Duration::from_millis(900);
/// Figures of an interval longer than this say little of now: then those of the last look do not count.
const STALE: Duration = Duration::from_secs(15);

/// Upstreams whose sources have metrics, as many as have metrics at all.
const SOURCES_MAX: usize = 1024;

/// The last look.
#[derive(Debug, Default)]
pub(super) struct Live {
    read: Option<(Instant, Run)>,
    figures: Option<Arc<Figures>>,
}

/// The figures of the time since the last look; since the start where there was none lately.
pub(super) async fn latest(shared: &Arc<Shared>) -> Result<Arc<Figures>, Problem> {
    let shared = shared.clone();
    // Many files can take a while, and other requests go on meanwhile.
    let look = tokio::task::spawn_blocking(move || {
        let mut live = shared.live.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if let (Some((read, _)), Some(figures)) = (&live.read, &live.figures)
            && now.since(*read) < FRESH
        {
            return Ok(figures.clone());
        }
        let run = of_this_process(&shared)?;
        let before = live.read.take().filter(|(read, _)| now.since(*read) < STALE);
        let figures = Figures::between(before.as_ref(), now, &run).map(Arc::new);
        let figures = figures.ok_or_else(|| no_metrics("the metrics files hold nothing"))?;
        live.read = Some((now, run));
        live.figures = Some(figures.clone());
        Ok(figures)
    });
    look.await.unwrap_or_else(|_| Err(Problem::no_answer()))
}

/// The metrics as Prometheus reads them.
pub(super) async fn exposition(shared: &Arc<Shared>, headers: &HeaderMap) -> Result<Reply, Problem> {
    let format = Format::negotiate(headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()));
    let mut beside = match wait(shared.handle.send(Command::Discovery(Ask::Sources))).await? {
        Answer::Sources(sources) => of_sources(&sources),
        _ => Vec::new(),
    };
    beside.extend(certificates::of(&wait(shared.handle.status()).await?));
    let shared = shared.clone();
    let read = tokio::task::spawn_blocking(move || {
        let merged = of_this_process(&shared)?.merged().map_err(|error| no_metrics(&error.to_string()))?;
        Ok(prometheus::render_with(&merged, &beside, format, prometheus::DEFAULT_MAX_SERIES))
    });
    let body = read.await.unwrap_or_else(|_| Err(Problem::no_answer()))?;
    Ok(Reply::new(200, format.content_type(), body))
}

/// What is counted of the sources of endpoints.
fn of_sources(sources: &[SourceSight]) -> Vec<Beside> {
    let of = |name, number: &dyn Fn(&SourceSight) -> Option<u64>| {
        let samples = sources
            .iter()
            .take(SOURCES_MAX)
            .filter_map(|source| Some((vec![("upstream", source.upstream.clone())], number(source)?)));
        Beside { name, samples: samples.collect() }
    };
    vec![
        of("ringway_discovery_endpoints", &|source| Some(source.endpoints as u64)),
        of("ringway_discovery_kept_endpoints", &|source| Some(source.kept as u64)),
        of("ringway_discovery_failing", &|source| Some(u64::from(source.failure.is_some()))),
        of("ringway_discovery_age_seconds", &|source| Some(source.good_at?.1.as_nanos() as u64)),
        of("ringway_discovery_sets_total", &|source| Some(source.sets)),
        of("ringway_discovery_failures_total", &|source| Some(source.failures)),
        of("ringway_discovery_shrunk_total", &|source| Some(source.shrunk)),
    ]
}

fn of_this_process(shared: &Shared) -> Result<Run, Problem> {
    let no_dir = || no_metrics("metrics are kept in memory only; set cores.metrics_dir to see them here");
    let dir: &Path = shared.metrics_dir.as_deref().ok_or_else(no_dir)?;
    let run = read_run(dir).map_err(|none| no_metrics(&none.to_string()))?;
    // Another process may just have taken the run over.
    let is_ours = run.all().any(|process| process.pid == std::process::id());
    if is_ours { Ok(run) } else { Err(no_metrics("the metrics files are of another process")) }
}

fn no_metrics(why: &str) -> Problem {
    Problem::new(503, "no_metrics", why)
}
