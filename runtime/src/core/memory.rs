//! How much memory the process has.

use std::fs::File;
use std::io::{self, Read};

/// Bytes of the process that are in RAM (`VmRSS` of proc(5)). Costs a few ten microseconds.
pub fn resident() -> io::Result<u64> {
    let mut text = [0; 4096];
    let length = File::open("/proc/self/status")?.read(&mut text)?;
    let text = String::from_utf8_lossy(text.get(..length).unwrap_or_default());
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kib.map(|kib| kib << 10).ok_or_else(|| io::Error::other("/proc/self/status has no VmRSS"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_is_touched_is_seen() {
        const SIZE: usize = 64 << 20;
        let before = resident().unwrap();
        let held = vec![1_u8; SIZE];
        let after = resident().unwrap();
        assert!(after >= before + SIZE as u64 / 2, "{before}, then {after}");
        drop(held);
    }
}
