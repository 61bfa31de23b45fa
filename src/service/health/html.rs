//! The pages for people: one file each, without scripts, complete without a network.

use std::io::Write as _;

use ringway_runtime::clock::Wall;

use super::board::{Board, View};
use super::page::{ENDPOINTS_SHOWN, endpoints, millis, name, told, told_changes};
use super::state::State;
use crate::observe::stamp;
use crate::plan::Detail;

/// What a browser may do with a page: show it.
pub(super) const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;\
color:#1c1c1c;background:#fff}h1{font-size:1.3rem}table{border-collapse:collapse;width:100%}\
th,td{text-align:left;padding:.35rem .6rem;border-bottom:1px solid #ddd;vertical-align:top}\
.s{font-weight:600}.healthy{color:#176b2c}.degraded{color:#8a5a00}.down,.unknown{color:#b3161b}\
small{color:#666}@media(prefers-color-scheme:dark){body{color:#e6e6e6;background:#161616}\
th,td{border-color:#333}.healthy{color:#62c77a}.degraded{color:#e0a93b}.down,.unknown{color:#ff7b7f}small{color:#999}}";

/// Text as it stands in a page, in or out of an attribute.
fn text(out: &mut Vec<u8>, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'&' => out.extend_from_slice(b"&amp;"),
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            b'"' => out.extend_from_slice(b"&quot;"),
            b'\'' => out.extend_from_slice(b"&#39;"),
            _ => out.push(byte),
        }
    }
}

fn time(out: &mut Vec<u8>, at: Wall) {
    if at == Wall::default() {
        out.extend_from_slice(b"never");
    } else {
        stamp::rfc3339(out, at.as_nanos());
    }
}

fn state(out: &mut Vec<u8>, state: State) {
    let name = state.name();
    // Writing to a Vec cannot fail.
    let _ = write!(out, "<span class=\"s {name}\">{name}</span>");
}

fn begin(out: &mut Vec<u8>, board: &Board, view: &View, what: &str) {
    out.extend_from_slice(b"<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">");
    let seconds = board.plan.ttl.as_secs().max(1);
    let _ = write!(out, "<meta http-equiv=\"refresh\" content=\"{seconds}\">");
    out.extend_from_slice(b"<meta name=\"viewport\" content=\"width=device-width\"><title>");
    text(out, &board.plan.name);
    let _ = write!(out, ": {}</title><style>{STYLE}</style></head><body><h1>", view.state.name());
    text(out, &board.plan.name);
    let _ = write!(out, "{what}: ");
    state(out, view.state);
    out.extend_from_slice(b"</h1>\n");
}

pub(super) fn report(out: &mut Vec<u8>, board: &Board, view: &View) {
    let plan = &*board.plan;
    begin(out, board, view, "");
    out.extend_from_slice(b"<p>since ");
    time(out, view.since);
    out.extend_from_slice(b"<br><small>checked ");
    time(out, view.checked);
    out.extend_from_slice(b"</small></p>\n");
    if plan.detail != Detail::Status {
        let wide = plan.detail == Detail::Full;
        out.extend_from_slice(b"<table><tr><th>check<th>state<th>because of<th>latency<th>since");
        out.extend_from_slice(if wide { b"<th>endpoints</tr>\n" } else { b"</tr>\n" });
        for (at, check, seen) in told(plan, view) {
            out.extend_from_slice(b"<tr><td>");
            text(out, &check.name);
            out.extend_from_slice(if check.critical { b" <small>critical</small><td>" } else { b"<td>" });
            state(out, seen.state);
            out.extend_from_slice(b"<td>");
            for (nth, &cause) in seen.causes.iter().enumerate() {
                out.extend_from_slice(if nth == 0 { b"" } else { b", " });
                text(out, name(plan, cause));
            }
            let _ = write!(out, "<td>{:.3} ms<td>", millis(seen.took));
            time(out, seen.since);
            if wide {
                out.extend_from_slice(b"<td>");
                for (address, finding) in endpoints(board, at, seen).take(ENDPOINTS_SHOWN) {
                    text(out, address);
                    let _ = write!(out, " <small>{}</small><br>", finding.name());
                }
                if seen.endpoints.len() > ENDPOINTS_SHOWN {
                    let _ = write!(out, "<small>and {} more</small>", seen.endpoints.len() - ENDPOINTS_SHOWN);
                }
            }
            out.extend_from_slice(b"</tr>\n");
        }
        out.extend_from_slice(b"</table>\n");
    }
    out.extend_from_slice(b"</body></html>\n");
}

pub(super) fn history(out: &mut Vec<u8>, board: &Board, view: &View) {
    let plan = &*board.plan;
    begin(out, board, view, ", history");
    out.extend_from_slice(b"<table><tr><th>at<th>check<th>from<th>to<th>because of</tr>\n");
    for change in told_changes(plan, view) {
        out.extend_from_slice(b"<tr><td>");
        time(out, change.at);
        out.extend_from_slice(b"<td>");
        match change.check {
            Some(check) => text(out, name(plan, check)),
            None => out.extend_from_slice(b"<b>all together</b>"),
        }
        out.extend_from_slice(b"<td>");
        state(out, change.from);
        out.extend_from_slice(b"<td>");
        state(out, change.to);
        out.extend_from_slice(b"<td>");
        if let Some(cause) = change.cause.filter(|_| plan.detail != Detail::Status) {
            text(out, name(plan, cause));
        }
        out.extend_from_slice(b"</tr>\n");
    }
    let _ = writeln!(out, "</table><p><small>the last {} changes</small></p></body></html>", plan.history);
}

#[cfg(test)]
mod tests {
    #[test]
    fn text_never_ends_what_it_stands_in() {
        let mut out = Vec::new();
        super::text(&mut out, "<script>\"&'é");
        assert_eq!(String::from_utf8(out).unwrap(), "&lt;script&gt;&quot;&amp;&#39;é");
    }
}
