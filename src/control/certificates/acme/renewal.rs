//! When an authority wants its certificates renewed (RFC 9773).

use std::time::Duration;

use instant_acme::{Account, AccountCredentials, CertificateIdentifier, Error};
use rustls::pki_types::CertificateDer;
use serde_json::Value;

use super::super::store::{self, Store};
use super::Failed;
use super::client::Client;
use super::order::account_file;
use crate::plan;
use crate::tls::{Certificate, trusting};

/// The least and the most that the authority is left alone for, whatever it says (section 4.3).
const ASK: (Duration, Duration) = (Duration::from_mins(1), Duration::from_hours(24));
/// The longest wait after it has not said (section 4.3.3).
const ASK_FAILED_MAX: Duration = Duration::from_hours(6);
/// Whatever it says, a certificate is renewed when this part of its lifetime is left.
const LEFT: i64 = 10;
/// Characters of the address of an explanation.
const EXPLANATION_MAX: usize = 500;

/// What an authority says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Advice {
    /// From when to when it wants the certificate renewed, in seconds since 1970.
    pub(super) window: (i64, i64),
    /// Where it says why.
    pub(super) explanation: Option<String>,
    /// When it is to be asked again.
    pub(super) again: Duration,
}

impl Advice {
    /// When a certificate is renewed: at any time in the window, but in its lifetime. `random` is up to `u32::MAX`.
    pub(super) fn picks(&self, begins: i64, expires: i64, random: u32) -> i64 {
        let (start, end) = self.window;
        let part = i128::from(end - start) * i128::from(random) / i128::from(u32::MAX);
        (start + part as i64).min(expires - (expires - begins).max(0) / LEFT)
    }
}

/// Whether an authority has nothing to say, ever.
pub(super) enum Silence {
    /// It does not do that.
    Always,
    /// It may later.
    Now(Failed),
}

/// By what name the authority knows a certificate, where that follows from it.
pub(super) fn identifier(certificate: &Certificate) -> Option<CertificateIdentifier<'static>> {
    let leaf: &CertificateDer<'_> = certificate.leaf()?;
    CertificateIdentifier::try_from(leaf).ok().map(CertificateIdentifier::into_owned)
}

/// Asks an authority that has issued a certificate when it wants it renewed.
pub(super) async fn ask(
    rule: &plan::Acme,
    store: &Store,
    certificate: Option<CertificateIdentifier<'static>>,
) -> Result<Advice, Silence> {
    let wrong = |why: String| Silence::Now(Failed::new(why));
    let path = account_file(rule, store);
    // Whoever has no account there has nothing of it.
    let known = store::read_whole(&path).map_err(|error| wrong(format!("{}: {error}", path.display())))?;
    let (Some(certificate), Some(account)) = (certificate, known) else { return Err(Silence::Always) };
    let client = Client::new(trusting(&rule.ca).map_err(wrong)?);
    let credentials = serde_json::from_slice(&account)
        .ok()
        .and_then(|value: Value| serde_json::from_value::<AccountCredentials>(value.get("credentials")?.clone()).ok());
    let credentials = credentials.ok_or_else(|| wrong(format!("{}: it is no account", path.display())))?;
    let failed = |error: Error| match error {
        Error::Unsupported(_) => Silence::Always,
        error => Silence::Now(Failed::of(&error, &client)),
    };
    let account = Account::builder_with_http(Box::new(client.clone())).from_credentials(credentials).await;
    let (info, again) = account.map_err(failed)?.renewal_info(&certificate).await.map_err(failed)?;
    let window = (info.suggested_window.start.unix_timestamp(), info.suggested_window.end.unix_timestamp());
    if window.0 >= window.1 {
        // As good as no answer (section 4.2).
        return Err(wrong("the window that it suggests ends before it begins".to_owned()));
    }
    let explanation = info.explanation_url.map(|url| url.chars().take(EXPLANATION_MAX).collect());
    Ok(Advice { window, explanation, again: again.clamp(ASK.0, ASK.1) })
}

/// How long an authority that has not said is left alone: as after orders that fail, but with limits of its own.
pub(super) fn after(failed: &Failed, backoff: Duration) -> Duration {
    backoff.min(ASK_FAILED_MAX).max(failed.retry_after.unwrap_or_default().min(ASK.1)).max(Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renewal_is_somewhere_in_the_window_and_before_the_end() {
        let advice = |start, end| Advice { window: (start, end), explanation: None, again: ASK.0 };
        assert_eq!(advice(100, 200).picks(0, 1000, 0), 100);
        assert_eq!(advice(100, 200).picks(0, 1000, u32::MAX), 200);
        assert_eq!(advice(100, 200).picks(0, 1000, u32::MAX / 2), 149);
        assert_eq!(advice(-50, -20).picks(0, 1000, 0), -50);
        // A tenth of the lifetime before it ends, whatever is said.
        assert_eq!(advice(950, 2000).picks(0, 1000, u32::MAX), 900);
        assert_eq!(advice(i64::MIN / 4, i64::MAX / 4).picks(0, 1000, u32::MAX), 900);
    }

    #[test]
    fn who_does_not_say_is_asked_again_but_not_all_the_time() {
        let failed = |retry_after| Failed { why: String::new(), retry_after };
        let hours = Duration::from_hours;
        assert_eq!(after(&failed(None), hours(1)), hours(1));
        assert_eq!(after(&failed(None), hours(12)), hours(6));
        assert_eq!(after(&failed(Some(hours(12))), hours(1)), hours(12));
        assert_eq!(after(&failed(Some(hours(100))), hours(1)), hours(24));
        assert_eq!(after(&failed(None), Duration::ZERO), Duration::from_secs(1));
    }
}
