/** The first 32 bits of the fractional parts of the cube roots of the first 64 primes (FIPS 180-4, 4.2.2). */
const ROUND = roots(64, 1 / 3)
/** The same of the square roots of the first eight (5.3.3). */
const START = roots(8, 1 / 2)

function roots(count: number, power: number): Uint32Array {
  const words = new Uint32Array(count)
  const primes: number[] = []
  for (let candidate = 2; primes.length < count; candidate++) {
    if (primes.every((prime) => candidate % prime !== 0)) {
      const root = candidate ** power
      words[primes.length] = (root - Math.floor(root)) * 2 ** 32
      primes.push(candidate)
    }
  }
  return words
}

/**
 * SHA-256 of an ASCII text. For the challenge of PKCE alone: React Native has no `crypto.subtle`, and one short text
 * at each sign-in needs no speed.
 */
export function sha256(ascii: string): Uint8Array {
  const state = Uint32Array.from(START)
  const padded = pad(ascii)
  const words = new Uint32Array(64)
  for (let block = 0; block < padded.length; block += 64) {
    compress(state, padded.subarray(block, block + 64), words)
  }
  const digest = new Uint8Array(32)
  const view = new DataView(digest.buffer)
  state.forEach((word, at) => view.setUint32(at * 4, word))
  return digest
}

function pad(ascii: string): Uint8Array {
  const length = Math.ceil((ascii.length + 9) / 64) * 64
  const padded = new Uint8Array(length)
  for (let at = 0; at < ascii.length; at++) {
    const code = ascii.charCodeAt(at)
    if (code > 127) throw new RangeError('only ASCII can be digested here')
    padded[at] = code
  }
  padded[ascii.length] = 0x80
  new DataView(padded.buffer).setUint32(length - 4, ascii.length * 8)
  return padded
}

function compress(state: Uint32Array, block: Uint8Array, w: Uint32Array): void {
  const view = new DataView(block.buffer, block.byteOffset, 64)
  for (let t = 0; t < 16; t++) w[t] = view.getUint32(t * 4)
  for (let t = 16; t < 64; t++) {
    const [x, y] = [at(w, t - 15), at(w, t - 2)]
    const s0 = turn(x, 7) ^ turn(x, 18) ^ (x >>> 3)
    const s1 = turn(y, 17) ^ turn(y, 19) ^ (y >>> 10)
    w[t] = at(w, t - 16) + s0 + at(w, t - 7) + s1
  }
  let [a, b, c, d, e, f, g, h] = state as unknown as [number, number, number, number, number, number, number, number]
  for (let t = 0; t < 64; t++) {
    const s1 = turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)
    const one = (h + s1 + ((e & f) ^ (~e & g)) + at(ROUND, t) + at(w, t)) | 0
    const s0 = turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)
    const two = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0
    h = g
    g = f
    f = e
    e = (d + one) >>> 0
    d = c
    c = b
    b = a
    a = (one + two) >>> 0
  }
  ;[a, b, c, d, e, f, g, h].forEach((word, t) => (state[t] = at(state, t) + word))
}

function turn(word: number, by: number): number {
  return (word >>> by) | (word << (32 - by))
}

function at(words: Uint32Array, index: number): number {
  return words[index] ?? 0
}
