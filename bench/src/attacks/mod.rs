//! What attacks cost the gateway, the attacker, and everybody else.
//!
//! A gateway of its own for each attack. First the attack has it alone, as fast as one attacker can: what each side's CPU
//! spends of it. Then other clients ask at a constant rate, without the attack and beside it.

mod kinds;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use self::kinds::{Attack, Bytes, Then};
use crate::cli::{Error, parse_duration};
use crate::compare::process::{self, Running, Scratch};
use crate::compare::traffic::{CERTIFICATE, KEY, write_certificate};
use crate::gateway::GatewayArgs;
use crate::load::{self, Outcome, Plan};
use crate::net;

/// How long the gateway may hold what hangs.
const PATIENCE: &str = "1s";
/// After this the gateway has let it hang.
const LATE: Duration = Duration::from_secs(8);
/// Connections at once of an attack of which each may take a while.
const AT_ONCE: usize = 64;

#[derive(Args)]
pub(crate) struct AttacksArgs {
    /// Attacks; by default all
    attacks: Vec<Attack>,
    /// Requests a second of the other clients
    #[arg(long, default_value_t = 2000.0)]
    rate: f64,
    /// Their connections
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Attacking connections a second beside them, at most
    #[arg(long, default_value_t = 100.0)]
    attacks_per_second: f64,
    /// Length of each of the three windows of an attack
    #[arg(long, default_value = "3s", value_parser = parse_duration)]
    duration: Duration,
    #[command(flatten)]
    gateway: GatewayArgs,
}

pub(crate) fn run(args: &AttacksArgs, stop: &Arc<AtomicBool>) -> Result<(), Error> {
    let is_rate = |rate: f64| (1.0..=1e6).contains(&rate);
    if !is_rate(args.rate) || !is_rate(args.attacks_per_second) || args.duration.is_zero() || args.connections == 0 {
        return Err(Error::Input("rates must be from 1 to a million, --duration and --connections above 0".to_owned()));
    }
    net::raise_descriptor_limit();
    net::pin(args.gateway.load_core)?;
    let all = <Attack as clap::ValueEnum>::value_variants();
    let wanted = if args.attacks.is_empty() { all } else { &args.attacks };
    println!(
        "{} requests/s over {} connections, beside up to {} attacking connections/s; each window {:?}",
        args.rate, args.connections, args.attacks_per_second, args.duration
    );
    println!(
        "{:<16} {:>9} {:>10} {:>10} {:>7} {:>9} {:>9} {:>6} {:>15}  ends",
        "attack", "frames", "gateway ns", "attacker", "times", "p99 us", "beside", "ratio", "memory MiB"
    );
    for &attack in wanted {
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Failed("interrupted".to_owned()));
        }
        measure(args, attack, stop)?;
    }
    Ok(())
}

/// A gateway with a listener in clear and one of TLS, on which a hanging client is soon let go.
struct Gateway {
    running: Running,
    clear: SocketAddr,
    tls: SocketAddr,
    _scratch: Scratch,
}

impl Gateway {
    fn start(args: &AttacksArgs) -> Result<Self, Error> {
        let (clear, tls, scratch) = (process::free_address()?, process::free_address()?, Scratch::new()?);
        let directory = scratch.path();
        write_certificate(directory)?;
        let config = format!(
            "{}[timeouts]\nsend_idle = \"{PATIENCE}\"\n[listener.web]\naddress = \"{clear}\"\n\
             [listener.secure]\naddress = \"{tls}\"\n[listener.secure.tls]\ncertificate = \"{}\"\nkey = \"{}\"\n\
             handshake_timeout = \"{PATIENCE}\"\n\
             [service.hello]\ntype = \"respond\"\nbody = \"hello\"\n\
             [[route]]\nname = \"all\"\npath = \"/{{rest...}}\"\nservice = \"hello\"\n",
            args.gateway.cores(),
            directory.join(CERTIFICATE).display(),
            directory.join(KEY).display(),
        );
        let running = args.gateway.start(&config, clear, &scratch)?;
        Ok(Self { running, clear, tls, _scratch: scratch })
    }
}

fn measure(args: &AttacksArgs, attack: Attack, stop: &Arc<AtomicBool>) -> Result<(), Error> {
    let gateway = Gateway::start(args)?;
    let to = if attack.is_on_tls() { gateway.tls } else { gateway.clear };
    // The first requests fill what the gateway keeps.
    others(args, &gateway, stop)?;
    let before = gateway.running.resident_bytes()?;
    let cpu = gateway.running.cpu_ns()?;
    let alone = Attacker::start(attack, to, f64::INFINITY)?.after(args.duration)?;
    let cpu = gateway.running.cpu_ns()? - cpu;
    let calm = others(args, &gateway, stop)?;
    let attacker = Attacker::start(attack, to, args.attacks_per_second)?;
    let beside = others(args, &gateway, stop)?;
    let ended = attacker.after(Duration::ZERO)?;
    let after = gateway.running.resident_bytes()?;
    let per_frame = |ns: u64| ns as f64 / alone.frames.max(1) as f64;
    let p99 = |outcome: &Outcome| outcome.latency.value_at_quantile(0.99) as f64 / 1e3;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!(
        "{:<16} {:>9} {:>10.0} {:>10.0} {:>7.2} {:>9.0} {:>9.0} {:>6.2} {:>7.1}{:>8.1}  {} of {}",
        attack.name(),
        alone.frames,
        per_frame(cpu),
        per_frame(alone.cpu_ns),
        per_frame(cpu) / per_frame(alone.cpu_ns).max(1.0),
        p99(&calm),
        p99(&beside),
        p99(&beside) / p99(&calm).max(1.0),
        mib(before),
        mib(after),
        alone.ended + ended.ended,
        alone.connections + ended.connections,
    );
    Ok(())
}

/// Clients that want nothing but answers.
fn others(args: &AttacksArgs, gateway: &Gateway, stop: &Arc<AtomicBool>) -> Result<Outcome, Error> {
    let plan = Plan {
        connections: args.connections,
        rate: Some(args.rate),
        warm_up: Duration::from_millis(200),
        duration: args.duration,
        // The attacker has the same CPU.
        blocking: true,
        ..Plan::get(gateway.clear)
    };
    let outcome = load::run(&plan, None, &mut |_, _| (), stop)?;
    match outcome.failed() {
        0 => Ok(outcome),
        failed => Err(Error::Failed(format!("{failed} requests of others failed"))),
    }
}

/// What an attacker did.
#[derive(Default)]
struct Done {
    connections: u64,
    frames: u64,
    /// Connections that ended as they should.
    ended: u64,
    cpu_ns: u64,
}

/// Attacks from a thread of its own.
struct Attacker {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<std::io::Result<Done>>,
}

impl Attacker {
    fn start(attack: Attack, to: SocketAddr, rate: f64) -> Result<Self, Error> {
        let stop = Arc::<AtomicBool>::default();
        let stopped = stop.clone();
        let thread = thread::Builder::new().name("attacker".to_owned()).spawn(move || {
            let (bytes, mut done, began) = (attack.bytes(), Done::default(), Instant::now());
            let cpu = thread_cpu_ns()?;
            // Evenly: many in one moment would be another attack, and one on the clients' CPU.
            let mut begun = 0_u32;
            let mut pause = || {
                begun += 1;
                let due = began + Duration::from_secs_f64(f64::from(begun) / rate);
                thread::sleep(due.saturating_duration_since(Instant::now()));
            };
            while !stopped.load(Ordering::Relaxed) {
                round(&bytes, to, &mut done, &stopped, &mut pause)?;
            }
            done.cpu_ns = thread_cpu_ns()? - cpu;
            Ok(done)
        })?;
        Ok(Self { stop, thread })
    }

    /// Stops it after this time, and says what it did.
    fn after(self, time: Duration) -> Result<Done, Error> {
        thread::sleep(time);
        self.stop.store(true, Ordering::Relaxed);
        let done = self.thread.join().map_err(|_| Error::Failed("the attacker panicked".to_owned()))?;
        Ok(done?)
    }
}

/// Attacks once; many at once where each may take a while. There is a pause before each.
fn round(
    attack: &Bytes,
    to: SocketAddr,
    done: &mut Done,
    stop: &AtomicBool,
    pause: &mut dyn FnMut(),
) -> std::io::Result<()> {
    let many = if attack.then == Then::IsEndedInTime { AT_ONCE } else { 1 };
    let mut streams = Vec::new();
    for _ in 0..many {
        pause();
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let mut stream = match TcpStream::connect(to) {
            Ok(stream) => stream,
            // Ended before it began: the gateway has had enough of it.
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused) => {
                (done.connections, done.ended) = (done.connections + 1, done.ended + 1);
                continue;
            }
            Err(error) => return Err(error),
        };
        stream.set_read_timeout(Some(LATE))?;
        stream.set_nodelay(true)?;
        // The gateway may end it before all is there.
        let _ = stream.write_all(&attack.wire);
        streams.push(stream);
    }
    for mut stream in streams {
        done.connections += 1;
        done.frames += attack.frames;
        let mut buffer = [0; 16_384];
        let is_over = loop {
            match stream.read(&mut buffer) {
                Ok(0) => break true,
                Ok(_) if attack.then == Then::Leaves => break true,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
            }
        };
        done.ended += u64::from(is_over);
    }
    Ok(())
}

/// CPU that this thread has used.
fn thread_cpu_ns() -> std::io::Result<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    text.split(' ').next().and_then(|field| field.parse().ok()).ok_or_else(|| ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum as _;

    #[test]
    fn every_attack_is_whole_frames_and_says_how_many() {
        for &attack in Attack::value_variants().iter().filter(|attack| !attack.is_on_tls()) {
            let Bytes { wire, frames, .. } = attack.bytes();
            let mut rest = wire.strip_prefix(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
            let mut seen = 0;
            while !rest.is_empty() {
                let len = u32::from_be_bytes([0, rest[0], rest[1], rest[2]]) as usize;
                rest = &rest[9 + len..];
                seen += 1;
            }
            // SETTINGS and its acknowledgement stand before them.
            assert_eq!(seen, frames + 2, "{}", attack.name());
        }
    }
}
