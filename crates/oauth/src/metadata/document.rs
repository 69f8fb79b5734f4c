//! Reading a discovery document strictly: exactly 200, `application/json`, no duplicate names, bounded depth.

use std::fmt;

use http::{Response, StatusCode, header::CONTENT_TYPE};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::MetadataError;
use crate::token::printable;

/// Largest document, in bytes.
const MAX_BYTES: usize = 512 * 1024;
/// Deepest nesting; real documents have two levels.
const MAX_DEPTH: u8 = 16;

/// A discovery document whose members are taken out by name and type.
pub(super) struct Document(Map<String, Value>);

impl Document {
    pub(super) fn read<B: AsRef<[u8]>>(answer: &Response<B>) -> Result<Self, MetadataError> {
        if answer.status() != StatusCode::OK {
            return Err(MetadataError::NotOk(answer.status().as_u16()));
        }
        if !is_json(answer) {
            return Err(MetadataError::NotJson);
        }
        let body = answer.body().as_ref();
        if body.len() > MAX_BYTES {
            return Err(MetadataError::TooLarge);
        }
        let malformed = |error: serde_json::Error| MetadataError::Malformed(printable(&error.to_string(), 200));
        let mut deserializer = serde_json::Deserializer::from_slice(body);
        let value = Strict { depth: MAX_DEPTH }.deserialize(&mut deserializer).map_err(malformed)?;
        deserializer.end().map_err(malformed)?;
        match value {
            Value::Object(members) => Ok(Self(members)),
            _ => Err(MetadataError::Malformed("not an object".to_owned())),
        }
    }

    /// A text that must be there.
    pub(super) fn text(&self, name: &'static str) -> Result<&str, MetadataError> {
        self.optional_text(name)?.ok_or(MetadataError::Member(name))
    }

    /// A text that may be absent, but not of another type.
    pub(super) fn optional_text(&self, name: &'static str) -> Result<Option<&str>, MetadataError> {
        self.0.get(name).map(|value| value.as_str().ok_or(MetadataError::Member(name))).transpose()
    }

    /// A list of texts that may be absent, but not of another type.
    pub(super) fn optional_list(&self, name: &'static str) -> Result<Option<Vec<&str>>, MetadataError> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        let entries = value.as_array().ok_or(MetadataError::Member(name))?;
        entries
            .iter()
            .map(|entry| entry.as_str().ok_or(MetadataError::Member(name)))
            .collect::<Result<_, _>>()
            .map(Some)
    }

    /// A flag that may be absent, but not of another type.
    pub(super) fn optional_flag(&self, name: &'static str) -> Result<Option<bool>, MetadataError> {
        self.0.get(name).map(|value| value.as_bool().ok_or(MetadataError::Member(name))).transpose()
    }
}

fn is_json<B>(answer: &Response<B>) -> bool {
    let mut values = answer.headers().get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let essence = value.to_str().ok().and_then(|text| text.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

/// Builds a JSON value, refusing duplicate names (`serde_json` would keep the last one) and deep nesting.
struct Strict {
    depth: u8,
}

impl Strict {
    fn inner<E: Error>(&self) -> Result<Self, E> {
        let depth = self.depth.checked_sub(1).ok_or_else(|| E::custom("nested too deeply"))?;
        Ok(Self { depth })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(entry) = entries.next_element_seed(self.inner()?)? {
            list.push(entry);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(self.inner()?)?;
            if members.insert(name, value).is_some() {
                return Err(A::Error::custom("a name appears twice"));
            }
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(status: u16, content_type: &str, body: &str) -> Result<Document, MetadataError> {
        let answer = Response::builder().status(status).header("content-type", content_type);
        Document::read(&answer.body(body.as_bytes().to_vec()).unwrap())
    }

    fn fault(body: &str) -> MetadataError {
        read(200, "application/json", body).err().unwrap()
    }

    #[test]
    fn only_200_json_is_read() {
        for good in ["application/json", "application/json; charset=utf-8", "Application/JSON"] {
            assert!(read(200, good, "{}").is_ok(), "{good}");
        }
        for bad in ["text/html", "text/plain", "application/jsonp", "application/ld+json", ""] {
            assert_eq!(read(200, bad, "{}").err(), Some(MetadataError::NotJson), "{bad}");
        }
        for status in [201, 204, 206, 301, 302, 307, 404, 500] {
            assert_eq!(read(status, "application/json", "{}").err(), Some(MetadataError::NotOk(status)));
        }
        let none = Response::builder().status(200).body(b"{}".to_vec()).unwrap();
        assert_eq!(Document::read(&none).err(), Some(MetadataError::NotJson));
        let two = Response::builder().header("content-type", "application/json").header("content-type", "text/html");
        assert_eq!(Document::read(&two.body(b"{}".to_vec()).unwrap()).err(), Some(MetadataError::NotJson));
    }

    #[test]
    fn duplicate_names_are_refused_at_every_level() {
        for body in [r#"{"issuer":"a","issuer":"b"}"#, r#"{"a":"x","\u0061":"x"}"#, r#"{"a":[{"b":1,"b":1}]}"#] {
            let MetadataError::Malformed(text) = fault(body) else { panic!("{body}") };
            assert!(text.starts_with("a name appears twice"), "{body}: {text}");
        }
    }

    #[test]
    fn deep_and_large_documents_are_refused() {
        for depth in [20, 100, 10_000] {
            let body = format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
            assert!(
                matches!(fault(&body), MetadataError::Malformed(text) if text.contains("deep") || text.contains("recursion"))
            );
        }
        assert!(read(200, "application/json", &format!("{{\"a\":{}{}}}", "[".repeat(14), "]".repeat(14))).is_ok());
        assert_eq!(fault(&format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_BYTES))), MetadataError::TooLarge);
    }

    #[test]
    fn other_json_and_trailing_bytes_are_refused() {
        for body in ["", "[]", "null", "\"x\"", "{", "{}{}", "{} x", "<html>"] {
            assert!(matches!(fault(body), MetadataError::Malformed(_)), "{body}");
        }
    }

    #[test]
    fn members_are_typed() {
        let document =
            read(200, "application/json", r#"{"t":"x","n":5,"l":["a"],"m":["a",1],"f":true,"z":null}"#).unwrap();
        assert_eq!(document.text("t"), Ok("x"));
        assert_eq!(document.text("n"), Err(MetadataError::Member("n")));
        assert_eq!(document.text("absent"), Err(MetadataError::Member("absent")));
        assert_eq!(document.optional_text("absent"), Ok(None));
        assert_eq!(document.optional_text("z"), Err(MetadataError::Member("z")));
        assert_eq!(document.optional_list("l"), Ok(Some(vec!["a"])));
        assert_eq!(document.optional_list("m"), Err(MetadataError::Member("m")));
        assert_eq!(document.optional_list("t"), Err(MetadataError::Member("t")));
        assert_eq!(document.optional_flag("f"), Ok(Some(true)));
        assert_eq!(document.optional_flag("t"), Err(MetadataError::Member("t")));
    }

    proptest! {
        #[test]
        fn reading_never_panics(body: Vec<u8>, text in "[\\[\\]{}:,\"a1 ]{0,60}") {
            for body in [body.as_slice(), text.as_bytes()] {
                let _read = Document::read(&Response::builder().header("content-type", "application/json").body(body).unwrap());
            }
        }
    }
}
