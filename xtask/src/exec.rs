//! Programs that this one starts: commands that end by themselves, and servers that are ended.

use crate::interrupt;
use crate::ui::Ui;
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// How a command ended, and every line that it wrote.
pub(crate) struct Ended {
    /// Whether its exit code was zero.
    pub(crate) success: bool,
    /// Both streams, line by line, in the order in which they came.
    pub(crate) lines: Vec<String>,
}

#[derive(Clone, Copy, PartialEq)]
enum Stream {
    Out,
    Err,
}

/// Runs a command behind a progress line; its output is shown only when it fails, and is then part of the error.
pub(crate) fn quietly(ui: &Ui, label: &str, command: &mut Command) -> Result<Vec<String>> {
    let progress = ui.progress(label);
    let ended = watch(command, |_, line| progress.detail(line))?;
    if !ended.success {
        let tail = ended.lines.len().saturating_sub(60);
        bail!("{label} failed ({}):\n{}", describe(command), ended.lines[tail..].join("\n"));
    }
    progress.done(ui);
    Ok(ended.lines)
}

/// Runs a command with its output passed on as it comes.
pub(crate) fn openly(command: &mut Command) -> Result<Ended> {
    watch(command, |stream, line| match stream {
        Stream::Out => drop(writeln!(std::io::stdout(), "{line}")),
        Stream::Err => drop(writeln!(std::io::stderr(), "{line}")),
    })
}

/// Runs a command and returns what it wrote to standard output; its standard error is part of the error when it fails.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let answer = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {}", describe(command)))?;
    if !answer.status.success() {
        let said = String::from_utf8_lossy(&answer.stderr);
        bail!("{} failed: {}", describe(command), said.trim());
    }
    Ok(String::from_utf8_lossy(&answer.stdout).into_owned())
}

fn watch(command: &mut Command, mut each: impl FnMut(Stream, &str)) -> Result<Ended> {
    interrupt::check()?;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot run {}", describe(command)))?;
    let (sender, receiver) = mpsc::channel();
    if let Some(out) = child.stdout.take() {
        forward(out, Stream::Out, sender.clone());
    }
    if let Some(err) = child.stderr.take() {
        forward(err, Stream::Err, sender.clone());
    }
    drop(sender);
    let mut lines = Vec::new();
    for (stream, line) in receiver {
        each(stream, &line);
        lines.push(line);
    }
    let status = child.wait()?;
    interrupt::check()?;
    Ok(Ended { success: status.success(), lines })
}

fn forward(from: impl Read + Send + 'static, stream: Stream, to: mpsc::Sender<(Stream, String)>) {
    thread::spawn(move || {
        for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
            if to.send((stream, line)).is_err() {
                break;
            }
        }
    });
}

fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// A server in its own process group, ended with all its children when this value is dropped.
pub(crate) struct Server {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Starts a server whose standard error, and standard output unless it is read by [`Server::first_line`], go to a log file.
    pub(crate) fn start(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        Self::start_into(name, command, log, file)
    }

    /// The same, with the log added to what is there: for a server that is started again and again.
    pub(crate) fn start_again(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(log);
        Self::start_into(name, command, log, file.with_context(|| format!("cannot write {}", log.display()))?)
    }

    fn start_into(name: &str, command: &mut Command, log: &Path, file: File) -> Result<Self> {
        interrupt::check()?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        Self::spawn(name, command, log)
    }

    /// Starts a server that prints one line when it is ready, and returns that line.
    /// Its standard input stays open for as long as this value lives: a server that watches it can never be left behind.
    pub(crate) fn start_and_read(
        name: &str,
        command: &mut Command,
        log: &Path,
        limit: Duration,
    ) -> Result<(Self, String)> {
        interrupt::check()?;
        let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(file);
        let mut server = Self::spawn(name, command, log)?;
        let out = server.child.stdout.take().context("the server has no standard output")?;
        let (sender, receiver) = mpsc::channel();
        forward(out, Stream::Out, sender);
        let line = server.first_line(&receiver, limit)?;
        // Later lines are read and dropped, so that the server never blocks on a full pipe.
        thread::spawn(move || receiver.into_iter().for_each(drop));
        Ok((server, line))
    }

    fn first_line(&mut self, lines: &mpsc::Receiver<(Stream, String)>, limit: Duration) -> Result<String> {
        let until = Instant::now() + limit;
        while Instant::now() < until {
            interrupt::check()?;
            match lines.recv_timeout(Duration::from_millis(100)) {
                Ok((_, line)) => return Ok(line),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
        }
        bail!("{} did not say that it is ready:\n{}", self.name, self.last_words())
    }

    fn spawn(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let child = command.process_group(0).spawn().with_context(|| format!("cannot start {}", describe(command)))?;
        Ok(Self { name: name.to_owned(), child, log: log.to_path_buf() })
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How the server ended, if it did by itself.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits until `ready` says so; an error with the log's end when the server ends before, or the time is over.
    pub(crate) fn wait_until(
        &mut self,
        limit: Duration,
        pause: Duration,
        mut ready: impl FnMut() -> bool,
    ) -> Result<Duration> {
        let since = Instant::now();
        while since.elapsed() < limit {
            interrupt::check()?;
            if ready() {
                return Ok(since.elapsed());
            }
            if let Some(status) = self.ended()? {
                bail!("{} ended at once ({status}):\n{}", self.name, self.last_words());
            }
            thread::sleep(pause);
        }
        bail!("{} was not ready within {} s:\n{}", self.name, limit.as_secs(), self.last_words())
    }

    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(25)..].join("\n")
    }

    /// kill -9, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        // An error says that it has ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }

    /// Asks the server to end, and ends it after five seconds.
    pub(crate) fn stop(&mut self) {
        let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) else { return };
        for signal in [Signal::TERM, Signal::KILL] {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            // The group may be gone already, which is what is wanted.
            kill_process_group(group, signal).ok();
            for _ in 0..100 {
                if matches!(self.child.try_wait(), Ok(Some(_))) {
                    return;
                }
                thread::sleep(Duration::from_millis(50));
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}
