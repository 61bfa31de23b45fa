//! The records, and their form on the way: written by a core, read by the log thread of the same process.

use super::Who;
use super::codec::{Reader, put_text, put_u16, put_u32, put_u64};
use crate::observe::{WebsocketEnd, WebsocketSide};

/// A time span that was not reached.
const NEVER: u64 = u64::MAX;
/// Who closed what never was a WebSocket connection.
const NO_WEBSOCKET: u8 = u8::MAX;

/// What a core tells.
#[expect(clippy::large_enum_variant, reason = "a record is read and dealt with at once, and never kept")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// A request has been answered, or its client left.
    Access(Access<'a>),
    /// Something that an operator may want to know at once.
    Event(Event<'a>),
}

/// What the access log tells of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access<'a> {
    /// When its first byte came: wall time in nanoseconds.
    pub at_unix_ns: u64,
    /// The correlation id.
    pub id: u64,
    /// The client, through trusted proxies.
    pub client: Who,
    /// The peer of the connection, where a PROXY header told of another client.
    pub peer: Option<Who>,
    /// Of the answer.
    pub status: u16,
    /// The minor version of HTTP/1, or 2 for HTTP/2; nothing where the head could not be read.
    pub version: Option<u8>,
    /// Attempts at an endpoint, the first included; 0 without an upstream.
    pub attempts: u32,
    /// Bytes from the client, the head included.
    pub received: u64,
    /// Bytes to the client, heads included.
    pub sent: u64,
    /// Those of them that were no heads.
    pub sent_body: u64,
    /// How it ended, where it became a WebSocket connection.
    pub websocket: Option<WebsocketEnd>,
    /// How long it took.
    pub took: Spans,
    /// Its texts.
    pub texts: Texts<'a>,
    /// Which of them were too long and are cut off.
    pub cut: Cut,
}

/// The name of a version as records have it.
pub fn version_name(version: u8) -> &'static str {
    match version {
        0 => "HTTP/1.0",
        1 => "HTTP/1.1",
        _ => "HTTP/2",
    }
}

/// Nanoseconds of each stage of a request; nothing for a stage that it did not reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spans {
    /// From the first byte to the end of the answer.
    pub total: u64,
    /// From the first byte to the whole head.
    pub head: Option<u64>,
    /// From there until the request might be served.
    pub admit: Option<u64>,
    /// From there until it went to the endpoint that answered.
    pub connect: Option<u64>,
    /// From there to the first byte of the endpoint's answer.
    pub first_byte: Option<u64>,
    /// From there to the end of the answer.
    pub answer: Option<u64>,
}

/// Declares the texts of a request: those of the config, and those of the client, which may be cut off.
macro_rules! texts {
    ($($(#[$doc:meta])* $name:ident: $of:ident,)*) => {
        /// The texts of a request; empty for what it does not have.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Texts<'a> { $($(#[$doc])* pub $name: &'a [u8],)* }

        /// Which texts are cut off.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Cut { $($(#[$doc])* pub $name: bool,)* }

        impl Cut {
            /// The names of those that are.
            pub fn names(self) -> impl Iterator<Item = &'static str> {
                [$((self.$name, stringify!($name)),)*].into_iter().filter_map(|(is_cut, name)| is_cut.then_some(name))
            }

            fn bits(self) -> u16 {
                let mut bits = 0;
                $(bits = bits << 1 | u16::from(self.$name);)*
                bits
            }

            fn of(bits: u16) -> Self {
                let mut at = [$(stringify!($name),)*].len();
                Self { $($name: { at -= 1; bits >> at & 1 == 1 },)* }
            }
        }

        impl<'a> Texts<'a> {
            fn put(&self, out: &mut Vec<u8>, most: usize) -> Cut {
                Cut { $($name: !put_text(out, self.$name, texts!(@most $of most)),)* }
            }

            fn read(reader: &mut Reader<'a>) -> Option<Self> {
                Some(Self { $($name: reader.text()?,)* })
            }
        }
    };
    (@most config $most:ident) => { usize::MAX };
    (@most client $most:ident) => { $most };
}

texts! {
    /// The listener's name.
    listener: config,
    /// The route's name.
    route: config,
    /// The reason code of a refusal, or why the answer broke off.
    reason: config,
    /// The upstream's name.
    upstream: config,
    /// The endpoint that was asked last, as the config has it.
    endpoint: config,
    /// As sent.
    method: client,
    /// The effective host.
    host: client,
    /// The request target, as sent.
    path: client,
    /// `User-Agent`.
    user_agent: client,
    /// `Referer`.
    referer: client,
}

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A request took longer than `log.slow_request`.
    SlowRequest,
    /// An exchange with an endpoint failed.
    UpstreamFailed,
    /// Requests are shed.
    Shed,
    /// An endpoint is used no more, or again.
    EndpointChanged,
    /// A breaker is in another state.
    BreakerChanged,
    /// A connection had to begin with a PROXY header, and does not.
    ProxyHeaderRefused,
    /// So many events of the second before were not told.
    Untold,
}

impl EventKind {
    /// All of them; the discriminant is the place.
    pub const ALL: [Self; 7] = [
        Self::SlowRequest,
        Self::UpstreamFailed,
        Self::Shed,
        Self::EndpointChanged,
        Self::BreakerChanged,
        Self::ProxyHeaderRefused,
        Self::Untold,
    ];

    /// As the log in JSON calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SlowRequest => "slow_request",
            Self::UpstreamFailed => "upstream_failed",
            Self::Shed => "shed",
            Self::EndpointChanged => "endpoint_changed",
            Self::BreakerChanged => "breaker_changed",
            Self::ProxyHeaderRefused => "proxy_header_refused",
            Self::Untold => "untold",
        }
    }
}

/// Something that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// What.
    pub kind: EventKind,
    /// When: wall time in nanoseconds.
    pub at_unix_ns: u64,
    /// The correlation id of the request, where there is one.
    pub id: Option<u64>,
    /// Nanoseconds, or a count, as the kind has it.
    pub amount: u64,
    /// The listener's name.
    pub listener: &'a [u8],
    /// Who is at the other end of a client's connection.
    pub peer: &'a [u8],
    /// The route's name.
    pub route: &'a [u8],
    /// The upstream's name.
    pub upstream: &'a [u8],
    /// The endpoint.
    pub endpoint: &'a [u8],
    /// A code, as that of a reason.
    pub code: &'a [u8],
    /// What was, where something has changed.
    pub old: &'a [u8],
    /// What is in its place.
    pub new: &'a [u8],
}

impl Event<'_> {
    /// An event of this kind with nothing else to say.
    pub fn new(kind: EventKind, at_unix_ns: u64) -> Self {
        let none = &b""[..];
        Self {
            kind,
            at_unix_ns,
            id: None,
            amount: 0,
            listener: none,
            peer: none,
            route: none,
            upstream: none,
            endpoint: none,
            code: none,
            old: none,
            new: none,
        }
    }

    /// Appends it.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        out.push(1 + self.kind as u8);
        put_u64(out, self.at_unix_ns);
        out.push(u8::from(self.id.is_some()));
        put_u64(out, self.id.unwrap_or_default());
        put_u64(out, self.amount);
        let Self { listener, peer, route, upstream, endpoint, code, old, new, .. } = *self;
        for text in [listener, peer, route, upstream, endpoint, code, old, new] {
            put_text(out, text, usize::MAX);
        }
    }
}

impl<'a> Record<'a> {
    /// Reads what [`Access::put`] or [`Event::put`] wrote.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let record = match reader.u8()? {
            0 => Self::Access(Access::read(&mut reader)?),
            kind => Self::Event(Event {
                kind: *EventKind::ALL.get(usize::from(kind) - 1)?,
                at_unix_ns: reader.u64()?,
                id: match (reader.u8()?, reader.u64()?) {
                    (0, _) => None,
                    (_, id) => Some(id),
                },
                amount: reader.u64()?,
                listener: reader.text()?,
                peer: reader.text()?,
                route: reader.text()?,
                upstream: reader.text()?,
                endpoint: reader.text()?,
                code: reader.text()?,
                old: reader.text()?,
                new: reader.text()?,
            }),
        };
        reader.0.is_empty().then_some(record)
    }
}

impl<'a> Access<'a> {
    /// Appends it. Of each text of the client it keeps `most` bytes.
    pub(super) fn put(&self, out: &mut Vec<u8>, most: usize) {
        out.push(0);
        // Which texts are cut off is known when they are written.
        let cut_at = out.len();
        put_u16(out, 0);
        put_u64(out, self.at_unix_ns);
        put_u64(out, self.id);
        self.client.put(out);
        out.push(u8::from(self.peer.is_some()));
        if let Some(peer) = self.peer {
            peer.put(out);
        }
        put_u16(out, self.status);
        out.push(self.version.unwrap_or(u8::MAX));
        put_u32(out, self.attempts);
        for count in [self.received, self.sent, self.sent_body, self.took.total] {
            put_u64(out, count);
        }
        let Spans { head, admit, connect, first_byte, answer, .. } = self.took;
        for span in [head, admit, connect, first_byte, answer] {
            put_u64(out, span.unwrap_or(NEVER));
        }
        match self.websocket {
            None => out.push(NO_WEBSOCKET),
            Some(WebsocketEnd { by, code, received, sent }) => {
                out.push(by as u8);
                put_u16(out, code);
                put_u64(out, received);
                put_u64(out, sent);
            }
        }
        let cut = self.texts.put(out, most);
        if let Some(place) = out.get_mut(cut_at..cut_at + size_of::<u16>()) {
            place.copy_from_slice(&(self.cut.bits() | cut.bits()).to_le_bytes());
        }
    }

    fn read(reader: &mut Reader<'a>) -> Option<Self> {
        let cut = Cut::of(reader.u16()?);
        let (at_unix_ns, id) = (reader.u64()?, reader.u64()?);
        let client = Who::read(reader)?;
        let peer = if reader.u8()? == 0 { None } else { Some(Who::read(reader)?) };
        let status = reader.u16()?;
        let version = Some(reader.u8()?).filter(|&version| version != u8::MAX);
        let attempts = reader.u32()?;
        let (received, sent, sent_body) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let total = reader.u64()?;
        let mut span = || reader.u64().map(|span| Some(span).filter(|&span| span != NEVER));
        let took =
            Spans { total, head: span()?, admit: span()?, connect: span()?, first_byte: span()?, answer: span()? };
        let websocket = match reader.u8()? {
            NO_WEBSOCKET => None,
            by => Some(WebsocketEnd {
                by: *WebsocketSide::ALL.get(usize::from(by))?,
                code: reader.u16()?,
                received: reader.u64()?,
                sent: reader.u64()?,
            }),
        };
        let texts = Texts::read(reader)?;
        Some(Self {
            at_unix_ns,
            id,
            client,
            peer,
            status,
            version,
            attempts,
            received,
            sent,
            sent_body,
            websocket,
            took,
            texts,
            cut,
        })
    }
}

#[cfg(test)]
impl Access<'static> {
    /// A request of which there is nothing to say, for tests.
    pub(crate) fn plain(id: u64) -> Self {
        Self {
            at_unix_ns: 0,
            id,
            client: Who::Ip(std::net::Ipv4Addr::LOCALHOST.into()),
            peer: None,
            status: 200,
            version: Some(1),
            attempts: 0,
            received: 0,
            sent: 0,
            sent_body: 0,
            websocket: None,
            took: Spans::default(),
            texts: Texts::default(),
            cut: Cut::default(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Any request, with its texts in the order of their names in [`Texts`].
    pub(crate) fn request() -> impl Strategy<Value = (Access<'static>, Vec<Vec<u8>>)> {
        let texts = proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 10);
        let span = || proptest::option::of(0..NEVER);
        let spans = (any::<u64>(), span(), span(), span(), span(), span());
        let spans = spans.prop_map(|(total, head, admit, connect, first_byte, answer)| Spans {
            total,
            head,
            admit,
            connect,
            first_byte,
            answer,
        });
        let who = || {
            prop_oneof![
                any::<[u8; 4]>().prop_map(|ip| Who::Ip(ip.into())),
                any::<[u8; 16]>().prop_map(|ip| Who::Ip(ip.into())),
                any::<(u32, u32)>().prop_map(|(pid, uid)| Who::Unix { pid, uid }),
            ]
        };
        let client = (who(), proptest::option::of(who()));
        let version = proptest::option::of(0u8..3);
        let numbers = (any::<u64>(), any::<u64>(), 100u16..1000, any::<u32>());
        let end = (0..3_usize, any::<u16>(), any::<u64>(), any::<u64>());
        let end = end.prop_map(|(by, code, received, sent)| WebsocketEnd {
            by: WebsocketSide::ALL[by],
            code,
            received,
            sent,
        });
        let bytes = (any::<u64>(), any::<u64>(), any::<u64>(), proptest::option::of(end));
        (numbers, bytes, client, version, spans, 0u16..1 << 10, texts).prop_map(
            |(
                (at_unix_ns, id, status, attempts),
                (received, sent, sent_body, websocket),
                (client, peer),
                version,
                took,
                cut,
                texts,
            )| {
                let cut = Cut::of(cut);
                let access = Access {
                    at_unix_ns,
                    id,
                    client,
                    peer,
                    status,
                    version,
                    attempts,
                    received,
                    sent,
                    sent_body,
                    websocket,
                    took,
                    texts: Texts::default(),
                    cut,
                };
                (access, texts)
            },
        )
    }

    pub(crate) fn texts(all: &[Vec<u8>]) -> Texts<'_> {
        Texts {
            listener: &all[0],
            route: &all[1],
            reason: &all[2],
            upstream: &all[3],
            endpoint: &all[4],
            method: &all[5],
            host: &all[6],
            path: &all[7],
            user_agent: &all[8],
            referer: &all[9],
        }
    }

    proptest! {
        #[test]
        fn a_request_is_read_as_it_was_put((access, all) in request(), most in 0usize..50) {
            let access = Access { texts: texts(&all), ..access };
            let mut bytes = Vec::new();
            access.put(&mut bytes, most);
            let Some(Record::Access(found)) = Record::read(&bytes) else { return Err(TestCaseError::fail("no request")) };
            let whole = access.texts;
            let cut = |text: &[u8]| text.len().min(most);
            let texts = found.texts;
            for (found, sent) in [
                (texts.method, whole.method),
                (texts.host, whole.host),
                (texts.path, whole.path),
                (texts.user_agent, whole.user_agent),
                (texts.referer, whole.referer),
            ] {
                prop_assert_eq!(found, &sent[..cut(sent)]);
            }
            let Texts { method, host, path, user_agent, referer, .. } = texts;
            prop_assert_eq!(texts, Texts { method, host, path, user_agent, referer, ..whole });
            let is_cut = |was_cut: bool, sent: &[u8]| was_cut || sent.len() > most;
            prop_assert_eq!(found.cut, Cut {
                method: is_cut(access.cut.method, whole.method),
                host: is_cut(access.cut.host, whole.host),
                path: is_cut(access.cut.path, whole.path),
                user_agent: is_cut(access.cut.user_agent, whole.user_agent),
                referer: is_cut(access.cut.referer, whole.referer),
                ..access.cut
            });
            let blank = Texts::default();
            prop_assert_eq!(
                Access { texts: blank, cut: Cut::default(), ..found },
                Access { texts: blank, cut: Cut::default(), ..access }
            );
        }

        #[test]
        fn an_event_is_read_as_it_was_put(
            kind in 0..EventKind::ALL.len(),
            at_unix_ns: u64,
            id: Option<u64>,
            amount: u64,
            all in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 8),
        ) {
            let event = Event {
                kind: EventKind::ALL[kind], at_unix_ns, id, amount,
                route: &all[0], upstream: &all[1], endpoint: &all[2], code: &all[3],
                old: &all[4], new: &all[5], listener: &all[6], peer: &all[7],
            };
            let mut bytes = Vec::new();
            event.put(&mut bytes);
            prop_assert_eq!(Record::read(&bytes), Some(Record::Event(event)));
        }

        #[test]
        fn no_bytes_are_too_strange_to_be_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Record::read(&bytes);
        }
    }
}
