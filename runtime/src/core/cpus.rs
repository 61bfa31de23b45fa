//! CPU lists, pinning, and what the machine has.

use std::io;

/// The CPUs this process may run on, in order.
pub fn allowed() -> io::Result<Vec<usize>> {
    // SAFETY: an all-zero cpu_set_t is a valid empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` is writable and its true size is passed.
    let result = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: every index is below CPU_SETSIZE.
    Ok((0..libc::CPU_SETSIZE as usize).filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) }).collect())
}

/// Pins the calling thread to one CPU. The error says which CPU and why.
pub fn pin(cpu: usize) -> io::Result<()> {
    confine(&[cpu]).map_err(|error| io::Error::new(error.kind(), format!("cannot pin a core to CPU {cpu}: {error}")))
}

/// Lets the calling thread, and those and the processes that it starts, run on these CPUs alone.
pub fn confine(cpus: &[usize]) -> io::Result<()> {
    if let Some(cpu) = cpus.iter().find(|&&cpu| cpu >= libc::CPU_SETSIZE as usize) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("CPU {cpu} is past the largest the kernel counts"),
        ));
    }
    // SAFETY: an all-zero cpu_set_t is a valid empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for &cpu in cpus {
        // SAFETY: `cpu` was checked to be below CPU_SETSIZE.
        unsafe { libc::CPU_SET(cpu, &mut set) };
    }
    // SAFETY: `set` is valid and its true size is passed; 0 means the calling thread.
    let result = unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn file_limit() -> io::Result<libc::rlimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid, writable rlimit.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(limit)
}

/// How many files this process may have open.
pub fn open_files() -> io::Result<u64> {
    file_limit().map(|limit| limit.rlim_cur)
}

/// Raises that limit as far as the process may, and returns it.
pub fn raise_open_files() -> io::Result<u64> {
    let mut limit = file_limit()?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` is a valid rlimit.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(limit.rlim_cur)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_thread_runs_on_that_cpu_alone() {
        let cpu = *allowed().unwrap().last().unwrap();
        let seen = std::thread::spawn(move || {
            pin(cpu).unwrap();
            allowed().unwrap()
        });
        assert_eq!(seen.join().unwrap(), [cpu]);
    }

    #[test]
    fn pinning_to_a_cpu_that_is_not_there_names_it() {
        let error = std::thread::spawn(|| pin(1000).unwrap_err()).join().unwrap();
        assert!(error.to_string().contains("CPU 1000"), "{error}");
        assert!(pin(1 << 20).is_err());
    }
}
