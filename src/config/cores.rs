//! `[cores]`.

use super::Config;
use super::kind::Kind::{Duration, Either, Number, OneOf, Size};
use super::kind::{CPU_LIST, PATH};
use super::reader::Otherwise::{Is, Words};
use super::reader::{Fields, Problem, Read, Section, key, section};
use super::tree::Value;
use super::values::{CPUS_MAX, cpu_list, duration, integer, one_of, path, size};
use crate::plan::{BusyPoll, DataCores, Engine, Placement};

pub(super) const SECTION: Section = section(
    "[cores]",
    &[
        key("data", Either(&[Number("count", 1, CPUS_MAX as i64), CPU_LIST, OneOf(&["all"])]), Is("\"all\"")),
        key("control", Number("CPU number", 0, CPUS_MAX as i64 - 1), Words("not pinned")),
        key("engine", OneOf(&["ring", "glommio"]), Is("\"ring\"")),
        key("busy_poll", Either(&[Duration, OneOf(&["off", "always"])]), Is("\"off\"")),
        key("placement", OneOf(&["kernel", "cpu", "least-loaded"]), Is("\"kernel\"")),
        key("metrics_dir", PATH, Words("in memory only")),
        key("buffers", Number("number", 16, 32_768), Is("256")),
        key("buffer_size", Size(4 << 10, 1 << 20), Is("\"64KiB\"")),
        key("read_ahead", Size(4 << 10, 16 << 20), Is("\"64KiB\"")),
        key("drain_timeout", Duration, Is("\"30s\"")),
        key("health_checks", Number("number", 1, 10_000), Is("64")),
        key("stall_warning", Either(&[Duration, OneOf(&["off"])]), Is("\"100ms\"")),
    ],
);

pub(super) fn read_all(root: &Fields<'_>, config: &mut Config) {
    let Some(fields) = root.table("cores", &SECTION) else { return };
    let cores = &mut config.cores;
    fields.set("data", &mut cores.data, data);
    fields.set("control", &mut cores.control, |value| integer(0..=i64::from(CPUS_MAX) - 1)(value).map(Some));
    fields.set("engine", &mut cores.engine, one_of(&[("ring", Engine::Ring), ("glommio", Engine::Glommio)]));
    fields.set("busy_poll", &mut cores.busy_poll, busy_poll);
    fields.set(
        "placement",
        &mut cores.placement,
        one_of(&[("kernel", Placement::Kernel), ("cpu", Placement::Cpu), ("least-loaded", Placement::LeastLoaded)]),
    );
    fields.set("metrics_dir", &mut cores.metrics_dir, |value| path(value).map(|path| Some(path.into())));
    fields.set("buffers", &mut cores.buffers, buffers);
    fields.set("buffer_size", &mut cores.buffer_size, size(4 << 10..=1 << 20));
    fields.set("read_ahead", &mut cores.read_ahead, size(4 << 10..=16 << 20));
    fields.set("drain_timeout", &mut cores.drain_timeout, duration);
    fields.set("health_checks", &mut cores.health_checks, integer(1..=10_000));
    fields.set("stall_warning", &mut cores.stall_warning, stall_warning);
}

fn data(value: &Value) -> Read<DataCores> {
    match value.as_str() {
        Some("all") => Ok(DataCores::All),
        Some(list) => cpu_list(list).map(DataCores::List),
        None if value.as_integer().is_some() => integer(1..=i64::from(CPUS_MAX))(value).map(DataCores::Count),
        None => Err(Problem::new("a count, a CPU list such as \"0,2-5\" or \"all\" is wanted")),
    }
}

fn busy_poll(value: &Value) -> Read<BusyPoll> {
    match value.as_str() {
        Some("off") => Ok(BusyPoll::Off),
        Some("always") => Ok(BusyPoll::Always),
        _ => duration(value)
            .map(BusyPoll::For)
            .map_err(|problem| problem.with_help("a duration such as \"50us\", \"off\" or \"always\"")),
    }
}

fn stall_warning(value: &Value) -> Read<Option<std::time::Duration>> {
    if value.as_str() == Some("off") {
        return Ok(None);
    }
    duration(value).map(Some).map_err(|problem| problem.with_help("a duration such as \"100ms\", or \"off\""))
}

/// The kernel's rings of provided buffers hold a power of two, up to 32,768.
fn buffers(value: &Value) -> Read<u32> {
    let buffers: u32 = integer(16..=32_768)(value)?;
    if buffers.is_power_of_two() {
        return Ok(buffers);
    }
    Err(Problem::new(format!("{buffers} is no power of two"))
        .with_help(format!("the next is {}", buffers.next_power_of_two())))
}
