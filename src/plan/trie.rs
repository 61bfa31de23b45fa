//! Path templates and the radix trie they live in.

use super::path::{Normalized, PathError, normalize};
use super::router::Captures;
use std::ops::{ControlFlow, Range};

/// Captures of one path template.
pub const MAX_CAPTURES: usize = 16;

/// Segments of one path template; it bounds how deep a match can back-track.
const MAX_SEGMENTS: usize = 64;

/// Bytes of one path template.
const MAX_LENGTH: usize = 2048;

/// A path template, taken apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct PathPattern {
    /// Literals hold their slashes; two of them never follow each other.
    pub(super) parts: Vec<Part>,
    /// The names of the captures in order; empty for `*`.
    pub(super) names: Vec<String>,
}

/// A part of a path template.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Part {
    /// These bytes of a normalized path.
    Literal(Box<[u8]>),
    /// One segment that is not empty: `{name}` or `*`.
    Segment,
    /// All that is left, or nothing: `{name...}`.
    Rest,
}

/// What is wrong with a path template, and where: a byte range of its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PatternError {
    pub(super) at: Range<usize>,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

impl PathPattern {
    pub(super) fn parse(text: &str) -> Result<Self, PatternError> {
        let whole = |message: String, help: Option<String>| PatternError { at: 0..text.len(), message, help };
        let Some(inner) = text.strip_prefix('/') else {
            let help = Some(format!("write \"/{text}\""));
            return Err(whole("a path begins with `/`".to_owned(), help));
        };
        if text.len() > MAX_LENGTH {
            return Err(whole(format!("a path has at most {MAX_LENGTH} bytes"), None));
        }
        if inner.split('/').count() > MAX_SEGMENTS {
            return Err(whole(format!("a path has at most {MAX_SEGMENTS} segments"), None));
        }
        let mut pattern = Self { parts: Vec::new(), names: Vec::new() };
        let mut literal = Vec::new();
        let mut at = 1;
        for segment in inner.split('/') {
            let here = at..at + segment.len();
            let is_last = here.end == text.len();
            at = here.end + 1;
            literal.push(b'/');
            let part = read_segment(segment, is_last, &mut pattern.names).map_err(|(message, help)| PatternError {
                at: here.clone(),
                message,
                help,
            })?;
            if let Part::Literal(bytes) = part {
                literal.extend_from_slice(&bytes);
            } else {
                if pattern.names.len() > MAX_CAPTURES {
                    let message = format!("a path has at most {MAX_CAPTURES} captures");
                    return Err(PatternError { at: here, message, help: None });
                }
                pattern.parts.push(Part::Literal(std::mem::take(&mut literal).into()));
                pattern.parts.push(part);
            }
        }
        if !literal.is_empty() {
            pattern.parts.push(Part::Literal(literal.into()));
        }
        Ok(pattern)
    }
}

type Complaint = (String, Option<String>);

fn read_segment(segment: &str, is_last: bool, names: &mut Vec<String>) -> Result<Part, Complaint> {
    if segment == "*" {
        names.push(String::new());
        return Ok(Part::Segment);
    }
    if !segment.contains(['{', '}']) {
        return read_literal(segment, is_last);
    }
    let Some(name) = segment.strip_prefix('{').and_then(|name| name.strip_suffix('}')) else {
        return Err(("a capture is a whole segment, as in `/users/{id}`".to_owned(), None));
    };
    let (name, part) = match name.strip_suffix("...") {
        Some(name) => (name, Part::Rest),
        None => (name, Part::Segment),
    };
    if part == Part::Rest && !is_last {
        return Err((format!("`{{{name}...}}` can only be the last segment"), None));
    }
    let starts_well = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    if !starts_well || !name.chars().all(|char| char.is_ascii_alphanumeric() || char == '_') {
        let help = "letters, digits and `_`, not a digit first".to_owned();
        return Err((format!("`{name}` is no name for a capture"), Some(help)));
    }
    if names.iter().any(|known| known == name) {
        return Err((format!("the capture `{name}` appears twice"), None));
    }
    names.push(name.to_owned());
    Ok(part)
}

fn read_literal(segment: &str, is_last: bool) -> Result<Part, Complaint> {
    if segment.is_empty() && !is_last {
        return Err(("an empty segment never matches: a path with `//` is refused".to_owned(), None));
    }
    let mut normal = Vec::new();
    match normalize(format!("/{segment}").as_bytes(), &mut normal) {
        Ok(Normalized::Unchanged) => Ok(Part::Literal(segment.as_bytes().into())),
        Ok(Normalized::Rewritten) => {
            let normal = String::from_utf8_lossy(normal.get(1..).unwrap_or_default());
            let help = (!normal.is_empty()).then(|| format!("write `{normal}`"));
            Err((format!("`{segment}` never matches: paths are normalized before routing"), help))
        }
        Err(PathError::AboveRoot) => Err(("`..` never matches: paths are normalized before routing".to_owned(), None)),
        Err(error) => Err((format!("`{segment}` never matches: {error}"), None)),
    }
}

/// One route at the end of a path of the trie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) route: u32,
    pub(super) methods: super::MethodSet,
}

/// A trie that is being built. It is turned into [`Trie`], which is quick to walk.
#[derive(Debug, Default)]
pub(super) struct Growing {
    prefix: Vec<u8>,
    kids: Vec<Growing>,
    segment: Option<Box<Growing>>,
    leaf: Vec<Candidate>,
    rest: Vec<Candidate>,
}

impl Growing {
    /// The candidates of a pattern, for the caller to add to.
    pub(super) fn entry(&mut self, pattern: &PathPattern) -> &mut Vec<Candidate> {
        let mut node = self;
        for part in &pattern.parts {
            match part {
                Part::Literal(bytes) => node = node.literal(bytes),
                Part::Segment => node = node.segment.get_or_insert_default(),
                Part::Rest => return &mut node.rest,
            }
        }
        &mut node.leaf
    }

    fn literal(&mut self, bytes: &[u8]) -> &mut Self {
        let Some(first) = bytes.first() else { return self };
        let at = self.kids.partition_point(|kid| kid.prefix.first() < Some(first));
        if self.kids.get(at).is_none_or(|kid| kid.prefix.first() != Some(first)) {
            self.kids.insert(at, Self { prefix: bytes.to_vec(), ..Self::default() });
            return &mut self.kids[at];
        }
        let kid = &mut self.kids[at];
        let shared = kid.prefix.iter().zip(bytes).take_while(|(a, b)| a == b).count();
        if shared < kid.prefix.len() {
            let tail = kid.prefix.split_off(shared);
            let head = std::mem::take(&mut kid.prefix);
            let lower = std::mem::replace(kid, Self { prefix: head, ..Self::default() });
            kid.kids.push(Self { prefix: tail, ..lower });
        }
        kid.literal(bytes.get(shared..).unwrap_or_default())
    }

    /// Every list of candidates in it.
    pub(super) fn each_list(&mut self, visit: &mut impl FnMut(&mut Vec<Candidate>)) {
        visit(&mut self.leaf);
        visit(&mut self.rest);
        self.kids.iter_mut().for_each(|kid| kid.each_list(visit));
        self.segment.iter_mut().for_each(|node| node.each_list(visit));
    }
}

const NONE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Node {
    /// In `bytes`.
    prefix: (u32, u32),
    /// In `nodes` and `firsts`.
    kids: (u32, u32),
    segment: u32,
    /// In `candidates`.
    leaf: (u32, u32),
    /// In `candidates`.
    rest: (u32, u32),
}

/// All tries of a router in a few flat tables.
#[derive(Debug, Default)]
pub(super) struct Trie {
    nodes: Vec<Node>,
    /// The first byte of the prefix of each node: the kids of a node lie side by side, so one search finds the next.
    firsts: Vec<u8>,
    bytes: Vec<u8>,
    candidates: Vec<Candidate>,
}

fn slice<T>(items: &[T], (start, end): (u32, u32)) -> &[T] {
    items.get(start as usize..end as usize).unwrap_or_default()
}

/// What follows after `prefix`. Prefixes are a few bytes long, too short to be worth a call.
fn after<'p>(path: &'p [u8], prefix: &[u8]) -> Option<&'p [u8]> {
    let (head, left) = path.split_at_checked(prefix.len())?;
    head.iter().zip(prefix).all(|(a, b)| a == b).then_some(left)
}

impl Trie {
    /// Takes a grown trie in; returns its root.
    pub(super) fn add(&mut self, root: &Growing) -> u32 {
        let id = self.reserve(1);
        // Every pattern begins with a slash, so the root itself has nothing but the kid that holds it.
        self.fill(id, root.kids.first().unwrap_or(root));
        id
    }

    fn reserve(&mut self, count: usize) -> u32 {
        let start = self.nodes.len();
        let blank = Node { prefix: (0, 0), kids: (0, 0), segment: NONE, leaf: (0, 0), rest: (0, 0) };
        self.nodes.resize(start + count, blank);
        self.firsts.resize(start + count, 0);
        start as u32
    }

    fn fill(&mut self, id: u32, from: &Growing) {
        let prefix = append(&mut self.bytes, &from.prefix);
        let leaf = append(&mut self.candidates, &from.leaf);
        let rest = append(&mut self.candidates, &from.rest);
        let kids = self.reserve(from.kids.len());
        let segment = from.segment.as_ref().map_or(NONE, |_| self.reserve(1));
        self.firsts[id as usize] = from.prefix.first().copied().unwrap_or_default();
        self.nodes[id as usize] = Node { prefix, kids: (kids, kids + from.kids.len() as u32), segment, leaf, rest };
        for (kid, from) in (kids..).zip(&from.kids) {
            self.fill(kid, from);
        }
        if let Some(from) = &from.segment {
            self.fill(segment, from);
        }
    }

    /// Shows `visit` every list of candidates whose pattern matches `path`, the most specific first: segment by segment
    /// a literal goes before `{name}`, and that before `{name...}`. Stops where `visit` breaks; `captures` are then
    /// those of the list it broke at.
    ///
    /// Each node is entered at most once, since all ways to it consume the same bytes. It calls itself once for each
    /// captured segment or literal beside one, so no deeper than a template has segments.
    pub(super) fn walk<B>(
        &self,
        root: u32,
        path: &[u8],
        at: usize,
        captures: &mut Captures,
        visit: &mut impl FnMut(&[Candidate], &Captures) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let (mut id, mut at) = (root, at);
        while let Some(node) = self.nodes.get(id as usize) {
            let prefix = slice(&self.bytes, node.prefix);
            let Some(left) = path.get(at..).and_then(|left| after(left, prefix)) else { break };
            at += prefix.len();
            let leaf = slice(&self.candidates, node.leaf);
            if left.is_empty() && !leaf.is_empty() {
                visit(leaf, captures)?;
            }
            let kid = left.first().and_then(|first| self.kid(node, *first));
            let rest = slice(&self.candidates, node.rest);
            if node.segment == NONE && rest.is_empty() {
                let Some(kid) = kid else { break };
                id = kid;
                continue;
            }
            if let Some(kid) = kid {
                self.walk(kid, path, at, captures, visit)?;
            }
            let segment = left.iter().position(|byte| *byte == b'/').unwrap_or(left.len());
            if node.segment != NONE && segment > 0 {
                captures.push(at, at + segment);
                self.walk(node.segment, path, at + segment, captures, visit)?;
                captures.pop();
            }
            if !rest.is_empty() {
                captures.push(at, path.len());
                visit(rest, captures)?;
                captures.pop();
            }
            break;
        }
        ControlFlow::Continue(())
    }

    /// Shows `visit` every candidate below a root.
    pub(super) fn each_candidate(&self, root: u32, visit: &mut impl FnMut(&Candidate)) {
        let Some(node) = self.nodes.get(root as usize) else { return };
        slice(&self.candidates, node.leaf).iter().for_each(&mut *visit);
        slice(&self.candidates, node.rest).iter().for_each(&mut *visit);
        for kid in node.kids.0..node.kids.1 {
            self.each_candidate(kid, visit);
        }
        self.each_candidate(node.segment, visit);
    }

    fn kid(&self, node: &Node, first: u8) -> Option<u32> {
        let index = slice(&self.firsts, node.kids).iter().position(|kid| *kid == first)?;
        Some(node.kids.0 + index as u32)
    }
}

fn append<T: Copy>(to: &mut Vec<T>, items: &[T]) -> (u32, u32) {
    let start = to.len() as u32;
    to.extend_from_slice(items);
    (start, to.len() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_taken_apart() {
        let pattern = PathPattern::parse("/users/{id}/*/files/{rest...}").unwrap();
        assert_eq!(
            pattern.parts,
            [
                Part::Literal((*b"/users/").into()),
                Part::Segment,
                Part::Literal((*b"/").into()),
                Part::Segment,
                Part::Literal((*b"/files/").into()),
                Part::Rest,
            ]
        );
        assert_eq!(pattern.names, ["id", "", "rest"]);
        assert_eq!(PathPattern::parse("/").unwrap().parts, [Part::Literal((*b"/").into())]);
        assert_eq!(PathPattern::parse("/a/").unwrap().parts, [Part::Literal((*b"/a/").into())]);
    }

    #[test]
    fn a_bad_template_is_refused_at_its_segment() {
        for (text, at, says) in [
            ("users", 0..5, "begins with"),
            ("", 0..0, "begins with"),
            ("/a//b", 3..3, "empty segment"),
            ("/a/x{id}", 3..8, "whole segment"),
            ("/a/{id", 3..6, "whole segment"),
            ("/{rest...}/a", 1..10, "last segment"),
            ("/{}", 1..3, "no name"),
            ("/{...}", 1..6, "no name"),
            ("/{1a}", 1..5, "no name"),
            ("/{a-b}", 1..6, "no name"),
            ("/{id}/{id}", 6..10, "twice"),
            ("/a b", 1..4, "never matches"),
            ("/a/..", 3..5, "never matches"),
            ("/./a", 1..2, "never matches"),
            ("/%61", 1..4, "never matches"),
            ("/é", 1..3, "never matches"),
            ("/a?b", 1..4, "never matches"),
        ] {
            let error = PathPattern::parse(text).unwrap_err();
            assert_eq!(error.at, at, "{text}");
            assert!(error.message.contains(says), "{text}: {}", error.message);
        }
        assert!(PathPattern::parse(&"/{a}".repeat(2)).is_err());
        let many = (0..17).map(|n| format!("/{{p{n}}}")).collect::<Vec<_>>().concat();
        assert!(PathPattern::parse(&many).unwrap_err().message.contains("captures"));
        assert!(PathPattern::parse(&"/a".repeat(65)).unwrap_err().message.contains("segments"));
        assert!(PathPattern::parse(&format!("/{}", "a".repeat(2048))).unwrap_err().message.contains("bytes"));
    }
}
