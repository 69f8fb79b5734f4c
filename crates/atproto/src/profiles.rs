//! The public profile of an account: name and picture, read at its own server without any credential.

use std::sync::Arc;

use bowerbird_core::ports::{HttpClient, HttpError, HttpFault, Purpose, StreamBody, full_body};
use bowerbird_core::{Account, Profile};
use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use serde::Deserialize;

use crate::proxy::headers::{RASTER_IMAGES, to_client};

/// The longest display name that is kept, in bytes (the lexicon's own limit).
const MAX_NAME_BYTES: usize = 640;

/// Reads profiles. Cheap to clone.
#[derive(Clone)]
pub struct Profiles {
    http: Arc<dyn HttpClient>,
}

/// Why a profile could not be read. Nothing depends on one.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// The account's server did not answer.
    #[error("the account's server could not be reached")]
    Unreachable(#[source] HttpError),
    /// It answered with something that is not a profile.
    #[error("the account's server answered {0} instead of a profile")]
    BadAnswer(StatusCode),
}

#[derive(Deserialize)]
struct RecordAnswer {
    value: ProfileRecord,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProfileRecord {
    #[serde(default)]
    display_name: Option<String>,
    #[serde(default)]
    avatar: Option<serde_json::Value>,
}

impl Profiles {
    pub(crate) fn new(http: Arc<dyn HttpClient>) -> Self {
        Self { http }
    }

    /// The profile record of an account; empty when the account has none.
    pub async fn fetch(&self, account: &Account) -> Result<Profile, ProfileError> {
        let url = format!(
            "{}/xrpc/com.atproto.repo.getRecord?repo={}&collection=app.bsky.actor.profile&rkey=self",
            account.pds,
            in_query(account.did.as_str())
        );
        let response = self.get(&url, Purpose::Document, "application/json").await?;
        match response.status() {
            StatusCode::OK => {}
            // The reference server says 400 RecordNotFound.
            StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND => return Ok(Profile::default()),
            status => return Err(ProfileError::BadAnswer(status)),
        }
        let answer: RecordAnswer =
            serde_json::from_slice(response.body()).map_err(|_| ProfileError::BadAnswer(StatusCode::OK))?;
        Ok(Profile {
            display_name: answer.value.display_name.as_deref().and_then(tidy_name),
            avatar: answer.value.avatar.as_ref().and_then(blob_cid).map(|cid| avatar_url(account, cid)),
        })
    }

    /// The picture of an account: a raster image of at most 1 MB, from its own server. None when there is none, or
    /// something else is there.
    pub async fn avatar(&self, account: &Account) -> Result<Option<Response<StreamBody>>, ProfileError> {
        let Some(url) = account.profile.avatar.as_deref().filter(|url| is_at_own_server(account, url)) else {
            return Ok(None);
        };
        let response = match self.get(url, Purpose::Api, "image/*").await {
            Err(ProfileError::Unreachable(error)) if error.fault == HttpFault::TooLarge => return Ok(None),
            other => other?,
        };
        let (head, body) = response.into_parts();
        let kind = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if head.status != StatusCode::OK || !RASTER_IMAGES.iter().any(|known| kind.eq_ignore_ascii_case(known)) {
            return Ok(None);
        }
        let mut picture = Response::new(full_body(body));
        *picture.headers_mut() = to_client(&head.headers);
        Ok(Some(picture))
    }

    async fn get(&self, url: &str, purpose: Purpose, accept: &'static str) -> Result<Response<Bytes>, ProfileError> {
        let request = Request::get(url)
            .header(header::ACCEPT, accept)
            .header(header::ACCEPT_ENCODING, "identity")
            .body(Bytes::new())
            .map_err(|e| ProfileError::Unreachable(HttpError::not_sent(HttpFault::UrlNotAllowed, Some(e.into()))))?;
        self.http.send(request, purpose).await.map_err(ProfileError::Unreachable)
    }
}

/// A DID has only one character that means something in a query: the percent sign.
fn in_query(did: &str) -> String {
    did.replace('%', "%25")
}

fn avatar_url(account: &Account, cid: &str) -> String {
    format!("{}/xrpc/com.atproto.sync.getBlob?did={}&cid={cid}", account.pds, in_query(account.did.as_str()))
}

/// The stored address is ours, but a database is not beyond being written to: only the account's own server is asked.
fn is_at_own_server(account: &Account, url: &str) -> bool {
    url.strip_prefix(&account.pds).is_some_and(|rest| rest.starts_with("/xrpc/com.atproto.sync.getBlob?"))
}

fn blob_cid(blob: &serde_json::Value) -> Option<&str> {
    let cid = blob.get("ref")?.get("$link")?.as_str()?;
    let sane = (8..=128).contains(&cid.len()) && cid.bytes().all(|b| b.is_ascii_alphanumeric());
    sane.then_some(cid)
}

fn tidy_name(name: &str) -> Option<String> {
    let mut tidy: String = name.chars().filter(|c| !c.is_control()).collect();
    let mut end = tidy.len().min(MAX_NAME_BYTES);
    while !tidy.is_char_boundary(end) {
        end -= 1;
    }
    tidy.truncate(end);
    let tidy = tidy.trim();
    (!tidy.is_empty()).then(|| tidy.to_owned())
}

#[cfg(test)]
mod tests {
    use bowerbird_core::testing::{ScriptedHttp, SeededEntropy};
    use bowerbird_core::{AccountId, Did, Timestamp};
    use serde_json::json;

    use super::*;

    fn account(avatar: Option<&str>) -> Account {
        Account {
            id: AccountId::random(&SeededEntropy::new(1)),
            did: Did::parse("did:web:pds.test").unwrap(),
            handle: "alice.test".into(),
            pds: "https://pds.test".into(),
            profile: Profile { display_name: None, avatar: avatar.map(Into::into) },
            created_at: Timestamp::EPOCH,
            last_login_at: Timestamp::EPOCH,
        }
    }

    async fn fetched(status: u16, body: String) -> Result<Profile, ProfileError> {
        let http = ScriptedHttp::new(move |request| {
            assert_eq!(
                request.uri(),
                "https://pds.test/xrpc/com.atproto.repo.getRecord?repo=did:web:pds.test&collection=app.bsky.actor.profile&rkey=self"
            );
            Ok(Response::builder().status(status).body(Bytes::from(body.clone())).unwrap())
        });
        Profiles::new(Arc::new(http)).fetch(&account(None)).await
    }

    #[tokio::test]
    async fn name_and_picture_are_read() {
        let cid = "bafkreibjfgx2gprinfvicegelk5kosd6y2frmqpqzwqkg7usac74l3t2v4";
        let record =
            json!({"value": {"displayName": " Alice\u{0}\n ", "avatar": {"$type": "blob", "ref": {"$link": cid}}}});
        let profile = fetched(200, record.to_string()).await.unwrap();
        assert_eq!(profile.display_name.as_deref(), Some("Alice"));
        let url = format!("https://pds.test/xrpc/com.atproto.sync.getBlob?did=did:web:pds.test&cid={cid}");
        assert_eq!(profile.avatar, Some(url));
        let none = fetched(400, json!({"error": "RecordNotFound"}).to_string()).await.unwrap();
        assert_eq!(none, Profile::default());
        let odd = json!({"value": {"displayName": "x".repeat(5000), "avatar": {"ref": {"$link": "a&b=c/../d"}}}});
        let odd = fetched(200, odd.to_string()).await.unwrap();
        assert_eq!((odd.display_name.unwrap().len(), odd.avatar), (MAX_NAME_BYTES, None));
        assert!(fetched(200, "[]".into()).await.is_err());
    }

    #[tokio::test]
    async fn row_71_only_raster_images_from_the_own_server() {
        let picture = |kind: &'static str, url: &'static str| async move {
            let http = Arc::new(ScriptedHttp::new(move |_| {
                Ok(Response::builder().header("content-type", kind).body(Bytes::from_static(b"x")).unwrap())
            }));
            let answer = Profiles::new(http.clone()).avatar(&account(Some(url))).await.unwrap();
            (answer.is_some(), http.sent().len())
        };
        let own = "https://pds.test/xrpc/com.atproto.sync.getBlob?did=did:web:pds.test&cid=abc";
        assert_eq!(picture("image/png", own).await, (true, 1));
        assert_eq!(picture("image/svg+xml", own).await, (false, 1));
        assert_eq!(picture("text/html", own).await, (false, 1));
        assert_eq!(picture("image/png", "https://pds.test.evil.test/xrpc/com.atproto.sync.getBlob?").await, (false, 0));
        assert_eq!(picture("image/png", "https://pds.test@evil.test/").await, (false, 0));
    }
}
