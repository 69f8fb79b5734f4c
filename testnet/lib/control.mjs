// The control server: what a test asks of the network while it runs. testnet/README.md lists the calls.
import http from 'node:http'
import { forgetClient, grants, revokeAll } from './provider.mjs'

/** Starts it and returns its base URL. */
export async function startControl(port, parts) {
  const calls = controlCalls(parts)
  const server = http.createServer(async (request, response) => {
    const url = new URL(request.url, 'http://control')
    const call = calls[`${request.method} ${url.pathname}`]
    let answer
    try {
      response.statusCode = call ? 200 : 404
      answer = call ? ((await call(asNumbers(url.searchParams))) ?? { ok: true }) : { error: 'unknown call', calls: Object.keys(calls) }
    } catch (error) {
      response.statusCode = 500
      answer = { error: String(error) }
    }
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify(answer))
  })
  await new Promise((resolve, reject) => server.once('error', reject).listen(Number(port), '127.0.0.1', resolve))
  return `http://127.0.0.1:${server.address().port}`
}

const controlCalls = ({ facts, provider, network, knobs, traffic, hosts, domains, stop }) => ({
  'GET /info': () => ({ ...facts, config: knobs.current, rssMb: Math.round(process.memoryUsage().rss / 1e6) }),
  'GET /log': ({ path }) => traffic.log.filter((entry) => !path || entry.url.startsWith(path)),
  'DELETE /log': () => { traffic.log.length = 0 },
  'POST /config': (wanted) => knobs.set(wanted),
  'POST /new-nonce-secret': () => knobs.newNonceSecret(),
  'POST /fault': (fault) => { traffic.faults.push({ times: 1, mode: 'status', ...fault }); return traffic.faults },
  'GET /fault': () => traffic.faults,
  'DELETE /fault': () => { traffic.faults.length = 0 },
  'POST /hostmap': ({ host, to }) => { hosts.set(host, to) },
  'POST /domain': ({ handle, did }) => { domains.set(handle, did) },
  'POST /forget-client': ({ id, jwks }) => forgetClient(provider, id, jwks),
  'GET /tokens': ({ did }) => grants(provider, did),
  'POST /revoke-all': ({ did }) => revokeAll(provider, did),
  'POST /process-all': () => network.processAll(30_000),
  'POST /stop': () => { setTimeout(stop, 20) },
})

const asNumbers = (query) => Object.fromEntries([...query].map(([name, value]) => [name, /^\d+$/.test(value) ? Number(value) : value]))
