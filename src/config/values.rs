//! How single values of the config are written.

use super::nearest::nearest;
use super::reader::{Problem, Read, article};
use super::tree::Value;
use crate::plan::Rate;
use ipnet::IpNet;
use ringway_runtime::net::{Address, UnixName};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

fn text<'v>(value: &'v Value, wanted: &str) -> Read<&'v str> {
    value.as_str().ok_or_else(|| Problem::new(format!("{wanted} is wanted, not {}", article(value.type_name()))))
}

/// Any string.
pub(crate) fn string(value: &Value) -> Read<String> {
    text(value, "a string").map(str::to_owned)
}

/// A path.
pub(crate) fn path(value: &Value) -> Read<String> {
    match text(value, "a path")? {
        "" => Err(Problem::new("a path is wanted, not an empty string")),
        path => Ok(path.to_owned()),
    }
}

/// `true` or `false`.
pub(crate) fn boolean(value: &Value) -> Read<bool> {
    value.as_bool().ok_or_else(|| Problem::new(format!("true or false is wanted, not {}", article(value.type_name()))))
}

/// A whole number in a range.
pub(crate) fn integer<T: TryFrom<i64>>(range: RangeInclusive<i64>) -> impl Fn(&Value) -> Read<T> {
    move |value| {
        let wrong = || format!("a whole number from {} to {} is wanted", range.start(), range.end());
        let number = value
            .as_integer()
            .ok_or_else(|| Problem::new(format!("{}, not {}", wrong(), article(value.type_name()))))?;
        let fits = Some(number).filter(|number| range.contains(number)).and_then(|number| T::try_from(number).ok());
        fits.ok_or_else(|| Problem::new(format!("{}, not {number}", wrong())))
    }
}

/// One word of a few.
pub(crate) fn one_of<T: Copy>(words: &'static [(&'static str, T)]) -> impl Fn(&Value) -> Read<T> {
    move |value| {
        let word = text(value, "a string")?;
        let known = || words.iter().map(|(word, _)| *word);
        words.iter().find(|(known, _)| *known == word).map(|(_, meaning)| *meaning).ok_or_else(|| {
            let list = known().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
            let wanted = if words.len() == 1 { format!("{list} is") } else { format!("one of {list} is") };
            let problem = Problem::new(format!("\"{word}\" is unknown; {wanted} wanted"));
            match nearest(word, known()) {
                Some(near) => problem.with_help(format!("did you mean \"{near}\"?")),
                None => problem,
            }
        })
    }
}

/// A share of 0 to 100 in a hundred, as that of a million. Shares too small for that are refused.
pub(crate) fn percentage(value: &Value) -> Read<u32> {
    let wrong = || Problem::new("a number above 0 and up to 100, with at most four decimals, is wanted");
    let share = value.as_float().ok_or_else(wrong)? * 10_000.0;
    // Decimal fractions are seldom exact in binary.
    let is_whole = (share - share.round()).abs() < 1e-6;
    if is_whole && (1.0..=1_000_000.0).contains(&share.round()) { Ok(share.round() as u32) } else { Err(wrong()) }
}

/// A part from 0 to 1, in millionths. Parts too small for that are refused.
pub(crate) fn ratio(value: &Value) -> Read<u32> {
    let wrong = || Problem::new("a number from 0 to 1, with at most six decimals, is wanted");
    let part = value.as_float().ok_or_else(wrong)? * 1_000_000.0;
    // Decimal fractions are seldom exact in binary.
    let is_whole = (part - part.round()).abs() < 1e-6;
    if is_whole && (0.0..=1_000_000.0).contains(&part.round()) { Ok(part.round() as u32) } else { Err(wrong()) }
}

/// A value, or `"off"`.
pub(crate) fn or_off<T>(read: impl Fn(&Value) -> Read<T>) -> impl Fn(&Value) -> Read<Option<T>> {
    move |value| {
        if value.as_str() == Some("off") {
            return Ok(None);
        }
        read(value).map(Some).map_err(|problem| Problem::new(format!("{}; or \"off\"", problem.message)))
    }
}

/// A number and the unit behind it; underscores may group the digits.
fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let split = text.find(|char: char| !char.is_ascii_digit() && char != '_')?;
    let (digits, unit) = text.split_at(split);
    let number = digits.replace('_', "").parse().ok()?;
    Some((number, unit.trim_start()))
}

const DURATION_UNITS: [(&str, u64); 7] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

/// The longest duration, so that deadlines never overflow.
const DURATION_MAX: Duration = Duration::from_hours(365 * 24);

/// A time longer than none, such as `"50us"` or `"5s"`.
pub(crate) fn duration(value: &Value) -> Read<Duration> {
    const HELP: &str = "a number with ns, us, ms, s, m, h or d, such as \"5s\"";
    let text = text(value, "a duration such as \"5s\"")?;
    let wrong = || Problem::new(format!("\"{text}\" is no duration")).with_help(HELP);
    let (number, unit) = number_and_unit(text).ok_or_else(wrong)?;
    let (_, factor) = DURATION_UNITS.iter().find(|(known, _)| *known == unit).ok_or_else(wrong)?;
    let duration = number.checked_mul(*factor).map(Duration::from_nanos).filter(|duration| *duration <= DURATION_MAX);
    match duration {
        None => Err(Problem::new(format!("\"{text}\" is longer than a year"))),
        Some(Duration::ZERO) => Err(Problem::new("a duration longer than none is wanted")),
        Some(duration) => Ok(duration),
    }
}

const SIZE_UNITS: [(&str, u64); 9] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

const SIZE_HELP: &str = "a number with B, KiB, MiB, GiB, TiB, kB, MB, GB or TB, such as \"64KiB\"";

fn read_size(text: &str) -> Read<u64> {
    let wrong = || Problem::new(format!("\"{text}\" is no size")).with_help(SIZE_HELP);
    let (number, unit) = number_and_unit(text).ok_or_else(wrong)?;
    let (_, factor) = SIZE_UNITS.iter().find(|(known, _)| *known == unit).ok_or_else(wrong)?;
    number.checked_mul(*factor).ok_or_else(|| Problem::new(format!("\"{text}\" is too large")))
}

/// A number of bytes in a range, such as `"64KiB"`.
pub(crate) fn size<T: TryFrom<u64>>(range: RangeInclusive<u64>) -> impl Fn(&Value) -> Read<T> {
    move |value| {
        let text = text(value, "a size such as \"64KiB\"")?;
        let size = Some(read_size(text)?).filter(|size| range.contains(size)).and_then(|size| T::try_from(size).ok());
        size.ok_or_else(|| {
            let (least, most) = (show_size(*range.start()), show_size(*range.end()));
            Problem::new(format!("{text} is out of range: {least} to {most} is wanted"))
        })
    }
}

pub(super) fn show_size(bytes: u64) -> String {
    let unit = |(_, factor): &&(&str, u64)| bytes >= *factor && bytes.is_multiple_of(*factor);
    match SIZE_UNITS.iter().take(5).rev().find(unit) {
        Some((name, factor)) => format!("{}{name}", bytes / factor),
        None => format!("{bytes}B"),
    }
}

/// A number of bytes, or `"unlimited"`.
pub(crate) fn size_or_unlimited(value: &Value) -> Read<Option<u64>> {
    if value.as_str() == Some("unlimited") {
        return Ok(None);
    }
    size(0..=i64::MAX as u64)(value).map(Some)
}

/// Bytes a second such as `"240B/s"`, or `"off"`.
pub(crate) fn byte_rate_or_off(value: &Value) -> Read<Option<u64>> {
    let text = text(value, "a rate such as \"240B/s\", or \"off\",")?;
    if text == "off" {
        return Ok(None);
    }
    let rate = text.strip_suffix("/s").ok_or_else(|| {
        Problem::new(format!("\"{text}\" is no rate")).with_help("a size a second such as \"240B/s\", or \"off\"")
    })?;
    match read_size(rate)? {
        0 => Err(Problem::new("a rate above zero is wanted").with_help("\"off\" turns the check off")),
        rate => Ok(Some(rate)),
    }
}

/// So many in a time, such as `"100/min"`.
pub(crate) fn rate(value: &Value) -> Read<Rate> {
    let text = text(value, "a rate such as \"100/s\"")?;
    let wrong = || {
        Problem::new(format!("\"{text}\" is no rate"))
            .with_help("a number a second, minute or hour: \"100/s\", \"100/min\" or \"100/h\"")
    };
    let (count, per) = text.split_once('/').ok_or_else(wrong)?;
    let per = match per {
        "s" => Duration::from_secs(1),
        "min" => Duration::from_mins(1),
        "h" => Duration::from_hours(1),
        _ => return Err(wrong()),
    };
    let count = count.replace('_', "").parse::<u32>().map_err(|_| wrong())?;
    if count == 0 {
        return Err(Problem::new("a rate above zero is wanted"));
    }
    Ok(Rate { count, per })
}

/// The most CPUs of one machine.
pub(crate) const CPUS_MAX: u32 = 4096;

/// CPU numbers such as `"0,2-5"`, ascending in the result.
pub(crate) fn cpu_list(text: &str) -> Read<Vec<u32>> {
    let wrong = |part: &str| {
        Problem::new(format!("\"{part}\" is no CPU or range of CPUs")).with_help("a list such as \"0,2-5\"")
    };
    let mut cpus = Vec::new();
    for part in text.split(',').map(str::trim) {
        let cpu = |text: &str| text.parse::<u32>().ok().filter(|cpu| *cpu < CPUS_MAX).ok_or_else(|| wrong(part));
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (cpu(first.trim())?, cpu(last.trim())?),
            None => (cpu(part)?, cpu(part)?),
        };
        if first > last {
            return Err(wrong(part));
        }
        for cpu in first..=last {
            if cpus.contains(&cpu) {
                return Err(Problem::new(format!("CPU {cpu} is in the list twice")));
            }
            cpus.push(cpu);
        }
    }
    cpus.sort_unstable();
    Ok(cpus)
}

/// An address and a port, or a Unix socket, to listen on.
pub(crate) fn listen_address(value: &Value) -> Read<Address> {
    let text = value.as_str().unwrap_or_default();
    match text.strip_prefix("unix:") {
        Some(name) => unix_name(text, name).map(Address::Unix),
        None => socket_address(value).map(Address::Ip),
    }
}

/// An address and a port to listen on.
pub(crate) fn socket_address(value: &Value) -> Read<SocketAddr> {
    let text = text(value, "an address with a port such as \"0.0.0.0:8080\"")?;
    text.parse().map_err(|_| {
        let problem = Problem::new(format!("\"{text}\" is no IP address with a port"));
        match text.strip_prefix(':').or(text.strip_prefix("*:")).filter(|port| port.parse::<u16>().is_ok()) {
            Some(port) => {
                problem.with_help(format!("\"0.0.0.0:{port}\" is every IPv4 address, \"[::]:{port}\" every IPv6 one"))
            }
            None => problem.with_help("such as \"0.0.0.0:8080\" or \"[::1]:8080\""),
        }
    })
}

/// A range of addresses such as `"10.0.0.0/8"`, or one address.
pub(crate) fn network(value: &Value) -> Read<IpNet> {
    let text = text(value, "a network such as \"10.0.0.0/8\"")?;
    let one = || text.parse::<IpAddr>().map(IpNet::from).ok();
    let network = text.parse::<IpNet>().ok().or_else(one).ok_or_else(|| {
        Problem::new(format!("\"{text}\" is no network")).with_help("such as \"10.0.0.0/8\", \"::1\" or \"fd00::/8\"")
    })?;
    if network.addr() != network.network() {
        let problem = Problem::new(format!("\"{text}\" has bits set behind its prefix"));
        return Err(problem.with_help(format!("did you mean \"{}\"?", network.trunc())));
    }
    Ok(network)
}

/// Where an upstream answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPort {
    /// A host name or address, and a port.
    Ip {
        /// Without brackets.
        host: String,
        /// From 1.
        port: u16,
    },
    /// A Unix socket.
    Unix(UnixName),
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Ip { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(name) => write!(f, "unix:{name}"),
        }
    }
}

/// The Unix socket behind `unix:`.
fn unix_name(text: &str, name: &str) -> Read<UnixName> {
    UnixName::new(name).map_err(|why| {
        let most = ringway_runtime::net::UNIX_NAME_MAX;
        Problem::new(format!("\"{text}\" {why}"))
            .with_help(format!("such as \"unix:/run/web.sock\" or \"unix:@name\", up to {most} bytes"))
    })
}

/// `host:port`, `1.2.3.4:port`, `[v6]:port` or `unix:/path`.
pub(crate) fn host_port(value: &Value) -> Read<HostPort> {
    let text = text(value, "an address such as \"10.0.0.1:9000\"")?;
    if let Some(name) = text.strip_prefix("unix:") {
        return unix_name(text, name).map(HostPort::Unix);
    }
    let wrong = |why: &str| {
        Problem::new(format!("\"{text}\" {why}")).with_help("such as \"10.0.0.1:9000\" or \"users.internal:9000\"")
    };
    if text.contains("://") {
        return Err(wrong("is a URL; a host and a port are wanted"));
    }
    let (host, port) = text.rsplit_once(':').ok_or_else(|| wrong("has no port"))?;
    let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(|| wrong("has no port from 1 to 65535"))?;
    let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(v6) if v6.parse::<std::net::Ipv6Addr>().is_ok() => v6,
        Some(_) => return Err(wrong("holds no IPv6 address in its brackets")),
        None if host.contains(':') => return Err(wrong("is an IPv6 address without brackets")),
        None => host,
    };
    if host.contains(':') || is_host_name(host) {
        return Ok(HostPort::Ip { host: host.to_owned(), port });
    }
    Err(wrong("holds no host name or address"))
}

/// What every name fits.
pub(super) const NAME_PATTERN: &str = "^[A-Za-z0-9._-]{1,64}$";

/// A host as it stands in a URL: `host`, `host:port`, `1.2.3.4` or `[v6]:port`.
pub(crate) fn host_and_maybe_port(value: &Value) -> Read<String> {
    let text = text(value, "a host such as \"www.example.com\"")?;
    let wrong = || Problem::new(format!("\"{text}\" is no host")).with_help("such as \"www.example.com\"");
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    if port.is_some_and(|port| !port.parse::<u16>().is_ok_and(|port| port > 0)) {
        return Err(wrong());
    }
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(v6) if v6.parse::<std::net::Ipv6Addr>().is_ok() => Ok(text.to_owned()),
        None if is_host_name(host) => Ok(text.to_owned()),
        _ => Err(wrong()),
    }
}

fn is_host_name(host: &str) -> bool {
    (1..=253).contains(&host.len()) && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

/// The longest name of a listener, upstream, policy, service or route.
const NAME_MAX: usize = 64;

/// Checks the name of a listener, upstream, policy, service or route: it becomes a metric label and a word of logs.
pub(crate) fn check_name(name: &str) -> Read<()> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(fits) {
        return Ok(());
    }
    Err(Problem::new(format!("\"{name}\" is no name"))
        .with_help(format!("1 to {NAME_MAX} letters, digits, `-`, `_` or `.`")))
}

/// The name of a route.
pub(crate) fn name(value: &Value) -> Read<String> {
    let text = text(value, "a name")?;
    check_name(text).map(|()| text.to_owned())
}

/// Whether a text is a token of HTTP (RFC 9110 section 5.6.2).
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// A method. Methods are case-sensitive.
pub(crate) fn method(value: &Value) -> Read<String> {
    let text = text(value, "a method such as \"GET\"")?;
    if !is_token(text) || text.len() > 32 {
        return Err(Problem::new(format!("\"{text}\" is no method")));
    }
    if text == "CONNECT" {
        return Err(Problem::new("CONNECT is refused before routing"));
    }
    if text.bytes().any(|byte| byte.is_ascii_lowercase()) {
        let problem = Problem::new(format!("\"{text}\" never matches: methods are case-sensitive"));
        return Err(problem.with_help(format!("write \"{}\"", text.to_ascii_uppercase())));
    }
    Ok(text.to_owned())
}
