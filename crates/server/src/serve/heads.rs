//! Follows the bytes of an HTTP/1 connection from head to head, to see how each request says where its body ends
//! (security row 70).
//!
//! The HTTP library takes `Content-Length` away from a request that also has `Transfer-Encoding`, so nothing behind it
//! can tell such a request from a good one. This looks at the same bytes before it does.
//!
//! It need not agree with the library about everything, for it errs to one side: a request with `Transfer-Encoding` is
//! good only when its head was seen here and had nothing else. Whatever this loses sight of is refused.

use memchr::memchr;

/// What is kept of a line that is not there as a whole yet. A `Content-Length` that needs more is nobody's.
const LINE_BYTES: usize = 64;
const TRANSFER_ENCODING: &[u8] = b"transfer-encoding:";
const CONTENT_LENGTH: &[u8] = b"content-length:";
/// The start of the first line of an HTTP/2 connection; after it there are no heads of this kind.
const HTTP_2: &[u8] = b"PRI ";

/// What a head with `Transfer-Encoding` looked like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// It had that header and no `Content-Length`.
    Chunked,
    /// It had both.
    Both,
}

/// Where the next byte belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before a head, where empty lines mean nothing.
    Before,
    RequestLine,
    Field,
    /// In a body, of which this many bytes are still to come.
    Body(u64),
    /// Not looked at any more: after a body of chunks, in HTTP/2, or after something malformed, which ends the
    /// connection.
    Lost,
}

/// Follows one connection. No allocation, and for a head that arrives whole one pass over it.
#[derive(Debug)]
pub(super) struct Heads {
    place: Place,
    transfer_encoding: bool,
    length: Option<u64>,
    line: [u8; LINE_BYTES],
    /// How long the unfinished line is; more than what is kept of it, if it is long.
    so_far: usize,
    seen: Option<Seen>,
}

impl Heads {
    pub(super) fn new() -> Self {
        let line = [0; LINE_BYTES];
        Self { place: Place::Before, transfer_encoding: false, length: None, line, so_far: 0, seen: None }
    }

    /// Takes the next bytes of the connection, cut anywhere.
    pub(super) fn follow(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = match self.place {
                Place::Before => self.skip_empty_lines(bytes),
                Place::RequestLine | Place::Field => self.take_line(bytes),
                Place::Body(left) => self.skip_body(left, bytes),
                Place::Lost => return,
            };
        }
    }

    /// What the one head with `Transfer-Encoding` looked like, once it is complete. There is one at most: after it
    /// nothing is followed.
    pub(super) const fn seen(&self) -> Option<Seen> {
        self.seen
    }

    /// Whether anything can still be seen.
    pub(super) fn is_lost(&self) -> bool {
        self.place == Place::Lost
    }

    fn skip_empty_lines<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let Some(at) = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n')) else { return &[] };
        self.place = Place::RequestLine;
        &bytes[at..]
    }

    fn skip_body<'a>(&mut self, left: u64, bytes: &'a [u8]) -> &'a [u8] {
        let here = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
        let left = left - here as u64;
        self.place = if left == 0 { Place::Before } else { Place::Body(left) };
        &bytes[here..]
    }

    fn take_line<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let Some(end) = memchr(b'\n', bytes) else {
            self.keep(bytes);
            return &[];
        };
        let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
        if self.so_far == 0 {
            self.judge(&line[..line.len().min(LINE_BYTES)]);
        } else {
            self.keep(line);
            let kept = self.line;
            self.judge(&kept[..self.so_far.min(LINE_BYTES)]);
            self.so_far = 0;
        }
        rest
    }

    /// Remembers a piece of a line, up to what can matter.
    fn keep(&mut self, piece: &[u8]) {
        if let Some(room) = self.line.get_mut(self.so_far..) {
            let kept = piece.len().min(room.len());
            room[..kept].copy_from_slice(&piece[..kept]);
        }
        self.so_far = self.so_far.saturating_add(piece.len());
    }

    /// Takes the start of a line, without its line feed.
    fn judge(&mut self, line: &[u8]) {
        if self.place == Place::RequestLine {
            self.place = if line.starts_with(HTTP_2) { Place::Lost } else { Place::Field };
            return;
        }
        match line.first() {
            None => self.end_head(),
            Some(b'\r') if line.len() == 1 => self.end_head(),
            Some(b'T' | b't') if starts_with(line, TRANSFER_ENCODING) => self.transfer_encoding = true,
            Some(b'C' | b'c') if starts_with(line, CONTENT_LENGTH) => self.take_length(line),
            Some(_) => {}
        }
    }

    fn take_length(&mut self, line: &[u8]) {
        let length = (line.len() < LINE_BYTES).then(|| decimal(&line[CONTENT_LENGTH.len()..])).flatten();
        match (length, self.length) {
            (Some(length), None) => self.length = Some(length),
            (Some(length), Some(other)) if length == other => {}
            _ => self.place = Place::Lost,
        }
    }

    fn end_head(&mut self) {
        let (transfer_encoding, length) = (self.transfer_encoding, self.length.take());
        if transfer_encoding {
            self.seen = Some(if length.is_some() { Seen::Both } else { Seen::Chunked });
            self.place = Place::Lost;
        } else {
            let length = length.unwrap_or(0);
            self.place = if length == 0 { Place::Before } else { Place::Body(length) };
        }
    }
}

fn starts_with(line: &[u8], lower: &[u8]) -> bool {
    line.get(..lower.len()).is_some_and(|start| start.eq_ignore_ascii_case(lower))
}

/// A field's value that is nothing but digits.
fn decimal(value: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(value).ok()?.trim_matches([' ', '\t', '\r']);
    let plain = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GET: &str =
        "GET /xrpc/a.b.c HTTP/1.1\r\nHost: h\r\nCookie: sid=x\r\nTe: trailers\r\nContent-Type: a/b\r\n\r\n";

    fn followed(pieces: &[&[u8]]) -> Heads {
        let mut heads = Heads::new();
        for piece in pieces {
            heads.follow(piece);
        }
        heads
    }

    fn seen(text: &str) -> Option<Seen> {
        followed(&[text.as_bytes()]).seen()
    }

    fn post(fields: &str) -> String {
        format!("POST / HTTP/1.1\r\nHost: h\r\n{fields}\r\n")
    }

    #[test]
    fn both_headers_are_seen_in_every_order_and_spelling() {
        for (te, cl) in [
            ("Transfer-Encoding: chunked\r\n", "Content-Length: 4\r\n"),
            ("transfer-encoding:chunked\r\n", "content-length:4\r\n"),
            ("TRANSFER-ENCODING: gzip\r\n", "CONTENT-LENGTH: \t 0  \r\n"),
            ("tRANSFER-eNCODING:\r\n", "Content-Length: 4\n"),
        ] {
            assert_eq!(seen(&post(&format!("{te}{cl}"))), Some(Seen::Both), "{te}{cl}");
            assert_eq!(seen(&post(&format!("{cl}{te}"))), Some(Seen::Both), "{cl}{te}");
            assert_eq!(seen(&post(&format!("{cl}X: y\r\n{te}{cl}{te}"))), Some(Seen::Both), "{cl}{te}");
            assert_eq!(seen(&post(te)), Some(Seen::Chunked), "{te}");
            assert_eq!(seen(&post(cl)), None, "{cl}");
        }
    }

    #[test]
    fn what_only_looks_like_them_is_not() {
        let fields = "X-Transfer-Encoding: chunked\r\nX: Transfer-Encoding: chunked\r\nTransfer-Encodin: x\r\n\
                      Transfer-Encodings: x\r\nContent-Lengths: 9\r\n";
        let heads = followed(&[post(fields).as_bytes(), GET.as_bytes()]);
        assert_eq!((heads.seen(), heads.place), (None, Place::Before));
    }

    #[test]
    fn what_cannot_be_followed_is_not_called_good() {
        for fields in [
            "Content-Length: +4\r\n",
            "Content-Length: 4, 4\r\n",
            "Content-Length: 0x4\r\n",
            "Content-Length:\r\n",
            "Content-Length: 4\r\nContent-Length: 5\r\n",
            "Content-Length: 99999999999999999999\r\n",
            &format!("Content-Length:{}4\r\n", " ".repeat(100)),
        ] {
            let later = post("Transfer-Encoding: chunked\r\n");
            let heads = followed(&[post(fields).as_bytes(), later.as_bytes()]);
            assert!(heads.is_lost() && heads.seen().is_none(), "{fields}");
        }
        let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        assert!(followed(&[preface.as_bytes()]).is_lost());
    }

    #[test]
    fn nothing_after_chunks_is_followed() {
        let first = post("Transfer-Encoding: chunked\r\n");
        let second = post("Transfer-Encoding: chunked\r\nContent-Length: 1\r\n");
        let heads = followed(&[first.as_bytes(), b"0\r\n\r\n", second.as_bytes()]);
        assert_eq!((heads.seen(), heads.is_lost()), (Some(Seen::Chunked), true));
    }

    /// A request of any kind that leaves the connection open, with a body that looks like heads.
    fn request() -> impl Strategy<Value = String> {
        let bodies = prop::sample::select(vec![
            "",
            "x",
            "\r\n\r\n",
            "Transfer-Encoding: chunked\r\n\r\n",
            "\n\nPOST / HTTP/1.1\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n",
        ]);
        let before = prop::sample::select(vec!["", "\r\n", "\n\r\n"]);
        let line = prop::sample::select(vec!["\r\n", "\n"]);
        let long = prop::sample::select(vec![0_usize, 1, 30, 60, 200]);
        (bodies, before, line, long, any::<bool>()).prop_map(|(body, before, line, long, twice)| {
            let mut text = format!("{before}POST / HTTP/1.1{line}Host: h{line}X: {}{line}", "t".repeat(long));
            let lengths = usize::from(!body.is_empty()) + usize::from(twice);
            text.push_str(&format!("content-Length: {}{line}", body.len()).repeat(lengths));
            text + line + body
        })
    }

    fn last() -> impl Strategy<Value = (&'static str, Option<Seen>)> {
        prop::sample::select(vec![
            ("", None),
            ("Transfer-Encoding: chunked\r\n", Some(Seen::Chunked)),
            ("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", Some(Seen::Both)),
            ("Content-Length: 3\r\nX: y\r\nTransfer-Encoding: chunked\r\n", Some(Seen::Both)),
            ("Content-Length: 3\r\nContent-Length: 3\r\nTRANSFER-ENCODING:chunked\r\n", Some(Seen::Both)),
        ])
    }

    proptest! {
        #[test]
        fn cuts_and_pipelines_change_nothing(
            requests in prop::collection::vec(request(), 0..5),
            (fields, expected) in last(),
            mut cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let text = requests.concat() + &post(fields);
            let mut at: Vec<usize> = cuts.drain(..).map(|cut| cut.index(text.len() + 1)).collect();
            at.extend([0, text.len()]);
            at.sort_unstable();
            let pieces: Vec<&[u8]> = at.windows(2).map(|pair| &text.as_bytes()[pair[0]..pair[1]]).collect();
            prop_assert_eq!(followed(&pieces).seen(), expected);
            let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
            prop_assert_eq!(followed(&bytes).seen(), expected);
        }

        #[test]
        fn any_bytes_are_followed_alike_in_any_pieces(
            parts in prop::collection::vec(prop::sample::select(vec![
                "G", " ", ":", "\r", "\n", "\r\n", "\r\n\r\n", "content-length:", "Content-Length: 2", "1",
                "Transfer-Encoding:", "transfer-encoding: chunked", "POST / HTTP/1.1\r\n", "PRI ", "\0", "é",
            ]), 0..40),
            size in 1_usize..9,
        ) {
            let text = parts.concat();
            let pieces: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
            let (whole, cut) = (followed(&[text.as_bytes()]), followed(&pieces));
            prop_assert_eq!((whole.place, whole.seen(), whole.length), (cut.place, cut.seen(), cut.length));
        }
    }
}
