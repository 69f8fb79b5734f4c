//! What the kernel says of a process.

use anyhow::{Context, Result};
use std::time::Duration;

/// Processor time that a process has used so far, in user and in kernel mode.
pub(super) fn cpu(id: u32) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).context("the process is gone")?;
    let ticks = cpu_ticks(&stat).context("/proc/PID/stat has an unknown form")?;
    Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

/// Resident memory of a process, in MB of 1,000,000 bytes.
pub(super) fn resident(id: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).context("the process is gone")?;
    let kibibytes = resident_kibibytes(&status).context("/proc/PID/status has an unknown form")?;
    Ok(kibibytes as f64 * 1024.0 / 1e6)
}

/// The 14th and 15th field; the second may hold spaces, but ends with the last parenthesis.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

fn resident_kibibytes(status: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_lines() {
        let stat = "42 (a (b) c) S 1 42 42 0 -1 4194560 1200 0 0 0 37 5 0 0 20 0 3 0 100 0 0";
        assert_eq!(cpu_ticks(stat), Some(42));
        assert_eq!(resident_kibibytes("Name:\tx\nVmRSS:\t   16384 kB\n"), Some(16384));
        assert!(resident(std::process::id()).unwrap() > 0.5);
    }
}
