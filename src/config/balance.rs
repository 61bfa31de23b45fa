//! `balance`, `sticky`, `failover` and `slow_start` of `[upstream.NAME]`, and what its endpoints say for them.

use super::kind::Kind::{Duration, Either, Map, Number, OneOf, Percentage, Secret, Table, Text, Typed};
use super::kind::{Kind, NAME, STRING};
use super::reader::Otherwise::{Is, Required, Words};
use super::reader::{Fields, Key, Problem, Read, Section, key, section};
use super::tree::Value;
use super::values::{duration, integer, is_token, name, one_of, or_off, percentage, string};
use crate::plan::{Balance, Failover, HashKey, SlowStart, Sticky};
use ringway_proto::jwt;
use std::sync::Arc;
use std::time;

const NAMES: &[&str] =
    &["round-robin", "random", "two-choices", "least-requests", "peak-ewma", "adaptive", "ring-hash", "maglev"];

/// A name alone stands for its defaults.
pub(super) const BALANCE: Kind = Either(&[OneOf(NAMES), Typed(TYPES)]);

const TYPES: &[(&str, &Section)] = &[
    ("round-robin", &PLAIN),
    ("random", &PLAIN),
    ("two-choices", &PLAIN),
    ("least-requests", &LEAST_REQUESTS),
    ("peak-ewma", &PEAK_EWMA),
    ("adaptive", &ADAPTIVE),
    ("ring-hash", &RING_HASH),
    ("maglev", &MAGLEV),
];

const TYPE: Key = key("type", OneOf(NAMES), Required);
const KEY: Key = key("key", HASH_KEY, Is("\"client-ip\""));
const HASH_KEY: Kind = Text(
    "hash key",
    r"^(client-ip|(header|cookie):[!#$%&'*+.^_`|~0-9A-Za-z-]+|path:.+|claim:([^/].*|(/([^~/]|~[01])*)+))$",
);
const MAX_LOAD: Key = key("max_load", Either(&[Number("number", 101, 10_000), OneOf(&["off"])]), Is("\"off\""));
const DECAY: Key = key("decay", Duration, Is("\"10s\""));

const PLAIN: Section = section("[upstream.NAME.balance]", &[TYPE]);
const LEAST_REQUESTS: Section = section(
    "[upstream.NAME.balance] of type least-requests",
    &[TYPE, key("choices", Number("number", 2, 1_000), Is("16"))],
);
const PEAK_EWMA: Section = section("[upstream.NAME.balance] of type peak-ewma", &[TYPE, DECAY]);
const ADAPTIVE: Section =
    section("[upstream.NAME.balance] of type adaptive", &[TYPE, DECAY, key("explore", Duration, Is("\"1s\""))]);
const RING_HASH: Section = section(
    "[upstream.NAME.balance] of type ring-hash",
    &[TYPE, KEY, key("virtual_nodes", Number("number", 1, 1_000), Is("160")), MAX_LOAD],
);
const MAGLEV: Section = section(
    "[upstream.NAME.balance] of type maglev",
    &[TYPE, KEY, key("table", Number("prime", 251, 5_000_011), Is("65537")), MAX_LOAD],
);
/// For a table whose type is not known.
const ANY: Section = section(
    "[upstream.NAME.balance]",
    &[
        TYPE,
        key("choices", Number("number", 2, 1_000), Words("as the type says")),
        DECAY,
        key("explore", Duration, Words("as the type says")),
        KEY,
        key("virtual_nodes", Number("number", 1, 1_000), Words("as the type says")),
        key("table", Number("prime", 251, 5_000_011), Words("as the type says")),
        MAX_LOAD,
    ],
);

pub(super) const STICKY: Section = section(
    "[upstream.NAME.sticky]",
    &[
        key("cookie", COOKIE_NAME, Is("\"ringway\"")),
        key("secret", Secret, Required),
        key("max_age", Duration, Words("until the client's session ends")),
    ],
);

const COOKIE_NAME: Kind = Text("cookie name", super::kind::TOKEN_PATTERN);

pub(super) const FAILOVER: Section = section(
    "[upstream.NAME.failover]",
    &[
        key("zone", NAME, Words("no zone goes before another")),
        key("enough", Percentage, Is("70")),
        key("panic", Either(&[Percentage, OneOf(&["off"])]), Is("50")),
    ],
);

/// A duration alone is that of the window.
pub(super) const SLOW_START: Kind = Either(&[Duration, Table(&SLOW_START_TABLE)]);
const SLOW_START_TABLE: Section = section(
    "[upstream.NAME.slow_start]",
    &[key("window", Duration, Required), key("from", Number("number", 1, 100), Is("10"))],
);

/// Metadata of endpoints, and subsets of them.
pub(super) const METADATA: Kind = Map("strings", &STRING);

#[derive(Clone, Copy)]
enum Type {
    RoundRobin,
    Random,
    TwoChoices,
    LeastRequests,
    PeakEwma,
    Adaptive,
    RingHash,
    Maglev,
}

const KNOWN: &[(&str, Type)] = &[
    ("round-robin", Type::RoundRobin),
    ("random", Type::Random),
    ("two-choices", Type::TwoChoices),
    ("least-requests", Type::LeastRequests),
    ("peak-ewma", Type::PeakEwma),
    ("adaptive", Type::Adaptive),
    ("ring-hash", Type::RingHash),
    ("maglev", Type::Maglev),
];

impl Type {
    /// With nothing but the defaults.
    fn alone(self) -> Balance {
        const TEN: time::Duration = time::Duration::from_secs(10);
        match self {
            Self::RoundRobin => Balance::RoundRobin,
            Self::Random => Balance::Random,
            Self::TwoChoices => Balance::TwoChoices,
            Self::LeastRequests => Balance::LeastRequests { choices: 16 },
            Self::PeakEwma => Balance::PeakEwma { decay: TEN },
            Self::Adaptive => Balance::Adaptive { decay: TEN, explore: time::Duration::from_secs(1) },
            Self::RingHash => Balance::RingHash { key: HashKey::ClientIp, points: 160, max_load: None },
            Self::Maglev => Balance::Maglev { key: HashKey::ClientIp, table: 65_537, max_load: None },
        }
    }
}

/// What `balance` of an upstream says.
pub(super) fn balance(fields: &Fields<'_>) -> Balance {
    let mut balance = Balance::RoundRobin;
    let is_table = |value: &Value| Ok(value.as_table().is_some());
    if !fields.get("balance", is_table).is_some_and(|is_table| is_table.value) {
        fields.set("balance", &mut balance, |value| one_of(KNOWN)(value).map(Type::alone));
        return balance;
    }
    let of = |section| fields.table("balance", section);
    let word = fields.get("balance", |value| {
        let said = value.as_table().and_then(|table| table.get("type")).and_then(Value::as_str);
        Ok(KNOWN.iter().position(|(known, _)| Some(*known) == said))
    });
    let Some((word, kind)) = word.and_then(|word| KNOWN.get(word.value?)) else {
        if let Some(own) = of(&ANY) {
            own.required("type", one_of(KNOWN));
        }
        return balance;
    };
    let section = TYPES.iter().find(|(name, _)| name == word).map(|(_, section)| *section);
    let Some(own) = section.and_then(of) else { return balance };
    balance = kind.alone();
    match &mut balance {
        Balance::RoundRobin | Balance::Random | Balance::TwoChoices => {}
        Balance::LeastRequests { choices } => own.set("choices", choices, integer(2..=1_000)),
        Balance::PeakEwma { decay } => own.set("decay", decay, duration),
        Balance::Adaptive { decay, explore } => {
            own.set("decay", decay, duration);
            own.set("explore", explore, duration);
        }
        Balance::RingHash { key, points, max_load } => {
            own.set("key", key, hash_key);
            own.set("virtual_nodes", points, integer(1..=1_000));
            own.set("max_load", max_load, or_off(integer(101..=10_000)));
        }
        Balance::Maglev { key, table, max_load } => {
            own.set("key", key, hash_key);
            own.set("table", table, prime);
            own.set("max_load", max_load, or_off(integer(101..=10_000)));
        }
    }
    balance
}

fn hash_key(value: &Value) -> Read<HashKey> {
    const HELP: &str = "\"client-ip\", \"header:NAME\", \"cookie:NAME\", \"path:NAME\", a capture of the route's path, or \"claim:NAME\"";
    let text = string(value)?;
    if text == "client-ip" {
        return Ok(HashKey::ClientIp);
    }
    let wrong = || Problem::new(format!("\"{text}\" is no hash key")).with_help(HELP);
    let (kind, name) = text.split_once(':').ok_or_else(wrong)?;
    match kind {
        "header" if is_token(name) => Ok(HashKey::Header(name.to_ascii_lowercase().into())),
        "cookie" if is_token(name) => Ok(HashKey::Cookie(name.into())),
        "path" if !name.is_empty() => Ok(HashKey::PathParameter(name.into())),
        "claim" => {
            let path = jwt::Path::new(name);
            path.map(HashKey::Claim).map_err(|error| {
                Problem::new(format!("\"{name}\" is no path to a claim: {error}"))
                    .with_help("\"claim:sub\", or steps inside a claim: \"claim:/realm_access/tenant\"")
            })
        }
        _ => Err(wrong()),
    }
}

/// The places of a table: every step of an endpoint through it must reach each.
fn prime(value: &Value) -> Read<u32> {
    let number: u32 = integer(251..=5_000_011)(value)?;
    if is_prime(number) {
        return Ok(number);
    }
    let next = (number..=5_000_011).find(|&number| is_prime(number)).unwrap_or(5_000_011);
    Err(Problem::new(format!("{number} is no prime")).with_help(format!("the next one is {next}")))
}

fn is_prime(number: u32) -> bool {
    number > 1 && (2..=number.isqrt()).all(|by| !number.is_multiple_of(by))
}

pub(super) fn sticky(fields: &Fields<'_>) -> Option<Sticky> {
    let own = fields.table("sticky", &STICKY)?;
    own.must_have("secret");
    let secret = own.get("secret", |value| Ok(own.secret("secret", value)));
    let mut cookie: Arc<str> = "ringway".into();
    own.set("cookie", &mut cookie, |value| {
        let text = string(value)?;
        let problem = || Problem::new(format!("\"{text}\" is no cookie name"));
        if is_token(&text) { Ok(text.as_str().into()) } else { Err(problem()) }
    });
    let max_age = own.get("max_age", duration).map(|age| age.value);
    Some(Sticky { cookie, secret: secret?.value?, max_age })
}

pub(super) fn failover(fields: &Fields<'_>) -> Failover {
    let mut failover = Failover::default();
    if let Some(own) = fields.table("failover", &FAILOVER) {
        failover.zone = own.get("zone", name).map(|zone| zone.value.into());
        own.set("enough", &mut failover.enough, percentage);
        own.set("panic", &mut failover.panic, |value| or_off(percentage)(value).map(Option::unwrap_or_default));
    }
    failover
}

pub(super) fn slow_start(fields: &Fields<'_>) -> Option<SlowStart> {
    let is_table = fields.get("slow_start", |value| Ok(value.as_table().is_some()))?.value;
    if !is_table {
        return fields.get("slow_start", duration).map(|window| SlowStart { window: window.value, from: 10 });
    }
    let own = fields.table("slow_start", &SLOW_START_TABLE)?;
    let mut from = 10;
    own.set("from", &mut from, integer(1..=100));
    Some(SlowStart { window: own.required("window", duration)?.value, from })
}

/// A table of strings, sorted by name.
pub(super) fn metadata(fields: &Fields<'_>, key: &str) -> Box<[(Arc<str>, Arc<str>)]> {
    let mut all: Vec<(Arc<str>, Arc<str>)> = Vec::new();
    for (name, value) in fields.entries(key) {
        match string(value) {
            Ok(text) => all.push((name.value.into(), text.into())),
            Err(problem) => fields.complain(key, value.span(), problem),
        }
    }
    all.sort();
    all.into()
}
