import { MistakeError } from './errors.js'

/** Gives that many unpredictable bytes. */
export type RandomBytes = (length: number) => Uint8Array

/** The platform's own randomness. */
export const systemRandom: RandomBytes = (length) => {
  const source = (globalThis as { crypto?: Pick<Crypto, 'getRandomValues'> }).crypto
  if (typeof source?.getRandomValues !== 'function') {
    throw new MistakeError(
      'no_randomness',
      'This platform has no crypto.getRandomValues',
      "Give the client `random`, in Expo `getRandomBytes` of expo-crypto, or import 'react-native-get-random-values' first",
    )
  }
  return source.getRandomValues(new Uint8Array(length))
}
