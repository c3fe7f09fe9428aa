//! Which client is it? First match of section 8.

use http::{HeaderMap, HeaderName};

use super::{Dialect, Settings};

impl Dialect {
    /// Recognises the client from its request. With `DIALECT=plain` everyone is plain.
    pub fn recognise(settings: Settings, headers: &HeaderMap, path: &str) -> Self {
        if !settings.auto {
            return Self::Plain;
        }
        let signs = Signs::of(headers);
        if signs.is_codex || (signs.is_upgrade && signs.speaks_of_websockets) {
            Self::Codex
        } else if signs.is_anthropic || path.ends_with("/messages") {
            Self::Anthropic
        } else if signs.is_stainless || is_openai_path(path) {
            Self::OpenAi
        } else {
            Self::Plain
        }
    }
}

/// What the fields say: found in one pass, because most requests have none of them.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a field of its own that is there or not")]
struct Signs {
    is_codex: bool,
    is_upgrade: bool,
    speaks_of_websockets: bool,
    is_anthropic: bool,
    is_stainless: bool,
}

impl Signs {
    fn of(headers: &HeaderMap) -> Self {
        let mut signs = Self::default();
        let begins_with = |name: &HeaderName, prefix: &[u8]| {
            headers.get(name).is_some_and(|value| value.as_bytes().starts_with(prefix))
        };
        for name in headers.keys() {
            match name.as_str() {
                "originator" => signs.is_codex = begins_with(name, b"codex"),
                "upgrade" => signs.is_upgrade = true,
                "openai-beta" => signs.speaks_of_websockets = begins_with(name, b"responses_websockets"),
                "anthropic-version" => signs.is_anthropic = true,
                "x-stainless-lang" => signs.is_stainless = true,
                _ => {}
            }
        }
        signs
    }
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
