//! The network of a world: hosts, links, and what travels on them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Weak;
use std::time::Duration;

use slab::Slab;

use super::Clock;
use super::conn::{CLIENT, Conn, ConnId, End, Finish, Packet, Phase, ReadEnd, SERVER, take_front};
use super::faults::{Dice, Faults};
use super::trace::Trace;
use crate::buffer::Outboxes;
use crate::clock::Instant;
use crate::core::tasks::Waiter;

/// When a lost packet comes again: Linux's least retransmission timeout.
const RESEND: Duration = Duration::from_millis(200);
/// When a connect meets a full backlog again: Linux's first retransmission of a SYN.
const RECONNECT: Duration = Duration::from_secs(1);
/// When an unanswered connect fails: what Linux's six retransmissions of a SYN take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(127);
/// When a sender that hears nothing fails: about Linux's fifteen retransmissions.
const GIVE_UP: Duration = Duration::from_mins(15);
/// How soon the kernel takes the rest of what it took a part of.
const TAKE_REST: Duration = Duration::from_micros(10);
/// How soon a reader without a buffer looks for one again.
const BUFFER_RETRY: Duration = Duration::from_millis(1);
/// Linux's default range of ports that a machine picks itself.
const FIRST_PORT: u16 = 32_768;
const LAST_PORT: u16 = 60_999;

pub(super) struct Host {
    name: String,
    next_port: u16,
}

/// A listening socket.
pub(super) struct Acceptor {
    host: usize,
    pub(super) address: SocketAddr,
    pub(super) queue: VecDeque<ConnId>,
    pub(super) waiter: Waiter,
}

enum Event {
    /// The oldest packet that this side of a connection has under way arrives.
    Arrive(ConnId, usize),
    /// The kernel of this side goes on taking what was flushed.
    Pump(ConnId, usize),
    /// The reader of this side looks for a buffer again.
    Retry(ConnId, usize),
    /// A connect that has no answer yet fails.
    ConnectTimeout(ConnId),
    /// Senders on a silent connection fail.
    GiveUp(ConnId),
}

pub(super) struct Net {
    clock: Rc<Clock>,
    dice: Dice,
    pub(super) faults: Faults,
    pub(super) trace: Trace,
    pub(super) outboxes: Outboxes,
    /// Who must be woken once nobody holds the network.
    pub(super) wakes: Vec<Waiter>,
    events: BTreeMap<(Instant, u64), Event>,
    hosts: Vec<Host>,
    pub(super) conns: Slab<Conn>,
    pub(super) acceptors: Slab<Acceptor>,
    /// Links that carry nothing for now, and what waits for them.
    cut: BTreeSet<(usize, usize)>,
    held: Vec<(ConnId, usize)>,
    /// Ends of connections on their way from one core to another, each as long as somebody carries it.
    in_transit: Vec<(ConnId, usize, Weak<()>)>,
    serial: u64,
}

fn link(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}

fn raw(error: i32) -> io::Error {
    io::Error::from_raw_os_error(error)
}

impl Net {
    pub(super) fn new(clock: Rc<Clock>, seed: u64) -> Self {
        Self {
            clock,
            dice: Dice::new(seed),
            faults: Faults::default(),
            trace: Trace::new(),
            outboxes: Outboxes::default(),
            wakes: Vec::new(),
            events: BTreeMap::new(),
            hosts: Vec::new(),
            conns: Slab::new(),
            acceptors: Slab::new(),
            cut: BTreeSet::new(),
            held: Vec::new(),
            in_transit: Vec::new(),
            serial: 0,
        }
    }

    // The machines.

    /// The number of the machine called `name`, which exists from now on.
    pub(super) fn host(&mut self, name: &str) -> usize {
        self.hosts.iter().position(|host| host.name == name).unwrap_or_else(|| {
            self.hosts.push(Host { name: name.to_owned(), next_port: FIRST_PORT });
            self.hosts.len() - 1
        })
    }

    /// The address of a machine: 10.0.0.1 is the first, 10.0.0.2 the second, and so on.
    pub(super) fn ipv4(host: usize) -> Ipv4Addr {
        Ipv4Addr::from_bits(0x0a00_0001 + host as u32)
    }

    /// Its other address: `fd00::1`, `fd00::2` and so on.
    pub(super) fn ipv6(host: usize) -> Ipv6Addr {
        Ipv6Addr::from_bits((0xfd00 << 112) + 1 + host as u128)
    }

    fn owns(host: usize, ip: IpAddr) -> bool {
        ip.is_loopback() || ip == IpAddr::V4(Self::ipv4(host)) || ip == IpAddr::V6(Self::ipv6(host))
    }

    fn pick_port(&mut self, host: usize) -> u16 {
        let next = &mut self.hosts[host].next_port;
        let port = *next;
        *next = if port == LAST_PORT { FIRST_PORT } else { port + 1 };
        port
    }

    pub(super) fn listen(&mut self, host: usize, mut address: SocketAddr) -> io::Result<usize> {
        if !address.ip().is_unspecified() && !Self::owns(host, address.ip()) {
            return Err(raw(libc::EADDRNOTAVAIL));
        }
        if address.port() == 0 {
            address.set_port(self.pick_port(host));
        }
        Ok(self.acceptors.insert(Acceptor { host, address, queue: VecDeque::new(), waiter: Waiter::Nobody }))
    }

    /// Ends a listener and resets what it has not accepted.
    pub(super) fn stop_listening(&mut self, listener: usize) {
        let acceptor = self.acceptors.remove(listener);
        for id in acceptor.queue {
            if self.live(id).is_some() {
                self.close(id, SERVER, true);
            }
        }
    }

    pub(super) fn connect(&mut self, host: usize, address: SocketAddr) -> ConnId {
        let ip = address.ip();
        let target =
            if ip.is_loopback() { Some(host) } else { (0..self.hosts.len()).find(|&target| Self::owns(target, ip)) };
        let own_ip = match (ip.is_loopback(), ip) {
            (true, ip) => ip,
            (false, IpAddr::V4(_)) => Self::ipv4(host).into(),
            (false, IpAddr::V6(_)) => Self::ipv6(host).into(),
        };
        let own = SocketAddr::new(own_ip, self.pick_port(host));
        let window = self.faults.receive_buffer;
        self.serial += 1;
        let mut ends = [End::new(host, own, window), End::new(target.unwrap_or(host), address, window)];
        if target.is_none() {
            ends[SERVER].phase = Phase::Closed;
        }
        let slot = self.conns.insert(Conn { serial: self.serial, ends, silent: target.is_none() });
        let id = ConnId { slot, serial: self.serial };
        self.schedule(self.now() + CONNECT_TIMEOUT, Event::ConnectTimeout(id));
        self.send(id, CLIENT, Packet::Connect);
        id
    }

    // Time.

    fn now(&self) -> Instant {
        self.clock.now.get()
    }

    fn schedule(&mut self, at: Instant, event: Event) {
        self.serial += 1;
        self.events.insert((at, self.serial), event);
    }

    /// When something happens next by itself.
    pub(super) fn next(&self) -> Option<Instant> {
        self.events.keys().next().map(|&(at, _)| at)
    }

    /// Lets everything happen that is due.
    pub(super) fn advance(&mut self) {
        self.close_dropped();
        let now = self.now();
        while let Some(entry) = self.events.first_entry()
            && entry.key().0 <= now
        {
            match entry.remove() {
                Event::Arrive(id, from) => self.arrive(id, from),
                Event::Pump(id, side) => {
                    if let Some(conn) = self.live(id) {
                        conn.ends[side].pumping = false;
                        self.pump(id, side);
                    }
                }
                Event::Retry(id, side) => {
                    if let Some(conn) = self.live(id) {
                        let reader = conn.ends[side].reader.take();
                        self.wakes.push(reader);
                    }
                }
                Event::ConnectTimeout(id) => {
                    if self.live(id).is_some_and(|conn| conn.ends[CLIENT].phase == Phase::Connecting) {
                        self.fail(id, CLIENT, libc::ETIMEDOUT);
                    }
                }
                Event::GiveUp(id) => self.give_up(id),
            }
        }
    }

    /// One of `count` things that could happen next.
    pub(super) fn choose(&self, count: usize) -> usize {
        self.dice.below(count as u64) as usize
    }

    fn live(&mut self, id: ConnId) -> Option<&mut Conn> {
        self.conns.get_mut(id.slot).filter(|conn| conn.serial == id.serial)
    }

    fn note(&mut self, what: &'static str, id: ConnId, amount: usize) {
        self.trace.note(self.clock.now.get(), what, id.serial, amount as u64);
    }

    // Links.

    pub(super) fn cut(&mut self, a: usize, b: usize) {
        self.cut.insert(link(a, b));
    }

    /// Lets a link carry again; what waited for it sets out anew, in its order.
    pub(super) fn heal(&mut self, a: usize, b: usize) {
        self.cut.remove(&link(a, b));
        for (id, from) in std::mem::take(&mut self.held) {
            if self.live(id).is_some() {
                self.send_off(id, from);
            }
        }
    }

    fn send(&mut self, id: ConnId, from: usize, packet: Packet) {
        self.conns[id.slot].ends[from].wire.push_back(packet);
        self.send_off(id, from);
    }

    /// Arranges one more arrival on the wire of this side.
    fn send_off(&mut self, id: ConnId, from: usize) {
        let mut arrival = self.dice.after(self.now(), &self.faults.delay);
        if self.dice.chance(self.faults.loss_per_million) {
            self.note("lost", id, 0);
            arrival = arrival + RESEND;
        }
        let last = &mut self.conns[id.slot].ends[from].last_arrival;
        *last = arrival.max(*last);
        let arrival = *last;
        self.schedule(arrival, Event::Arrive(id, from));
    }

    fn arrive(&mut self, id: ConnId, from: usize) {
        let Some(conn) = self.live(id) else { return };
        let (hosts, is_open) = ((conn.ends[CLIENT].host, conn.ends[SERVER].host), conn.ends[from].phase == Phase::Open);
        if self.cut.contains(&link(hosts.0, hosts.1)) {
            self.held.push((id, from));
            return;
        }
        let conn = &mut self.conns[id.slot];
        let Some(packet) = conn.ends[from].wire.pop_front() else { return };
        if conn.silent {
            self.note("unheard", id, packet.bytes());
            self.free_if_done(id);
            return;
        }
        if is_open && self.dice.chance(self.faults.silence_per_million) {
            self.note("silence", id, packet.bytes());
            self.conns[id.slot].silent = true;
            self.schedule(self.now() + GIVE_UP, Event::GiveUp(id));
        } else if is_open && self.dice.chance(self.faults.reset_per_million) {
            self.note("broken", id, packet.bytes());
            for side in [CLIENT, SERVER] {
                self.conns[id.slot].ends[side].wire.clear();
                self.fail(id, side, libc::ECONNRESET);
            }
        } else {
            self.note(packet.name(), id, packet.bytes());
            self.take_in(id, 1 - from, packet);
        }
        self.free_if_done(id);
    }

    /// What the kernel of side `to` does about a packet.
    fn take_in(&mut self, id: ConnId, to: usize, packet: Packet) {
        let end = &mut self.conns[id.slot].ends[to];
        match packet {
            Packet::Connect => self.take_connect(id),
            Packet::Accepted if end.phase == Phase::Connecting => {
                end.phase = Phase::Open;
                let writer = end.writer.take();
                self.wakes.push(writer);
            }
            // Nobody is there any more who wanted to connect.
            Packet::Accepted => self.send(id, to, Packet::Reset),
            Packet::Refused => self.fail(id, to, libc::ECONNREFUSED),
            Packet::Data(_) if end.phase == Phase::Closed => {
                end.queue.clear();
                self.send(id, to, Packet::Reset);
            }
            Packet::Data(bytes) => {
                end.inbox.extend(bytes);
                let reader = end.reader.take();
                self.wakes.push(reader);
            }
            Packet::Finish => {
                end.ended.get_or_insert(ReadEnd::Eof);
                let reader = end.reader.take();
                self.wakes.push(reader);
            }
            Packet::Reset => self.fail(id, to, libc::ECONNRESET),
            Packet::Credit(count) => {
                end.window += count;
                self.pump(id, to);
            }
        }
    }

    fn take_connect(&mut self, id: ConnId) {
        let conn = &mut self.conns[id.slot];
        let [client, server] = &mut conn.ends;
        if client.phase != Phase::Connecting {
            server.phase = Phase::Closed;
            return;
        }
        let (host, address) = (server.host, server.address);
        let listeners: Vec<usize> = self
            .acceptors
            .iter()
            .filter(|(_, acceptor)| {
                let at = acceptor.address;
                let same_ip = at.ip() == address.ip() || at.ip().is_unspecified() && at.is_ipv4() == address.is_ipv4();
                acceptor.host == host && at.port() == address.port() && same_ip
            })
            .map(|(key, _)| key)
            .collect();
        if listeners.is_empty() || self.dice.chance(self.faults.refuse_per_million) {
            server.phase = Phase::Closed;
            self.send(id, SERVER, Packet::Refused);
            return;
        }
        let acceptor = &mut self.acceptors[listeners[self.dice.below(listeners.len() as u64) as usize]];
        if acceptor.queue.len() >= self.faults.backlog {
            client.wire.push_front(Packet::Connect);
            let again = self.now() + RECONNECT;
            self.schedule(again, Event::Arrive(id, CLIENT));
            return;
        }
        server.phase = Phase::Open;
        acceptor.queue.push_back(id);
        let waiter = acceptor.waiter.take();
        self.wakes.push(waiter);
        self.send(id, SERVER, Packet::Accepted);
    }

    // The ends of a connection.

    /// Ends this side for its handle: what was received stays readable, nothing more is sent.
    fn fail(&mut self, id: ConnId, side: usize, error: i32) {
        let end = &mut self.conns[id.slot].ends[side];
        end.queue.clear();
        end.flushed = 0;
        end.finish = Finish::Sent;
        let outbox = end.outbox.take();
        match end.phase {
            Phase::Closed => {}
            Phase::Connecting => end.phase = Phase::Failed(error),
            Phase::Open | Phase::Failed(_) => {
                end.ended.get_or_insert(ReadEnd::Error(error));
                end.send_error.get_or_insert(error);
            }
        }
        let waiters = [end.reader.take(), end.writer.take()];
        self.wakes.extend(waiters);
        if let Some(outbox) = outbox {
            self.outboxes.give_back(outbox);
        }
    }

    fn give_up(&mut self, id: ConnId) {
        for side in [CLIENT, SERVER] {
            if self.live(id).is_some_and(|conn| conn.ends[side].has_unanswered()) {
                self.fail(id, side, libc::ETIMEDOUT);
            }
        }
    }

    /// This side goes from one core to another, as long as `carried` lives.
    pub(super) fn depart(&mut self, id: ConnId, side: usize, carried: Weak<()>) {
        let end = &mut self.conns[id.slot].ends[side];
        (end.reader, end.writer) = (Waiter::Nobody, Waiter::Nobody);
        self.in_transit.push((id, side, carried));
    }

    /// A core of machine `host` takes this side. False when it is not on its way there.
    pub(super) fn arrived(&mut self, id: ConnId, side: usize, host: usize) -> bool {
        let at = self.in_transit.iter().position(|&(known, known_side, _)| (known, known_side) == (id, side));
        let Some(at) = at.filter(|_| self.live(id).is_some_and(|conn| conn.ends[side].host == host)) else {
            return false;
        };
        self.in_transit.swap_remove(at);
        true
    }

    /// Closes what nobody carries any more.
    fn close_dropped(&mut self) {
        while let Some(at) = self.in_transit.iter().position(|(_, _, carried)| carried.strong_count() == 0) {
            let (id, side, _) = self.in_transit.swap_remove(at);
            if self.live(id).is_some() {
                self.close(id, side, false);
            }
        }
    }

    /// Gives up the handle of this side.
    pub(super) fn close(&mut self, id: ConnId, side: usize, reset: bool) {
        let end = &mut self.conns[id.slot].ends[side];
        let phase = std::mem::replace(&mut end.phase, Phase::Closed);
        (end.reader, end.writer) = (Waiter::Nobody, Waiter::Nobody);
        end.flushed = 0;
        if let Some(outbox) = end.outbox.take() {
            self.outboxes.give_back(outbox);
        }
        let end = &mut self.conns[id.slot].ends[side];
        let failed = matches!(end.ended, Some(ReadEnd::Error(_)));
        // A program that ends without having read everything resets its peer (RFC 2525, section 2.17).
        let reset = reset || !end.inbox.is_empty();
        end.inbox = VecDeque::new();
        if phase == Phase::Open && !failed {
            if reset {
                end.queue.clear();
                end.finish = Finish::Sent;
                self.send(id, side, Packet::Reset);
            } else if end.finish == Finish::No {
                end.finish = Finish::Queued;
                self.pump(id, side);
            }
        }
        self.free_if_done(id);
    }

    fn free_if_done(&mut self, id: ConnId) {
        if self.live(id).is_some_and(|conn| conn.is_done()) {
            self.conns.remove(id.slot);
        }
    }

    /// Sends everything that was written so far.
    pub(super) fn flush(&mut self, id: ConnId, side: usize) {
        let end = &mut self.conns[id.slot].ends[side];
        if end.finish != Finish::No && end.unsent() > 0 {
            end.send_error.get_or_insert(libc::EPIPE);
        }
        if end.send_error.is_some() {
            return;
        }
        end.flushed = end.unsent();
        self.pump(id, side);
    }

    pub(super) fn finish(&mut self, id: ConnId, side: usize) -> io::Result<()> {
        let end = &mut self.conns[id.slot].ends[side];
        if end.send_error.is_some() {
            return Err(raw(libc::ENOTCONN));
        }
        if end.finish == Finish::No {
            end.finish = Finish::Queued;
            self.pump(id, side);
        }
        Ok(())
    }

    /// The kernel of this side takes what was flushed, as far as it has room, and sends as far as its peer has.
    fn pump(&mut self, id: ConnId, side: usize) {
        let (limit, short) = (self.faults.send_buffer, self.faults.short_write_per_million);
        let end = &mut self.conns[id.slot].ends[side];
        let room = limit.saturating_sub(end.queue.len());
        if end.flushed > 0 && room > 0 {
            let count = self.dice.part(room.min(end.flushed), short);
            end.take_flushed(count);
            let writer = end.writer.take();
            self.wakes.push(writer);
            if end.unsent() == 0
                && let Some(outbox) = end.outbox.take()
            {
                self.outboxes.give_back(outbox);
            }
        }
        loop {
            let end = &mut self.conns[id.slot].ends[side];
            let most = self.faults.segment.min(end.window).min(end.queue.len());
            if most == 0 {
                break;
            }
            let count = self.dice.part(most, short);
            let mut bytes = vec![0; count];
            take_front(&mut end.queue, &mut bytes);
            end.window -= count;
            self.send(id, side, Packet::Data(bytes));
        }
        let end = &mut self.conns[id.slot].ends[side];
        if end.flushed > 0 && end.queue.len() < limit && !end.pumping {
            end.pumping = true;
            let later = self.now() + TAKE_REST;
            self.schedule(later, Event::Pump(id, side));
        } else if end.finish == Finish::Queued && end.queue.is_empty() && end.flushed == 0 {
            end.finish = Finish::Sent;
            self.send(id, side, Packet::Finish);
        }
    }

    /// How many of the bytes that were received a reader with room for `most` gets now; `None` when it must wait.
    pub(super) fn readable(&mut self, id: ConnId, side: usize, most: usize) -> Option<usize> {
        let count = self.conns[id.slot].ends[side].inbox.len().min(most);
        (count > 0).then(|| self.dice.part(count, self.faults.short_read_per_million))
    }

    /// Whether a reader finds no buffer this time. It looks again a little later.
    pub(super) fn starves(&mut self, id: ConnId, side: usize, has_buffer: bool) -> bool {
        if has_buffer && !self.dice.chance(self.faults.starve_per_million) {
            return false;
        }
        self.note("starved", id, 0);
        let later = self.now() + BUFFER_RETRY;
        self.schedule(later, Event::Retry(id, side));
        true
    }

    /// Takes the first received bytes into `buffer` and tells the peer of the room.
    pub(super) fn read(&mut self, id: ConnId, side: usize, buffer: &mut [u8]) {
        let end = &mut self.conns[id.slot].ends[side];
        take_front(&mut end.inbox, buffer);
        self.send(id, side, Packet::Credit(buffer.len()));
    }
}
