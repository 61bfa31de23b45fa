//! What goes out: answers, and errors as problem details (RFC 9457) with a stable code.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

/// An answer.
#[derive(Debug)]
pub(in crate::control) struct Reply {
    pub(in crate::control) status: u16,
    pub(in crate::control) content_type: &'static str,
    pub(in crate::control) headers: Vec<(HeaderName, &'static str)>,
    pub(in crate::control) body: Bytes,
}

impl Reply {
    pub(in crate::control) fn json(status: u16, value: &Value) -> Self {
        Self::new(status, "application/json", value.to_string())
    }

    pub(in crate::control) fn new(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self { status, content_type, headers: Vec::new(), body: body.into() }
    }

    pub(in crate::control) fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body));
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let safe = [
            ("x-content-type-options", "nosniff"),
            ("cross-origin-resource-policy", "same-origin"),
            ("referrer-policy", "no-referrer"),
        ];
        for (name, value) in safe {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        for (name, value) in self.headers {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

/// Why a request was not done.
#[derive(Debug)]
pub(super) struct Problem {
    status: u16,
    code: &'static str,
    detail: String,
    headers: Vec<(HeaderName, &'static str)>,
    more: Option<(&'static str, Value)>,
}

impl Problem {
    pub(super) fn new(status: u16, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), headers: Vec::new(), more: None }
    }

    pub(super) fn method_not_allowed(allow: &'static str) -> Self {
        let mut problem = Self::new(405, "method_not_allowed", format!("this path takes {allow}"));
        problem.headers.push((ALLOW, allow));
        problem
    }

    pub(super) fn unauthorized() -> Self {
        let detail = "a token is wanted: Authorization: Bearer TOKEN, as admin.token of the config has it";
        let mut problem = Self::new(401, "unauthorized", detail);
        problem.headers.push((WWW_AUTHENTICATE, "Bearer"));
        problem
    }

    /// Control has ended, or takes too long.
    pub(super) fn no_answer() -> Self {
        Self::new(504, "no_answer", "the gateway did not answer in time; what was asked for may still be done")
    }

    /// What went wrong, for people.
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// With a further member.
    pub(super) fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.more = Some((name, value.into()));
        self
    }
}

impl From<Problem> for Reply {
    fn from(problem: Problem) -> Self {
        let Problem { status, code, detail, headers, more } = problem;
        let title = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
        let mut body = json!({
            "type": "about:blank",
            "title": title.unwrap_or("Error"),
            "status": status,
            "code": code,
            "detail": detail,
        });
        if let Some((name, value)) = more {
            body[name] = value;
        }
        let reply = Reply::json(status, &body);
        Self { content_type: "application/problem+json", headers, ..reply }
    }
}
