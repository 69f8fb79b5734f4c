import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { base64url } from '../dist/base64url.js'
import { challengeOf, makePkce } from '../dist/pkce.js'
import { systemRandom } from '../dist/random.js'
import { sha256 } from '../dist/sha256.js'

test('SHA-256 is that of Node, for every length around a block', () => {
  for (let length = 0; length <= 200; length++) {
    const text = randomBytes(length).toString('hex').slice(0, length)
    assert.deepEqual(Buffer.from(sha256(text)), createHash('sha256').update(text).digest(), `${length}`)
  }
  assert.throws(() => sha256('ä'), RangeError)
})

test('base64url is that of Node', () => {
  for (let length = 0; length <= 100; length++) {
    const bytes = randomBytes(length)
    assert.equal(base64url(bytes), bytes.toString('base64url'))
  }
})

test('the challenge of RFC 7636, appendix B', () => {
  assert.equal(challengeOf('dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk'), 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM')
})

test('a verifier is as long as the standard allows, and another one each time', () => {
  const [one, two] = [makePkce(systemRandom), makePkce(systemRandom)]
  assert.match(one.verifier, /^[A-Za-z0-9_-]{128}$/)
  assert.match(one.challenge, /^[A-Za-z0-9_-]{43}$/)
  assert.notEqual(one.verifier, two.verifier)
})
