//! `type = "redirect"`: sends a request elsewhere before the service is asked, or on to the one right form of its URL.

use super::Kind;
use crate::config::{RedirectPolicySection, RedirectTo};
use crate::flow::{Reply, Request, Verdict};
use crate::observe::Reason;
use crate::plan::{Scope, Template, Templates};

/// A redirect and its condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308 (RFC 9110 section 15.4).
    status: u16,
    to: To,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum To {
    /// Every request, there.
    Location(Template),
    /// Requests whose URL has not this form, to the one that has.
    Form(Form),
}

/// What a URL is to look like; what is not given is right as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Form {
    https: Option<bool>,
    host: Option<Box<str>>,
    slash: Option<bool>,
}

/// What is wrong with the URL of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wrong {
    scheme: bool,
    host: bool,
    slash: bool,
}

impl Form {
    fn look_at(&self, secure: bool, host: &[u8], path: &[u8]) -> Wrong {
        let has_slash = path.len() > 1 && path.ends_with(b"/");
        Wrong {
            scheme: self.https.is_some_and(|https| https != secure),
            host: self.host.as_ref().is_some_and(|wanted| !wanted.as_bytes().eq_ignore_ascii_case(host)),
            // The root is its slash.
            slash: path != b"/" && self.slash.is_some_and(|slash| slash != has_slash),
        }
    }

    /// Appends the right URL; as a path where scheme and host are right, so that nothing of the client's Host is told
    /// back to it without need.
    fn write(&self, wrong: Wrong, secure: bool, host: &[u8], path: &[u8], query: Option<&[u8]>, out: &mut Vec<u8>) {
        if wrong.scheme || wrong.host {
            out.extend_from_slice(if self.https.unwrap_or(secure) { b"https://" } else { b"http://" });
            match &self.host {
                Some(host) => out.extend_from_slice(host.as_bytes()),
                // The port was that of the other scheme.
                None => out.extend_from_slice(without_port(host)),
            }
        }
        match (wrong.slash, self.slash) {
            (true, Some(true)) => {
                out.extend_from_slice(path);
                out.push(b'/');
            }
            (true, _) => out.extend_from_slice(path.strip_suffix(b"/").unwrap_or(path)),
            (false, _) => out.extend_from_slice(path),
        }
        if let Some(query) = query {
            out.push(b'?');
            out.extend_from_slice(query);
        }
    }
}

/// `[::1]:80` is `[::1]`, `a:80` is `a`.
fn without_port(host: &[u8]) -> &[u8] {
    let end = match host.iter().rposition(|&byte| byte == b']') {
        Some(bracket) => bracket + 1,
        None => host.iter().position(|&byte| byte == b':').unwrap_or(host.len()),
    };
    host.get(..end).unwrap_or(host)
}

impl Kind for Redirect {
    type Section = RedirectPolicySection;
    type State = ();

    fn compile(section: &RedirectPolicySection, templates: &Templates<'_>) -> Option<Self> {
        let to = match section.to.as_ref()? {
            RedirectTo::Location(location) => To::Location(templates.compile(location, Scope::Any)?),
            RedirectTo::Form { https, host, slash } => {
                To::Form(Form { https: *https, host: host.as_deref().map(Into::into), slash: *slash })
            }
        };
        Some(Self { status: section.status, to })
    }

    fn core_state(&self) {}

    fn request(&self, (): &(), request: &mut Request<'_>) -> Verdict<'_> {
        let exchange = request.exchange();
        match &self.to {
            To::Location(location) => {
                request.edit_answer(|answer, vars| answer.set(b"location", |out| location.render(vars, out)));
            }
            To::Form(form) => {
                let secure = exchange.secure;
                let wrong = form.look_at(secure, exchange.host(), exchange.path());
                if wrong == (Wrong { scheme: false, host: false, slash: false }) {
                    return Verdict::Continue;
                }
                if wrong.scheme && form.host.is_none() && exchange.host().is_empty() {
                    return Verdict::Refuse(Reason::HostMissing.into());
                }
                request.edit_answer(|answer, exchange| {
                    answer.set(b"location", |out| {
                        form.write(wrong, secure, exchange.host(), exchange.path(), exchange.query(), out);
                    });
                });
            }
        }
        Verdict::Reply(Reply::status(self.status))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent_to(form: &Form, url: &str) -> Option<String> {
        let (scheme, rest) = url.split_once("://").unwrap();
        let (host, target) = rest.split_at(rest.find('/').unwrap());
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query.as_bytes())),
            None => (target, None),
        };
        let (secure, host, path) = (scheme == "https", host.as_bytes(), path.as_bytes());
        let wrong = form.look_at(secure, host, path);
        let mut out = Vec::new();
        form.write(wrong, secure, host, path, query, &mut out);
        (wrong.scheme || wrong.host || wrong.slash).then(|| String::from_utf8(out).unwrap())
    }

    const ANY: Form = Form { https: None, host: None, slash: None };

    #[test]
    fn the_other_scheme_has_another_port() {
        let form = Form { https: Some(true), ..ANY };
        assert_eq!(sent_to(&form, "http://a.com:8080/x?y=1").as_deref(), Some("https://a.com/x?y=1"));
        assert_eq!(sent_to(&form, "http://[::1]:80/").as_deref(), Some("https://[::1]/"));
        assert_eq!(sent_to(&form, "http://[::1]/").as_deref(), Some("https://[::1]/"));
        assert_eq!(sent_to(&form, "https://a.com:8443/x"), None);
    }

    #[test]
    fn one_redirect_mends_all_that_is_wrong() {
        let form = Form { https: Some(true), host: Some("www.a.com:8443".into()), slash: Some(false) };
        assert_eq!(sent_to(&form, "http://a.com/x/?q").as_deref(), Some("https://www.a.com:8443/x?q"));
        assert_eq!(sent_to(&form, "https://WWW.A.com:8443/x"), None);
    }

    #[test]
    fn a_path_alone_is_mended_without_a_host() {
        let add = Form { slash: Some(true), ..ANY };
        assert_eq!(sent_to(&add, "http://a/x").as_deref(), Some("/x/"));
        assert_eq!(sent_to(&add, "http://a/x/"), None);
        assert_eq!(sent_to(&add, "http://a/"), None);
        let remove = Form { slash: Some(false), ..ANY };
        assert_eq!(sent_to(&remove, "http://a/x/y/?z").as_deref(), Some("/x/y?z"));
        assert_eq!(sent_to(&remove, "http://a/"), None);
    }
}
