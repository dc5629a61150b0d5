// The dashboard of a running daemon in headless Chromium: is what it shows what the daemon says, and does it steer it?
//
// Prints `idle` once the page says that nothing plays, so that whoever started it can let players begin, and `one stream is
// shown` when another stream may begin; else one line for each step, and `done`. Ends with status 1 and says why at the first thing that is wrong.
import assert from 'node:assert/strict'
import { parseArgs } from 'node:util'

import { chromium } from 'playwright-core'

import { overhear, reopened, throughput } from './charts.mjs'
import { FLAGS } from './flags.mjs'
import { PATIENCE_MS, read } from './shown.mjs'

const text = { type: 'string' }
const { values: wanted } = parseArgs({
  options: { url: text, pictures: text, chromium: text, neighbours: text, without: text, unreached: text, kept: text }
})
const daemon = new URL(wanted.url)
const NEIGHBOURS = Number(wanted.neighbours)
/** Documents that are compared until one comes while nothing moves. */
const COMPARISONS = 60
const STATES = ['missing', 'loading-http', 'loading-p2p', 'http', 'p2p', 'mixed', 'memory']

const complaints = []
const strangers = new Set()
const ask = async path => (await fetch(new URL(path, daemon))).json()

function watch (page) {
  page.on('console', message => {
    if (['error', 'warning'].includes(message.type())) complaints.push(message.text())
  })
  page.on('pageerror', error => complaints.push(String(error)))
  page.on('request', request => {
    if (new URL(request.url()).host !== daemon.host) strangers.add(request.url())
  })
}

const SCALE = { B: 1, kB: 1e3, MB: 1e6, GB: 1e9 }

/** Bytes as people read them are the bytes as they are counted. */
function readable ({ value, text }) {
  const [, number, unit] = /^([\d.]+) (\w+)$/.exec(text)
  const step = SCALE[unit] * (number.includes('.') ? 0.1 : 1)
  assert.ok(Math.abs(number * SCALE[unit] - value) <= step * 0.51, `${value} is shown as ${text}`)
}

const BYTES = ['http_bytes', 'p2p_bytes', 'uploaded_bytes', 'wasted_bytes']

/** What only grows is between what the daemon said before and after. */
function between (shown, before, after, what) {
  for (const key of BYTES) {
    const value = Number(shown[key]?.value ?? before[key])
    assert.ok(before[key] <= value && value <= after[key], `${what} ${key}: ${before[key]} <= ${value} <= ${after[key]}`)
    if (shown[key]) readable(shown[key])
  }
}

/** What does not move between two documents in a second in which nothing happens: of all, and of each stream. */
const still = ({ streams, ...all }) => ({
  all: JSON.stringify({ ...all, uptime_s: 0, swarms: streams.map(stream => stream.swarm) }),
  ...Object.fromEntries(streams.map(stream => [stream.swarm, JSON.stringify({ ...stream, buffered_s: 0, critical_s: 0 })]))
})

const notFromPeers = stream => {
  const counts = {}
  for (const { reason, source, late } of stream.segments) {
    if (late || source === 'http' || source === 'mixed') counts[reason] = (counts[reason] ?? 0) + 1
  }
  return counts
}

/** Of these parts the page shows all that the daemon says. */
function same (shown, stats, parts) {
  if (parts.includes('all')) sameTotals(shown, stats)
  for (const stream of stats.streams.filter(({ swarm }) => parts.includes(swarm))) sameStream(shown, stream)
}

const ratios = of => [of.peer_efficiency, of.peer_efficiency_ceiling].map(String)

function sameTotals (shown, stats) {
  assert.deepEqual(shown.switches, [stats.p2p, stats.upload, stats.upload_mode === 'auto'])
  for (const [key, { value }] of Object.entries(shown.totals)) assert.equal(value, String(stats.totals[key]), key)
  assert.deepEqual(shown.efficiency, ratios(stats.totals))
  assert.deepEqual(shown.streams.map(stream => stream.swarm).sort(), stats.streams.map(stream => stream.swarm).sort())
}

function sameStream (shown, stream) {
  const { fields, efficiency, map, peers, reasons } = shown.streams.find(({ swarm }) => swarm === stream.swarm)
  for (const [key, { value }] of Object.entries(fields)) {
    if (key !== 'buffered_s') assert.equal(value, String(stream[key] ?? ''), key)
  }
  assert.deepEqual(efficiency, ratios(stream))
  const squares = list => list.map(({ sequence, state, window }) => ({ sequence, state, window }))
  assert.deepEqual(squares(map), squares(stream.map))
  assert.deepEqual(peers.map(({ now, ...peer }) => peer), stream.peers.map(peer => ({
    name: peer.name, rtt: String(peer.rtt_ms ?? ''), down: String(peer.down_bytes), up: String(peer.up_bytes),
    useful: String(peer.useful)
  })))
  assert.deepEqual(Object.fromEntries(reasons), notFromPeers(stream))
  for (const [reason,, words] of reasons) assert.ok(words.length > 20 && words !== reason, `${reason}: ${words}`)
}

/**
 * The page shows what the daemon says: never anything else than between two answers, and all of it of what is alike in both.
 * It goes on until all and each stream were compared.
 */
async function agrees (page) {
  const compared = new Set()
  for (let n = 0; n < COMPARISONS; n++) {
    const before = await ask('/-/stats')
    await page.waitForFunction(uptime => document.documentElement.dataset.uptime > uptime, before.uptime_s, { timeout: PATIENCE_MS })
    const shown = await page.evaluate(read)
    const after = await ask('/-/stats')
    between(shown.totals, before.totals, after.totals, 'totals')
    for (const { swarm, fields, map } of shown.streams) {
      const [old, now] = [before, after].map(({ streams }) => streams.find(stream => stream.swarm === swarm))
      if (!old || !now) continue
      between(fields, old, now, swarm)
      for (const { sequence, state, title } of map) {
        assert.ok(STATES.includes(state), state)
        assert.ok(title.startsWith(`segment ${sequence}, `), title)
      }
    }
    const [old, now] = [before, after].map(still)
    const parts = Object.keys(old).filter(part => old[part] === now[part])
    same(shown, before, parts)
    for (const part of parts) compared.add(part)
    if (Object.keys(now).every(part => compared.has(part))) return n + 1
  }
  throw new Error('the daemon is never still')
}

const checked = (page, name, state) =>
  page.waitForSelector(`#${name}[aria-checked="${state}"]:not([aria-busy])`, { timeout: PATIENCE_MS })

/** Waits until the page shows so many neighbours of the stream that all play, which began first. */
const neighbours = (page, least, most) => page.waitForFunction(([least, most]) => {
  const shown = document.querySelector('#streams > [data-channel="news"] [data-field="neighbours"] data')
  return shown && least <= Number(shown.value) && Number(shown.value) <= most
}, [least, most], { timeout: PATIENCE_MS })

/** Comes to a switch by Tab alone, and presses a key. */
async function press (page, selector, key) {
  await page.evaluate(() => { document.activeElement?.blur() })
  for (let n = 0; n < 40; n++) {
    await page.keyboard.press('Tab')
    if (await page.evaluate(selector => document.activeElement.matches(selector), selector)) {
      const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle)
      assert.notEqual(outline, 'none', 'where the focus is can be seen')
      return page.keyboard.press(key)
    }
  }
  throw new Error(`${selector} is not reached by Tab`)
}

async function pictures (page, name) {
  for (const colorScheme of ['light', 'dark']) {
    for (const width of [1280, 360]) {
      await page.emulateMedia({ colorScheme })
      await page.setViewportSize({ width, height: 800 })
      // One more document, drawn in these colours and this width.
      const { uptime } = await page.evaluate(read)
      await page.waitForFunction(uptime => document.documentElement.dataset.uptime > uptime, uptime, { timeout: PATIENCE_MS })
      const needed = await page.evaluate(() => document.documentElement.scrollWidth)
      assert.ok(needed <= width, `${name} needs ${needed} pixels of ${width}`)
      await page.screenshot({ path: `${wanted.pictures}/${name}-${colorScheme}-${width}.png`, fullPage: true })
    }
  }
  await page.emulateMedia({ colorScheme: 'light' })
  await page.setViewportSize({ width: 1280, height: 800 })
}

async function swarm (page) {
  await neighbours(page, NEIGHBOURS, NEIGHBOURS)
  await page.waitForFunction(() => {
    const there = states => document.querySelector(states.map(state => `.map li[data-state="${state}"]`).join())
    return there(['p2p', 'mixed']) && there(['http']) && document.querySelector('.reasons li')
  }, null, { timeout: PATIENCE_MS })
  assert.ok(await page.isHidden('#lonely'), 'the tracker is there')
  const { streams: [{ map }] } = await page.evaluate(read)
  const windows = new Set(map.map(({ window }) => window))
  assert.ok(windows.has('critical') && windows.has('prefetch'), [...windows].join())
  const sequences = map.map(({ sequence }) => sequence)
  assert.deepEqual(sequences, [...sequences].sort((a, b) => a - b), 'from the playhead onwards')
  assert.ok(sequences.length <= 64)
}

/** Squares are told in words to whoever comes there by keyboard. */
async function explored (page) {
  await page.evaluate(() => { document.activeElement?.blur() })
  const square = () => page.evaluate(() => document.activeElement.closest('.map li') && [
    [...document.querySelectorAll('.map li')].indexOf(document.activeElement),
    document.activeElement.title, document.querySelector('.told').textContent
  ])
  for (let n = 0; n < 20 && !await square(); n++) await page.keyboard.press('Tab')
  await page.keyboard.press('Home')
  await page.keyboard.press('ArrowRight')
  const [at, title, told] = await square()
  assert.deepEqual([at, told.toLowerCase()], [1, title.toLowerCase()])
  await page.keyboard.press('Tab')
  assert.equal(await square(), null, 'the map is one stop')
}

/** Somebody else switches. */
const change = body => fetch(new URL('/-/p2p', daemon), {
  method: 'POST', headers: { 'Content-Type': 'application/json', 'X-Paceline': '1' }, body: JSON.stringify(body)
})

/** The switch of a channel's stream. */
const ofChannel = (channel, name) => `#streams > [data-channel="${channel}"] [data-switch="${name}"]`
const turned = (page, channel, name, state) =>
  page.waitForSelector(`${ofChannel(channel, name)}[aria-checked="${state}"]:not([aria-busy])`, { timeout: PATIENCE_MS })
/** The page says of a channel's stream what is off, or nothing. */
const isOff = (page, channel, text) => page.waitForFunction(([channel, text]) => {
  const place = document.querySelector(`#streams > [data-channel="${channel}"] .off`)
  return text === null ? place.hidden : !place.hidden && place.textContent.includes(text)
}, [channel, text], { timeout: PATIENCE_MS })

/** What is switched for a channel leaves the other as it is. */
async function channels (page) {
  const ON = { p2p: true, upload: true }
  const hold = async (news, sport) => {
    const now = await ask('/-/p2p')
    assert.deepEqual([now.p2p, now.upload, now.channels], [true, true, { news, sport }])
    const { streams } = await ask('/-/stats')
    for (const [channel, { p2p, upload }] of Object.entries({ news, sport })) {
      const stream = streams.find(stream => stream.channel === channel)
      assert.deepEqual([stream.p2p, stream.upload], [p2p, p2p && upload], channel)
    }
  }
  for (const name of ['Peers, channel news', 'Upload, channel news', 'Peers, channel sport', 'Upload, channel sport']) {
    assert.equal(await page.getByRole('switch', { name, exact: true }).count(), 1, name)
  }
  await hold(ON, ON)
  await press(page, ofChannel('news', 'upload'), 'Enter')
  await turned(page, 'news', 'upload', false)
  await hold({ p2p: true, upload: false }, ON)
  await isOff(page, 'news', 'Uploads are off for the channel news')
  await isOff(page, 'sport', null)
  await press(page, ofChannel('news', 'p2p'), 'Space')
  await turned(page, 'news', 'p2p', false)
  await hold({ p2p: false, upload: false }, ON)
  await isOff(page, 'news', 'Peers are off for the channel news')
  await page.waitForFunction(() =>
    !document.querySelector('#streams > [data-channel="news"] .map').textContent.includes('peers first'), null, { timeout: PATIENCE_MS })
  // Who is met for the other as well is still there.
  await neighbours(page, 0, 1)
  await page.waitForSelector(`${ofChannel('news', 'upload')}[aria-disabled="true"]`, { timeout: PATIENCE_MS })
  await turned(page, 'sport', 'p2p', true)
  await turned(page, 'sport', 'upload', true)
  assert.equal((await ask('/-/stats')).streams.find(({ channel }) => channel === 'sport').neighbours, 1)
  await agrees(page)
  await pictures(page, 'channel-off')
  await page.click(ofChannel('news', 'p2p'))
  await turned(page, 'news', 'p2p', true)
  await turned(page, 'news', 'upload', false)
  await page.click(ofChannel('news', 'upload'))
  await turned(page, 'news', 'upload', true)
  await hold(ON, ON)
  await isOff(page, 'news', null)
  await neighbours(page, 1, NEIGHBOURS)
  await change({ channel: 'sport', p2p: false })
  await turned(page, 'sport', 'p2p', false)
  await isOff(page, 'sport', 'Peers are off for the channel sport')
  await turned(page, 'news', 'p2p', true)
  await change({ channel: 'sport', p2p: true })
  await isOff(page, 'sport', null)
}

async function switches (page) {
  await page.click('#p2p')
  await checked(page, 'p2p', false)
  assert.equal((await ask('/-/p2p')).p2p, false)
  await neighbours(page, 0, 0)
  await agrees(page)
  // What is off for all is not to be had for a channel.
  for (const channel of ['news', 'sport']) await isOff(page, channel, 'Peers are off for all streams')
  await page.click(`${ofChannel('news', 'p2p')}[aria-disabled="true"]`, { force: true })
  assert.deepEqual((await ask('/-/p2p')).channels.news, { p2p: true, upload: true })
  await press(page, '#p2p', 'Space')
  await checked(page, 'p2p', true)
  assert.equal((await ask('/-/p2p')).p2p, true)
  await neighbours(page, 1, NEIGHBOURS)
  await press(page, '#upload', 'Enter')
  await checked(page, 'upload', false)
  const hold = async expected => {
    const { p2p, upload, upload_mode: mode } = await ask('/-/p2p')
    assert.deepEqual([p2p, upload, mode], expected)
  }
  await hold([true, false, 'never'])
  await checked(page, 'auto', false)
  await page.click('#upload')
  await checked(page, 'upload', true)
  await hold([true, true, 'always'])
  await press(page, '#auto', 'Space')
  await checked(page, 'auto', true)
  await hold([true, true, 'auto'])
  await page.click('#auto')
  await checked(page, 'auto', false)
  await hold([true, true, 'always'])
  // Somebody else switches: the page follows.
  const says = (id, text) => page.waitForFunction(([id, text]) => {
    const place = document.getElementById(id)
    return !place.hidden && place.textContent.includes(text)
  }, [id, text], { timeout: PATIENCE_MS })
  await change({ upload_daily: '999GB', upload_monthly: '2000GB' })
  await says('budget', ' of 999 GB today, ')
  await change({ upload_daily: 1 })
  await says('withheld', 'the daily upload budget of 0.0 MB is spent until')
  await checked(page, 'upload', false)
  // Without auto-pause uploads go on once the reason is gone.
  await change({ upload: 'auto' })
  await checked(page, 'auto', true)
  await checked(page, 'upload', false)
  await page.click('#auto')
  await checked(page, 'auto', false)
  await hold([true, false, 'always'])
  await change({ upload_daily: 0, upload_monthly: 0 })
  await page.waitForSelector('#budget', { state: 'hidden', timeout: PATIENCE_MS })
  await checked(page, 'upload', true)
  await change({ upload: false })
  await checked(page, 'upload', false)
}

/** Daemons that meet nobody say why. */
async function lonely (browser) {
  for (const [name, text] of [
    ['without', 'No tracker is configured'],
    ['unreached', 'The tracker is not reached'],
    ['kept', 'P2P is off for everything that plays']
  ]) {
    const page = await browser.newPage()
    await page.goto(new URL('/-/', wanted[name]).href)
    await page.waitForSelector(`#lonely:not([hidden]):has-text("${text}")`, { timeout: PATIENCE_MS })
    const used = await page.locator('#streams .nobody').allTextContents()
    assert.deepEqual(used, { without: [], unreached: ['No neighbours yet.'], kept: ['Peers are not used for this stream.'] }[name])
    await page.screenshot({ path: `${wanted.pictures}/${name}.png`, fullPage: true })
    await page.close()
  }
}

const browser = await chromium.launch({ executablePath: wanted.chromium, args: FLAGS })
let failed = false
try {
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 }, colorScheme: 'light' })
  watch(page)
  await page.addInitScript(overhear)
  await page.goto(new URL('/-/', daemon).href)
  await page.waitForSelector('#idle:not([hidden])', { timeout: PATIENCE_MS })
  assert.match(await page.textContent('#idle'), new RegExp(`Point a player at ${daemon.origin}/`))
  await page.screenshot({ path: `${wanted.pictures}/idle-light-1280.png`, fullPage: true })
  console.log('idle')
  await swarm(page)
  console.log('a swarm is shown')
  console.log(`the page agrees with the statistics (${await agrees(page)} comparisons)`)
  await throughput(page, 1)
  console.log('one stream is shown')
  await throughput(page, 2)
  console.log(`two streams have a chart each (${await agrees(page)} comparisons)`)
  await reopened(page)
  console.log('who opens the page again sees what was before')
  await explored(page)
  await pictures(page, 'swarm')
  console.log('pictures are taken')
  await channels(page)
  console.log('switches of a channel leave the other alone')
  await switches(page)
  console.log('switches work')
  await lonely(browser)
  console.log('daemons that meet nobody say why')
  assert.deepEqual(complaints, [])
  assert.deepEqual([...strangers], [])
  console.log('done')
} catch (error) {
  failed = true
  console.log(error.stack, complaints)
}
await browser.close()
process.exit(failed ? 1 : 0)
