//! The content types of gRPC.

/// How a call goes over the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wire {
    /// gRPC: `application/grpc`.
    Grpc,
    /// gRPC-Web: `application/grpc-web`.
    Web,
    /// The same in base64: `application/grpc-web-text`.
    WebText,
}

impl Wire {
    /// The content type, to which a format may be added.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Grpc => "application/grpc",
            Self::Web => "application/grpc-web",
            Self::WebText => "application/grpc-web-text",
        }
    }

    /// Whether it is one of gRPC-Web.
    pub const fn is_web(self) -> bool {
        !matches!(self, Self::Grpc)
    }
}

/// What a content type says, with the format and parameters behind it; nothing where it is none of gRPC.
pub fn content_type(value: &[u8]) -> Option<(Wire, &[u8])> {
    // The longest first, as each is the beginning of the one before.
    for wire in [Wire::WebText, Wire::Web, Wire::Grpc] {
        let name = wire.content_type().as_bytes();
        if let Some((found, rest)) = value.split_at_checked(name.len())
            && found.eq_ignore_ascii_case(name)
            && matches!(rest.first(), None | Some(b'+' | b';' | b' ' | b'\t'))
        {
            return Some((wire, rest));
        }
    }
    None
}
