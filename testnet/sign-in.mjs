#!/usr/bin/env node
// Signs many people in at a Bowerbird, each in a browser of its own, some of them side by side.
//   sign-in.mjs FILE    FILE: [{"login": "http://127.0.0.1:8080/login?handle=…", "handle": "…", "password": "…"}, …]
// Prints a JSON line for each: {handle, cookie}, or {handle, error}. Exit 1 when anybody could not be signed in.
import fs from 'node:fs'
import { Jar, approve, raw } from './approve.mjs'

const SIDE_BY_SIDE = 4

async function signIn({ login, handle, password }, number) {
  const jar = new Jar()
  // Logins are counted by address; these are many people, and not one in a hurry.
  const from = { 'x-forwarded-for': `10.${(number >> 16) & 255}.${(number >> 8) & 255}.${number & 255}` }
  const navigation = { accept: 'text/html', 'sec-fetch-site': 'none', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document', ...from }
  const begun = await raw(login, { jar, headers: navigation })
  if (begun.status < 300 || begun.status > 399) throw new Error(`/login: ${begun.status} ${begun.body.slice(0, 300)}`)
  const { redirect } = await approve(begun.headers.location, handle, password)
  const ended = await raw(redirect, { jar, headers: { ...navigation, 'sec-fetch-site': 'cross-site' } })
  if (!jar.c.sid) throw new Error(`callback: ${ended.status} ${ended.body.slice(0, 300)}`)
  return `sid=${jar.c.sid}`
}

const people = JSON.parse(fs.readFileSync(process.argv[2], 'utf8')).entries()
async function work() {
  for (const [number, person] of people) {
    const { handle } = person
    try {
      console.log(JSON.stringify({ handle, cookie: await signIn(person, number) }))
    } catch (error) {
      process.exitCode = 1
      console.log(JSON.stringify({ handle, error: String(error.message ?? error) }))
    }
  }
}
await Promise.all(Array.from({ length: SIDE_BY_SIDE }, work))
