//! Tokens that somebody else makes: JSON Web Tokens signed with a key whose public half is here.
//!
//! The keys are a file: a JSON Web Key Set (`{"keys": […]}`), or public keys and certificates in PEM.
//! It is read again when it changes. Only signatures with asymmetric keys count: RSA (PKCS #1 and
//! PSS), ECDSA on P-256 and P-384, Ed25519.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use serde::Deserialize;

use super::auth::Need;
use super::der::key_of_info;
use super::token::{Grant, covers};

/// How far the issuer's clock may be off.
const LEEWAY_SECONDS: i64 = 60;
/// A file of keys is small.
const KEYS_MAX: usize = 256;

/// Whose tokens are believed.
#[derive(Debug)]
pub(crate) struct Issuer {
    /// What tokens name as `iss`; empty: anything.
    name: String,
    service: String,
    realm: String,
    path: PathBuf,
    loaded: Mutex<Loaded>,
}

#[derive(Debug, Default)]
struct Loaded {
    modified: Option<SystemTime>,
    keys: Arc<Vec<Key>>,
}

/// A public key.
#[derive(Debug)]
pub(crate) struct Key {
    id: Option<String>,
    material: Material,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Material {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
}

#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    iss: String,
    #[serde(default)]
    aud: Audience,
    exp: f64,
    #[serde(default)]
    nbf: f64,
    #[serde(default)]
    access: Vec<Grant>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    More(Vec<String>),
}

impl Default for Audience {
    fn default() -> Self {
        Self::More(Vec::new())
    }
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<WebKey>,
}

#[derive(Deserialize)]
struct WebKey {
    kty: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    crv: String,
    #[serde(default)]
    n: String,
    #[serde(default)]
    e: String,
    #[serde(default)]
    x: String,
    #[serde(default)]
    y: String,
}

impl Issuer {
    /// Tokens for `service`, signed with a key of the file; clients get them at `realm`.
    pub(crate) fn open(name: &str, service: &str, realm: &str, keys: &Path) -> io::Result<Self> {
        let issuer = Self {
            name: name.to_owned(),
            service: service.to_owned(),
            realm: realm.to_owned(),
            path: keys.to_owned(),
            loaded: Mutex::default(),
        };
        issuer.reload()?;
        Ok(issuer)
    }

    pub(crate) fn realm(&self) -> &str {
        &self.realm
    }

    pub(crate) fn service(&self) -> &str {
        &self.service
    }

    /// Whether a token lets a request through.
    pub(crate) fn allows(&self, token: &str, need: &Need) -> bool {
        let keys = self.reload().unwrap_or_else(|error| {
            tracing::error!(path = %self.path.display(), %error, "cannot read the issuer's keys");
            let loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(&loaded.keys)
        });
        let now = Timestamp::now().as_second();
        self.read(token, &keys, now)
            .is_some_and(|claims| covers(&claims.access, need))
    }

    /// What a token says, if it is to be believed at this time.
    fn read(&self, token: &str, keys: &[Key], now: i64) -> Option<Claims> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let header: Header = serde_json::from_slice(&decode(header)?).ok()?;
        let signature = decode(signature)?;
        let may_be = |key: &&Key| match (&header.kid, &key.id) {
            (Some(named), Some(own)) => named == own,
            _ => true,
        };
        keys.iter()
            .filter(may_be)
            .find(|key| key.signed(&header.alg, signed.as_bytes(), &signature))?;
        let claims: Claims = serde_json::from_slice(&decode(claims)?).ok()?;
        let is_for_us = match &claims.aud {
            Audience::One(own) => *own == self.service,
            Audience::More(all) => all.contains(&self.service),
        };
        let is_by_them = self.name.is_empty() || claims.iss == self.name;
        #[expect(
            clippy::cast_precision_loss,
            reason = "seconds of this age are exact in it"
        )]
        let is_now = claims.exp > (now - LEEWAY_SECONDS) as f64
            && claims.nbf < (now + LEEWAY_SECONDS) as f64;
        (is_for_us && is_by_them && is_now).then_some(claims)
    }

    /// The keys, read again if the file changed.
    fn reload(&self) -> io::Result<Arc<Vec<Key>>> {
        let modified = fs::metadata(&self.path)?.modified()?;
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if loaded.modified != Some(modified) {
            loaded.keys = Arc::new(keys_of(&fs::read(&self.path)?)?);
            loaded.modified = Some(modified);
        }
        Ok(Arc::clone(&loaded.keys))
    }
}

impl Key {
    /// Whether this key signed the text in that way.
    fn signed(&self, algorithm: &str, text: &[u8], signature: &[u8]) -> bool {
        let verified = match (&self.material, algorithm) {
            (Material::Rsa { n, e }, _) => {
                let scheme = match algorithm {
                    "RS256" => &signature::RSA_PKCS1_2048_8192_SHA256,
                    "RS384" => &signature::RSA_PKCS1_2048_8192_SHA384,
                    "RS512" => &signature::RSA_PKCS1_2048_8192_SHA512,
                    "PS256" => &signature::RSA_PSS_2048_8192_SHA256,
                    "PS384" => &signature::RSA_PSS_2048_8192_SHA384,
                    "PS512" => &signature::RSA_PSS_2048_8192_SHA512,
                    _ => return false,
                };
                RsaPublicKeyComponents { n, e }.verify(scheme, text, signature)
            }
            (Material::P256(point), "ES256") => {
                UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point)
                    .verify(text, signature)
            }
            (Material::P384(point), "ES384") => {
                UnparsedPublicKey::new(&signature::ECDSA_P384_SHA384_FIXED, point)
                    .verify(text, signature)
            }
            (Material::Ed25519(point), "EdDSA") => {
                UnparsedPublicKey::new(&signature::ED25519, point).verify(text, signature)
            }
            _ => return false,
        };
        verified.is_ok()
    }
}

/// The keys of a file; those of a kind that is not known are passed over, but some must be there.
fn keys_of(bytes: &[u8]) -> io::Result<Vec<Key>> {
    let wrong = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
    let keys: Vec<Key> = if bytes.trim_ascii_start().starts_with(b"{") {
        let set: KeySet = serde_json::from_slice(bytes)?;
        set.keys.iter().filter_map(key_of_web_key).collect()
    } else {
        pem_keys(bytes)
    };
    match keys.len() {
        0 => Err(wrong(
            "it holds no key that is known: RSA, P-256, P-384 or Ed25519, as a JSON Web Key Set or in PEM",
        )),
        1..=KEYS_MAX => Ok(keys),
        _ => Err(wrong("it holds too many keys")),
    }
}

fn pem_keys(bytes: &[u8]) -> Vec<Key> {
    let key = |info: &[u8]| key_of_info(info).map(|material| Key { id: None, material });
    let bare = SubjectPublicKeyInfoDer::pem_slice_iter(bytes).flatten();
    let mut keys: Vec<Key> = bare.filter_map(|info| key(&info)).collect();
    for certificate in CertificateDer::pem_slice_iter(bytes).flatten() {
        if let Ok(parsed) = rustls::server::ParsedCertificate::try_from(&certificate) {
            keys.extend(key(&parsed.subject_public_key_info()));
        }
    }
    keys
}

fn key_of_web_key(key: &WebKey) -> Option<Key> {
    let material = match (key.kty.as_str(), key.crv.as_str()) {
        ("RSA", _) => Material::Rsa {
            n: decode(&key.n)?,
            e: decode(&key.e)?,
        },
        ("EC", "P-256") => Material::P256(point(key, 32)?),
        ("EC", "P-384") => Material::P384(point(key, 48)?),
        ("OKP", "Ed25519") => Material::Ed25519(decode(&key.x)?),
        _ => return None,
    };
    Some(Key {
        id: key.kid.clone(),
        material,
    })
}

/// An uncompressed point.
fn point(key: &WebKey, size: usize) -> Option<Vec<u8>> {
    let (x, y) = (decode(&key.x)?, decode(&key.y)?);
    (x.len() == size && y.len() == size).then(|| [&[4][..], &x, &y].concat())
}

fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()
}

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;
    use ring::signature::{EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
    use serde_json::json;

    use super::*;
    use crate::server::name::RepositoryName;
    use crate::server::route::Action;

    const NOW: i64 = 1_800_000_000;

    fn token(
        header: &serde_json::Value,
        claims: &serde_json::Value,
        sign: impl Fn(&[u8]) -> Vec<u8>,
    ) -> String {
        let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = URL_SAFE_NO_PAD.encode(sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    fn claims() -> serde_json::Value {
        json!({
            "iss": "them", "aud": ["other", "here"], "exp": NOW + 300, "nbf": NOW,
            "access": [{"type": "repository", "name": "a/b", "actions": ["pull"]}],
        })
    }

    fn elliptic() -> EcdsaKeyPair {
        let scheme = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::generate_pkcs8(scheme, &random).unwrap();
        EcdsaKeyPair::from_pkcs8(scheme, pair.as_ref(), &random).unwrap()
    }

    fn issuer(keys: &str) -> (tempfile::TempDir, Issuer) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys");
        fs::write(&path, keys).unwrap();
        let issuer = Issuer::open("them", "here", "https://them.example/token", &path).unwrap();
        (directory, issuer)
    }

    #[test]
    fn a_token_of_theirs_is_believed_and_no_other_is() {
        let (pair, other, random) = (elliptic(), elliptic(), SystemRandom::new());
        let point = pair.public_key().as_ref();
        let keys = json!({"keys": [
            {"kty": "oct", "k": "c2VjcmV0"},
            {"kty": "EC", "crv": "P-256", "kid": "1",
             "x": URL_SAFE_NO_PAD.encode(&point[1..33]), "y": URL_SAFE_NO_PAD.encode(&point[33..])},
        ]});
        let (_directory, issuer) = issuer(&keys.to_string());
        let keys = issuer.reload().unwrap();
        let sign =
            |pair: &EcdsaKeyPair, text: &[u8]| pair.sign(&random, text).unwrap().as_ref().to_vec();
        let header = json!({"alg": "ES256", "kid": "1", "typ": "JWT"});
        let good = token(&header, &claims(), |text| sign(&pair, text));
        let read = |token: &str| issuer.read(token, &keys, NOW);
        let need =
            |name: &str, action| Need::Repository(RepositoryName::parse(name).unwrap(), action);
        let access = read(&good).unwrap().access;
        assert!(covers(&access, &need("a/b", Action::Pull)));
        assert!(!covers(&access, &need("a/b", Action::Push)));
        assert!(!covers(&access, &need("a", Action::Pull)));

        assert!(read(&token(&header, &claims(), |text| sign(&other, text))).is_none());
        for (key, value) in [
            ("iss", json!("somebody")),
            ("aud", json!("elsewhere")),
            ("exp", json!(NOW - 100)),
            ("nbf", json!(NOW + 100)),
        ] {
            let mut changed = claims();
            changed[key] = value;
            assert!(
                read(&token(&header, &changed, |text| sign(&pair, text))).is_none(),
                "{key}"
            );
        }
        for alg in ["none", "HS256", "RS256", "ES384", "EdDSA"] {
            let header = json!({"alg": alg});
            assert!(
                read(&token(&header, &claims(), |text| sign(&pair, text))).is_none(),
                "{alg}"
            );
        }
        let unknown = json!({"alg": "ES256", "kid": "2"});
        assert!(read(&token(&unknown, &claims(), |text| sign(&pair, text))).is_none());
        assert!(read("").is_none() && read("a.b.c").is_none() && read(&good[1..]).is_none());
    }

    #[test]
    fn keys_are_read_again_when_they_change() {
        let pairs = [(); 2].map(|()| {
            let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
            Ed25519KeyPair::from_pkcs8(made.as_ref()).unwrap()
        });
        let set = |pair: &Ed25519KeyPair| {
            let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
            json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": x}]}).to_string()
        };
        let (directory, issuer) = issuer(&set(&pairs[0]));
        let header = json!({"alg": "EdDSA"});
        let tokens = [0, 1].map(|at: usize| {
            token(&header, &claims(), |text| {
                pairs[at].sign(text).as_ref().to_vec()
            })
        });
        let believed = |token: &str| issuer.read(token, &issuer.reload().unwrap(), NOW).is_some();
        assert!(believed(&tokens[0]) && !believed(&tokens[1]));
        let path = directory.path().join("keys");
        fs::write(&path, set(&pairs[1])).unwrap();
        let later = SystemTime::now() + std::time::Duration::from_secs(5);
        fs::File::open(&path).unwrap().set_modified(later).unwrap();
        assert!(!believed(&tokens[0]) && believed(&tokens[1]));
    }

    #[test]
    fn a_file_without_keys_is_refused() {
        for text in [
            "",
            "{}",
            r#"{"keys":[]}"#,
            r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#,
            "-----BEGIN X-----",
        ] {
            assert!(keys_of(text.as_bytes()).is_err(), "{text}");
        }
    }
}
