//! The answers of a service of type `health`, written once for each round of checks.

use std::io::Write as _;

use ringway_runtime::clock::Wall;

use super::board::{Board, Change, CheckView, View};
use super::html;
use super::state::{Finding, State};
use crate::observe::stamp;
use crate::plan::{Aggregate, CheckTarget, Detail};

/// Endpoints of one check that are shown one by one; of more, only how many.
pub(super) const ENDPOINTS_SHOWN: usize = 64;

/// What is asked for, and in which form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Page {
    Report,
    /// `application/health+json` (draft-inadarei-api-health-check).
    Draft,
    ReportHtml,
    History,
    HistoryHtml,
}

impl Page {
    pub(super) const COUNT: usize = 5;

    /// The page that a request asks for: of the media ranges that name one of ours, the one with the most weight and
    /// among equals the first (RFC 9110 section 12.5.1). JSON where none does.
    pub(super) fn wanted<'a>(is_history: bool, accept: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut best = (Form::Json, 0);
        for range in accept.flat_map(|value| value.split(|&byte| byte == b',')) {
            if let Some((form, weight)) = read(range)
                && weight > best.1
            {
                best = (form, weight);
            }
        }
        match (is_history, best.0) {
            (false, Form::Json) => Self::Report,
            (false, Form::Draft) => Self::Draft,
            (false, Form::Html) => Self::ReportHtml,
            (true, Form::Json | Form::Draft) => Self::History,
            (true, Form::Html) => Self::HistoryHtml,
        }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Report | Self::History => "application/json",
            Self::Draft => "application/health+json",
            Self::ReportHtml | Self::HistoryHtml => "text/html; charset=utf-8",
        }
    }

    pub(super) fn is_html(self) -> bool {
        matches!(self, Self::ReportHtml | Self::HistoryHtml)
    }

    /// The status of the answer. A history is what it is, however things are.
    pub(super) fn status(self, state: State, plan: &Aggregate) -> u16 {
        match (self, state) {
            (Self::History | Self::HistoryHtml, _) | (_, State::Healthy) => 200,
            (_, State::Degraded) => plan.degraded_status,
            (_, State::Down | State::Unknown) => 503,
        }
    }

    pub(super) fn write(self, out: &mut Vec<u8>, board: &Board, view: &View) {
        match self {
            Self::Report => report(out, board, view),
            Self::Draft => draft(out, board, view),
            Self::ReportHtml => html::report(out, board, view),
            Self::History => history(out, board, view),
            Self::HistoryHtml => html::history(out, board, view),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Draft,
    Html,
}

/// The form that a media range asks for and its weight in thousandths; nothing where it is none of ours.
fn read(range: &[u8]) -> Option<(Form, u32)> {
    let mut parts = range.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
    let media = parts.next()?;
    let is = |name: &str| media.eq_ignore_ascii_case(name.as_bytes());
    let form = if is("application/health+json") {
        Form::Draft
    } else if is("text/html") || is("text/*") || is("application/xhtml+xml") {
        Form::Html
    } else if is("application/json") || is("application/*") || is("*/*") {
        Form::Json
    } else {
        return None;
    };
    let mut weight = 1_000;
    for parameter in parts {
        let weighs = parameter.first().is_some_and(|first| first.eq_ignore_ascii_case(&b'q'));
        if let Some(value) = parameter.get(1..).map(<[u8]>::trim_ascii).filter(|_| weighs)
            && let Some(value) = value.strip_prefix(b"=")
        {
            let value: f64 = std::str::from_utf8(value.trim_ascii()).ok()?.parse().ok()?;
            weight = (value.clamp(0.0, 1.0) * 1_000.0).round() as u32;
        }
    }
    Some((form, weight))
}

/// The checks, with what is known of each, where the service tells of them at all.
pub(super) fn told<'v>(
    plan: &'v Aggregate,
    view: &'v View,
) -> impl Iterator<Item = (usize, &'v crate::plan::AggregateCheck, &'v CheckView)> {
    let tells = plan.detail != Detail::Status;
    plan.checks.iter().zip(&view.checks).enumerate().filter(move |_| tells).map(|(at, (check, seen))| (at, check, seen))
}

/// The changes that the service tells of.
pub(super) fn told_changes<'v>(plan: &'v Aggregate, view: &'v View) -> impl Iterator<Item = &'v Change> {
    view.changes.iter().filter(|change| change.check.is_none() || plan.detail != Detail::Status)
}

/// The name of a check.
pub(super) fn name(plan: &Aggregate, check: u16) -> &str {
    plan.checks.get(usize::from(check)).map_or("", |check| &check.name)
}

/// How the endpoints of a check are: the address and how asking it ended.
pub(super) fn endpoints<'b>(
    board: &'b Board,
    at: usize,
    seen: &'b CheckView,
) -> impl Iterator<Item = (&'b str, Finding)> {
    let of_upstream = board.upstream(at).map(|shared| &shared.upstream().endpoints);
    let addresses = match board.plan.checks.get(at).map(|check| &check.target) {
        Some(CheckTarget::Addresses(addresses)) => Some(addresses),
        _ => None,
    };
    seen.endpoints.iter().enumerate().filter_map(move |(nth, finding)| {
        let name = match (of_upstream, addresses) {
            (Some(endpoints), _) => &*endpoints.get(nth)?.name,
            (_, Some(addresses)) => &*addresses.get(nth)?.0,
            _ => return None,
        };
        Some((name, *finding))
    })
}

/// A string as JSON has it.
fn text(out: &mut Vec<u8>, text: &str) {
    // Writing to a Vec cannot fail.
    let _ = serde_json::to_writer(out, text);
}

fn time(out: &mut Vec<u8>, at: Wall) {
    if at == Wall::default() {
        out.extend_from_slice(b"null");
        return;
    }
    out.push(b'"');
    stamp::rfc3339(out, at.as_nanos());
    out.push(b'"');
}

/// Milliseconds, to the microsecond.
pub(super) fn millis(nanos: u64) -> f64 {
    (nanos / 1_000) as f64 / 1_000.0
}

fn names(out: &mut Vec<u8>, plan: &Aggregate, checks: &[u16]) {
    out.push(b'[');
    for (nth, &check) in checks.iter().enumerate() {
        out.extend_from_slice(if nth == 0 { b"" } else { b"," });
        text(out, name(plan, check));
    }
    out.push(b']');
}

fn report(out: &mut Vec<u8>, board: &Board, view: &View) {
    let plan = &*board.plan;
    let _ = write!(out, "{{\"status\":\"{}\",\"since\":", view.state.name());
    time(out, view.since);
    out.extend_from_slice(b",\"checked_at\":");
    time(out, view.checked);
    let _ = write!(out, ",\"ttl_ms\":{}", plan.ttl.as_millis());
    if plan.detail != Detail::Status {
        out.extend_from_slice(b",\"checks\":[");
        for (at, check, seen) in told(plan, view) {
            out.extend_from_slice(if at == 0 { b"\n{\"name\":" } else { b",\n{\"name\":" });
            text(out, &check.name);
            let (state, critical) = (seen.state.name(), check.critical);
            let _ = write!(out, ",\"status\":\"{state}\",\"critical\":{critical},\"since\":");
            time(out, seen.since);
            let _ = write!(out, ",\"latency_ms\":{:.3},\"causes\":", millis(seen.took));
            names(out, plan, &seen.causes);
            if plan.detail == Detail::Full {
                full(out, board, at, seen);
            }
            out.push(b'}');
        }
        out.push(b']');
    }
    out.extend_from_slice(b"}\n");
}

fn full(out: &mut Vec<u8>, board: &Board, at: usize, seen: &CheckView) {
    let plan = &*board.plan;
    let _ = write!(out, ",\"own_status\":\"{}\",\"needs\":", seen.own.name());
    names(out, plan, plan.checks.get(at).map_or(&[], |check| &check.needs));
    let well = seen.endpoints.iter().filter(|finding| **finding == Finding::Passed).count();
    let all = seen.endpoints.len();
    let _ = write!(out, ",\"endpoints_passed\":{well},\"endpoints_total\":{all},\"endpoints\":[");
    for (nth, (address, finding)) in endpoints(board, at, seen).take(ENDPOINTS_SHOWN).enumerate() {
        out.extend_from_slice(if nth == 0 { b"{\"address\":" } else { b",{\"address\":" });
        text(out, address);
        let _ = write!(out, ",\"result\":\"{}\"}}", finding.name());
    }
    out.push(b']');
}

fn draft(out: &mut Vec<u8>, board: &Board, view: &View) {
    let plan = &*board.plan;
    let word = |state: State| match state {
        State::Healthy => "pass",
        State::Degraded => "warn",
        State::Down | State::Unknown => "fail",
    };
    let _ = write!(out, "{{\"status\":\"{}\",\"serviceId\":", word(view.state));
    text(out, &plan.name);
    if plan.detail != Detail::Status {
        out.extend_from_slice(b",\"checks\":{");
        for (at, check, seen) in told(plan, view) {
            out.extend_from_slice(if at == 0 { b"\n" } else { b",\n" });
            text(out, &check.name);
            let _ = write!(out, ":[{{\"componentType\":\"component\",\"status\":\"{}\",\"time\":", word(seen.state));
            time(out, view.checked);
            let _ = write!(out, ",\"observedValue\":{:.3},\"observedUnit\":\"ms\"", millis(seen.took));
            if !seen.causes.is_empty() {
                let causes: Vec<&str> = seen.causes.iter().map(|&cause| name(plan, cause)).collect();
                out.extend_from_slice(b",\"output\":");
                text(out, &format!("because of {}", causes.join(", ")));
            }
            out.extend_from_slice(b"}]");
        }
        out.push(b'}');
    }
    out.extend_from_slice(b"}\n");
}

fn history(out: &mut Vec<u8>, board: &Board, view: &View) {
    let plan = &*board.plan;
    let _ = write!(out, "{{\"status\":\"{}\",\"limit\":{},\"changes\":[", view.state.name(), plan.history);
    for (nth, change) in told_changes(plan, view).enumerate() {
        out.extend_from_slice(if nth == 0 { b"\n{\"at\":" } else { b",\n{\"at\":" });
        time(out, change.at);
        out.extend_from_slice(b",\"check\":");
        match change.check {
            Some(check) => text(out, name(plan, check)),
            None => out.extend_from_slice(b"null"),
        }
        let _ = write!(out, ",\"from\":\"{}\",\"to\":\"{}\",\"cause\":", change.from.name(), change.to.name());
        match change.cause.filter(|_| plan.detail != Detail::Status) {
            Some(cause) => text(out, name(plan, cause)),
            None => out.extend_from_slice(b"null"),
        }
        out.push(b'}');
    }
    out.extend_from_slice(b"]}\n");
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ringway_runtime::clock::Instant;
    use serde_json::Value;

    use super::super::board::Found;
    use super::super::state::tests::plan;
    use super::*;

    fn board(detail: Detail) -> Arc<Board> {
        let plan = Aggregate { detail, ..plan(&[(true, vec![]), (false, vec![0])]) };
        let board = Board::new(&Arc::new(plan), &[], None);
        let found = |finding| Found { endpoints: vec![finding], took: 1_234_567 };
        let now = Wall::from_nanos(784_111_777_000_000_000);
        board.publish(&[found(Finding::Timeout), found(Finding::Passed)], Instant::default(), now);
        board
    }

    fn page(page: Page, board: &Board) -> String {
        let mut out = Vec::new();
        page.write(&mut out, board, &board.view().expect("nobody writes"));
        String::from_utf8(out).expect("UTF-8")
    }

    fn json(which: Page, board: &Board) -> Value {
        serde_json::from_str(&page(which, board)).expect("JSON")
    }

    #[test]
    fn a_report_says_what_its_detail_allows() {
        let found = json(Page::Report, &board(Detail::Names));
        assert_eq!((&found["status"], &found["ttl_ms"]), (&"down".into(), &5_000.into()));
        assert_eq!(found["checked_at"], "1994-11-06T08:49:37.000000Z");
        let orders = &found["checks"][1];
        let wanted = serde_json::json!({
            "name": "c1", "status": "down", "critical": false, "since": "1994-11-06T08:49:37.000000Z",
            "latency_ms": 1.234, "causes": ["c0"],
        });
        assert_eq!(*orders, wanted);
        let full = json(Page::Report, &board(Detail::Full));
        assert_eq!(full["checks"][0]["endpoints"][0], serde_json::json!({ "address": "a:1", "result": "timeout" }));
        assert_eq!(full["checks"][1]["own_status"], "healthy");
        for which in [Page::Report, Page::Draft, Page::ReportHtml, Page::History, Page::HistoryHtml] {
            let all = board(Detail::Status);
            assert!(!page(which, &all).contains("c0"), "{which:?}");
            assert!(!page(which, &board(Detail::Names)).contains("a:1"), "{which:?}");
            assert!(page(which, &board(Detail::Full)).contains("c0"), "{which:?}");
        }
    }

    #[test]
    fn the_draft_and_the_history_are_json_too() {
        let draft = json(Page::Draft, &board(Detail::Names));
        assert_eq!((&draft["status"], &draft["checks"]["c1"][0]["output"]), (&"fail".into(), &"because of c0".into()));
        let history = json(Page::History, &board(Detail::Names));
        assert_eq!(history["changes"].as_array().map(Vec::len), Some(3));
        assert_eq!((&history["changes"][0]["check"], &history["changes"][0]["cause"]), (&Value::Null, &"c0".into()));
    }

    #[test]
    fn a_page_before_the_first_round_says_that_nothing_is_known() {
        let board = Board::new(&Arc::new(plan(&[(true, vec![])])), &[], None);
        let found = json(Page::Report, &board);
        assert_eq!((&found["status"], &found["checked_at"]), (&"unknown".into(), &Value::Null));
        assert_eq!(Page::Report.status(State::Unknown, &board.plan), 503);
    }

    #[test]
    fn the_range_with_the_most_weight_wins() {
        let wanted = |accept: &str| Page::wanted(false, [accept.as_bytes()].into_iter());
        for (accept, page) in [
            ("", Page::Report),
            ("*/*", Page::Report),
            ("image/png", Page::Report),
            ("application/json, text/html", Page::Report),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Page::ReportHtml),
            ("TEXT/HTML;q=0.1, application/health+json; Q=0.2", Page::Draft),
            ("application/health+json, application/json;q=0.9", Page::Draft),
            ("text/html;q=0", Page::Report),
            ("text/html;q=x, ;;,", Page::Report),
        ] {
            assert_eq!(wanted(accept), page, "{accept}");
        }
        let two = [&b"application/json;q=0.5"[..], b"text/html"];
        assert_eq!(Page::wanted(true, two.into_iter()), Page::HistoryHtml);
    }
}
