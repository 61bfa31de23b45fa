//! What a WebSocket message costs a gateway: clients that send one and wait for its echo, through each peer in turn. Clients
//! and the echoing origin share one loop on one core, the peer has the other.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use ringway_proto::websocket::{Incoming, Limits, Messages, Side, encode, handshake};

use crate::cli::{Error, parse_duration};
use crate::compare::peers::{Peer, Setting};
use crate::compare::process::{self, Running, Scratch};
use crate::compare::traffic::Traffic;
use crate::compare::{Spread, median};
use crate::net::{self, Poller};

const LISTENER: u64 = u64::MAX;
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const READ_BYTES: usize = 64 << 10;
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Args)]
pub(crate) struct WebsocketArgs {
    /// Bytes of a message
    #[arg(long, default_value_t = 128)]
    bytes: usize,
    /// Connections, each with one message under way
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Rounds; medians are taken over them
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Length of a window
    #[arg(long, default_value = "2s", value_parser = parse_duration)]
    window: Duration,
    /// Who takes part
    #[arg(long, value_delimiter = ',', default_value = "ringway,nginx,haproxy")]
    peers: Vec<Peer>,
    /// The gateway; by default the one beside this program
    #[arg(long, value_name = "PATH")]
    ringway: Option<PathBuf>,
    /// CPU of the peers
    #[arg(long, default_value_t = 0)]
    peer_core: usize,
    /// CPU of clients and origin
    #[arg(long, default_value_t = 1)]
    load_core: usize,
}

/// What one window found.
struct Found {
    /// Microseconds of CPU for a message and its echo.
    cpu: f64,
    /// Echoes a second.
    rate: f64,
}

pub(crate) fn run(args: &WebsocketArgs, stop: &Arc<AtomicBool>) -> Result<(), Error> {
    if args.rounds == 0 || args.connections == 0 || args.bytes > READ_BYTES / 2 {
        return Err(Error::Input("--rounds and --connections must be above 0, --bytes up to 32768".to_owned()));
    }
    let descriptors = net::raise_descriptor_limit();
    net::pin(args.load_core)?;
    let ringway = crate::gateway::program(args.ringway.as_ref())?;
    let scratch = Scratch::named("ringway-bench-websocket")?;
    let mut peers = Vec::new();
    for &peer in &args.peers {
        match peer.version(&ringway) {
            Ok(version) => peers.push((peer, version, Vec::new())),
            Err(why) => eprintln!("{} is left out: {why}", peer.name()),
        }
    }
    for _ in 0..args.rounds {
        for (peer, _, found) in &mut peers {
            let mut world = World::new(args.bytes)?;
            let listen = process::free_address()?;
            let setting = Setting {
                listen,
                origin: world.origin()?,
                core: args.peer_core,
                busy_poll: false,
                traffic: Traffic::default(),
                upgrades: true,
                body: args.bytes as u64,
                connections: args.connections,
                descriptors,
                directory: scratch.path(),
                ringway: &ringway,
            };
            let log = scratch.path().join(format!("{}.log", peer.name()));
            let mut command = peer.command(&setting)?;
            let running = Running::start(&mut command, &[args.peer_core], args.load_core, listen, &log)?;
            found.push(world.measure(args, &running, listen).map_err(|error| said(*peer, &error))?);
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Failed("interrupted".to_owned()));
            }
        }
    }
    println!(
        "Echoes of {} bytes over {} connections, {} windows of {:?} in turn: CPU of the peer for a message and its echo",
        args.bytes, args.connections, args.rounds, args.window
    );
    let (of_rounds, min_max) = ("/ringway", "min - max");
    println!("{:<16} {:>12} {min_max:>15} {of_rounds:>9} {min_max:>13} {:>10}", "", "us, median", "echoes/s");
    let cpu = |found: &[Found]| found.iter().map(|found| found.cpu).collect::<Vec<_>>();
    let ringway = peers.iter().find(|(peer, ..)| *peer == Peer::Ringway).map(|(.., found)| cpu(found));
    for (peer, _, found) in &peers {
        let rate = median(found.iter().map(|found| found.rate));
        let Some(us) = Spread::of(&cpu(found)) else { continue };
        let ratio = ringway.as_ref().and_then(|ringway| Spread::of_ratios(&cpu(found), ringway));
        let (middle, ends) = ratio.map_or(("-".to_owned(), "-".to_owned()), |ratio| {
            (format!("{:.2}x", ratio.median), format!("{:.2} - {:.2}", ratio.min, ratio.max))
        });
        let range = format!("{:.3} - {:.3}", us.min, us.max);
        println!("{:<16} {:>12.3} {range:>15} {middle:>9} {ends:>13} {rate:>10.0}", peer.name(), us.median);
    }
    for (peer, version, _) in &peers {
        println!("{}: {version}", peer.name());
    }
    Ok(())
}

fn said(peer: Peer, error: &std::io::Error) -> Error {
    Error::Failed(format!("{}: {error}", peer.name()))
}

/// One end of a connection.
struct End {
    fd: OwnedFd,
    /// What of a head has come, until it is whole.
    head: Option<Vec<u8>>,
    messages: Messages,
    is_client: bool,
}

/// Every client and the origin.
pub(crate) struct World {
    poller: Poller,
    listener: OwnedFd,
    ends: Vec<End>,
    buffer: Vec<u8>,
    message: Vec<u8>,
    echoes: u64,
    open: usize,
}

impl World {
    /// With messages of so many bytes.
    pub(crate) fn new(bytes: usize) -> Result<Self, Error> {
        let poller = Poller::new()?;
        let listener = net::listen(&SocketAddr::from(([127, 0, 0, 1], 0)))?;
        poller.add_listener(&listener, LISTENER)?;
        let mut message = Vec::new();
        encode::message(&mut message, true, &vec![b'x'; bytes], Some(MASK));
        let buffer = vec![0; READ_BYTES];
        Ok(Self { poller, listener, ends: Vec::new(), buffer, message, echoes: 0, open: 0 })
    }

    fn add(&mut self, fd: OwnedFd, is_client: bool) -> std::io::Result<()> {
        self.poller.add(&fd, self.ends.len() as u64)?;
        let from = if is_client { Side::Server } else { Side::Client };
        let messages = Messages::new(from, Limits::default(), false);
        self.ends.push(End { fd, head: Some(Vec::new()), messages, is_client });
        Ok(())
    }

    /// Where its origin is.
    pub(crate) fn origin(&self) -> std::io::Result<SocketAddr> {
        net::local_address(&self.listener)
    }

    /// Opens connections and has a message go to and fro on each. Says how many came back.
    pub(crate) fn echo(&mut self, connections: usize, to: SocketAddr, duration: Duration) -> std::io::Result<u64> {
        self.open(connections, to)?;
        self.turn_until(Instant::now() + duration, usize::MAX)?;
        Ok(self.echoes)
    }

    fn open(&mut self, connections: usize, to: SocketAddr) -> std::io::Result<()> {
        let request = format!(
            "GET / HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
        );
        for _ in 0..connections {
            let fd = net::connect(&to)?;
            // On the loopback a connect has ended when it returns, or nearly so.
            let end = Instant::now() + PATIENCE;
            while net::write(&fd, request.as_bytes()).ok().flatten().is_none() && Instant::now() < end {
                std::thread::sleep(Duration::from_micros(100));
            }
            self.add(fd, true)?;
        }
        self.turn_until(Instant::now() + PATIENCE, connections)?;
        if self.open < connections {
            return Err(std::io::Error::other("not every connection was opened"));
        }
        Ok(())
    }

    fn measure(&mut self, args: &WebsocketArgs, peer: &Running, to: SocketAddr) -> std::io::Result<Found> {
        self.open(args.connections, to)?;
        self.turn_until(Instant::now() + args.window / 4, usize::MAX)?;
        let (cpu, echoes, start) = (peer.cpu_ns()?, self.echoes, Instant::now());
        self.turn_until(start + args.window, usize::MAX)?;
        let (cpu, echoes, took) = (peer.cpu_ns()? - cpu, self.echoes - echoes, start.elapsed());
        if echoes == 0 {
            return Err(std::io::Error::other("no message came back"));
        }
        Ok(Found { cpu: cpu as f64 / 1e3 / echoes as f64, rate: echoes as f64 / took.as_secs_f64() })
    }

    /// Deals with what comes until then, or until so many connections are open.
    fn turn_until(&mut self, until: Instant, open: usize) -> std::io::Result<()> {
        while Instant::now() < until && self.open < open {
            let count = self.poller.wait(Some(Duration::from_millis(1)))?;
            for at in 0..count {
                let Some(ready) = self.poller.ready(at) else { continue };
                if ready.token == LISTENER {
                    while let Some(fd) = net::accept(&self.listener)? {
                        self.add(fd, false)?;
                    }
                } else if ready.readable {
                    self.read(ready.token as usize)?;
                }
            }
        }
        Ok(())
    }

    fn read(&mut self, at: usize) -> std::io::Result<()> {
        let Some(end) = self.ends.get_mut(at) else { return Ok(()) };
        while let Some(count) = net::read(&end.fd, &mut self.buffer)? {
            if count == 0 {
                // It was only looked whether anybody listens.
                return if end.is_client { Err(std::io::Error::other("a connection was closed")) } else { Ok(()) };
            }
            let mut bytes = self.buffer.get(..count).unwrap_or_default();
            let mut out = Vec::new();
            if let Some(head) = &mut end.head {
                head.extend_from_slice(bytes);
                bytes = &[];
                if head.ends_with(b"\r\n\r\n") {
                    if !end.is_client {
                        let accept = String::from_utf8_lossy(&handshake::accept(KEY.as_bytes())).into_owned();
                        out.extend_from_slice(
                            format!(
                                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                                 Sec-WebSocket-Accept: {accept}\r\n\r\n"
                            )
                            .as_bytes(),
                        );
                    } else if head.starts_with(b"HTTP/1.1 101") {
                        out.extend_from_slice(&self.message);
                        self.open += 1;
                    } else {
                        let head = String::from_utf8_lossy(head).into_owned();
                        return Err(std::io::Error::other(format!("the handshake was refused: {head}")));
                    }
                    end.head = None;
                }
            }
            while !bytes.is_empty() {
                let (taken, incoming) = end.messages.next(bytes).map_err(std::io::Error::other)?;
                bytes = bytes.get(taken..).unwrap_or_default();
                match incoming {
                    Some(Incoming::Message { .. }) if end.is_client => {
                        self.echoes += 1;
                        out.extend_from_slice(&self.message);
                    }
                    Some(Incoming::Message { payload, .. }) => encode::message(&mut out, true, payload, None),
                    _ => {}
                }
            }
            if !out.is_empty() && net::write(&end.fd, &out)? != Some(out.len()) {
                return Err(std::io::Error::other("a socket was full"));
            }
            if count < READ_BYTES {
                break;
            }
        }
        Ok(())
    }
}
