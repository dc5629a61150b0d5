// Numbers as people read them, and small steps on a page that stay cheap when nothing has changed.

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB']

export function bytes (count) {
  let unit = 0
  while (count >= 999.5 && unit < UNITS.length - 1) { count /= 1000; unit++ }
  return `${count.toFixed(unit === 0 || count >= 99.95 ? 0 : 1)} ${UNITS[unit]}`
}

export const percent = share => `${(share * 100).toFixed(1)} %`
export const seconds = s => `${s.toFixed(1)} s`
export const milliseconds = ms => ms === null ? 'not yet' : ms < 10 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`
export const megabits = rate => `${rate.toFixed(2)} Mbit/s`

/** What the fields of the statistics look like; any other is shown as it is. */
const LOOKS = {
  http_bytes: bytes, p2p_bytes: bytes, uploaded_bytes: bytes, wasted_bytes: bytes, served_bytes: bytes,
  peer_efficiency: percent, buffered_s: seconds, startup_ms: milliseconds, swarm_size: count => count || 'not known'
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
