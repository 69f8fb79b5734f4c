//! The figures of the vault that `cargo xtask bench` prints beside those of the server:
//! `cargo run --release -p bowerbird-testkit --example figures -- FOLDER NAME…`. One line of JSON for each figure. The folder
//! should be on a disk and not on a RAM disk: an fsync is what a write costs.
#![expect(
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a measuring tool reads the clock and its arguments, prints, and stops at a fault; its counts are small"
)]

mod checkout;
mod due;
mod fill;
mod fsync;
mod house;
mod refresh;
mod seals;

use std::path::{Path, PathBuf};

/// One figure.
struct Figure {
    value: f64,
    detail: String,
}

/// The program's own, so that the figures are the program's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().expect("usage: figures FOLDER NAME…"));
    let mut arguments: Vec<String> = arguments.collect();
    if arguments.first().is_some_and(|name| name == "fill") {
        let accounts =
            arguments.pop().and_then(|count| count.parse().ok()).expect("usage: figures DATABASE fill COUNT");
        fill::fill(&folder, accounts).await;
        return;
    }
    if arguments.first().is_some_and(|name| name == "seals") {
        let count = arguments.pop().and_then(|count| count.parse().ok()).expect("usage: figures DATA seals COUNT");
        seals::print(&folder, count).await;
        return;
    }
    std::fs::create_dir_all(&folder).expect("a folder");
    for name in arguments {
        let Figure { value, detail } = measure(&name, &folder).await;
        println!("{}", serde_json::json!({"name": name, "value": value, "detail": detail}));
    }
}

async fn measure(name: &str, folder: &Path) -> Figure {
    let folder = tempfile::tempdir_in(folder).expect("a folder");
    match name {
        "checkout-cached" => checkout::cached(folder.path()).await,
        "checkout-cold" => checkout::cold(folder.path()).await,
        "refresh-throughput" => refresh::throughput(folder.path()).await,
        "due-growth" => due::growth(folder.path()).await,
        other => panic!("no figure is named {other}"),
    }
}

/// The value below which this share of the values is.
fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index of a short list")]
    let at = ((values.len() - 1) as f64 * share) as usize;
    values[at]
}
