//! One `SO_REUSEPORT` socket a core and address, with conflicts found before traffic is.

use std::fmt::Write;
use std::fs;
use std::io;
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, Type};

use crate::clock::Instant;

/// How long a port may still be held by one who has given it up: the kernel tears a ring down late.
const WAIT_FOR_PORT: Duration = Duration::from_secs(2);
const RETRY_EVERY: Duration = Duration::from_millis(10);

/// Which core gets a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Placement {
    /// The kernel's hash over the addresses and ports.
    #[default]
    Kernel,
    /// The core pinned to the CPU that received the connection's first packet (classic BPF on the group).
    Cpu,
}

/// An address to listen on.
#[derive(Clone, Debug)]
pub struct ListenSpec {
    /// Where to listen. An IPv6 address takes IPv6 only.
    pub address: SocketAddr,
    /// Connections the kernel queues for one core before it drops new ones.
    pub backlog: i32,
    /// Which core gets a new connection.
    pub placement: Placement,
}

fn new_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

/// Binds one socket for each CPU of `cpus`, in that order.
///
/// A plain bind comes first: behind `SO_REUSEPORT` a second process would silently share the port. An address in use
/// is an error that names the holder where the machine tells it. Port 0 picks one port for all the cores.
pub fn bind_for_cores(spec: &ListenSpec, cpus: &[usize]) -> io::Result<(SocketAddr, Vec<OwnedFd>)> {
    let mut address = probe_free(spec.address)?;
    let mut sockets = Vec::with_capacity(cpus.len());
    for _ in cpus {
        let socket = new_socket(address)?;
        socket.set_reuse_port(true)?;
        // Accepted sockets inherit it.
        socket.set_tcp_nodelay(true)?;
        socket.bind(&address.into()).map_err(|error| explain(address, &error))?;
        if address.port() == 0 {
            address = bound_address(&socket)?;
        }
        sockets.push(socket);
    }
    // The program goes on before the first listen, so that no connection is ever placed without it.
    if spec.placement == Placement::Cpu
        && let Some(first) = sockets.first()
    {
        steer_by_cpu(first, cpus)?;
    }
    for socket in &sockets {
        socket.listen(spec.backlog)?;
    }
    Ok((address, sockets.into_iter().map(OwnedFd::from).collect()))
}

/// Binds so many further sockets at an address whose group this user has already. They do not listen yet: the first
/// [`set_backlog`] makes them members.
pub fn bind_more(address: SocketAddr, count: usize) -> io::Result<Vec<OwnedFd>> {
    let bind = || {
        let socket = new_socket(address)?;
        socket.set_reuse_port(true)?;
        socket.set_tcp_nodelay(true)?;
        socket.bind(&address.into())?;
        Ok(OwnedFd::from(socket))
    };
    (0..count).map(|_| bind().map_err(|error| explain(address, &error))).collect()
}

/// Tells a group of listening sockets who gets a new connection, by any of its members: of the `group` members only
/// the first ones, one for each CPU of `cpus`.
pub fn place_among(member: &impl AsFd, placement: Placement, cpus: &[usize], group: usize) -> io::Result<()> {
    match placement {
        Placement::Cpu => steer_by_cpu(member, cpus),
        Placement::Kernel if group > cpus.len() => steer_at_random(member, cpus.len()),
        Placement::Kernel => steer_no_more(member),
    }
}

/// Changes how many connections the kernel queues for a listening socket; one that is only bound listens from now on.
pub fn set_backlog(socket: &impl AsFd, backlog: u32) -> io::Result<()> {
    SockRef::from(socket).listen(backlog as i32)
}

fn bound_address(socket: &Socket) -> io::Result<SocketAddr> {
    socket.local_addr()?.as_socket().ok_or_else(|| io::Error::other("a bound TCP socket has no IP address"))
}

/// Binds without sharing, to see whether anybody has the address, and lets go of it.
fn probe_free(address: SocketAddr) -> io::Result<SocketAddr> {
    let start = Instant::now();
    loop {
        let attempt = new_socket(address).and_then(|socket| {
            socket.bind(&address.into())?;
            // With SO_REUSEADDR only listening tells two listeners apart.
            socket.listen(1)
        });
        match attempt {
            Ok(()) => return Ok(address),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                let is_late = Instant::now().since(start) >= WAIT_FOR_PORT;
                match holder(address) {
                    // What this process itself has closed is in use until its cores have let go of it.
                    Some((pid, name)) if is_late || pid != std::process::id() => {
                        let message = format!(
                            "cannot listen on {address}: process {pid} ({name}) listens there; stop it or choose \
                             another port"
                        );
                        return Err(io::Error::new(io::ErrorKind::AddrInUse, message));
                    }
                    None if is_late => return Err(explain(address, &error)),
                    _ => {}
                }
                std::thread::sleep(RETRY_EVERY);
            }
            Err(error) => return Err(explain(address, &error)),
        }
    }
}

fn explain(address: SocketAddr, error: &io::Error) -> io::Error {
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => "; another process or network namespace holds the port",
        io::ErrorKind::PermissionDenied => "; ports under 1024 need CAP_NET_BIND_SERVICE",
        io::ErrorKind::AddrNotAvailable => "; this machine has no such address",
        _ => "",
    };
    io::Error::new(error.kind(), format!("cannot listen on {address}: {error}{hint}"))
}

/// The process that listens on `address` and its name, as far as /proc tells.
fn holder(address: SocketAddr) -> Option<(u32, String)> {
    let inode = listening_inode(address)?;
    let link = format!("socket:[{inode}]");
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let pid = process.file_name();
        let Some(pid) = pid.to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(descriptors) = fs::read_dir(process.path().join("fd")) else { continue };
        for descriptor in descriptors.flatten() {
            if fs::read_link(descriptor.path()).is_ok_and(|target| target.as_os_str() == link.as_str()) {
                let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
                return Some((pid, name.trim().to_owned()));
            }
        }
    }
    None
}

/// Finds the socket that conflicts with `address` in the kernel's table of listeners.
fn listening_inode(address: SocketAddr) -> Option<u64> {
    const LISTEN: &str = "0A";
    let table = if address.is_ipv4() { "/proc/net/tcp" } else { "/proc/net/tcp6" };
    fs::read_to_string(table).ok()?.lines().skip(1).find_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (local, state) = (fields.next()?, fields.nth(1)?);
        let (ip, port) = local.rsplit_once(':')?;
        let same_port = u16::from_str_radix(port, 16).ok()? == address.port();
        let same_ip =
            ip.bytes().all(|byte| byte == b'0') || address.ip().is_unspecified() || ip == proc_form(address.ip());
        (state == LISTEN && same_port && same_ip).then(|| fields.nth(5)?.parse().ok()).flatten()
    })
}

/// An address as /proc writes it: 32-bit groups in the machine's byte order.
fn proc_form(ip: IpAddr) -> String {
    let octets = match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    octets.chunks_exact(4).fold(String::new(), |mut text, group| {
        let group = u32::from_ne_bytes([group[0], group[1], group[2], group[3]]);
        let _ = write!(text, "{group:08X}");
        text
    })
}

/// Attaches a program to the group that returns the member whose core is pinned to the receiving CPU; members are
/// numbered in the order of binding. A CPU without a core falls to the CPU's number modulo the members.
fn steer_by_cpu(socket: &impl AsFd, cpus: &[usize]) -> io::Result<()> {
    // Offsets of struct sk_filter's extensions, from linux/filter.h.
    const CPU: u32 = (-0x1000_i32 + 36) as u32;
    let mut program = vec![statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, CPU)];
    for (member, &cpu) in cpus.iter().enumerate() {
        program.push(libc::sock_filter { jf: 1, ..statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, cpu as u32) });
        program.push(statement(libc::BPF_RET | libc::BPF_K, member as u32));
    }
    program.push(statement(libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K, cpus.len() as u32));
    program.push(statement(libc::BPF_RET | libc::BPF_A, 0));
    steer(socket, &mut program)
        .map_err(|error| io::Error::new(error.kind(), format!("cannot steer connections by CPU: {error}")))
}

/// Attaches a program to the group that returns one of its first members, each as often.
fn steer_at_random(socket: &impl AsFd, members: usize) -> io::Result<()> {
    // As above.
    const RANDOM: u32 = (-0x1000_i32 + 56) as u32;
    let mut program = [
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, RANDOM),
        statement(libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K, members as u32),
        statement(libc::BPF_RET | libc::BPF_A, 0),
    ];
    steer(socket, &mut program)
}

fn statement(code: u32, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

fn steer(socket: &impl AsFd, program: &mut [libc::sock_filter]) -> io::Result<()> {
    let length = u16::try_from(program.len())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "too many cores for steering by CPU"))?;
    let program = libc::sock_fprog { len: length, filter: program.as_mut_ptr() };
    // SAFETY: `program` points to `len` valid instructions that outlive the call, and its true size is passed.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            (&raw const program).cast(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Takes the program off the group, if it has one: the kernel's hash decides again.
fn steer_no_more(socket: &impl AsFd) -> io::Result<()> {
    // From asm-generic/socket.h.
    const SO_DETACH_REUSEPORT_BPF: libc::c_int = 68;
    let unused: libc::c_int = 0;
    // SAFETY: the option's value is an int, given with its size.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            SO_DETACH_REUSEPORT_BPF,
            (&raw const unused).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    let error = io::Error::last_os_error();
    if result == 0 || error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// Makes a listening socket take no new connection, while those in its queue can still be accepted and handshakes that
/// have begun come to their end: a classic BPF program drops every SYN. What is dropped is sent again, and by then
/// nobody listens.
pub(crate) fn refuse_new(socket: &impl AsFd) {
    let is_shared = is_unix(socket);
    let socket = SockRef::from(socket);
    if is_shared {
        // Nobody connects to it any more, and what is in its queue stays there to be accepted. All cores share it.
        let _ = socket.shutdown(Shutdown::Both);
        return;
    }
    const FLAGS_AT: u32 = 13; // RFC 9293 section 3.1
    const SYN: u32 = 0x02;
    let statement = |code: u32, otherwise: u8, k: u32| SockFilter::new(code as u16, 0, otherwise, k);
    let program = [
        statement(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 0, FLAGS_AT),
        statement(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, 1, SYN),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0),
        statement(libc::BPF_RET | libc::BPF_K, 0, u32::MAX),
    ];
    // Without the program a connection can come between the last accept and the close, and is reset: no worse than
    // what a plain close does.
    let _ = socket.attach_filter(&program);
}

/// Whether it is a Unix socket.
pub(crate) fn is_unix(socket: &impl AsFd) -> bool {
    SockRef::from(socket).domain().is_ok_and(|domain| domain == Domain::UNIX)
}

/// A connection that waits in the queue of a listening socket; nothing when none does.
pub(crate) fn accept_queued(socket: &impl AsFd) -> Option<OwnedFd> {
    let socket = SockRef::from(socket);
    socket.set_nonblocking(true).ok()?;
    loop {
        match socket.accept() {
            Ok((accepted, _)) => return Some(accepted.into()),
            // The peer went away in the queue; the others are still there.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(address: &str) -> ListenSpec {
        ListenSpec { address: address.parse().unwrap(), backlog: 16, placement: Placement::Kernel }
    }

    #[test]
    fn every_core_gets_its_own_socket_on_the_same_port() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let (address, sockets) = bind_for_cores(&spec(address), &[0, 1, 2]).unwrap();
            assert_eq!(sockets.len(), 3);
            assert_ne!(address.port(), 0);
            for socket in &sockets {
                assert_eq!(socket2::SockRef::from(socket).local_addr().unwrap().as_socket(), Some(address));
            }
        }
    }

    #[test]
    fn a_port_in_use_is_an_error_that_names_the_holder() {
        let (address, _sockets) = bind_for_cores(&spec("127.0.0.1:0"), &[0]).unwrap();
        let error = bind_for_cores(&spec(&address.to_string()), &[0]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        let message = error.to_string();
        assert!(message.contains(&format!("process {}", std::process::id())), "{message}");
        assert!(message.contains(&address.to_string()), "{message}");
    }

    #[test]
    fn an_address_of_another_machine_is_an_error_that_says_so() {
        let error = bind_for_cores(&spec("192.0.2.1:0"), &[0]).unwrap_err();
        assert!(error.to_string().contains("no such address"), "{error}");
    }

    #[test]
    fn a_group_gets_more_members_and_places_on_fewer() {
        let roomy = ListenSpec { backlog: 64, ..spec("127.0.0.1:0") };
        let (address, mut sockets) = bind_for_cores(&roomy, &[0, 1]).unwrap();
        for socket in bind_more(address, 2).unwrap() {
            set_backlog(&socket, 64).unwrap();
            sockets.push(socket);
        }
        let counts = |connections: usize| {
            let clients: Vec<_> = (0..connections).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
            let count = |socket| std::iter::from_fn(|| accept_queued(socket)).count();
            let counts: Vec<usize> = sockets.iter().map(count).collect();
            drop(clients);
            counts
        };
        place_among(&sockets[3], Placement::Kernel, &[0, 1], 4).unwrap();
        let few = counts(40);
        assert_eq!((few[0] + few[1], few[2], few[3]), (40, 0, 0), "{few:?}");
        assert!(few[0] > 0 && few[1] > 0, "{few:?}");
        for _ in 0..2 {
            // The second time there is no program to take off.
            place_among(&sockets[0], Placement::Kernel, &[0, 1, 2, 3], 4).unwrap();
        }
        let all = counts(60);
        assert_eq!(all.iter().sum::<usize>(), 60);
        assert!(all[2] + all[3] > 0, "{all:?}");
    }

    #[test]
    fn steering_by_cpu_is_accepted_by_the_kernel_and_places_connections() {
        let cpus = crate::core::cpus::allowed().unwrap();
        let steered = ListenSpec { placement: Placement::Cpu, ..spec("127.0.0.1:0") };
        let (address, sockets) = bind_for_cores(&steered, &cpus).unwrap();
        let (at, &cpu) = cpus.iter().enumerate().next_back().unwrap();
        std::thread::spawn(move || {
            crate::core::cpus::pin(cpu).unwrap();
            std::net::TcpStream::connect(address).unwrap()
        })
        .join()
        .unwrap();
        // On loopback the first packet is received on the CPU that sent it.
        let listener = std::net::TcpListener::from(sockets.into_iter().nth(at).unwrap());
        listener.set_nonblocking(true).unwrap();
        listener.accept().unwrap();
    }
}
