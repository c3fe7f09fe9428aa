//! The certificate of the listener, and whether it can be used (contract 3.1).

use std::path::{Path, PathBuf};

use crate::config::ReadFile;
use crate::config::declare as var;
use crate::config::parse::Parsed;
use crate::config::resolve::{Refused, Resolver, Taken};
use crate::edge::TlsFiles;
use crate::edge::certificate::{self, Unusable};

/// `TLS_CERT_FILE` and `TLS_KEY_FILE`: both or none, and the key is that of the certificate.
pub(super) fn files(r: &mut Resolver, read: ReadFile) -> Taken<Option<TlsFiles>> {
    let cert =
        r.optional(var::TLS_CERT_FILE, |path| Ok((PathBuf::from(path), read_with(path, read, certificate::chain)?)));
    let key = r.optional(var::TLS_KEY_FILE, |path| {
        Ok((PathBuf::from(path), read_with(path, read, certificate::private_key)?))
    });
    let ((cert, chain), (key, private_key)) = match (cert?, key?) {
        (None, None) => return Ok(None),
        (Some(cert), Some(key)) => (cert, key),
        (Some(_), None) => {
            r.problem(var::TLS_CERT_FILE, "needs its key, in TLS_KEY_FILE");
            return Err(Refused);
        }
        (None, Some(_)) => {
            r.problem(var::TLS_KEY_FILE, "needs its certificate, in TLS_CERT_FILE");
            return Err(Refused);
        }
    };
    match certificate::certified(chain, private_key) {
        Ok(_) => Ok(Some(TlsFiles { cert, key })),
        Err(unusable) => {
            let (variable, why) = match unusable {
                Unusable::Certificate(why) => (var::TLS_CERT_FILE, why),
                Unusable::Key(why) => (var::TLS_KEY_FILE, why),
            };
            r.problem(variable, why);
            Err(Refused)
        }
    }
}

fn read_with<T>(path: &str, read: ReadFile, parse: fn(&[u8]) -> Result<T, Unusable>) -> Parsed<T> {
    let bytes = read(Path::new(path)).map_err(|error| format!("cannot be read: {error}"))?;
    parse(&bytes).map_err(|(Unusable::Certificate(why) | Unusable::Key(why))| why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::tests::{URL, one, with_files};

    const FILES: [(&str, &str); 2] = [("TLS_CERT_FILE", "/tls/crt"), ("TLS_KEY_FILE", "/tls/key")];

    fn certificate() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["gate.example".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    fn files(cert: &str, key: &str) -> Result<Option<TlsFiles>, String> {
        let vars = [&[URL], &FILES[..]].concat();
        let result = with_files(&vars, &[("/tls/crt", cert.as_bytes()), ("/tls/key", key.as_bytes())]);
        result.map(|settings| settings.edge.tls).map_err(|problems| {
            assert_eq!(problems.len(), 1, "{problems:?}");
            problems[0].to_string()
        })
    }

    #[test]
    fn a_certificate_and_its_key_are_a_listener_that_serves_https() {
        let (cert, key) = certificate();
        let (other, _) = certificate();
        let expected = TlsFiles { cert: "/tls/crt".into(), key: "/tls/key".into() };
        assert_eq!(files(&cert, &key), Ok(Some(expected.clone())));
        assert_eq!(files(&format!("# ours\n{cert}{other}"), &key), Ok(Some(expected)));
    }

    #[test]
    fn one_file_without_the_other_is_a_problem() {
        let (cert, key) = certificate();
        let read = [("/tls/crt", cert.as_bytes()), ("/tls/key", key.as_bytes())];
        let cert_alone = one(with_files(&[URL, FILES[0]], &read));
        assert!(cert_alone.starts_with("TLS_CERT_FILE=\"/tls/crt\": needs its key, in TLS_KEY_FILE"), "{cert_alone}");
        let key_alone = one(with_files(&[URL, FILES[1]], &read));
        assert!(key_alone.starts_with("TLS_KEY_FILE=\"/tls/key\": needs its certificate"), "{key_alone}");
    }

    #[test]
    fn files_that_do_not_serve_are_problems_at_start() {
        let (cert, key) = certificate();
        let (_, other_key) = certificate();
        let no_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let no_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        for (cert, key, problem) in [
            (cert.as_str(), other_key.as_str(), "TLS_KEY_FILE=\"/tls/key\": is not the key of the first certificate"),
            (&key, &key, "TLS_CERT_FILE=\"/tls/crt\": contains no certificate in PEM form"),
            (&cert, &cert, "TLS_KEY_FILE=\"/tls/key\": contains no private key in PEM form"),
            ("-----BEGIN CERTIFICATE-----\n", &key, "TLS_CERT_FILE=\"/tls/crt\": is not a PEM file"),
            (&cert, "-----BEGIN PRIVATE KEY-----\n", "TLS_KEY_FILE=\"/tls/key\": is not a PEM file"),
            (no_certificate, &key, "TLS_CERT_FILE=\"/tls/crt\": contains a first certificate that cannot be read"),
            (&cert, no_key, "TLS_KEY_FILE=\"/tls/key\": contains a key that cannot be used"),
        ] {
            let found = files(cert, key).unwrap_err();
            assert!(found.starts_with(problem), "{problem}\nis not what is said:\n{found}");
        }
        let unreadable = with_files(&[&[URL], &FILES[..]].concat(), &[]).unwrap_err();
        assert_eq!(unreadable.len(), 2);
        assert!(unreadable.iter().all(|p| p.reason.starts_with("cannot be read: ")), "{unreadable:?}");
    }

    #[test]
    fn a_key_where_its_file_belongs_is_not_shown() {
        let (cert, key) = certificate();
        let vars = [URL, FILES[0], ("TLS_KEY_FILE", &key)];
        let problem = one(with_files(&vars, &[("/tls/crt", cert.as_bytes())]));
        assert!(problem.starts_with("TLS_KEY_FILE: cannot be read"), "{problem}");
    }
}
