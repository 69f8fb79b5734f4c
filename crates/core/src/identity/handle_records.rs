//! What a handle's DNS records say (AT Protocol specification "Handle", section "DNS TXT method").

use crate::{Did, Handle};

/// Handles longer than this leave no room for `_atproto.` in a DNS name.
const LONGEST_FOR_DNS: usize = 244;

/// The records name two different DIDs: the handle has two owners and belongs to neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TwoDids;

/// Where the TXT records of a handle are; `None` for one that is too long to have any.
pub fn handle_record_name(handle: &Handle) -> Option<String> {
    (handle.as_str().len() <= LONGEST_FOR_DNS).then(|| format!("_atproto.{handle}"))
}

/// The one DID that the records name. Those without `did=` or without a valid DID are ignored; the same DID twice is one
/// answer.
pub fn did_of_records<'a>(records: impl Iterator<Item = &'a str>) -> Result<Option<Did>, TwoDids> {
    let mut found: Option<Did> = None;
    let texts = records.filter_map(|record| record.strip_prefix("did="));
    for did in texts.filter_map(|text| Did::parse(text.trim()).ok()) {
        match &found {
            Some(earlier) if *earlier != did => return Err(TwoDids),
            Some(_) => {}
            None => found = Some(did),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_too_long_for_dns_has_no_records() {
        let label = "a".repeat(60);
        let handle = Handle::parse(&format!("{label}.{label}.{label}.{label}.b")).unwrap();
        assert!(handle.as_str().len() > LONGEST_FOR_DNS);
        assert_eq!(handle_record_name(&handle), None);
        let short = Handle::parse("alice.test").unwrap();
        assert_eq!(handle_record_name(&short).as_deref(), Some("_atproto.alice.test"));
    }

    #[test]
    fn one_did_is_an_answer_and_two_are_none() {
        let (a, b) = ("did=did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "did=did:plc:bbbbbbbbbbbbbbbbbbbbbbbb");
        let read = |records: &[&'static str]| did_of_records(records.iter().copied()).map(|did| did.is_some());
        assert_eq!(read(&[]), Ok(false));
        assert_eq!(read(&["v=spf1 -all", "did=nonsense", "DID=did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"]), Ok(false));
        assert_eq!(read(&["v=spf1 -all", a, a]), Ok(true));
        assert_eq!(read(&[a, b]), Err(TwoDids));
    }
}
