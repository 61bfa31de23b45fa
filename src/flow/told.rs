//! Told: who a connection is from where another says so, in a PROXY header before its first byte.
//!
//! A listener either requires the header of every connection or of none: to look whether there is one would let a client
//! say who it is. Only peers that the listener trusts are listened to.

use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::task::Poll;

use ringway_proto::proxy_protocol::{self, Header, HeaderError, Limits, Progress, Said};
use ringway_runtime::buffer::Lease;
use ringway_runtime::net::Remote;

use super::client::Client;
use super::tell;
use crate::observe::{ProxyHeader, Timeout};

/// Whom a connection is from.
#[derive(Clone, Debug)]
pub enum Caller {
    /// The peer, who speaks for itself.
    Itself(Remote),
    /// Another, of whom the peer told.
    Told(Box<Told>),
}

/// What a PROXY header told of a connection.
#[derive(Clone, Debug)]
pub struct Told {
    /// The client.
    pub client: Remote,
    /// Who told it: the real peer.
    pub by: Remote,
    /// Where the client connected to.
    pub destination: Option<SocketAddr>,
    /// What the sender calls the connection.
    pub unique_id: Option<Box<[u8]>>,
    /// The host that the client named.
    pub authority: Option<Box<str>>,
    /// The version of TLS that the client speaks to the sender; without a name where the sender gave none.
    pub tls: Option<Box<str>>,
}

impl Caller {
    /// Its IP address, where it has one: a peer that came by a Unix socket has none.
    pub fn ip(&self) -> Option<IpAddr> {
        self.remote().ip()
    }

    /// The client.
    pub fn remote(&self) -> Remote {
        match self {
            Self::Itself(peer) => *peer,
            Self::Told(told) => told.client,
        }
    }

    /// The real peer.
    pub fn peer(&self) -> Remote {
        match self {
            Self::Itself(peer) => *peer,
            Self::Told(told) => told.by,
        }
    }

    /// What was told of it.
    pub fn told(&self) -> Option<&Told> {
        match self {
            Self::Itself(_) => None,
            Self::Told(told) => Some(told),
        }
    }
}

impl From<Remote> for Caller {
    fn from(peer: Remote) -> Self {
        Self::Itself(peer)
    }
}

enum Event {
    Read(std::io::Result<Option<Lease>>),
    /// The core has to do without this connection.
    Over,
    Timeout,
}

/// Takes the header off the connection. It has to be there in the time that a first request has; nothing where the
/// connection ends with it.
pub(super) async fn begin(mut client: Client) -> Option<Client> {
    if !client.listener().trusts(client.peer.ip()) {
        return refuse(&client, ProxyHeader::Untrusted, "proxy_untrusted");
    }
    let limits = Limits { header: client.listener().limits.proxy_header as usize, ..Limits::default() };
    client.timer.set(client.idle_since + client.listener().timeouts.head);
    client.set_idle(true);
    let header = loop {
        let more = match proxy_protocol::decode(client.input.bytes(), &limits) {
            Ok(Progress::Complete(header)) => break known(&client, &header),
            Ok(Progress::Partial) => next(&client).await,
            Err(error) => return refuse(&client, ProxyHeader::Malformed, HeaderError::code(error)),
        };
        match more {
            Event::Read(Ok(Some(lease))) => {
                client.state.metrics.client_received(lease.len() as u64);
                client.input.gather();
                client.input.add(lease);
            }
            // One that looks whether anybody listens is nobody's error.
            Event::Read(Ok(None)) if client.input.is_empty() => return None,
            Event::Read(Ok(None) | Err(_)) => return refuse(&client, ProxyHeader::Malformed, "proxy_incomplete"),
            Event::Over => return None,
            Event::Timeout => {
                client.state.metrics.timed_out(Timeout::Head);
                return refuse(&client, ProxyHeader::Timeout, "proxy_timeout");
            }
        }
    };
    client.set_idle(false);
    let (len, told) = header;
    client.input.consume(len);
    let outcome = if told.is_some() { ProxyHeader::Accepted } else { ProxyHeader::Local };
    client.state.metrics.proxy_header(outcome);
    if let Some(told) = told {
        client.is_from(Caller::Told(Box::new(told)));
    }
    Some(client)
}

async fn next(client: &Client) -> Event {
    poll_fn(|cx| {
        if let Poll::Ready(read) = client.stream.poll_read(cx) {
            return Poll::Ready(Event::Read(read));
        }
        if client.poll_over(cx).is_ready() {
            return Poll::Ready(Event::Over);
        }
        client.timer.poll(cx).map(|()| Event::Timeout)
    })
    .await
}

/// How long the header is, and who the connection is from; nothing where the sender speaks for itself.
fn known(client: &Client, header: &Header<'_>) -> (usize, Option<Told>) {
    let by = client.peer.peer();
    let (client, destination) = match header.said {
        Said::Nothing { .. } => return (header.len, None),
        Said::Inet { source, destination } => (Remote::Ip(source), Some(destination)),
        // A client of the sender's own machine: its name says nothing here.
        Said::Unix { .. } => (by, None),
    };
    let tlvs = header.tlvs;
    let tls = tlvs.ssl.filter(|ssl| ssl.is_tls).map(|ssl| ssl.version.unwrap_or_default().into());
    let (unique_id, authority) = (tlvs.unique_id.map(Into::into), tlvs.authority.map(Into::into));
    (header.len, Some(Told { client, by, destination, unique_id, authority, tls }))
}

/// There is nobody to answer: whoever sends headers is a proxy. It learns of it by a reset.
#[cold]
fn refuse(client: &Client, outcome: ProxyHeader, code: &str) -> Option<Client> {
    client.state.metrics.proxy_header(outcome);
    tell::proxy_header_refused(client, code);
    client.stream.reset_on_drop();
    None
}
