//! `mirror` of `[[route]]`.

use super::kind::Kind::{Duration, List, Number, Ratio, Size};
use super::kind::{FIELD_NAME, NAME};
use super::policy::field_name;
use super::reader::Otherwise::{Is, Required};
use super::reader::{Fields, Section, Spanned, key, section};
use super::values::{duration, integer, name, ratio, size, string};
use std::time;

const BODY_MAX: u64 = 16 << 20;

pub(super) const MIRROR: Section = section(
    "[route.mirror]",
    &[
        key("upstream", NAME, Required),
        key("share", Ratio, Is("1")),
        key("body", Size(0, BODY_MAX), Is("\"64KiB\"")),
        key("max_active", Number("number", 1, 100_000), Is("100")),
        key("timeout", Duration, Is("\"5s\"")),
        key("remove", List("field names", &FIELD_NAME), Is("[]")),
    ],
);

/// `mirror` of a route, as the config has it; see [`crate::plan::Mirror`].
#[derive(Clone, Debug)]
pub struct MirrorSection {
    /// The upstream of this name.
    pub upstream: Spanned<String>,
    pub(crate) share: u32,
    pub(crate) body: u32,
    pub(crate) max_active: u32,
    pub(crate) timeout: time::Duration,
    pub(crate) remove: Vec<String>,
}

pub(super) fn mirror(fields: &Fields<'_>) -> Option<MirrorSection> {
    let (mut share, mut body, mut max_active, mut timeout) = (1_000_000, 64 << 10, 100, time::Duration::from_secs(5));
    fields.set("share", &mut share, ratio);
    fields.set("body", &mut body, size(0..=BODY_MAX));
    fields.set("max_active", &mut max_active, integer(1..=100_000));
    fields.set("timeout", &mut timeout, duration);
    let remove = fields.list("remove", |value| field_name(&string(value)?)).unwrap_or_default();
    let remove = remove.into_iter().map(|name| name.value).collect();
    Some(MirrorSection { upstream: fields.required("upstream", name)?, share, body, max_active, timeout, remove })
}
