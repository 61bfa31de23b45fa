//! The checks. Each reads a file or two under `/proc` or `/sys` and says one thing.

use std::io;
use std::path::PathBuf;

use ringway_runtime::engine::{self, Probe};

use super::Finding;
use super::surroundings::{self, Surroundings};
use crate::plan::Plan;

/// The oldest kernel with all that the ring engine cannot do without (`DEFER_TASKRUN`).
const KERNEL_OLDEST: (u32, u32) = (6, 1);
/// Fewer open files than this and the engine's own do not fit.
const FILES_LEAST: u64 = 1024;
/// Two for each connection of a busy core.
const FILES_WANTED: u64 = 131_072;
const MEMLOCK_WANTED: u64 = 8 << 20;
const BACKLOG_WANTED: u64 = 4096;
const PORTS_WANTED: u64 = 20_000;

const FIX_FILES: &str =
    "LimitNOFILE=1048576 in the systemd unit, docker run --ulimit nofile=1048576, or: ulimit -n 1048576";

const FIX_MEMLOCK: &str =
    "LimitMEMLOCK=infinity in the systemd unit, docker run --ulimit memlock=-1, or: ulimit -l unlimited";

/// The machine, or in tests a directory that looks like one.
pub(super) struct Machine {
    root: PathBuf,
    probe: fn() -> io::Result<Probe>,
}

impl Machine {
    pub(super) fn this() -> Machine {
        Machine { root: PathBuf::from("/"), probe: engine::probe }
    }

    /// What it is good for; with a plan, good for that.
    pub(super) fn findings(&self, plan: Option<&Plan>) -> Vec<Finding> {
        // Those that have no answer on every machine: what they read may not be there.
        let optional: [fn(&Machine) -> Option<Finding>; 13] = [
            surroundings::service_manager,
            surroundings::low_ports,
            Machine::open_files,
            Machine::locked_memory,
            Machine::metrics_memory,
            Machine::isolated_cpus,
            Machine::cpu_governor,
            Machine::clock_source,
            Machine::huge_pages,
            Machine::backlog,
            Machine::ports,
            Machine::time_wait,
            Machine::kernel_tls,
        ];
        let certain = [self.kernel(), self.io_uring(), self.tickless_cpus()];
        let optional = optional.iter().filter_map(|check| check(self));
        certain.into_iter().chain(surroundings::cpu_quota(self, plan)).chain(optional).collect()
    }

    fn kernel(&self) -> Finding {
        const CHECK: &str = "kernel";
        let release = self.read("proc/sys/kernel/osrelease").unwrap_or_default();
        let Some(version) = kernel_version(&release) else {
            return Finding::warn(
                CHECK,
                format!("cannot tell the version from {release:?}"),
                "the ring engine needs Linux 6.1 or later",
                "make /proc readable, or look with: uname -r",
            );
        };
        if version < KERNEL_OLDEST {
            return Finding::fail(
                CHECK,
                format!("Linux {release} is too old for the ring engine"),
                "it needs completions that wait for their thread (DEFER_TASKRUN), which came with 6.1",
                "boot Linux 6.1 or later, or set engine = \"glommio\" under [cores] (Linux 5.8)",
            );
        }
        Finding::ok(CHECK, format!("Linux {release}"))
    }

    /// Tries for real, and only then asks the settings for a likely cause.
    fn io_uring(&self) -> Finding {
        const CHECK: &str = "io_uring";
        const WHY: &str = "every socket of the gateway is driven through it";
        let error = match (self.probe)() {
            Ok(probe) => return Finding::ok(CHECK, ring_features(&probe)),
            Err(error) => error,
        };
        let disabled = self.number("proc/sys/kernel/io_uring_disabled").unwrap_or(0) > 0;
        let status = self.read("proc/self/status").unwrap_or_default();
        // A filter refuses with EPERM, as Docker's, or with ENOSYS.
        let refused = matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported);
        let filtered = refused && status.lines().any(|line| line.split_whitespace().eq(["Seccomp:", "2"]));
        let fix = if disabled {
            "sysctl -w kernel.io_uring_disabled=0, or 1 with the gateway's group in kernel.io_uring_group"
        } else if filtered {
            Surroundings::of(self).allow_io_uring()
        } else if error.kind() == io::ErrorKind::OutOfMemory {
            FIX_MEMLOCK
        } else {
            "boot a kernel of 6.1 or later that is built with CONFIG_IO_URING"
        };
        let cause = if disabled {
            " (kernel.io_uring_disabled is set)"
        } else if filtered {
            " (a seccomp filter is on: Seccomp is 2 in /proc/self/status)"
        } else {
            ""
        };
        Finding::fail(CHECK, format!("setting up a ring failed: {error}{cause}"), WHY, fix)
    }

    fn open_files(&self) -> Option<Finding> {
        const CHECK: &str = "open_files";
        // The gateway raises its soft limit itself.
        let limit = self.hard_limit("Max open files")?;
        let what = format!("at most {}", amount(limit));
        Some(if limit < FILES_LEAST {
            Finding::fail(CHECK, what, "the gateway's own files and listeners do not fit", FIX_FILES)
        } else if limit < FILES_WANTED {
            let why = "a client and its upstream take one each, and a quarter is kept from clients (limits.reserved_files): \
                       beyond that, idle clients are closed for new ones and new ones refused";
            Finding::warn(CHECK, what, why, FIX_FILES)
        } else {
            Finding::ok(CHECK, what)
        })
    }

    fn locked_memory(&self) -> Option<Finding> {
        let limit = self.limit("Max locked memory")?;
        Some(if limit < MEMLOCK_WANTED {
            Finding::warn(
                "locked_memory",
                format!("at most {limit} bytes"),
                "registered buffers are locked memory; without room for them each operation pins its pages anew",
                FIX_MEMLOCK,
            )
        } else {
            Finding::ok("locked_memory", format!("at most {} bytes", amount(limit)))
        })
    }

    fn metrics_memory(&self) -> Option<Finding> {
        let mounts = self.read("proc/self/mounts")?;
        let is_tmpfs = mounts.lines().any(|line| {
            let mut fields = line.split(' ').skip(1);
            fields.next() == Some("/dev/shm") && fields.next() == Some("tmpfs")
        });
        Some(if is_tmpfs {
            Finding::ok("metrics_memory", "/dev/shm is in memory")
        } else {
            Finding::warn(
                "metrics_memory",
                "/dev/shm is no tmpfs",
                "metrics files on a disk make the kernel write them back, over and over",
                "mount -t tmpfs tmpfs /dev/shm, or point metrics_dir under [cores] to another tmpfs",
            )
        })
    }

    fn isolated_cpus(&self) -> Option<Finding> {
        let isolated = self.read("sys/devices/system/cpu/isolated")?;
        Some(if isolated.is_empty() {
            Finding::warn(
                "isolated_cpus",
                "none",
                "other processes are scheduled onto the data cores, which shows in p99.9",
                "isolcpus=LIST on the kernel's command line, with the CPUs of [cores] data",
            )
        } else {
            Finding::ok("isolated_cpus", isolated)
        })
    }

    fn tickless_cpus(&self) -> Finding {
        // Without support in the kernel the file is not there.
        let tickless = self.read("sys/devices/system/cpu/nohz_full").unwrap_or_default();
        if tickless.is_empty() || tickless == "(null)" {
            Finding::warn(
                "tickless_cpus",
                "none",
                "the timer interrupts each busy core 100 to 1000 times a second",
                "nohz_full=LIST rcu_nocbs=LIST on the kernel's command line, with the CPUs of [cores] data",
            )
        } else {
            Finding::ok("tickless_cpus", tickless)
        }
    }

    fn cpu_governor(&self) -> Option<Finding> {
        // A virtual machine has none.
        let governor = self.read("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")?;
        Some(if governor == "performance" {
            Finding::ok("cpu_governor", governor)
        } else {
            Finding::warn(
                "cpu_governor",
                governor,
                "a core that has slowed down answers the first requests of a burst late",
                "cpupower frequency-set -g performance",
            )
        })
    }

    fn clock_source(&self) -> Option<Finding> {
        let source = self.read("sys/devices/system/clocksource/clocksource0/current_clocksource")?;
        let is_fast = ["tsc", "kvm-clock", "arch_sys_counter"].contains(&source.as_str());
        Some(if is_fast || source.starts_with("hyperv") {
            Finding::ok("clock_source", source)
        } else {
            Finding::warn(
                "clock_source",
                source,
                "reading the time is a system call of a microsecond instead of 20 ns, several times a request",
                "clocksource=tsc tsc=reliable on the kernel's command line, where the hardware has a stable one",
            )
        })
    }

    fn huge_pages(&self) -> Option<Finding> {
        let setting = self.read("sys/kernel/mm/transparent_hugepage/enabled")?;
        let chosen = setting.split_once('[')?.1.split_once(']')?.0;
        Some(if chosen == "never" {
            Finding::warn(
                "huge_pages",
                chosen,
                "receive buffers ask for large pages and get small ones: more of the CPU's time goes into address translation",
                "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",
            )
        } else if chosen == "always" {
            Finding::warn(
                "huge_pages",
                chosen,
                "the kernel joins pages behind the gateway's back, which stalls it and inflates its memory",
                "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",
            )
        } else {
            Finding::ok("huge_pages", chosen)
        })
    }

    fn backlog(&self) -> Option<Finding> {
        let backlog = self.number("proc/sys/net/core/somaxconn")?;
        Some(if backlog < BACKLOG_WANTED {
            Finding::warn(
                "accept_queue",
                format!("{backlog} connections a listener"),
                "a burst of new clients overflows it and they wait a second for their next try",
                "sysctl -w net.core.somaxconn=4096",
            )
        } else {
            Finding::ok("accept_queue", format!("{backlog} connections a listener"))
        })
    }

    fn ports(&self) -> Option<Finding> {
        let range = self.read("proc/sys/net/ipv4/ip_local_port_range")?;
        let (first, last) = range.split_once(char::is_whitespace)?;
        let ports = (last.trim().parse::<u64>().ok()? + 1).saturating_sub(first.parse().ok()?);
        let what = format!("{ports} for connections to one upstream address");
        Some(if ports < PORTS_WANTED {
            Finding::warn(
                "local_ports",
                what,
                "connections that are not reused run out of ports, and connecting fails",
                "sysctl -w net.ipv4.ip_local_port_range=\"10240 65535\"",
            )
        } else {
            Finding::ok("local_ports", what)
        })
    }

    fn time_wait(&self) -> Option<Finding> {
        Some(match self.number("proc/sys/net/ipv4/tcp_tw_reuse")? {
            0 => Finding::warn(
                "time_wait",
                "ports of closed connections are held for a minute",
                "many short connections to one upstream run out of ports",
                "sysctl -w net.ipv4.tcp_tw_reuse=1",
            ),
            1 => Finding::ok("time_wait", "ports of closed connections are reused"),
            _ => Finding::ok("time_wait", "ports of closed connections are reused on loopback"),
        })
    }

    fn kernel_tls(&self) -> Option<Finding> {
        let protocols = self.read("proc/sys/net/ipv4/tcp_available_ulp")?;
        Some(if protocols.split_whitespace().any(|name| name == "tls") {
            Finding::ok("kernel_tls", "available: it seals what is sent where a `tls` has `ktls = true`")
        } else {
            Finding::warn(
                "kernel_tls",
                "not loaded",
                "`ktls = true` of a `tls` does nothing: the gateway goes on sealing what is sent, and large bodies cost more",
                "modprobe tls; where there is no such module, the kernel was built without CONFIG_TLS",
            )
        })
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }

    pub(super) fn read(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.root.join(path)).ok().map(|text| text.trim().to_owned())
    }

    pub(super) fn number(&self, path: &str) -> Option<u64> {
        self.read(path)?.parse().ok()
    }

    /// The soft limit of a line in `/proc/self/limits`, as proc(5) describes it.
    fn limit(&self, name: &str) -> Option<u64> {
        self.limit_at(name, 0)
    }

    /// The hard one.
    fn hard_limit(&self, name: &str) -> Option<u64> {
        self.limit_at(name, 1)
    }

    fn limit_at(&self, name: &str, column: usize) -> Option<u64> {
        let limits = self.read("proc/self/limits")?;
        let limit = limits.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().nth(column)?;
        if limit == "unlimited" { Some(u64::MAX) } else { limit.parse().ok() }
    }
}

fn amount(limit: u64) -> String {
    if limit == u64::MAX { "any number of".to_owned() } else { limit.to_string() }
}

fn kernel_version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|byte: char| !byte.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn ring_features(probe: &Probe) -> String {
    let mut missing = Vec::new();
    if !probe.receive_cap {
        missing.push("capped receives (6.17): a client that sends faster than it is read costs a cancelled receive");
    }
    if !probe.bundles {
        missing.push("bundles (6.10): large bodies take more operations");
    }
    if !probe.message_ring {
        missing.push("messages between rings (6.3): cores wake each other by an eventfd");
    }
    if missing.is_empty() {
        "a ring can be set up".to_owned()
    } else {
        format!("usable, without {}", missing.join("; "))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::fs;

    use super::super::Level;
    use super::*;

    /// A machine in which all is well, but for these files.
    pub(in super::super) fn machine(files: &[(&str, &str)], probe: TryRing) -> (tempfile::TempDir, Machine) {
        let good = [
            ("proc/sys/kernel/osrelease", "6.18.1-amd64\n"),
            ("proc/sys/kernel/io_uring_disabled", "0\n"),
            ("proc/1/comm", "systemd\n"),
            ("sys/fs/cgroup/cgroup.controllers", "cpu memory\n"),
            ("proc/self/cgroup", "0::/system.slice/ringway.service\n"),
            ("proc/self/status", "Name:\tringway\nCapEff:\t0000000000000400\nSeccomp:\t0\nCpus_allowed_list:\t0-7\n"),
            (
                "proc/self/limits",
                "Limit                     Soft Limit           Hard Limit           Units     \n\
                 Max open files            1048576              1048576              files     \n\
                 Max locked memory         unlimited            unlimited            bytes     \n",
            ),
            ("proc/self/mounts", "tmpfs /dev/shm tmpfs rw,nosuid 0 0\n"),
            ("sys/devices/system/cpu/isolated", "1-7\n"),
            ("sys/devices/system/cpu/nohz_full", "1-7\n"),
            ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance\n"),
            ("sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc\n"),
            ("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n"),
            ("proc/sys/net/core/somaxconn", "4096\n"),
            ("proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n"),
            ("proc/sys/net/ipv4/tcp_tw_reuse", "2\n"),
            ("proc/sys/net/ipv4/tcp_available_ulp", "mptcp tls\n"),
        ];
        let dir = tempfile::tempdir().expect("a directory");
        for (path, text) in good.iter().chain(files) {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            fs::write(path, text).expect("a file");
        }
        let machine = Machine { root: dir.path().to_owned(), probe };
        (dir, machine)
    }

    pub(in super::super) type TryRing = fn() -> io::Result<Probe>;
    pub(in super::super) const WORKS: TryRing = || Ok(Probe { receive_cap: true, bundles: true, message_ring: true });
    const REFUSED: TryRing = || Err(io::ErrorKind::PermissionDenied.into());

    /// What is amiss with these files in place of the good ones.
    fn amiss(files: &[(&str, &str)], probe: TryRing) -> Vec<Finding> {
        let (_dir, machine) = machine(files, probe);
        machine.findings(None).into_iter().filter(|finding| finding.level != Level::Ok).collect()
    }

    #[test]
    fn a_good_machine_has_seventeen_checks_and_nothing_amiss() {
        let (_dir, machine) = machine(&[], WORKS);
        let findings = machine.findings(None);
        assert_eq!(findings.len(), 17);
        assert!(findings.iter().all(|finding| finding.level == Level::Ok), "{findings:#?}");
    }

    #[test]
    fn each_fault_is_found_alone_and_has_a_reason_and_a_fix() {
        use Level::{Fail, Warn};
        let limits = |files: &str, memory: &str| {
            format!("Max open files   9 {files} files\nMax locked memory {memory} 9 bytes\n")
        };
        let (few, none, small) = (limits("20000", "unlimited"), limits("256", "unlimited"), limits("1048576", "65536"));
        let cases = [
            ("proc/sys/kernel/osrelease", "5.15.0-91-generic", "kernel", Fail),
            ("proc/sys/kernel/osrelease", "6.0.19", "kernel", Fail),
            ("proc/sys/kernel/osrelease", "nonsense", "kernel", Warn),
            ("proc/self/limits", few.as_str(), "open_files", Warn),
            ("proc/self/limits", none.as_str(), "open_files", Fail),
            ("proc/self/limits", small.as_str(), "locked_memory", Warn),
            ("proc/self/mounts", "/dev/sda1 / ext4 rw 0 0", "metrics_memory", Warn),
            ("sys/devices/system/cpu/isolated", "\n", "isolated_cpus", Warn),
            ("sys/devices/system/cpu/nohz_full", "(null)\n", "tickless_cpus", Warn),
            ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave", "cpu_governor", Warn),
            ("sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet", "clock_source", Warn),
            ("sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never", "huge_pages", Warn),
            ("sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]", "huge_pages", Warn),
            ("proc/1/comm", "runit", "service_manager", Warn),
            ("proc/self/status", "CapEff:\t0\nCpus_allowed_list:\t0", "low_ports", Warn),
            ("sys/fs/cgroup/system.slice/cpu.max", "750000 100000", "cpu_quota", Warn),
            ("proc/sys/net/core/somaxconn", "128", "accept_queue", Warn),
            ("proc/sys/net/ipv4/ip_local_port_range", "60000 60999", "local_ports", Warn),
            ("proc/sys/net/ipv4/tcp_tw_reuse", "0", "time_wait", Warn),
            ("proc/sys/net/ipv4/tcp_available_ulp", "mptcp", "kernel_tls", Warn),
        ];
        for (path, text, check, level) in cases {
            let found = amiss(&[(path, text)], WORKS);
            assert_eq!(
                found.iter().map(|f| (f.check, f.level)).collect::<Vec<_>>(),
                [(check, level)],
                "{path}: {text}"
            );
            assert!(found.iter().all(|finding| !finding.why.is_empty() && !finding.fix.is_empty()), "{check}");
        }
    }

    #[test]
    fn a_refused_ring_is_traced_to_its_cause() {
        let fix =
            |files: &[(&str, &str)], probe| amiss(files, probe).first().map(|finding| finding.fix).unwrap_or_default();
        assert!(fix(&[("proc/sys/kernel/io_uring_disabled", "2")], REFUSED).contains("io_uring_disabled"));
        let filtered = ("proc/self/status", "Seccomp:\t2");
        assert!(fix(&[filtered], REFUSED).contains("SystemCallFilter=@aio"));
        assert!(fix(&[filtered, (".dockerenv", "")], || Err(io::ErrorKind::Unsupported.into())).contains("docker run"));
        assert!(fix(&[filtered], || Err(io::ErrorKind::OutOfMemory.into())).contains("LimitMEMLOCK"));
        assert!(fix(&[], || Err(io::ErrorKind::OutOfMemory.into())).contains("LimitMEMLOCK"));
        assert!(fix(&[], || Err(io::ErrorKind::InvalidInput.into())).contains("CONFIG_IO_URING"));
    }

    #[test]
    fn a_ring_that_works_is_enough_whatever_the_setting_says() {
        assert_eq!(amiss(&[("proc/sys/kernel/io_uring_disabled", "1")], WORKS), []);
    }

    #[test]
    fn what_an_older_kernel_lacks_is_told() {
        let (_dir, machine) = machine(&[], || Ok(Probe { receive_cap: false, bundles: true, message_ring: true }));
        let findings = machine.findings(None);
        let ring = findings.iter().find(|finding| finding.check == "io_uring").expect("the check");
        assert_eq!(ring.level, Level::Ok);
        assert!(ring.what.starts_with("usable, without capped receives (6.17)"), "{}", ring.what);
    }

    #[test]
    fn on_an_empty_machine_nothing_panics() {
        let dir = tempfile::tempdir().expect("a directory");
        let machine = Machine { root: dir.path().to_owned(), probe: REFUSED };
        assert!(machine.findings(None).iter().all(|finding| finding.level != Level::Ok));
    }
}
