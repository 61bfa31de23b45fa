//! Endpoints from the DNS: the addresses of a name, or the servers of a service (RFC 2782) and theirs.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use tokio::task::JoinSet;

use super::source::{Found, Look, Source};
use crate::config::EndpointSays;
use crate::plan::{Dns, Endpoint, Family};

/// Servers of a service that are looked up at once.
const AT_ONCE: usize = 8;
/// The most that an endpoint may weigh, and the last group it can be in.
const WEIGHT_MAX: f64 = 1000.0;
const PRIORITY_MAX: u32 = 15;

/// A name that is asked for.
pub(super) struct DnsSource {
    dns: Dns,
    /// Of a service, how many endpoints may come of it.
    servers_of: Option<usize>,
    resolver: Option<TokioResolver>,
    /// The addresses that each server of the service had last.
    last: BTreeMap<String, Vec<IpAddr>>,
}

/// What the DNS says: some records or none, for so long.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Said<T> {
    all: Vec<T>,
    /// Seconds.
    ttl: Option<u32>,
}

/// A server of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Server {
    priority: u16,
    weight: u16,
    port: u16,
    target: String,
}

impl DnsSource {
    pub(super) fn of_addresses(dns: &Dns) -> Self {
        Self { dns: dns.clone(), servers_of: None, resolver: None, last: BTreeMap::new() }
    }

    pub(super) fn of_servers(dns: &Dns, most: usize) -> Self {
        Self { servers_of: Some(most), ..Self::of_addresses(dns) }
    }

    /// How to ask. Whom the machine asks may change, so this is made anew after a failure.
    fn resolver(&mut self) -> Result<TokioResolver, String> {
        if let Some(resolver) = &self.resolver {
            return Ok(resolver.clone());
        }
        let failed = |error: NetError| format!("the resolver cannot be set up: {error}");
        let provider = TokioRuntimeProvider::default();
        let mut builder = if self.dns.servers.is_empty() {
            TokioResolver::builder(provider).map_err(failed)?
        } else {
            let server = |address: &SocketAddr| {
                let at = |mut connection: ConnectionConfig| {
                    connection.port = address.port();
                    connection
                };
                let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(at).into();
                NameServerConfig::new(address.ip(), true, connections)
            };
            let servers = self.dns.servers.iter().map(server).collect();
            TokioResolver::builder_with_config(ResolverConfig::from_parts(None, Vec::new(), servers), provider)
        };
        let options = builder.options_mut();
        // How long an answer holds is for the floor and the ceiling of this source to say.
        options.cache_size = 0;
        options.timeout = self.dns.timeout;
        options.attempts = 1;
        options.try_tcp_on_error = true;
        let resolver = builder.build().map_err(failed)?;
        self.resolver = Some(resolver.clone());
        Ok(resolver)
    }

    async fn addresses(&mut self) -> Result<Found, String> {
        let resolver = self.resolver()?;
        let said = addresses(resolver, self.dns.name.to_string(), self.dns.family).await?;
        let endpoint = |ip: IpAddr| {
            let address = SocketAddr::new(ip, self.dns.port);
            EndpointSays::default().at(address.to_string().into(), address)
        };
        Ok(Found { endpoints: said.all.into_iter().map(endpoint).collect(), again: Some(self.again(said.ttl)) })
    }

    async fn servers(&mut self, most: usize) -> Result<Found, String> {
        let resolver = self.resolver()?;
        let said = servers(&resolver, &self.dns.name).await?;
        if said.all.len() > most {
            return Err(format!("{} servers are more than max_endpoints = {most}", said.all.len()));
        }
        let mut ttl = said.ttl;
        let targets: BTreeSet<&String> = said.all.iter().map(|server| &server.target).collect();
        let mut left = targets.into_iter();
        let mut looking = JoinSet::new();
        let (mut known, mut failure) = (BTreeMap::new(), None);
        loop {
            while looking.len() < AT_ONCE
                && let Some(target) = left.next()
            {
                let (resolver, target, family) = (resolver.clone(), target.clone(), self.dns.family);
                looking.spawn(async move { (addresses(resolver, target.clone(), family).await, target) });
            }
            let Some(looked) = looking.join_next().await else { break };
            let Ok((found, target)) = looked else { continue };
            match found {
                Ok(found) => {
                    ttl = ttl.into_iter().chain(found.ttl).min();
                    known.insert(target, found.all);
                }
                // One server that cannot be looked up is where it was; the others are known.
                Err(why) => {
                    if let Some(last) = self.last.remove(&target) {
                        known.insert(target.clone(), last);
                    }
                    failure = Some(format!("{target}: {why}"));
                }
            }
        }
        let endpoints = endpoints(&said.all, &known);
        self.last = known;
        match failure {
            Some(why) if endpoints.is_empty() => Err(why),
            // Soon again, for the sake of the one that could not be looked up.
            Some(_) => Ok(Found { endpoints, again: Some(self.dns.min_ttl) }),
            None => Ok(Found { endpoints, again: Some(self.again(ttl)) }),
        }
    }

    /// When an answer that holds for so many seconds is asked for again. What is not there holds, too, for as long as
    /// the zone says.
    fn again(&self, ttl: Option<u32>) -> Duration {
        let ttl = ttl.map_or(self.dns.min_ttl, |seconds| Duration::from_secs(seconds.into()));
        ttl.clamp(self.dns.min_ttl, self.dns.max_ttl)
    }
}

impl Source for DnsSource {
    fn look(&mut self) -> Look<'_> {
        Box::pin(async {
            let found = match self.servers_of {
                None => self.addresses().await,
                Some(most) => self.servers(most).await,
            };
            if found.is_err() {
                self.resolver = None;
            }
            found
        })
    }

    fn patience(&self) -> (Duration, Duration) {
        (self.dns.min_ttl, self.dns.max_ttl)
    }
}

/// The addresses of a name. A family that could not be asked for is a failure, so that one does not turn up for another.
async fn addresses(resolver: TokioResolver, name: String, family: Family) -> Result<Said<IpAddr>, String> {
    let ip = |data: &RData| match data {
        RData::A(v4) => Some(IpAddr::V4(v4.0)),
        RData::AAAA(v6) => Some(IpAddr::V6(v6.0)),
        _ => None,
    };
    let v4 = lookup(&resolver, &name, RecordType::A, ip);
    let v6 = lookup(&resolver, &name, RecordType::AAAA, ip);
    match family {
        Family::V4 => v4.await,
        Family::V6 => v6.await,
        Family::Auto => {
            let v4 = v4.await?;
            if v4.all.is_empty() { v6.await } else { Ok(v4) }
        }
        Family::Both => {
            let (mut v4, v6) = (v4.await?, v6.await?);
            // Where one family is there the other's absence says nothing of how long it holds.
            v4.ttl = [&v4, &v6].into_iter().filter(|said| !said.all.is_empty()).filter_map(|said| said.ttl).min();
            v4.all.extend(v6.all);
            Ok(v4)
        }
    }
}

async fn servers(resolver: &TokioResolver, name: &str) -> Result<Said<Server>, String> {
    let server = |data: &RData| match data {
        // A target of `.` says that there is no such service.
        RData::SRV(srv) if !srv.target.is_root() => Some(Server {
            priority: srv.priority,
            weight: srv.weight,
            port: srv.port,
            target: srv.target.to_ascii().trim_end_matches('.').to_ascii_lowercase(),
        }),
        _ => None,
    };
    lookup(resolver, name, RecordType::SRV, server).await
}

async fn lookup<T>(
    resolver: &TokioResolver,
    name: &str,
    kind: RecordType,
    of: impl Fn(&RData) -> Option<T>,
) -> Result<Said<T>, String> {
    // Taken as a whole: with a search list nobody could tell which of its names was not there.
    let mut whole = Name::from_ascii(name).map_err(|error| error.to_string())?;
    whole.set_fqdn(true);
    match resolver.lookup(whole, kind).await {
        Ok(lookup) => {
            let ttl = lookup.answers().iter().map(|record| record.ttl).min();
            Ok(Said { all: lookup.answers().iter().filter_map(|record| of(&record.data)).collect(), ttl })
        }
        Err(NetError::Dns(DnsError::NoRecordsFound(none)))
            if matches!(none.response_code, ResponseCode::NoError | ResponseCode::NXDomain) =>
        {
            Ok(Said { all: Vec::new(), ttl: none.negative_ttl })
        }
        Err(error) => Err(format!("{kind} {name}: {error}")),
    }
}

/// The endpoints of servers whose addresses are known. Their priorities become groups in their order; weights keep their
/// proportions, and the addresses of one server share its weight.
fn endpoints(servers: &[Server], known: &BTreeMap<String, Vec<IpAddr>>) -> Vec<Endpoint> {
    let groups: BTreeSet<u16> = servers.iter().map(|server| server.priority).collect();
    let group = |priority: u16| groups.range(..priority).count() as u32;
    let mut weighed = Vec::new();
    for server in servers {
        let addresses = known.get(&server.target).map(Vec::as_slice).unwrap_or_default();
        let weight = f64::from(server.weight) / addresses.len().max(1) as f64;
        let name: Arc<str> = format!("{}:{}", server.target, server.port).into();
        for ip in addresses {
            let says = EndpointSays { priority: group(server.priority).min(PRIORITY_MAX), ..EndpointSays::default() };
            weighed.push((weight, says.at(name.clone(), SocketAddr::new(*ip, server.port))));
        }
    }
    let most = weighed.iter().map(|(weight, _)| *weight).fold(0.0, f64::max);
    let is_plain = most <= WEIGHT_MAX && weighed.iter().all(|(weight, _)| weight.fract() == 0.0);
    let scale = if is_plain || most == 0.0 { 1.0 } else { WEIGHT_MAX / most };
    let endpoint = |(weight, endpoint): (f64, Endpoint)| Endpoint {
        // One that weighs nothing still gets a little.
        weight: (weight * scale).round().clamp(1.0, WEIGHT_MAX) as u32,
        ..endpoint
    };
    weighed.into_iter().map(endpoint).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(priority: u16, weight: u16, target: &str) -> Server {
        Server { priority, weight, port: 80, target: target.to_owned() }
    }

    fn shown(servers: &[Server], known: &[(&str, &[&str])]) -> Vec<(String, u32, u32)> {
        let addresses = |all: &[&str]| all.iter().map(|ip| ip.parse().unwrap()).collect();
        let known = known.iter().map(|(target, all)| ((*target).to_owned(), addresses(all))).collect();
        let shown = |endpoint: Endpoint| (endpoint.address.to_string(), endpoint.priority, endpoint.weight);
        endpoints(servers, &known).into_iter().map(shown).collect()
    }

    #[test]
    fn servers_keep_their_order_and_their_proportions() {
        let known: &[(&str, &[&str])] = &[("a", &["10.0.0.1"]), ("b", &["10.0.0.2", "10.0.0.3"]), ("c", &["10.0.0.4"])];
        let at = |last: u8, priority, weight| (format!("10.0.0.{last}:80"), priority, weight);
        assert_eq!(
            shown(&[server(10, 6, "a"), server(10, 4, "b"), server(700, 0, "c")], known),
            [at(1, 0, 6), at(2, 0, 2), at(3, 0, 2), at(4, 1, 1)]
        );
        // What does not fit is scaled; and what a server shares out may be no whole number.
        assert_eq!(
            shown(&[server(0, 60_000, "a"), server(0, 30_000, "b")], known),
            [at(1, 0, 1000), at(2, 0, 250), at(3, 0, 250)]
        );
        assert_eq!(
            shown(&[server(0, 1, "a"), server(0, 1, "b")], known),
            [at(1, 0, 1000), at(2, 0, 500), at(3, 0, 500)]
        );
        // One without an address is left out.
        assert_eq!(shown(&[server(0, 1, "a"), server(0, 1, "x")], known), [at(1, 0, 1)]);
    }

    #[test]
    fn more_priorities_than_there_are_groups_share_the_last() {
        let servers: Vec<Server> = (0..20).map(|n| server(n, 1, "a")).collect();
        let found = shown(&servers, &[("a", &["10.0.0.1"])]);
        assert_eq!((found[3].1, found[15].1, found[19].1), (3, 15, 15));
    }

    #[test]
    fn an_answer_holds_between_the_floor_and_the_ceiling() {
        let dns = Dns {
            name: "a".into(),
            port: 1,
            family: Family::Auto,
            servers: [].into(),
            min_ttl: Duration::from_secs(2),
            max_ttl: Duration::from_mins(1),
            timeout: Duration::from_secs(1),
        };
        let source = DnsSource::of_addresses(&dns);
        let again = |ttl| source.again(ttl).as_secs();
        assert_eq!([Some(0), Some(30), Some(86_400), None].map(again), [2, 30, 60, 2]);
    }
}
