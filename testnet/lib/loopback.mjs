// Nothing of the test network listens to, or asks, anything but this machine.
import net from 'node:net'

/**
 * Makes every listener that names no host bind to this one; dev-env's servers would listen on all interfaces.
 * A port in `elsewhere` is for somebody in front, who forwards to the port that is listened to in its place.
 */
export function bindToLoopback(host, elsewhere = new Map()) {
  const listen = net.Server.prototype.listen
  net.Server.prototype.listen = function (...given) {
    if (typeof given[0] === 'number') given[0] = elsewhere.get(given[0]) ?? given[0]
    if (typeof given[0] === 'number' && typeof given[1] !== 'string') given.splice(1, 0, host)
    else if (given[0] && typeof given[0] === 'object' && 'port' in given[0] && !given[0].host) given[0] = { ...given[0], host }
    return listen.apply(this, given)
  }
}

/**
 * Sends `https://HOST/…` to a loopback server for the hosts in the returned map, which may change at any time.
 * So the provider fetches a confidential client's metadata and keys from the program under test, with its own rules untouched.
 */
export function mapHosts(pairs) {
  const hosts = new Map(pairs)
  const fetchAnywhere = globalThis.fetch
  globalThis.fetch = function (input, init) {
    const request = input instanceof Request ? input : undefined
    const url = new URL(request ? request.url : String(input))
    const to = hosts.get(url.host)
    if (!to) return fetchAnywhere.call(globalThis, input, init)
    const { dispatcher: _, ...rest } = init ?? {} // a dispatcher is made for the address that is not asked
    const { method, headers, signal, redirect } = request ?? {}
    return fetchAnywhere(new URL(url.pathname + url.search, to), { method, headers, signal, redirect, ...rest })
  }
  return hosts
}
