//! News between instances through the database.

use std::sync::Arc;
use std::time::Duration;

use bowerbird_core::AccountId;
use bowerbird_core::ports::{Change, ChangeFeed as _, ChangeListener};
use bowerbird_core::testing::SeededEntropy;
use bowerbird_storage_sql::PostgresFeed;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::support::{change, open_by_callers_clock};

/// Far more than anything here takes; a test that waits so long has failed.
const LONG: Duration = Duration::from_secs(20);

struct Heard(UnboundedSender<Option<Change>>);

impl ChangeListener for Heard {
    fn changed(&self, change: &Change) {
        self.0.send(Some(change.clone())).ok();
    }

    fn missed(&self) {
        self.0.send(None).ok();
    }
}

fn listening(feed: &PostgresFeed) -> UnboundedReceiver<Option<Change>> {
    let (sender, receiver) = unbounded_channel();
    feed.listen(Arc::new(Heard(sender)));
    receiver
}

/// Publishes until it is heard: a feed connects by itself, some time after it was opened.
async fn is_heard(from: &PostgresFeed, change: &Change, heard: &mut UnboundedReceiver<Option<Change>>) {
    let hearing = async {
        loop {
            from.publish(change.clone()).await;
            let answer = tokio::time::timeout(Duration::from_millis(100), heard.recv()).await;
            if answer.is_ok_and(|message| message == Some(Some(change.clone()))) {
                return;
            }
        }
    };
    tokio::time::timeout(LONG, hearing).await.expect("the change is heard");
}

async fn is_missed(heard: &mut UnboundedReceiver<Option<Change>>) {
    let missing = async { while heard.recv().await.expect("the feed lives").is_some() {} };
    tokio::time::timeout(LONG, missing).await.expect("what may have been missed is told");
}

pub(crate) async fn changes_reach_other_instances(url: &str) {
    let (one, two) = (open_by_callers_clock(url).await, open_by_callers_clock(url).await);
    let feed = |stores: &bowerbird_storage_sql::SqlStores, id| stores.change_feed(id).expect("PostgreSQL has one");
    let (from, to, stranger) = (feed(&one, "aa"), feed(&two, "aa"), feed(&two, "bb"));
    let (mut heard, mut others) = (listening(&to), listening(&stranger));
    let account = Change::Account(AccountId::random(&SeededEntropy::new(1)));
    is_heard(&from, &account, &mut heard).await;

    // The server ends the connection: it is made anew, and what may have been missed is told.
    while heard.try_recv().is_ok() {}
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%bowerbird_aa%'";
    change(url, end).await;
    is_missed(&mut heard).await;
    is_heard(&from, &account, &mut heard).await;

    // What nobody here can read may mean anything.
    change(url, "SELECT pg_notify('bowerbird_aa', 'something new')").await;
    is_missed(&mut heard).await;

    while let Ok(message) = others.try_recv() {
        assert_eq!(message, None, "another installation hears nothing of it");
    }
    one.close().await;
    two.close().await;
}
