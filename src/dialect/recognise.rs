//! Which client is it? First match of section 8.

use http::{HeaderMap, HeaderName};

use super::{Dialect, Settings};

// As constants: a name that is only a string is read as one at every look.
const ANTHROPIC_VERSION: HeaderName = HeaderName::from_static("anthropic-version");
const OPENAI_BETA: HeaderName = HeaderName::from_static("openai-beta");
const ORIGINATOR: HeaderName = HeaderName::from_static("originator");
const STAINLESS_LANG: HeaderName = HeaderName::from_static("x-stainless-lang");

impl Dialect {
    /// Recognises the client from its request. With `DIALECT=plain` everyone is plain.
    pub fn recognise(settings: Settings, headers: &HeaderMap, path: &str) -> Self {
        if !settings.auto {
            Self::Plain
        } else if is_codex(headers) {
            Self::Codex
        } else if headers.contains_key(ANTHROPIC_VERSION) || path.ends_with("/messages") {
            Self::Anthropic
        } else if headers.contains_key(STAINLESS_LANG) || is_openai_path(path) {
            Self::OpenAi
        } else {
            Self::Plain
        }
    }
}

fn is_codex(headers: &HeaderMap) -> bool {
    let starts_with =
        |name: HeaderName, prefix: &[u8]| headers.get(name).is_some_and(|v| v.as_bytes().starts_with(prefix));
    starts_with(ORIGINATOR, b"codex")
        || (headers.contains_key(http::header::UPGRADE) && starts_with(OPENAI_BETA, b"responses_websockets"))
}

fn is_openai_path(path: &str) -> bool {
    const ENDINGS: [&str; 4] = ["/chat/completions", "/completions", "/embeddings", "/responses"];
    ENDINGS.iter().any(|ending| path.ends_with(ending)) || path.split('/').any(|segment| segment == "v1")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn recognised(fields: &[(&'static str, &'static str)], path: &str) -> Dialect {
        let fields = fields.iter().map(|(k, v)| (HeaderName::from_static(k), HeaderValue::from_static(v)));
        Dialect::recognise(Settings { auto: true, codex_final_status: None }, &fields.collect(), path)
    }

    #[test]
    fn the_first_match_of_section_8_counts() {
        use Dialect::*;
        let upgrade = ("upgrade", "websocket");
        for (fields, path, dialect) in [
            (&[("originator", "codex_cli_rs"), ("anthropic-version", "1")][..], "/v1/messages", Codex),
            (&[upgrade, ("openai-beta", "responses_websockets=2026-02-06")], "/responses", Codex),
            (&[("openai-beta", "responses_websockets=2026-02-06")], "/x", Plain),
            (&[("anthropic-version", "2023-06-01")], "/v1/x", Anthropic),
            (&[], "/v1/messages", Anthropic),
            (&[("x-stainless-lang", "python")], "/x", OpenAi),
            (&[], "/openai/v1/models", OpenAi),
            (&[], "/responses", OpenAi),
            (&[], "/api/embeddings", OpenAi),
            (&[], "/v10/x", Plain),
            (&[], "/api/chat", Plain),
            (&[("originator", "vscode")], "/", Plain),
        ] {
            assert_eq!(recognised(fields, path), dialect, "{fields:?} {path}");
        }
    }

    #[test]
    fn plain_is_for_everyone_who_asks_for_it() {
        let headers =
            HeaderMap::from_iter([(HeaderName::from_static("originator"), HeaderValue::from_static("codex"))]);
        let settings = Settings { auto: false, codex_final_status: None };
        assert_eq!(Dialect::recognise(settings, &headers, "/v1/messages"), Dialect::Plain);
    }
}
