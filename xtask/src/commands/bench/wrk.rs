//! The load: wrk, with a script that prints its figures as one line of JSON.

use crate::exec;
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Connections held open at once.
pub(super) const CONNECTIONS: u32 = 64;

/// What one run of wrk measured; times are in microseconds.
#[derive(Debug, Deserialize)]
pub(super) struct Measured {
    pub(super) requests: u64,
    duration: f64,
    errors: u64,
    pub(super) p50: f64,
    pub(super) p99: f64,
}

impl Measured {
    /// Answers in a second.
    pub(super) fn throughput(&self) -> f64 {
        self.requests as f64 / (self.duration / 1e6)
    }

    /// The median and the 99th percentile, for a person.
    pub(super) fn latency(&self) -> String {
        format!("p50 {:.2} ms, p99 {:.2} ms", self.p50 / 1e3, self.p99 / 1e3)
    }
}

const REPORT: &str = r#"
done = function(summary, latency, requests)
  local e = summary.errors
  print(string.format(
    'FIGURES {"requests":%d,"duration":%d,"errors":%d,"p50":%d,"p99":%d}',
    summary.requests, summary.duration, e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"#;

/// What is sent.
pub(super) struct Load {
    pub(super) url: String,
    pub(super) headers: Vec<String>,
    /// What wrk's script says about the requests, where they are not all the same GET.
    pub(super) script: String,
}

/// As many requests as the target answers.
pub(super) fn flat_out(folder: &Path, load: &Load, duration: Duration) -> Result<Measured> {
    run(folder, load, CONNECTIONS, duration, REPORT)
}

/// One request after the other.
pub(super) fn alone(folder: &Path, load: &Load, duration: Duration) -> Result<Measured> {
    run(folder, load, 1, duration, REPORT)
}

/// A script that shows other seals in turn.
pub(super) fn in_turn(seals: &[String]) -> String {
    let quoted: Vec<String> = seals.iter().map(|seal| format!("\"{seal}\"")).collect();
    format!(
        "local seals = {{{}}}
local requests, at = {{}}, 0
init = function()
  for number, seal in ipairs(seals) do requests[number] = wrk.format(nil, nil, {{Host = wrk.headers.Host, Cookie = 'sid=' .. seal}}) end
end
request = function()
  at = at % #requests + 1
  return requests[at]
end
",
        quoted.join(",")
    )
}

/// About `rate` requests in a second: each connection waits between two requests, for a random time so that they do not march in step.
pub(super) fn paced(folder: &Path, load: &Load, duration: Duration, rate: f64) -> Result<Measured> {
    run(
        folder,
        load,
        CONNECTIONS,
        duration,
        &format!("{REPORT}\ndelay = function() return math.random(0, {:.0}) end\n", pause(rate) * 2.0),
    )
}

/// The mean pause of one connection, in whole milliseconds as wrk wants it; answers take well under one of them.
fn pause(rate: f64) -> f64 {
    (f64::from(CONNECTIONS) * 1000.0 / rate).round().max(1.0)
}

fn run(folder: &Path, load: &Load, connections: u32, duration: Duration, script: &str) -> Result<Measured> {
    let Load { url, headers, script: requests } = load;
    let file = folder.join("load.lua");
    std::fs::write(&file, format!("{requests}{script}"))?;
    let mut command = Command::new("wrk");
    let threads = connections.min(2).to_string();
    command.args(["--threads", &threads, "--connections", &connections.to_string(), "--timeout", "10s"]);
    command.args(["--duration", &format!("{}s", duration.as_secs()), "--script"]).arg(&file);
    for header in headers {
        command.args(["--header", header]);
    }
    let printed = exec::output(command.arg(url))?;
    let measured = parse(&printed)?;
    ensure!(measured.requests > 0, "{url} answered nothing");
    ensure!(measured.errors == 0, "{} of {} requests to {url} failed", measured.errors, measured.requests);
    Ok(measured)
}

fn parse(printed: &str) -> Result<Measured> {
    let line = printed.lines().find_map(|line| line.strip_prefix("FIGURES ")).context("wrk printed no figures")?;
    serde_json::from_str(line).with_context(|| format!("wrk printed figures of an unknown form: {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_figures_among_wrks_own_words() {
        let printed = "Running 3s test @ http://127.0.0.1:1/\n  2 threads and 64 connections\nFIGURES {\"requests\":6000,\"duration\":3000000,\"errors\":0,\"p50\":1500,\"p99\":9000}\n";
        let measured = parse(printed).unwrap();
        assert!((measured.throughput() - 2000.0).abs() < 1e-9);
        assert_eq!(measured.latency(), "p50 1.50 ms, p99 9.00 ms");
        assert!(parse("unable to connect").is_err());
    }

    #[test]
    fn the_pause_follows_the_rate() {
        assert!((pause(3200.0) - 20.0).abs() < 1e-9);
        assert!((pause(1e9) - 1.0).abs() < 1e-9);
    }
}
