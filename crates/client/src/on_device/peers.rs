//! What was learned of each server in passing: its latest DPoP nonce, and how far its clock is from this device's.

use std::collections::HashMap;
use std::time::UNIX_EPOCH;

use bowerbird_core::Timestamp;
use bowerbird_oauth::DpopNonce;
use http::{HeaderMap, header};
use parking_lot::Mutex;

/// At most this many servers are remembered; then all are forgotten, which costs each one more attempt.
const REMEMBERED: usize = 1_000;
/// A difference below this is the network's, or within what every server tolerates.
const TOLERATED_MILLIS: i64 = 5_000;
/// No honest clock is further off; more is a server that wants a proof for another year.
const LARGEST_MILLIS: i64 = 26 * 3_600_000;

/// The memory, by origin.
#[derive(Debug, Default)]
pub(super) struct Peers(Mutex<HashMap<String, Peer>>);

#[derive(Clone, Debug, Default)]
struct Peer {
    nonce: Option<DpopNonce>,
    offset_millis: i64,
}

impl Peers {
    /// The latest nonce of a server, however old: at worst it costs one more attempt.
    pub(super) fn nonce(&self, origin: &str) -> Option<DpopNonce> {
        self.0.lock().get(origin).and_then(|peer| peer.nonce.clone())
    }

    /// The time as a server has it: a phone whose clock is wrong must not be unable to sign in.
    pub(super) fn now_at(&self, origin: &str, now: Timestamp) -> Timestamp {
        now.plus_millis(self.0.lock().get(origin).map_or(0, |peer| peer.offset_millis))
    }

    /// Learns from the head of any answer. True when it changed what is thought of the server's clock, so that the same
    /// request may fare better when it is signed again.
    pub(super) fn learn(&self, origin: &str, headers: &HeaderMap, now: Timestamp) -> bool {
        let mut peers = self.0.lock();
        if peers.len() >= REMEMBERED && !peers.contains_key(origin) {
            peers.clear();
        }
        let peer = peers.entry(origin.to_owned()).or_default();
        if let Some(nonce) = DpopNonce::from_headers(headers) {
            peer.nonce = Some(nonce);
        }
        let Some(date) = date_of(headers) else { return false };
        let difference = date.millis_since(now);
        let believed = (TOLERATED_MILLIS..=LARGEST_MILLIS).contains(&difference.abs());
        let offset = if believed { difference } else { 0 };
        if (offset - peer.offset_millis).abs() < TOLERATED_MILLIS {
            return false;
        }
        tracing::info!(origin, seconds = offset / 1000, "a server's clock is not this device's; its own time is used");
        peer.offset_millis = offset;
        true
    }
}

fn date_of(headers: &HeaderMap) -> Option<Timestamp> {
    let date = httpdate::parse_http_date(headers.get(header::DATE)?.to_str().ok()?).ok()?;
    let seconds = date.duration_since(UNIX_EPOCH).ok()?.as_secs();
    i64::try_from(seconds).ok().map(Timestamp::from_seconds)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_nonce_is_kept_for_its_own_server() {
        let (peers, mut headers) = (Peers::default(), HeaderMap::new());
        headers.insert("dpop-nonce", HeaderValue::from_static("n1"));
        assert!(!peers.learn("https://a.example", &headers, Timestamp::EPOCH));
        assert_eq!(peers.nonce("https://a.example").unwrap().as_str(), "n1");
        assert!(peers.nonce("https://b.example").is_none());
        for number in 0..REMEMBERED {
            peers.learn(&format!("https://{number}.example"), &headers, Timestamp::EPOCH);
        }
        assert!(peers.0.lock().len() <= REMEMBERED);
    }

    #[test]
    fn a_wrong_clock_is_set_right_within_reason() {
        let (peers, mut headers, now) = (Peers::default(), HeaderMap::new(), Timestamp::from_seconds(784_111_777));
        headers.insert("date", HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT"));
        let at = |device: Timestamp| {
            let changed = peers.learn("https://a.example", &headers, device);
            (changed, peers.now_at("https://a.example", device).as_seconds())
        };
        assert_eq!(at(now), (false, 784_111_777));
        assert_eq!(at(now.plus_seconds(-3600)), (true, 784_111_777));
        assert_eq!(at(now.plus_seconds(-3601)), (false, 784_111_776), "nothing new");
        assert_eq!(at(now.plus_seconds(-400_000)), (true, 784_111_777 - 400_000), "not for another year");
    }
}
