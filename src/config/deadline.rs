//! `deadline` of `[[route]]` and of `[listener.NAME]`.

use super::kind::FIELD_NAME;
use super::kind::Kind::{Duration, List, OneOf};
use super::policy::field_name;
use super::reader::Otherwise::{Is, Words};
use super::reader::{Fields, Key, Problem, Read, Section, key, section};
use super::tree::Value;
use super::values::{duration, one_of, string};
use crate::plan::{Deadline, DeadlineField, DeadlineFormat, DeadlineTrust};

pub(super) const DEADLINE: Section = section("[route.deadline]", KEYS);
pub(super) const OF_LISTENER: Section = section("[listener.NAME.deadline]", KEYS);

const KEYS: &[Key] = &[
    key("header", FIELD_NAME, Is("\"x-request-deadline\"")),
    key("format", OneOf(&["ms", "seconds", "unix-ms"]), Is("\"ms\"")),
    key("trust", OneOf(&["proxies", "anyone", "nobody"]), Is("\"proxies\"")),
    key("max", Duration, Words("`timeout.total`")),
    key("send", List("field names", &FIELD_NAME), Words("`header` alone")),
];

/// The one field whose form is not for the config to say.
const GRPC: &str = "grpc-timeout";

pub(super) fn deadline(fields: &Fields<'_>) -> Deadline {
    let mut format = DeadlineFormat::Millis;
    const FORMATS: &[(&str, DeadlineFormat)] = &[
        ("ms", DeadlineFormat::Millis),
        ("seconds", DeadlineFormat::Seconds),
        ("unix-ms", DeadlineFormat::UnixMillis),
    ];
    fields.set("format", &mut format, one_of(FORMATS));
    let mut trust = DeadlineTrust::Proxies;
    const TRUST: &[(&str, DeadlineTrust)] =
        &[("proxies", DeadlineTrust::Proxies), ("anyone", DeadlineTrust::Anyone), ("nobody", DeadlineTrust::Nobody)];
    fields.set("trust", &mut trust, one_of(TRUST));
    let mut max = None;
    fields.set("max", &mut max, |value| duration(value).map(Some));
    let field = |name: String| {
        let format = if name == GRPC { DeadlineFormat::Grpc } else { format };
        DeadlineField { name: name.into(), format }
    };
    let mut header = "x-request-deadline".to_owned();
    fields.set("header", &mut header, own_field);
    let send = fields.list("send", own_field);
    let send = send.map_or_else(|| vec![header.clone()], |all| all.into_iter().map(|name| name.value).collect());
    Deadline { field: field(header), trust, max, send: send.into_iter().map(field).collect() }
}

fn own_field(value: &Value) -> Read<String> {
    let name = field_name(&string(value)?)?;
    if name == "host" { Err(Problem::new("`host` is where a request goes")) } else { Ok(name) }
}
