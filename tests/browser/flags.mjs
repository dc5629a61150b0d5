// How Chromium is started.
export const FLAGS = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--autoplay-policy=no-user-gesture-required', '--mute-audio',
  // Nothing but this machine, and no proxy on the way.
  '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost', '--no-proxy-server'
]

/**
 * The same with a forward proxy, if one is given, for what is on this machine as well. Of several each profile has its own,
 * which counts for nothing where the whole browser has been told.
 */
export function flags ([proxy, ...more] = []) {
  if (!proxy && !more.some(Boolean)) return FLAGS
  const others = FLAGS.filter(flag => flag !== '--no-proxy-server')
  return more.length ? others : [...others, `--proxy-server=${proxy}`, '--proxy-bypass-list=<-loopback>']
}
