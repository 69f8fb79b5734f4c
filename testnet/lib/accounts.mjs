// The people of the test network.

const USUAL = 'alice.test:alice-pass,bob.test:bob-pass,carla.test:carla-pass'

/** Makes an account with an app password for each `handle:password`; their DIDs are new on every start. */
export async function makeAccounts(agent, wanted = USUAL) {
  const { server } = agent.api.com.atproto
  const accounts = {}
  for (const pair of wanted.split(',').filter(Boolean)) {
    const [handle, password] = pair.split(':')
    const { data } = await server.createAccount({ handle, email: `${handle.split('.')[0]}@test.com`, password })
    const app = await server.createAppPassword({ name: 'testnet' }, as(data.accessJwt))
    accounts[handle] = { did: data.did, password, appPassword: app.data.password, jwt: data.accessJwt }
  }
  return accounts
}

/** Gives each account a profile and three posts, and lets all follow all. */
export async function seed(agent, accounts) {
  const { repo } = agent.api.com.atproto
  const everyone = Object.entries(accounts)
  let posts = 0
  for (const [handle, { did, jwt }] of everyone) {
    const options = { ...as(jwt), encoding: 'application/json' }
    const create = (collection, record) => repo.createRecord({ repo: did, collection, record: { $type: collection, ...record } }, options)
    const profile = { $type: 'app.bsky.actor.profile', displayName: handle.split('.')[0], description: 'testnet' }
    await repo.putRecord({ repo: did, collection: profile.$type, rkey: 'self', record: profile }, options)
    for (const [, other] of everyone) {
      if (other.did !== did) await create('app.bsky.graph.follow', { subject: other.did, createdAt: new Date().toISOString() })
    }
    for (let i = 0; i < 3; i++) {
      posts++
      // A millisecond apart, so that feeds have one order.
      await create('app.bsky.feed.post', { text: `post ${posts} by ${handle}`, createdAt: new Date(Date.now() + posts).toISOString() })
    }
  }
}

const as = (jwt) => ({ headers: { authorization: `Bearer ${jwt}` } })

/** Handles on domains of their owners, as the PDS finds them: what is in the returned map, before it asks its DNS. */
export function ownDomains(pds) {
  const known = new Map()
  const resolver = pds.ctx.idResolver.handle
  const resolve = resolver.resolve
  resolver.resolve = async (handle) => known.get(handle) ?? resolve.call(resolver, handle)
  return known
}
