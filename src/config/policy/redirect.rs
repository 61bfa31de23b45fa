//! `[policy.NAME]` of type redirect.

use super::super::kind::Kind::{Numbers, OneOf};
use super::super::kind::{HOST, TEMPLATE};
use super::super::reader::Otherwise::{Is, Words};
use super::super::reader::{Fields, Section, Spanned, key, section};
use super::super::report::Diagnostic;
use super::super::service::{location, redirect_status};
use super::super::values::{host_and_maybe_port, one_of};
use super::{PolicyKeys, SHADOW, type_key};

/// `type = "redirect"`.
#[derive(Clone, Debug)]
pub(crate) struct RedirectPolicySection {
    /// 301, 302, 303, 307 or 308.
    pub(crate) status: u16,
    /// Nothing where it could not be read.
    pub(crate) to: Option<RedirectTo>,
}

/// Where to.
#[derive(Clone, Debug)]
pub(crate) enum RedirectTo {
    /// Every request, there: a template.
    Location(Spanned<String>),
    /// What has not this form, to what has it.
    Form {
        /// Whether the scheme is to be https.
        https: Option<bool>,
        /// The host, with its port.
        host: Option<String>,
        /// Whether the path is to end with a slash.
        slash: Option<bool>,
    },
}

impl PolicyKeys for RedirectPolicySection {
    const TYPE: &'static str = "redirect";
    const KEYS: &'static Section = &section(
        "[policy.NAME] of type redirect",
        &[
            type_key(&["redirect"]),
            SHADOW,
            key("status", Numbers(&[301, 302, 303, 307, 308]), Is("308")),
            key("location", TEMPLATE, Words("the request's own URL, mended")),
            key("scheme", OneOf(&["http", "https"]), Words("either is right")),
            key("host", HOST, Words("any is right")),
            key("trailing_slash", OneOf(&["add", "remove"]), Words("the path stays")),
        ],
    );

    fn read(fields: &Fields<'_>) -> Self {
        let mut status = 308;
        fields.set("status", &mut status, redirect_status);
        let scheme = fields.get("scheme", one_of(&[("http", false), ("https", true)]));
        let host = fields.get("host", host_and_maybe_port);
        let slash = fields.get("trailing_slash", one_of(&[("add", true), ("remove", false)]));
        let location = location(fields);
        let form = ["scheme", "host", "trailing_slash"].into_iter().find(|key| fields.has(key));
        let to = match (form, fields.has("location")) {
            (None, false) => {
                let diagnostic = Diagnostic::error(fields.span.clone(), "this redirect leads nowhere");
                fields
                    .diags
                    .push(diagnostic.help("give it `location`, or one of `scheme`, `host` and `trailing_slash`"));
                None
            }
            (Some(form), true) => {
                let message = format!("a redirect has either `location` or `{form}`");
                let diagnostic = Diagnostic::error(fields.key_span("location"), message);
                fields.diags.push(diagnostic.also(fields.key_span(form), "and this"));
                None
            }
            (None, true) => location.map(RedirectTo::Location),
            (Some(_), false) => Some(RedirectTo::Form {
                https: scheme.map(|scheme| scheme.value),
                host: host.map(|host| host.value),
                slash: slash.map(|slash| slash.value),
            }),
        };
        Self { status, to }
    }
}
