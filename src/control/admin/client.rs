//! Asks a gateway over its admin socket, for the commands of `ringway admin`.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

/// How long a whole exchange may take; the gateway gives up before.
const PATIENCE: Duration = Duration::from_secs(150);
/// The largest answer that is taken, in bytes.
const ANSWER_MAX: usize = 64 << 20;

/// Why there is no answer.
#[derive(Debug)]
pub struct NoAnswer(String);

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The status and the JSON of what the gateway says to a request. With a body it is a POST, otherwise a GET.
pub fn ask(socket: &Path, path: &str, body: Option<&Value>) -> Result<(u16, Value), NoAnswer> {
    let failed = |error: &dyn fmt::Display| NoAnswer(format!("{}: {error}", socket.display()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    let runtime = runtime.map_err(|error| failed(&error))?;
    let exchange = async {
        let stream = UnixStream::connect(socket).await.map_err(|error| {
            NoAnswer(format!(
                "no gateway answers at {}: {error}. Does its config have [admin], and may this user ask it?",
                socket.display()
            ))
        })?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
        tokio::spawn(connection);
        let request = Request::builder().uri(path).header(HOST, "localhost");
        let request = match body {
            None => request.body(Full::default()),
            Some(body) => request
                .method("POST")
                .header(CONTENT_TYPE, "application/json")
                .body(Full::new(Bytes::from(body.to_string()))),
        };
        let request = request.map_err(|error| failed(&error))?;
        let response = sender.send_request(request).await.map_err(|error| failed(&error))?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await.map_err(|error| failed(&error))?;
        let value = serde_json::from_slice(&body.to_bytes()).map_err(|error| failed(&error))?;
        Ok((status, value))
    };
    let exchange = async { tokio::time::timeout(PATIENCE, exchange).await };
    runtime.block_on(exchange).unwrap_or_else(|_| Err(failed(&format!("no answer within {PATIENCE:?}"))))
}
