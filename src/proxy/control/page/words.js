// The words and numbers of the page.

/** Why a segment came the way it came; the codes are those of the statistics. */
export const REASONS = {
  'start-up': 'the player had nothing yet, so it was taken from the origin at once',
  'critical': 'it was urgent: the player would have run dry before peers could bring it',
  'lottery': 'it was this viewer’s turn to take the first copy for the others',
  'prefetch': 'peers brought it ahead of time',
  'no-peer': 'no neighbour had it or was loading it',
  'peer-slow': 'neighbours had it, and were too slow',
  'busy': 'neighbours had it, and were busy with others',
  'hash-mismatch': 'neighbours contradicted each other or the origin about its bytes',
  'p2p-off': 'peers were switched off',
  'not-shared': 'the origin forbids sharing it, or it can’t be cut into pieces'
}

/** States of a square: the letter on it, and what it means. */
export const STATES = {
  http: ['H', 'from the origin, over HTTP'],
  p2p: ['P', 'from peers'],
  mixed: ['B', 'both: some of it from peers, some from the origin'],
  memory: ['M', 'in memory; how it came is no longer listed'],
  'loading-http': ['h', 'being loaded from the origin'],
  'loading-p2p': ['p', 'being loaded from peers'],
  missing: ['·', 'missing']
}

/** Windows, in their order. */
export const WINDOWS = {
  played: ['played', ''],
  critical: ['critical window', 'HTTP at once'],
  prefetch: ['prefetch window', 'peers first'],
  beyond: ['later', 'not yet wanted']
}

export const SOURCES = {
  http: 'from the origin', p2p: 'from peers', mixed: 'from peers and origin', memory: 'from memory'
}

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB']

export function bytes (count) {
  let unit = 0
  while (count >= 999.5 && unit < UNITS.length - 1) { count /= 1000; unit++ }
  return `${count.toFixed(unit === 0 || count >= 99.95 ? 0 : 1)} ${UNITS[unit]}`
}

/** What is left of the upload budgets that there are, in words. */
export function budgets ({ daily, monthly }) {
  const of = (period, { limit_bytes: limit, left_bytes: left }) =>
    limit === null ? [] : [`${bytes(left)} of ${bytes(limit)} ${period}`]
  const left = [...of('today', daily), ...of('this month', monthly)]
  return left.length ? `Left to upload: ${left.join(', ')} (UTC)` : ''
}

export const percent = share => `${(share * 100).toFixed(1)} %`
export const seconds = s => `${s.toFixed(1)} s`
export const milliseconds = ms => ms === null ? 'not yet' : ms < 10 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`
export const megabits = rate => `${rate.toFixed(2)} Mbit/s`

/** What the fields of the statistics look like; any other is shown as it is. */
const LOOKS = {
  http_bytes: bytes, p2p_bytes: bytes, uploaded_bytes: bytes, wasted_bytes: bytes, served_bytes: bytes,
  buffered_s: seconds, startup_ms: milliseconds, swarm_size: count => count || 'not known'
}

/** Puts text into an element, if it is not there yet. */
export function say (element, text) {
  text = String(text)
  if (element.textContent !== text) element.textContent = text
}

/** A value with its exact number beside it (HTML, 4.4.13: data). */
export function put (place, value, text) {
  let data = place.firstElementChild
  if (!data) place.append(data = document.createElement('data'))
  data.value = value ?? ''
  say(data, text)
}

/** Fills every `data-field` below `root`. */
export function fill (root, values) {
  for (const place of root.querySelectorAll('[data-field]')) {
    const name = place.dataset.field
    const value = values[name]
    put(place, value, LOOKS[name]?.(value) ?? value ?? '')
  }
}

/** As many children as items; `make` makes one, `set` brings it up to date. Those that stay keep focus and place. */
export function each (list, items, make, set) {
  while (list.children.length > items.length) list.lastElementChild.remove()
  while (list.children.length < items.length) list.append(make())
  items.forEach((item, at) => set(list.children[at], item))
}

export function element (name, ...classes) {
  const made = document.createElement(name)
  made.classList.add(...classes)
  return made
}
