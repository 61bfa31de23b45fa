//! The values that labels of the metrics have, one enum for each label.

use crate::tls::Failure;

/// Declares an enum whose variants are the values of a label.
macro_rules! label {
    ( $(#[$meta:meta])* $name:ident { $( $(#[$doc:meta])* $variant:ident = $value:literal, )* } ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum $name { $( $(#[$doc])* $variant, )* }

        impl $name {
            pub(super) const VALUES: &'static [&'static str] = &[$( $value, )*];

            /// The value of the label.
            pub const fn name(self) -> &'static str {
                match self { $( Self::$variant => $value, )* }
            }
        }
    };
}

pub(super) use label;

label! {
    /// Which deadline passed.
    Timeout {
        /// A request head.
        Head = "head",
        /// A request body.
        Body = "body",
        /// An idle client connection, closed without an answer.
        KeepAlive = "keep_alive",
        /// The least rate of a client.
        Rate = "rate",
        /// A client that does not read its answer.
        Send = "send",
        /// Connecting to an upstream.
        Connect = "connect",
        /// The upstream's answer to begin.
        FirstByte = "first_byte",
        /// One try at an upstream.
        Try = "try",
        /// An upstream that stalls in the middle.
        Idle = "idle",
        /// The whole exchange.
        Total = "total",
        /// The deadline that the client gave.
        Deadline = "deadline",
        /// Waiting for an upstream connection.
        Pool = "pool",
        /// A tunnel after an upgrade.
        Tunnel = "tunnel",
        /// A policy that waits.
        Policy = "policy",
    }
}

/// What a policy did; the discriminant is the place of its counters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PolicyEvent {
    /// It met a request.
    Evaluation,
    /// It answered or refused a request itself.
    Reply,
    /// Its time was over.
    Error,
}

label! {
    /// What a policy would have done, had it not been in shadow.
    ShadowOutcome {
        /// Nothing.
        Pass = "pass",
        /// A change of the request.
        Change = "change",
        /// A change of the answer, on its way out.
        ChangeAnswer = "change_answer",
        /// An answer of its own.
        Reply = "reply",
        /// A refusal.
        Refuse = "refuse",
        /// A wait, and then whatever it leads to.
        Wait = "wait",
    }
}

label! {
    /// What there is too much of when requests are shed.
    Cause {
        /// Requests in flight.
        Requests = "requests",
        /// Memory in use.
        Memory = "memory",
    }
}

label! {
    /// Why the access log lacks a request.
    Lost {
        /// The core's ring was full.
        Queue = "queue",
        /// The line could not be written.
        Write = "write",
    }
}

label! {
    /// How an endpoint came to be picked where that was not the ordinary way.
    UpstreamPick {
        /// The client's cookie named it.
        Sticky = "sticky",
        /// The endpoints that are asked first could not take the request.
        Spilled = "spilled",
        /// So few endpoints are available that those that are not well are used.
        Panic = "panic",
    }
}

label! {
    /// How an exchange with an upstream failed.
    UpstreamFailure {
        /// No connection.
        Connect = "connect",
        /// The connection ended before an answer.
        Reset = "reset",
        /// The answer breaks the protocol.
        Protocol = "protocol",
        /// The answer ended before its stated length.
        Truncated = "truncated",
        /// A deadline passed.
        Timeout = "timeout",
    }
}

label! {
    /// What was learned of the health of an upstream, and what followed.
    UpstreamEvent {
        /// A health check went well.
        CheckPassed = "check_passed",
        /// A health check failed.
        CheckFailed = "check_failed",
        /// An endpoint is out because its checks fail.
        Unhealthy = "unhealthy",
        /// It is back because they pass.
        Healthy = "healthy",
        /// An endpoint is left out because its answers are bad.
        Ejected = "ejected",
        /// The breaker of an endpoint opened, or opened again.
        EndpointBreakerOpened = "endpoint_breaker_opened",
        /// It closed.
        EndpointBreakerClosed = "endpoint_breaker_closed",
        /// The breaker of the upstream opened, or opened again.
        BreakerOpened = "breaker_opened",
        /// It closed.
        BreakerClosed = "breaker_closed",
        /// A request found nothing but open breakers.
        BreakerRefused = "breaker_refused",
        /// It went to the fallback.
        FellBack = "fell_back",
    }
}

label! {
    /// How asking an endpoint ended that a service of type `health` asked.
    HealthResult {
        /// It is well.
        Passed = "passed",
        /// No connection.
        Connect = "connect",
        /// No answer in time.
        Timeout = "timeout",
        /// The connection ended before the answer did.
        Reset = "reset",
        /// The answer breaks the protocol.
        Protocol = "protocol",
        /// Another status than those wanted.
        Status = "status",
        /// The body has not what is wanted.
        Body = "body",
    }
}

label! {
    /// What became of a connection that had to begin with a PROXY header.
    ProxyHeader {
        /// It told who the client is.
        Accepted = "accepted",
        /// Its sender speaks for itself.
        Local = "local",
        /// Its peer may not send one.
        Untrusted = "untrusted",
        /// There was none, or one that makes no sense.
        Malformed = "malformed",
        /// It did not come in time.
        Timeout = "timeout",
    }
}

label! {
    /// Whose connection of HTTP/2 it is.
    Http2Side {
        /// A client's.
        Client = "client",
        /// One to an upstream.
        Upstream = "upstream",
    }
}

label! {
    /// Who ended a stream of HTTP/2 before its time.
    Http2Reset {
        /// The peer did.
        Peer = "peer",
        /// The gateway did, for what the peer did wrong.
        Fault = "fault",
        /// The gateway did, as what the stream was for broke off.
        BrokeOff = "broke_off",
    }
}

label! {
    /// Whether a connection comes from another core or goes to one.
    Direction {
        /// It comes.
        In = "in",
        /// It goes.
        Out = "out",
    }
}

label! {
    /// Who a core sends messages to over the mesh.
    MeshPeer {
        /// Another core.
        Core = "core",
        /// Control.
        Control = "control",
    }
}

label! {
    /// Which side of the gateway speaks TLS.
    TlsSide {
        /// A client's.
        Client = "client",
        /// An upstream's.
        Upstream = "upstream",
    }
}

label! {
    /// Why a TLS handshake came to nothing.
    HandshakeFailure {
        /// The peer speaks no version that is wanted.
        Version = "version",
        /// No suite, key exchange, signature or protocol in common.
        NothingInCommon = "nothing_in_common",
        /// No certificate, where one is wanted.
        NoCertificate = "no_certificate",
        /// The listener has no certificate to show, as long as none was brought or issued.
        NoneToShow = "none_to_show",
        /// A certificate that has expired, or is not good yet.
        Expired = "expired",
        /// One that is revoked.
        Revoked = "revoked",
        /// One of an authority that is not trusted.
        UnknownAuthority = "unknown_authority",
        /// One for another name.
        Name = "name",
        /// One that is wrong in another way.
        Certificate = "certificate",
        /// The peer gave up and said so.
        Alert = "alert",
        /// The peer does not speak TLS, or not rightly.
        Protocol = "protocol",
        /// The peer was gone.
        Gone = "gone",
        /// The gateway itself could not.
        Internal = "internal",
        /// It took too long.
        Timeout = "timeout",
        /// The gateway ended, or needed the place.
        Ended = "ended",
        /// The core has as many under way as it may.
        CoreBudget = "core_budget",
        /// The source has begun as many as it may.
        SourceBudget = "source_budget",
    }
}

impl From<Failure> for HandshakeFailure {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Version => Self::Version,
            Failure::NothingInCommon => Self::NothingInCommon,
            Failure::NoCertificate => Self::NoCertificate,
            Failure::NoneToShow => Self::NoneToShow,
            Failure::Expired => Self::Expired,
            Failure::Revoked => Self::Revoked,
            Failure::UnknownAuthority => Self::UnknownAuthority,
            Failure::Name => Self::Name,
            Failure::Certificate => Self::Certificate,
            Failure::Alert => Self::Alert,
            Failure::Protocol => Self::Protocol,
            Failure::Gone => Self::Gone,
            Failure::Internal => Self::Internal,
        }
    }
}
