//! DID documents, reduced to what the AT Protocol reads from them (specification "DID", section "DID documents").

use bowerbird_oauth::{Origin, OriginError, TransportPolicy};
use serde::Deserialize;
use serde_json::Value;
use url::Host;

use crate::{Did, Handle, HandleError};

/// An account as its DID document describes it. The handle is a claim of the account, verified elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The account.
    pub did: Did,
    /// The first syntactically valid `at://` name of the document; a claim until the handle points back.
    pub claimed_handle: Option<Handle>,
    /// The origin of the account's PDS.
    pub pds: Origin,
}

/// Why a DID document is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DidDocumentError {
    /// Not a JSON object with the members that a DID document has.
    #[error("the account's DID document is malformed")]
    Malformed,
    /// The document's `id` is another DID.
    #[error("the account's DID document is about another account")]
    WrongSubject,
    /// No `#atproto_pds` service of type `AtprotoPersonalDataServer`.
    #[error("the account's DID document names no AT Protocol server")]
    NoPds,
    /// The server's address is not a plain https origin.
    #[error("the account's DID document names a server at an address that cannot be used")]
    BadPds(#[source] OriginError),
    /// The server's host is an IP address.
    #[error("the account's DID document names its server by an IP address")]
    PdsByAddress,
    /// The server is this very server, which would make it call itself.
    #[error("the account's DID document names this server as its PDS")]
    PdsIsThisServer,
}

#[derive(Deserialize)]
struct RawDocument {
    id: String,
    // Elements stay untyped: one odd entry must not make the whole document unusable.
    #[serde(default, rename = "alsoKnownAs")]
    also_known_as: Option<Vec<Value>>,
    #[serde(default)]
    service: Option<Vec<Value>>,
}

impl Identity {
    /// Reads the document of `did`; `own_origin`, that of a server that asks, is refused as a PDS.
    pub fn from_document(
        json: &[u8],
        did: &Did,
        policy: &TransportPolicy,
        own_origin: Option<&Origin>,
    ) -> Result<Self, DidDocumentError> {
        let document: RawDocument = serde_json::from_slice(json).map_err(|_| DidDocumentError::Malformed)?;
        if document.id != did.as_str() {
            return Err(DidDocumentError::WrongSubject);
        }
        let endpoint = pds_endpoint(did, document.service.as_deref().unwrap_or_default())?;
        let pds = pds_origin(endpoint, policy)?;
        if own_origin == Some(&pds) {
            return Err(DidDocumentError::PdsIsThisServer);
        }
        let claimed_handle = claimed_handle(document.also_known_as.as_deref().unwrap_or_default());
        Ok(Self { did: did.clone(), claimed_handle, pds })
    }
}

/// The first service with the id `#atproto_pds`, relative or absolute, and the type of a PDS.
fn pds_endpoint<'a>(did: &Did, services: &'a [Value]) -> Result<&'a str, DidDocumentError> {
    let is_pds = |service: &&Value| {
        let id = service.get("id").and_then(Value::as_str).unwrap_or_default();
        let fragment = id.strip_prefix(did.as_str()).unwrap_or(id);
        fragment == "#atproto_pds" && service.get("type").and_then(Value::as_str) == Some("AtprotoPersonalDataServer")
    };
    let service = services.iter().find(is_pds).ok_or(DidDocumentError::NoPds)?;
    service.get("serviceEndpoint").and_then(Value::as_str).ok_or(DidDocumentError::NoPds)
}

fn pds_origin(endpoint: &str, policy: &TransportPolicy) -> Result<Origin, DidDocumentError> {
    let origin = Origin::parse(endpoint, policy).map_err(DidDocumentError::BadPds)?;
    let url = origin.to_url();
    // Plain http got through only where the operator listed the very host and port, addresses included.
    let named = matches!(url.host(), Some(Host::Domain(_))) || url.scheme() == "http";
    if named { Ok(origin) } else { Err(DidDocumentError::PdsByAddress) }
}

/// The first `at://` entry with a syntactically valid handle decides, even when its top-level name is reserved (then
/// there is no handle): a later entry must not stand in for it.
fn claimed_handle(also_known_as: &[Value]) -> Option<Handle> {
    let names = also_known_as.iter().filter_map(Value::as_str).filter_map(|name| name.strip_prefix("at://"));
    names.map(Handle::parse).find(|parsed| !matches!(parsed, Err(HandleError::Syntax)))?.ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const DID: &str = "did:plc:ewvi7nxzyoun6zhxrhs64oiz";

    fn read(document: &Value) -> Result<Identity, DidDocumentError> {
        let https = TransportPolicy::https_only();
        let own = Origin::parse("https://bower.example", &https).unwrap();
        Identity::from_document(document.to_string().as_bytes(), &Did::parse(DID).unwrap(), &https, Some(&own))
    }

    fn with_services(services: &Value) -> Result<Identity, DidDocumentError> {
        read(&json!({"id": DID, "alsoKnownAs": ["at://alice.test"], "service": services}))
    }

    fn pds(id: &str, kind: &str, endpoint: &str) -> Value {
        json!({"id": id, "type": kind, "serviceEndpoint": endpoint})
    }

    #[test]
    fn a_real_document_is_read() {
        // The document of the protocol's own account, shortened.
        let document = json!({
            "@context": ["https://www.w3.org/ns/did/v1", "https://w3id.org/security/multikey/v1"],
            "id": DID,
            "alsoKnownAs": ["at://atproto.com"],
            "verificationMethod": [{"id": format!("{DID}#atproto"), "type": "Multikey", "controller": DID,
                "publicKeyMultibase": "zQ3shunBKsXixLxKtC5qeSG9E4J5RkGN57im31pcTzbNQnm5w"}],
            "service": [{"id": "#atproto_pds", "type": "AtprotoPersonalDataServer",
                "serviceEndpoint": "https://enoki.us-east.host.bsky.network"}],
        });
        let identity = read(&document).unwrap();
        assert_eq!(identity.claimed_handle.unwrap().as_str(), "atproto.com");
        assert_eq!(identity.pds.as_str(), "https://enoki.us-east.host.bsky.network");
    }

    #[test]
    fn the_first_pds_of_the_right_type_counts() {
        let good = "AtprotoPersonalDataServer";
        let services = json!([
            pds("#bsky_notif", "BskyNotificationService", "https://notif.example"),
            pds("#atproto_pds", "SomethingElse", "https://wrong-type.example"),
            pds(&format!("{DID}#atproto_pds"), good, "https://first.example"),
            pds("#atproto_pds", good, "https://second.example"),
        ]);
        assert_eq!(with_services(&services).unwrap().pds.as_str(), "https://first.example");
        for none in [
            json!([]),
            json!(null),
            json!(["#atproto_pds", 7]),
            json!([pds("#atproto_pds", "SomethingElse", "https://pds.example")]),
            json!([pds("did:plc:other#atproto_pds", good, "https://pds.example")]),
            json!([pds("x#atproto_pds", good, "https://pds.example")]),
            json!([{"id": "#atproto_pds", "type": good, "serviceEndpoint": {"uri": "https://pds.example"}}]),
        ] {
            assert_eq!(with_services(&none), Err(DidDocumentError::NoPds), "{none}");
        }
    }

    #[test]
    fn a_pds_is_a_plain_origin_and_never_this_server() {
        let with = |endpoint: &str| {
            with_services(&json!([pds("#atproto_pds", "AtprotoPersonalDataServer", endpoint)])).map(|i| i.pds)
        };
        assert_eq!(with("https://pds.example/").unwrap().as_str(), "https://pds.example");
        assert_eq!(with("https://bower.example"), Err(DidDocumentError::PdsIsThisServer));
        assert_eq!(with("https://bower.example:443/"), Err(DidDocumentError::PdsIsThisServer));
        assert_eq!(with("https://203.0.113.7"), Err(DidDocumentError::PdsByAddress));
        assert_eq!(with("https://[2001:db8::1]"), Err(DidDocumentError::PdsByAddress));
        for bad in ["http://pds.example", "https://pds.example/path", "https://u@pds.example", "ftp://pds.example", ""]
        {
            assert!(matches!(with(bad), Err(DidDocumentError::BadPds(_))), "{bad}");
        }
    }

    #[test]
    fn the_first_valid_name_is_the_claim() {
        let claim = |names: Value| {
            let document = json!({"id": DID, "alsoKnownAs": names,
                "service": [pds("#atproto_pds", "AtprotoPersonalDataServer", "https://pds.example")]});
            read(&document).unwrap().claimed_handle.map(|h| h.to_string())
        };
        assert_eq!(
            claim(json!(["https://a.example", 7, "at://no", "at://A.test", "at://b.test"])),
            Some("a.test".into())
        );
        assert_eq!(claim(json!(["at://handle.invalid", "at://b.test"])), None);
        assert_eq!(claim(json!([])), None);
        assert_eq!(claim(json!(null)), None);
    }

    #[test]
    fn other_subjects_and_nonsense_are_refused() {
        assert_eq!(read(&json!({"id": "did:plc:other"})), Err(DidDocumentError::WrongSubject));
        assert_eq!(read(&json!([])), Err(DidDocumentError::Malformed));
        let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
        let https = TransportPolicy::https_only();
        let own = Origin::parse("https://bower.example", &https).unwrap();
        let did = Did::parse(DID).unwrap();
        for bytes in [deep.as_bytes(), b"<html>", b"", b"{\"id\":\"a\",\"id\":\"b\"}"] {
            assert_eq!(Identity::from_document(bytes, &did, &https, Some(&own)), Err(DidDocumentError::Malformed));
        }
    }

    proptest::proptest! {
        #[test]
        fn reading_never_panics_and_never_gives_another_subject(noise in "[\\[\\]{}:,\"a-z1 ]{0,80}", id in "\\PC{0,40}") {
            let https = TransportPolicy::https_only();
            let own = Origin::parse("https://bower.example", &https).unwrap();
            let did = Did::parse(DID).unwrap();
            let document = json!({"id": id, "alsoKnownAs": [noise], "service": [pds(&id, &noise, &noise), noise]}).to_string();
            for text in [noise.as_str(), &document] {
                if let Ok(identity) = Identity::from_document(text.as_bytes(), &did, &https, Some(&own)) {
                    proptest::prop_assert_eq!(identity.did, did.clone());
                }
            }
        }
    }
}
