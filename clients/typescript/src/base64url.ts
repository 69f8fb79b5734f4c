const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'

/**
 * Writes bytes as base64url without padding (RFC 4648, section 5). By hand, since React Native has no `Buffer` and
 * not everywhere `btoa`.
 */
export function base64url(bytes: Uint8Array): string {
  let text = ''
  for (let at = 0; at < bytes.length; at += 3) {
    const left = bytes.length - at
    const group = ((bytes[at] ?? 0) << 16) | ((bytes[at + 1] ?? 0) << 8) | (bytes[at + 2] ?? 0)
    text += ALPHABET.charAt(group >> 18) + ALPHABET.charAt((group >> 12) & 63)
    if (left > 1) text += ALPHABET.charAt((group >> 6) & 63)
    if (left > 2) text += ALPHABET.charAt(group & 63)
  }
  return text
}
