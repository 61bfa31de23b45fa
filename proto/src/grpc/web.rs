//! Between a client of gRPC-Web and a server of gRPC. The messages are the same on both sides; base64 and the place of the
//! trailers differ.

use super::{Decoder, Encoder, FrameError, Prefix, Reader};

/// What a client sends, on its way to a server.
#[derive(Clone, Debug)]
pub struct Request {
    reader: Reader,
    text: Option<Decoder>,
}

impl Request {
    /// Of messages of up to `most` bytes, in base64 where it is text.
    pub fn new(is_text: bool, most: u32) -> Self {
        Self { reader: Reader::new(most), text: is_text.then(Decoder::default) }
    }

    /// Whether what comes is not what goes on.
    pub fn is_text(&self) -> bool {
        self.text.is_some()
    }

    /// Looks at what comes next. What goes on of it is appended where it is text, and is what came otherwise.
    ///
    /// # Errors
    ///
    /// What is there breaks the protocol. Nothing more can be read.
    pub fn push(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError> {
        let Some(text) = &mut self.text else { return follow(&mut self.reader, data, |_, _| ()) };
        let start = out.len();
        text.decode(data, out)?;
        follow(&mut self.reader, out.get(start..).unwrap_or_default(), |_, _| ())
    }

    /// Nothing more comes.
    ///
    /// # Errors
    ///
    /// It ends inside a message.
    pub fn finish(&self) -> Result<(), FrameError> {
        self.text.as_ref().map_or(Ok(()), Decoder::finish)?;
        self.reader.finish()
    }
}

/// What a server sends, on its way to a client.
#[derive(Clone, Debug)]
pub struct Response {
    reader: Reader,
    text: Option<Encoder>,
}

impl Response {
    /// Of messages of up to `most` bytes, in base64 where it is to be text.
    pub fn new(is_text: bool, most: u32) -> Self {
        Self { reader: Reader::new(most), text: is_text.then(Encoder::default) }
    }

    /// Whether what comes is not what goes on.
    pub fn is_text(&self) -> bool {
        self.text.is_some()
    }

    /// Looks at what comes next. What goes on of it is appended where it is to be text, and is what came otherwise. A
    /// message that is whole goes on whole.
    ///
    /// # Errors
    ///
    /// What is there breaks the protocol: above all a frame that a client would take for trailers.
    pub fn push(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError> {
        let text = &mut self.text;
        follow(&mut self.reader, data, |bytes, is_end| {
            let Some(text) = text else { return };
            text.encode(bytes, out);
            if is_end {
                text.finish(out);
            }
        })
    }

    /// Whether trailers may follow: no message has begun that has not ended.
    pub fn is_between(&self) -> bool {
        self.reader.is_between()
    }

    /// Appends the trailers, with which it ends.
    ///
    /// # Errors
    ///
    /// It ends inside a message.
    pub fn trailers<'a>(
        &mut self,
        fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        out: &mut Vec<u8>,
    ) -> Result<(), FrameError> {
        self.reader.finish()?;
        let mut frame = Vec::new();
        trailers(fields, &mut frame);
        match &mut self.text {
            None => out.extend_from_slice(&frame),
            Some(text) => {
                text.encode(&frame, out);
                text.finish(out);
            }
        }
        Ok(())
    }
}

/// Follows all of what comes, message by message.
fn follow(reader: &mut Reader, data: &[u8], mut step: impl FnMut(&[u8], bool)) -> Result<(), FrameError> {
    let mut left = data;
    while !left.is_empty() {
        let next = reader.next(left)?;
        let (bytes, rest) = left.split_at_checked(next.taken).unwrap_or((left, &[]));
        step(bytes, next.is_end);
        left = rest;
    }
    Ok(())
}

/// Appends a frame of trailers, their names in lower case.
pub fn trailers<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&Prefix::TRAILERS.to_bytes(0));
    for (name, value) in fields {
        out.extend(name.iter().map(u8::to_ascii_lowercase));
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }
    let len = u32::try_from(out.len() - start - super::PREFIX).unwrap_or(u32::MAX);
    let prefix = Prefix::TRAILERS.to_bytes(len);
    if let Some(place) = out.get_mut(start..start + prefix.len()) {
        place.copy_from_slice(&prefix);
    }
}

/// The fields of a frame of trailers. Lines without a colon are passed over.
pub fn fields(payload: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    payload.split(|&byte| byte == b'\n').filter_map(|line| {
        let at = line.iter().position(|&byte| byte == b':')?;
        let (name, value) = (line.get(..at)?, line.get(at + 1..)?);
        Some((name.trim_ascii(), value.trim_ascii()))
    })
}
