import type { Caller } from './caller.js'
import { MistakeError } from './errors.js'
import type { AppPasswordBody, ListedAccount } from './schema.js'
import type { HandOff, StartedSignIn } from './sign-in.js'

/** Which account to add, and where to return to. */
export interface AddAccountOptions {
  /** A handle, a DID, or the address of a server. */
  readonly handle: string
  /** The path of the server to return to, in a browser. */
  readonly redirect?: string | undefined
  /** What the authorization server shows: `login`, `consent`, `select_account`, `create` or `none`. */
  readonly prompt?: string | undefined
  /** Ends the call. */
  readonly signal?: AbortSignal | undefined
}

/** A sign-in with an app password. */
export interface AppPasswordOptions extends AppPasswordBody {
  /** Ends the call. */
  readonly signal?: AbortSignal | undefined
}

/** The account that calls use from now on. */
export interface ActivatedAccount {
  /** Its id on the server, which stays the same over sign-ins. */
  readonly id: string
  /** Its DID. */
  readonly did: string
  /** Its handle. */
  readonly handle: string
}

/** The accounts of this device. An account is named by its id or its DID. */
export class Accounts {
  readonly #caller: Caller
  readonly #handOff: HandOff | undefined

  /** For the client; apps have it as `client.accounts`. */
  constructor(caller: Caller, handOff: HandOff | undefined) {
    this.#caller = caller
    this.#handOff = handOff
  }

  /** Every account of the device, oldest first. */
  async list(signal?: AbortSignal): Promise<ListedAccount[]> {
    return (await this.#caller.ask('listAccounts', { signal })).accounts
  }

  /** One account of the device, also by the handle that it had when it signed in last. */
  find(account: string, signal?: AbortSignal): Promise<ListedAccount> {
    return this.#caller.ask('findAccount', { names: { id: account }, signal })
  }

  /**
   * Begins to add an account: open the `authUrl`. In a browser the person comes back to the path `redirect` with the
   * account added. An app that keeps its session goes on with `client.finishSignIn`.
   */
  async add(options: AddAccountOptions): Promise<StartedSignIn> {
    if (this.#handOff) return this.#handOff.start(options)
    const { handle, redirect = null, prompt = null, signal } = options
    const added = await this.#caller.ask('addAccount', { body: { handle, redirect, prompt }, signal })
    return { authUrl: added.authUrl, handle: added.handle ?? null }
  }

  /** Makes an account the one that calls use unless they name another. */
  async activate(account: string, signal?: AbortSignal): Promise<ActivatedAccount> {
    const question = { names: { id: account }, signal, retry: true }
    const { id, did, handle } = (await this.#caller.ask('activateAccount', question)) as ActivatedAccount
    return { id, did, handle }
  }

  /** Takes an account off this device. The last one takes the session with it. */
  async remove(account: string, signal?: AbortSignal): Promise<void> {
    await this.#caller.ask('removeAccount', { names: { id: account }, signal })
  }

  /**
   * Signs an account in with an app password, where the server allows it. Sign-in by OAuth is better: it needs no
   * password in the app. An app that keeps its session adds one to those that are there.
   */
  async signInWithAppPassword({ signal, ...body }: AppPasswordOptions): Promise<ListedAccount> {
    const { device } = this.#caller
    if (device && (await device.seal(signal)) === null) {
      throw new MistakeError(
        'app_password_first',
        'The first account of an app cannot sign in with an app password',
        'Begin with startSignIn, and add this one afterwards',
      )
    }
    const { seal, ...account } = await this.#caller.ask('signInWithAppPassword', { body, signal })
    if (device && seal) await device.replaceSeal(seal)
    return account
  }
}
