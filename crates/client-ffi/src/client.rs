//! One account's client.

use std::sync::Arc;

use bowerbird_client as kit;
use bytes::Bytes;
use http::header::CONTENT_TYPE;

use crate::error::ClientError;
use crate::off_thread;

/// Calls as one account. Its seal is in memory only while it is among the live ones.
#[derive(uniffi::Object)]
pub struct AccountClient(pub(crate) kit::AccountClient);

/// A parameter of a query. A name may occur several times.
#[derive(Clone, uniffi::Record)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// What the account's own server answered, errors too.
#[derive(Clone, uniffi::Record)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The media type, if there is one.
    pub content_type: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

/// How an account stands at the server.
#[derive(Clone, uniffi::Record)]
pub struct Checked {
    /// The handle, as the server knows it now.
    pub handle: String,
    /// The display name.
    pub display_name: Option<String>,
    /// The address of the picture.
    pub avatar: Option<String>,
    /// When the session ends unless it is used again, in milliseconds since 1970.
    pub expires_at: Option<i64>,
}

#[uniffi::export]
impl AccountClient {
    /// Whose client it is.
    pub fn account(&self) -> String {
        self.0.account().to_string()
    }

    /// Calls a query (GET) of the account's own server, such as `app.bsky.feed.getTimeline`.
    pub async fn query(self: Arc<Self>, nsid: String, parameters: Vec<Parameter>) -> Result<Answer, ClientError> {
        let parameters = parameters.into_iter().map(|parameter| (parameter.name, parameter.value)).collect();
        self.call(kit::Call { nsid, parameters, ..kit::Call::default() }).await
    }

    /// Calls a procedure (POST) with a JSON body, such as `com.atproto.repo.createRecord`.
    pub async fn procedure(self: Arc<Self>, nsid: String, json: String) -> Result<Answer, ClientError> {
        let body = Some(("application/json".to_owned(), Bytes::from(json)));
        self.call(kit::Call { nsid, body, ..kit::Call::default() }).await
    }

    /// Calls a procedure with bytes, such as `com.atproto.repo.uploadBlob`.
    pub async fn upload(
        self: Arc<Self>,
        nsid: String,
        content_type: String,
        bytes: Vec<u8>,
    ) -> Result<Answer, ClientError> {
        let body = Some((content_type, Bytes::from(bytes)));
        self.call(kit::Call { nsid, body, ..kit::Call::default() }).await
    }

    /// Asks the server how the account stands, which also extends its session.
    pub async fn check(self: Arc<Self>) -> Result<Checked, ClientError> {
        off_thread(move || {
            let kit::Checked { handle, display_name, avatar, expires_at } = self.0.check()?;
            let expires_at = expires_at.map(kit::Timestamp::as_millis);
            Ok(Checked { handle, display_name, avatar, expires_at })
        })
        .await
    }

    /// Renews the session now, whether it is due or not.
    pub async fn renew(self: Arc<Self>) -> Result<(), ClientError> {
        off_thread(move || Ok(self.0.renew()?)).await
    }
}

impl AccountClient {
    async fn call(self: Arc<Self>, call: kit::Call) -> Result<Answer, ClientError> {
        off_thread(move || {
            let (head, body) = self.0.call(&call)?.into_parts();
            let content_type = head.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).map(str::to_owned);
            Ok(Answer { status: head.status.as_u16(), content_type, body: body.to_vec() })
        })
        .await
    }
}
