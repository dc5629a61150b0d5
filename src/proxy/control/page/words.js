// The words of the page.
import { bytes } from './dom.js'

/** Why a segment came the way it came; the codes are those of the statistics. */
export const REASONS = {
  'start-up': 'taken from the origin at once: the player had nothing yet, or had sought',
  'critical': 'it was urgent: the player would have run dry before peers could bring it',
  'lottery': 'it was this viewer’s turn to take the first copy for the others',
  'prefetch': 'peers brought it ahead of time',
  'no-peer': 'no neighbour had it or was loading it',
  'peer-slow': 'neighbours had it and were too slow',
  'busy': 'neighbours had it and were busy with others',
  'hash-mismatch': 'neighbours contradicted each other, or the origin, about its bytes',
  'p2p-off': 'peers are switched off, or there is no tracker',
  'not-shared': 'the origin forbids sharing it or gives viewers different bytes; or it can’t be cut into pieces'
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

/** Why nobody new can be met, where that is so. A tracker is asked once something plays. */
export function lonely ({ p2p, trackers: { configured, up, asked }, streams }) {
  if (configured === 0) return 'No tracker is configured: nobody can be met, and everything is plain HTTP.'
  if (!p2p || streams.length === 0) return ''
  if (streams.every(stream => !stream.p2p)) return 'P2P is off for everything that plays: nobody is looked for, and it is plain HTTP.'
  if (up > 0 || !asked) return ''
  return 'The tracker is not reached: nobody new is met. It is tried again.'
}

/** What is off for a stream, and whether for all or for its channel. */
export function off ({ p2p, upload, upload_withheld: withheld, trackers }, stream) {
  if (trackers.configured === 0) return ''
  if (!p2p) return 'Peers are off for all streams: this one is plain HTTP.'
  if (!stream.p2p) return `Peers are off for the channel ${stream.channel}: it is plain HTTP.`
  if (!upload) return withheld ? 'Nothing is uploaded for now.' : 'Uploads are off for all streams.'
  return stream.upload ? '' : `Uploads are off for the channel ${stream.channel}: peers get nothing of it from here.`
}

/** What is left of the upload budgets that there are, in words. */
export function budgets ({ daily, monthly }) {
  const of = (period, { limit_bytes: limit, left_bytes: left }) =>
    limit === null ? [] : [`${bytes(left)} of ${bytes(limit)} ${period}`]
  const left = [...of('today', daily), ...of('this month', monthly)]
  return left.length ? `Left to upload: ${left.join(', ')} (UTC)` : ''
}
