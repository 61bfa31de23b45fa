//! From config to plan: names resolved, templates compiled, routes laid into the router.

use super::router::{Conditions, Conflict};
use super::template::Scope;
use super::templates::Templates;
use super::trie::PathPattern;
use super::{
    Action, Aggregate, AggregateCheck, AggregateId, AggregateRoute, CheckTarget, Discover, Endpoint, Fallback, HashKey,
    Listener, Mirror, Plan, PolicyId, PolicyStep, Proxy, Redirect, Route, Router, Subset, Upstream, UpstreamId, is_in,
};
use crate::config::{
    AggregateSection, Config, Diagnostic, Diagnostics, EndpointSection, HostPort, ListenerSection, PolicyRef,
    PolicySection, Resolve, RouteSection, ServiceKind, ServiceSection, Spanned, Target, TargetSection, UpstreamSection,
    nearest,
};
use ringway_runtime::net::Address;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

/// Builds a plan. Nothing where that is not possible; whether the plan may be used is for `diags` to say.
pub(crate) fn build(config: &Config, epoch: u64, resolve: Resolve<'_>, diags: &Diagnostics) -> Option<Plan> {
    refuse_shared_addresses(&config.listeners, diags);
    let mut upstreams: Vec<Upstream> =
        config.upstreams.iter().map(|section| upstream(section, resolve, diags)).collect();
    let mut builder = Builder {
        config,
        diags,
        upstreams: by_name(config.upstreams.iter().map(|upstream| &upstream.name)),
        subsets: config.upstreams.iter().map(|_| vec![Subset::default()]).collect(),
        policies: by_name(config.policies.iter().map(|policy| &policy.name)),
        services: by_name(config.services.iter().map(|service| &service.name)),
        used: HashSet::new(),
        meant: RefCell::default(),
        policy_ids: HashMap::new(),
        policy_names: Vec::new(),
        inline_names: HashMap::new(),
        resolve,
        aggregates: Vec::new(),
    };
    refuse_shared_names(&config.routes, diags);
    warn_of_early_data(config, diags);
    let routes: Vec<Option<(Route, Conditions)>> = config.routes.iter().map(|section| builder.route(section)).collect();
    let listeners = config.listeners.iter().map(|section| builder.listener(section)).collect();
    for (section, upstream) in config.upstreams.iter().zip(&mut upstreams) {
        if let (Some(name), Some(breaker)) = (&section.fallback, &mut upstream.breaker) {
            breaker.fallback = builder.fallback(section, name);
        }
    }
    builder.warn_of_unused();
    for (upstream, subsets) in upstreams.iter_mut().zip(std::mem::take(&mut builder.subsets)) {
        upstream.subsets = subsets.into();
    }
    // Conflicts are found among the routes that could be read, whatever is wrong with the others.
    let sections: Vec<&RouteSection> =
        config.routes.iter().zip(&routes).filter(|(_, route)| route.is_some()).map(|(section, _)| section).collect();
    let (routes, conditions): (Vec<Route>, Vec<Conditions>) = routes.into_iter().flatten().unzip();
    let router = Router::build(conditions).map_err(|conflicts| {
        for conflict in &conflicts {
            report(conflict, &sections, diags);
        }
    });
    Some(Plan {
        epoch,
        cores: config.cores.clone(),
        control: config.control.clone(),
        admin: config.admin.clone(),
        log: config.log.clone(),
        access_log: config.access_log.clone(),
        certificates: config.certificates.clone(),
        acme: config.acme.iter().cloned().map(Arc::new).collect(),
        http_challenges: Arc::default(),
        listeners,
        upstreams: upstreams.into_iter().map(Arc::new).collect(),
        policies: builder.policy_names.into(),
        aggregates: builder.aggregates.into_iter().map(|(_, aggregate)| aggregate).collect(),
        routes: routes.into(),
        router: Arc::new(router.ok()?),
    })
}

fn by_name<'c>(names: impl Iterator<Item = &'c Spanned<String>>) -> HashMap<&'c str, usize> {
    names.enumerate().map(|(index, name)| (name.value.as_str(), index)).collect()
}

fn refuse_shared_addresses(listeners: &[ListenerSection], diags: &Diagnostics) {
    let mut first: HashMap<&Address, &Spanned<Address>> = HashMap::new();
    for address in listeners.iter().flat_map(|listener| &listener.addresses) {
        // Port 0 is a new port each time.
        if address.value.socket_addr().is_some_and(|address| address.port() == 0) {
            continue;
        }
        if let Some(other) = first.insert(&address.value, address) {
            let message = format!("{} is listened on twice", address.value);
            diags.push(Diagnostic::error(address.span.clone(), message).also(other.span.clone(), "first here"));
        }
    }
}

fn refuse_shared_names(routes: &[RouteSection], diags: &Diagnostics) {
    let mut first: HashMap<&str, &Spanned<String>> = HashMap::new();
    for name in routes.iter().filter_map(|route| route.name.as_ref()) {
        if let Some(other) = first.get(name.value.as_str()) {
            let message = format!("two routes have the name \"{}\"", name.value);
            diags.push(Diagnostic::error(name.span.clone(), message).also(other.span.clone(), "first here"));
        } else {
            first.insert(&name.value, name);
        }
    }
}

/// A route that allows early data, where nothing can be early.
fn warn_of_early_data(config: &Config, diags: &Diagnostics) {
    let may_be_early = |listener: &ListenerSection| {
        let takes = listener.tls.as_ref().is_some_and(|tls| tls.server.takes_early_data());
        // A gateway before this one may have taken some.
        takes || listener.trusts_unix || !listener.trusted_proxies.is_empty()
    };
    if config.listeners.iter().any(may_be_early) {
        return;
    }
    for route in config.routes.iter().filter(|route| route.early_data.value) {
        let message = "route.early_data: no listener takes early data";
        let diagnostic = Diagnostic::warning(route.early_data.span.clone(), message);
        diags.push(diagnostic.help("set `tls.early_data = {}` for a listener"));
    }
}

fn upstream(section: &UpstreamSection, resolve: Resolve<'_>, diags: &Diagnostics) -> Upstream {
    let mut endpoints: Vec<Endpoint> = Vec::new();
    let mut first: HashMap<Address, &EndpointSection> = HashMap::new();
    for endpoint in &section.endpoints {
        for address in addresses(&endpoint.address, resolve, diags) {
            if let Some(other) = first.insert(address.clone(), endpoint) {
                let (at, other_at) = (&endpoint.address.value, &other.address.value);
                let what = if at.to_string().eq_ignore_ascii_case(&other_at.to_string()) {
                    format!("{at} is an endpoint twice")
                } else {
                    format!("{at} and {other_at} are both {address}")
                };
                let message = format!("upstream.{}: {what}", section.name.value);
                let diagnostic = Diagnostic::error(endpoint.address.span.clone(), message);
                let help = "give one of them a weight instead";
                diags.push(diagnostic.also(other.address.span.clone(), "first here").help(help));
            }
            let name = endpoint.address.value.to_string().into();
            endpoints.push(endpoint.says.clone().at(name, address));
        }
    }
    let endpoints: Box<[Endpoint]> = endpoints.into();
    let discover = section.discover.clone().map(|discover| Arc::new(Discover { first: endpoints.clone(), ..discover }));
    Upstream {
        name: section.name.value.as_str().into(),
        endpoints,
        discover,
        balance: section.balance.clone(),
        sticky: section.sticky.clone(),
        failover: section.failover.clone(),
        slow_start: section.slow_start,
        health: section.health.clone(),
        outlier: section.outlier,
        breaker: section.breaker.clone(),
        subsets: [Subset::default()].into(),
        retry: section.retry,
        timeout: section.timeout,
        pool: section.pool,
        proxy_protocol: section.proxy_protocol,
        tls: section.tls.clone(),
        http2: section.http2.clone(),
    }
}

/// The addresses of one endpoint. Of a name that has both kinds only the IPv4 addresses are used: most names of one
/// machine have both, and most servers listen on one.
fn addresses(written: &Spanned<HostPort>, resolve: Resolve<'_>, diags: &Diagnostics) -> Vec<Address> {
    let (host, port) = match &written.value {
        HostPort::Unix(name) => return vec![name.clone().into()],
        HostPort::Ip { host, port } => (host, *port),
    };
    if let Ok(address) = host.parse() {
        return vec![SocketAddr::new(address, port).into()];
    }
    let fail = |why: &str| {
        let message = format!("\"{host}\" cannot be resolved: {why}");
        diags.push(Diagnostic::error(written.span.clone(), message));
        Vec::new()
    };
    match resolve(host, port) {
        Err(why) => fail(&why),
        Ok(all) if all.is_empty() => fail("it has no address"),
        Ok(mut all) => {
            if all.iter().any(SocketAddr::is_ipv4) {
                all.retain(SocketAddr::is_ipv4);
            }
            all.sort_unstable();
            all.dedup();
            all.into_iter().map(Address::Ip).collect()
        }
    }
}

struct Builder<'c, 'r> {
    config: &'c Config,
    diags: &'c Diagnostics,
    upstreams: HashMap<&'c str, usize>,
    /// What routes ask for of each upstream, by its index.
    subsets: Vec<Vec<Subset>>,
    policies: HashMap<&'c str, usize>,
    services: HashMap<&'c str, usize>,
    /// Where the names that routes used were written.
    used: HashSet<usize>,
    /// The kinds and names that mistyped ones were nearest to.
    meant: RefCell<HashSet<(String, String)>>,
    /// By where the policy is written.
    policy_ids: HashMap<usize, PolicyId>,
    /// By id. They become labels, so no two are the same.
    policy_names: Vec<Arc<str>>,
    /// How many policies without a name are in the same place and of the same type.
    inline_names: HashMap<String, u32>,
    resolve: Resolve<'r>,
    /// The services of type `health` by id, and where each is written.
    aggregates: Vec<(usize, Arc<Aggregate>)>,
}

impl<'c> Builder<'c, '_> {
    fn listener(&mut self, section: &'c ListenerSection) -> Listener {
        let templates = Templates { diags: self.diags, captures: Some(&[]), path: None };
        let place = format!("listener/{}", section.name.value);
        let policies = section.policies.iter().filter_map(|policy| self.policy(policy, &place, &templates)).collect();
        Listener {
            name: section.name.value.as_str().into(),
            addresses: section.addresses.iter().map(|address| address.value.clone()).collect(),
            access: section.access.clone(),
            backlog: section.backlog,
            trusted_proxies: section.trusted_proxies.clone().into(),
            trusts_unix: section.trusts_unix,
            proxy_protocol: section.proxy_protocol,
            forwarded: section.forwarded,
            via: section.via.as_deref().map(Into::into),
            server_timing: section.server_timing,
            access_log: section.access_log,
            policies,
            limits: section.limits.clone(),
            timeouts: section.timeouts.clone(),
            deadline: section.deadline.clone().map(Box::new),
            tls: section.tls.clone(),
            http2: section.http2.clone(),
        }
    }

    /// A route, where enough of it could be read. What is missing was complained about already.
    fn route(&mut self, section: &'c RouteSection) -> Option<(Route, Conditions)> {
        let path = section.path.as_ref();
        let pattern = path.and_then(|path| {
            let error = match PathPattern::parse(&path.value) {
                Ok(pattern) => return Some(pattern),
                Err(error) => error,
            };
            let diagnostic = Diagnostic::error(path.part(error.at), format!("route.path: {}", error.message));
            self.diags.push(diagnostic.maybe_help(error.help));
            None
        });
        // Names are looked up even where the path is wrong, so that all errors come at once.
        let templates = Templates {
            diags: self.diags,
            captures: pattern.as_ref().map(|pattern| pattern.names.as_slice()),
            path: path.map(|path| path.span.clone()),
        };
        let place = section.name.as_ref().map_or_else(String::new, |name| format!("route/{}", name.value));
        let policies = section.policies.iter().filter_map(|policy| self.policy(policy, &place, &templates)).collect();
        let action = section.target.as_ref().and_then(|target| self.action(section, target, &templates));
        let conditions = Conditions {
            hosts: section.hosts.iter().map(|host| host.value.clone()).collect(),
            path: pattern?,
            methods: section.methods.iter().map(|method| method.value.clone()).collect(),
            headers: section.headers.clone(),
            query: section.query.clone(),
        };
        let route = Route {
            name: section.name.as_ref()?.value.as_str().into(),
            path: path?.value.as_str().into(),
            policies,
            action: action?,
            total_timeout: section.total_timeout,
            mirror: self.mirror(section).map(Box::new),
            deadline: section.deadline.clone().map(Box::new),
            grpc: Box::new(section.grpc.value),
            websocket: Arc::new(section.websocket.clone()),
            priority: section.priority,
            body: section.body,
            access_log: section.access_log,
            early_data: section.early_data.value,
        };
        Some((route, conditions))
    }

    fn action(&mut self, section: &'c RouteSection, target: &'c Target, templates: &Templates<'_>) -> Option<Action> {
        match target {
            Target::Upstream(name) => {
                let index = self.look_up(&self.upstreams, "upstream", name)?;
                let upstream: &'c UpstreamSection = self.config.upstreams.get(index)?;
                self.used.insert(upstream.name.span.start);
                let capture = self.hashed(upstream, name, templates);
                let subset = self.subset(index, upstream, &section.subset)?;
                if section.grpc.value.web && !upstream.http2.is_enabled {
                    let message = format!("route.grpc.web: \"{}\" speaks HTTP/1.1, and gRPC needs HTTP/2", name.value);
                    let diagnostic = Diagnostic::error(section.grpc.span.clone(), message);
                    self.diags.push(diagnostic.help("give the upstream `protocol = \"h2\"`"));
                }
                let (upstream, retry) = (UpstreamId(index as u32), section.retry);
                let of_listeners = self.config.listeners.iter().any(|listener| listener.deadline.is_some());
                let (tells_deadline, mirrors) = (section.deadline.is_some() || of_listeners, section.mirror.is_some());
                let web = section.grpc.value.web.then_some(section.grpc.value.max_message);
                let stands_in = false;
                Some(Action::Proxy(Proxy { upstream, subset, capture, retry, tells_deadline, mirrors, web, stands_in }))
            }
            Target::Service(name) => {
                let index = self.look_up(&self.services, "service", name)?;
                let service: &'c ServiceSection = self.config.services.get(index)?;
                self.used.insert(service.name.span.start);
                match service.kind.as_ref()? {
                    ServiceKind::Redirect { status, location } => {
                        let location = templates.compile(location, Scope::Any)?;
                        Some(Action::Redirect(Redirect { status: *status, location }))
                    }
                    ServiceKind::Health(health) => {
                        let id = self.aggregate(&service.name, health);
                        // What is left of the path is the last of its captures.
                        let is_open = section.path.as_ref().is_some_and(|path| path.value.ends_with("...}"));
                        let captures = templates.captures.filter(|_| is_open);
                        let rest = captures.and_then(|all| u8::try_from(all.len().checked_sub(1)?).ok());
                        Some(Action::Health(AggregateRoute { id, rest }))
                    }
                    ServiceKind::Respond(respond) => Some(Action::Respond(Arc::clone(respond))),
                }
            }
        }
    }

    /// Who gets copies of the requests of a route.
    fn mirror(&mut self, section: &'c RouteSection) -> Option<Mirror> {
        let said = section.mirror.as_ref()?;
        let index = self.look_up(&self.upstreams, "upstream", &said.upstream)?;
        self.used.extend(self.config.upstreams.get(index).map(|found| found.name.span.start));
        if matches!(&section.target, Some(Target::Upstream(own)) if own.value == said.upstream.value) {
            let message =
                format!("route.mirror: \"{}\" answers this route and cannot be its own mirror", said.upstream.value);
            self.diags.push(Diagnostic::error(said.upstream.span.clone(), message));
        }
        Some(Mirror {
            upstream: UpstreamId(index as u32),
            share: said.share,
            body: said.body,
            max_active: said.max_active,
            timeout: said.timeout,
            remove: said.remove.iter().map(|name| name.as_str().into()).collect(),
        })
    }

    /// A service of type `health`. Routes that have the same one share it.
    fn aggregate(&mut self, name: &'c Spanned<String>, section: &'c AggregateSection) -> AggregateId {
        let written_at = name.span.start;
        if let Some(at) = self.aggregates.iter().position(|(known, _)| *known == written_at) {
            return AggregateId(at as u32);
        }
        let mut checks = Vec::new();
        for check in &section.checks {
            let target = match &check.target {
                TargetSection::Upstream(name) => {
                    let Some(index) = self.look_up(&self.upstreams, "upstream", name) else { continue };
                    self.used.extend(self.config.upstreams.get(index).map(|found| found.name.span.start));
                    CheckTarget::Upstream(UpstreamId(index as u32))
                }
                TargetSection::Address(address) => {
                    let name: Arc<str> = address.value.to_string().into();
                    let found = addresses(address, self.resolve, self.diags);
                    CheckTarget::Addresses(found.into_iter().map(|found| (name.clone(), found)).collect())
                }
            };
            checks.push(AggregateCheck {
                name: check.name.value.as_str().into(),
                label: format!("{}/{}", name.value, check.name.value).into(),
                critical: check.critical,
                needs: check.needs.as_slice().into(),
                target,
                check: check.check.clone(),
                timeout: check.timeout,
                slow: check.slow,
            });
        }
        let AggregateSection { ttl, total_timeout, degraded_status, history, detail, .. } = *section;
        let name = name.value.as_str().into();
        let (checks, order) = (checks.into(), section.order.as_slice().into());
        let aggregate = Aggregate { name, checks, order, ttl, total_timeout, degraded_status, history, detail };
        self.aggregates.push((written_at, Arc::new(aggregate)));
        AggregateId(self.aggregates.len() as u32 - 1)
    }

    /// The fallback of this name: another upstream, or else a fixed response.
    fn fallback(&mut self, upstream: &UpstreamSection, name: &Spanned<String>) -> Fallback {
        if name.value == upstream.name.value {
            let message = format!("upstream.{0}.breaker: \"{0}\" cannot stand in for itself", name.value);
            self.diags.push(Diagnostic::error(name.span.clone(), message));
            return Fallback::Refuse;
        }
        let is_upstream = self.upstreams.contains_key(name.value.as_str());
        let service = self.services.get(name.value.as_str()).filter(|_| !is_upstream);
        if let Some(service) = service.and_then(|&index| self.config.services.get(index)) {
            self.used.insert(service.name.span.start);
            match &service.kind {
                Some(ServiceKind::Respond(respond)) => {
                    return Fallback::Respond(name.value.as_str().into(), Arc::clone(respond));
                }
                // That it is none of any type was complained about.
                None => {}
                Some(_) => {
                    let message = format!("the service \"{}\" is no fixed response", name.value);
                    let help = "an upstream, or a service of type respond, is wanted";
                    self.diags.push(Diagnostic::error(name.span.clone(), message).help(help));
                }
            }
            return Fallback::Refuse;
        }
        let Some(index) = self.look_up(&self.upstreams, "upstream", name) else { return Fallback::Refuse };
        self.used.extend(self.config.upstreams.get(index).map(|found| found.name.span.start));
        Fallback::Upstream(UpstreamId(index as u32))
    }

    /// The capture that the upstream wants of the path, where it is there.
    fn hashed(&self, upstream: &UpstreamSection, name: &Spanned<String>, templates: &Templates<'_>) -> Option<u8> {
        let HashKey::PathParameter(wanted) = upstream.balance.key()? else { return None };
        let captures = templates.captures?;
        let found = captures.iter().position(|capture| **capture == **wanted);
        if found.is_none() {
            let message =
                format!("the upstream \"{}\" hashes `{wanted}` of the path, which has no such capture", name.value);
            let help = match nearest(wanted, captures.iter().map(String::as_str)) {
                Some(near) => format!("did you mean `path:{near}` in its `balance`?"),
                None => format!("write `{{{wanted}}}` into the path, or have another upstream"),
            };
            let diagnostic = Diagnostic::error(name.span.clone(), message).help(help);
            let path = templates.path.clone();
            self.diags.push(match path {
                Some(path) => diagnostic.also(path, "the path of the route"),
                None => diagnostic,
            });
        }
        found.map(|at| at as u8)
    }

    /// Which subset of the upstream this is. Some endpoint must be in it.
    fn subset(&mut self, index: usize, upstream: &UpstreamSection, wanted: &Spanned<Subset>) -> Option<u16> {
        let endpoints = || upstream.endpoints.iter().map(|endpoint| &endpoint.says.metadata);
        // An upstream without endpoints was complained about, and nobody knows yet what will be found.
        let is_known = upstream.discover.is_none() && endpoints().next().is_some();
        if !wanted.value.is_empty() && is_known && !endpoints().any(|has| is_in(&wanted.value, has)) {
            let says: Vec<String> = wanted.value.iter().map(|(name, value)| format!("{name} = \"{value}\"")).collect();
            let message = format!("no endpoint of the upstream \"{}\" has {}", upstream.name.value, says.join(" and "));
            let all = || endpoints().flat_map(|metadata| metadata.iter());
            let meant = wanted.value.iter().find_map(|(name, value)| {
                if all().any(|pair| pair.0 == *name && pair.1 == *value) {
                    return None;
                }
                let values = || all().filter(|(known, _)| known == name);
                if values().next().is_some() {
                    nearest(value, values().map(|(_, value)| &**value)).map(str::to_owned)
                } else {
                    nearest(name, all().map(|(name, _)| &**name)).map(str::to_owned)
                }
            });
            let help = match meant {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => "give `metadata` to its endpoints".to_owned(),
            };
            self.diags.push(Diagnostic::error(wanted.span.clone(), message).help(help));
            return None;
        }
        let known = self.subsets.get_mut(index)?;
        let at = known.iter().position(|subset| *subset == wanted.value).unwrap_or_else(|| {
            known.push(wanted.value.clone());
            known.len() - 1
        });
        u16::try_from(at).ok()
    }

    /// A policy in its place. What is missing was complained about already.
    fn policy(&mut self, policy: &'c PolicyRef, place: &str, templates: &Templates<'_>) -> Option<PolicyStep> {
        let section: &'c PolicySection = match policy {
            PolicyRef::Inline(section) => section,
            PolicyRef::Named(name) => {
                let index = self.look_up(&self.policies, "policy", name)?;
                self.config.policies.get(index)?
            }
        };
        let written_at = section.name.span.start;
        self.used.insert(written_at);
        let compiled = section.kind.as_ref()?.compile(templates)?;
        let (names, inline) = (&mut self.policy_names, &mut self.inline_names);
        let id = *self.policy_ids.entry(written_at).or_insert_with(|| {
            names.push(match policy {
                PolicyRef::Named(name) => name.value.as_str().into(),
                PolicyRef::Inline(_) => {
                    let name = format!("{place}/{}", compiled.type_name());
                    let count = inline.entry(name.clone()).and_modify(|count| *count += 1).or_insert(1);
                    if *count == 1 { name.into() } else { format!("{name}/{count}").into() }
                }
            });
            PolicyId(names.len() as u32 - 1)
        });
        Some(PolicyStep { id, shadow: section.shadow, policy: compiled })
    }

    /// The index of a name. Where there is none, the nearest counts as meant, so that it is not called unused as well.
    fn look_up(&self, names: &HashMap<&str, usize>, kind: &str, name: &Spanned<String>) -> Option<usize> {
        let found = names.get(name.value.as_str()).copied();
        if found.is_none() {
            let message = format!("there is no {kind} \"{}\"", name.value);
            let mut known: Vec<&str> = names.keys().copied().collect();
            known.sort_unstable();
            let help = match nearest(&name.value, known.iter().copied()) {
                Some(near) => {
                    self.meant.borrow_mut().insert((kind.to_owned(), near.to_owned()));
                    format!("did you mean \"{near}\"?")
                }
                None if names.is_empty() => format!("write a [{kind}.{}]", name.value),
                None => {
                    known.truncate(20);
                    format!("known: {}", known.join(", "))
                }
            };
            self.diags.push(Diagnostic::error(name.span.clone(), message).help(help));
        }
        found
    }

    fn warn_of_unused(&self) {
        let upstreams = self.config.upstreams.iter().map(|section| ("upstream", &section.name));
        let policies = self.config.policies.iter().map(|section| ("policy", &section.name));
        let services = self.config.services.iter().map(|section| ("service", &section.name));
        for (kind, name) in upstreams.chain(policies).chain(services) {
            let meant = self.meant.borrow().contains(&(kind.to_owned(), name.value.clone()));
            if !meant && !self.used.contains(&name.span.start) {
                let message = format!("nothing uses the {kind} \"{}\"", name.value);
                self.diags.push(Diagnostic::warning(name.span.clone(), message));
            }
        }
    }
}

fn report(conflict: &Conflict, routes: &[&RouteSection], diags: &Diagnostics) {
    let name = |route: &RouteSection| route.name.as_ref().map(|name| name.value.clone()).unwrap_or_default();
    let place = |route: &RouteSection| route.path.as_ref().map_or(route.span.clone(), |path| path.span.clone());
    match conflict {
        Conflict::Same { first, second, host } => {
            let (Some(first), Some(second)) = (routes.get(*first), routes.get(*second)) else { return };
            let on = host.as_ref().map_or("any host".to_owned(), |host| format!("the host {host}"));
            let message =
                format!("the routes \"{}\" and \"{}\" take the same requests on {on}", name(first), name(second));
            let diagnostic = Diagnostic::error(place(second), message).also(place(first), "first here");
            diags.push(diagnostic.help("tell them apart by host, path, methods, headers or query"));
        }
        Conflict::TooManyMethods { route } => {
            let Some(route) = routes.get(*route) else { return };
            let place = route.methods.first().map_or(route.span.clone(), |method| method.span.clone());
            diags.push(Diagnostic::error(
                place,
                "the routes name more methods than can be told apart (54 of their own)",
            ));
        }
    }
}
