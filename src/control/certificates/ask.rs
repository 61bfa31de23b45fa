//! What can be asked of the certificates that are kept.

use std::fmt;
use std::sync::mpsc::Sender;

use super::Certificates;
use super::store::{self, Source};
use super::worker::Order;
use crate::control::command::Answer;
use crate::control::plans::Plans;
use crate::plan::Stored;
use crate::tls::{Certificate, WhichFile, now};

/// Bytes of a chain in PEM at most.
const CHAIN_MAX: usize = 64 << 10;
/// Bytes of a key in PEM at most.
const KEY_MAX: usize = 16 << 10;

/// What can be asked of the certificates that are kept.
#[derive(Clone, PartialEq, Eq)]
pub enum Ask {
    /// Keep a certificate, instead of the one that has its name.
    Put {
        /// Its name.
        name: String,
        /// It and those that lead from it to its authority, in PEM.
        chain: String,
        /// Its private key, in PEM.
        key: String,
    },
    /// Keep it no more.
    Delete(String),
    /// Have the authority issue it anew now.
    Renew(String),
}

impl fmt::Debug for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Its key must not get into any log.
            Self::Put { name, .. } => f.debug_tuple("Put").field(name).finish(),
            Self::Delete(name) => f.debug_tuple("Delete").field(name).finish(),
            Self::Renew(name) => f.debug_tuple("Renew").field(name).finish(),
        }
    }
}

/// Why a certificate is not kept: which member, and what is wrong with it.
fn check(name: &str, chain: &str, key: &str) -> Result<Certificate, String> {
    store::may_be_name(name)?;
    for (member, text, most) in [("certificate", chain, CHAIN_MAX), ("key", key, KEY_MAX)] {
        if text.len() > most {
            return Err(format!("{member}: it has {} bytes; at most {most} are wanted", text.len()));
        }
    }
    if chain.contains("PRIVATE KEY") {
        return Err("certificate: it has a private key in it, which belongs into `key`".to_owned());
    }
    let certificate = Certificate::read(chain.as_bytes(), key.as_bytes(), None).map_err(|wrong| {
        let member = match wrong.file {
            WhichFile::Certificate => "certificate",
            WhichFile::Key => "key",
        };
        format!("{member}: it {}", wrong.why)
    })?;
    certificate.check(now()).map_err(|why| format!("certificate: it {why}"))?;
    Ok(certificate)
}

impl Certificates {
    /// Does what is asked; the answer comes when every core shows it.
    pub(in crate::control) fn ask(&mut self, ask: Ask, reply: &Sender<Answer>, plans: &Plans) {
        if let Err(answer) = self.try_ask(ask, reply, plans) {
            // Who asked may have gone.
            let _ = reply.send(answer);
        }
    }

    fn try_ask(&mut self, ask: Ask, reply: &Sender<Answer>, plans: &Plans) -> Result<(), Answer> {
        if let Some(why) = plans.closed() {
            return Err(Answer::refused(why));
        }
        if self.store.is_none() {
            return Err(Answer::refused("no certificates are kept: certificates.directory is not set"));
        }
        let Some(worker) = &self.worker else {
            return Err(Answer::refused("certificates cannot be changed just now"));
        };
        let plan = plans.plan();
        let is_of_acme = |name: &str| plan.acme.iter().any(|acme| *acme.name == *name);
        let order = match ask {
            Ask::Put { name, chain, key } => {
                check(&name, &chain, &key).map_err(Answer::Wrong)?;
                if is_of_acme(&name) {
                    return Err(Answer::refused(format!("[acme.{name}] of the config gets the certificate {name}")));
                }
                Order::Put { name, chain, key, reply: reply.clone() }
            }
            Ask::Delete(name) => {
                let Some(kept) = self.set().get(&*name) else {
                    return Err(Answer::Unknown(format!("no certificate \"{name}\" is kept")));
                };
                if is_of_acme(&name) && kept.source == Source::Acme {
                    return Err(Answer::refused(format!("[acme.{name}] of the config would get it again")));
                }
                for listener in plan.listeners.iter() {
                    let Some(tls) = &listener.tls else { continue };
                    let is_named = matches!(&tls.stored, Stored::Named(_)) && tls.stored.has(&name);
                    let is_last = tls.stored.has(&name) && tls.server.certificates().len() == 1;
                    if is_named || is_last {
                        let listener = &listener.name;
                        let why = if is_named { "names it" } else { "has no other" };
                        return Err(Answer::refused(format!("listener \"{listener}\" {why}")));
                    }
                }
                Order::Delete { name, reply: reply.clone() }
            }
            Ask::Renew(name) if !is_of_acme(&name) => {
                return Err(Answer::Unknown(format!("the plan has no [acme.{name}]")));
            }
            Ask::Renew(name) => Order::Renew { name, reply: reply.clone() },
        };
        worker.order(order);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEM: &str = include_str!("../../../tests/tls/fixed/server.pem");
    const KEY: &str = include_str!("../../../tests/tls/fixed/server.key");
    const OTHER_KEY: &str = include_str!("../../../tests/tls/fixed/other.key");

    #[test]
    fn what_is_wrong_is_said_with_its_place_and_without_the_key() {
        assert!(check("site", PEM, KEY).is_ok());
        let long = "x".repeat(CHAIN_MAX + 1);
        let both = format!("{PEM}{KEY}");
        let many = PEM.repeat(11);
        for (name, chain, key, said) in [
            ("a/b", PEM, KEY, "name: 1 to 64"),
            ("site", "", KEY, "certificate: it has no certificate in it"),
            ("site", &*long, KEY, "certificate: it has 65537 bytes"),
            ("site", &*both, KEY, "certificate: it has a private key in it"),
            ("site", PEM, "", "key: it has no private key in it"),
            ("site", PEM, OTHER_KEY, "key: it does not belong to the certificate"),
            ("site", &*many, KEY, "certificate: it has 11 certificates"),
            ("site", &*format!("{PEM}{PEM}"), KEY, "certificate 2 of the chain, which is not the issuer"),
        ] {
            let found = check(name, chain, key).unwrap_err();
            assert!(found.contains(said), "{said}: {found}");
            assert!(!found.contains("PRIVATE"));
        }
        let ask = Ask::Put { name: "site".to_owned(), chain: PEM.to_owned(), key: KEY.to_owned() };
        assert_eq!(format!("{ask:?}"), "Put(\"site\")");
    }
}
