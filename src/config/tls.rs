//! `tls` of a listener and of an upstream. The files that it names are read and checked with the config.

use super::kind::Kind;
use super::kind::Kind::{Duration as Time, Either, Flag, List, Number, OneOf, Size, Table, Text};
use super::kind::{NAME, PATH};
use super::policy::{HeadersSection, PolicyRef, PolicySection, ValueSection};
use super::reader::Otherwise::{Is, Required, Words};
use super::reader::{Fields, Problem, Read, Section, Spanned, key, section};
use super::report::Diagnostic;
use super::secret;
use super::tree::Value;
use super::values::{boolean, duration, integer, name as name_of, one_of, or_off, path, size, string};
use crate::plan::{ListenerTls, Stored};
use crate::policy;
use crate::tls::{
    Authorities, Certificate, ClientAuth, ClientSettings, EarlyParts, Protocol, Revocations, Roots, ServerParts,
    ServerSettings, Version, WhichFile, now,
};
use ringway_runtime::net::has_kernel_tls;
use std::sync::Arc;
use std::time::Duration;

const CERTIFICATE: Section = section(
    "[listener.NAME.tls] certificates",
    &[key("certificate", PATH, Required), key("key", PATH, Required), key("ocsp", PATH, Words("no answer is stapled"))],
);

const PROTOCOL: Kind = OneOf(&["http/1.1", "h2"]);
const PROTOCOLS: &[(&str, Protocol)] = &[("http/1.1", Protocol::Http1), ("h2", Protocol::Http2)];
const VERSION: Kind = OneOf(&["1.2", "1.3"]);
const VERSIONS: &[(&str, Version)] = &[("1.2", Version::Tls12), ("1.3", Version::Tls13)];

pub(super) const OF_LISTENER: Section = section(
    "[listener.NAME.tls]",
    &[
        key("certificate", PATH, Words("those of `certificates`")),
        key("key", PATH, Words("with `certificate`")),
        key("ocsp", PATH, Words("no answer is stapled")),
        key("certificates", List("tables", &Table(&CERTIFICATE)), Words("the one of `certificate` and `key`")),
        key("stored", List("names", &NAME), Is("[]")),
        key("min_version", VERSION, Is("\"1.2\"")),
        key("alpn", List("protocols", &PROTOCOL), Is("[\"h2\", \"http/1.1\"]")),
        key("client_auth", OneOf(&["off", "optional", "required"]), Is("\"off\"")),
        key("client_ca", List("paths", &PATH), Words("with `client_auth`")),
        key("client_crl", List("paths", &PATH), Is("[]")),
        key("tickets", Either(&[Flag(true), Flag(false)]), Is("true")),
        key("early_data", Table(&EARLY_DATA), Words("none is taken")),
        key("handshake_timeout", Time, Is("\"10s\"")),
        key("hsts", Either(&[Time, OneOf(&["off"])]), Is("\"off\"")),
        key("ktls", Either(&[Flag(true), Flag(false)]), Is("false")),
        key("key_log", Either(&[Flag(true), Flag(false)]), Is("false")),
    ],
);

const EARLY_DATA: Section = section(
    "[listener.NAME.tls.early_data]",
    &[
        key("size", Size(EARLY_LEAST, EARLY_MOST), Is("\"16KiB\"")),
        key("sessions", Number("number", 1, EARLY_SESSIONS), Is("16384")),
    ],
);

/// Bytes of early data that a client may be allowed.
const EARLY_LEAST: u64 = 1 << 10;
const EARLY_MOST: u64 = 64 << 10;
/// Sessions that may begin with early data, at most.
const EARLY_SESSIONS: i64 = 1 << 20;

pub(super) const OF_UPSTREAM: Section = section(
    "[upstream.NAME.tls]",
    &[
        key("ca", List("paths", &PATH), Words("those that the system trusts")),
        key("verify", Either(&[Flag(true), Flag(false)]), Is("true")),
        key("server_name", Text("host", r"^[0-9A-Za-z.:_-]+$"), Words("the host of the endpoint")),
        key("certificate", PATH, Words("none is shown")),
        key("key", PATH, Words("with `certificate`")),
        key("min_version", VERSION, Is("\"1.2\"")),
        key("ktls", Either(&[Flag(true), Flag(false)]), Is("false")),
    ],
);

/// Files of certificates and lists have at most so many bytes.
const FILE_MAX: u64 = 1 << 20;
/// A certificate that expires within this is a warning.
const SOON: i64 = 7 * 24 * 3600;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Asks {
    Nobody,
    WhoHasOne,
    Everybody,
}

/// A file that a key names, with what is in it; what is wrong was complained about. A change of it changes the config.
fn file(fields: &Fields<'_>, key: &str, value: &Value) -> Option<Spanned<Vec<u8>>> {
    let read = |value: &Value| -> Read<Vec<u8>> {
        let file = fields.diags.sources().directory(value.span().start).join(path(value)?);
        let (bytes, mode) =
            secret::read_bytes(&file, FILE_MAX).map_err(|why| Problem::new(format!("{}: {why}", file.display())))?;
        if key == "key" && mode & 0o004 != 0 {
            let message = format!("{}: {} can be read by everyone", fields.path_of(key), file.display());
            let help = format!("chmod o-r {}", file.display());
            fields.diags.push(Diagnostic::warning(value.span(), message).help(help));
        }
        let digest = secret::digest_of(&bytes);
        fields.diags.sources_mut().add_secret(value.span().start, file, digest);
        Ok(bytes)
    };
    match read(value) {
        Ok(bytes) => Some(Spanned::of(bytes, value)),
        Err(problem) => {
            fields.complain(key, value.span(), problem);
            None
        }
    }
}

/// The one file of a key, where the key is given.
fn one(fields: &Fields<'_>, key: &str) -> Option<Spanned<Vec<u8>>> {
    file(fields, key, fields.get(key, Ok)?.value)
}

/// The files of a key. False where one cannot be read.
fn all(fields: &Fields<'_>, key: &str) -> (Vec<Spanned<Vec<u8>>>, bool) {
    let values = fields.list(key, Ok).unwrap_or_default();
    let wanted = values.len();
    let read: Vec<_> = values.into_iter().filter_map(|value| file(fields, key, value.value)).collect();
    let is_whole = read.len() == wanted;
    (read, is_whole)
}

/// Where the name of the file of a key is, for what is wrong inside.
fn named(fields: &Fields<'_>, key: &str) -> String {
    fields.get(key, string).map(|name| name.value).unwrap_or_default()
}

/// The certificate of the keys `certificate`, `key` and `ocsp`; what is wrong was complained about.
fn certificate(fields: &Fields<'_>, has_ocsp: bool) -> Option<Certificate> {
    fields.must_have("certificate");
    fields.must_have("key");
    let (chain, key) = (one(fields, "certificate"), one(fields, "key"));
    let ocsp = if has_ocsp { one(fields, "ocsp") } else { None };
    let (chain, key) = (chain?, key?);
    let found = match Certificate::read(&chain.value, &key.value, ocsp.map(|ocsp| ocsp.value)) {
        Ok(found) => found,
        Err(wrong) => {
            let (name, span) = match wrong.file {
                WhichFile::Certificate => ("certificate", chain.span),
                WhichFile::Key => ("key", key.span),
            };
            fields.complain(name, span, Problem::new(format!("{} {}", named(fields, name), wrong.why)));
            return None;
        }
    };
    let now = now();
    let warning = if found.expires <= now {
        Some("has expired")
    } else if found.begins > now {
        Some("is not good yet")
    } else if found.expires - now < SOON {
        Some("expires within a week")
    } else {
        None
    };
    if let Some(warning) = warning {
        let message = format!("{}: {} {warning}", fields.path_of("certificate"), named(fields, "certificate"));
        fields.diags.push(Diagnostic::warning(chain.span, message));
    }
    Some(found)
}

/// Authorities of the files of a key. Nothing where none is given, or one is wrong.
pub(super) fn authorities(fields: &Fields<'_>, key: &str) -> Option<Authorities> {
    let (files, is_whole) = all(fields, key);
    let mut text = Vec::new();
    for file in &files {
        // Each is tried by itself, so that what is wrong has its place.
        if let Err(why) = Authorities::read(&file.value) {
            fields.complain(key, file.span.clone(), Problem::new(format!("the file {why}")));
            return None;
        }
        text.extend_from_slice(&file.value);
        text.push(b'\n');
    }
    if files.is_empty() || !is_whole { None } else { Authorities::read(&text).ok() }
}

/// The policy that tells browsers to come over https only (RFC 6797), where `tls` of a listener says for how long.
pub(super) fn hsts(fields: &Fields<'_>) -> Option<PolicyRef> {
    // What is wrong with the table is said elsewhere.
    let tls = Fields::unchecked(fields.entry_table("tls")?, "", 0..0, &OF_LISTENER, fields.diags);
    let time = tls.get("hsts", |value| Ok(or_off(duration)(value).ok().flatten()))?;
    let text = Spanned::new(format!("max-age={}", time.value?.as_secs()), time.span.clone());
    let mut section = HeadersSection::default();
    section.response.set.push(("strict-transport-security".to_owned(), ValueSection::Template(text)));
    let name = Spanned::new("hsts".to_owned(), time.span);
    Some(PolicyRef::Inline(PolicySection { name, shadow: false, kind: Some(policy::Section::Headers(section)) }))
}

/// `tls` of a listener.
pub(super) fn of_listener(
    name: &str,
    fields: &Fields<'_>,
    ticket_lifetime: Duration,
    speaks_http2: bool,
    has_store: bool,
) -> Option<ListenerTls> {
    let before = fields.diags.errors();
    let tls = fields.table("tls", &OF_LISTENER)?;
    let mut certificates = Vec::new();
    let has_one = tls.has("certificate") || tls.has("key");
    let stored = stored(&tls, has_store);
    if has_one || !(tls.has("certificates") || stored != Stored::Nothing) {
        certificates.extend(certificate(&tls, true));
    }
    let values = tls.get("certificates", |value| Ok(value.as_list())).map(|list| list.value).unwrap_or_default();
    for value in values {
        if let Some(table) = value.as_table() {
            let own = Fields::new(table, &tls.path_of("certificates"), value.span(), &CERTIFICATE, tls.diags);
            certificates.extend(certificate(&own, true));
        } else {
            tls.complain("certificates", value.span(), Problem::new("a table with `certificate` and `key` is wanted"));
        }
    }
    if tls.has("certificates") && values.is_empty() && !has_one {
        tls.complain("certificates", tls.key_span("certificates"), Problem::new("at least one is wanted"));
    }
    let mut least = Version::Tls12;
    tls.set("min_version", &mut least, one_of(VERSIONS));
    let protocols = tls.list("alpn", one_of(PROTOCOLS));
    let protocols: Option<Vec<_>> = protocols.map(|all| all.into_iter().map(|one| one.value).collect());
    if !speaks_http2 && protocols.as_ref().is_some_and(|all| all.contains(&Protocol::Http2)) {
        let problem = Problem::new("this listener has HTTP/2 turned off").with_help("its key is `http2.enabled`");
        tls.complain("alpn", tls.key_span("alpn"), problem);
    }
    const ASKS: &[(&str, Asks)] =
        &[("off", Asks::Nobody), ("optional", Asks::WhoHasOne), ("required", Asks::Everybody)];
    let mut asks = Asks::Nobody;
    tls.set("client_auth", &mut asks, one_of(ASKS));
    let client_auth = client_auth(&tls, asks);
    let (mut tickets, mut key_log, mut handshake_timeout) = (true, false, ListenerTls::HANDSHAKE_TIMEOUT);
    tls.set("tickets", &mut tickets, boolean);
    tls.set("key_log", &mut key_log, boolean);
    tls.set("handshake_timeout", &mut handshake_timeout, duration);
    tls.get("hsts", or_off(duration));
    let early = early_data(&tls, tickets, asks);
    let ktls = ktls(&tls);
    if key_log {
        let message =
            format!("{}: whoever reads the file of SSLKEYLOGFILE can read all traffic", tls.path_of("key_log"));
        tls.diags.push(Diagnostic::warning(tls.key_span("key_log"), message));
    }
    // What is wrong is known; what follows from it need not be said.
    if tls.diags.errors() > before || (asks != Asks::Nobody && client_auth.is_none()) {
        return None;
    }
    let protocols = protocols
        .unwrap_or_else(|| if speaks_http2 { vec![Protocol::Http2, Protocol::Http1] } else { vec![Protocol::Http1] });
    let parts = ServerParts { certificates, client_auth, least, protocols, tickets, ticket_lifetime, key_log, early };
    match ServerSettings::new(name, parts) {
        Ok(server) => Some(ListenerTls { server: Arc::new(server), stored, handshake_timeout, ktls }),
        Err(why) => {
            fields.complain("tls", fields.key_span("tls"), Problem::new(why));
            None
        }
    }
}

/// Whether the kernel is to seal what is sent.
fn ktls(tls: &Fields<'_>) -> bool {
    let mut ktls = false;
    tls.set("ktls", &mut ktls, boolean);
    if ktls && !has_kernel_tls() {
        let message = format!("{}: this kernel has no TLS, so the gateway seals records itself", tls.path_of("ktls"));
        tls.diags.push(Diagnostic::warning(tls.key_span("ktls"), message).help("modprobe tls"));
    }
    ktls
}

/// What is taken before the handshake is done, where anything is.
fn early_data(tls: &Fields<'_>, tickets: bool, asks: Asks) -> Option<EarlyParts> {
    let own = tls.table("early_data", &EARLY_DATA)?;
    let mut parts = EarlyParts { size: 16 << 10, sessions: 16_384 };
    own.set("size", &mut parts.size, size(EARLY_LEAST..=EARLY_MOST));
    own.set("sessions", &mut parts.sessions, integer(1..=EARLY_SESSIONS));
    if !tickets {
        let problem = Problem::new("it takes a session that goes on, and `tickets = false` has none");
        tls.complain("early_data", tls.key_span("early_data"), problem);
    }
    if asks != Asks::Nobody {
        let problem = Problem::new("clients that are asked for a certificate have not shown it yet")
            .with_help("have another listener for those that show none");
        tls.complain("early_data", tls.key_span("early_data"), problem);
    }
    Some(parts)
}

/// Which certificates of the store it shows.
fn stored(tls: &Fields<'_>, has_store: bool) -> Stored {
    let Some(names) = tls.list("stored", name_of) else { return Stored::Nothing };
    if !names.is_empty() && !has_store {
        let problem = Problem::new("no certificates are kept").with_help("set `certificates.directory`");
        tls.complain("stored", tls.key_span("stored"), problem);
    }
    match names.as_slice() {
        [] => Stored::Nothing,
        [one] if one.value == "all" => Stored::All,
        all => {
            if let Some(one) = all.iter().find(|one| one.value == "all") {
                tls.complain("stored", one.span.clone(), Problem::new("\"all\" stands alone"));
            }
            Stored::Named(all.iter().map(|one| one.value.as_str().into()).collect())
        }
    }
}

fn client_auth(tls: &Fields<'_>, asks: Asks) -> Option<ClientAuth> {
    if asks == Asks::Nobody {
        for key in ["client_ca", "client_crl"] {
            if tls.list(key, Ok).is_some_and(|list| !list.is_empty()) {
                let problem = Problem::new("nobody is asked for a certificate")
                    .with_help("write `client_auth = \"required\"` or `\"optional\"`");
                tls.complain(key, tls.key_span(key), problem);
            }
        }
        return None;
    }
    if !tls.has("client_ca") {
        let problem =
            Problem::new("`client_ca` is missing").with_help("it names the authorities whose certificates are taken");
        tls.complain("client_auth", tls.key_span("client_auth"), problem);
    }
    let (lists, _) = all(tls, "client_crl");
    let mut revocations = Vec::new();
    for list in lists {
        match Revocations::read(&list.value) {
            Ok(list) => revocations.push(list),
            Err(why) => tls.complain("client_crl", list.span, Problem::new(format!("the file {why}"))),
        }
    }
    let authorities = authorities(tls, "client_ca")?;
    Some(ClientAuth { authorities, revocations, is_optional: asks == Asks::WhoHasOne })
}

/// `tls` of an upstream.
pub(super) fn of_upstream(fields: &Fields<'_>, speaks_http2: bool) -> Option<Arc<ClientSettings>> {
    let before = fields.diags.errors();
    let tls = fields.table("tls", &OF_UPSTREAM)?;
    let mut verify = true;
    tls.set("verify", &mut verify, boolean);
    let roots = match (verify, tls.has("ca")) {
        (false, has_ca) => {
            if has_ca {
                tls.complain("ca", tls.key_span("ca"), Problem::new("nothing is verified with `verify = false`"));
            }
            let message = format!("{}: whoever answers is taken for the upstream", tls.path_of("verify"));
            tls.diags.push(Diagnostic::warning(tls.key_span("verify"), message));
            Some(Roots::Unverified)
        }
        (true, true) => authorities(&tls, "ca").map(Roots::Of),
        (true, false) => match Authorities::of_system() {
            Ok(authorities) => Some(Roots::Of(authorities)),
            Err(why) => {
                fields.complain("tls", fields.key_span("tls"), Problem::new(why).with_help("name them with `ca`"));
                None
            }
        },
    };
    let shows = tls.has("certificate") || tls.has("key");
    let certificate = if shows { certificate(&tls, false) } else { None };
    let mut least = Version::Tls12;
    tls.set("min_version", &mut least, one_of(VERSIONS));
    let name = tls.get("server_name", string);
    let ktls = ktls(&tls);
    if tls.diags.errors() > before {
        return None;
    }
    let server_name = name.as_ref().map(|name| name.value.as_str());
    let protocol = if speaks_http2 { Protocol::Http2 } else { Protocol::Http1 };
    match ClientSettings::new(roots?, certificate, server_name, least, vec![protocol], ktls) {
        Ok(client) => Some(Arc::new(client)),
        Err(why) => {
            let key = if server_name.is_some() { "server_name" } else { "ca" };
            tls.complain(key, tls.key_span(key), Problem::new(why));
            None
        }
    }
}
