//! Looks for secrets where none may be: in logs, databases, answers, whole folders, in every encoding that they could
//! have taken on the way.

use std::fs;
use std::path::{Path, PathBuf};

use aho_corasick::AhoCorasick;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use crate::threads::hex;

/// A secret that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The first characters of the secret: enough to know which one, without printing it whole.
    pub secret: String,
    /// How it was written.
    pub encoding: &'static str,
    /// Where: a file, or the name that was given to the bytes.
    pub source: String,
    /// At which byte.
    pub offset: usize,
}

/// A search for some secrets; add sources, then take the hits.
#[derive(Debug)]
pub struct Sweep {
    searcher: AhoCorasick,
    needles: Vec<(String, &'static str)>,
    left_out: Vec<PathBuf>,
    hits: Vec<Hit>,
    sources: usize,
    bytes: u64,
}

impl Sweep {
    /// Looks for these secrets. Those shorter than 8 bytes are refused: they would be found by chance.
    pub fn new<S: AsRef<[u8]>>(secrets: impl IntoIterator<Item = S>) -> Self {
        let (mut patterns, mut needles) = (Vec::new(), Vec::new());
        for secret in secrets {
            let secret = secret.as_ref();
            assert!(secret.len() >= 8, "a secret of {} bytes would be found by chance", secret.len());
            let label = label(secret);
            for (encoding, pattern) in encodings(secret) {
                patterns.push(pattern);
                needles.push((label.clone(), encoding));
            }
        }
        assert!(!needles.is_empty(), "a sweep without secrets finds nothing, and proves nothing");
        let searcher = AhoCorasick::new(&patterns).expect("patterns of moderate size");
        Self { searcher, needles, left_out: Vec::new(), hits: Vec::new(), sources: 0, bytes: 0 }
    }

    /// Searches some bytes.
    #[must_use]
    pub fn bytes(mut self, source: &str, bytes: &[u8]) -> Self {
        self.search(source, bytes);
        self
    }

    /// Searches a file.
    #[must_use]
    pub fn file(mut self, path: &Path) -> Self {
        let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        self.search(&path.display().to_string(), &bytes);
        self
    }

    /// Searches a folder and everything below it: the database with its WAL and temporary files. File names too.
    #[must_use]
    pub fn folder(mut self, path: &Path) -> Self {
        self.search_folder(path);
        self
    }

    /// Leaves a file out of the folders that follow: the one place where these secrets belong.
    #[must_use]
    pub fn but(mut self, path: &Path) -> Self {
        assert!(path.is_file(), "{} is no file to leave out", path.display());
        self.left_out.push(path.to_owned());
        self
    }

    /// What was found.
    pub fn hits(&self) -> &[Hit] {
        &self.hits
    }

    /// How many sources and bytes were searched.
    pub fn searched(&self) -> (usize, u64) {
        (self.sources, self.bytes)
    }

    /// Panics when anything was found, or when nothing was searched.
    pub fn assert_clean(&self) {
        assert!(self.bytes > 0, "the sweep searched nothing");
        let shown = &self.hits[..self.hits.len().min(20)];
        assert!(self.hits.is_empty(), "{} secrets where none may be, such as: {shown:#?}", self.hits.len());
    }

    fn search_folder(&mut self, path: &Path) {
        let entries = fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for entry in entries {
            let path = entry.expect("an entry of a folder").path();
            self.search("file names", path.as_os_str().as_encoded_bytes());
            if self.left_out.contains(&path) {
                continue;
            }
            if path.is_dir() {
                self.search_folder(&path);
            } else if let Ok(bytes) = fs::read(&path) {
                // A file that is gone by now (a WAL) or that is a socket has no bytes to search.
                self.search(&path.display().to_string(), &bytes);
            }
        }
    }

    fn search(&mut self, source: &str, bytes: &[u8]) {
        self.sources += 1;
        self.bytes += bytes.len() as u64;
        for found in self.searcher.find_overlapping_iter(bytes) {
            let (secret, encoding) = self.needles[found.pattern().as_usize()].clone();
            self.hits.push(Hit { secret, encoding, source: source.to_owned(), offset: found.start() });
        }
    }
}

/// Enough of a secret to know which one it is.
fn label(secret: &[u8]) -> String {
    match std::str::from_utf8(secret) {
        Ok(text) => format!("{}…", text.chars().take(14).collect::<String>()),
        Err(_) => format!("bytes {}…", hex(&secret[..4])),
    }
}

/// The forms that a secret can have inside other bytes.
fn encodings(secret: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let percent = |upper: bool| {
        let digits = if upper { hex(secret).to_uppercase() } else { hex(secret) };
        digits.as_bytes().chunks(2).flat_map(|pair| [b'%', pair[0], pair[1]]).collect::<Vec<u8>>()
    };
    let list = |between: &str| secret.iter().map(u8::to_string).collect::<Vec<_>>().join(between).into_bytes();
    let mut forms = vec![
        ("list", list(", ")),
        ("list", list(",")),
        ("raw", secret.to_vec()),
        ("hex", hex(secret).into_bytes()),
        ("hex", hex(secret).to_uppercase().into_bytes()),
        ("percent-encoded", percent(true)),
        ("percent-encoded", percent(false)),
        ("percent-encoded", url::form_urlencoded::byte_serialize(secret).collect::<String>().into_bytes()),
        ("reversed", secret.iter().rev().copied().collect()),
        ("utf-16", secret.iter().flat_map(|&byte| [byte, 0]).collect()),
    ];
    if let Ok(text) = std::str::from_utf8(secret) {
        let quoted = serde_json::Value::from(text).to_string();
        forms.push(("json", quoted.as_bytes()[1..quoted.len() - 1].to_vec()));
    }
    for shift in 0..3 {
        forms.push(("base64", base64_inside(secret, shift, |bytes| STANDARD_NO_PAD.encode(bytes))));
        forms.push(("base64url", base64_inside(secret, shift, |bytes| URL_SAFE_NO_PAD.encode(bytes))));
    }
    forms.sort_by(|a, b| a.1.cmp(&b.1).then_with(|| (a.0 != "raw").cmp(&(b.0 != "raw"))));
    forms.dedup_by(|later, earlier| later.1 == earlier.1);
    forms
}

/// The characters of base64 that depend on the secret alone when `shift` other bytes come before it.
fn base64_inside(secret: &[u8], shift: usize, encode: impl Fn(&[u8]) -> String) -> Vec<u8> {
    let padded = [&vec![0; shift][..], secret].concat();
    let encoded = encode(&padded);
    let from = (shift * 8).div_ceil(6);
    let to = (shift + secret.len()) * 8 / 6;
    encoded.as_bytes()[from..to].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "CANARY-AT-0123456789abcdef";

    fn found(bytes: &[u8]) -> Vec<&'static str> {
        Sweep::new([SECRET]).bytes("test", bytes).hits().iter().map(|hit| hit.encoding).collect()
    }

    #[test]
    fn every_encoding_is_found_with_other_bytes_around() {
        let whole = |prefix: &str| format!("{prefix}{SECRET} and more");
        for prefix in ["", "a", "ab", "abc", "abcd"] {
            let text = whole(prefix);
            assert_eq!(found(text.as_bytes()), ["raw"]);
            assert!(
                found(STANDARD_NO_PAD.encode(&text).as_bytes()).iter().any(|kind| kind.starts_with("base64")),
                "{prefix}"
            );
            assert!(
                found(URL_SAFE_NO_PAD.encode(&text).as_bytes()).iter().any(|kind| kind.starts_with("base64")),
                "{prefix}"
            );
            assert_eq!(found(hex(text.as_bytes()).as_bytes()), ["hex"]);
        }
        assert_eq!(
            found(SECRET.bytes().map(|byte| format!("%{byte:02X}")).collect::<Vec<_>>().concat().as_bytes()),
            ["percent-encoded"]
        );
        assert!(found(b"CANARY-AT-0123456789abcdeX").is_empty());
    }

    #[test]
    fn bytes_are_found_as_text_as_a_list_and_as_they_are() {
        let key: Vec<u8> = (0..32).map(|at| 251 - 7 * at).collect();
        let found = |bytes: &[u8]| -> Vec<&'static str> {
            let sweep = Sweep::new([&key]).bytes("test", bytes);
            sweep.hits().iter().map(|hit| hit.encoding).collect()
        };
        assert_eq!(found(&[b"before".as_slice(), &key, b"after"].concat()), ["raw"]);
        assert_eq!(found(format!("key: {key:?}").as_bytes()), ["list"]);
        assert_eq!(found(serde_json::Value::from(key.clone()).to_string().as_bytes()), ["list"]);
        assert_eq!(found(format!("\"d\":\"{}\"", URL_SAFE_NO_PAD.encode(&key)).as_bytes()), ["base64url"]);
        assert!(found(&key[1..]).is_empty());
    }

    #[test]
    fn a_file_can_be_left_out_of_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let (own, other) = (folder.path().join("own"), folder.path().join("other"));
        fs::write(&own, SECRET).unwrap();
        fs::write(&other, "nothing").unwrap();
        Sweep::new([SECRET]).but(&own).folder(folder.path()).assert_clean();
        assert_eq!(Sweep::new([SECRET]).but(&other).folder(folder.path()).hits().len(), 1);
    }

    #[test]
    fn hits_name_file_and_offset_in_folders() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("deep")).unwrap();
        let file = folder.path().join("deep/log");
        fs::write(&file, format!("line\n{SECRET}")).unwrap();
        let sweep = Sweep::new([SECRET]).folder(folder.path());
        assert_eq!(sweep.hits()[0].offset, 5);
        assert_eq!(sweep.hits()[0].source, file.display().to_string());
        assert!(!sweep.hits()[0].secret.contains(SECRET), "the hit does not spread the secret");
    }
}
