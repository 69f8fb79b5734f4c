//! Many accounts whose access ends at once.

use futures_util::StreamExt as _;

use crate::support::Pair;

const ACCOUNTS: usize = 1000;

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_accounts_at_both_instances_make_one_token_request_each() {
    let Some(pair) = Pair::start(true).await else { return };
    let seals = pair.crowd(ACCOUNTS).await;
    assert!(pair.sent().is_empty());

    pair.network.expire_all_access_tokens();
    let calls = seals.iter().flat_map(|seal| [0, 1, 0, 1].map(|instance| pair.call(instance, seal)));
    let statuses: Vec<u16> =
        futures_util::stream::iter(calls).buffer_unordered(48).map(|answer| answer.status).collect().await;
    assert_eq!(statuses.len(), ACCOUNTS * 4);
    let others: Vec<_> = statuses.iter().filter(|status| **status != 200).collect();
    assert!(others.is_empty(), "{others:?}");
    pair.assert_one_send_each(ACCOUNTS);
}
