//! Compiles the templates of one place in the config, where it is known which captures there are.

use std::ops::Range;

use super::template::{Scope, Template, TemplateError};
use crate::config::{Diagnostic, Diagnostics, Spanned, nearest};

/// The templates of one route or listener.
pub(crate) struct Templates<'c> {
    pub(super) diags: &'c Diagnostics,
    /// The captures of the route in the order of its path, none for a listener; not known where its path is wrong.
    pub(super) captures: Option<&'c [String]>,
    /// The path of the route.
    pub(super) path: Option<Range<usize>>,
}

impl Templates<'_> {
    /// Compiles one; nothing where it is wrong, which is complained about, or the captures are not known.
    pub(crate) fn compile(&self, text: &Spanned<String>, scope: Scope) -> Option<Template> {
        let errors = match Template::compile(&text.value, self.captures?, scope) {
            Ok(template) => return Some(template),
            Err(errors) => errors,
        };
        for error in &errors {
            // The others were complained about where the template was read.
            let TemplateError::Unknown { at, name, known } = error else { continue };
            let help = match nearest(name, known.iter().map(String::as_str)) {
                Some(near) => format!("did you mean `{{{near}}}`?"),
                None => format!("known here: {}", known.join(", ")),
            };
            let place = text.part(*at..*at + name.len() + 2);
            let mut diagnostic = if text.is_expanded {
                // What the environment gave may be a secret.
                Diagnostic::error(
                    place,
                    "a name in braces, in what the environment gives, names nothing that may be used here",
                )
            } else {
                Diagnostic::error(place, error.to_string()).help(help)
            };
            if let Some(path) = &self.path {
                diagnostic = diagnostic.also(path.clone(), "the path of the route it is used by");
            }
            self.diags.push(diagnostic);
        }
        None
    }
}
