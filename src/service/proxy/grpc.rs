//! What gRPC says of a call beside its status of HTTP: fields of the trailers, or of the head where there is no body.

use std::time::Duration;

use ringway_proto::grpc::{Pushback, Said};
use ringway_proto::http1::{Body, ResponseHead};

use super::tries::Failed;
use crate::flow::{Client, Exchange};
use crate::plan::Retry;

/// Counts what an answer says of a call. It is asked only where an answer has trailers or no body.
pub(super) fn answered<'a>(client: &Client, exchange: &Exchange, fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) {
    if exchange.rpc.is_some()
        && let Some(status) = Said::of(fields).status
    {
        client.state.metrics.grpc_answered(status);
    }
}

/// How a try failed whose answer is a head alone, where another one may do better.
#[cold]
pub(super) fn failed(response: &ResponseHead, bytes: &[u8], retry: &Retry) -> Option<Failed> {
    if !Body::new(response.framing).is_done() {
        return None;
    }
    let fields = response.fields.iter();
    let said = Said::of(fields.map(|field| (field.name.of(bytes), field.value.of(bytes))));
    if !retry.on.codes.has(said.code()?) {
        return None;
    }
    match said.pushback {
        Pushback::Nothing => Some(Failed::Status(Duration::ZERO)),
        Pushback::After(after) if after <= retry.retry_after => Some(Failed::Told(after)),
        Pushback::After(_) | Pushback::Never => None,
    }
}
