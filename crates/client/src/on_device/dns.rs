//! One question to a DNS resolver over https, in DNS' own form (RFC 1035, RFC 8484). Pure.

/// The media type of question and answer.
pub(super) const MEDIA_TYPE: &str = "application/dns-message";
/// The largest answer that is read.
const MAX_ANSWER: usize = 64 * 1024;

const TXT: u16 = 16;
const INTERNET: u16 = 1;
const HEADER: usize = 12;

/// Why an answer says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DnsFault {
    /// The resolver failed, or refused.
    Failed,
    /// It is no answer to this kind of question.
    Malformed,
}

/// Asks for the TXT records of a name. The id is zero, so that resolvers may remember the answer.
pub(super) fn txt_question(name: &str) -> Vec<u8> {
    let mut question = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        // A handle's labels have 63 bytes at most.
        question.push(u8::try_from(label.len()).unwrap_or(0));
        question.extend_from_slice(label.as_bytes());
    }
    question.push(0);
    question.extend_from_slice(&TXT.to_be_bytes());
    question.extend_from_slice(&INTERNET.to_be_bytes());
    question
}

/// The texts of an answer; none when there is no such name, or nothing at it.
pub(super) fn txt_records(answer: &[u8]) -> Result<Vec<String>, DnsFault> {
    if answer.len() < HEADER || answer.len() > MAX_ANSWER {
        return Err(DnsFault::Malformed);
    }
    let (flags, questions, records) = (short(answer, 2)?, short(answer, 4)?, short(answer, 6)?);
    if flags & 0x8000 == 0 {
        return Err(DnsFault::Malformed);
    }
    match flags & 0x000f {
        0 => {}
        3 => return Ok(Vec::new()),
        _ => return Err(DnsFault::Failed),
    }
    let mut at = HEADER;
    for _ in 0..questions {
        at = after_name(answer, at)? + 4;
    }
    let mut texts = Vec::new();
    for _ in 0..records {
        at = after_name(answer, at)?;
        let (kind, class, length) = (short(answer, at)?, short(answer, at + 2)?, usize::from(short(answer, at + 8)?));
        let start = at + 10;
        let content = answer.get(start..start + length).ok_or(DnsFault::Malformed)?;
        if (kind, class) == (TXT, INTERNET) {
            texts.push(text_of(content)?);
        }
        at = start + length;
    }
    Ok(texts)
}

/// The strings of one record, joined.
fn text_of(mut content: &[u8]) -> Result<String, DnsFault> {
    let mut text = Vec::new();
    while let Some((&length, rest)) = content.split_first() {
        let (piece, rest) = rest.split_at_checked(length.into()).ok_or(DnsFault::Malformed)?;
        text.extend_from_slice(piece);
        content = rest;
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Where a name ends: at an empty label, or at a pointer to a name elsewhere, which needs not be followed.
fn after_name(message: &[u8], mut at: usize) -> Result<usize, DnsFault> {
    loop {
        let length = *message.get(at).ok_or(DnsFault::Malformed)?;
        match length {
            0 => return Ok(at + 1),
            1..=63 => at += 1 + usize::from(length),
            0xc0.. => return Ok(at + 2),
            _ => return Err(DnsFault::Malformed),
        }
    }
}

fn short(message: &[u8], at: usize) -> Result<u16, DnsFault> {
    let bytes = message.get(at..at + 2).ok_or(DnsFault::Malformed)?;
    Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An answer with these records, each as kind and content, and the owner's name as a pointer.
    fn answer(flags: u16, records: &[(u16, Vec<u8>)]) -> Vec<u8> {
        let mut message = txt_question("_atproto.alice.test");
        message[2..4].copy_from_slice(&flags.to_be_bytes());
        message[6..8].copy_from_slice(&u16::try_from(records.len()).unwrap().to_be_bytes());
        for (kind, content) in records {
            message.extend_from_slice(&[0xc0, 0x0c]);
            message.extend_from_slice(&kind.to_be_bytes());
            message.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
            message.extend_from_slice(&u16::try_from(content.len()).unwrap().to_be_bytes());
            message.extend_from_slice(content);
        }
        message
    }

    fn text(pieces: &[&str]) -> Vec<u8> {
        let piece = |text: &&str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
        pieces.iter().flat_map(piece).collect()
    }

    #[test]
    fn the_question_is_that_of_the_rfc() {
        let expected = b"\0\0\x01\0\0\x01\0\0\0\0\0\0\x08_atproto\x05alice\x04test\0\0\x10\0\x01";
        assert_eq!(txt_question("_atproto.alice.test"), expected);
    }

    #[test]
    fn texts_are_joined_and_other_records_passed_over() {
        let records = [(5, b"\x05other\xc0\x0c".to_vec()), (TXT, text(&["did=did:plc:", "abc"])), (TXT, text(&["x"]))];
        assert_eq!(txt_records(&answer(0x8180, &records)).unwrap(), ["did=did:plc:abc", "x"]);
        assert!(txt_records(&answer(0x8180, &[])).unwrap().is_empty());
        assert!(txt_records(&answer(0x8183, &[])).unwrap().is_empty(), "no such name");
    }

    #[test]
    fn failures_and_nonsense_are_no_answers() {
        assert_eq!(txt_records(&answer(0x8182, &[])), Err(DnsFault::Failed));
        assert_eq!(txt_records(&answer(0x0100, &[])), Err(DnsFault::Malformed), "a question");
        assert_eq!(txt_records(b"<!doctype html>"), Err(DnsFault::Malformed));
        assert_eq!(txt_records(&vec![0x81; MAX_ANSWER + 1]), Err(DnsFault::Malformed));
        let whole = answer(0x8180, &[(TXT, text(&["did=did:plc:abc"]))]);
        for cut in 0..whole.len() {
            assert!(txt_records(&whole[..cut]).is_err(), "{cut}");
        }
        assert_eq!(txt_records(&answer(0x8180, &[(TXT, vec![9, b'x'])])), Err(DnsFault::Malformed));
    }

    proptest! {
        #[test]
        fn reading_never_panics(noise in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ignored = txt_records(&noise);
            let _ignored = txt_records(&answer(0x8180, &[(TXT, noise.clone())]));
            let _ignored = txt_records(&[&answer(0x8180, &[(TXT, text(&["x"]))])[..20], &noise].concat());
        }
    }
}
