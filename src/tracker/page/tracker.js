// The tracker's page: follows /-/events and shows each document.
import { bytes, each, element, fill, megabits, percent, put, say } from './dom.js'
import { KINDS, graph } from './graph.js'

const find = id => document.getElementById(id)
/** When the events were refused, they are asked for again after this. */
const AGAIN_MS = 3000
/** Seconds that are shown, as far as there is a past, and in how many parts they are marked. */
const SHOWN = [[300, 5], [900, 3], [3600, 4]]

const count = number => String(number)
const mbit = bytes => bytes * 8 / 1e6
/** Columns after the name: key and how it is shown. */
const SWARMS = [
  ['viewers', count], ['p2p_bytes', bytes], ['peer_efficiency', percent], ['http_bytes', bytes], ['uploaders', count],
  ['p2p_bytes_per_s', rate => megabits(mbit(rate))]
]
const NETWORKS = [
  ['watching', count], ['p2p_bytes', bytes], ['peer_efficiency', percent], ['http_bytes', bytes],
  ['uploaded_bytes', bytes], ['p2p_bytes_per_s', rate => megabits(mbit(rate))]
]

// Whoever came by a token asks for everything with it.
const token = new URLSearchParams(location.search).get('token')
const events_at = token === null ? '/-/events' : `/-/events?token=${encodeURIComponent(token)}`

let points = []
let drawing

function link (state, text) {
  find('link').dataset.link = state
  say(find('link'), text)
}

const point = (at, p2p, http, up) => ({ at, p2p: mbit(p2p), http: mbit(http), up: mbit(up) })

function time (seconds) {
  const [d, h, m] = [seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60].map(Math.floor)
  if (d > 0) return `${d} d ${h} h`
  if (h > 0) return `${h} h ${m} min`
  return m > 0 ? `${m} min` : `${Math.floor(seconds)} s`
}

function rows (body, all, name, columns) {
  each(body, all, () => {
    const row = element('tr')
    const head = element('th')
    head.scope = 'row'
    head.append(element('span', 'name'))
    row.append(head, ...columns.map(() => element('td')))
    return row
  }, (row, of) => {
    const place = row.querySelector('.name')
    say(place, of[name])
    place.title = of[name]
    columns.forEach(([key, look], at) => put(row.children[at + 1], of[key], look(of[key])))
  })
}

function render (stats) {
  say(find('version'), stats.version)
  for (const id of ['now', 'swarms', 'networks']) find(id).hidden = false
  const { totals, largest_swarms: swarms, networks } = stats
  fill(find('now'), { ...stats, ...totals })
  put(document.querySelector('[data-field="uptime_s"]'), stats.uptime_s, time(stats.uptime_s))
  say(find('interval'), time(stats.interval_s))
  document.querySelector('#now .bar .done').style.width = `${totals.peer_efficiency * 100}%`
  points.push(point(stats.uptime_s, totals.p2p_bytes_per_s, totals.http_bytes_per_s, totals.uploaded_bytes_per_s))
  while (points[0].at < stats.uptime_s - SHOWN.at(-1)[0]) points.shift()
  const past = stats.uptime_s - points[0].at
  const [shown, parts] = SHOWN.find(([seconds]) => past <= seconds) ?? SHOWN.at(-1)
  say(find('shown'), shown / 60)
  drawing ??= graph(find('rates'), Object.fromEntries(KINDS.map(kind => [kind, find(`rate-${kind}`)])))
  drawing.draw(points, shown, parts)
  find('swarms').querySelector('.nobody').hidden = swarms.length > 0
  find('swarms').querySelector('.wide').hidden = swarms.length === 0
  say(find('swarms').querySelector('small'), stats.swarms > swarms.length ? `the ${swarms.length} largest of ${stats.swarms}` : '')
  rows(find('swarms').querySelector('tbody'), swarms, 'swarm', SWARMS)
  rows(find('networks').querySelector('tbody'), networks, 'network', NETWORKS)
  document.documentElement.dataset.uptime = stats.uptime_s
}

function follow () {
  const events = new EventSource(events_at)
  events.addEventListener('past', event => {
    points = JSON.parse(event.data).map(past => point(...past))
  })
  events.addEventListener('stats', event => {
    link('live', 'live')
    render(JSON.parse(event.data))
  })
  events.addEventListener('error', () => {
    link('lost', 'no news from the tracker; trying again')
    // A broken connection the browser makes again by itself; after a refusal it does not.
    if (events.readyState === EventSource.CLOSED) setTimeout(follow, AGAIN_MS)
  })
}

follow()
