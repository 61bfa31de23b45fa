//! `type = "rewrite"`: another path and query on the way to the service.

use super::Kind;
use crate::config::{RewriteSection, Spanned};
use crate::flow::{Request, Verdict};
use crate::plan::{Scope, Template, Templates, Vars};

/// A new target for the service. Routes match the path the client sent; a rewrite changes what goes upstream.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Rewrite {
    path: Option<PathChange>,
    query: Option<Template>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum PathChange {
    /// Whole segments, with a slash in front and none behind.
    Strip(Box<[u8]>),
    Replace(Template),
}

impl Rewrite {
    /// Takes `prefix` off the path; `query` replaces the query when given. The prefix begins with `/` and does not end
    /// with one.
    fn strip(prefix: &str, query: Option<Template>) -> Self {
        Self { path: Some(PathChange::Strip(prefix.as_bytes().into())), query }
    }

    /// Puts a path and a query in place of those that came, each where given.
    fn replace(path: Option<Template>, query: Option<Template>) -> Self {
        Self { path: path.map(PathChange::Replace), query }
    }

    /// Appends the new path; false when the path stays and nothing was appended. `path` is the normalized path.
    /// A path without the prefix stays.
    fn path(&self, path: &[u8], vars: &impl Vars, out: &mut Vec<u8>) -> bool {
        match &self.path {
            None => false,
            Some(PathChange::Replace(template)) => {
                template.render(vars, out);
                true
            }
            Some(PathChange::Strip(prefix)) => match path.strip_prefix(&**prefix) {
                Some([]) => {
                    out.push(b'/');
                    true
                }
                Some(rest) if rest.starts_with(b"/") => {
                    out.extend_from_slice(rest);
                    true
                }
                _ => false,
            },
        }
    }

    /// Appends the new query, without a `?`; false when the query stays and nothing was appended. An empty new query
    /// means that there is none.
    fn query(&self, vars: &impl Vars, out: &mut Vec<u8>) -> bool {
        self.query.as_ref().is_some_and(|template| {
            template.render(vars, out);
            true
        })
    }
}

impl Kind for Rewrite {
    type Section = RewriteSection;
    type State = ();

    fn compile(section: &RewriteSection, templates: &Templates<'_>) -> Option<Self> {
        let of = |text: &Option<Spanned<String>>, scope| match text {
            Some(text) => templates.compile(text, scope).map(Some),
            None => Some(None),
        };
        let path = of(&section.path, Scope::Path);
        let query = of(&section.query, Scope::Query)?;
        Some(match &section.strip_prefix {
            Some(prefix) => Self::strip(&prefix.value, query),
            None => Self::replace(path?, query),
        })
    }

    fn core_state(&self) {}

    fn request(&self, (): &(), request: &mut Request<'_>) -> Verdict<'_> {
        request.retarget(|path, vars, out| self.path(path, vars, out), |vars, out| self.query(vars, out));
        Verdict::Continue
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Variable;

    struct Captured(&'static str);

    impl Vars for Captured {
        fn write(&self, variable: Variable, out: &mut Vec<u8>) {
            if variable == Variable::Capture(0) {
                out.extend_from_slice(self.0.as_bytes());
            }
        }
    }

    fn path(rewrite: &Rewrite, path: &str) -> Option<String> {
        let mut out = Vec::new();
        rewrite.path(path.as_bytes(), &Captured("7"), &mut out).then(|| String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_prefix_goes_off_whole_segments_only() {
        let rewrite = Rewrite::strip("/api", None);
        assert_eq!(path(&rewrite, "/api/users").as_deref(), Some("/users"));
        assert_eq!(path(&rewrite, "/api/").as_deref(), Some("/"));
        assert_eq!(path(&rewrite, "/api").as_deref(), Some("/"));
        assert_eq!(path(&rewrite, "/apis/users"), None);
        assert_eq!(path(&rewrite, "/v1/api"), None);
    }

    #[test]
    fn a_template_replaces_path_and_query() {
        let template = |text, scope| Template::compile(text, &["id"], scope).unwrap();
        let rewrite =
            Rewrite::replace(Some(template("/v2/{id}", Scope::Path)), Some(template("id={id}", Scope::Query)));
        assert_eq!(path(&rewrite, "/users/7").as_deref(), Some("/v2/7"));
        let mut query = Vec::new();
        assert!(rewrite.query(&Captured("7"), &mut query));
        assert_eq!(query, b"id=7");
    }

    #[test]
    fn what_is_not_given_stays() {
        let rewrite = Rewrite::replace(None, None);
        assert_eq!(path(&rewrite, "/users/7"), None);
        assert!(!rewrite.query(&Captured("7"), &mut Vec::new()));
    }
}
