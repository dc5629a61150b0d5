// A player in headless Chromium: plays an address and prints one JSON document about it. Several addresses are played at the
// same time by one browser, each by a profile of its own.
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
  --url URL       what is played; several may be, with a --page-port for each and a --proxy, which may be "", for each
  --seconds S     play so much of the media (10)
  --to-end        play until the media ends instead
  --rate R        play R times as fast (1)
  --min-buffer S  seconds of media that the player keeps loaded ahead (the player's own default)
  --page-port N   serve the page on this port, so that its web origin is http://127.0.0.1:N (a free one)
  --low-latency   hls.js plays at the edge of a live stream, a little faster where it has fallen behind
  --latency S     play on until the picture is no more than S seconds behind what its playlist says of the time
  --limit S       give up after so many seconds (what is to be played and 60 more; 180 with --to-end)
  --proxy URL     ask this forward proxy for everything, what is on this machine included
  --digests       report the SHA-256 of each answer that came whole, as [address, digest]
  --chromium FILE the browser (/usr/bin/chromium)
There is one document for each address, in their order.
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
  const each = { ...text, multiple: true, default: [] }
  let values
  try {
    ({ values } = parseArgs({
      options: {
        player: text, url: each, seconds: text, rate: text, 'min-buffer': text, 'page-port': each, limit: text, latency: text,
        'to-end': { type: 'boolean', default: false }, digests: { type: 'boolean', default: false }, proxy: each,
        'low-latency': { type: 'boolean', default: false }, chromium: { ...text, default: '/usr/bin/chromium' },
        help: { type: 'boolean' }
      }
    }))
  } catch (error) { refuse(error.message) }
  if (values.help) { console.log(HELP); process.exit(0) }
  const above = (name, text) => Number(text) > 0 ? Number(text) : refuse(`--${name} wants a number above 0, not "${text}"`)
  const number = (name, otherwise) => values[name] === undefined ? otherwise : above(name, values[name])
  if (!FILES[values.player]) refuse(`--player is one of ${Object.keys(FILES).join(', ')}`)
  if (!values.url.length) refuse('--url is missing')
  for (const name of ['page-port', 'proxy']) {
    const count = values[name].length
    if (count > values.url.length || (values.url.length > 1 && count && count < values.url.length)) refuse(`one --${name} for each --url`)
  }
  const toEnd = values['to-end']
  const [seconds, rate] = [number('seconds', 10), number('rate', 1)]
  return {
    player: values.player, toEnd, seconds, rate, chromium: values.chromium, digests: values.digests,
    buffer: number('min-buffer', null), lowLatency: values['low-latency'], latency: number('latency', Infinity),
    limit: number('limit', toEnd ? 180 : seconds / rate + 60),
    pages: values.url.map((url, at) => {
      const port = values['page-port'][at]
      return { url, port: port === undefined ? 0 : above('page-port', port), proxy: values.proxy[at] || undefined }
    })
  }
}

/** Serves the page and the player. */
async function serve (player, port) {
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
for (const one of wanted.pages) {
  one.report = {
    player: wanted.player, url: one.url, played_s: 0, ended: false, duration_s: null, startup_ms: null, latency_s: null, stalls: 0,
    dry_stalls: 0, stalls_at: [], stall_ms: 0, errors: [], decoded_frames: 0, dropped_frames: 0, levels: [], final_level: null,
    bandwidth_bps: null, requests: 0, hosts: {}, sources: {}, digests: []
  }
  // What the page can't know of; its own errors come with each of its reports.
  one.outside = []
}
function failed ({ outside }, from, fatal, details) {
  if (outside.some(error => error.details === details)) return
  outside.push({ t_s: null, from, fatal, details, reason: null })
}

const played = ({ report }) => wanted.toEnd ? report.ended : report.played_s >= wanted.seconds
const near = ({ report }) => wanted.latency === Infinity || (report.latency_s !== null && report.latency_s <= wanted.latency)
const enough = one => played(one) && near(one)
const fatal = ({ report, outside }) => [...outside, ...report.errors].some(error => error.fatal)

let stopped
const stop = new Promise(resolve => { stopped = resolve })
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.once(signal, () => stopped(`ended by ${signal}`))
setTimeout(() => stopped(`not played as asked within ${wanted.limit} s`), wanted.limit * 1000).unref()

async function play (context, one, origin) {
  const { report } = one
  const page = await context.newPage()
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
  page.on('console', message => { if (message.type() === 'error') failed(one, 'console', false, message.text()) })
  page.on('crash', () => failed(one, 'browser', true, 'the page crashed'))
  await page.goto(origin)
  await page.evaluate(options => window.start(options), { ...wanted, latency: undefined, url: one.url, pages: undefined })
  while (!enough(one) && !fatal(one)) {
    await new Promise(resolve => setTimeout(resolve, POLL_MS))
    Object.assign(report, await page.evaluate(() => window.report()))
  }
  // One that has no end must not keep us.
  await Promise.race([Promise.all(coming), new Promise(resolve => setTimeout(resolve, DIGEST_MS))])
}

/** One that plays alone has the whole browser, and the browser its proxy; several have a profile each, with its own. */
async function playAll (browser, servers) {
  const alone = wanted.pages.length === 1
  await Promise.all(wanted.pages.map(async (one, at) => {
    try {
      const proxy = !alone && one.proxy ? { server: one.proxy, bypass: '<-loopback>' } : undefined
      const context = await browser.newContext({ proxy })
      await play(context, one, servers[at].origin)
      // What has played takes nothing from those who play on.
      if (!alone) await context.close()
    } catch (error) { failed(one, 'play', true, error.message) }
  }))
}

// Profile and all else that is written, gone in every case but a SIGKILL.
const folder = mkdtempSync(join(tmpdir(), 'paceline-browser-'))
process.env.TMPDIR = folder
process.on('exit', () => rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 }))

let launched
const servers = []
const failedAll = why => wanted.pages.filter(one => !enough(one)).forEach(one => failed(one, 'play', true, why))
try {
  const { chromium } = await import('playwright-core')
  for (const { port } of wanted.pages) servers.push(await serve(wanted.player, port))
  launched = chromium.launch({
    executablePath: wanted.chromium, args: flags(wanted.pages.map(one => one.proxy)), headless: true, handleSIGINT: false,
    handleSIGTERM: false, handleSIGHUP: false,
    // No proxy of the environment on the way.
    env: Object.fromEntries(Object.entries(process.env).filter(([name]) => !/_proxy$/i.test(name)))
  })
  const played = launched.then(browser => playAll(browser, servers))
  played.catch(() => {})
  const why = await Promise.race([played, stop])
  if (why) failedAll(why)
} catch (error) {
  failedAll(error.code === 'ERR_MODULE_NOT_FOUND' ? `${error.message}: npm ci in tests/browser` : error.message)
}
const good = wanted.pages.every(one => enough(one) && !fatal(one))
for (const { report, outside } of wanted.pages) console.log(JSON.stringify({ ...report, errors: [...report.errors, ...outside] }))
// What still runs at the exit is killed by playwright.
setTimeout(() => process.exit(good ? 0 : 1), FAREWELL_MS).unref()
for (const { server } of servers) {
  server.close()
  server.closeAllConnections()
}
await launched?.then(browser => browser.close()).catch(() => {})
process.exit(good ? 0 : 1)
