//! The one kind of URL a load generator needs, and the request made from it.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::str::FromStr;

/// `http://HOST[:PORT][/PATH]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    /// Host and port as written.
    authority: String,
    path: String,
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("http://").ok_or("the URL must begin with http://")?;
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
        Ok(Self { authority: authority.to_owned(), path: path.to_owned() })
    }
}

impl Url {
    /// The first address of the host; port 80 where none is written.
    ///
    /// # Errors
    /// When the name cannot be resolved.
    pub(crate) fn resolve(&self) -> io::Result<SocketAddr> {
        let has_port = self.authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let full = if has_port { self.authority.clone() } else { format!("{}:80", self.authority) };
        let found = full.to_socket_addrs().map_err(|error| io::Error::new(error.kind(), format!("{full}: {error}")))?;
        found.into_iter().next().ok_or_else(|| io::Error::other(format!("{full}: no address")))
    }

    /// A whole request for this URL.
    ///
    /// # Errors
    /// When the method or a field is no HTTP.
    pub(crate) fn request(&self, method: &str, fields: &[String], close: bool, body: u64) -> Result<Vec<u8>, String> {
        if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return Err(format!("no HTTP method: {method:?}"));
        }
        let mut head = format!("{method} {} HTTP/1.1\r\n", self.path);
        if !fields.iter().any(|field| field.to_ascii_lowercase().starts_with("host:")) {
            head += &["Host: ", &self.authority, "\r\n"].concat();
        }
        for field in fields {
            if !field.contains(':') || field.contains(['\r', '\n']) {
                return Err(format!("no header field: {field:?}, write it as \"Name: value\""));
            }
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
        let post = bare.request("POST", &[], false, 3).unwrap();
        assert_eq!(post, b"POST / HTTP/1.1\r\nHost: [::1]\r\nContent-Length: 3\r\n\r\nxxx");
    }

    #[test]
    fn what_is_no_http_is_refused() {
        assert!("https://a/".parse::<Url>().is_err());
        assert!("http:///x".parse::<Url>().is_err());
        assert!("http://a/\r\nX: 1".parse::<Url>().is_err());
        let url: Url = "http://a/".parse().unwrap();
        assert!(url.request("GE T", &[], false, 0).is_err());
        assert!(url.request("GET", &["no colon".to_owned()], false, 0).is_err());
    }
}
