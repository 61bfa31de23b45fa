//! What authorities ask for to see that a name leads here, and what they are answered.
//!
//! It is written into the directory as well, so that every gateway that shares it can answer: an authority may meet any of
//! them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use serde_json::{Value, json};

use super::super::Challenges;
use super::super::store::{self, Store};
use crate::plan::AcmeChallenge;
use crate::tls::Certificate;

/// What is older was left behind.
const OLD: Duration = Duration::from_hours(1);

/// One question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) kind: AcmeChallenge,
    /// The name it is about.
    pub(super) name: String,
    pub(super) token: String,
    /// The token with the thumbprint of the account's key (RFC 8555 section 8.1).
    pub(super) authorization: String,
}

fn file(store: &Store) -> PathBuf {
    store.acme().join("challenges.json")
}

impl Asked {
    /// What cores need to answer them.
    pub(super) fn all(asked: &[Self]) -> Result<Challenges, String> {
        let of = |kind| asked.iter().filter(move |asked| asked.kind == kind);
        let http = of(AcmeChallenge::Http01)
            .map(|asked| (asked.token.as_bytes().into(), asked.authorization.as_str().into()))
            .collect();
        let tls = of(AcmeChallenge::TlsAlpn01).map(|asked| Ok((asked.name.clone(), asked.certificate()?)));
        Ok(Challenges { http: Arc::new(http), tls: tls.collect::<Result<_, String>>()? })
    }

    /// What is shown to an authority that asks over TLS (RFC 8737 section 3).
    fn certificate(&self) -> Result<Certificate, String> {
        let cannot = |error: rcgen::Error| error.to_string();
        let key = KeyPair::generate().map_err(cannot)?;
        let mut params = CertificateParams::new([self.name.clone()]).map_err(cannot)?;
        params.distinguished_name = DistinguishedName::new();
        let digest = digest(&SHA256, self.authorization.as_bytes());
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest.as_ref())];
        let certificate = params.self_signed(&key).map_err(cannot)?;
        let (chain, key) = (certificate.pem(), key.serialize_pem());
        Certificate::of_challenge(chain.as_bytes(), key.as_bytes()).map_err(|wrong| wrong.why)
    }
}

/// Lets the other gateways know.
pub(super) fn write(store: &Store, asked: &[Asked]) -> std::io::Result<()> {
    let all = asked.iter().map(|asked| {
        let Asked { kind, name, token, authorization } = asked;
        json!({ "type": kind.name(), "name": name, "token": token, "authorization": authorization })
    });
    let value = Value::Array(all.collect());
    store::write_whole(&file(store), value.to_string().as_bytes())
}

/// What another gateway is asked.
pub(super) fn read(store: &Store) -> Vec<Asked> {
    let path = file(store);
    let age = std::fs::metadata(&path).and_then(|metadata| metadata.modified()).ok().and_then(|at| at.elapsed().ok());
    if age.is_none_or(|age| age > OLD) {
        return Vec::new();
    }
    let bytes = store::read_whole(&path).ok().flatten();
    let value: Option<Value> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let one = |value: &Value| {
        let text = |member: &str| value[member].as_str().map(str::to_owned);
        let kinds = [AcmeChallenge::Http01, AcmeChallenge::TlsAlpn01];
        let kind = kinds.into_iter().find(|kind| value["type"] == kind.name())?;
        Some(Asked { kind, name: text("name")?, token: text("token")?, authorization: text("authorization")? })
    };
    let all = value.as_ref().and_then(Value::as_array);
    all.map(|all| all.iter().filter_map(one).collect()).unwrap_or_default()
}

/// Nobody asks any more.
pub(super) fn forget(store: &Store) {
    // Mostly it is not there.
    let _ = std::fs::remove_file(file(store));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_gateways_know_what_is_asked() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 1).unwrap();
        let asked = |kind| Asked {
            kind,
            name: "a.example".to_owned(),
            token: "token".to_owned(),
            authorization: "token.thumb".to_owned(),
        };
        let both = [asked(AcmeChallenge::Http01), asked(AcmeChallenge::TlsAlpn01)];
        assert_eq!(read(&store), []);
        write(&store, &both).unwrap();
        assert_eq!(read(&store), both);
        let challenges = Asked::all(&both).unwrap();
        assert_eq!(challenges.http.answer(b"/.well-known/acme-challenge/token"), Some("token.thumb"));
        for path in ["/.well-known/acme-challenge/tokens", "/.well-known/acme-challenge/", "/token"] {
            assert_eq!(challenges.http.answer(path.as_bytes()), None, "{path}");
        }
        assert_eq!(challenges.tls.len(), 1);
        assert_eq!((&*challenges.tls[0].0, challenges.tls[0].1.names()), ("a.example", &["a.example".to_owned()][..]));
        forget(&store);
        assert_eq!(read(&store), []);
    }
}
