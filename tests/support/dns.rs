//! A name server whose zone the test changes: UDP, and TCP for what does not fit.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Bytes of an answer over UDP.
const UDP_MAX: usize = 1200;

pub(crate) const A: u16 = 1;
pub(crate) const SRV: u16 = 33;
const SOA: u16 = 6;

/// What is said of a name.
#[derive(Clone, Debug)]
pub(crate) enum Says {
    /// These records, for so many seconds.
    Records(u32, Vec<Vec<u8>>),
    /// It cannot be told.
    Failure,
    /// Nothing at all.
    Silence,
}

/// The addresses of a name.
pub(crate) fn addresses(ttl: u32, all: &[Ipv4Addr]) -> Says {
    Says::Records(ttl, all.iter().map(|address| address.octets().to_vec()).collect())
}

/// A server of a service: priority, weight, port, name.
pub(crate) fn server(priority: u16, weight: u16, port: u16, target: &str) -> Vec<u8> {
    let numbers = [priority, weight, port].into_iter().flat_map(u16::to_be_bytes);
    numbers.chain(name(target)).collect()
}

#[derive(Debug, Default)]
struct Zone {
    says: HashMap<(String, u16), Says>,
    asked: HashMap<(String, u16), usize>,
}

/// A name server. It ends with the test; its port stays its own.
#[derive(Debug)]
pub(crate) struct NameServer {
    pub(crate) address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
}

impl NameServer {
    pub(crate) fn start() -> Self {
        // One port for both.
        let (udp, tcp) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0").expect("a free port");
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().expect("an address")) {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().expect("an address");
        let zone: Arc<Mutex<Zone>> = Arc::default();
        let of_udp = zone.clone();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok((count, from)) = udp.recv_from(&mut bytes) {
                if let Some(answer) = answer(&of_udp, &bytes[..count], UDP_MAX) {
                    let _ = udp.send_to(&answer, from);
                }
            }
        });
        let of_tcp = zone.clone();
        thread::spawn(move || {
            while let Ok((stream, _)) = tcp.accept() {
                let zone = of_tcp.clone();
                thread::spawn(move || serve(&zone, stream));
            }
        });
        Self { address, zone }
    }

    /// What is said of a name from now on; names of which nothing is said are not there.
    pub(crate) fn says(&self, name: &str, kind: u16, says: Says) {
        let mut zone = self.zone.lock().unwrap_or_else(PoisonError::into_inner);
        zone.says.insert((name.to_owned(), kind), says);
    }

    /// How often somebody has asked.
    pub(crate) fn asked(&self, name: &str, kind: u16) -> usize {
        let zone = self.zone.lock().unwrap_or_else(PoisonError::into_inner);
        zone.asked.get(&(name.to_owned(), kind)).copied().unwrap_or_default()
    }
}

fn serve(zone: &Mutex<Zone>, mut stream: TcpStream) {
    let mut length = [0; 2];
    while stream.read_exact(&mut length).is_ok() {
        let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
        if stream.read_exact(&mut query).is_err() {
            return;
        }
        let Some(answer) = answer(zone, &query, usize::from(u16::MAX)) else { return };
        let mut bytes = (answer.len() as u16).to_be_bytes().to_vec();
        bytes.extend(answer);
        if stream.write_all(&bytes).is_err() {
            return;
        }
    }
}

/// A name as messages have it.
fn name(text: &str) -> Vec<u8> {
    let labels = text.split('.').filter(|label| !label.is_empty());
    let label = |label: &str| [&[label.len() as u8], label.as_bytes()].concat();
    labels.flat_map(label).chain([0]).collect()
}

fn record(kind: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    // The name is that of the question.
    let mut bytes = vec![0xc0, 12];
    bytes.extend(kind.to_be_bytes());
    bytes.extend([0, 1]);
    bytes.extend(ttl.to_be_bytes());
    bytes.extend((data.len() as u16).to_be_bytes());
    bytes.extend(data);
    bytes
}

/// The answer to a query with one question; nothing where none is given.
fn answer(zone: &Mutex<Zone>, query: &[u8], most: usize) -> Option<Vec<u8>> {
    let mut at = 12;
    let mut labels = Vec::new();
    while let length @ 1.. = usize::from(*query.get(at)?) {
        labels.push(String::from_utf8(query.get(at + 1..=at + length)?.to_vec()).ok()?.to_ascii_lowercase());
        at += 1 + length;
    }
    let question = query.get(12..at + 5)?;
    let kind = u16::from_be_bytes([*query.get(at + 1)?, *query.get(at + 2)?]);
    let asked = labels.join(".");
    let says = {
        let mut zone = zone.lock().unwrap_or_else(PoisonError::into_inner);
        *zone.asked.entry((asked.clone(), kind)).or_default() += 1;
        let is_there = zone.says.keys().any(|(name, _)| *name == asked);
        let says = zone.says.get(&(asked, kind)).cloned();
        if says.is_none() && !is_there { None } else { Some(says.unwrap_or(Says::Records(0, Vec::new()))) }
    };
    let (code, records, authority) = match says {
        Some(Says::Silence) => return None,
        Some(Says::Failure) => (2, Vec::new(), false),
        Some(Says::Records(ttl, records)) if !records.is_empty() => {
            (0, records.iter().map(|data| record(kind, ttl, data)).collect(), false)
        }
        Some(Says::Records(..)) => (0, Vec::new(), true),
        None => (3, Vec::new(), true),
    };
    let message = |records: &[Vec<u8>], flags: u8| {
        let mut bytes = query[..2].to_vec();
        bytes.extend([0x84 | flags, 0x80 | code, 0, 1]);
        bytes.extend((records.len() as u16).to_be_bytes());
        bytes.extend([0, u8::from(authority), 0, 0]);
        bytes.extend(question);
        bytes.extend(records.concat());
        if authority {
            // What is not there is not there for no time at all.
            let numbers = [1_u32, 1, 1, 1, 0].into_iter().flat_map(u32::to_be_bytes);
            bytes.extend(record(SOA, 0, &[0, 0].into_iter().chain(numbers).collect::<Vec<u8>>()));
        }
        bytes
    };
    let whole = message(&records, 0);
    Some(if whole.len() <= most { whole } else { message(&[], 0x02) })
}
