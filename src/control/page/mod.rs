//! The web page of the admin API: read-only, and all of it in the binary.

use super::admin::Reply;

/// Its files, as the paths of the admin API number them.
const FILES: [(&str, &str); 3] = [
    ("text/html; charset=utf-8", include_str!("page.html")),
    ("text/css; charset=utf-8", include_str!("page.css")),
    ("text/javascript; charset=utf-8", include_str!("page.js")),
];

/// Nothing but the page's own files and this gateway's answers.
const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; \
                   form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

/// A file of the page.
pub(super) fn file(number: usize) -> Reply {
    let (content_type, text) = FILES.get(number).copied().unwrap_or_default();
    let mut reply = Reply::new(200, content_type, text);
    reply.headers.push((hyper::header::CONTENT_SECURITY_POLICY, CSP));
    reply
}
