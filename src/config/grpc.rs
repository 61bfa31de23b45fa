//! `grpc` of `[[route]]`.

use super::kind::Kind;
use super::kind::Kind::{Duration, Either, Flag, OneOf, Size};
use super::reader::Otherwise::{Is, Words};
use super::reader::{Fields, Problem, Read, Section, key, section};
use super::tree::Value;
use super::values::{boolean, duration, one_of, size};
use crate::plan::Grpc;

/// What the length of a message can say.
const LARGEST: u64 = u32::MAX as u64;
const SIZE_OR_UNLIMITED: Kind = Either(&[Size(1, LARGEST), OneOf(&["unlimited"])]);

pub(super) const GRPC: Section = section(
    "[route.grpc]",
    &[
        key("web", Either(&[Flag(true), Flag(false)]), Is("false")),
        key("max_message", SIZE_OR_UNLIMITED, Is("\"64MiB\"")),
        key("timeout", OneOf(&["enforced", "ignored"]), Is("\"enforced\"")),
        key("max_timeout", Duration, Words("`timeout.total`")),
    ],
);

pub(super) fn grpc(fields: &Fields<'_>) -> Grpc {
    let mut grpc = Grpc::default();
    fields.set("web", &mut grpc.web, boolean);
    fields.set("max_message", &mut grpc.max_message, size_or_unlimited);
    fields.set("timeout", &mut grpc.ends_in_time, one_of(&[("enforced", true), ("ignored", false)]));
    fields.set("max_timeout", &mut grpc.max_timeout, |value| duration(value).map(Some));
    if !grpc.ends_in_time && fields.has("max_timeout") {
        let problem = Problem::new("`timeout = \"ignored\"` leaves nothing for `max_timeout` to bound");
        fields.complain("max_timeout", fields.key_span("max_timeout"), problem);
    }
    grpc
}

fn size_or_unlimited(value: &Value) -> Read<u32> {
    if value.as_str() == Some("unlimited") { Ok(u32::MAX) } else { size(1..=LARGEST)(value) }
}
