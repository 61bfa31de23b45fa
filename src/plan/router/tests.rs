use super::*;
use proptest::prelude::*;

/// Header fields by name and value.
struct Fields(Vec<(String, String)>);

impl Headers for Fields {
    fn any(&self, name: &str, test: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.0.iter().any(|(known, value)| known == name && test(value.as_bytes()))
    }
}

fn route(host: &str, path: &str, methods: &[&str]) -> Conditions {
    Conditions {
        hosts: host.split_whitespace().map(|host| HostPattern::parse(host).unwrap()).collect(),
        path: PathPattern::parse(path).unwrap(),
        methods: methods.iter().map(|method| (*method).to_owned()).collect(),
        headers: Vec::new(),
        query: Vec::new(),
    }
}

fn with_header(mut route: Conditions, name: &str, test: Test) -> Conditions {
    route.headers.push(Predicate { name: name.into(), test });
    route
}

fn with_query(mut route: Conditions, name: &str, test: Test) -> Conditions {
    route.query.push(Predicate { name: name.into(), test });
    route
}

fn build(routes: &[Conditions]) -> Router {
    Router::build(routes.to_vec()).unwrap()
}

/// Asks with `METHOD host/path?query`.
fn find(router: &Router, text: &str, fields: &[(&str, &str)]) -> (Result<u32, String>, Vec<String>) {
    let (method, target) = text.split_once(' ').unwrap();
    let (host, target) = target.split_at(target.find('/').unwrap());
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query.as_bytes())));
    let headers = Fields(fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect());
    let query =
        Query { method: method.as_bytes(), host: host.as_bytes(), path: path.as_bytes(), query, headers: &headers };
    let mut captures = Captures::default();
    let result = match router.find(&query, &mut captures) {
        Ok(route) => Ok(route.0),
        Err(Miss::NotFound) => Err("404".to_owned()),
        Err(Miss::MethodNotAllowed(set)) => Err(router.methods(set).collect::<Vec<_>>().join(", ")),
    };
    let captured = (0..captures.len()).map(|index| path[captures.get(index).unwrap()].to_owned()).collect();
    (result, captured)
}

fn found(router: &Router, text: &str) -> Result<u32, String> {
    find(router, text, &[]).0
}

fn missed(allow: &str) -> Result<u32, String> {
    Err(allow.to_owned())
}

#[test]
fn the_path_decides_segment_by_segment() {
    let router = build(&[
        route("", "/{rest...}", &[]),
        route("", "/users/{id}", &[]),
        route("", "/users/me", &[]),
        route("", "/users/{id}/posts", &[]),
        route("", "/users/me/{what...}", &[]),
        route("", "/use", &[]),
        route("", "/users/", &[]),
    ]);
    assert_eq!(find(&router, "GET h/users/me", &[]), (Ok(2), vec![]));
    assert_eq!(find(&router, "GET h/users/7", &[]), (Ok(1), vec!["7".to_owned()]));
    assert_eq!(find(&router, "GET h/users/me/posts", &[]), (Ok(4), vec!["posts".to_owned()]));
    assert_eq!(find(&router, "GET h/users/mex/posts", &[]), (Ok(3), vec!["mex".to_owned()]));
    assert_eq!(found(&router, "GET h/users/"), Ok(6));
    assert_eq!(find(&router, "GET h/users", &[]), (Ok(0), vec!["users".to_owned()]));
    assert_eq!(find(&router, "GET h/", &[]), (Ok(0), vec![String::new()]));
    assert_eq!(found(&router, "GET h/use"), Ok(5));
    assert_eq!(find(&router, "GET h/users/7/x/y", &[]), (Ok(0), vec!["users/7/x/y".to_owned()]));
}

#[test]
fn a_rest_may_be_empty_but_its_slash_must_be_there() {
    let router = build(&[route("", "/files/{rest...}", &[])]);
    assert_eq!(find(&router, "GET h/files/", &[]), (Ok(0), vec![String::new()]));
    assert_eq!(find(&router, "GET h/files/a/b", &[]), (Ok(0), vec!["a/b".to_owned()]));
    assert_eq!(found(&router, "GET h/files"), missed("404"));
    assert_eq!(found(&router, "GET h/filesystem"), missed("404"));
}

#[test]
fn a_capture_takes_one_whole_segment_that_is_not_empty() {
    let router = build(&[route("", "/a/{x}/c", &[]), route("", "/b/*/{y}", &[])]);
    assert_eq!(find(&router, "GET h/a/bb/c", &[]), (Ok(0), vec!["bb".to_owned()]));
    assert_eq!(found(&router, "GET h/a//c"), missed("404"));
    assert_eq!(found(&router, "GET h/a/b/b/c"), missed("404"));
    assert_eq!(find(&router, "GET h/b/one/two", &[]), (Ok(1), vec!["one".to_owned(), "two".to_owned()]));
    assert_eq!(found(&router, "GET h/b/one/"), missed("404"));
}

#[test]
fn the_host_decides_before_the_path() {
    let router = build(&[
        route("", "/a", &[]),
        route("*.example.com", "/{rest...}", &[]),
        route("*.api.example.com", "/{rest...}", &[]),
        route("v1.api.example.com", "/{rest...}", &[]),
        route("", "/only-any", &[]),
        route("exact.org", "/only-exact", &[]),
    ]);
    assert_eq!(found(&router, "GET v1.api.example.com/a"), Ok(3));
    assert_eq!(found(&router, "GET V1.API.Example.com.:8080/a"), Ok(3));
    assert_eq!(found(&router, "GET v2.api.example.com/a"), Ok(2));
    assert_eq!(found(&router, "GET x.y.example.com/a"), Ok(1));
    assert_eq!(found(&router, "GET example.com/a"), Ok(0));
    assert_eq!(found(&router, "GET notexample.com/a"), Ok(0));
    assert_eq!(found(&router, "GET [::1]:80/a"), Ok(0));
    assert_eq!(found(&router, "GET exact.org/only-any"), Ok(4));
    assert_eq!(found(&router, "GET other.org/only-exact"), missed("404"));
}

#[test]
fn a_host_of_many_labels_costs_no_lookup_without_a_rule_of_that_depth() {
    let router = build(&[route("*.example.com", "/a", &[])]);
    let deep = format!("GET {}example.com/a", "x.".repeat(100));
    assert_eq!(found(&router, &deep), Ok(0));
    let long = format!("GET {}example.com/a", "x.".repeat(200));
    assert_eq!(found(&router, &long), missed("404"));
}

#[test]
fn a_wrong_method_is_told_apart_from_a_wrong_path() {
    let router = build(&[
        route("", "/users/{id}", &["GET", "PUT"]),
        route("", "/users/me", &["DELETE"]),
        route("", "/purge", &["PURGE"]),
    ]);
    assert_eq!(found(&router, "DELETE h/users/me"), Ok(1));
    assert_eq!(found(&router, "PUT h/users/me"), Ok(0));
    assert_eq!(found(&router, "POST h/users/me"), missed("GET, HEAD, PUT, DELETE"));
    assert_eq!(found(&router, "POST h/users/7"), missed("GET, HEAD, PUT"));
    assert_eq!(found(&router, "get h/users/7"), missed("GET, HEAD, PUT"));
    assert_eq!(found(&router, "POST h/nothing"), missed("404"));
    assert_eq!(found(&router, "PURGE h/purge"), Ok(2));
    assert_eq!(found(&router, "BREW h/purge"), missed("PURGE"));
}

#[test]
fn get_stands_for_head_unless_a_route_beside_it_names_head() {
    let alone = build(&[route("", "/a", &["GET"])]);
    assert_eq!(found(&alone, "HEAD h/a"), Ok(0));
    let beside = build(&[route("", "/a", &["GET"]), route("", "/a", &["HEAD"])]);
    assert_eq!(found(&beside, "HEAD h/a"), Ok(1));
    assert_eq!(found(&beside, "GET h/a"), Ok(0));
    let elsewhere = build(&[route("x.org y.org", "/a", &["GET"]), route("x.org", "/a", &["HEAD"])]);
    assert_eq!(found(&elsewhere, "HEAD x.org/a"), Ok(1));
    assert_eq!(found(&elsewhere, "HEAD y.org/a"), Ok(0));
}

#[test]
fn predicates_make_a_route_more_specific() {
    let exact = |text: &str| Test::Exact(text.into());
    let router = build(&[
        route("", "/a", &[]),
        with_header(route("", "/a", &[]), "x-v", exact("2")),
        with_header(with_header(route("", "/a", &[]), "x-v", exact("2")), "x-w", Test::Present),
        with_query(route("", "/a", &[]), "v", exact("a b")),
        with_query(route("", "/a", &[]), "p", Test::Prefix("abc".into())),
        route("", "/a", &["POST"]),
    ]);
    assert_eq!(find(&router, "GET h/a", &[]).0, Ok(0));
    assert_eq!(find(&router, "GET h/a", &[("x-v", "2")]).0, Ok(1));
    assert_eq!(find(&router, "GET h/a", &[("x-v", "1"), ("x-v", "2")]).0, Ok(1));
    assert_eq!(find(&router, "GET h/a", &[("x-v", "2"), ("x-w", "")]).0, Ok(2));
    assert_eq!(find(&router, "GET h/a?v=a+b", &[]).0, Ok(3));
    assert_eq!(find(&router, "GET h/a?w=1&v=a%20b", &[]).0, Ok(3));
    assert_eq!(find(&router, "GET h/a?v=a%20b&v=c", &[("x-v", "2")]).0, Ok(1));
    assert_eq!(find(&router, "GET h/a?v=a", &[]).0, Ok(0));
    assert_eq!(find(&router, "GET h/a?%70=abcd", &[]).0, Ok(4));
    assert_eq!(find(&router, "GET h/a?p=ab", &[]).0, Ok(0));
    assert_eq!(find(&router, "POST h/a", &[("x-v", "2"), ("x-w", "")]).0, Ok(5));
}

#[test]
fn a_405_names_only_methods_of_routes_whose_predicates_hold() {
    let one = with_header(route("", "/a", &["PUT"]), "x-v", Test::Present);
    let router = build(&[one, route("", "/a", &["POST"])]);
    assert_eq!(find(&router, "GET h/a", &[]).0, missed("POST"));
    assert_eq!(find(&router, "GET h/a", &[("x-v", "")]).0, missed("POST, PUT"));
}

#[test]
fn routes_that_nothing_tells_apart_are_a_conflict() {
    let same = |first, second, host: Option<&str>| Conflict::Same { first, second, host: host.map(str::to_owned) };
    let clash = |routes: &[Conditions]| Router::build(routes.to_vec()).err().unwrap_or_default();
    let a = |host: &str, methods: &[&str]| route(host, "/a/{x}", methods);
    assert_eq!(clash(&[a("", &[]), route("", "/a/*", &[])]), [same(0, 1, None)]);
    assert_eq!(clash(&[a("x.org y.org", &["GET"]), a("y.org z.org", &["PUT", "GET"])]), [same(0, 1, Some("y.org"))]);
    assert_eq!(clash(&[a("", &["GET"]), a("", &["PUT"]), a("", &["PUT"])]), [same(1, 2, None)]);
    assert_eq!(clash(&[a("", &["GET"]), a("", &[])]), []);
    assert_eq!(clash(&[a("", &[]), a("x.org", &[])]), []);
    assert_eq!(clash(&[a("", &[]), with_header(a("", &[]), "x", Test::Present)]), []);
    let one = with_header(with_header(a("", &[]), "x", Test::Present), "y", Test::Present);
    let other = with_header(with_header(a("", &[]), "y", Test::Present), "x", Test::Present);
    assert_eq!(clash(&[one, other]), [same(0, 1, None)]);
}

#[test]
fn more_methods_than_can_be_told_apart_are_a_conflict() {
    let routes: Vec<_> = (0..60).map(|n| route("", &format!("/{n}"), &[&format!("M{n}")])).collect();
    let errors = Router::build(routes).unwrap_err();
    assert_eq!(errors.first(), Some(&Conflict::TooManyMethods { route: 54 }));
}

#[test]
fn explain_says_why_each_route_lost() {
    let router = build(&[
        route("", "/{rest...}", &[]),
        route("other.org", "/a", &[]),
        route("", "/b", &[]),
        route("", "/a", &["POST"]),
        with_header(route("", "/a", &[]), "x", Test::Present),
        with_query(route("", "/a", &[]), "q", Test::Present),
        route("", "/a", &[]),
    ]);
    let query = Query { method: b"GET", host: b"h", path: b"/a", query: None, headers: &NoHeaders };
    let explained = router.explain(&query);
    assert_eq!(explained.result, Ok(RouteId(6)));
    let lost: Vec<(u32, Lost)> = explained.lost.iter().map(|(route, why)| (route.0, *why)).collect();
    assert_eq!(
        lost,
        [
            (3, Lost::Method),
            (4, Lost::Header(0)),
            (5, Lost::Query(0)),
            (0, Lost::LessSpecific),
            (2, Lost::Path),
            (1, Lost::Host),
        ]
    );
}

/// The precedence of the documentation, by a look at every route.
mod model {
    use super::*;

    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
    pub(super) enum Step {
        Rest,
        Segment,
        Literal,
    }

    /// How the path of a route matches, step by step, if it does.
    pub(super) fn path(template: &str, path: &str) -> Option<Vec<Step>> {
        let mut segments = path.strip_prefix('/')?.split('/');
        let mut steps = Vec::new();
        for part in template.strip_prefix('/')?.split('/') {
            if part.ends_with("...}") {
                segments.next()?;
                steps.push(Step::Rest);
                return Some(steps);
            }
            let segment = segments.next()?;
            if part == "*" || part.starts_with('{') {
                if segment.is_empty() {
                    return None;
                }
                steps.push(Step::Segment);
            } else {
                if part != segment {
                    return None;
                }
                steps.push(Step::Literal);
            }
        }
        segments.next().is_none().then_some(steps)
    }

    /// The shape of a path: two templates of one shape match the same paths.
    pub(super) fn shape(template: &str) -> Vec<String> {
        let shape = |part: &str| match part {
            part if part.ends_with("...}") => "...".to_owned(),
            part if part == "*" || part.starts_with('{') => "*".to_owned(),
            literal => format!("={literal}"),
        };
        template.split('/').map(shape).collect()
    }

    /// How well a host pattern matches: nothing if it does not.
    pub(super) fn host(pattern: Option<&str>, host: &str) -> Option<usize> {
        let Some(pattern) = pattern else { return Some(0) };
        match pattern.strip_prefix('*') {
            None => (pattern == host).then_some(usize::MAX),
            Some(suffix) => host.ends_with(suffix).then_some(suffix.len()),
        }
    }

    pub(super) fn holds(predicates: &[Predicate], fields: &[(String, String)]) -> bool {
        predicates.iter().all(|predicate| {
            fields.iter().any(|(name, value)| {
                *name == *predicate.name
                    && match &predicate.test {
                        Test::Present => true,
                        Test::Exact(wanted) => *value == **wanted,
                        Test::Prefix(wanted) => value.starts_with(&**wanted),
                    }
            })
        })
    }
}

#[derive(Clone, Debug)]
struct Spec {
    hosts: Vec<String>,
    path: String,
    methods: Vec<String>,
    headers: Vec<Predicate>,
    query: Vec<Predicate>,
}

impl Spec {
    fn hosts(&self) -> Vec<Option<&str>> {
        if self.hosts.is_empty() { vec![None] } else { self.hosts.iter().map(|host| Some(host.as_str())).collect() }
    }

    fn alike(&self, other: &Self, host: Option<&str>) -> bool {
        let sorted = |predicates: &Vec<Predicate>| BTreeSet::from_iter(predicates.clone());
        other.hosts().contains(&host)
            && model::shape(&self.path) == model::shape(&other.path)
            && self.methods.is_empty() == other.methods.is_empty()
            && sorted(&self.headers) == sorted(&other.headers)
            && sorted(&self.query) == sorted(&other.query)
    }

    fn conflicts(&self, other: &Self) -> bool {
        let methods_meet = self.methods.is_empty() || self.methods.iter().any(|method| other.methods.contains(method));
        methods_meet && self.hosts().iter().any(|host| self.alike(other, *host))
    }

    fn conditions(&self) -> Conditions {
        Conditions {
            hosts: self.hosts.iter().map(|host| HostPattern::parse(host).unwrap()).collect(),
            path: PathPattern::parse(&self.path).unwrap(),
            methods: self.methods.clone(),
            headers: self.headers.clone(),
            query: self.query.clone(),
        }
    }
}

#[derive(Clone, Debug)]
struct Asked {
    host: String,
    path: String,
    method: String,
    fields: Vec<(String, String)>,
    query: Vec<(String, String)>,
}

/// The answer of the model: a route, the methods of a 405, or nothing.
fn slow_find(specs: &[Spec], asked: &Asked) -> Result<u32, BTreeSet<String>> {
    let mut best = None;
    let mut allow = BTreeSet::new();
    for (index, spec) in specs.iter().enumerate() {
        for host in spec.hosts() {
            let Some(host_rank) = model::host(host, &asked.host) else { continue };
            let Some(path_rank) = model::path(&spec.path, &asked.path) else { continue };
            if !model::holds(&spec.headers, &asked.fields) || !model::holds(&spec.query, &asked.query) {
                continue;
            }
            let mut methods: BTreeSet<String> = spec.methods.iter().cloned().collect();
            let head_is_named = specs
                .iter()
                .any(|other| spec.alike(other, host) && other.methods.iter().any(|method| method == "HEAD"));
            if methods.contains("GET") && !head_is_named {
                methods.insert("HEAD".to_owned());
            }
            if !methods.is_empty() && !methods.contains(&asked.method) {
                allow.extend(methods);
                continue;
            }
            let counts = (spec.headers.len(), spec.query.len());
            let rank = (host_rank, path_rank, !spec.methods.is_empty(), counts, std::cmp::Reverse(index));
            best = best.max(Some(rank));
        }
    }
    best.map(|(.., std::cmp::Reverse(index))| index as u32).ok_or(allow)
}

fn specs() -> impl Strategy<Value = Vec<Spec>> {
    let host = prop_oneof![Just("a.x"), Just("b.a.x"), Just("*.x"), Just("*.a.x"), Just("c")];
    let segment = prop_oneof![
        4 => prop_oneof![3 => Just("a"), 1 => Just("b"), 1 => Just("ab")].prop_map(str::to_owned),
        2 => Just("*".to_owned()),
        2 => Just("{}".to_owned()),
    ];
    let end = prop_oneof![3 => Just(String::new()), 1 => Just("/".to_owned()), 2 => Just("/{rest...}".to_owned())];
    let path = (proptest::collection::vec(segment, 0..3), end).prop_map(|(segments, end)| {
        let name = |(index, segment): (usize, String)| match segment.as_str() {
            "{}" => format!("/{{p{index}}}"),
            other => format!("/{other}"),
        };
        let path = segments.into_iter().enumerate().map(name).collect::<Vec<_>>().concat() + &end;
        if path.is_empty() { "/".to_owned() } else { path }
    });
    let methods = proptest::sample::subsequence(vec!["GET", "HEAD", "POST", "PURGE"], 0..3);
    let test = prop_oneof![
        2 => Just(Test::Present),
        1 => "[12]{1,2}".prop_map(|text| Test::Exact(text.into())),
        1 => "[12]".prop_map(|text| Test::Prefix(text.into())),
    ];
    let predicate = ("[uv]", test).prop_map(|(name, test)| Predicate { name: name.into(), test });
    let predicates = || proptest::collection::vec(predicate.clone(), 0..3);
    let spec = (proptest::collection::vec(host, 0..3), path, methods, predicates(), predicates()).prop_map(
        |(hosts, path, methods, headers, query)| Spec {
            hosts: hosts.into_iter().map(str::to_owned).collect(),
            path,
            methods: methods.into_iter().map(str::to_owned).collect(),
            headers,
            query,
        },
    );
    proptest::collection::vec(spec, 0..24)
}

fn asked() -> impl Strategy<Value = Asked> {
    let host = prop_oneof![Just("a.x"), Just("b.a.x"), Just("x"), Just("q.b.a.x"), Just("c"), Just("d")];
    let path = (proptest::collection::vec("(a|a|b|ab)", 0..4), any::<bool>()).prop_map(|(segments, slash)| {
        let path = segments.iter().fold(String::new(), |path, segment| path + "/" + segment);
        if slash || path.is_empty() { path + "/" } else { path }
    });
    let method = prop_oneof![Just("GET"), Just("HEAD"), Just("POST"), Just("PURGE"), Just("BREW")];
    let fields = || proptest::collection::vec(("[uv]", "[12]{0,2}"), 0..3);
    (host, path, method, fields(), fields()).prop_map(|(host, path, method, fields, query)| Asked {
        host: host.to_owned(),
        path,
        method: method.to_owned(),
        fields,
        query,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_router_agrees_with_a_look_at_every_route(specs in specs(), all in proptest::collection::vec(asked(), 1..16)) {
        let clashes = specs.iter().enumerate().any(|(at, spec)| specs[..at].iter().any(|other| other.conflicts(spec)));
        let router = Router::build(specs.iter().map(Spec::conditions).collect());
        prop_assert_eq!(router.is_err(), clashes);
        let mut kept: Vec<Spec> = Vec::new();
        for spec in specs {
            if !kept.iter().any(|other| other.conflicts(&spec)) {
                kept.push(spec);
            }
        }
        let router = Router::build(kept.iter().map(Spec::conditions).collect()).unwrap();
        for asked in all {
            let headers = Fields(asked.fields.clone());
            let text: Vec<String> = asked.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let text = text.join("&");
            let query = Query {
                method: asked.method.as_bytes(),
                host: asked.host.as_bytes(),
                path: asked.path.as_bytes(),
                query: Some(text.as_bytes()),
                headers: &headers,
            };
            let mut captures = Captures::default();
            let result = router.find(&query, &mut captures);
            let named = match result {
                Ok(route) => Ok(route.0),
                Err(Miss::NotFound) => Err(BTreeSet::new()),
                Err(Miss::MethodNotAllowed(set)) => Err(router.methods(set).map(str::to_owned).collect()),
            };
            prop_assert_eq!(named, slow_find(&kept, &asked), "{:?} of {:#?}", asked, kept);
            if let Ok(route) = result {
                // The captures, put back into the template, are the path again.
                let mut index = 0;
                let mut rebuilt = String::new();
                for part in kept[route.0 as usize].path.split('/').skip(1) {
                    rebuilt.push('/');
                    if part == "*" || part.starts_with('{') {
                        rebuilt.push_str(&asked.path[captures.get(index).unwrap()]);
                        index += 1;
                    } else {
                        rebuilt.push_str(part);
                    }
                }
                prop_assert_eq!(&rebuilt, &asked.path);
                prop_assert_eq!(index, captures.len());
            }
            let explained = router.explain(&query);
            prop_assert_eq!(explained.result, result);
            let mut told: BTreeSet<u32> = explained.lost.iter().map(|(route, _)| route.0).collect();
            prop_assert_eq!(told.len(), explained.lost.len());
            told.extend(result.map(|route| route.0));
            prop_assert_eq!(told.len(), kept.len());
            for (route, why) in explained.lost {
                let spec = &kept[route.0 as usize];
                let host = spec.hosts().iter().any(|host| model::host(*host, &asked.host).is_some());
                let path = model::path(&spec.path, &asked.path).is_some();
                prop_assert_eq!(why == Lost::Host, !host);
                prop_assert_eq!(why == Lost::Path, host && !path);
                if host && path {
                    let headers = model::holds(&spec.headers, &asked.fields);
                    prop_assert_eq!(matches!(why, Lost::Header(_)), !headers);
                    prop_assert_eq!(matches!(why, Lost::Query(_)), headers && !model::holds(&spec.query, &asked.query));
                }
            }
        }
    }

    #[test]
    fn any_bytes_are_routed(host: Vec<u8>, path: Vec<u8>, query: Vec<u8>, method: Vec<u8>) {
        let router = build(&[
            route("*.a b.c", "/{x}/{rest...}", &["GET"]),
            with_query(route("", "/{rest...}", &[]), "q", Test::Present),
        ]);
        let query =
            Query { method: &method, host: &host, path: &path, query: Some(&query), headers: &NoHeaders };
        let mut captures = Captures::default();
        if router.find(&query, &mut captures).is_ok() {
            prop_assert!(path.starts_with(b"/"));
            prop_assert!(captures.get(0).is_some_and(|span| span.end <= path.len()));
        }
    }
}
