//! The peers and the best settings known for each: one worker, keep-alive on both sides, no log, no limits in the way.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::ValueEnum;

use super::traffic::{BOTH, CERTIFICATE, KEY, Traffic};

/// Who can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Peer {
    /// Ringway on its own io_uring engine
    Ringway,
    /// Ringway on the glommio engine
    RingwayGlommio,
    /// nginx, one worker
    Nginx,
    /// HAProxy, one thread
    Haproxy,
    /// Envoy, one worker
    Envoy,
    /// The bare io_uring byte forwarder
    Floor,
    /// A bare proxy on monoio with Ringway's codec (feature `peers`)
    Monoio,
    /// A bare proxy on tokio with Ringway's codec (feature `peers`)
    Tokio,
}

/// What a peer is started with.
#[derive(Clone, Debug)]
pub(crate) struct Setting<'a> {
    pub(crate) listen: SocketAddr,
    pub(crate) origin: SocketAddr,
    pub(crate) core: usize,
    pub(crate) busy_poll: bool,
    /// What clients speak.
    pub(crate) traffic: Traffic,
    /// Whether connections become something else than HTTP, which nginx must be told.
    pub(crate) upgrades: bool,
    /// Body bytes of an answer.
    pub(crate) body: u64,
    /// Connections the load keeps busy.
    pub(crate) connections: usize,
    /// Connections it must be able to hold, both sides counted.
    pub(crate) descriptors: u64,
    /// A directory for its files.
    pub(crate) directory: &'a Path,
    /// The gateway binary.
    pub(crate) ringway: &'a Path,
}

impl Peer {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ringway => "ringway",
            Self::RingwayGlommio => "ringway-glommio",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Envoy => "envoy",
            Self::Floor => "floor",
            Self::Monoio => "monoio",
            Self::Tokio => "tokio",
        }
    }

    /// Each client connection has an upstream connection of its own, used or not.
    pub(crate) const fn pairs_connections(self) -> bool {
        matches!(self, Self::Floor | Self::Monoio | Self::Tokio)
    }

    /// Why it cannot take part in a comparison of this traffic.
    ///
    /// # Errors
    /// What it does not speak.
    pub(crate) fn speaks(self, traffic: &Traffic) -> Result<(), String> {
        match self {
            Self::Floor | Self::Monoio | Self::Tokio if traffic.tls.is_some() => Err("it speaks no TLS".to_owned()),
            // It passes on what it gets, which the origin understands.
            Self::Floor if traffic.http2 => Err("it would not speak HTTP/1.1 with the origin".to_owned()),
            Self::Monoio | Self::Tokio if traffic.is_http2() => Err("it speaks no HTTP/2".to_owned()),
            _ => Ok(()),
        }
    }

    /// The version installed, or why this peer cannot run here.
    pub(crate) fn version(self, ringway: &Path) -> Result<String, String> {
        let (program, argument) = match self {
            Self::Ringway | Self::RingwayGlommio => (ringway.to_owned(), "version"),
            Self::Nginx => (PathBuf::from("nginx"), "-v"),
            Self::Haproxy => (PathBuf::from("haproxy"), "-v"),
            Self::Envoy => (envoy(), "--version"),
            Self::Floor => return Ok(env!("CARGO_PKG_VERSION").to_owned()),
            Self::Monoio | Self::Tokio if cfg!(feature = "peers") => return Ok(env!("CARGO_PKG_VERSION").to_owned()),
            Self::Monoio | Self::Tokio => return Err("built without the feature `peers`".to_owned()),
        };
        let output =
            Command::new(&program).arg(argument).output().map_err(|error| format!("{}: {error}", program.display()))?;
        // nginx tells its version on standard error, and Envoy after an empty line.
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default().to_owned();
        if output.status.success() { Ok(line) } else { Err(format!("{}: {line}", program.display())) }
    }

    /// Writes the peer's configuration and returns the command that runs it in the foreground.
    ///
    /// # Errors
    /// When the configuration cannot be written.
    pub(crate) fn command(self, setting: &Setting<'_>) -> io::Result<Command> {
        let config = setting.directory.join(format!("{}.conf", self.name()));
        Ok(match self {
            Self::Ringway | Self::RingwayGlommio => {
                let engine = if self == Self::Ringway { "ring" } else { "glommio" };
                std::fs::write(&config, ringway(setting, engine))?;
                arguments(setting.ringway, [Path::new("run"), &config])
            }
            Self::Nginx => {
                std::fs::write(&config, nginx(setting))?;
                arguments("nginx", [Path::new("-p"), setting.directory, Path::new("-c"), &config])
            }
            Self::Haproxy => {
                std::fs::write(&config, haproxy(setting))?;
                arguments("haproxy", [Path::new("-db"), Path::new("-f"), &config])
            }
            Self::Envoy => {
                let config = config.with_extension("yaml");
                std::fs::write(&config, envoy_config(setting))?;
                let mut command = arguments(envoy(), [Path::new("-c"), &config]);
                command.args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]);
                command
            }
            Self::Floor => own("floor", setting)?,
            Self::Monoio => own("proxy-monoio", setting)?,
            Self::Tokio => own("proxy-tokio", setting)?,
        })
    }
}

/// Envoy: where `tools/setup --peers` puts it, which is near this program, or wherever it is found.
fn envoy() -> PathBuf {
    let near =
        std::env::current_exe().ok().and_then(|program| Some(program.parent()?.with_file_name("python/bin/envoy")));
    near.filter(|path| path.exists()).unwrap_or_else(|| PathBuf::from("envoy"))
}

fn arguments<'a>(program: impl AsRef<Path>, arguments: impl IntoIterator<Item = &'a Path>) -> Command {
    let mut command = Command::new(program.as_ref());
    command.args(arguments);
    command
}

/// A subcommand of this very program.
fn own(subcommand: &str, setting: &Setting<'_>) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(subcommand).arg("--listen").arg(setting.listen.to_string());
    command.arg("--to").arg(setting.origin.to_string()).arg("--core").arg(setting.core.to_string());
    if subcommand == "floor" {
        let (count, bytes) = floor_buffers(setting.body, setting.connections);
        command.args(["--buffers", &count.to_string(), "--buffer-bytes", &bytes.to_string()]);
        if setting.busy_poll {
            command.arg("--busy-poll");
        }
    }
    Ok(command)
}

/// The buffers the floor gets. Large bodies want large ones: each costs a receive and a send. Small messages want a
/// buffer for every connection that may speak at once.
fn floor_buffers(body: u64, connections: usize) -> (usize, usize) {
    let each = (2 * connections).next_power_of_two().clamp(64, 32_768);
    match body {
        0..=2048 => (each, 4 << 10),
        2049..=32_768 => (each, 16 << 10),
        _ => (16, 128 << 10),
    }
}

fn ringway(setting: &Setting<'_>, engine: &str) -> String {
    let Setting { listen, origin, core, directory, traffic, .. } = setting;
    let tls = traffic.ringway_tls(directory);
    let protocol = traffic.ringway_protocol();
    let busy_poll = if setting.busy_poll { "always" } else { "off" };
    let metrics = directory.join("metrics");
    let metrics = metrics.display();
    format!(
        r#"[cores]
data = "{core}"
control = {core}
engine = "{engine}"
busy_poll = "{busy_poll}"
metrics_dir = "{metrics}"

[limits]
# All clients are at one address.
handshakes_per_source = "off"

[listener.web]
address = "{listen}"
{tls}# The other peers add none of these unless told to.
forwarded = "none"
via = false

[upstream.origin]
endpoints = ["{origin}"]
{protocol}pool = {{ max_idle = 1024, max_connections = 4096 }}

[[route]]
name = "all"
path = "/{{rest...}}"
upstream = "origin"
"#
    )
}

fn nginx(setting: &Setting<'_>) -> String {
    let Setting { listen, origin, directory, descriptors, upgrades, traffic, .. } = setting;
    let directory = directory.display();
    let tls = traffic.tls.map_or(String::new(), |_| {
        format!(
            "
        ssl_certificate {directory}/{CERTIFICATE};
        ssl_certificate_key {directory}/{KEY};
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_ciphers ECDHE-ECDSA-AES128-GCM-SHA256;
        ssl_ecdh_curve X25519;
        ssl_session_tickets on;
        ssl_session_timeout 1h;"
        )
    });
    let ssl = if traffic.tls.is_some() { " ssl" } else { "" };
    let http2 = if traffic.is_http2() { " http2" } else { "" };
    let connection = if *upgrades { "upgrade; proxy_set_header Upgrade $http_upgrade" } else { "\"\"" };
    let pass = if traffic.grpc {
        "grpc_pass grpc://origin".to_owned()
    } else {
        format!("proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection {connection}")
    };
    let mut text = String::new();
    if rustix::process::geteuid().is_root() {
        // Otherwise the worker could not write to the temporary directory.
        text += "user root;\n";
    }
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "daemon off;
worker_processes 1;
worker_rlimit_nofile {descriptors};
pid {directory}/nginx.pid;
error_log stderr error;
events {{
    worker_connections {descriptors};
    multi_accept on;
    use epoll;
}}
http {{
    access_log off;
    server_tokens off;
    tcp_nodelay on;
    keepalive_timeout 3600s;
    keepalive_requests 1000000000;
    client_body_temp_path {directory}/nginx-body;
    proxy_temp_path {directory}/nginx-proxy;
    fastcgi_temp_path {directory}/nginx-fastcgi;
    uwsgi_temp_path {directory}/nginx-uwsgi;
    scgi_temp_path {directory}/nginx-scgi;
    proxy_max_temp_file_size 0;
    upstream origin {{
        server {origin};
        keepalive 1024;
        keepalive_requests 1000000000;
        keepalive_timeout 3600s;
    }}
    server {{
        listen {listen}{ssl}{http2} backlog=4096;{tls}
        http2_max_concurrent_streams 1000;
        location / {{
            {pass};
        }}
    }}
}}
"
    );
    text
}

fn haproxy(setting: &Setting<'_>) -> String {
    let Setting { listen, origin, descriptors, directory, traffic, .. } = setting;
    let bind = match traffic.tls {
        Some(_) => format!(
            " ssl crt {} alpn {} ciphers ECDHE-ECDSA-AES128-GCM-SHA256 ciphersuites TLS_AES_128_GCM_SHA256 curves X25519",
            directory.join(BOTH).display(),
            if traffic.is_http2() { "h2" } else { "http/1.1" }
        ),
        None if traffic.is_http2() => " proto h2".to_owned(),
        None => String::new(),
    };
    let protocol = if traffic.grpc { " proto h2" } else { "" };
    // It would rather have descriptors for both sides of each, which idle connections never use.
    let connections = descriptors.saturating_sub(2000).clamp(100, 60_000);
    format!(
        "global
    nbthread 1
    no strict-limits
    tune.h2.max-concurrent-streams 1000
    maxconn {connections}
defaults
    mode http
    maxconn {connections}
    backlog 4096
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    timeout http-request 1h
    timeout http-keep-alive 1h
    http-reuse always
    option http-keep-alive
frontend web
    bind {listen}{bind}
    default_backend origin
backend origin
    server origin {origin}{protocol} pool-max-conn -1 pool-purge-delay 1h
"
    )
}

fn envoy_config(setting: &Setting<'_>) -> String {
    let Setting { listen, origin, directory, traffic, .. } = setting;
    let tls = traffic.tls.map_or(String::new(), |_| {
        format!(
            "
      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: [{alpn}]
            tls_params:
              tls_minimum_protocol_version: TLSv1_2
              tls_maximum_protocol_version: TLSv1_3
              cipher_suites: [ECDHE-ECDSA-AES128-GCM-SHA256]
              ecdh_curves: [X25519]
            tls_certificates:
            - certificate_chain: {{ filename: '{certificate}' }}
              private_key: {{ filename: '{key}' }}",
            alpn = if traffic.is_http2() { "h2" } else { "http/1.1" },
            certificate = directory.join(CERTIFICATE).display(),
            key = directory.join(KEY).display(),
        )
    });
    let http2 = if traffic.grpc {
        "
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        '@type': type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: { http2_protocol_options: {} }"
    } else {
        ""
    };
    let many = 1_000_000;
    format!(
        "static_resources:
  listeners:
  - name: web
    address: {{ socket_address: {{ address: {}, port_value: {} }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          codec_type: AUTO
          generate_request_id: false
          route_config:
            virtual_hosts:
            - name: all
              domains: ['*']
              routes:
              - match: {{ prefix: / }}
                route: {{ cluster: origin, timeout: 0s }}
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              '@type': type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
              dynamic_stats: false
              suppress_envoy_headers: true{tls}
  clusters:
  - name: origin
    type: STATIC
    connect_timeout: 5s
    circuit_breakers:
      thresholds:
      - {{ max_connections: {many}, max_pending_requests: {many}, max_requests: {many} }}
    load_assignment:
      cluster_name: origin
      endpoints:
      - lb_endpoints:
        - endpoint: {{ address: {{ socket_address: {{ address: {}, port_value: {} }} }} }}{http2}
",
        listen.ip(),
        listen.port(),
        origin.ip(),
        origin.port(),
    )
}
