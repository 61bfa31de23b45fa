//! What gRPC says of a call beside its status of HTTP: a field of the trailers, or of the head where there is no body.

use ringway_proto::http1::{Known, Method};

use crate::flow::{Client, Exchange};

const CONTENT_TYPE: &[u8] = b"application/grpc";

/// Counts what an answer says of a call. It costs no other request anything but a look at its method: it is asked only
/// where an answer has trailers or no body.
pub(super) fn answered<'a>(
    client: &Client,
    exchange: &Exchange,
    mut fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) {
    if exchange.head.method != Method::Post {
        return;
    }
    let Some((_, status)) = fields.find(|(name, _)| name.eq_ignore_ascii_case(b"grpc-status")) else { return };
    let bytes = exchange.head_bytes();
    let kind = exchange.head.fields.iter().find(|field| field.known == Known::ContentType);
    if kind.is_some_and(|kind| is_grpc(kind.value.of(bytes))) {
        client.state.metrics.grpc_answered(status);
    }
}

/// Whether a content type is one of gRPC: `application/grpc`, and with a format behind `+` or parameters behind `;`.
fn is_grpc(content_type: &[u8]) -> bool {
    let Some((name, rest)) = content_type.split_at_checked(CONTENT_TYPE.len()) else { return false };
    name.eq_ignore_ascii_case(CONTENT_TYPE) && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types_of_grpc_are_known() {
        for (content_type, is) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("Application/gRPC; charset=utf-8", true),
            ("application/grpc-web", false),
            ("application/grp", false),
            ("text/plain", false),
            ("", false),
        ] {
            assert_eq!(is_grpc(content_type.as_bytes()), is, "{content_type}");
        }
    }
}
