//! What must hold of tokens for any bytes at all. The fuzz target and an ordinary test that replays its corpus share it.

use std::fmt;

use ringway_proto::jwt::{DEPTH_MAX, Path, TokenError, VALUE_MAX, Value, claim};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Checks a line, which is a path, and what is behind it: as a token, and as the payload of one.
pub(crate) fn jwt(data: &[u8]) {
    let Some(end) = data.iter().position(|byte| *byte == b'\n') else { return };
    let Some(path) = str::from_utf8(&data[..end]).ok().and_then(|text| Path::new(text).ok()) else { return };
    let bytes = &data[end + 1..];
    let mut value = Value::default();
    if let Ok(Some(text)) = claim(bytes, &path, &mut value) {
        assert!(text.len() <= VALUE_MAX && bytes.split(|byte| *byte == b'.').count() == 3);
        str::from_utf8(text).unwrap();
    }
    let got = claim(&token(bytes), &path, &mut value);
    match model(bytes, &steps(&path.to_string())) {
        Model::Unknown => {}
        Model::Refused => assert!(got.is_err(), "{got:?}"),
        Model::Nothing => assert_eq!(got, Ok(None)),
        Model::Text(text) if text.len() > VALUE_MAX => assert_eq!(got, Err(TokenError::ValueTooLong)),
        Model::Text(text) => assert_eq!(got, Ok(Some(text.as_bytes()))),
        // An integer that is too large for the model, or a fraction.
        Model::Float(float) => {
            if let Ok(Some(text)) = got {
                let text = str::from_utf8(text).unwrap();
                assert!(text.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit()));
                assert_eq!(text.parse(), Ok(float));
            }
        }
    }
}

/// A token with this payload.
pub(crate) fn token(payload: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut token = b"eyJhbGciOiJub25lIn0.".to_vec();
    for group in payload.chunks(3) {
        let bits = group.iter().chain(&[0; 2]).take(3).fold(0, |bits, byte| bits << 8 | usize::from(*byte));
        token.extend((0..=group.len()).map(|at| DIGITS[bits >> (18 - 6 * at) & 63]));
    }
    token.push(b'.');
    token
}

/// JSON with every member of an object, those of one name too.
enum Json {
    Nothing,
    Text(String),
    Float(f64),
    Array(Vec<Self>),
    Object(Vec<(String, Self)>),
}

enum Model {
    /// The model cannot tell.
    Unknown,
    Refused,
    Nothing,
    Text(String),
    Float(f64),
}

fn steps(path: &str) -> Vec<String> {
    match path.strip_prefix('/') {
        None => vec![path.to_owned()],
        Some(pointer) => pointer.split('/').map(|step| step.replace("~1", "/").replace("~0", "~")).collect(),
    }
}

fn model(payload: &[u8], steps: &[String]) -> Model {
    if token(payload).len() > ringway_proto::jwt::TOKEN_MAX {
        return Model::Refused;
    }
    let Ok(text) = str::from_utf8(payload) else { return Model::Refused };
    let json = match serde_json::from_str::<Json>(text) {
        Ok(json) => json,
        // It wants numbers that a machine can hold.
        Err(error) if error.to_string().starts_with("number out of range") => return Model::Unknown,
        Err(_) => return Model::Refused,
    };
    if !matches!(json, Json::Object(_)) || depth(&json) > DEPTH_MAX {
        return Model::Refused;
    }
    let mut at = &json;
    for step in steps {
        let Json::Object(members) = at else { return Model::Nothing };
        let mut named = members.iter().filter(|(name, _)| name == step);
        match (named.next(), named.next()) {
            (None, _) => return Model::Nothing,
            (Some((_, member)), None) => at = member,
            (Some(_), Some(_)) => return Model::Refused,
        }
    }
    match at {
        Json::Text(text) => Model::Text(text.clone()),
        Json::Float(float) => Model::Float(*float),
        _ => Model::Nothing,
    }
}

fn depth(json: &Json) -> usize {
    match json {
        Json::Array(values) => 1 + values.iter().map(depth).max().unwrap_or(0),
        Json::Object(members) => 1 + members.iter().map(|(_, value)| depth(value)).max().unwrap_or(0),
        _ => 0,
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Json;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_unit<E: Error>(self) -> Result<Json, E> {
                Ok(Json::Nothing)
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Json, E> {
                Ok(Json::Text(value.to_string()))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Json, E> {
                Ok(Json::Text(value.to_string()))
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Json, E> {
                Ok(Json::Text(value.to_string()))
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<Json, E> {
                Ok(Json::Float(value))
            }

            fn visit_str<E: Error>(self, value: &str) -> Result<Json, E> {
                Ok(Json::Text(value.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Json, A::Error> {
                let mut all = Vec::new();
                while let Some(value) = values.next_element()? {
                    all.push(value);
                }
                Ok(Json::Array(all))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
                let mut all = Vec::new();
                while let Some(member) = members.next_entry()? {
                    all.push(member);
                }
                Ok(Json::Object(all))
            }
        }
        from.deserialize_any(Any)
    }
}
