//! `[acme.NAME]`: certificates that an authority issues.

use super::Config;
use super::kind::Kind::{Duration as Time, Flag, List, OneOf, Secret, Table, Text};
use super::kind::{Kind, PATH};
use super::reader::Otherwise::{Is, Required, Words};
use super::reader::{Fields, Problem, Read, Section, Spanned, key, section};
use super::tls;
use super::tree::Value;
use super::values::{boolean, duration, one_of, string};
use crate::plan::{Acme, AcmeChallenge};
use crate::tls::Authorities;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use std::time::Duration;

/// Names of one certificate at most.
const NAMES_MAX: usize = 100;
/// Certificates that are asked for at most.
const ACME_MAX: usize = 100;

const DNS_NAME: Kind = Text("name in the DNS", "^[A-Za-z0-9.-]{1,253}$");
const URL: Kind = Text("https URL", "^https://.");
const CONTACT: Kind = Text("URL", "^[a-z]+:.");

pub(super) const SECTION: Section = section(
    "[acme.NAME]",
    &[
        key("names", List("names in the DNS", &DNS_NAME), Required),
        key("directory", URL, Is("\"https://acme-v02.api.letsencrypt.org/directory\"")),
        key("terms_agreed", Flag(true), Required),
        key("contact", List("URLs", &CONTACT), Is("[]")),
        key("challenge", OneOf(&["http-01", "tls-alpn-01"]), Is("\"http-01\"")),
        key("ca", List("paths", &PATH), Words("those that the system trusts")),
        key("external_account", Table(&EXTERNAL), Words("none")),
        key("retry", Time, Is("\"1m\"")),
        key("retry_max", Time, Is("\"12h\"")),
        key("timeout", Time, Is("\"5m\"")),
    ],
);

/// What an authority gives its customers to bind accounts to theirs (RFC 8555 section 7.3.4).
const EXTERNAL: Section =
    section("[acme.NAME.external_account]", &[key("id", Text("string", "^."), Required), key("key", Secret, Required)]);

pub(super) fn read_all(root: &Fields<'_>, config: &mut Config) {
    let all = root.named("acme", &SECTION);
    if let Some((name, _)) = all.get(ACME_MAX) {
        let problem = Problem::new(format!("at most {ACME_MAX} certificates are asked for"));
        root.complain("acme", name.span.clone(), problem);
        return;
    }
    for (name, fields) in all {
        if config.certificates.directory.is_none() {
            let problem = Problem::new("there is no place to keep it").with_help("set `certificates.directory`");
            fields.complain("names", name.span.clone(), problem);
        }
        config.acme.extend(read(&name, &fields));
    }
}

fn read(name: &Spanned<String>, fields: &Fields<'_>) -> Option<Acme> {
    let before = fields.diags.errors();
    let names = fields.some("names", dns_name);
    if names.len() > NAMES_MAX {
        let problem = Problem::new(format!("at most {NAMES_MAX} are wanted"));
        fields.complain("names", fields.key_span("names"), problem);
    }
    let mut directory = "https://acme-v02.api.letsencrypt.org/directory".to_owned();
    fields.set("directory", &mut directory, url);
    if let Some(agreed) = fields.required("terms_agreed", boolean)
        && !agreed.value
    {
        let problem = Problem::new("no authority issues anything without")
            .with_help("read the authority's terms of service, and say `terms_agreed = true`");
        fields.complain("terms_agreed", agreed.span, problem);
    }
    let contact = fields.list("contact", contact).unwrap_or_default();
    const CHALLENGES: &[(&str, AcmeChallenge)] =
        &[("http-01", AcmeChallenge::Http01), ("tls-alpn-01", AcmeChallenge::TlsAlpn01)];
    let mut challenge = AcmeChallenge::Http01;
    fields.set("challenge", &mut challenge, one_of(CHALLENGES));
    let ca = if fields.has("ca") {
        tls::authorities(fields, "ca")
    } else {
        Authorities::of_system()
            .map_err(|why| {
                let problem = Problem::new(why).with_help("name them with `ca`");
                fields.complain("directory", fields.span.clone(), problem);
            })
            .ok()
    };
    let external = fields.table("external_account", &EXTERNAL).and_then(|own| external(&own));
    let (mut retry, mut retry_max) = (Duration::from_mins(1), Duration::from_hours(12));
    let mut timeout = Duration::from_mins(5);
    fields.set("retry", &mut retry, duration);
    fields.set("retry_max", &mut retry_max, duration);
    fields.set("timeout", &mut timeout, duration);
    if fields.diags.errors() > before {
        return None;
    }
    let texts = |all: Vec<Spanned<String>>| all.into_iter().map(|one| one.value.into()).collect();
    Some(Acme {
        name: name.value.as_str().into(),
        names: texts(names),
        directory: directory.into(),
        contact: texts(contact),
        ca: ca?,
        external_account: external,
        challenge,
        retry,
        retry_max: retry_max.max(retry),
        timeout,
    })
}

fn external(own: &Fields<'_>) -> Option<(std::sync::Arc<str>, super::Secret)> {
    let id = own.required("id", string);
    own.must_have("key");
    let value = own.get("key", Ok)?;
    let key = own.secret("key", value.value)?;
    if BASE64_URL_SAFE_NO_PAD.decode(key.expose().trim_end_matches('=')).is_err() {
        own.complain("key", value.span, Problem::new("it is not base64url, as authorities give it"));
        return None;
    }
    Some((id?.value.into(), key))
}

fn dns_name(value: &Value) -> Read<String> {
    let name = string(value)?.to_ascii_lowercase();
    if name.starts_with("*.") {
        let problem = Problem::new(format!("\"{name}\" takes a challenge in the DNS, which is not answered here"));
        return Err(problem.with_help("ask for each name, or have another program ask and upload what it gets"));
    }
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() > 253 || !name.split('.').all(is_label) || name.parse::<std::net::IpAddr>().is_ok() {
        return Err(Problem::new(format!("\"{name}\" is no name in the DNS")));
    }
    Ok(name)
}

fn url(value: &Value) -> Read<String> {
    let url = string(value)?;
    let wrong = || Problem::new(format!("\"{url}\" is no https URL"));
    let parsed: hyper::Uri = url.parse().map_err(|_| wrong())?;
    if parsed.scheme_str() != Some("https") || parsed.host().is_none_or(str::is_empty) {
        return Err(wrong());
    }
    Ok(url)
}

fn contact(value: &Value) -> Read<String> {
    let url = string(value)?;
    if url.split_once(':').is_some_and(|(scheme, rest)| !scheme.is_empty() && !rest.is_empty()) {
        return Ok(url);
    }
    Err(Problem::new(format!("\"{url}\" is no URL")).with_help("such as \"mailto:ops@example.com\""))
}

#[cfg(test)]
mod tests {
    use crate::config::compile;

    const REST: &str = "[listener.web]\naddress = \"127.0.0.1:0\"\n[service.s]\ntype = \"respond\"\n\
                        [[route]]\nname = \"s\"\npath = \"/\"\nservice = \"s\"\n";

    fn errors(acme: &str) -> String {
        let text = format!("[certificates]\ndirectory = \"/nowhere\"\n[acme.site]\n{acme}\n{REST}");
        compile("t.toml", &text, 1, &mut |_, _| Ok(Vec::new()))
            .map_or_else(|report| report.to_string(), |_| String::new())
    }

    #[test]
    fn what_no_authority_would_take_is_an_error_with_its_place() {
        let ca = "terms_agreed = true\nca = \"tests/tls/fixed/other.pem\"";
        assert_eq!(errors(&format!("names = [\"a.example\", \"b.example\"]\n{ca}")), "");
        for (wrong, said) in [
            ("names = []", "acme.site.names: at least one is wanted"),
            ("names = \"*.a.example\"", "takes a challenge in the DNS"),
            ("names = \"-a.example\"", "is no name in the DNS"),
            ("names = \"10.0.0.1\"", "is no name in the DNS"),
            ("names = \"a.example\"\ndirectory = \"http://a/\"", "acme.site.directory: \"http://a/\" is no https URL"),
            ("names = \"a.example\"\ncontact = \"ops\"", "acme.site.contact: \"ops\" is no URL"),
            ("names = \"a.example\"\nexternal_account = { id = \"1\", key = \"?\" }", "key: it is not base64url"),
        ] {
            let found = errors(&format!("{wrong}\n{ca}"));
            assert!(found.contains(said), "{wrong}: {found}");
        }
        let found = errors("names = \"a.example\"\nterms_agreed = false");
        assert!(found.contains("terms_agreed: no authority issues anything without"), "{found}");
    }
}
