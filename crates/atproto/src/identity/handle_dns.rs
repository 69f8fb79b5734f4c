//! The DNS way from a handle to a DID (AT Protocol specification "Handle", section "DNS TXT method").

use bowerbird_core::identity::{TwoDids, did_of_records, handle_record_name};
use bowerbird_core::ports::Dns;
use bowerbird_core::{Did, Handle};

use super::error::{IdentityError, Unreachable};

/// Asks for the TXT records of `_atproto.<handle>`. None when no record names a DID.
///
/// Records without `did=` are ignored; the same DID twice is one answer, two different DIDs are none.
pub(super) async fn by_dns(dns: &dyn Dns, handle: &Handle) -> Result<Option<Did>, IdentityError> {
    let Some(name) = handle_record_name(handle) else { return Ok(None) };
    let records = dns.txt(&name).await.map_err(|error| IdentityError::Unreachable(Unreachable::Dns(error)))?;
    did_of_records(records.iter().map(String::as_str)).map_err(|TwoDids| IdentityError::Ambiguous(handle.clone()))
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use bowerbird_core::ports::DnsError;
    use bowerbird_core::testing::TableDns;

    use super::*;

    const A: &str = "did=did:plc:aaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "did=did:plc:bbbbbbbbbbbbbbbbbbbbbbbb";

    async fn ask(records: &[&str]) -> Result<Option<Did>, IdentityError> {
        let dns = TableDns::default();
        dns.set("_atproto.alice.test", records);
        by_dns(&dns, &Handle::parse("alice.test").unwrap()).await
    }

    #[tokio::test]
    async fn one_did_is_the_answer_and_other_records_are_ignored() {
        assert!(ask(&[]).await.unwrap().is_none());
        assert!(ask(&["v=spf1 -all", "did=nonsense", "DID=did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"]).await.unwrap().is_none());
        let did = ask(&["v=spf1 -all", A, A]).await.unwrap().unwrap();
        assert_eq!(did.as_str(), "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa");
    }

    #[tokio::test]
    async fn row_47_two_different_dids_are_ambiguous() {
        assert!(matches!(ask(&[A, B]).await, Err(IdentityError::Ambiguous(h)) if h.as_str() == "alice.test"));
    }

    struct NeverAsk;

    #[async_trait]
    impl Dns for NeverAsk {
        async fn txt(&self, name: &str) -> Result<Vec<String>, DnsError> {
            panic!("asked for {name}")
        }
    }

    #[tokio::test]
    async fn a_name_too_long_for_dns_is_not_asked() {
        let label = "a".repeat(60);
        let handle = Handle::parse(&format!("{label}.{label}.{label}.{label}.b")).unwrap();
        assert!(by_dns(&NeverAsk, &handle).await.unwrap().is_none());
    }
}
