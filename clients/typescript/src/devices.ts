import type { Caller } from './caller.js'
import type { DevicesBody } from './schema.js'

/** Whose devices. */
export interface DeviceOptions {
  /** One account of this device, by its id or DID; all of them unless given. */
  readonly account?: string | undefined
  /** Ends the call. */
  readonly signal?: AbortSignal | undefined
}

/** Where the accounts of this device are signed in, and how to end that. Of other accounts nothing is told. */
export class Devices {
  readonly #caller: Caller

  /** For the client; apps have it as `client.devices`. */
  constructor(caller: Caller) {
    this.#caller = caller
  }

  /** Every device, this one first, then the one that was used last. */
  list(options: DeviceOptions = {}): Promise<DevicesBody> {
    return this.#caller.ask('listDevices', question(options))
  }

  /** Signs out of one device, by its `id` in the list. */
  async signOut(device: string, options: DeviceOptions = {}): Promise<void> {
    await this.#caller.ask('signOutDevice', { ...question(options), names: { device } })
  }

  /** Signs out of all devices but this one; gives how many they were. */
  async signOutOthers(options: DeviceOptions = {}): Promise<number> {
    const { ended } = await this.#caller.ask('signOutDevices', { ...question(options), body: { which: 'others' }, retry: true })
    return ended
  }

  /** Signs out of all devices, this one too; gives how many they were. */
  async signOutAll(options: Omit<DeviceOptions, 'account'> = {}): Promise<number> {
    const { ended } = await this.#caller.ask('signOutDevices', { ...question(options), body: { which: 'all' } })
    await this.#caller.device?.forget()
    return ended
  }
}

function question({ account, signal }: DeviceOptions) {
  return { headers: account ? { 'bowerbird-account': account } : {}, signal }
}
