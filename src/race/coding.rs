//! Content codings (RFC 9110 §8.4), taken off for a look inside. What is sent stays as it came.

use std::io::{self, Read};

use brotli_decompressor::{BrotliDecoderParameter, Decompressor};
use bytes::Bytes;
use flate2::bufread::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::header::{CONTENT_ENCODING, HeaderMap};
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};

/// No coding is taken off further than this. RFC 9659 allows zstd no larger window either.
const MAX_DECODED: usize = 8 * 1024 * 1024;
/// Nobody puts more codings on top of each other, but an attacker who wants to see us work.
const MAX_CODINGS: usize = 4;
/// …or more zstd frames behind each other.
const MAX_FRAMES: usize = 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

/// Whether a body has a coding at all, one that we know or another.
pub(super) fn is_coded(headers: &HeaderMap) -> bool {
    names(headers).next().is_some()
}

/// The body without its codings. None if it is unreadable, too long, or in a coding that we do not know.
pub(super) fn decoded(headers: &HeaderMap, body: Bytes) -> Option<Bytes> {
    let mut body = body;
    if body.is_empty() || !is_coded(headers) {
        return Some(body);
    }
    let codings = names(headers).take(MAX_CODINGS + 1).map(Coding::of).collect::<Option<Vec<_>>>()?;
    if codings.len() > MAX_CODINGS {
        return None;
    }
    // The last one was applied last.
    for coding in codings.into_iter().rev() {
        body = coding.take_off(&body).ok()?.into();
    }
    Some(body)
}

/// The codings of a body in the order in which they were applied.
fn names(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let lines = headers.get_all(CONTENT_ENCODING).iter();
    let names = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    names.filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case(b"identity"))
}

impl Coding {
    fn of(name: &[u8]) -> Option<Self> {
        match name.to_ascii_lowercase().as_slice() {
            b"gzip" | b"x-gzip" => Some(Self::Gzip),
            b"deflate" => Some(Self::Deflate),
            b"br" => Some(Self::Brotli),
            b"zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    fn take_off(self, body: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip => read(MultiGzDecoder::new(body)),
            // It means zlib (RFC 9110 §8.4.1.2), and there are senders who never heard of that.
            Self::Deflate => read(ZlibDecoder::new(body)).or_else(|_| read(DeflateDecoder::new(body))),
            Self::Brotli => {
                let mut decoder = Decompressor::new(body, 4096);
                // RFC 7932 knows windows of 16 MiB at most. Beyond that a few bytes could ask for a gigabyte.
                decoder.set_parameter(BrotliDecoderParameter::BROTLI_DECODER_PARAM_LARGE_WINDOW, 0);
                read(decoder)
            }
            Self::Zstd => zstd(body),
        }
    }
}

/// All that comes, up to the limit.
fn read(reader: impl Read) -> io::Result<Vec<u8>> {
    let mut decoded = Vec::new();
    append(reader, &mut decoded)?;
    Ok(decoded)
}

fn append(reader: impl Read, decoded: &mut Vec<u8>) -> io::Result<()> {
    let left = MAX_DECODED - decoded.len();
    let read = reader.take(left as u64 + 1).read_to_end(decoded)?;
    if read > left { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(()) }
}

/// One frame after the other, skippable ones aside (RFC 8878 §3.1).
fn zstd(mut source: &[u8]) -> io::Result<Vec<u8>> {
    let mut decoder = FrameDecoder::new();
    decoder.set_max_window_size(MAX_DECODED as u64);
    let mut all = Vec::new();
    for _ in 0..MAX_FRAMES {
        if source.is_empty() {
            return Ok(all);
        }
        match StreamingDecoder::new_with_decoder(&mut source, &mut decoder) {
            Ok(frame) => append(frame, &mut all)?,
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                source = source.get(length..).ok_or(io::ErrorKind::UnexpectedEof)?;
            }
            Err(error) => return Err(io::Error::other(error)),
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use http::HeaderValue;

    use super::*;

    /// Every coding by its name, `raw` for a deflate without its zlib wrapping.
    pub(crate) const ALL: [&str; 6] = ["gzip", "x-gzip", "deflate", "raw", "br", "zstd"];

    pub(crate) fn encode(coding: &str, body: &[u8]) -> Vec<u8> {
        fn written<W: Write>(mut encoder: W, body: &[u8]) -> W {
            encoder.write_all(body).unwrap();
            encoder
        }
        let level = Compression::default();
        match coding {
            "gzip" | "x-gzip" => written(GzEncoder::new(Vec::new(), level), body).finish().unwrap(),
            "deflate" => written(ZlibEncoder::new(Vec::new(), level), body).finish().unwrap(),
            "raw" => written(DeflateEncoder::new(Vec::new(), level), body).finish().unwrap(),
            "br" => written(brotli::CompressorWriter::new(Vec::new(), 4096, 5, 22), body).into_inner(),
            "zstd" => zstd::encode_all(body, 3).unwrap(),
            _ => panic!("{coding}"),
        }
    }

    pub(crate) fn header(codings: &[&str]) -> HeaderMap {
        let line = codings.join(", ").replace("raw", "deflate");
        HeaderMap::from_iter([(CONTENT_ENCODING, HeaderValue::try_from(line).unwrap())])
    }

    fn decoded_len(codings: &[&str], body: Vec<u8>) -> Option<usize> {
        decoded(&header(codings), body.into()).map(|body| body.len())
    }

    #[test]
    fn a_bomb_is_not_followed_further_than_the_limit() {
        for coding in ALL {
            let fits = vec![b' '; MAX_DECODED];
            assert_eq!(decoded_len(&[coding], encode(coding, &fits)), Some(MAX_DECODED), "{coding}");
            let over = vec![b' '; MAX_DECODED + 1];
            assert_eq!(decoded_len(&[coding], encode(coding, &over)), None, "{coding}");
        }
    }

    #[test]
    fn what_breaks_off_is_unreadable() {
        let body: Vec<u8> = (0..20_000_u32).flat_map(|i| (i * i).to_le_bytes()).collect();
        for coding in ALL {
            let whole = encode(coding, &body);
            for cut in [1, 2, whole.len() / 2, whole.len() - 1] {
                assert_eq!(decoded_len(&[coding], whole[..cut].to_vec()), None, "{coding} {cut}");
            }
            assert_eq!(decoded_len(&[coding], b"{\"stream\":true}".to_vec()), None, "{coding}");
        }
    }

    #[test]
    fn several_frames_are_one_body_and_endless_ones_are_none() {
        let frame = encode("zstd", b"ab");
        let skippable = b"\x50\x2a\x4d\x18\x03\x00\x00\x00xyz".to_vec();
        assert_eq!(decoded_len(&["zstd"], [frame.clone(), skippable.clone(), frame.clone()].concat()), Some(4));
        assert_eq!(decoded_len(&["zstd"], [&frame[..], b"\x50\x2a\x4d\x18\x03\x00\x00\x00x"].concat()), None);
        assert_eq!(decoded_len(&["zstd"], encode("zstd", b"").repeat(100_000)), None);
        assert_eq!(decoded_len(&["gzip"], encode("gzip", b"ab").repeat(2)), Some(4));
    }

    #[test]
    fn a_window_above_the_limit_is_refused_before_it_is_allocated() {
        // A zstd frame of one raw byte with a window of 128 MiB, and of 8 MiB.
        let frame = |window: u8| [b"\x28\xb5\x2f\xfd\x00", &[window][..], b"\x09\x00\x00x"].concat();
        assert_eq!(decoded_len(&["zstd"], frame(17 << 3)), None);
        assert_eq!(decoded_len(&["zstd"], frame(13 << 3)), Some(1));
        // The same with brotli's large windows, which no browser sends: 30 bits.
        let mut params = brotli::enc::BrotliEncoderParams::default();
        (params.lgwin, params.large_window) = (30, true);
        let mut large = Vec::new();
        brotli::BrotliCompress(&mut &b"{}"[..], &mut large, &params).unwrap();
        assert_eq!(decoded_len(&["br"], large), None);
    }

    #[test]
    fn codings_are_taken_off_in_order_and_only_known_ones() {
        let twice = encode("zstd", &encode("gzip", b"hello"));
        assert_eq!(decoded_len(&["gzip", "zstd"], twice.clone()), Some(5));
        assert_eq!(decoded_len(&["GZIP", "identity", "", "Zstd"], twice.clone()), Some(5));
        assert_eq!(decoded_len(&["zstd", "gzip"], twice.clone()), None);
        assert_eq!(decoded_len(&["gzip", "compress"], twice), None);
        let six = ["gzip"; 6].iter().fold(b"hello".to_vec(), |body, coding| encode(coding, &body));
        assert_eq!(decoded_len(&["gzip"; 6], six.clone()), None, "too many");
        assert!(!is_coded(&header(&["identity"])) && !is_coded(&HeaderMap::new()) && is_coded(&header(&["x"])));
        assert_eq!(decoded_len(&["identity"], six.clone()), Some(six.len()));
        assert_eq!(decoded_len(&["gzip"], Vec::new()), Some(0));
    }
}
