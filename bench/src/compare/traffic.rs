//! What clients speak in a comparison, and what goes with it: the certificate, and the requests.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use clap::Args;

use crate::load::Plan;
use crate::load::tls::{Handshakes, Tls, Version};
use crate::multiplex::grpc_message;
use crate::url::Url;

/// Requests kept under way where connections carry one each, and connections where they carry streams.
const CONNECTIONS: usize = 64;
const MULTIPLEXED: usize = 8;

/// The name in the certificate.
pub(crate) const HOST: &str = "localhost";
/// The certificate, its key, and both in one file.
pub(crate) const CERTIFICATE: &str = "site.pem";
pub(crate) const KEY: &str = "site.key";
pub(crate) const BOTH: &str = "both.pem";

#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct Traffic {
    /// Connections kept busy; by default 64, or 8 with --http2 and --grpc
    #[arg(long)]
    connections: Option<usize>,
    /// Clients speak this version of TLS, with AES-128-GCM and a certificate with a key of P-256
    #[arg(long, value_name = "VERSION")]
    pub(crate) tls: Option<Version>,
    /// Clients speak HTTP/2; upstreams HTTP/1.1
    #[arg(long)]
    pub(crate) http2: bool,
    /// Streams of each connection of HTTP/2
    #[arg(long, default_value_t = 16)]
    streams: usize,
    /// A connection of its own for each request, each with such a handshake
    #[arg(long, value_name = "KIND", requires = "tls", conflicts_with_all = ["http2", "grpc"])]
    pub(crate) handshakes: Option<Handshakes>,
    /// Unary calls of gRPC with messages of --body bytes both ways, over HTTP/2 on both sides
    #[arg(long)]
    pub(crate) grpc: bool,
}

impl Traffic {
    pub(crate) fn connections(&self) -> usize {
        self.connections.unwrap_or(if self.is_http2() { MULTIPLEXED } else { CONNECTIONS })
    }

    /// Requests under way on each.
    pub(crate) fn streams(&self) -> usize {
        if self.is_http2() { self.streams } else { 1 }
    }

    /// Clients speak HTTP/2.
    pub(crate) fn is_http2(&self) -> bool {
        self.http2 || self.grpc
    }

    /// Clients speak HTTP/1.1 in clear, over connections that stay.
    pub(crate) fn is_plain(&self) -> bool {
        self.tls.is_none() && !self.is_http2()
    }

    /// What clients do, in words.
    pub(crate) fn text(&self) -> String {
        let http = match (self.grpc, self.http2) {
            (true, _) => "unary gRPC over HTTP/2",
            (_, true) => "HTTP/2",
            _ => "HTTP/1.1",
        };
        let tls = self.tls.map_or(String::new(), |version| format!(" over TLS {}", version.name()));
        let each = match self.handshakes {
            Some(Handshakes::Full) => ", a connection and a full handshake for each request",
            Some(Handshakes::Resumed) => ", a connection and a resumed handshake for each request",
            None => "",
        };
        let streams =
            if self.is_http2() { format!(", {} streams on each connection", self.streams) } else { String::new() };
        [http, &tls, each, &streams].concat()
    }

    /// Puts a certificate for the peers into a directory.
    ///
    /// # Errors
    /// When it cannot be made or written.
    pub(crate) fn prepare(&self, directory: &Path) -> io::Result<()> {
        if self.tls.is_none() {
            return Ok(());
        }
        write_certificate(directory)
    }

    /// The key of a listener of Ringway's that shows the certificate in a directory, where one is shown.
    pub(crate) fn ringway_tls(&self, directory: &Path) -> String {
        self.tls.map_or(String::new(), |_| {
            let (certificate, key) = (directory.join(CERTIFICATE), directory.join(KEY));
            format!("tls = {{ certificate = \"{}\", key = \"{}\" }}\n", certificate.display(), key.display())
        })
    }

    /// The key of an upstream of Ringway's that says what it speaks, where that is not HTTP/1.1.
    pub(crate) fn ringway_protocol(&self) -> &'static str {
        if self.grpc { "protocol = \"h2\"\n" } else { "" }
    }

    /// Requests that are answered with `body` bytes.
    ///
    /// # Errors
    /// When the address makes no URL.
    pub(crate) fn plan(&self, target: SocketAddr, body: u64) -> Result<Plan, String> {
        let mut plan = Plan { body: Some(body), pipeline: self.streams(), ..Plan::get(target) };
        let url: Url = format!("http{}://{target}/", if self.tls.is_some() { "s" } else { "" }).parse()?;
        if self.grpc {
            let url: Url =
                format!("http{}://{target}/bench.Echo/Say", if self.tls.is_some() { "s" } else { "" }).parse()?;
            plan.http2 = Some(url.http2_request("POST", &[], grpc_message(body))?.of_grpc());
            plan.body = Some(grpc_message(body).len() as u64);
        } else if self.http2 {
            plan.http2 = Some(url.http2_request("GET", &[], Vec::new())?);
        }
        if self.handshakes.is_some() {
            plan.close = true;
            plan.request = url.request("GET", &[], true, 0)?;
        }
        let resume = self.handshakes == Some(Handshakes::Resumed);
        plan.tls = self.tls.map(|version| Tls::new(HOST, version, resume, self.is_http2())).transpose()?;
        Ok(plan)
    }
}

/// Puts a certificate for [`HOST`] into a directory, with its key.
///
/// # Errors
/// When it cannot be made or written.
pub(crate) fn write_certificate(directory: &Path) -> io::Result<()> {
    let issued = rcgen::generate_simple_self_signed([HOST.to_owned()]).map_err(io::Error::other)?;
    let (certificate, key) = (issued.cert.pem(), issued.signing_key.serialize_pem());
    std::fs::write(directory.join(CERTIFICATE), &certificate)?;
    std::fs::write(directory.join(KEY), &key)?;
    std::fs::write(directory.join(BOTH), certificate + &key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> SocketAddr {
        ([127, 0, 0, 1], 1).into()
    }

    #[test]
    fn plans_say_what_was_asked_for() {
        let streams = 16;
        let plain = Traffic { streams, ..Traffic::default() };
        let plan = plain.plan(target(), 5).unwrap();
        assert_eq!((plan.pipeline, plan.close, plan.body, plain.connections()), (1, false, Some(5), 64));
        assert!(plan.tls.is_none() && plan.http2.is_none() && plain.is_plain());
        assert_eq!(plan.request, b"GET / HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n");

        let grpc = Traffic { grpc: true, ..plain };
        let plan = grpc.plan(target(), 5).unwrap();
        let call = plan.http2.unwrap();
        assert_eq!((plan.pipeline, plan.body, grpc.connections()), (16, Some(10), 8));
        assert_eq!(
            (&*call.body, call.path.as_str(), call.is_https),
            (&b"\0\0\0\0\x05xxxxx"[..], "/bench.Echo/Say", false)
        );
        assert!(call.fields.contains(&("te".to_owned(), "trailers".to_owned())));
        assert!(!call.fields.iter().any(|(name, _)| name == "content-length"), "calls have no length");

        let resumed = Traffic { tls: Some(Version::V1_3), handshakes: Some(Handshakes::Resumed), ..plain };
        let plan = resumed.plan(target(), 5).unwrap();
        assert!(plan.close && plan.tls.is_some() && plan.request.ends_with(b"Connection: close\r\n\r\n"));
        assert_eq!(resumed.text(), "HTTP/1.1 over TLS 1.3, a connection and a resumed handshake for each request");
    }
}
