//! The HTTP client that authorities are asked with: HTTP/1.1 over TLS, a connection for each request, bounded.

use std::error::Error as StdError;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{HOST, HeaderValue, RETRY_AFTER};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// For one request, from the look-up of the name to the last byte of the answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of an answer.
const BODY_MAX: usize = 1 << 20;
/// An authority is not left alone for longer, whatever it says.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(7 * 24);

/// Asks one authority.
#[derive(Clone)]
pub(super) struct Client {
    tls: TlsConnector,
    /// How long it wants to be left alone, as the last answer that was an error said.
    retry_after: Arc<Mutex<Option<Duration>>>,
}

impl Client {
    pub(super) fn new(config: Arc<ClientConfig>) -> Self {
        Self { tls: config.into(), retry_after: Arc::default() }
    }

    /// How long the authority wants to be left alone.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        *self.retry_after.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(self, request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, Error> {
        let asked = tokio::time::timeout(PATIENCE, self.exchange(request)).await;
        let asked = asked.unwrap_or_else(|_| Err(format!("no answer within {PATIENCE:?}").into()));
        let response = asked.map_err(Error::Other)?;
        let is_error = response.status().as_u16() >= 400;
        let said = response.headers().get(RETRY_AFTER).filter(|_| is_error).and_then(wait);
        *self.retry_after.lock().unwrap_or_else(PoisonError::into_inner) = said;
        Ok(response.into())
    }

    async fn exchange(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Result<Response<Full<Bytes>>, Box<dyn StdError + Send + Sync>> {
        let uri = request.uri().clone();
        let (Some("https"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(format!("{uri} is no https URL").into());
        };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = authority.port_u16().unwrap_or(443);
        let at = |what: &str, error: &dyn StdError| format!("{what} {host}:{port}: {error}");
        let stream = TcpStream::connect((&*host, port)).await.map_err(|error| at("cannot connect to", &error))?;
        let name = ServerName::try_from(host.clone())?;
        let stream = self.tls.connect(name, stream).await.map_err(|error| at("no TLS with", &error))?;
        let (mut send, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let (mut head, body) = request.into_parts();
        head.headers.insert(HOST, HeaderValue::from_str(authority.as_str())?);
        head.uri = uri.path_and_query().map_or("/", |path| path.as_str()).parse()?;
        let answer = async {
            let response = send.send_request(Request::from_parts(head, body)).await?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, BODY_MAX).collect().await?.to_bytes();
            Ok(Response::from_parts(head, Full::new(body)))
        };
        // The connection moves as long as the answer is waited for.
        let mut connection = std::pin::pin!(connection);
        let mut answer = std::pin::pin!(answer);
        tokio::select! {
            answer = &mut answer => answer,
            ended = &mut connection => {
                ended?;
                answer.await
            }
        }
    }
}

impl HttpClient for Client {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        Box::pin(self.clone().ask(request))
    }
}

/// How long to wait: seconds or a date (RFC 9110 section 10.2.3).
fn wait(value: &HeaderValue) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        // How far it is ahead, where it is.
        Err(_) => {
            httpdate::parse_http_date(text).ok()?.elapsed().err().map(|ahead| ahead.duration()).unwrap_or_default()
        }
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_a_number_or_a_date_and_not_for_ever() {
        let of = |text| wait(&HeaderValue::from_static(text));
        assert_eq!(of("120"), Some(Duration::from_mins(2)));
        assert_eq!(of("99999999999"), Some(RETRY_AFTER_MAX));
        assert_eq!(of("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        assert_eq!(of("Fri, 06 Nov 2122 08:49:37 GMT"), Some(RETRY_AFTER_MAX));
        assert_eq!((of("soon"), of("-1")), (None, None));
    }
}
