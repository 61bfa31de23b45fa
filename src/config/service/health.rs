//! `[service.NAME]` of type `health`.

use std::collections::HashMap;
use std::ops::Range;
use std::time;

use crate::config::health::{CHECK_BODY, CHECK_HOST, CHECK_STATUS, PATH, http_check};
use crate::config::kind::Kind::{Duration, Either, Flag, List, Number, Numbers, OneOf, Tables};
use crate::config::kind::{HOST_PORT, NAME};
use crate::config::nearest;
use crate::config::reader::Otherwise::{Is, Required, Words};
use crate::config::reader::{Fields, Problem, Section, Spanned, key, section};
use crate::config::tree::Value;
use crate::config::values::{HostPort, boolean, duration, host_port, integer, name, one_of, or_off};
use crate::plan::{Check, Detail};

/// Checks of one service: they are kept in lists that are gone through in one turn.
const CHECKS_MOST: usize = 256;
/// Rounds of checks more often than this would be a load by themselves.
const TTL_LEAST: time::Duration = time::Duration::from_millis(10);

const BOOLEAN: crate::config::kind::Kind = Either(&[Flag(true), Flag(false)]);
const DURATION_OR_OFF: crate::config::kind::Kind = Either(&[Duration, OneOf(&["off"])]);

pub(super) const SECTION: Section = section(
    "[service.NAME] of type health",
    &[
        super::TYPE,
        key("checks", Tables(&CHECK), Required),
        key("ttl", Duration, Is("\"5s\"")),
        key("timeout", Duration, Is("\"1s\"")),
        key("total_timeout", Duration, Words("twice the longest `timeout`")),
        key("slow", DURATION_OR_OFF, Is("\"off\"")),
        key("degraded_status", Numbers(&[200, 207, 503]), Is("207")),
        key("history", Number("number", 0, 10_000), Is("100")),
        key("detail", OneOf(&["status", "names", "full"]), Is("\"names\"")),
    ],
);

const CHECK: Section = section(
    "[service.NAME] checks",
    &[
        key("name", NAME, Required),
        key("upstream", NAME, Words("`http` or `tcp` instead")),
        key("http", HOST_PORT, Words("`upstream` or `tcp` instead")),
        key("tcp", HOST_PORT, Words("`upstream` or `http` instead")),
        key("path", PATH, Words("`\"/\"` with `http`; with `upstream` nothing is asked")),
        CHECK_HOST,
        CHECK_STATUS,
        CHECK_BODY,
        key("critical", BOOLEAN, Is("false")),
        key("needs", List("names", &NAME), Is("[]")),
        key("timeout", Duration, Words("that of the service")),
        key("slow", DURATION_OR_OFF, Words("that of the service")),
    ],
);

/// A service of type `health`, as the config has it.
#[derive(Clone, Debug)]
pub struct AggregateSection {
    /// Those that could be read; at least one, if the section is right.
    pub checks: Vec<AggregateCheckSection>,
    /// See [`crate::plan::Aggregate::order`].
    pub order: Vec<u16>,
    /// See [`crate::plan::Aggregate::ttl`].
    pub ttl: time::Duration,
    /// See [`crate::plan::Aggregate::total_timeout`].
    pub total_timeout: time::Duration,
    /// See [`crate::plan::Aggregate::degraded_status`].
    pub degraded_status: u16,
    /// See [`crate::plan::Aggregate::history`].
    pub history: u32,
    /// See [`crate::plan::Aggregate::detail`].
    pub detail: Detail,
}

/// One check, as the config has it.
#[derive(Clone, Debug)]
pub struct AggregateCheckSection {
    /// Its name.
    pub name: Spanned<String>,
    /// Where it asks.
    pub target: TargetSection,
    /// See [`crate::plan::AggregateCheck::check`].
    pub check: Option<Check>,
    /// See [`crate::plan::AggregateCheck::critical`].
    pub critical: bool,
    /// See [`crate::plan::AggregateCheck::needs`].
    pub needs: Vec<u16>,
    /// See [`crate::plan::AggregateCheck::timeout`].
    pub timeout: time::Duration,
    /// See [`crate::plan::AggregateCheck::slow`].
    pub slow: Option<time::Duration>,
}

/// Where a check asks.
#[derive(Clone, Debug)]
pub enum TargetSection {
    /// At an upstream of this name.
    Upstream(Spanned<String>),
    /// At an address that is not resolved yet.
    Address(Spanned<HostPort>),
}

pub(super) fn read(fields: &Fields<'_>) -> AggregateSection {
    let mut section = AggregateSection {
        checks: Vec::new(),
        order: Vec::new(),
        ttl: time::Duration::from_secs(5),
        total_timeout: time::Duration::ZERO,
        degraded_status: 207,
        history: 100,
        detail: Detail::Names,
    };
    fields.set("ttl", &mut section.ttl, duration);
    section.ttl = section.ttl.max(TTL_LEAST);
    let mut timeout = time::Duration::from_secs(1);
    let mut slow = None;
    fields.set("timeout", &mut timeout, duration);
    fields.set("slow", &mut slow, or_off(duration));
    fields.set("degraded_status", &mut section.degraded_status, degraded_status);
    fields.set("history", &mut section.history, integer(0..=10_000));
    let details = &[("status", Detail::Status), ("names", Detail::Names), ("full", Detail::Full)];
    fields.set("detail", &mut section.detail, one_of(details));
    checks(fields, &mut section, timeout, slow);
    let longest = section.checks.iter().map(|check| check.timeout).max().unwrap_or(timeout);
    section.total_timeout = longest * 2;
    fields.set("total_timeout", &mut section.total_timeout, duration);
    section
}

fn degraded_status(value: &Value) -> crate::config::reader::Read<u16> {
    let status = integer(100..=599)(value)?;
    if [200, 207, 503].contains(&status) {
        return Ok(status);
    }
    Err(Problem::new(format!("200, 207 or 503 is wanted, not {status}")))
}

type Needs = Vec<Spanned<String>>;

fn checks(fields: &Fields<'_>, section: &mut AggregateSection, timeout: time::Duration, slow: Option<time::Duration>) {
    fields.must_have("checks");
    let tables = fields.tables("checks", &CHECK);
    if fields.has("checks") && (tables.is_empty() || tables.len() > CHECKS_MOST) {
        let problem = Problem::new(format!("1 to {CHECKS_MOST} checks are wanted"));
        fields.complain("checks", fields.key_span("checks"), problem);
    }
    let mut first: HashMap<String, (u16, Range<usize>)> = HashMap::new();
    // Names that stand for nothing that could be read: what needs them is not wrong as well.
    let mut unread: Vec<String> = Vec::new();
    let mut needs: Vec<Needs> = Vec::new();
    for own in tables.iter().take(CHECKS_MOST) {
        let wanted = own.list("needs", name).unwrap_or_default();
        let Some(name) = own.required("name", name) else { continue };
        if let Some((_, other)) = first.get(&name.value) {
            let message = format!("{}: two checks have the name \"{}\"", fields.path_of("checks"), name.value);
            let diagnostic = crate::config::Diagnostic::error(name.span.clone(), message);
            fields.diags.push(diagnostic.also(other.clone(), "first here"));
            continue;
        }
        let Some(check) = check(own, &name, timeout, slow) else {
            unread.push(name.value);
            continue;
        };
        first.insert(name.value, (section.checks.len() as u16, name.span));
        section.checks.push(check);
        needs.push(wanted);
    }
    let known = || first.keys().chain(&unread).map(String::as_str);
    for (check, wanted) in section.checks.iter_mut().zip(&needs) {
        for need in wanted {
            match first.get(&need.value) {
                Some(&(at, _)) if !check.needs.contains(&at) => check.needs.push(at),
                None if !unread.contains(&need.value) => {
                    let problem = Problem::new(format!("there is no check \"{}\"", need.value));
                    let near = nearest(&need.value, known());
                    let help =
                        near.map_or("name another of `checks`".to_owned(), |near| format!("did you mean \"{near}\"?"));
                    fields.complain("checks", need.span.clone(), problem.with_help(help));
                }
                _ => {}
            }
        }
    }
    section.order = order(fields, &section.checks, &needs);
}

fn check(
    own: &Fields<'_>,
    name: &Spanned<String>,
    timeout: time::Duration,
    slow: Option<time::Duration>,
) -> Option<AggregateCheckSection> {
    let (mut critical, mut timeout, mut slow) = (false, timeout, slow);
    own.set("critical", &mut critical, boolean);
    own.set("timeout", &mut timeout, duration);
    own.set("slow", &mut slow, or_off(duration));
    let asked = http_check(own);
    let upstream = own.get("upstream", crate::config::values::name);
    let (http, tcp) = (own.get("http", host_port), own.get("tcp", host_port));
    let given: Vec<&str> = ["upstream", "http", "tcp"].into_iter().filter(|key| own.has(key)).collect();
    let [kind] = *given else {
        let problem = Problem::new("one of `upstream`, `http` and `tcp` is wanted");
        own.complain("name", name.span.clone(), problem);
        return None;
    };
    let is_asked = kind == "http" || (kind == "upstream" && own.has("path"));
    for key in ["path", "host", "status", "body"].into_iter().filter(|key| !is_asked && own.has(key)) {
        let why = match kind {
            "upstream" => "without `path` an upstream is not asked for anything",
            _ => "a check of `tcp` asks for nothing",
        };
        own.complain(key, own.key_span(key), Problem::new(why));
    }
    let (target, check) = match (upstream, http, tcp) {
        (Some(upstream), ..) => (TargetSection::Upstream(upstream), is_asked.then_some(asked)),
        (_, Some(http), _) => (TargetSection::Address(http), Some(asked)),
        (.., Some(tcp)) => (TargetSection::Address(tcp), Some(Check::Tcp)),
        _ => return None,
    };
    Some(AggregateCheckSection { name: name.clone(), target, check, critical, needs: Vec::new(), timeout, slow })
}

/// Every check after those that it needs. Complains about each `needs` that leads back to its own check.
fn order(fields: &Fields<'_>, checks: &[AggregateCheckSection], needs: &[Needs]) -> Vec<u16> {
    let mut order = Vec::with_capacity(checks.len());
    // What is on the way to the check that is looked at: its index, and how many of its needs have been looked at.
    let mut way: Vec<(u16, usize)> = Vec::new();
    let mut is_seen = vec![false; checks.len()];
    for start in 0..checks.len() as u16 {
        if !std::mem::replace(&mut is_seen[usize::from(start)], true) {
            way.push((start, 0));
        }
        while let Some((at, done)) = way.last_mut() {
            let at = *at;
            let Some(&need) = checks[usize::from(at)].needs.get(*done) else {
                order.push(at);
                way.pop();
                continue;
            };
            *done += 1;
            if let Some(begin) = way.iter().position(|&(on_way, _)| on_way == need) {
                let name = |at: u16| checks[usize::from(at)].name.value.as_str();
                let mut cycle: Vec<&str> = way[begin..].iter().map(|&(at, _)| name(at)).collect();
                cycle.push(name(need));
                let mut written = needs[usize::from(at)].iter();
                let span = written.find(|written| written.value == name(need)).map(|written| written.span.clone());
                let problem = Problem::new(format!("{} is a circle", cycle.join(" needs ")));
                let span = span.unwrap_or_else(|| fields.key_span("checks"));
                fields.complain("checks", span, problem.with_help("leave out one of these `needs`"));
            } else if !std::mem::replace(&mut is_seen[usize::from(need)], true) {
                way.push((need, 0));
            }
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use crate::config::compile;

    /// Everything that is wrong with a service of these keys: place and message.
    fn wrong(keys: &str) -> Vec<String> {
        let text = format!(
            "[listener.web]\naddress = \"127.0.0.1:1\"\n[upstream.users]\nendpoints = \"10.0.0.1:1\"\n\
             [[route]]\nname = \"a\"\npath = \"/a\"\nupstream = \"users\"\n\
             [[route]]\nname = \"b\"\npath = \"/b\"\nservice = \"h\"\n[service.h]\ntype = \"health\"\n{keys}\n"
        );
        let found = compile("t.toml", &text, 1, &mut |host, _| Err(format!("{host} is not known")));
        let report = found.map_or_else(|report| report, |(_, report)| report);
        report.to_string().lines().map(str::to_owned).collect()
    }

    fn says(keys: &str, parts: &[&str]) {
        let all = wrong(keys).join("\n");
        for part in parts {
            assert!(all.contains(part), "{keys}\n{all}\nlacks {part}");
        }
    }

    #[test]
    fn a_circle_is_named_with_its_place() {
        let checks = |a: &str, b: &str, c: &str| {
            format!(
                "checks = [\n{{ name = \"a\", tcp = \"10.0.0.1:1\", needs = [{a}] }},\n\
                 {{ name = \"b\", tcp = \"10.0.0.1:1\", needs = [{b}] }},\n\
                 {{ name = \"c\", tcp = \"10.0.0.1:1\", needs = [{c}] }},\n]"
            )
        };
        says(&checks("\"b\"", "\"c\"", "\"a\""), &["t.toml:18:", "a needs b needs c needs a is a circle"]);
        says(&checks("\"a\"", "", ""), &["t.toml:16:", "a needs a is a circle"]);
        says(&checks("\"b\"", "\"a\"", "\"c\""), &["a needs b needs a is a circle", "c needs c is a circle"]);
        assert_eq!(wrong(&checks("\"b\", \"c\", \"c\"", "\"c\"", "")), [""; 0]);
        says(&checks("\"bb\"", "", ""), &["t.toml:16:", "there is no check \"bb\"", "did you mean \"b\"?"]);
    }

    #[test]
    fn each_check_asks_somewhere_and_once() {
        says("", &["the key `checks` is missing"]);
        says("checks = []", &["1 to 256 checks are wanted"]);
        says("checks = [{ name = \"a\" }]", &["one of `upstream`, `http` and `tcp` is wanted"]);
        says("checks = [{ name = \"a\", upstream = \"users\", tcp = \"a:1\" }]", &["one of `upstream`"]);
        says("checks = [{ name = \"a\", upstream = \"user\" }]", &["no upstream \"user\"", "did you mean \"users\"?"]);
        says("checks = [{ name = \"a\", tcp = \"db:1\" }]", &["\"db\" cannot be resolved: db is not known"]);
        says("checks = [{ name = \"a\", upstream = \"users\", status = 200 }]", &["without `path`"]);
        says("checks = [{ name = \"a\", tcp = \"10.0.0.1:1\", path = \"/\" }]", &["asks for nothing"]);
        says("checks = [{ name = \"a\", tpc = \"10.0.0.1:1\" }]", &["unknown key `tpc`", "did you mean `tcp`?"]);
        let twice = "{ name = \"a\", tcp = \"10.0.0.1:1\" }";
        says(&format!("checks = [{twice}, {twice}]"), &["two checks have the name \"a\"", "first here"]);
        let many: Vec<String> = (0..257).map(|at| format!("{{ name = \"c{at}\", tcp = \"10.0.0.1:1\" }}")).collect();
        says(&format!("checks = [{}]", many.join(", ")), &["1 to 256 checks are wanted"]);
    }

    #[test]
    fn other_keys_take_what_they_say() {
        let one = "checks = [{ name = \"a\", tcp = \"10.0.0.1:1\", timeout = \"3s\" }]\n";
        assert_eq!(wrong(one), [""; 0]);
        says(&format!("{one}degraded_status = 201"), &["200, 207 or 503 is wanted, not 201"]);
        says(&format!("{one}detail = \"ful\""), &["did you mean \"full\"?"]);
    }
}
