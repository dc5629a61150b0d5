// A player in headless Chromium: plays an address and prints one JSON document about it.
import { createHash } from 'node:crypto'
import { createServer } from 'node:http'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'

import { flags } from './flags.mjs'

const HELP = `node play.mjs --player hls.js|dash.js --url URL [--seconds S] [--to-end]
  --seconds S     play so much of the media (10)
  --to-end        play until the media ends instead
  --rate R        play R times as fast (1)
  --min-buffer S  seconds of media that the player keeps loaded ahead (the player's own default)
  --page-port N   serve the page on this port, so that its web origin is http://127.0.0.1:N (a free one)
  --limit S       give up after so many seconds (what is to be played and 60 more; 180 with --to-end)
  --proxy URL     ask this forward proxy for everything, what is on this machine included
  --digests       report the SHA-256 of each answer that came whole, as [address, digest]
  --chromium FILE the browser (/usr/bin/chromium)
Exit status: 0 played as asked, 1 not, 2 bad arguments. Dry stalls are those of 100 ms and more with nothing more loaded;
stalls_at are [seconds since the start, place in seconds, seconds that were loaded from there on, ms that it lasted].
Levels are [seconds since the start, height, bits per second, the player's estimate of its bandwidth
at that time]; hosts are who was asked how often, sources what X-Paceline-Source says of the answers; the rest has its
unit in its name.`

const FILES = {
  'hls.js': 'hls.js/dist/hls.min.js',
  'dash.js': 'dashjs/dist/modern/umd/dash.all.min.js'
}
// How long Chromium may take to end before it is killed.
const FAREWELL_MS = 10_000
const POLL_MS = 100
// How long answers under way at the end are waited for, to take their digest.
const DIGEST_MS = 2_000

function refuse (why) {
  console.error(`${why}\n\n${HELP}`)
  process.exit(2)
}

function options () {
  const text = { type: 'string' }
  let values
  try {
    ({ values } = parseArgs({
      options: {
        player: text, url: text, seconds: text, rate: text, 'min-buffer': text, 'page-port': text, limit: text,
        'to-end': { type: 'boolean', default: false }, digests: { type: 'boolean', default: false }, proxy: text, chromium: { ...text, default: '/usr/bin/chromium' },
        help: { type: 'boolean' }
      }
    }))
  } catch (error) { refuse(error.message) }
  if (values.help) { console.log(HELP); process.exit(0) }
  const number = (name, otherwise) => {
    if (values[name] === undefined) return otherwise
    const value = Number(values[name])
    return value > 0 ? value : refuse(`--${name} wants a number above 0, not "${values[name]}"`)
  }
  if (!FILES[values.player]) refuse(`--player is one of ${Object.keys(FILES).join(', ')}`)
  if (!values.url) refuse('--url is missing')
  const toEnd = values['to-end']
  const [seconds, rate] = [number('seconds', 10), number('rate', 1)]
  return {
    player: values.player, url: values.url, toEnd, seconds, rate, chromium: values.chromium, proxy: values.proxy,
    digests: values.digests,
    buffer: number('min-buffer', null), port: number('page-port', 0),
    limit: number('limit', toEnd ? 180 : seconds / rate + 60)
  }
}

/** Serves the page and the player. */
async function serve ({ player, port }) {
  const near = file => readFile(new URL(file, import.meta.url))
  const files = {
    '/': ['text/html', await near('page.html')],
    '/player.js': ['text/javascript', await near(`node_modules/${FILES[player]}`)]
  }
  const server = createServer(({ url }, response) => {
    const [type, body] = files[url] ?? ['text/plain', '']
    response.writeHead(files[url] ? 200 : 204, { 'content-type': type }).end(body)
  })
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  return { server, origin: `http://127.0.0.1:${server.address().port}` }
}

const wanted = options()
const report = {
  player: wanted.player, url: wanted.url, played_s: 0, ended: false, duration_s: null, startup_ms: null, stalls: 0,
  dry_stalls: 0, stalls_at: [], stall_ms: 0, errors: [], decoded_frames: 0, dropped_frames: 0, levels: [], final_level: null, bandwidth_bps: null,
  requests: 0, hosts: {}, sources: {}, digests: []
}
// What the page can't know of; its own errors come with each of its reports.
const outside = []
function failed (from, fatal, details) {
  if (outside.some(error => error.details === details)) return
  outside.push({ t_s: null, from, fatal, details, reason: null })
}

const enough = () => wanted.toEnd ? report.ended : report.played_s >= wanted.seconds
const fatal = () => [...outside, ...report.errors].some(error => error.fatal)

let stopped
const stop = new Promise(resolve => { stopped = resolve })
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.once(signal, () => stopped(`ended by ${signal}`))
setTimeout(() => stopped(`not played as asked within ${wanted.limit} s`), wanted.limit * 1000).unref()

async function play (browser, origin) {
  const page = await browser.newPage()
  page.on('request', request => {
    const { protocol, host, origin: asked } = new URL(request.url())
    if (!protocol.startsWith('http') || asked === origin) return
    report.requests++
    report.hosts[host] = (report.hosts[host] ?? 0) + 1
  })
  const coming = []
  page.on('response', response => {
    if (!response.url().startsWith('http') || response.url().startsWith(`${origin}/`)) return
    const source = response.headers()['x-paceline-source'] ?? 'none'
    report.sources[source] = (report.sources[source] ?? 0) + 1
    if (!wanted.digests || response.status() !== 200) return
    const digest = body => report.digests.push([response.url(), createHash('sha256').update(body).digest('hex')])
    // What the player breaks off has no body.
    coming.push(response.body().then(digest, () => {}))
  })
  page.on('console', message => { if (message.type() === 'error') failed('console', false, message.text()) })
  page.on('crash', () => failed('browser', true, 'the page crashed'))
  await page.goto(origin)
  await page.evaluate(wanted => window.start(wanted), wanted)
  while (!enough() && !fatal()) {
    await new Promise(resolve => setTimeout(resolve, POLL_MS))
    Object.assign(report, await page.evaluate(() => window.report()))
  }
  // One that has no end must not keep us.
  await Promise.race([Promise.all(coming), new Promise(resolve => setTimeout(resolve, DIGEST_MS))])
}

// Profile and all else that is written, gone in every case but a SIGKILL.
const folder = mkdtempSync(join(tmpdir(), 'paceline-browser-'))
process.env.TMPDIR = folder
process.on('exit', () => rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 }))

let server, launched
try {
  const { chromium } = await import('playwright-core')
  const served = await serve(wanted)
  server = served.server
  launched = chromium.launch({
    executablePath: wanted.chromium, args: flags(wanted.proxy), headless: true, handleSIGINT: false, handleSIGTERM: false,
    handleSIGHUP: false
  })
  const played = launched.then(started => play(started, served.origin))
  played.catch(() => {})
  const why = await Promise.race([played, stop])
  if (why) failed('play', true, why)
} catch (error) {
  failed('play', true, error.code === 'ERR_MODULE_NOT_FOUND' ? `${error.message}: npm ci in tests/browser` : error.message)
}
const good = enough() && !fatal()
report.errors = [...report.errors, ...outside]
console.log(JSON.stringify(report))
// What still runs at the exit is killed by playwright.
setTimeout(() => process.exit(good ? 0 : 1), FAREWELL_MS).unref()
server?.close()
server?.closeAllConnections()
await launched?.then(browser => browser.close()).catch(() => {})
process.exit(good ? 0 : 1)
