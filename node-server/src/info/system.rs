//! What the kernel says about this process, for INFO. Everything comes from /proc; what cannot be read is 0.

use std::fs::read_to_string;

/// Ticks per second in /proc/self/stat. Fixed at 100 for programs on every Linux that we build for (`USER_HZ`).
const USER_HZ: f64 = 100.0;

/// Memory in physical pages, in bytes.
#[must_use]
pub fn resident_bytes() -> u64 {
    kilobytes("/proc/self/status", "VmRSS:")
}

/// The machine's memory, in bytes.
#[must_use]
pub fn total_memory() -> u64 {
    kilobytes("/proc/meminfo", "MemTotal:")
}

fn kilobytes(file: &str, name: &str) -> u64 {
    let text = read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix(name)).unwrap_or_default();
    line.split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Processor seconds of all threads: user, system.
#[must_use]
pub fn cpu_seconds() -> (f64, f64) {
    let text = read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field is the program's name in parentheses and may hold spaces.
    let after_name = text.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let field = |n: usize| after_name.split(' ').nth(n).and_then(|t| t.parse::<f64>().ok()).unwrap_or(0.0);
    (field(11) / USER_HZ, field(12) / USER_HZ)
}

/// `Linux 6.18.0 x86_64`.
#[must_use]
pub fn operating_system() -> String {
    let read = |file: &str| read_to_string(file).unwrap_or_default().trim().to_string();
    let (kind, release) = (read("/proc/sys/kernel/ostype"), read("/proc/sys/kernel/osrelease"));
    format!("{kind} {release} {}", std::env::consts::ARCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_answers() {
        assert!(resident_bytes() > 1 << 16);
        assert!(total_memory() > resident_bytes());
        let started = std::time::Instant::now();
        while cpu_seconds() == (0.0, 0.0) {
            assert!(started.elapsed().as_secs() < 10, "no processor time was counted");
        }
        assert!(operating_system().starts_with("Linux "));
    }
}
