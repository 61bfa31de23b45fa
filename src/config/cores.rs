//! `[cores]`.

use super::reader::Otherwise::{Is, Words};
use super::reader::{Fields, Problem, Read, Section, key};
use super::values::{CPUS_MAX, cpu_list, duration, integer, one_of, size, string};
use crate::plan::{BusyPoll, Cores, DataCores, Engine, Placement};
use toml_edit::Value;

pub(super) const SECTION: Section = Section {
    keys: &[
        key("data", "count, CPU list or \"all\"", Is("\"all\"")),
        key("control", "CPU number", Words("not pinned")),
        key("engine", "\"ring\" or \"glommio\"", Is("\"ring\"")),
        key("busy_poll", "duration, \"off\" or \"always\"", Is("\"off\"")),
        key("placement", "\"kernel\" or \"cpu\"", Is("\"kernel\"")),
        key("metrics_dir", "path", Words("in memory only")),
        key("buffers", "number", Is("256")),
        key("buffer_size", "size", Is("\"64KiB\"")),
        key("read_ahead", "size", Is("\"64KiB\"")),
        key("drain_timeout", "duration", Is("\"30s\"")),
    ],
};

pub(super) fn read(fields: &Fields<'_>) -> Cores {
    let mut cores = Cores::default();
    fields.set("data", &mut cores.data, data);
    fields.set("control", &mut cores.control, |value| integer(0..=i64::from(CPUS_MAX) - 1)(value).map(Some));
    fields.set("engine", &mut cores.engine, one_of(&[("ring", Engine::Ring), ("glommio", Engine::Glommio)]));
    fields.set("busy_poll", &mut cores.busy_poll, busy_poll);
    fields.set("placement", &mut cores.placement, one_of(&[("kernel", Placement::Kernel), ("cpu", Placement::Cpu)]));
    fields.set("metrics_dir", &mut cores.metrics_dir, |value| match string(value)? {
        path if path.is_empty() => Err(Problem::new("a path is wanted, not an empty string")),
        path => Ok(Some(path.into())),
    });
    fields.set("buffers", &mut cores.buffers, buffers);
    fields.set("buffer_size", &mut cores.buffer_size, size(4 << 10..=1 << 20));
    fields.set("read_ahead", &mut cores.read_ahead, size(4 << 10..=16 << 20));
    fields.set("drain_timeout", &mut cores.drain_timeout, duration);
    cores
}

fn data(value: &Value) -> Read<DataCores> {
    match value.as_str() {
        Some("all") => Ok(DataCores::All),
        Some(list) => cpu_list(list).map(DataCores::List),
        None if value.is_integer() => integer(1..=i64::from(CPUS_MAX))(value).map(DataCores::Count),
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

/// The kernel's rings of provided buffers hold a power of two, up to 32,768.
fn buffers(value: &Value) -> Read<u32> {
    let buffers: u32 = integer(16..=32_768)(value)?;
    if buffers.is_power_of_two() {
        return Ok(buffers);
    }
    Err(Problem::new(format!("{buffers} is no power of two"))
        .with_help(format!("the next is {}", buffers.next_power_of_two())))
}
