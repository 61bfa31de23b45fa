//! One request and its answer, while they are under way.

use std::net::IpAddr;
use std::rc::Rc;

use ringway_proto::grpc::Wire;
use ringway_proto::http1::{Body, Field, Framing, HeadScan, RequestHead, ResponseHead};
use ringway_runtime::buffer::Lease;

use super::account::Ledger;
use super::edits::Edits;
use super::web::Web;
use crate::observe::{Reason, WebsocketEnd};
use crate::plan::{Captures, Headers, RouteId, UpstreamId, Variable, Vars};
use crate::tls::{Handshake, Identity, Session};

/// Scratch that grew past this many bytes is freed with its request.
const KEEP_SCRATCH: usize = 16 * 1024;

/// Bytes between the client and the gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// From the client, the head included.
    pub received: u64,
    /// To the client, heads included.
    pub sent: u64,
    /// Those of them that are heads.
    pub heads: u64,
}

/// The storage of one request. A core reuses it, so that a request allocates nothing.
pub struct Exchange {
    /// The request head; its spans are ranges of `head_bytes`.
    pub head: RequestHead,
    /// The bytes of the request head, where they were received.
    pub head_bytes: Option<Lease>,
    /// How far the head has been looked through.
    pub scan: HeadScan,
    /// The decoder of the request body.
    pub body: Body,
    /// The most bytes the request body may have.
    pub body_limit: u64,
    /// The normalized path, empty while the path as received is normal.
    pub path: Vec<u8>,
    /// What the template of the route captured, as ranges of the path.
    pub captures: Captures,
    /// The route that took the request.
    pub route: Option<RouteId>,
    /// The target for the upstream where a policy changed it; empty otherwise.
    pub rewritten: Vec<u8>,
    /// Policies of the listener and then of the route that the request went past.
    pub(super) met: u16,
    /// Edits of the head on its way to the service.
    pub(crate) edits: Edits,
    /// Edits of the head of the answer.
    pub(crate) answer: Edits,
    /// The client's address, through trusted proxies.
    pub client_ip: Option<IpAddr>,
    /// Whether the client came over https, to the gateway or as a trusted proxy says.
    pub secure: bool,
    /// What was agreed on with the client, where it speaks TLS with the gateway.
    pub tls: Option<Rc<Handshake>>,
    /// It may be replayed: whoever is asked is told.
    pub is_early: bool,
    /// Its deadline is what its client says, and sooner than the total time.
    pub has_deadline: bool,
    /// Its client gave a `grpc-timeout`: servers are told what is left of it.
    pub tells_timeout: bool,
    /// How it goes over the wire, where it is a call of gRPC.
    pub rpc: Option<Wire>,
    /// What makes gRPC of it, where it is one of gRPC-Web.
    pub(crate) web: Option<Box<Web>>,
    /// Nobody sent it: it is only shown what would become of it, and no secret.
    pub rehearsed: bool,
    /// The response head; its spans are ranges of the upstream's input.
    pub response: ResponseHead,
    /// When each stage was reached.
    pub ledger: Ledger,
    /// What went over the client's connection for it.
    pub traffic: Traffic,
    /// Why it was refused, or why its answer broke off.
    pub reason: Option<Reason>,
    /// How it ended, where it became a WebSocket connection.
    pub websocket: Option<WebsocketEnd>,
    /// The endpoint that was asked last.
    pub asked: Option<(UpstreamId, usize)>,
    /// Attempts at an endpoint.
    pub attempts: u32,
    /// Seconds after which a client that is refused may try again, where that is more than one.
    pub retry_after: u64,
    /// The correlation id.
    pub id: u64,
    /// What was sent of the body and may be sent again, as it was sent.
    pub kept: Vec<u8>,
    /// Room for a value under construction.
    pub scratch: Vec<u8>,
}

impl Default for Exchange {
    fn default() -> Self {
        Self {
            head: RequestHead::default(),
            head_bytes: None,
            scan: HeadScan::default(),
            body: Body::new(Framing::None),
            body_limit: 0,
            path: Vec::new(),
            captures: Captures::default(),
            route: None,
            rewritten: Vec::new(),
            met: 0,
            edits: Edits::default(),
            answer: Edits::default(),
            client_ip: None,
            secure: false,
            tls: None,
            is_early: false,
            has_deadline: false,
            tells_timeout: false,
            rpc: None,
            web: None,
            rehearsed: false,
            response: ResponseHead::default(),
            ledger: Ledger::default(),
            traffic: Traffic::default(),
            reason: None,
            websocket: None,
            asked: None,
            attempts: 0,
            retry_after: 0,
            id: 0,
            kept: Vec::new(),
            scratch: Vec::new(),
        }
    }
}

impl Exchange {
    /// Makes it ready for another request, keeping its memory.
    pub fn clear(&mut self) {
        self.head_bytes = None;
        self.scan.reset();
        self.body = Body::new(Framing::None);
        self.route = None;
        self.ledger = Ledger::default();
        self.traffic = Traffic::default();
        (self.reason, self.websocket, self.asked, self.attempts) = (None, None, None, 0);
        self.met = 0;
        self.retry_after = 0;
        (self.has_deadline, self.tells_timeout) = (false, false);
        (self.rpc, self.web) = (None, None);
        (self.tls, self.is_early) = (None, false);
        self.edits.clear(KEEP_SCRATCH);
        self.answer.clear(KEEP_SCRATCH);
        for scratch in [&mut self.path, &mut self.rewritten, &mut self.kept, &mut self.scratch] {
            scratch.clear();
            scratch.shrink_to(KEEP_SCRATCH);
        }
    }

    /// Edits the head of the answer.
    pub(crate) fn edit_answer(&mut self, edit: impl FnOnce(&mut Edits, &Self)) {
        let mut edits = std::mem::take(&mut self.answer);
        edit(&mut edits, self);
        self.answer = edits;
    }

    /// The header fields of the request, for the router and for policies.
    pub(crate) fn fields(&self) -> HeadFields<'_> {
        HeadFields { fields: &self.head.fields, bytes: self.head_bytes() }
    }

    /// The bytes of the request head.
    pub fn head_bytes(&self) -> &[u8] {
        self.head_bytes.as_deref().unwrap_or_default()
    }

    /// The normalized path.
    pub fn path(&self) -> &[u8] {
        if self.path.is_empty() { self.head.target.path_of(self.head_bytes()) } else { &self.path }
    }

    /// The query as it came, without the `?`.
    pub fn query(&self) -> Option<&[u8]> {
        self.head.target.query.map(|query| query.of(self.head_bytes()))
    }

    /// The effective authority of the request.
    pub fn host(&self) -> &[u8] {
        self.head.host.of(self.head_bytes())
    }

    /// The method as sent.
    pub fn method(&self) -> &[u8] {
        self.head.method_span.of(self.head_bytes())
    }
}

/// The fields of a request head, for the router and for policies.
pub(crate) struct HeadFields<'a> {
    pub(super) fields: &'a [Field],
    /// What their spans are ranges of.
    pub(super) bytes: &'a [u8],
}

impl<'a> HeadFields<'a> {
    /// Each value of a field, in order.
    pub(crate) fn all(self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let Self { fields, bytes } = self;
        let named = move |field: &&Field| field.name.of(bytes).eq_ignore_ascii_case(name.as_bytes());
        fields.iter().filter(named).map(move |field| field.value.of(bytes))
    }
}

impl Headers for HeadFields<'_> {
    fn any(&self, name: &str, test: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.fields.iter().any(|field| {
            field.name.of(self.bytes).eq_ignore_ascii_case(name.as_bytes()) && test(field.value.of(self.bytes))
        })
    }
}

/// What a variable says of a TLS session.
fn of_session(session: &Session, variable: Variable) -> &str {
    let identity = |text: fn(&Identity) -> &str| session.identity.as_ref().map(text).unwrap_or_default();
    match variable {
        Variable::ClientNames => identity(|identity| &identity.names),
        Variable::ClientSpiffeId => identity(|identity| &identity.spiffe),
        Variable::ClientSubject => identity(|identity| &identity.subject),
        Variable::TlsVersion => session.version.name(),
        _ => "",
    }
}

impl Vars for Exchange {
    fn is_shown(&self) -> bool {
        self.rehearsed
    }

    fn write(&self, variable: Variable, out: &mut Vec<u8>) {
        match variable {
            Variable::Capture(at) => {
                if let Some(range) = self.captures.get(usize::from(at)) {
                    out.extend_from_slice(self.path().get(range).unwrap_or_default());
                }
            }
            Variable::ClientIp => {
                // Writing to a Vec cannot fail.
                let _ = match self.client_ip {
                    Some(ip) => std::io::Write::write_fmt(out, format_args!("{ip}")),
                    None => std::io::Write::write_all(out, b"unknown"),
                };
            }
            Variable::ClientNames | Variable::ClientSpiffeId | Variable::ClientSubject | Variable::TlsVersion => {
                if let Some(session) = self.tls.as_ref().and_then(|handshake| handshake.session()) {
                    out.extend_from_slice(of_session(session, variable).as_bytes());
                }
            }
            Variable::Host => out.extend_from_slice(self.host()),
            Variable::Method => out.extend_from_slice(self.method()),
            Variable::Path => out.extend_from_slice(self.path()),
            Variable::PathQuery => {
                out.extend_from_slice(self.path());
                if let Some(query) = self.query() {
                    out.push(b'?');
                    out.extend_from_slice(query);
                }
            }
            Variable::Query => out.extend_from_slice(self.query().unwrap_or_default()),
            Variable::RequestId => {
                let _ = std::io::Write::write_fmt(out, format_args!("{:016x}", self.id));
            }
            Variable::Scheme => out.extend_from_slice(if self.secure { b"https" } else { b"http" }),
        }
    }
}
