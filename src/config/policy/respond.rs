//! `[policy.NAME]` of type respond: the keys of the service of that type.

use super::super::reader::{Fields, Section, section};
use super::super::respond;
use super::{PolicyKeys, SHADOW, type_key};
use crate::plan::Respond;
use std::sync::Arc;

/// `type = "respond"`.
#[derive(Clone, Debug)]
pub(crate) struct RespondPolicySection(pub(crate) Arc<Respond>);

impl PolicyKeys for RespondPolicySection {
    const TYPE: &'static str = "respond";
    const KEYS: &'static Section = &section(
        "[policy.NAME] of type respond",
        &[type_key(&["respond"]), SHADOW, respond::STATUS, respond::BODY, respond::CONTENT_TYPE, respond::HEADERS],
    );

    fn read(fields: &Fields<'_>) -> Self {
        Self(Arc::new(respond::read(fields)))
    }
}
