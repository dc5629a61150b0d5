// The dashboard: follows /-/events and shows each document.
import { chart } from './chart.js'
import { each, element, fill, say } from './dom.js'
import { efficiency, named, show } from './stream.js'
import { listen, listenIn, ofStream, switches } from './switches.js'
import { STATES, budgets, lonely } from './words.js'

const find = id => document.getElementById(id)
/** When the events were refused, they are asked for again after this. */
const AGAIN_MS = 3000
/** What came and went over time: of all streams together, and of each that plays. */
let together
const charts = new Map()
/** What was before the events began, until the first document is shown. */
let past
/** When the document before came: what was not in it had nothing then. */
let before

function link (state, text) {
  find('link').dataset.link = state
  say(find('link'), text)
}

const pastOf = swarm => past?.streams[swarm] ?? (before === undefined ? [] : [[before, 0, 0, 0]])

function streams (stats) {
  const all = stats.streams
  const template = find('stream').content.firstElementChild
  // A stream keeps its section, so that what is open or focused in it stays so.
  const place = find('streams')
  for (const section of [...place.children]) {
    const { swarm } = section.dataset
    if (all.some(stream => stream.swarm === swarm)) continue
    charts.get(swarm)?.end()
    charts.delete(swarm)
    section.remove()
  }
  all.forEach((stream, at) => {
    let section = [...place.children].find(section => section.dataset.swarm === stream.swarm)
    if (!section) {
      section = template.cloneNode(true)
      listenIn(section)
      place.insertBefore(section, place.children[at] ?? null)
    }
    show(section, stream)
    ofStream(section, stats, stream)
    if (!charts.has(stream.swarm)) {
      charts.set(stream.swarm, chart(section.querySelector('.throughput'), named(stream)))
      charts.get(stream.swarm).begin(pastOf(stream.swarm))
    }
    charts.get(stream.swarm).take(stats.uptime_s, stream)
  })
}

function render (stats) {
  say(find('version'), stats.version)
  find('totals').hidden = false
  const { streams: all, totals } = stats
  fill(find('totals'), totals)
  efficiency(find('totals').querySelector('.efficiency'), totals)
  // Of one stream alone it would be the same twice.
  find('together').hidden = all.length === 1
  together ??= chart(find('together'), 'all streams together')
  if (past) together.begin(past.totals)
  together.take(stats.uptime_s, totals)
  find('idle').hidden = all.length > 0
  find('key').hidden = all.length === 0
  switches(stats)
  const alone = lonely(stats)
  find('lonely').hidden = !alone
  say(find('lonely'), alone)
  const left = budgets(stats.upload_budget)
  find('budget').hidden = !left
  say(find('budget'), left)
  streams(stats)
  before = stats.uptime_s
  past = undefined
  document.documentElement.dataset.uptime = stats.uptime_s
}

function follow () {
  const events = new EventSource('/-/events')
  events.addEventListener('past', event => {
    past = JSON.parse(event.data)
    before = past.totals.at(-1)?.[0]
    // They go on after the events were broken off.
    charts.forEach((chart, swarm) => chart.begin(pastOf(swarm)))
  })
  events.addEventListener('stats', event => {
    link('live', 'live')
    render(JSON.parse(event.data))
  })
  events.addEventListener('error', () => {
    link('lost', 'no news from the daemon; trying again')
    // A broken connection the browser makes again by itself; after a refusal it does not.
    if (events.readyState === EventSource.CLOSED) setTimeout(follow, AGAIN_MS)
  })
}

function prepare () {
  const address = `${location.origin}/`
  say(document.querySelector('#idle .address'), address)
  say(document.querySelector('#idle .example'), `vlc ${address}https://origin.example/live/master.m3u8`)
  each(document.querySelector('#key ul'), Object.entries(STATES), () => {
    const item = element('li')
    const sample = element('span', 'square')
    sample.setAttribute('aria-hidden', 'true')
    item.append(sample, ' ', element('span'))
    return item
  }, (item, [state, [letter, meaning]]) => {
    item.firstElementChild.dataset.state = state
    item.firstElementChild.style.setProperty('--fill', state.startsWith('loading') ? '60%' : '100%')
    say(item.firstElementChild, letter)
    say(item.lastElementChild, meaning)
  })
  listen()
}

prepare()
follow()
