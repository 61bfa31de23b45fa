//! Values with `{name}` in them: compiled once, rendered for each request.

use crate::config::Secret;
use std::fmt;

/// A compiled value, such as `https://{host}/users/{id}`. `{{` and `}}` stand for the braces themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pieces: Box<[Piece]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(Box<[u8]>),
    Secret(Secret),
    Variable(Variable),
}

/// What a `{name}` stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variable {
    /// The part of the path that the route's capture of this index matched.
    Capture(u8),
    /// `{client_ip}`: the client's address, without a port, as seen through trusted proxies.
    ClientIp,
    /// `{client_names}`: the subject alternative names of the client's TLS certificate.
    ClientNames,
    /// `{client_spiffe_id}`: the SPIFFE id of that certificate.
    ClientSpiffeId,
    /// `{client_subject}`: the subject of that certificate.
    ClientSubject,
    /// `{host}`: the host the client asked for, with its port where it gave one.
    Host,
    /// `{method}`: the method of the request.
    Method,
    /// `{path}`: the normalized path.
    Path,
    /// `{path_query}`: the normalized path, and `?` and the query where there is one.
    PathQuery,
    /// `{query}`: the query as it came, without the `?`.
    Query,
    /// `{request_id}`: the correlation id of the request.
    RequestId,
    /// `{scheme}`: `http` or `https`.
    Scheme,
    /// `{tls_version}`: `1.2` or `1.3`, where the client speaks TLS.
    TlsVersion,
}

const BUILT_IN: [(&str, Variable); 12] = [
    ("client_ip", Variable::ClientIp),
    ("client_names", Variable::ClientNames),
    ("client_spiffe_id", Variable::ClientSpiffeId),
    ("client_subject", Variable::ClientSubject),
    ("host", Variable::Host),
    ("method", Variable::Method),
    ("path", Variable::Path),
    ("path_query", Variable::PathQuery),
    ("query", Variable::Query),
    ("request_id", Variable::RequestId),
    ("scheme", Variable::Scheme),
    ("tls_version", Variable::TlsVersion),
];

/// Where the values of variables come from while a template is rendered.
pub trait Vars {
    /// Appends the value of one variable; nothing when it has none.
    fn write(&self, variable: Variable, out: &mut Vec<u8>);

    /// Whether the value is to be shown to somebody, who must not see secrets.
    fn is_shown(&self) -> bool {
        false
    }
}

/// Which names a template may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Captures and every built-in: header values and redirect locations.
    Any,
    /// Captures and `{path}` alone: a new path, which nothing outside the normalized path may flow into.
    Path,
    /// Captures, `{path}` and `{query}`: a new query.
    Query,
}

impl Scope {
    fn admits(self, variable: Variable) -> bool {
        match self {
            Self::Any => true,
            Self::Path => matches!(variable, Variable::Capture(_) | Variable::Path),
            Self::Query => matches!(variable, Variable::Capture(_) | Variable::Path | Variable::Query),
        }
    }
}

/// Why a text is no template. Offsets are bytes in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplateError {
    /// A `{` without its `}`.
    Unclosed {
        /// Where the brace is.
        at: usize,
    },
    /// A `}` without its `{`.
    Unopened {
        /// Where the brace is.
        at: usize,
    },
    /// A name that is neither a capture of the route nor built in.
    Unknown {
        /// Where the brace before the name is.
        at: usize,
        /// The name.
        name: String,
        /// Every name that would do here.
        known: Vec<String>,
    },
    /// A control or non-ASCII character, which no header value or path may hold.
    Character {
        /// Where it is.
        at: usize,
    },
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unclosed { .. } => f.write_str("`{` is not closed (`{{` stands for a brace itself)"),
            Self::Unopened { .. } => f.write_str("`}` was not opened (`}}` stands for a brace itself)"),
            Self::Unknown { name, .. } => write!(f, "`{{{name}}}` names nothing that may be used here"),
            Self::Character { .. } => f.write_str("only printable ASCII may be used here"),
        }
    }
}

impl Template {
    /// Compiles `text`; `captures` are the names of the route's captures in the order of its path, empty where one has
    /// no name. A capture hides a built-in of the same name. Everything wrong is in the error, but what follows an open
    /// brace that is not closed.
    pub fn compile<S: AsRef<str>>(text: &str, captures: &[S], scope: Scope) -> Result<Self, Vec<TemplateError>> {
        let (mut pieces, mut literal, mut errors) = (Vec::new(), Vec::new(), Vec::new());
        let bytes = text.as_bytes();
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            let mut length = 1;
            match (byte, bytes.get(at + 1)) {
                (b'{', Some(b'{')) | (b'}', Some(b'}')) => {
                    literal.push(byte);
                    length = 2;
                }
                (b'{', _) => {
                    let rest = text.get(at + 1..).unwrap_or_default();
                    let Some((name, _)) = rest.split_once('}') else {
                        errors.push(TemplateError::Unclosed { at });
                        break;
                    };
                    length = name.len() + 2;
                    if let Some(variable) = find(name, captures, scope) {
                        if !literal.is_empty() {
                            pieces.push(Piece::Literal(std::mem::take(&mut literal).into()));
                        }
                        pieces.push(Piece::Variable(variable));
                    } else {
                        let (name, known) = (name.to_owned(), known(captures, scope));
                        errors.push(TemplateError::Unknown { at, name, known });
                    }
                }
                (b'}', _) => errors.push(TemplateError::Unopened { at }),
                (0x20..=0x7e, _) => literal.push(byte),
                _ => {
                    errors.push(TemplateError::Character { at });
                    length = text.get(at..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8);
                }
            }
            at += length;
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal.into()));
        }
        if errors.is_empty() { Ok(Self { pieces: pieces.into() }) } else { Err(errors) }
    }

    /// A value that is sent as it is and never shown.
    pub fn secret(secret: Secret) -> Self {
        Self { pieces: [Piece::Secret(secret)].into() }
    }

    /// Appends the value for one request. Whatever a variable holds, no control byte gets through: a value can never
    /// end the header line it is written to.
    pub fn render(&self, vars: &impl Vars, out: &mut Vec<u8>) {
        for piece in &self.pieces {
            match piece {
                Piece::Literal(bytes) => out.extend_from_slice(bytes),
                Piece::Secret(_) if vars.is_shown() => out.extend_from_slice(b"(secret)"),
                Piece::Secret(secret) => out.extend_from_slice(secret.expose().as_bytes()),
                Piece::Variable(variable) => {
                    let start = out.len();
                    vars.write(*variable, out);
                    drop_controls(out, start);
                }
            }
        }
    }

    /// The whole value, when it has no variable in it.
    pub fn literal(&self) -> Option<&[u8]> {
        match &*self.pieces {
            [] => Some(b""),
            [Piece::Literal(bytes)] => Some(bytes),
            _ => None,
        }
    }

    /// The literal bytes the value always begins with.
    pub fn prefix(&self) -> &[u8] {
        match self.pieces.first() {
            Some(Piece::Literal(bytes)) => bytes,
            _ => b"",
        }
    }

    /// Whether the value begins with this variable.
    pub fn starts_with(&self, variable: Variable) -> bool {
        self.pieces.first() == Some(&Piece::Variable(variable))
    }
}

fn find<S: AsRef<str>>(name: &str, captures: &[S], scope: Scope) -> Option<Variable> {
    let capture = captures.iter().position(|capture| !name.is_empty() && capture.as_ref() == name);
    let variable = match capture {
        Some(index) => Variable::Capture(u8::try_from(index).ok()?),
        None => BUILT_IN.iter().find(|(known, _)| *known == name)?.1,
    };
    scope.admits(variable).then_some(variable)
}

fn known<S: AsRef<str>>(captures: &[S], scope: Scope) -> Vec<String> {
    let captures = captures.iter().map(AsRef::as_ref).filter(|name| !name.is_empty());
    let built_in = BUILT_IN.iter().filter(|(_, variable)| scope.admits(*variable)).map(|(name, _)| *name);
    captures.chain(built_in).map(str::to_owned).collect()
}

fn drop_controls(out: &mut Vec<u8>, start: usize) {
    let is_control = |byte: &u8| *byte < 0x20 || *byte == 0x7f;
    if out.get(start..).is_some_and(|new| new.iter().any(is_control)) {
        let kept: Vec<u8> = out.drain(start..).filter(|byte| !is_control(byte)).collect();
        out.extend(kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed;

    impl Vars for Fixed {
        fn write(&self, variable: Variable, out: &mut Vec<u8>) {
            out.extend_from_slice(match variable {
                Variable::Capture(0) => b"7",
                Variable::Capture(_) => b"tail/of/it",
                Variable::Host => b"example.com",
                Variable::Query => b"a=1\r\nx: y",
                _ => b"",
            });
        }
    }

    fn render(text: &str) -> String {
        let template = Template::compile(text, &["id", "rest"], Scope::Any).unwrap();
        let mut out = Vec::new();
        template.render(&Fixed, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_template_mixes_text_captures_and_built_ins() {
        assert_eq!(render("https://{host}/users/{id}/{rest}"), "https://example.com/users/7/tail/of/it");
        assert_eq!(render("plain"), "plain");
        assert_eq!(render(""), "");
        assert_eq!(render("{{{id}}}"), "{7}");
    }

    #[test]
    fn control_bytes_of_a_variable_are_dropped() {
        assert_eq!(render("{query}"), "a=1x: y");
    }

    #[test]
    fn a_capture_hides_a_built_in_of_its_name() {
        let template = Template::compile("{host}", &["host"], Scope::Any).unwrap();
        assert!(template.starts_with(Variable::Capture(0)));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let compile = |text: &str, scope| Template::compile(text, &["id"], scope).unwrap_err();
        assert_eq!(compile("a{id", Scope::Any), [TemplateError::Unclosed { at: 1 }]);
        assert_eq!(compile("a}", Scope::Any), [TemplateError::Unopened { at: 1 }]);
        assert_eq!(compile("a\tb", Scope::Any), [TemplateError::Character { at: 1 }]);
        assert_eq!(compile("é}", Scope::Any), [TemplateError::Character { at: 0 }, TemplateError::Unopened { at: 2 }]);
        let unknown = |at, name: &str| {
            let known = vec!["id".to_owned(), "path".to_owned()];
            TemplateError::Unknown { at, name: name.to_owned(), known }
        };
        assert_eq!(compile("/{query}{id}{x}", Scope::Path), [unknown(1, "query"), unknown(12, "x")]);
        assert_eq!(compile("{}", Scope::Path), [unknown(0, "")]);
    }
}
