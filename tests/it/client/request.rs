//! A request, and its bytes on HTTP/1.1; [`super::H2Client`] makes frames of it.

/// A request as it will be written.
#[derive(Clone, Debug)]
pub struct Request {
    method: String,
    target: Vec<u8>,
    version: &'static str,
    host: Option<Vec<u8>>,
    fields: Vec<(String, Vec<u8>)>,
    body: Body,
}

#[derive(Clone, Debug)]
pub(super) enum Body {
    None,
    Length(Vec<u8>),
    Chunked(Vec<Vec<u8>>),
}

/// A request without a body.
pub fn request(method: &str, target: impl AsRef<[u8]>) -> Request {
    Request {
        method: method.to_owned(),
        target: target.as_ref().to_vec(),
        version: "HTTP/1.1",
        host: Some(b"forebay.test".to_vec()),
        fields: Vec::new(),
        body: Body::None,
    }
}

/// `GET` without a body.
pub fn get(target: impl AsRef<[u8]>) -> Request {
    request("GET", target)
}

/// `POST` with a body and its `Content-Length`.
pub fn post(target: impl AsRef<[u8]>, body: impl AsRef<[u8]>) -> Request {
    request("POST", target).body(body)
}

impl Request {
    /// One more field line; the value is written as it is.
    pub fn field(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.fields.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// A JSON body, with its type and its length.
    pub fn json(self, body: &str) -> Self {
        self.field("Content-Type", "application/json").body(body)
    }

    /// A body with `Content-Length`.
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = Body::Length(body.as_ref().to_vec());
        self
    }

    /// A chunked body, one chunk each.
    pub fn chunks<'a>(mut self, chunks: impl IntoIterator<Item = &'a [u8]>) -> Self {
        self.body = Body::Chunked(chunks.into_iter().map(<[u8]>::to_vec).collect());
        self
    }

    /// Another `Host`.
    pub fn host(mut self, host: impl AsRef<[u8]>) -> Self {
        self.host = Some(host.as_ref().to_vec());
        self
    }

    /// No `Host` at all.
    pub fn no_host(mut self) -> Self {
        self.host = None;
        self
    }

    /// As an HTTP/1.0 client would send it.
    pub fn http10(mut self) -> Self {
        self.version = "HTTP/1.0";
        self
    }

    pub(super) fn target(&self) -> &[u8] {
        &self.target
    }

    pub(super) fn authority(&self) -> Option<&[u8]> {
        self.host.as_deref()
    }

    pub(super) fn fields(&self) -> &[(String, Vec<u8>)] {
        &self.fields
    }

    pub(super) fn content(&self) -> &Body {
        &self.body
    }

    /// The method as it will be written.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// What goes over the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = [self.method.as_bytes(), b" ", &self.target, b" ", self.version.as_bytes(), b"\r\n"].concat();
        if let Some(host) = &self.host {
            out.extend([b"Host: ", host.as_slice(), b"\r\n"].concat());
        }
        for (name, value) in &self.fields {
            out.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        match &self.body {
            Body::None => out.extend_from_slice(b"\r\n"),
            Body::Length(body) => {
                out.extend(format!("Content-Length: {}\r\n\r\n", body.len()).into_bytes());
                out.extend_from_slice(body);
            }
            Body::Chunked(chunks) => {
                out.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
                for chunk in chunks {
                    out.extend([format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
                }
                out.extend_from_slice(b"0\r\n\r\n");
            }
        }
        out
    }
}
