//! What a small call costs. Run by hand, optimised:
//! `cargo test --release -p bowerbird-net --test net -- --ignored --nocapture overhead`.

use std::time::Duration;

use bowerbird_core::ports::{HttpClient, Purpose, full_body};
use http::Request;
use http_body_util::BodyExt;

use crate::support::server::{OK, Server};
use crate::support::{Setup, fetched, start_watch};

const CALLS: u32 = 50_000;

/// Time on a processor of this thread, from the kernel.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}

#[test]
#[ignore = "a measurement, run by hand"]
fn overhead_of_a_small_call() {
    // The server has a thread of its own, so that only the client's work is counted.
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let server = Server::fixed(OK).await;
            sender.send(server.address).unwrap();
            std::future::pending::<()>().await;
        });
    });
    let address = receiver.recv().unwrap();
    let url = format!("http://{address}/xrpc/app.bsky.feed.getTimeline?limit=50");
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let client = Setup::new().allow(address).client();
        for _ in 0..1000 {
            fetched(&client, &url, Purpose::Api).await;
        }
        for streamed in [false, true] {
            let (cpu, wall) = (cpu_time(), start_watch());
            for _ in 0..CALLS {
                if streamed {
                    let request = Request::get(&url).header("authorization", "DPoP x").body(full_body("")).unwrap();
                    client.stream(request).await.unwrap().into_body().collect().await.unwrap();
                } else {
                    fetched(&client, &url, Purpose::Api).await;
                }
            }
            let (cpu, wall) = (cpu_time().saturating_sub(cpu) / CALLS, wall.elapsed() / CALLS);
            println!("{}: {cpu:?} CPU, {wall:?} in all", if streamed { "stream" } else { "send" });
        }
    });
}
