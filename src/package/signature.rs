//! Detached signatures of packages, in minisign's format (Ed25519 over BLAKE2b-512 of the archive): who packed a model,
//! whatever bucket it came from. `PACKAGE.minisig` lies beside the package.

use std::fmt;
use std::io::{Read, Seek};
use std::str::FromStr;

use minisign::{KeyPair, PublicKey, SecretKeyBox, SignatureBox};

use crate::secret::Secret;

/// What is put behind a package's name to find its signature.
pub const SIGNATURE_SUFFIX: &str = ".minisig";

/// Largest signature file, in bytes; minisign's have about 300.
pub const MAX_SIGNATURE_BYTES: u64 = 4096;

/// Most keys that a core trusts.
pub const MAX_TRUSTED_KEYS: usize = 16;

/// Whether packages must be signed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SignaturePolicy {
    /// Signatures are not looked for.
    #[default]
    Off,
    /// A signature that is there must be good; a package without one is taken, and the log says so.
    Preferred,
    /// A package without a good signature of a trusted key is refused.
    Required,
}

/// A public key whose packages are trusted: the second line of a minisign `.pub` file.
#[derive(Clone, PartialEq, Eq)]
pub struct TrustedKey(PublicKey);

/// The text is no public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is a minisign public key: the line that begins with RW in the .pub file")]
pub struct KeyError;

impl TrustedKey {
    /// Its number, by which signatures name it.
    #[must_use]
    pub fn number(&self) -> String {
        key_number(self.0.keynum())
    }
}

impl FromStr for TrustedKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        // Base64 of the algorithm, "Ed", with which every key begins.
        if !text.starts_with("RW") {
            return Err(KeyError);
        }
        PublicKey::from_base64(text).map(Self).map_err(|_| KeyError)
    }
}

impl fmt::Display for TrustedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_base64())
    }
}

impl fmt::Debug for TrustedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrustedKey({self})")
    }
}

/// Why a package counts as unsigned, or as tampered with.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// There is no signature, and there must be one.
    #[error("there is no signature beside the package: sign it with margay model sign, and put the .minisig there too")]
    Missing,
    /// The file is no signature.
    #[error("the signature file is none of minisign's: {reason}")]
    Malformed {
        /// What the reader says.
        reason: String,
    },
    /// The signature is of a key that is not trusted.
    #[error(
        "the package is signed with the key {key}, which is none of the {trusted} in margay.packages.publicKeys: add it \
         there, or sign with a trusted key"
    )]
    Untrusted {
        /// The key's number.
        key: String,
        /// How many keys are trusted.
        trusted: usize,
    },
    /// The package is not what was signed.
    #[error(
        "the package is not what the key {key} signed: {reason}; it was changed since, or the signature is another's"
    )]
    Mismatch {
        /// The key's number.
        key: String,
        /// What the verifier says.
        reason: String,
    },
    /// No secret key could be read, or it is locked with another password.
    #[error("using the secret key: {reason}")]
    SecretKey {
        /// What the reader says.
        reason: String,
    },
    /// The package could not be signed.
    #[error("signing: {reason}")]
    Signing {
        /// What the signer says.
        reason: String,
    },
}

/// A good signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// Number of the key.
    pub key: String,
    /// What the signer wrote beside it, covered by the signature.
    pub comment: String,
}

/// Verifies `archive` against the text of its signature file. Reads the archive once, in pieces.
///
/// # Errors
/// [`SignatureError`]: no signature, not of a trusted key, or not of this archive.
pub fn verify(keys: &[TrustedKey], signature: &str, archive: impl Read + Seek) -> Result<Signed, SignatureError> {
    let malformed = |error: minisign::PError| SignatureError::Malformed { reason: error.to_string() };
    let signature = SignatureBox::from_string(signature).map_err(malformed)?;
    let key = key_number(signature.keynum());
    let Some(TrustedKey(trusted)) = keys.iter().find(|trusted| trusted.0.keynum() == signature.keynum()) else {
        return Err(SignatureError::Untrusted { key, trusted: keys.len() });
    };
    if !signature.is_prehashed() {
        let reason = "it is of minisign's old kind: sign again with minisign 0.8 or later".to_owned();
        return Err(SignatureError::Malformed { reason });
    }
    match minisign::verify(trusted, &signature, archive, true, false, false) {
        Ok(()) => Ok(Signed { key, comment: signature.trusted_comment().unwrap_or_default() }),
        Err(error) => Err(SignatureError::Mismatch { key, reason: error.to_string() }),
    }
}

/// A new pair of keys: the text of the `.pub` file and that of the secret one, locked with `password` where there is one.
///
/// # Errors
/// When the system gives no random numbers.
pub fn generate(password: Option<&Secret>) -> Result<(String, Secret), SignatureError> {
    let failed = |error: minisign::PError| SignatureError::Signing { reason: error.to_string() };
    let pair = match password {
        Some(password) => KeyPair::generate_encrypted_keypair(Some(password.expose().to_owned())),
        None => KeyPair::generate_unencrypted_keypair(),
    };
    let KeyPair { pk, sk } = pair.map_err(failed)?;
    let public = pk.to_box().map_err(failed)?.into_string();
    let secret = sk.to_box(Some("secret key that signs Margay packages")).map_err(failed)?.into_string();
    Ok((public, Secret::new(secret)))
}

/// Signs `archive` with the text of a secret key file; `comment` is covered by the signature. Returns the text of the
/// signature file.
///
/// # Errors
/// [`SignatureError::SecretKey`] where the key cannot be read or the password is another.
pub fn sign(
    secret_key: &Secret,
    password: Option<&Secret>,
    comment: &str,
    archive: impl Read,
) -> Result<String, SignatureError> {
    let unusable = |error: minisign::PError| SignatureError::SecretKey { reason: error.to_string() };
    let locked = SecretKeyBox::from_string(secret_key.expose()).map_err(unusable)?;
    let key = match password {
        Some(password) => locked.into_secret_key(Some(password.expose().to_owned())),
        None => locked.into_unencrypted_secret_key(),
    };
    let signature = minisign::sign(None, &key.map_err(unusable)?, archive, Some(comment), None);
    Ok(signature.map_err(|error| SignatureError::Signing { reason: error.to_string() })?.into_string())
}

/// A key's number as minisign prints it: eight bytes, the last first, in hexadecimal.
fn key_number(bytes: &[u8]) -> String {
    bytes.iter().rev().map(|byte| format!("{byte:02X}")).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// A new key and the text by which it is trusted.
    fn pair() -> (TrustedKey, Secret) {
        let (public, secret) = generate(None).unwrap();
        (public.lines().nth(1).unwrap().parse().unwrap(), secret)
    }

    #[test]
    fn what_was_signed_is_verified_and_nothing_else() {
        let (trusted, secret) = pair();
        let signature = sign(&secret, None, "road-signs 1.0.0", Cursor::new(b"package")).unwrap();
        let signed = verify(std::slice::from_ref(&trusted), &signature, Cursor::new(b"package")).unwrap();
        assert_eq!(signed.comment, "road-signs 1.0.0");
        let error = verify(std::slice::from_ref(&trusted), &signature, Cursor::new(b"package2")).unwrap_err();
        assert!(matches!(&error, SignatureError::Mismatch { key, .. } if *key == signed.key), "{error}");
        let forged = signature.replace("road-signs 1.0.0", "road-signs 9.9.9");
        assert!(verify(&[trusted], &forged, Cursor::new(b"package")).is_err(), "the comment is covered too");
    }

    #[test]
    fn a_stranger_s_signature_is_named_by_its_key() {
        let (trusted, _) = pair();
        let (_, stranger) = pair();
        let signature = sign(&stranger, None, "c", Cursor::new(b"package")).unwrap();
        let error = verify(&[trusted], &signature, Cursor::new(b"package")).unwrap_err();
        assert!(matches!(&error, SignatureError::Untrusted { key, trusted: 1 } if key.len() == 16), "{error}");
        for text in ["", "no signature", &signature[..signature.len() / 2]] {
            let error = verify(&[], text, Cursor::new(b"package")).unwrap_err();
            assert!(matches!(error, SignatureError::Malformed { .. }), "{error}");
        }
    }

    /// Made by minisign 0.11 of the text `package`.
    #[test]
    fn minisign_s_own_signature_is_verified() {
        let trusted: TrustedKey = "RWT72Um0X56rfbZ9c0UeG9Lqzp/03yVou2UlKN4AKEUMEYXWxE/KL8QD".parse().unwrap();
        let signature = "untrusted comment: signature from minisign secret key\n\
            RUT72Um0X56rfSDjP/pT2v8flTLftEOFuRoWluItztDEMyU2rLb8m5wYtEzubA7IxsCGKei0U5Iz7MJeIHSoX1iFeKtK6apP5Qk=\n\
            trusted comment: signed by minisign\n\
            sc5HozkpGi7l4CywvvwYpRf8cH6GGVK9fud7Djtq12QIcg77yD6EZ5uQzLkD85NIL+OCANrB3a7803dfYMv1Dg==\n";
        let signed = verify(&[trusted], signature, Cursor::new(b"package")).unwrap();
        assert_eq!((signed.key.as_str(), signed.comment.as_str()), ("7DAB9E5FB449D9FB", "signed by minisign"));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in ["", "RW", "not a key at all", &"A".repeat(56)] {
            assert_eq!(text.parse::<TrustedKey>(), Err(KeyError), "{text}");
        }
    }

    #[test]
    fn a_locked_key_opens_with_its_password_only() {
        let password = Secret::new("correct horse".to_owned());
        let (_, secret) = generate(Some(&password)).unwrap();
        sign(&secret, Some(&password), "c", Cursor::new(b"x")).unwrap();
        let other = Secret::new("wrong".to_owned());
        for wrong in [Some(&other), None] {
            let error = sign(&secret, wrong, "c", Cursor::new(b"x")).unwrap_err();
            assert!(matches!(error, SignatureError::SecretKey { .. }), "{error}");
        }
    }
}
