//! A child process: its output is kept, and it ends with its owner.

use std::io::Read;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};

/// What a process wrote, growing while it runs; shared by clones.
#[derive(Clone, Debug, Default)]
pub struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    /// Everything so far.
    pub fn bytes(&self) -> Vec<u8> {
        self.0.lock().clone()
    }

    /// Everything so far, as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }

    pub(crate) fn fill_from(&self, mut source: impl Read + Send + 'static) {
        let kept = self.0.clone();
        // A thread that ends with the pipe; a process must never wait for somebody to read what it writes.
        thread::spawn(move || {
            let mut piece = [0; 8192];
            while let Ok(count @ 1..) = source.read(&mut piece) {
                kept.lock().extend_from_slice(&piece[..count]);
            }
        });
    }
}

/// A running child process; killed when it is dropped.
#[derive(Debug)]
pub(crate) struct ChildProcess {
    child: Child,
    pub(crate) stdout: Captured,
    pub(crate) stderr: Captured,
    /// Held open: a process that was told to end with its standard input lives as long as this.
    _stdin: Option<ChildStdin>,
}

impl ChildProcess {
    pub(crate) fn spawn(command: &mut Command, stdout: Captured, stderr: Captured) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        stdout.fill_from(child.stdout.take().expect("piped above"));
        stderr.fill_from(child.stderr.take().expect("piped above"));
        let stdin = child.stdin.take();
        Self { child, stdout, stderr, _stdin: stdin }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The exit status, once it has ended.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child of this process")
    }

    /// SIGKILL, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Sends a signal to this very process.
    pub(crate) fn signal(&mut self, signal: Signal) {
        // While it has not been waited for, its id cannot belong to another process.
        if self.ended().is_none() {
            let pid = Pid::from_child(&self.child);
            kill_process(pid, signal).expect("a signal to a child of this process");
        }
    }

    /// Waits for the end, at most so long.
    pub(crate) async fn wait(&mut self, at_most: Duration) -> Option<ExitStatus> {
        const STEP: Duration = Duration::from_millis(5);
        for _ in 0..=at_most.as_millis() / STEP.as_millis() {
            if let Some(status) = self.ended() {
                return Some(status);
            }
            thread_sleep(STEP).await;
        }
        None
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Sleeps in real time, also when the test's own time is paused.
pub(crate) async fn thread_sleep(time: Duration) {
    crate::threads::fixtures().spawn(tokio::time::sleep(time)).await.expect("a timer of the fixtures");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> ChildProcess {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        ChildProcess::spawn(&mut command, Captured::default(), Captured::default())
    }

    #[tokio::test]
    async fn output_is_kept_and_the_end_is_noticed() {
        let mut child = shell("echo out; echo err >&2; exit 3");
        let status = child.wait(Duration::from_secs(10)).await.unwrap();
        assert_eq!(status.code(), Some(3));
        thread_sleep(Duration::from_millis(100)).await;
        assert_eq!((child.stdout.text().as_str(), child.stderr.text().as_str()), ("out\n", "err\n"));
    }

    #[tokio::test]
    async fn a_signal_reaches_the_child_and_a_drop_ends_it() {
        let mut child = shell("trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done");
        while child.stdout.bytes().is_empty() {
            thread_sleep(Duration::from_millis(5)).await;
        }
        child.signal(Signal::TERM);
        assert_eq!(child.wait(Duration::from_secs(10)).await.unwrap().code(), Some(7));
        let survivor = shell("sleep 60");
        let process = format!("/proc/{}", survivor.pid());
        assert!(std::fs::exists(&process).unwrap());
        drop(survivor);
        assert!(!std::fs::exists(&process).unwrap());
    }
}
