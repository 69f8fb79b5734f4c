//! Tests that need a process of their own: for its memory, or for its environment.

use std::process::Command;

const MARK: &str = "BOWERBIRD_NET_CHILD";

/// Runs the ignored test of that name in a new process of this binary, and passes its verdict on.
pub(crate) fn run_alone(test: &str, environment: &[(&str, &str)]) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .envs(environment.iter().copied())
        .env(MARK, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    println!("{said}");
    assert!(output.status.success(), "{test} failed in its process:\n{said}");
    assert!(said.contains("1 passed"), "{test} does not exist:\n{said}");
}

/// The memory that this process has in use, in bytes.
pub(crate) fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}
