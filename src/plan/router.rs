//! From host, path, method, headers and query to a route.
//!
//! The route of a request is the most specific one whose every condition holds. More specific is, in this order:
//! 1. host: exact, then the longest `*.suffix`, then any;
//! 2. path, segment by segment from the left: literal, then `{name}` or `*`, then `{name...}`;
//! 3. routes that name methods before those that take any;
//! 4. more header predicates;
//! 5. more query predicates;
//! 6. earlier in the file.
//!
//! Two routes that differ in nothing but the last are a conflict, which the config refuses.

use super::host::{HOST_MAX, canonical};
use super::method::Methods;
pub use super::trie::MAX_CAPTURES;
use super::trie::{Candidate, Growing, PathPattern, Trie};
use super::{HostPattern, MethodSet, RouteId};
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::ops::{ControlFlow, Range};

/// What a request is routed by.
#[derive(Clone, Copy)]
pub struct Query<'a> {
    /// As it came; methods are case-sensitive.
    pub method: &'a [u8],
    /// The effective authority, with or without a port.
    pub host: &'a [u8],
    /// As [`super::normalize`] left it.
    pub path: &'a [u8],
    /// As it came, without the `?`.
    pub query: Option<&'a [u8]>,
    /// Asked only by routes that have header predicates.
    pub headers: &'a dyn Headers,
}

impl fmt::Debug for Query<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = String::from_utf8_lossy;
        write!(f, "{} {}{}", text(self.method), text(self.host), text(self.path))?;
        self.query.map_or(Ok(()), |query| write!(f, "?{}", text(query)))
    }
}

/// The header fields of a request.
pub trait Headers {
    /// Whether `test` holds for the value of any field of this name, which is in lower case.
    fn any(&self, name: &str, test: &mut dyn FnMut(&[u8]) -> bool) -> bool;
}

/// A request without header fields.
#[derive(Clone, Copy, Debug)]
pub struct NoHeaders;

impl Headers for NoHeaders {
    fn any(&self, _name: &str, _test: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        false
    }
}

/// The parts of a path that the captures of its route matched.
#[derive(Clone, Copy, Debug, Default)]
pub struct Captures {
    spans: [(u32, u32); MAX_CAPTURES],
    len: u32,
}

impl Captures {
    /// The range in the normalized path of the capture of this index; nothing past the last.
    pub fn get(&self, index: usize) -> Option<Range<usize>> {
        let (start, end) = *self.spans.get(..self.len as usize)?.get(index)?;
        Some(start as usize..end as usize)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn push(&mut self, start: usize, end: usize) {
        if let Some(slot) = self.spans.get_mut(self.len as usize) {
            *slot = (start as u32, end as u32);
            self.len += 1;
        }
    }

    pub(super) fn pop(&mut self) {
        self.len = self.len.saturating_sub(1);
    }
}

impl PartialEq for Captures {
    fn eq(&self, other: &Self) -> bool {
        self.spans.get(..self.len as usize) == other.spans.get(..other.len as usize)
    }
}

impl Eq for Captures {}

/// Why no route was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Miss {
    /// 404: no route would take this request with any method.
    NotFound,
    /// 405: a route would, with one of these. [`Router::methods`] names them for `Allow`.
    MethodNotAllowed(MethodSet),
}

/// Why a route was not chosen. The first condition that fails, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// Its hosts do not match.
    Host,
    /// Its path does not match.
    Path,
    /// This header predicate, by its index in the config, does not hold.
    Header(usize),
    /// This query predicate, by its index in the config, does not hold.
    Query(usize),
    /// Its methods do not match.
    Method,
    /// All its conditions hold, but the chosen route is more specific.
    LessSpecific,
}

/// Everything about one decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// What [`Router::find`] answers.
    pub result: Result<RouteId, Miss>,
    /// The captures of the chosen route.
    pub captures: Captures,
    /// Every other route, those that came closest first.
    pub lost: Vec<(RouteId, Lost)>,
}

/// How the value of a header field or query parameter is tested.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Test {
    /// It is there.
    Present,
    /// It is exactly this.
    Exact(Box<str>),
    /// It begins with this.
    Prefix(Box<str>),
}

/// A condition on a header field or query parameter. One of that name that passes the test is enough.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Predicate {
    /// In lower case for headers.
    pub(crate) name: Box<str>,
    pub(crate) test: Test,
}

impl fmt::Display for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.test {
            Test::Present => write!(f, "`{}`", self.name),
            Test::Exact(value) => write!(f, "`{}` that is `{value}`", self.name),
            Test::Prefix(value) => write!(f, "`{}` that begins with `{value}`", self.name),
        }
    }
}

/// The conditions of one route.
#[derive(Clone, Debug)]
pub(super) struct Conditions {
    /// Any when empty.
    pub(super) hosts: Vec<HostPattern>,
    pub(super) path: PathPattern,
    /// Any when empty.
    pub(super) methods: Vec<String>,
    pub(super) headers: Vec<Predicate>,
    pub(super) query: Vec<Predicate>,
}

/// Why a router cannot be built. Numbers are positions of routes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Conflict {
    /// Both would take the same request, and nothing says which.
    Same {
        first: usize,
        second: usize,
        /// A host both match, for the message; nothing when they match any.
        host: Option<String>,
    },
    /// This route names one method more than can be told apart.
    TooManyMethods { route: usize },
}

#[derive(Debug)]
struct Rule {
    headers: Box<[Predicate]>,
    query: Box<[Predicate]>,
}

/// Finds the route of a request. Never changes and never allocates.
#[derive(Debug)]
pub struct Router {
    exact: HashMap<Box<[u8]>, u32>,
    below: HashMap<Box<[u8]>, u32>,
    /// One bit for each number of labels (up to 127) that a host in `below` has: no other suffix is looked up.
    below_labels: u128,
    any: Option<u32>,
    trie: Trie,
    rules: Box<[Rule]>,
    methods: Methods,
}

impl Router {
    /// Builds a router; the id of a route is its position.
    pub(super) fn build(routes: Vec<Conditions>) -> Result<Self, Vec<Conflict>> {
        let mut conflicts = BTreeSet::new();
        let mut methods = Methods::default();
        let mut roots: Vec<(Option<HostPattern>, Growing)> = Vec::new();
        let mut index: HashMap<Option<HostPattern>, usize> = HashMap::new();
        for (position, route) in routes.iter().enumerate() {
            let mut set = MethodSet::default();
            for name in &route.methods {
                match methods.intern(name) {
                    Some(one) => set = set.union(one),
                    None => {
                        conflicts.insert(Conflict::TooManyMethods { route: position });
                    }
                }
            }
            let candidate = Candidate { route: position as u32, methods: set };
            let hosts: BTreeSet<Option<HostPattern>> = match route.hosts.as_slice() {
                [] => [None].into(),
                some => some.iter().cloned().map(Some).collect(),
            };
            for host in hosts {
                let root = *index.entry(host.clone()).or_insert_with(|| {
                    roots.push((host, Growing::default()));
                    roots.len() - 1
                });
                if let Some((_, growing)) = roots.get_mut(root) {
                    growing.entry(&route.path).push(candidate);
                }
            }
        }
        for (host, growing) in &mut roots {
            growing.each_list(&mut |list| {
                for (first, second) in settle(list, &routes) {
                    let host = host.as_ref().map(ToString::to_string);
                    let said = |conflict: &Conflict| {
                        matches!(conflict, Conflict::Same { first: a, second: b, .. } if (*a, *b) == (first, second))
                    };
                    if !conflicts.iter().any(said) {
                        conflicts.insert(Conflict::Same { first, second, host });
                    }
                }
            });
        }
        if !conflicts.is_empty() {
            return Err(conflicts.into_iter().collect());
        }
        let rule = |route: Conditions| Rule { headers: route.headers.into(), query: route.query.into() };
        let mut router = Self {
            exact: HashMap::new(),
            below: HashMap::new(),
            below_labels: 0,
            any: None,
            trie: Trie::default(),
            rules: routes.into_iter().map(rule).collect(),
            methods,
        };
        for (host, growing) in roots {
            let root = router.trie.add(&growing);
            match host {
                None => router.any = Some(root),
                Some(HostPattern::Exact(host)) => {
                    router.exact.insert(host.as_bytes().into(), root);
                }
                Some(HostPattern::Below(host)) => {
                    router.below_labels |= 1 << host.split('.').count();
                    router.below.insert(host.as_bytes().into(), root);
                }
            }
        }
        Ok(router)
    }

    /// The route of a request. `captures` are set to those of the route found, and are of no use otherwise.
    pub fn find(&self, query: &Query<'_>, captures: &mut Captures) -> Result<RouteId, Miss> {
        let method = self.methods.set_of(query.method);
        let mut allow = MethodSet::default();
        let found = self.each_match(query, captures, &mut |candidates, _| {
            for candidate in candidates {
                match self.test(candidate, query, method) {
                    Ok(()) => return ControlFlow::Break(RouteId(candidate.route)),
                    Err(Lost::Method) => allow = allow.union(candidate.methods),
                    Err(_) => {}
                }
            }
            ControlFlow::Continue(())
        });
        match found {
            ControlFlow::Break(route) => Ok(route),
            ControlFlow::Continue(()) if allow.is_empty() => Err(Miss::NotFound),
            ControlFlow::Continue(()) => Err(Miss::MethodNotAllowed(allow)),
        }
    }

    /// Why each route was or was not chosen. Slow: it looks at every route.
    pub fn explain(&self, query: &Query<'_>) -> Explained {
        let mut captures = Captures::default();
        let result = self.find(query, &mut captures);
        let method = self.methods.set_of(query.method);
        let mut lost: Vec<(RouteId, Lost)> = Vec::new();
        let mut seen: BTreeSet<u32> = result.iter().map(|route| route.0).collect();
        let matched: ControlFlow<()> = self.each_match(query, &mut Captures::default(), &mut |candidates, _| {
            for candidate in candidates {
                if seen.insert(candidate.route) {
                    let why = self.test(candidate, query, method).err().unwrap_or(Lost::LessSpecific);
                    lost.push((RouteId(candidate.route), why));
                }
            }
            ControlFlow::Continue(())
        });
        debug_assert!(matched.is_continue());
        let mut of_host = BTreeSet::new();
        let roots: ControlFlow<()> = self.each_host(query.host, |root| {
            self.trie.each_candidate(root, &mut |candidate| {
                of_host.insert(candidate.route);
            });
            ControlFlow::Continue(())
        });
        debug_assert!(roots.is_continue());
        for route in of_host {
            if seen.insert(route) {
                lost.push((RouteId(route), Lost::Path));
            }
        }
        let others = (0..self.rules.len() as u32).filter(|route| !seen.contains(route));
        lost.extend(others.map(|route| (RouteId(route), Lost::Host)));
        Explained { result, captures, lost }
    }

    /// The predicate of a route that [`Lost`] names, as text.
    pub(crate) fn predicate(&self, route: RouteId, lost: Lost) -> Option<String> {
        let rule = self.rules.get(route.0 as usize)?;
        match lost {
            Lost::Header(at) => rule.headers.get(at).map(|predicate| format!("header {predicate}")),
            Lost::Query(at) => rule.query.get(at).map(|predicate| format!("query parameter {predicate}")),
            _ => None,
        }
    }

    /// The names in a set of methods, in a fixed order, for `Allow`.
    pub fn methods(&self, set: MethodSet) -> impl Iterator<Item = &str> {
        self.methods.names(set)
    }

    /// Shows `visit` every list of candidates whose host and path match, the most specific first.
    fn each_match<B>(
        &self,
        query: &Query<'_>,
        captures: &mut Captures,
        visit: &mut impl FnMut(&[Candidate], &Captures) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        self.each_host(query.host, |root| {
            captures.len = 0;
            self.trie.walk(root, query.path, 0, captures, visit)
        })
    }

    /// Shows `visit` the root of every host pattern that matches, the most specific first.
    fn each_host<B>(&self, host: &[u8], mut visit: impl FnMut(u32) -> ControlFlow<B>) -> ControlFlow<B> {
        if !self.exact.is_empty() || !self.below.is_empty() {
            let mut space = [0; HOST_MAX];
            if let Some(host) = canonical(host, &mut space) {
                if let Some(root) = self.exact.get(host) {
                    visit(*root)?;
                }
                self.each_suffix(host, &mut visit)?;
            }
        }
        self.any.map_or(ControlFlow::Continue(()), visit)
    }

    fn each_suffix<B>(&self, host: &[u8], visit: &mut impl FnMut(u32) -> ControlFlow<B>) -> ControlFlow<B> {
        if self.below_labels == 0 {
            return ControlFlow::Continue(());
        }
        let mut labels = host.split(|byte| *byte == b'.').count();
        let mut suffix = host;
        while let Some(dot) = suffix.iter().position(|byte| *byte == b'.') {
            suffix = suffix.get(dot + 1..).unwrap_or_default();
            labels -= 1;
            if labels < 128
                && self.below_labels & 1 << labels != 0
                && let Some(root) = self.below.get(suffix)
            {
                visit(*root)?;
            }
        }
        ControlFlow::Continue(())
    }

    /// Whether a route whose host and path match takes the request. The method comes last, so that it is the answer
    /// only where another method would do.
    fn test(&self, candidate: &Candidate, query: &Query<'_>, method: MethodSet) -> Result<(), Lost> {
        if let Some(rule) = self.rules.get(candidate.route as usize) {
            let fails = |predicate: &Predicate| !predicate.holds_in(query.headers);
            if let Some(failed) = rule.headers.iter().position(fails) {
                return Err(Lost::Header(failed));
            }
            let fails = |predicate: &Predicate| !in_query(query.query.unwrap_or_default(), predicate);
            if let Some(failed) = rule.query.iter().position(fails) {
                return Err(Lost::Query(failed));
            }
        }
        if candidate.methods.overlaps(method) { Ok(()) } else { Err(Lost::Method) }
    }
}

impl Predicate {
    /// Whether it holds for one of the header fields.
    pub(crate) fn holds_in(&self, headers: &dyn Headers) -> bool {
        headers.any(&self.name, &mut |value| self.test.holds(value.iter().copied()))
    }
}

impl Test {
    fn holds(&self, mut value: impl Iterator<Item = u8>) -> bool {
        match self {
            Self::Present => true,
            Self::Exact(wanted) => value.eq(wanted.bytes()),
            Self::Prefix(wanted) => wanted.bytes().all(|byte| value.next() == Some(byte)),
        }
    }
}

fn in_query(query: &[u8], predicate: &Predicate) -> bool {
    query.split(|byte| *byte == b'&').any(|pair| {
        let mut parts = pair.splitn(2, |byte| *byte == b'=');
        let name = parts.next().unwrap_or_default();
        let value = parts.next().unwrap_or_default();
        !pair.is_empty() && decoded(name).eq(predicate.name.bytes()) && predicate.test.holds(decoded(value))
    })
}

/// The bytes of a query name or value: `+` is a space and `%XX` its byte, as forms send them. A broken `%` is itself.
fn decoded(text: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (first, tail) = rest.split_first()?;
        let digit = |byte: &u8| (*byte as char).to_digit(16);
        let (byte, left) = match (first, tail) {
            (b'+', _) => (b' ', tail),
            (b'%', [high, low, left @ ..]) => match digit(high).zip(digit(low)) {
                Some((high, low)) => ((high << 4 | low) as u8, left),
                None => (b'%', tail),
            },
            _ => (*first, tail),
        };
        rest = left;
        Some(byte)
    })
}

/// Puts candidates of one host and path in order, the most specific first, and gives each its effective methods.
/// Returns the pairs that nothing tells apart.
fn settle(list: &mut [Candidate], routes: &[Conditions]) -> Vec<(usize, usize)> {
    let mut conflicts = Vec::new();
    // Those of one group differ in their methods at most.
    let mut groups: HashMap<_, Vec<usize>> = HashMap::new();
    for (at, candidate) in list.iter().enumerate() {
        if let Some(route) = routes.get(candidate.route as usize) {
            let set = |predicates| BTreeSet::<&Predicate>::from_iter(predicates);
            let key = (route.methods.is_empty(), set(&route.headers), set(&route.query));
            groups.entry(key).or_default().push(at);
        }
    }
    for ((takes_any, ..), members) in groups {
        let mut taken: Vec<(MethodSet, u32)> = Vec::new();
        for &at in &members {
            let candidate = &mut list[at];
            if takes_any {
                candidate.methods = MethodSet::ANY;
            }
            match taken.iter().find(|(methods, _)| methods.overlaps(candidate.methods)) {
                Some((_, first)) => conflicts.push((*first as usize, candidate.route as usize)),
                None => taken.push((candidate.methods, candidate.route)),
            }
        }
        // GET stands for HEAD too (RFC 9110 section 9.3.2), unless a route beside it names HEAD.
        let named = taken.iter().fold(MethodSet::default(), |all, (methods, _)| all.union(*methods));
        for &at in members.iter().filter(|_| !named.overlaps(MethodSet::HEAD)) {
            let candidate = &mut list[at];
            if candidate.methods.overlaps(MethodSet::GET) {
                candidate.methods = candidate.methods.union(MethodSet::HEAD);
            }
        }
    }
    list.sort_by_key(|candidate| {
        let route = routes.get(candidate.route as usize);
        let count =
            |of: fn(&Conditions) -> &Vec<Predicate>| std::cmp::Reverse(route.map_or(0, |route| of(route).len()));
        let takes_any = route.is_some_and(|route| route.methods.is_empty());
        (takes_any, count(|route| &route.headers), count(|route| &route.query), candidate.route)
    });
    conflicts
}

#[cfg(test)]
mod tests;
