//! `bowerbird-client` for Swift, Kotlin and Python, by `UniFFI`.
//!
//! Nothing is decided here. Calls that may wait run on a thread of their own and are awaited: `async` in Swift and Python,
//! `suspend` in Kotlin. Who stops waiting stops nothing: a renewal that was begun is finished and saved.
//!
//! A thread that tells Python of its end must not do so while the interpreter is taken down, which would end the process with
//! an abort. So the threads are counted, and the Python package waits for them at its exit: [`wait_for_calls`].

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

mod client;
mod error;
mod manager;
mod on_device;
mod store;
mod transport;

pub use client::{AccountClient, Answer, Checked, Parameter};
pub use error::ClientError;
pub use manager::{Account, AccountManager, Removal, Renewal, Settings, SignIn};
pub use on_device::{AccountKind, OnDevice, client_metadata};
pub use store::{DeviceStore, DeviceStoreError, Store};
pub use transport::{DeviceRequest, DeviceResponse, DeviceTransport, DeviceTransportError, Header};

uniffi::setup_scaffolding!("bowerbird");

/// How many threads of the kit there are.
static UNDER_WAY: Mutex<usize> = Mutex::new(0);
static ENDED: Condvar = Condvar::new();

/// Waits until every call that was begun is finished, also those that nobody awaits any more; `false` when that takes longer.
/// For a program that is about to end, and for the end of a background task.
#[uniffi::export]
pub fn wait_for_calls(at_most_millis: u32) -> bool {
    let mut under_way = UNDER_WAY.lock();
    let limit = Duration::from_millis(at_most_millis.into());
    !ENDED.wait_while_for(&mut under_way, |under_way| *under_way > 0, limit).timed_out()
}

/// Counts a thread, from before it is made until after it has told its result.
struct Counted;

impl Counted {
    fn new() -> Self {
        *UNDER_WAY.lock() += 1;
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        *UNDER_WAY.lock() -= 1;
        ENDED.notify_all();
    }
}

/// Does blocking work on a thread of its own, to its end, whether or not somebody still waits.
pub(crate) async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ClientError> + Send + 'static,
) -> Result<T, ClientError> {
    let (done, wait) = futures_channel::oneshot::channel();
    let counted = Counted::new();
    let spawned = std::thread::Builder::new().name("bowerbird".to_owned()).spawn(move || {
        // Nobody may be there to take it.
        drop(done.send(work()));
        drop(counted);
    });
    if let Err(error) = spawned {
        return Err(ClientError::Device { detail: error.to_string() });
    }
    wait.await.unwrap_or_else(|_| Err(ClientError::Device { detail: "the kit's thread ended early".to_owned() }))
}
