//! One order, from the account to the certificate in the store. Whatever must not be lost is on the disk before the step
//! that follows from it: the account, the key and the place of the order, the certificate.

use std::path::PathBuf;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, CertificateIdentifier, ChallengeStatus, ChallengeType, Error,
    ExternalAccountKey, Identifier, NewAccount, NewOrder, Order, OrderStatus, Problem, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use serde_json::{Value, json};

use super::super::store::{self, Source, Store};
use super::super::worker::publish;
use super::challenge::{self, Asked};
use super::client::Client;
use super::{Failed, tell};
use crate::control::command::Answer;
use crate::control::events::Events;
use crate::plan::{self, AcmeChallenge, Level};
use crate::tls::{Certificate, now, trusting};

/// How long other gateways with the same directory have to hear of a challenge before the authority does.
const OTHERS: Duration = Duration::from_millis(250);
/// How long cores have to hear of a challenge.
const CORES: Duration = Duration::from_secs(30);

impl Failed {
    /// What instant-acme says, with what the answer wanted.
    pub(super) fn of(error: &Error, client: &Client) -> Self {
        Self { why: said(error), retry_after: client.retry_after() }
    }
}

/// An error in words, with the type of a problem that the authority told.
fn said(error: &Error) -> String {
    match error {
        Error::Api(problem) => said_problem(problem),
        error => error.to_string(),
    }
}

fn said_problem(problem: &Problem) -> String {
    let kind = problem.r#type.as_deref().unwrap_or("a problem without a type");
    let subproblems = problem.subproblems.iter().map(|one| format!("; {one}"));
    format!("{}: {}{}", kind, problem.detail.as_deref().unwrap_or("no detail"), subproblems.collect::<String>())
}

/// Orders a certificate and puts it into the store. It comes in the place of the one that `replaces` names.
pub(super) async fn order(
    rule: &plan::Acme,
    store: &Store,
    events: &Events,
    replaces: Option<CertificateIdentifier<'static>>,
) -> Result<(), Failed> {
    let client = Client::new(trusting(&rule.ca).map_err(Failed::new)?);
    let failed = |error: &Error| Failed::of(error, &client);
    let account = account(rule, store, &client).await?;
    let (mut order, pending) = begin(rule, store, &account, &client, replaces).await?;
    if order.state().status == OrderStatus::Pending {
        authorize(rule, store, events, &mut order, &client).await?;
    }
    let patience = RetryPolicy::new().initial_delay(Duration::from_millis(250)).backoff(1.5).timeout(rule.timeout);
    if order.state().status == OrderStatus::Pending {
        match order.poll_ready(&patience).await {
            Ok(OrderStatus::Ready) => {}
            Ok(_) => return Err(why_invalid(rule, store, &mut order, None, &client).await),
            Err(Error::Api(problem)) => {
                return Err(why_invalid(rule, store, &mut order, Some(said_problem(&problem)), &client).await);
            }
            Err(error) => return Err(failed(&error)),
        }
    }
    if order.state().status == OrderStatus::Ready {
        let csr = request(rule, &pending.key).map_err(|error| Failed::new(error.to_string()))?;
        if let Err(error) = order.finalize_csr(&csr).await {
            Pending::forget(store, &rule.name);
            return Err(failed(&error));
        }
    }
    let chain = match order.poll_certificate(&patience).await {
        Ok(chain) => chain,
        Err(error) => {
            // One that the authority is still busy with may be fetched later.
            if !matches!(error, Error::Timeout(_) | Error::Other(_)) {
                Pending::forget(store, &rule.name);
            }
            return Err(failed(&error));
        }
    };
    let key = pending.key.serialize_pem();
    if let Err(why) = check(rule, &chain, &key) {
        Pending::forget(store, &rule.name);
        return Err(Failed::new(format!("the certificate that was issued {why}")));
    }
    let kept = store.put(&rule.name, Source::Acme, &key, &chain);
    kept.map_err(|error| Failed::new(format!("the certificate that was issued cannot be kept: {error}")))?;
    Pending::forget(store, &rule.name);
    Ok(())
}

/// Whether what was issued is what was asked for.
fn check(rule: &plan::Acme, chain: &str, key: &str) -> Result<(), String> {
    let certificate = Certificate::read(chain.as_bytes(), key.as_bytes(), None).map_err(|wrong| wrong.why)?;
    certificate.check(now())?;
    match rule.names.iter().find(|name| !certificate.names().iter().any(|known| **known == ***name)) {
        Some(name) => Err(format!("is not good for {name}")),
        None => Ok(()),
    }
}

/// The request for the certificate, in DER.
fn request(rule: &plan::Acme, key: &KeyPair) -> Result<Vec<u8>, rcgen::Error> {
    let names: Vec<String> = rule.names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    Ok(params.serialize_request(key)?.der().to_vec())
}

/// Where the account with an authority is kept.
pub(super) fn account_file(rule: &plan::Acme, store: &Store) -> PathBuf {
    let of = rule.external_account.as_ref().map_or("", |(id, _)| id);
    let digest = digest(&SHA256, format!("{} {of}", rule.directory).as_bytes());
    store.acme().join(format!("account-{}.json", BASE64_URL_SAFE_NO_PAD.encode(&digest.as_ref()[..12])))
}

/// The account with the authority, made where there is none.
async fn account(rule: &plan::Acme, store: &Store, client: &Client) -> Result<Account, Failed> {
    let path = account_file(rule, store);
    let cannot = |error: std::io::Error| Failed::new(format!("{}: {error}", path.display()));
    let failed = |error: &Error| Failed::of(error, client);
    let contact: Vec<&str> = rule.contact.iter().map(|url| &**url).collect();
    let keep = |credentials: Value| {
        let value = json!({ "directory": &*rule.directory, "contact": contact, "credentials": credentials });
        store::write_whole(&path, value.to_string().as_bytes()).map_err(cannot)
    };
    if let Some(bytes) = store::read_whole(&path).map_err(cannot)? {
        let wrong = |_| Failed::new(format!("{}: it is no account", path.display()));
        let value: Value = serde_json::from_slice(&bytes).map_err(wrong)?;
        let credentials: AccountCredentials = serde_json::from_value(value["credentials"].clone()).map_err(wrong)?;
        let builder = Account::builder_with_http(Box::new(client.clone()));
        let account = builder.from_credentials(credentials).await.map_err(|error| failed(&error))?;
        if value["contact"] != json!(contact) {
            match account.update_contacts(&contact).await {
                Ok(()) => keep(value["credentials"].clone())?,
                Err(error) if is_gone(&error) => {}
                Err(error) => return Err(failed(&error)),
            }
        }
        return Ok(account);
    }
    let wanted = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
    let external = rule.external_account.as_ref().map(|(id, key)| {
        let key = BASE64_URL_SAFE_NO_PAD.decode(key.expose().trim_end_matches('='));
        key.map(|key| ExternalAccountKey::new(id.to_string(), &key))
    });
    let external = external.transpose().map_err(|error| Failed::new(format!("external_account.key: {error}")))?;
    let builder = Account::builder_with_http(Box::new(client.clone()));
    let made = builder.create(&wanted, rule.directory.to_string(), external.as_ref()).await;
    let (account, credentials) = made.map_err(|error| failed(&error))?;
    keep(serde_json::to_value(credentials).map_err(|error| Failed::new(error.to_string()))?)?;
    Ok(account)
}

/// Whether the authority does not know the account.
fn is_gone(error: &Error) -> bool {
    let Error::Api(problem) = error else { return false };
    problem.r#type.as_deref() == Some("urn:ietf:params:acme:error:accountDoesNotExist")
}

/// Whether an authority refuses an order for what it would replace, as far as can be told: it knows of no such thing, has
/// replaced that already, or has never issued it (RFC 9773 section 5).
fn does_not_replace(error: &Error) -> bool {
    match error {
        Error::Unsupported(_) => true,
        Error::Api(problem) => problem.r#type.as_deref().is_some_and(|kind| {
            ["alreadyReplaced", "malformed"]
                .iter()
                .any(|end| kind.strip_prefix("urn:ietf:params:acme:error:") == Some(end))
        }),
        _ => false,
    }
}

/// What is known of an order that has not brought a certificate yet.
struct Pending {
    key: KeyPair,
}

impl Pending {
    fn file(store: &Store, name: &str) -> PathBuf {
        store.acme().join(format!("{name}.order.json"))
    }

    fn forget(store: &Store, name: &str) {
        // It is there but for a defect of the disk.
        let _ = std::fs::remove_file(Self::file(store, name));
    }

    /// The URL and the key of the order that was begun, where it is for the same.
    fn read(rule: &plan::Acme, store: &Store) -> Option<(String, KeyPair)> {
        let bytes = store::read_whole(&Self::file(store, &rule.name)).ok().flatten()?;
        let value: Value = serde_json::from_slice(&bytes).ok()?;
        let is_same = value["directory"] == *rule.directory && value["names"] == names(rule);
        let key = KeyPair::from_pem(value["key"].as_str()?).ok()?;
        is_same.then_some((value["order"].as_str()?.to_owned(), key))
    }

    fn write(rule: &plan::Acme, store: &Store, order: &str, key: &KeyPair) -> std::io::Result<()> {
        let value =
            json!({ "directory": &*rule.directory, "names": names(rule), "order": order, "key": key.serialize_pem() });
        store::write_whole(&Self::file(store, &rule.name), value.to_string().as_bytes())
    }
}

fn names(rule: &plan::Acme) -> Value {
    rule.names.iter().map(|name| json!(**name)).collect()
}

/// The order that was begun before, as long as it is good for something, or a new one.
async fn begin(
    rule: &plan::Acme,
    store: &Store,
    account: &Account,
    client: &Client,
    replaces: Option<CertificateIdentifier<'static>>,
) -> Result<(Order, Pending), Failed> {
    if let Some((url, key)) = Pending::read(rule, store) {
        match account.order(url).await {
            Ok(mut order) => {
                if order.state().status != OrderStatus::Invalid {
                    return Ok((order, Pending { key }));
                }
                Pending::forget(store, &rule.name);
            }
            // The authority cannot be reached: the order may be good later.
            Err(error @ Error::Other(_)) => return Err(Failed::of(&error, client)),
            Err(_) => Pending::forget(store, &rule.name),
        }
    }
    let identifiers: Vec<Identifier> = rule.names.iter().map(|name| Identifier::Dns(name.to_string())).collect();
    let key = KeyPair::generate().map_err(|error| Failed::new(error.to_string()))?;
    let plainly = NewOrder::new(&identifiers);
    let mut ordered = match replaces {
        Some(certificate) => account.new_order(&NewOrder::new(&identifiers).replaces(certificate)).await,
        None => account.new_order(&plainly).await,
    };
    if ordered.as_ref().is_err_and(does_not_replace) {
        ordered = account.new_order(&plainly).await;
    }
    let order = match ordered {
        Ok(order) => order,
        Err(error) => {
            if is_gone(&error) {
                // The next try makes another one.
                let _ = std::fs::remove_file(account_file(rule, store));
            }
            return Err(Failed::of(&error, client));
        }
    };
    let kept = Pending::write(rule, store, order.url(), &key);
    kept.map_err(|error| Failed::new(format!("the order cannot be kept: {error}")))?;
    Ok((order, Pending { key }))
}

fn kind(rule: &plan::Acme) -> ChallengeType {
    match rule.challenge {
        AcmeChallenge::Http01 => ChallengeType::Http01,
        AcmeChallenge::TlsAlpn01 => ChallengeType::TlsAlpn01,
    }
}

/// Has every core ready for what the authority will ask, then says so to the authority.
async fn authorize(
    rule: &plan::Acme,
    store: &Store,
    events: &Events,
    order: &mut Order,
    client: &Client,
) -> Result<(), Failed> {
    let failed = |error: &Error| Failed::of(error, client);
    let mut asked = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(found) = authorizations.next().await {
        let mut authorization = found.map_err(|error| failed(&error))?;
        let name = authorization.identifier().to_string();
        match authorization.status {
            AuthorizationStatus::Pending => {}
            AuthorizationStatus::Valid => continue,
            status => {
                Pending::forget(store, &rule.name);
                return Err(Failed::new(format!("{name}: the authorization is {status:?}")));
            }
        }
        let Some(challenge) = authorization.challenge(kind(rule)) else {
            Pending::forget(store, &rule.name);
            let challenge = rule.challenge.name();
            return Err(Failed::new(format!("{name}: the authority does not offer the challenge {challenge}")));
        };
        let (token, authorization) = (challenge.token.clone(), challenge.key_authorization().as_str().to_owned());
        asked.push(Asked { kind: rule.challenge, name, token, authorization });
    }
    if let Err(error) = challenge::write(store, &asked) {
        tell(events, Level::Warn, format!("other gateways do not hear of a challenge: {error}"));
    }
    let answer = publish(events, Asked::all(&asked).map_err(Failed::new)?);
    match tokio::task::spawn_blocking(move || answer.recv_timeout(CORES)).await {
        Ok(Ok(Answer::Refused { why, .. })) => {
            return Err(Failed::new(format!("cores cannot answer the challenge: {why}")));
        }
        Ok(Ok(_)) => {}
        _ => return Err(Failed::new("cores did not hear of the challenge in time")),
    }
    tokio::time::sleep(OTHERS).await;
    let mut authorizations = order.authorizations();
    while let Some(found) = authorizations.next().await {
        let mut authorization = found.map_err(|error| failed(&error))?;
        if authorization.status != AuthorizationStatus::Pending {
            continue;
        }
        let name = authorization.identifier().to_string();
        if let Some(mut challenge) = authorization.challenge(kind(rule))
            && challenge.status == ChallengeStatus::Pending
        {
            // The answer may say already what came of it.
            challenge.set_ready().await.map_err(|error| failed(&error).about(&name))?;
        }
    }
    Ok(())
}

/// Which challenge failed, and why.
async fn why_invalid(
    rule: &plan::Acme,
    store: &Store,
    order: &mut Order,
    otherwise: Option<String>,
    client: &Client,
) -> Failed {
    Pending::forget(store, &rule.name);
    let retry_after = client.retry_after();
    let mut why = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        // What it was before the challenge is known already.
        if authorization.refresh().await.is_err() {
            continue;
        }
        let name = authorization.identifier().to_string();
        let errors = authorization.challenges.iter().filter_map(|challenge| challenge.error.as_ref());
        why.extend(errors.map(|problem| format!("{name}: {}", said_problem(problem))));
    }
    let why =
        if why.is_empty() { otherwise.unwrap_or_else(|| "the order is invalid".to_owned()) } else { why.join("; ") };
    Failed { why, retry_after }
}
