// One stream: its buffer map, its peers, and why segments were not from peers.
import { bytes, each, element, fill, milliseconds, percent, put, say } from './dom.js'
import { REASONS, SOURCES, STATES, WINDOWS } from './words.js'

/** Segments that are told one by one. */
const TOLD = 20

/** How much came from peers, and the most that is there for all viewers together; one of them may have more. */
export function efficiency (place, of) {
  if (!place.firstElementChild) {
    const label = element('p')
    label.append('From peers: ', element('b', 'is'), '; all viewers together: at most ', element('span', 'most'))
    const bar = element('div', 'bar')
    bar.setAttribute('aria-hidden', 'true')
    bar.append(element('span', 'done'), element('span', 'ceiling'))
    place.append(label, bar)
  }
  const [is, most] = [of.peer_efficiency, of.peer_efficiency_ceiling]
  put(place.querySelector('.is'), is, percent(is))
  // Before there is a swarm there is no ceiling.
  put(place.querySelector('.most'), most, most > 0 ? percent(most) : '–')
  place.querySelector('.done').style.width = `${is * 100}%`
  place.querySelector('.ceiling').hidden = most === 0
  place.querySelector('.ceiling').style.left = `${most * 100}%`
}

function square (item, of) {
  const [letter, meaning] = STATES[of.state]
  const part = of.fill > 0 && of.fill < 1 ? `, ${Math.floor(of.fill * 100)} % is here` : ''
  item.dataset.state = of.state
  item.dataset.sequence = of.sequence
  item.style.setProperty('--fill', `${of.fill * 100}%`)
  item.title = `segment ${of.sequence}, ${of.duration_s.toFixed(1)} s: ${meaning}${part}`
  if (!item.firstElementChild) {
    const sign = element('span')
    sign.setAttribute('aria-hidden', 'true')
    item.append(sign, element('span', 'unseen'))
  }
  say(item.firstElementChild, letter)
  say(item.lastElementChild, item.title)
}

/** One stop for Tab, arrows from square to square; the one that is focused or pointed at is told in words. */
function explore (root) {
  const place = root.querySelector('.map')
  place.addEventListener('keydown', event => {
    const squares = [...place.querySelectorAll('li')]
    const at = squares.indexOf(document.activeElement)
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: squares.length - 1 }[event.key]
    if (at < 0 || to === undefined) return
    event.preventDefault()
    squares[to]?.focus()
  })
  place.addEventListener('focusin', () => stops(place))
  for (const event of ['focusin', 'focusout', 'pointerover', 'pointerout']) {
    place.addEventListener(event, () => tell(root))
  }
}

/** Tab comes back to the square that was focused last. */
function stops (place) {
  const squares = [...place.querySelectorAll('li')]
  const stop = squares.find(square => square === document.activeElement) ??
    squares.find(square => square.tabIndex === 0) ?? squares[0]
  for (const square of squares) square.tabIndex = square === stop ? 0 : -1
  return stop
}

function tell (root) {
  const square = root.querySelector('.map li:hover') ?? root.querySelector('.map li:focus')
  say(root.querySelector('.told'), square ? square.title.replace(/^s/, 'S') : 'Point at a square, or go there with Tab and the arrow keys.')
}

function windowOf (stream) {
  return (place, [name, squares]) => {
    if (place.dataset.window !== name) {
      place.dataset.window = name
      const [title, hint] = WINDOWS[name]
      const heading = element('h4')
      heading.append(title, ' ', element('small'))
      const list = element('ol')
      // Safari and VoiceOver forget lists that are drawn as none.
      list.setAttribute('role', 'list')
      list.setAttribute('aria-label', title)
      place.replaceChildren(heading, list)
      say(heading.lastElementChild, hint)
    }
    const wide = {
      critical: `${stream.critical_s.toFixed(1)} s, HTTP at once`,
      prefetch: stream.p2p ? `${Math.round(stream.prefetch_s)} s, peers first` : 'peers are off'
    }
    if (wide[name]) say(place.querySelector('small'), wide[name])
    each(place.querySelector('ol'), squares, () => element('li'), square)
  }
}

function map (root, stream) {
  const windows = Object.keys(WINDOWS)
    .map(name => [name, stream.map.filter(square => square.window === name)])
    .filter(([, squares]) => squares.length > 0)
  const place = root.querySelector('.map')
  const focused = place.contains(document.activeElement)
  each(place, windows, () => element('section', 'window'), windowOf(stream))
  const stop = stops(place)
  // The square in focus may be gone.
  if (focused && !place.contains(document.activeElement)) stop?.focus()
  tell(root)
  const ahead = stream.map.filter(square => square.window === 'critical' || square.window === 'prefetch')
  const counts = Object.entries(STATES)
    .map(([state, [, meaning]]) => [ahead.filter(square => square.state === state).length, meaning.split(/[:;,]/)[0]])
    .filter(([count]) => count > 0)
    .map(([count, meaning]) => `${count} ${meaning}`)
  say(root.querySelector('.summary'), ahead.length
    ? `From the playhead on, ${ahead.length} segment${ahead.length === 1 ? '' : 's'}: ${counts.join(', ')}.`
    : 'Nothing is wanted yet.')
}

function peers (root, stream) {
  const none = stream.peers.length === 0
  root.querySelector('.nobody').hidden = !none && stream.p2p
  say(root.querySelector('.nobody'), stream.p2p ? 'No neighbours yet.' : `Peers are not used for this stream${none ? '.' : '; these were met for another.'}`)
  root.querySelector('.wide').hidden = none
  root.querySelector('.note').hidden = none
  const row = () => {
    const row = element('tr')
    const name = element('th')
    name.scope = 'row'
    row.append(name, ...Array.from({ length: 5 }, () => element('td')))
    return row
  }
  each(root.querySelector('.peers tbody'), stream.peers, row, (row, peer) => {
    const [name, rtt, down, up, useful, now] = row.children
    say(name, peer.name)
    put(rtt, peer.rtt_ms, milliseconds(peer.rtt_ms))
    put(down, peer.down_bytes, bytes(peer.down_bytes))
    put(up, peer.up_bytes, bytes(peer.up_bytes))
    put(useful, peer.useful, percent(peer.useful))
    useful.style.setProperty('--part', `${peer.useful * 100}%`)
    say(now, peer.busy ? 'busy' : peer.uploads ? 'ready' : 'only takes')
  })
}

/** What was late, or not all from peers. */
const counts = segment => segment.late || segment.source === 'http' || segment.source === 'mixed'

function why (root, stream) {
  const told = stream.segments.filter(counts).reverse()
  const reasons = Object.keys(REASONS)
    .map(reason => [reason, told.filter(segment => segment.reason === reason)])
    .filter(([, segments]) => segments.length > 0)
    .sort(([, a], [, b]) => b.length - a.length)
  root.querySelector('.allpeers').hidden = told.length > 0
  root.querySelector('details').hidden = told.length === 0
  each(root.querySelector('.reasons'), reasons, () => {
    const item = element('li')
    item.append(element('b'), ' ', element('code'), ' ', element('span'))
    return item
  }, (item, [reason, segments]) => {
    const [number, code, words] = item.children
    const late = segments.filter(segment => segment.late).length
    item.dataset.reason = reason
    put(number, segments.length, `${segments.length} ×`)
    say(code, reason)
    say(words, REASONS[reason] + (late ? ` (${late} late)` : ''))
  })
  each(root.querySelector('.late'), told.slice(0, TOLD), () => element('li'), (item, segment) => {
    const share = segment.source === 'mixed' ? ` (${percent(segment.p2p_bytes / segment.bytes)} from peers)` : ''
    const held = segment.held_ms > 0 ? `, waited for ${milliseconds(segment.held_ms)}` : ''
    say(item, `Segment ${segment.sequence}${segment.late ? ', late' : ''}: ${SOURCES[segment.source]}${share}, ` +
      `${bytes(segment.bytes)}${held}: ${REASONS[segment.reason]}`)
  })
}

/** What a stream is called where there is no room for its address. */
export const named = stream => stream.rendition || 'stream'

/** Brings the section of one stream up to date. */
export function show (section, stream) {
  if (!section.dataset.swarm) explore(section)
  section.dataset.swarm = stream.swarm
  fill(section, stream)
  const name = named(stream)
  section.setAttribute('aria-label', `Stream ${name}`)
  section.querySelector('.wide').setAttribute('aria-label', `Peers of ${name}`)
  efficiency(section.querySelector('.efficiency'), stream)
  map(section, stream)
  peers(section, stream)
  why(section, stream)
}
