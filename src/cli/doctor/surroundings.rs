//! What the gateway runs in: a service of systemd, a container, or neither, and what that takes from it.

use super::Finding;
use super::checks::Machine;
use crate::plan::{DataCores, Plan};

/// Bit of `CAP_NET_BIND_SERVICE` in a set of capabilities, capabilities(7).
const NET_BIND_SERVICE: u32 = 10;
/// The first port that everybody may bind, where the machine does not say otherwise.
const FIRST_FREE_PORT: u64 = 1024;

/// Who started the processes here, as far as that can be seen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Surroundings {
    Kubernetes,
    Docker,
    Podman,
    Systemd,
    /// Another first process, by its name.
    Other(String),
}

impl Surroundings {
    pub(super) fn of(machine: &Machine) -> Surroundings {
        if machine.has("var/run/secrets/kubernetes.io") {
            Surroundings::Kubernetes
        } else if machine.has(".dockerenv") {
            Surroundings::Docker
        } else if machine.has("run/.containerenv") {
            Surroundings::Podman
        } else {
            match machine.read("proc/1/comm").unwrap_or_default() {
                name if name == "systemd" => Surroundings::Systemd,
                name => Surroundings::Other(name),
            }
        }
    }

    /// How the system calls of io_uring are allowed here.
    pub(super) fn allow_io_uring(&self) -> &'static str {
        match self {
            Surroundings::Kubernetes => {
                "put Ringway's seccomp.json under the kubelet's seccomp directory on each node and name it in the pod: \
                 securityContext.seccompProfile = {type: Localhost, localhostProfile: seccomp.json}"
            }
            Surroundings::Docker => {
                "docker run --security-opt seccomp=seccomp.json, with the file that comes with Ringway"
            }
            Surroundings::Podman => {
                "podman run --security-opt seccomp=seccomp.json, with the file that comes with Ringway"
            }
            Surroundings::Systemd => "SystemCallFilter=@aio in the systemd unit, which has them",
            Surroundings::Other(_) => {
                "allow io_uring_setup, io_uring_enter and io_uring_register in the filter that the process is started with"
            }
        }
    }
}

pub(super) fn service_manager(machine: &Machine) -> Option<Finding> {
    const CHECK: &str = "service_manager";
    let container = |name: &str| Some(Finding::ok(CHECK, format!("a container of {name}: it restarts what ends")));
    match Surroundings::of(machine) {
        Surroundings::Kubernetes => container("Kubernetes"),
        Surroundings::Docker => container("Docker"),
        Surroundings::Podman => container("Podman"),
        Surroundings::Systemd => Some(Finding::ok(CHECK, "systemd")),
        Surroundings::Other(name) if name.is_empty() => None,
        Surroundings::Other(name) => Some(Finding::warn(
            CHECK,
            format!("the first process is {name}, not systemd"),
            "nobody restarts a gateway that died, nor one whose cores hang",
            "have its supervisor start it again when it exits with 3 or by a signal, with a delay",
        )),
    }
}

/// Whether ports such as 80 and 443 can be bound, by the one who asks.
pub(super) fn low_ports(machine: &Machine) -> Option<Finding> {
    const CHECK: &str = "low_ports";
    let first = machine.number("proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap_or(FIRST_FREE_PORT);
    let status = machine.read("proc/self/status")?;
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    let may_bind = u64::from_str_radix(effective.trim(), 16).ok()? >> NET_BIND_SERVICE & 1 == 1;
    Some(if first <= 80 {
        Finding::ok(CHECK, format!("everybody may bind ports from {first}"))
    } else if may_bind {
        Finding::ok(CHECK, "this process may bind them (CAP_NET_BIND_SERVICE)")
    } else {
        Finding::warn(
            CHECK,
            format!("this user may bind ports from {first} only"),
            "a gateway that listens on 80 or 443 does not start without CAP_NET_BIND_SERVICE",
            "AmbientCapabilities=CAP_NET_BIND_SERVICE in the systemd unit, docker run --cap-add NET_BIND_SERVICE, \
             or: setcap cap_net_bind_service=+ep on the binary",
        )
    })
}

/// Whether the control group gives less CPU time than the data cores are pinned to.
pub(super) fn cpu_quota(machine: &Machine, plan: Option<&Plan>) -> Option<Finding> {
    const CHECK: &str = "cpu_quota";
    // With cgroup v1 alone, which systemd has given up, nothing is known.
    if !machine.has("sys/fs/cgroup/cgroup.controllers") {
        return None;
    }
    let allowed = machine.read("proc/self/status")?;
    let allowed = count_cpus(allowed.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?.trim())?;
    let cores = match plan.map(|plan| &plan.cores.data) {
        Some(DataCores::Count(count)) => u64::from(*count),
        Some(DataCores::List(cpus)) => cpus.len() as u64,
        Some(DataCores::All) | None => allowed,
    };
    let Some(quota) = quota(machine) else {
        return Some(Finding::ok(CHECK, "none"));
    };
    let what = format!("{:.1} CPUs for {cores} data core{}", quota, if cores == 1 { "" } else { "s" });
    Some(if quota < cores as f64 {
        Finding::warn(
            CHECK,
            what,
            "once it is used up every core stands still for the rest of the period, up to 100 ms, whatever waits",
            "lift the quota and give whole CPUs (AllowedCPUs= instead of CPUQuota= in the systemd unit, --cpuset-cpus \
             instead of --cpus, the static CPU manager of Kubernetes), or lower data under [cores]",
        )
    } else {
        Finding::ok(CHECK, what)
    })
}

/// The least quota of the process's control group and those above it, in CPUs.
fn quota(machine: &Machine) -> Option<f64> {
    let groups = machine.read("proc/self/cgroup")?;
    let mut path = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let mut least: Option<f64> = None;
    loop {
        if let Some(quota) = machine.read(&format!("sys/fs/cgroup/{path}/cpu.max")).and_then(|text| cpus_of(&text)) {
            least = Some(least.map_or(quota, |least| least.min(quota)));
        }
        if path.is_empty() {
            return least;
        }
        path = path.rsplit_once('/').map_or("", |(above, _)| above);
    }
}

/// A quota as the kernel's cgroup-v2 documentation describes `cpu.max`: microseconds in a period of so many.
fn cpus_of(text: &str) -> Option<f64> {
    let (quota, period) = text.split_once(' ')?;
    let (quota, period): (f64, f64) = (quota.parse().ok()?, period.parse().ok()?);
    (period > 0.0).then(|| quota / period)
}

fn count_cpus(list: &str) -> Option<u64> {
    list.split(',').try_fold(0, |sum, part| {
        let (first, last): (u64, u64) = match part.split_once('-') {
            Some((first, last)) => (first.parse().ok()?, last.parse().ok()?),
            None => (part.parse().ok()?, part.parse().ok()?),
        };
        Some(sum + last.checked_sub(first)? + 1)
    })
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::super::checks::tests::{WORKS, machine};
    use super::*;

    #[test]
    fn a_container_is_told_from_a_service_and_both_from_neither() {
        let cases = [
            (&[][..], Surroundings::Systemd),
            (&[("proc/1/comm", "runit\n")], Surroundings::Other("runit".to_owned())),
            (&[(".dockerenv", "")], Surroundings::Docker),
            (&[("run/.containerenv", "")], Surroundings::Podman),
            (
                &[("var/run/secrets/kubernetes.io/serviceaccount/token", "t"), (".dockerenv", "")],
                Surroundings::Kubernetes,
            ),
        ];
        let mut fixes = Vec::new();
        for (files, expected) in cases {
            let (_dir, machine) = machine(files, WORKS);
            let found = Surroundings::of(&machine);
            assert_eq!(found, expected);
            fixes.push(found.allow_io_uring());
        }
        fixes.sort_unstable();
        fixes.dedup();
        assert_eq!(fixes.len(), 5, "each has a fix of its own");
    }

    #[test]
    fn the_least_quota_on_the_way_up_counts() {
        let group = ("proc/self/cgroup", "0::/kube/pod/box\n");
        let quota_of = |files: &[(&str, &str)]| {
            let mut all = vec![group];
            all.extend(files);
            let (_dir, machine) = machine(&all, WORKS);
            quota(&machine)
        };
        assert_eq!(quota_of(&[]), None);
        assert_eq!(quota_of(&[("sys/fs/cgroup/kube/pod/box/cpu.max", "max 100000\n")]), None);
        let pod = ("sys/fs/cgroup/kube/pod/cpu.max", "150000 100000\n");
        let whole = ("sys/fs/cgroup/kube/pod/box/cpu.max", "400000 100000\n");
        assert_eq!(quota_of(&[whole]), Some(4.0));
        assert_eq!(quota_of(&[pod, whole]), Some(1.5));
        for nonsense in ["", "1", "x 100000", "100000 0"] {
            assert_eq!(quota_of(&[("sys/fs/cgroup/cpu.max", nonsense)]), None, "{nonsense:?}");
        }
    }

    #[test]
    fn a_quota_is_held_against_the_cores_of_the_config() {
        let files = [("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/cpu.max", "200000 100000\n")];
        let (_dir, machine) = machine(&files, WORKS);
        let level = |plan: Option<&Plan>| cpu_quota(&machine, plan).expect("a finding").level;
        assert_eq!(level(None), Level::Warn, "eight CPUs are allowed");
        for (data, expected) in [("2", Level::Ok), ("3", Level::Warn), ("\"0,5\"", Level::Ok), ("\"0-4\"", Level::Warn)]
        {
            let text = format!(
                "[cores]\ndata = {data}\n[listener.a]\naddress = \"127.0.0.1:1\"\n[service.s]\ntype = \"respond\"\n\
                 [[route]]\nname = \"all\"\npath = \"/{{rest...}}\"\nservice = \"s\"\n"
            );
            let (plan, _) = crate::config::compile("test", &text, 1, &mut |_, _| Ok(Vec::new())).expect("sound");
            assert_eq!(level(Some(&plan)), expected, "{data}");
        }
    }

    #[test]
    fn cpu_lists_are_counted() {
        for (list, count) in [("0", Some(1)), ("0-7", Some(8)), ("0,2-3,9", Some(4)), ("", None), ("3-1", None)] {
            assert_eq!(count_cpus(list), count, "{list:?}");
        }
    }
}
