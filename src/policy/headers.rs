//! `type = "headers"`: fields added, set, removed and renamed on requests and responses.

use super::Kind;
use crate::config::{EditsSection, HeadersSection, ValueSection};
use crate::flow::{Edits, Request, Response, Verdict};
use crate::plan::{Scope, Template, Templates, Vars};

/// Both directions of one policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Headers {
    /// On the request, on its way to the service.
    request: HeaderEdits,
    /// On the response, on its way to the client.
    response: HeaderEdits,
}

/// The edits of one head. Names are valid, in lower case, and each in one edit only, but for those that are added.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
struct HeaderEdits {
    remove: Box<[Box<str>]>,
    rename: Box<[(Box<str>, Box<str>)]>,
    set: Box<[(Box<str>, Template)]>,
    add: Box<[(Box<str>, Template)]>,
    is_empty: bool,
}

impl HeaderEdits {
    fn compile(section: &EditsSection, templates: &Templates<'_>) -> Option<Self> {
        let values = |list: &[(String, ValueSection)]| {
            let one = |(name, value): &(String, ValueSection)| {
                let value = match value {
                    ValueSection::Template(text) => templates.compile(text, Scope::Any)?,
                    ValueSection::Secret(secret) => Template::secret(secret.clone()),
                };
                Some((name.as_str().into(), value))
            };
            list.iter().map(one).collect::<Option<Box<[_]>>>()
        };
        // Both before either is asked for, so that all errors come at once.
        let (set, add) = (values(&section.set), values(&section.add));
        let remove: Box<[Box<str>]> = section.remove.iter().map(|name| name.as_str().into()).collect();
        let renamed = |(from, to): &(String, String)| (from.as_str().into(), to.as_str().into());
        let rename: Box<[_]> = section.rename.iter().map(renamed).collect();
        let (set, add) = (set?, add?);
        let is_empty = remove.is_empty() && rename.is_empty() && set.is_empty() && add.is_empty();
        Some(Self { remove, rename, set, add, is_empty })
    }

    fn write(&self, edits: &mut Edits, vars: &impl Vars) {
        for name in &self.remove {
            edits.remove(name.as_bytes());
        }
        for (from, to) in &self.rename {
            edits.rename(from.as_bytes(), to.as_bytes());
        }
        for (name, value) in &self.set {
            edits.set(name.as_bytes(), |out| value.render(vars, out));
        }
        for (name, value) in &self.add {
            edits.add(name.as_bytes(), |out| value.render(vars, out));
        }
    }
}

#[cfg(test)]
impl Headers {
    /// The values that requests get.
    pub(crate) fn request_values(&self) -> impl Iterator<Item = &Template> {
        self.request.set.iter().map(|(_, value)| value)
    }
}

impl Kind for Headers {
    type Section = HeadersSection;
    type State = ();

    fn compile(section: &HeadersSection, templates: &Templates<'_>) -> Option<Self> {
        let request = HeaderEdits::compile(&section.request, templates);
        let response = HeaderEdits::compile(&section.response, templates);
        Some(Self { request: request?, response: response? })
    }

    fn core_state(&self) {}

    fn request(&self, (): &(), request: &mut Request<'_>) -> Verdict<'_> {
        if !self.request.is_empty {
            request.edit(|edits, vars| self.request.write(edits, vars));
        }
        Verdict::Continue
    }

    fn response(&self, (): &(), response: &mut Response<'_>) {
        if !self.response.is_empty {
            response.edit(|edits, vars| self.response.write(edits, vars));
        }
    }
}
