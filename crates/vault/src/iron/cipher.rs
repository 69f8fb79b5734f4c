//! The primitives of a seal, on fixed buffers.

use aes::Aes256;
use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockModeDecrypt as _, BlockModeEncrypt as _, KeyIvInit as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::IronError;

/// 32 random bytes as 64 hexadecimal digits: the salt is this text, not the bytes.
pub(super) type SaltText = [u8; 64];
/// 32 bytes as unpadded base64url.
pub(super) type MacText = [u8; 43];

pub(super) fn salt_text(random: &[u8]) -> SaltText {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [b'0'; 64];
    for (pair, byte) in text.chunks_exact_mut(2).zip(random) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    text
}

pub(super) fn salt_str(salt: &SaltText) -> &str {
    std::str::from_utf8(salt).unwrap_or_default()
}

pub(super) fn mac_str(mac: &MacText) -> &str {
    std::str::from_utf8(mac).unwrap_or_default()
}

/// HMAC-SHA-256 as text. Texts are what is compared: two spellings of one value would else both be accepted.
pub(super) fn mac_text(key: &[u8; 32], message: &[u8]) -> MacText {
    let mut text = [0; 43];
    // HMAC takes keys of any length and 32 bytes fill 43 characters, so that neither can fail; if one did, the
    // text would be zeros, which no seal can carry.
    if let Ok(mut mac) = <Hmac<Sha256>>::new_from_slice(key) {
        mac.update(message);
        let _ = URL_SAFE_NO_PAD.encode_slice(mac.finalize().into_bytes(), &mut text);
    }
    text
}

/// Encrypts; `iv` is 16 bytes.
pub(super) fn encrypt(key: &[u8; 32], iv: &[u8], content: &[u8]) -> Vec<u8> {
    let mut block = [0; 16];
    block.copy_from_slice(iv);
    cbc::Encryptor::<Aes256>::new(key.into(), &block.into()).encrypt_padded_vec::<Pkcs7>(content)
}

/// Decrypts in place; only ever called on a ciphertext whose MAC was right.
pub(super) fn decrypt(
    key: &[u8; 32],
    iv: &[u8; 16],
    mut buffer: Zeroizing<Vec<u8>>,
) -> Result<Zeroizing<Vec<u8>>, IronError> {
    let length = cbc::Decryptor::<Aes256>::new(key.into(), iv.into())
        .decrypt_padded::<Pkcs7>(&mut buffer)
        .map_err(|_| IronError::Undecodable)?
        .len();
    buffer.truncate(length);
    Ok(buffer)
}
