//! What the fixtures share: the threads that servers run on, the wall clock, randomness.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::net::TcpListener;
use tokio::runtime::{Builder, Handle, Runtime};

/// The runtime of all fixtures of this process. Not the test's own: a test that blocks, or pauses its time, must not
/// stop the servers that it talks to.
pub(crate) fn fixtures() -> &'static Handle {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let build = || Builder::new_multi_thread().worker_threads(2).thread_name("fixture").enable_all().build();
    RUNTIME.get_or_init(|| build().expect("threads for fixtures")).handle()
}

/// A listener on a loopback port; 0 takes a free one.
pub(crate) fn listen(port: u16) -> (TcpListener, SocketAddr) {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("a loopback port");
    listener.set_nonblocking(true).expect("a non-blocking listener");
    let address = listener.local_addr().expect("the listener's address");
    let _inside = fixtures().enter();
    (TcpListener::from_std(listener).expect("a listener on the fixtures' threads"), address)
}

/// Milliseconds since the epoch.
#[expect(clippy::disallowed_methods, reason = "fault servers live in real time, as the servers that they stand for")]
pub(crate) fn wall_clock_millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    i64::try_from(since.as_millis()).expect("a clock before the year 292 million")
}

/// Fresh random bytes.
#[expect(clippy::disallowed_methods, reason = "tokens of fault servers must differ between runs, as real ones do")]
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system's randomness");
    bytes
}

/// Fresh random bytes in lower-case hexadecimal.
pub(crate) fn random_hex<const N: usize>() -> String {
    hex(&random::<N>())
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        write!(out, "{byte:02x}").expect("writing to a string");
        out
    })
}
