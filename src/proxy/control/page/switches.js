// Switches: three for all streams, and two for each stream of a channel.
import { say } from './dom.js'
import { off } from './words.js'

const find = id => document.getElementById(id)

/** For all streams. Whether each is on, by what the daemon says, and the change that turns it. */
const ALL = {
  p2p: { on: now => now.p2p, change: on => ({ p2p: on }) },
  upload: { on: now => now.upload, change: on => ({ upload: on }) },
  // Pausing by itself is a way of uploading: whoever takes it back goes on, even while nothing is uploaded for now.
  auto: { on: now => now.upload_mode === 'auto', change: on => ({ upload: on ? 'auto' : true }) }
}
/** For a channel, whose streams say what holds for them: what is off for all, or goes without peers, is not to be had. */
const CHANNEL = {
  p2p: { title: 'Peers', usable: now => now.p2p },
  upload: { title: 'Upload', usable: (now, stream) => now.upload && stream.p2p }
}

// Buttons whose change is on its way; until it is answered the events may still tell how it was before.
const changing = new Set()

function set (button, on, usable = true) {
  if (changing.has(button)) return
  button.disabled = false
  // It keeps its place for whoever goes by Tab.
  button.setAttribute('aria-disabled', String(!usable))
  button.setAttribute('aria-checked', String(on))
  say(button.querySelector('.state'), on ? 'on' : 'off')
}

/** Asks for a change; the answer goes to `done`, and why there is none is said in `refused`. */
async function turn (button, change, refused, done) {
  if (changing.has(button) || button.getAttribute('aria-disabled') === 'true') return
  changing.add(button)
  button.setAttribute('aria-busy', 'true')
  let now, failure
  try {
    const answer = await fetch('/-/p2p', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', 'X-Paceline': '1' },
      body: JSON.stringify(change(button.getAttribute('aria-checked') !== 'true'))
    })
    if (!answer.ok) throw new Error(await answer.text())
    now = await answer.json()
  } catch (error) { failure = error.message }
  changing.delete(button)
  button.removeAttribute('aria-busy')
  refused.hidden = !failure
  say(refused, failure ? `Not switched: ${failure}` : '')
  if (now) done(now)
}

/** Shows what holds for all streams. */
export function switches (now) {
  for (const [name, { on }] of Object.entries(ALL)) set(find(name), on(now))
  find('withheld').hidden = !now.upload_withheld
  say(find('withheld'), now.upload_withheld ? `Nothing is uploaded for now: ${now.upload_withheld}.` : '')
}

/** Shows what holds for a stream; one of a channel has switches. */
export function ofStream (section, now, stream) {
  const { channel } = stream
  const why = off(now, stream)
  section.dataset.channel = channel ?? ''
  const group = section.querySelector('.switches')
  group.hidden = channel === null
  group.setAttribute('aria-label', `Switches of the channel ${channel}`)
  say(section.querySelector('.channel'), channel === null ? '' : `channel ${channel}`)
  for (const [name, { title, usable }] of Object.entries(CHANNEL)) {
    const button = group.querySelector(`[data-switch="${name}"]`)
    button.setAttribute('aria-label', `${title}, channel ${channel}`)
    set(button, stream[name], usable(now, stream))
    button.title = usable(now, stream) ? '' : why
  }
  section.querySelector('.off').hidden = !why
  say(section.querySelector('.off'), why)
}

/** What was switched for a channel holds for each of its streams that is shown. */
function switched (channel, now) {
  const { p2p, upload } = now.channels[channel]
  const stream = { channel, p2p: now.p2p && p2p, upload: now.upload && upload && now.p2p && p2p }
  for (const section of find('streams').children) {
    if (section.dataset.channel === channel) ofStream(section, now, stream)
  }
}

/** The switches for all listen. */
export function listen () {
  for (const [name, { change }] of Object.entries(ALL)) {
    find(name).addEventListener('click', () => turn(find(name), change, find('refused'), switches))
  }
}

/** Those of a stream's section listen. */
export function listenIn (section) {
  for (const button of section.querySelectorAll('[data-switch]')) {
    button.addEventListener('click', () => {
      const { channel } = section.dataset
      const change = on => ({ channel, [button.dataset.switch]: on })
      turn(button, change, section.querySelector('.refused'), now => switched(channel, now))
    })
  }
}
