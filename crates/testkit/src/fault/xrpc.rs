//! The XRPC methods of a PDS, as far as tests call them.

use std::collections::HashMap;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use ring::digest::{Context, SHA256};
use serde_json::{Value, json};

use super::dpop::hex_sha256;
use super::pds::{PdsState, Upload};
use super::reply::Reply;
use super::request_log::RecordedRequest;
use crate::threads::{hex, random_hex};

/// A red dot.
const PNG: &[u8] = &[
    0x89, b'P', b'N', b'G', 0x0D, 0x0A, 0x1A, 0x0A, 0, 0, 0, 0x0D, b'I', b'H', b'D', b'R', 0, 0, 0, 1, 0, 0, 0, 1, 8,
    6, 0, 0, 0, 0x1F, 0x15, 0xC4, 0x89, 0, 0, 0, 0x0D, b'I', b'D', b'A', b'T', 0x78, 0x9C, 0x63, 0xF8, 0xCF, 0xC0,
    0xF0, 0x1F, 0, 5, 0, 1, 0xFF, 0x89, 0x99, 0x3D, 0x1D, 0, 0, 0, 0, b'I', b'E', b'N', b'D', 0xAE, 0x42, 0x60, 0x82,
];

impl PdsState {
    /// Answers an XRPC request.
    pub(crate) async fn xrpc(&self, request: &RecordedRequest, upload: Option<Incoming>) -> Reply {
        let nsid = request.path().trim_start_matches("/xrpc/");
        let reply = match nsid {
            "_health" => Reply::json(200, &json!({"version": "fault"})),
            "com.atproto.server.describeServer" => Reply::json(
                200,
                &json!({
                    "did": "did:web:localhost", "availableUserDomains": [".test"], "inviteCodeRequired": false,
                    "blobUploadLimit": 5_242_880, "links": {}, "contact": {},
                }),
            ),
            "com.atproto.server.createSession" => self.create_session(request),
            "com.atproto.server.refreshSession" => self.refresh_session(request),
            "com.atproto.server.deleteSession" => self.delete_session(request),
            "com.atproto.identity.resolveHandle" => self.resolve_handle(request),
            "com.atproto.repo.getRecord" => self.get_record(request),
            "com.atproto.sync.getBlob" => self.get_blob(request),
            _ => {
                let reply = match self.admit(request) {
                    Ok(did) => self.authorized(nsid, request, &did, upload).await,
                    Err(refusal) => refusal,
                };
                // Every answer to a call with a proof carries the next nonce, 200 included.
                let reply = reply.with_only("Cache-Control", "private").with_only("Vary", "Authorization");
                let by_dpop = request.header("dpop").is_some() || reply.header("WWW-Authenticate").is_some();
                if by_dpop { reply.with_only("DPoP-Nonce", self.gate.nonce_to_hand_out()) } else { reply }
            }
        };
        reply.with("Access-Control-Allow-Origin", "*")
    }

    async fn authorized(
        &self,
        nsid: &str,
        request: &RecordedRequest,
        subject: &str,
        upload: Option<Incoming>,
    ) -> Reply {
        let post = request.method == "POST";
        match nsid {
            "com.atproto.server.getSession" => self.get_session(subject),
            "com.atproto.repo.createRecord" | "com.atproto.repo.putRecord" if post => {
                self.write_record(request, subject)
            }
            "com.atproto.repo.deleteRecord" if post => self.delete_record(request, subject),
            "com.atproto.repo.uploadBlob" if post => self.upload_blob(request, subject, upload).await,
            "app.bsky.feed.getTimeline" => Reply::json(200, &json!({"feed": [], "cursor": "end"})),
            "app.example.echo" => Reply::json(
                200,
                &json!({
                    "method": request.method, "target": request.target, "headers": request.headers,
                    "body": String::from_utf8_lossy(&request.body), "sub": subject,
                }),
            ),
            "app.example.hostile" => hostile(Reply::json(200, &json!({"ok": true}))),
            "app.example.html" => hostile(Reply::text(200, "text/html", "<!doctype html><script>alert(1)</script>")),
            _ => Reply::xrpc_error(501, "MethodNotImplemented", "Method Not Implemented"),
        }
    }

    fn resolve_handle(&self, request: &RecordedRequest) -> Reply {
        let handle = request.query_value("handle").unwrap_or_default();
        match self.shared.accounts.did_of_handle(&handle) {
            Some(did) => Reply::json(200, &json!({"did": did})),
            None => Reply::xrpc_error(400, "HandleNotFound", "Unable to resolve handle"),
        }
    }

    fn get_session(&self, subject: &str) -> Reply {
        let account = self.shared.accounts.by_did(subject).expect("checked by authorize");
        Reply::json(
            200,
            &json!({
                "did": account.did, "handle": account.handle, "active": true,
                "didDoc": self.shared.accounts.document(&account.did),
            }),
        )
    }

    fn get_record(&self, request: &RecordedRequest) -> Reply {
        let asked = |name| request.query_value(name).unwrap_or_default();
        let (repo, collection, rkey) = (asked("repo"), asked("collection"), asked("rkey"));
        let did = self.shared.accounts.named(&repo).map_or(repo, |account| account.did);
        let uri = format!("at://{did}/{collection}/{rkey}");
        match self.records.lock().get(&(did, collection, rkey)) {
            Some(value) => Reply::json(200, &json!({"uri": uri, "cid": cid_of(value), "value": value})),
            None => Reply::xrpc_error(400, "RecordNotFound", &format!("Could not locate record: {uri}")),
        }
    }

    fn write_record(&self, request: &RecordedRequest, subject: &str) -> Reply {
        let input = request.json();
        let invalid = |text: &str| Reply::xrpc_error(400, "InvalidRequest", text);
        if input["repo"] != subject {
            return invalid("Repo does not belong to the authenticated account");
        }
        let (Some(collection), true) = (input["collection"].as_str(), input["record"].is_object()) else {
            return invalid("Input must have the properties \"collection\" and \"record\"");
        };
        let rkey = input["rkey"].as_str().map_or_else(|| format!("3{}", &random_hex::<6>()), str::to_owned);
        let record = input["record"].clone();
        let (uri, cid) = (format!("at://{subject}/{collection}/{rkey}"), cid_of(&record));
        self.records.lock().insert((subject.to_owned(), collection.to_owned(), rkey), record);
        let commit = json!({"cid": cid, "rev": random_hex::<6>()});
        Reply::json(200, &json!({"uri": uri, "cid": cid, "commit": commit, "validationStatus": "unknown"}))
    }

    fn delete_record(&self, request: &RecordedRequest, subject: &str) -> Reply {
        let input = request.json();
        let text = |name: &str| input[name].as_str().unwrap_or_default().to_owned();
        if text("repo") != subject {
            return Reply::xrpc_error(400, "InvalidRequest", "Repo does not belong to the authenticated account");
        }
        self.records.lock().remove(&(text("repo"), text("collection"), text("rkey")));
        Reply::json(200, &json!({}))
    }

    async fn upload_blob(&self, request: &RecordedRequest, subject: &str, upload: Option<Incoming>) -> Reply {
        let mime_type = request.header("content-type").unwrap_or("application/octet-stream").to_owned();
        let (mut bytes, mut hash) = (0, Context::new(&SHA256));
        let mut body = upload.expect("an upload path hands over its body");
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return Reply::xrpc_error(400, "InvalidRequest", "Upload was cut off") };
            if let Some(piece) = frame.data_ref() {
                bytes += piece.len() as u64;
                hash.update(piece);
            }
        }
        let sha256 = hex(hash.finish().as_ref());
        let cid = format!("bafkrei{}", &sha256[..52]);
        let answer = json!({"blob": {"$type": "blob", "ref": {"$link": cid}, "mimeType": mime_type, "size": bytes}});
        self.uploads.lock().push(Upload { did: subject.to_owned(), bytes, sha256, mime_type });
        Reply::json(200, &answer)
    }

    fn get_blob(&self, request: &RecordedRequest) -> Reply {
        let cid = request.query_value("cid").unwrap_or_default();
        let found = self.blobs.lock().get(&cid).cloned();
        found.unwrap_or_else(|| Reply::xrpc_error(400, "InvalidRequest", "Blob not found"))
    }
}

/// Blobs that a browser must not run in another origin.
pub(crate) fn hostile_blobs() -> HashMap<String, Reply> {
    let html = "<!doctype html><script>fetch('/api/auth/session')</script>";
    let svg = "<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>";
    HashMap::from([
        ("html".to_owned(), hostile(Reply::text(200, "text/html", html))),
        ("svg".to_owned(), hostile(Reply::text(200, "image/svg+xml", svg))),
        ("png".to_owned(), Reply::text(200, "image/png", PNG)),
    ])
}

/// Adds every header that must not reach a browser through somebody else's origin.
fn hostile(reply: Reply) -> Reply {
    reply
        .with("Set-Cookie", "sid=planted; Path=/")
        .with("Location", "https://evil.example/")
        .with("Access-Control-Allow-Origin", "https://evil.example")
        .with("Access-Control-Allow-Credentials", "true")
        .with("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
        .with("Clear-Site-Data", "\"*\"")
        .with("Service-Worker-Allowed", "/")
        .with("Content-Security-Policy", "default-src *")
        .with("Refresh", "0; url=https://evil.example/")
        .with("Link", "<https://evil.example/>; rel=preload")
}

/// Looks like a CID and depends on the content alone.
fn cid_of(value: &Value) -> String {
    format!("bafyrei{}", &hex_sha256(value.to_string().as_bytes())[..52])
}
