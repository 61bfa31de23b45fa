//! `[policy.NAME]` of type rewrite.

use super::super::kind::Kind::Text;
use super::super::kind::TEMPLATE;
use super::super::reader::Otherwise::Words;
use super::super::reader::{Fields, Problem, Section, Spanned, key, section};
use super::super::report::Diagnostic;
use super::super::values::string;
use super::{PolicyKeys, SHADOW, check_template, type_key};

/// `type = "rewrite"`.
#[derive(Clone, Debug, Default)]
pub(crate) struct RewriteSection {
    /// Taken off the path; without a slash behind.
    pub(crate) strip_prefix: Option<Spanned<String>>,
    /// The template of the new path.
    pub(crate) path: Option<Spanned<String>>,
    /// The template of the new query.
    pub(crate) query: Option<Spanned<String>>,
}

impl PolicyKeys for RewriteSection {
    const TYPE: &'static str = "rewrite";
    const KEYS: &'static Section = &section(
        "[policy.NAME] of type rewrite",
        &[
            type_key(&["rewrite"]),
            SHADOW,
            key("strip_prefix", Text("path", "^/."), Words("nothing is stripped")),
            key("path", TEMPLATE, Words("the path stays")),
            key("query", TEMPLATE, Words("the query stays")),
        ],
    );

    fn read(fields: &Fields<'_>) -> Self {
        let template = |key| {
            let text = fields.get(key, string)?;
            check_template(fields, key, &text);
            Some(text)
        };
        let strip_prefix = fields.get("strip_prefix", |value| {
            let prefix = string(value)?;
            let stripped = prefix.strip_suffix('/').unwrap_or(&prefix);
            if !stripped.starts_with('/')
                || crate::plan::normalize(prefix.as_bytes(), &mut Vec::new()) != Ok(crate::plan::Normalized::Unchanged)
            {
                let problem = Problem::new(format!("\"{prefix}\" is no prefix of a normalized path"));
                return Err(problem.with_help("whole segments, such as \"/api\""));
            }
            Ok(stripped.to_owned())
        });
        let path = template("path");
        let query = template("query");
        if let Some(path) =
            path.as_ref().filter(|path| !path.value.starts_with('/') && !path.value.starts_with("{path}"))
        {
            fields.complain("path", path.span.clone(), Problem::new("a path begins with `/`"));
        }
        if let (true, Some(path)) = (fields.has("strip_prefix"), &path) {
            let diagnostic = Diagnostic::error(path.span.clone(), "a rewrite has either `strip_prefix` or `path`");
            fields.diags.push(diagnostic.also(fields.key_span("strip_prefix"), "and this"));
        }
        let keys = ["strip_prefix", "path", "query"];
        if !keys.iter().any(|key| fields.has(key)) {
            let diagnostic = Diagnostic::error(fields.span.clone(), "this rewrite changes nothing");
            fields.diags.push(diagnostic.help("give it `strip_prefix`, `path` or `query`"));
        }
        Self { strip_prefix, path, query }
    }
}
