//! Connections of the admin API: how many, for how long, and whose.

use std::convert::Infallible;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Map, Value};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use super::endpoints::Allowed;
use super::problem::{Problem, Reply};
use super::{Shared, endpoints, gate};

/// Bytes of a request head.
const HEAD_MAX: usize = 16 << 10;
/// How long an answer may take: a reload may look up names.
const ANSWER: Duration = Duration::from_mins(2);
/// Questions to control that may be open at once; further ones wait their turn.
pub(super) const WAITING_MAX: usize = 16;
/// How long a connection may take for its first request when the API ends.
const FIRST_REQUEST: Duration = Duration::from_millis(500);
/// How long accepting rests where it failed, as without a free descriptor.
const REST: Duration = Duration::from_millis(100);

/// Accepts until it is told to stop, then waits for the answers under way.
pub(super) async fn serve(
    shared: Arc<Shared>,
    unix: UnixListener,
    uid: Option<u32>,
    tcp: Option<TcpListener>,
    mut stop: watch::Receiver<bool>,
) {
    let Ok(unix) = tokio::net::UnixListener::from_std(unix) else { return };
    let Ok(tcp) = tcp.map(tokio::net::TcpListener::from_std).transpose() else { return };
    let accept_tcp = async || match &tcp {
        Some(tcp) => tcp.accept().await,
        None => std::future::pending().await,
    };
    // One reference for each connection beside this one.
    let open = Arc::new(());
    loop {
        let has_room = || Arc::strong_count(&open) <= shared.settings().connections as usize;
        tokio::select! {
            _ = stop.changed() => break,
            accepted = unix.accept() => match accepted {
                Ok((stream, _)) => {
                    let peer = stream.peer_cred().ok().map(|peer| peer.uid());
                    let may_ask = peer.is_some() && (peer == uid || peer == Some(0));
                    if may_ask && has_room() {
                        tokio::spawn(connection(shared.clone(), stream, false, stop.clone(), open.clone()));
                    }
                }
                Err(_) => sleep(REST).await,
            },
            accepted = accept_tcp() => match accepted {
                Ok((stream, _)) if has_room() => {
                    tokio::spawn(connection(shared.clone(), stream, true, stop.clone(), open.clone()));
                }
                Ok(_) => {}
                Err(_) => sleep(REST).await,
            },
        }
    }
    // Control, which waits for this, has a limit of its own.
    while Arc::strong_count(&open) > 1 {
        sleep(Duration::from_millis(1)).await;
    }
}

async fn connection(
    shared: Arc<Shared>,
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    is_tcp: bool,
    mut stop: watch::Receiver<bool>,
    open: Arc<()>,
) {
    let patience = shared.settings().timeout;
    let asked = Notify::new();
    let service = service_fn(|request| {
        asked.notify_one();
        let shared = shared.clone();
        async move { Ok::<_, Infallible>(answer(&shared, request, is_tcp).await.into_response()) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(patience).max_buf_size(HEAD_MAX);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    // How a connection ends is its client's business.
    tokio::select! {
        _ = connection.as_mut() => {}
        _ = stop.changed() => {
            // Whoever has connected and not asked yet would find nobody else on this connection.
            tokio::select! {
                _ = connection.as_mut() => {}
                _ = timeout(FIRST_REQUEST, asked.notified()) => {
                    connection.as_mut().graceful_shutdown();
                    let _ = connection.await;
                }
            }
        }
    }
    drop(open);
}

async fn answer(shared: &Arc<Shared>, request: Request<Incoming>, is_tcp: bool) -> Reply {
    // What is asked for goes on when the client leaves: a plan is run as a whole.
    timeout(ANSWER, handle(shared, request, is_tcp))
        .await
        .map_or_else(|_| Problem::no_answer().into(), |answer| answer.unwrap_or_else(Reply::from))
}

async fn handle(shared: &Arc<Shared>, request: Request<Incoming>, is_tcp: bool) -> Result<Reply, Problem> {
    gate::refuse_other_sites(request.headers())?;
    let path = request.uri().path();
    let allowed = endpoints::allowed(path);
    let Some(allow) = endpoints::allow(&allowed) else {
        return Err(Problem::new(404, "not_found", "no such path; /v1/openapi.json has them all"));
    };
    let is_head = request.method() == Method::HEAD;
    let wanted = if is_head { Method::GET } else { request.method().clone() };
    let endpoint = allowed.into_iter().find(|endpoint| endpoint.method == wanted.as_str());
    let endpoint = endpoint.ok_or_else(|| Problem::method_not_allowed(allow))?;
    let settings = shared.settings();
    let mut allowed = Allowed::Everything;
    if is_tcp && !endpoint.is_open {
        let headers = request.headers();
        let of_upstreams = if endpoint.call.is_for_endpoints() {
            shared.may_register(|token| gate::shows(headers, token))
        } else {
            Vec::new()
        };
        if of_upstreams.is_empty() {
            gate::want_token(headers, settings.token.as_ref())?;
        } else {
            allowed = Allowed::Upstreams(of_upstreams);
        }
    }
    let (head, body) = request.into_parts();
    let body = match wanted.as_str() {
        "POST" => read(&head.headers, body, endpoint.call.body_max(), settings.timeout).await?,
        _ => Map::new(),
    };
    endpoints::call(endpoint.call, shared, &head.headers, body, &allowed).await
}

/// The JSON object of a body; none at all is an empty one.
async fn read(
    headers: &HeaderMap,
    body: Incoming,
    most: usize,
    patience: Duration,
) -> Result<Map<String, Value>, Problem> {
    let whole = timeout(patience, Limited::new(body, most).collect()).await;
    let whole = whole.map_err(|_| Problem::new(408, "body_timeout", "the body did not arrive in time"))?;
    let bytes = whole.map_err(|error| {
        if error.is::<http_body_util::LengthLimitError>() {
            Problem::new(413, "body_too_large", format!("a body has at most {most} bytes"))
        } else {
            Problem::new(400, "invalid_body", "the body broke off")
        }
    })?;
    let bytes = bytes.to_bytes();
    if bytes.is_empty() {
        return Ok(Map::new());
    }
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media = content_type.split(';').next().unwrap_or_default().trim();
    // No form of a web page can send this.
    if !media.eq_ignore_ascii_case("application/json") {
        return Err(Problem::new(415, "not_json", "Content-Type: application/json is wanted"));
    }
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(Problem::new(400, "invalid_body", "a JSON object is wanted")),
        Err(error) => Err(Problem::new(400, "invalid_body", format!("no JSON: {error}"))),
    }
}

/// Waits for an answer of control's, off the thread that serves.
pub(super) async fn wait<T: Send + 'static>(answer: Receiver<T>) -> Result<T, Problem> {
    match tokio::task::spawn_blocking(move || answer.recv_timeout(ANSWER)).await {
        Ok(Ok(answer)) => Ok(answer),
        _ => Err(Problem::no_answer()),
    }
}
