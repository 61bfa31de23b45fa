use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::{Color, Modifier};
use ringway_runtime::histogram::{Snapshot, Start};

use super::*;
use crate::observe::{Metrics, Names, PlanNames, Reason, Series, UpstreamEvent, UpstreamFailure};

fn metrics(dir: &Path, core: u32) -> (Metrics, Series) {
    let start = Start { core, wall_ns: 1_000, mono_ns: 1_000_000_000, ..Start::default() };
    let (metrics, warning) = Metrics::open(dir, &start).expect("a schema");
    assert!(warning.is_none());
    metrics.set_epoch(3);
    let (slots, new) = Names::default()
        .take_up(&PlanNames { routes: vec!["users", "orders"], upstreams: vec!["a", "b"], ..PlanNames::default() })
        .expect("names");
    let (segment, warning) = new.expect("new names").open(dir, &Start { segment: 1, ..start });
    assert!(warning.is_none());
    metrics.add_segment(segment);
    let series = metrics.series(&Arc::new(slots));
    (metrics, series)
}

fn at(seconds: u64) -> Instant {
    Instant::from_nanos(seconds * 1_000_000_000)
}

/// Two cores, one second with little and one with more.
fn two_looks(dir: &Path) -> ((Instant, Run), (Instant, Run)) {
    let cores = [metrics(dir, 0), metrics(dir, 1)];
    for (core, series) in &cores {
        core.connection_accepted();
        core.request_done(200, 5_000_000);
        series.request_done(0, 5_000_000);
        core.looped(1, 1_900_000_000);
    }
    let first = (at(2), read_run(dir).expect("a run"));
    let [(zero, of_zero), (one, of_one)] = &cores;
    for _ in 0..100 {
        zero.request_done(200, 1_000_000);
        of_zero.request_done(0, 1_000_000);
        of_zero.upstream(0).reused();
    }
    let upstream = of_one.upstream(1);
    for _ in 0..20 {
        one.request_done(503, 40_000_000);
        of_one.request_done(1, 40_000_000);
        one.refused(Reason::PoolTimeout);
        upstream.failed(UpstreamFailure::Connect);
        upstream.retried();
        upstream.out_of_budget();
        upstream.event(UpstreamEvent::BreakerRefused);
    }
    upstream.event(UpstreamEvent::Ejected);
    upstream.event(UpstreamEvent::EndpointBreakerOpened);
    upstream.event(UpstreamEvent::CheckFailed);
    zero.worked(500_000_000);
    zero.turned(250_000_000);
    one.upstream_connected(&upstream, 10);
    zero.looped(1, 2_900_000_000);
    let mut second = (at(3), read_run(dir).expect("a run"));
    // The files say that this process runs; the writers are still there.
    for process in second.1.cores.iter_mut().flat_map(|core: &mut Snapshot| &mut core.cores) {
        process.state = State::Running;
    }
    (first, second)
}

fn figures(dir: &Path) -> Figures {
    let (first, second) = two_looks(dir);
    Figures::between(Some(&first), second.0, &second.1).expect("figures")
}

#[test]
fn figures_are_those_of_the_interval_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let figures = figures(dir.path());
    assert_eq!(figures.interval, Duration::from_secs(1));
    assert!((figures.requests - 120.0).abs() < 1e-9, "{figures:?}");
    assert_eq!(figures.connections, 2);
    // The first look's 5 ms are gone; 1 ms and 40 ms are known to 0.8 %.
    assert!(figures.latency.p50.abs_diff(1_000_000) < 8_000 && figures.latency.p99.abs_diff(40_000_000) < 320_000);
    let [zero, one] = &figures.cores[..] else { panic!("{figures:?}") };
    assert!((zero.cpu - 0.5).abs() < 1e-9 && (zero.busy - 0.25).abs() < 0.01, "{zero:?}");
    assert_eq!((zero.heartbeat, one.heartbeat), (Some(Duration::from_millis(100)), Some(Duration::from_millis(1_100))));
    assert!((one.requests - 20.0).abs() < 1e-9 && one.cpu < 1e-9);
    let upstream = figures.upstreams.iter().find(|upstream| upstream.name == "b").expect("b");
    assert_eq!((upstream.open, upstream.failures_total), (1, 20));
    assert!(
        [upstream.retries, upstream.out_of_budget, upstream.held_back].iter().all(|rate| (rate - 20.0).abs() < 1e-9)
    );
    assert_eq!((upstream.taken_out, upstream.opened), (1, 1));
    assert_eq!((figures.refusals[0].reason.as_str(), figures.refusals[0].total), ("pool_timeout", 20));
}

#[test]
fn the_first_look_is_over_the_whole_run() {
    let dir = tempfile::tempdir().expect("a directory");
    let (first, second) = two_looks(dir.path());
    let figures = Figures::between(None, second.0, &second.1).expect("figures");
    assert_eq!((figures.interval, figures.uptime), (Duration::from_secs(2), Duration::from_secs(2)));
    assert!((figures.requests - 61.0).abs() < 1e-9);
    // Another run in between: nothing is compared across it.
    let mut other = first;
    other.1.cores[0].cores[0].wall_ns += 1;
    assert_eq!(Figures::between(Some(&other), second.0, &second.1).expect("figures").interval, Duration::from_secs(2));
}

fn screen_of(view: &View, width: u16, height: u16) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
    terminal.draw(|frame| screen::draw(frame, view)).expect("drawn");
    terminal
}

fn text_of(view: &View, width: u16, height: u16) -> String {
    let terminal = screen_of(view, width, height);
    let buffer = terminal.backend().buffer();
    let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
    (0..height).map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_screen_shows_every_table() {
    let dir = tempfile::tempdir().expect("a directory");
    let view = View { figures: Some(figures(dir.path())), ..View::default() };
    let text = text_of(&view, 110, 40);
    for wanted in [
        "ringway running",
        "120 requests/s",
        "2xx 100/s",
        "5xx 20.0/s",
        "upstream first byte",
        "core ",
        "50%",
        "25%",
        "worst stall",
        "heartbeat",
        "orders",
        "users",
        "failures/s",
        "no budget/s",
        "pool_timeout",
        "q quit · s sort by p99 · p pause",
    ] {
        assert!(text.contains(wanted), "{wanted} is not in\n{text}");
    }
    let place = |name: &str| text.find(name).expect("shown");
    assert!(place("orders") < place("users"), "the slowest route comes first:\n{text}");
    let view = View { sort: Sort::Requests, ..view };
    let text = text_of(&view, 110, 40);
    assert!(text.find("users") < text.find("orders"), "{text}");
}

#[test]
fn a_dead_gateway_is_told_with_and_without_color() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut figures = figures(dir.path());
    figures.state = State::Died;
    let mut view = View { figures: Some(figures), color: true, ..View::default() };
    assert!(text_of(&view, 100, 30).contains("the gateway died; these are its last figures"));
    let style = screen_of(&view, 100, 30).backend().buffer()[(0, 1)].style();
    assert_eq!(style.fg, Some(Color::Red));
    view.color = false;
    let terminal = screen_of(&view, 100, 30);
    let cells = terminal.backend().buffer().content();
    assert!(cells.iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset), "no color was asked for");
    assert!(terminal.backend().buffer()[(0, 1)].modifier.contains(Modifier::REVERSED));
}

#[test]
fn every_size_of_terminal_is_drawn() {
    let dir = tempfile::tempdir().expect("a directory");
    let view = View { figures: Some(figures(dir.path())), problem: Some("why".to_owned()), ..View::default() };
    for width in [1, 2, 10, 41, 80, 300] {
        for height in [1, 2, 3, 4, 5, 8, 13, 24, 100] {
            let text = text_of(&view, width, height);
            assert!(width < 10 || text.contains("ringway"), "{width}x{height}:\n{text}");
        }
    }
    assert!(text_of(&View::default(), 20, 3).contains("q quit"));
}

#[test]
fn keys_sort_pause_and_quit() {
    let mut view = View::default();
    let press = |view: &mut View, code, modifiers| view.key(KeyEvent::new(code, modifiers));
    let plain = KeyModifiers::NONE;
    assert!(press(&mut view, KeyCode::Char('s'), plain) && view.sort == Sort::Requests);
    assert!(press(&mut view, KeyCode::Char('p'), plain) && view.paused);
    assert!(press(&mut view, KeyCode::Char(' '), plain) && !view.paused);
    assert!(press(&mut view, KeyCode::Char('c'), plain), "only with control");
    for (code, modifiers) in
        [(KeyCode::Char('q'), plain), (KeyCode::Esc, plain), (KeyCode::Char('c'), KeyModifiers::CONTROL)]
    {
        assert!(!press(&mut view, code, modifiers));
    }
}

#[test]
fn the_directory_comes_from_a_config_too() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("ringway.toml");
    let base = "[listener.web]\naddress = \"0.0.0.0:1\"\n[service.hi]\ntype = \"respond\"\n\
                [[route]]\nname = \"hello\"\npath = \"/\"\nservice = \"hi\"\n";
    std::fs::write(&file, format!("{base}[cores]\nmetrics_dir = \"/dev/shm/x\"\n")).expect("a file");
    assert_eq!(metrics_dir(&file), Ok(PathBuf::from("/dev/shm/x")));
    std::fs::write(&file, base).expect("a file");
    assert!(metrics_dir(&file).is_err_and(|why| why.contains("no `metrics_dir` under [cores]")));
    std::fs::write(&file, "x").expect("a file");
    assert!(metrics_dir(&file).is_err_and(|why| why.contains(":1:")));
    assert_eq!(metrics_dir(dir.path()), Ok(dir.path().to_owned()));
}

proptest! {
    #[test]
    fn tables_share_a_screen_without_overflow_or_waste(
        wanted in prop::collection::vec(1_u16..50, 0..6), height in 0_u16..120,
    ) {
        let given = screen::share(&wanted, height);
        let used: u16 = given.iter().filter(|&&rows| rows > 0).map(|rows| rows + 2).sum();
        prop_assert!(used <= height);
        prop_assert!(given.iter().zip(&wanted).all(|(given, wanted)| given <= wanted));
        // Nothing is left over unless everyone has all, or another table has no room for a row.
        let is_full = given.iter().zip(&wanted).all(|(given, wanted)| given == wanted);
        prop_assert!(is_full || height - used < 3);
    }
}
