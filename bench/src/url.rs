//! The one kind of URL a load generator needs, and the request made from it.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::str::FromStr;

use crate::load::http2::Request as Http2Request;

/// `http://HOST[:PORT][/PATH]`, or `https`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    is_https: bool,
    /// Host and port as written.
    authority: String,
    path: String,
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let secure = text.strip_prefix("https://");
        let rest = secure.or_else(|| text.strip_prefix("http://"));
        let rest = rest.ok_or("the URL must begin with http:// or https://")?;
        if let Some(bad) = rest.chars().find(|c| !c.is_ascii_graphic()) {
            return Err(format!("the URL holds {bad:?}: write it percent-encoded"));
        }
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        if authority.is_empty() {
            return Err("the URL has no host".to_owned());
        }
        Ok(Self { is_https: secure.is_some(), authority: authority.to_owned(), path: path.to_owned() })
    }
}

impl Url {
    pub(crate) fn is_https(&self) -> bool {
        self.is_https
    }

    fn has_port(&self) -> bool {
        self.authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok())
    }

    /// The host, without a port.
    pub(crate) fn host(&self) -> &str {
        match self.authority.rsplit_once(':') {
            Some((host, _)) if self.has_port() => host,
            _ => &self.authority,
        }
    }

    /// The first address of the host; the scheme's port where none is written.
    ///
    /// # Errors
    /// When the name cannot be resolved.
    pub(crate) fn resolve(&self) -> io::Result<SocketAddr> {
        let port = if self.is_https { 443 } else { 80 };
        let full = if self.has_port() { self.authority.clone() } else { format!("{}:{port}", self.authority) };
        let found = full.to_socket_addrs().map_err(|error| io::Error::new(error.kind(), format!("{full}: {error}")))?;
        found.into_iter().next().ok_or_else(|| io::Error::other(format!("{full}: no address")))
    }

    /// A whole request for this URL.
    ///
    /// # Errors
    /// When the method or a field is no HTTP.
    pub(crate) fn request(&self, method: &str, fields: &[String], close: bool, body: u64) -> Result<Vec<u8>, String> {
        is_method(method)?;
        let mut head = format!("{method} {} HTTP/1.1\r\n", self.path);
        if !fields.iter().any(|field| field.to_ascii_lowercase().starts_with("host:")) {
            head += &["Host: ", &self.authority, "\r\n"].concat();
        }
        for field in fields {
            split(field)?;
            head += &[field.trim(), "\r\n"].concat();
        }
        if close {
            head += "Connection: close\r\n";
        }
        if body > 0 || matches!(method, "POST" | "PUT" | "PATCH") {
            head += &["Content-Length: ", &body.to_string(), "\r\n"].concat();
        }
        head += "\r\n";
        let mut request = head.into_bytes();
        request.resize(request.len() + body as usize, b'x');
        Ok(request)
    }

    /// The same for HTTP/2.
    ///
    /// # Errors
    /// When the method or a field is no HTTP.
    pub(crate) fn http2_request(&self, method: &str, fields: &[String], body: Vec<u8>) -> Result<Http2Request, String> {
        is_method(method)?;
        let mut request = Http2Request {
            method: method.to_owned(),
            is_https: self.is_https,
            authority: self.authority.clone(),
            path: self.path.clone(),
            fields: Vec::new(),
            body: body.into(),
        };
        for field in fields {
            let (name, value) = split(field)?;
            if name.eq_ignore_ascii_case("host") {
                value.clone_into(&mut request.authority);
            } else {
                request.fields.push((name.to_ascii_lowercase(), value.to_owned()));
            }
        }
        if !request.body.is_empty() || matches!(method, "POST" | "PUT" | "PATCH") {
            request.fields.push(("content-length".to_owned(), request.body.len().to_string()));
        }
        Ok(request)
    }
}

fn is_method(method: &str) -> Result<(), String> {
    if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Err(format!("no HTTP method: {method:?}"));
    }
    Ok(())
}

/// Name and value of a field.
fn split(field: &str) -> Result<(&str, &str), String> {
    let split = field.split_once(':').filter(|_| !field.contains(['\r', '\n']));
    let (name, value) = split.ok_or_else(|| format!("no header field: {field:?}, write it as \"Name: value\""))?;
    Ok((name.trim(), value.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_gives_an_address_and_a_request() {
        let url: Url = "http://127.0.0.1:8080/a?b=c".parse().unwrap();
        assert_eq!(url.resolve().unwrap(), SocketAddr::from(([127, 0, 0, 1], 8080)));
        let request = url.request("GET", &["X-A: 1".to_owned()], true, 0).unwrap();
        assert_eq!(request, b"GET /a?b=c HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nX-A: 1\r\nConnection: close\r\n\r\n");
        let bare: Url = "http://[::1]".parse().unwrap();
        assert_eq!(bare.resolve().unwrap(), "[::1]:80".parse().unwrap());
        let secure: Url = "https://[::1]/x".parse().unwrap();
        assert_eq!((secure.resolve().unwrap(), secure.host()), ("[::1]:443".parse().unwrap(), "[::1]"));
        assert_eq!((url.host(), url.is_https(), secure.is_https()), ("127.0.0.1", false, true));
        let post = bare.request("POST", &[], false, 3).unwrap();
        assert_eq!(post, b"POST / HTTP/1.1\r\nHost: [::1]\r\nContent-Length: 3\r\n\r\nxxx");
    }

    #[test]
    fn a_request_of_http2_has_its_fields_in_lower_case_and_host_apart() {
        let url: Url = "https://a:8443/x?y".parse().unwrap();
        let fields = ["X-A:  1 ".to_owned(), "HOST: b".to_owned()];
        let request = url.http2_request("POST", &fields, vec![b'x'; 3]).unwrap();
        assert_eq!((request.is_https, request.authority.as_str(), request.path.as_str()), (true, "b", "/x?y"));
        assert_eq!(request.fields, [("x-a", "1"), ("content-length", "3")].map(|(a, b)| (a.to_owned(), b.to_owned())));
        assert!(url.http2_request("GET", &["no colon".to_owned()], Vec::new()).is_err());
    }

    #[test]
    fn what_is_no_http_is_refused() {
        assert!("ftp://a/".parse::<Url>().is_err());
        assert!("http:///x".parse::<Url>().is_err());
        assert!("http://a/\r\nX: 1".parse::<Url>().is_err());
        let url: Url = "http://a/".parse().unwrap();
        assert!(url.request("GE T", &[], false, 0).is_err());
        assert!(url.request("GET", &["no colon".to_owned()], false, 0).is_err());
    }
}
