/**
 * A store of small secrets by name: the keychain of the device. What `save` has resolved from must be there after the
 * app, or the device, was stopped: a renewed session is used only once it is saved.
 */
export interface SecureStore {
  /** The secret under this name, or null. */
  load(name: string): Promise<string | null>
  /** Keeps a secret under this name, in place of what was there. */
  save(name: string, secret: string): Promise<void>
  /** Forgets what is under this name; nothing there is no fault. */
  delete(name: string): Promise<void>
}

/** Keeps secrets for as long as the program runs: for tests, and for programs that sign in each time. */
export class MemoryStore implements SecureStore {
  readonly #secrets = new Map<string, string>()

  /** {@inheritDoc SecureStore.load} */
  async load(name: string): Promise<string | null> {
    return this.#secrets.get(name) ?? null
  }

  /** {@inheritDoc SecureStore.save} */
  async save(name: string, secret: string): Promise<void> {
    this.#secrets.set(name, secret)
  }

  /** {@inheritDoc SecureStore.delete} */
  async delete(name: string): Promise<void> {
    this.#secrets.delete(name)
  }
}

/** What is used of the module `expo-secure-store`. */
export interface ExpoSecureStore<Options> {
  /** Reads. */
  getItemAsync(key: string, options?: Options): Promise<string | null>
  /** Writes. */
  setItemAsync(key: string, value: string, options?: Options): Promise<void>
  /** Deletes. */
  deleteItemAsync(key: string, options?: Options): Promise<void>
}

/**
 * Keeps secrets with `expo-secure-store`.
 *
 * ```ts
 * import * as SecureStore from 'expo-secure-store'
 * const store = expoSecureStore(SecureStore, { keychainAccessible: SecureStore.AFTER_FIRST_UNLOCK_THIS_DEVICE_ONLY })
 * ```
 */
export function expoSecureStore<Options>(module: ExpoSecureStore<Options>, options?: Options): SecureStore {
  return {
    load: (name) => module.getItemAsync(name, options),
    save: (name, secret) => module.setItemAsync(name, secret, options),
    delete: (name) => module.deleteItemAsync(name, options),
  }
}

/** What is used of the module `react-native-keychain`. */
export interface ReactNativeKeychain<Options> {
  /** Reads; false when there is nothing. */
  getGenericPassword(options: Options & { service: string }): Promise<false | { password: string }>
  /** Writes. */
  setGenericPassword(username: string, password: string, options: Options & { service: string }): Promise<unknown>
  /** Deletes. */
  resetGenericPassword(options: Options & { service: string }): Promise<unknown>
}

/**
 * Keeps secrets with `react-native-keychain`: one service for each name.
 *
 * ```ts
 * import * as Keychain from 'react-native-keychain'
 * const store = reactNativeKeychain(Keychain, { accessible: Keychain.ACCESSIBLE.AFTER_FIRST_UNLOCK_THIS_DEVICE_ONLY })
 * ```
 */
export function reactNativeKeychain<Options extends object>(
  module: ReactNativeKeychain<Options>,
  options: Options = {} as Options,
): SecureStore {
  const service = (name: string) => ({ ...options, service: name })
  return {
    async load(name) {
      const found = await module.getGenericPassword(service(name))
      return found === false ? null : found.password
    },
    async save(name, secret) {
      const kept = await module.setGenericPassword('bowerbird', secret, service(name))
      if (kept === false) throw new Error('react-native-keychain did not keep it')
    },
    async delete(name) {
      await module.resetGenericPassword(service(name))
    },
  }
}
