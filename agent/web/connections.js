// Which way a tab reads. A browser opens six connections to a server, for all of its tabs together,
// and whoever reads an answer over SSE holds one. A few are left for what else is asked: the tabs
// beyond them read over WebSockets, which are not counted.

const MOST_READING = 4;

// Resolves to a function that gives a connection back; to null where other tabs hold all of them.
async function connection() {
  if (!navigator.locks) return () => {}; // neither HTTPS nor this computer: nobody counts them
  for (let n = 0; n < MOST_READING; n += 1) {
    const release = await new Promise((resolve) => {
      const take = (lock) => (lock ? new Promise((done) => resolve(done)) : resolve(null));
      navigator.locks.request(`steadystream-${n}`, { ifAvailable: true }, take);
    });
    if (release) return release;
  }
  return null;
}

// The same run, over SSE or a WebSocket: each is a way to ask for it, as `follow` takes one.
export function overEither(sse, socket) {
  let hasSocket = true; // a proxy may let no WebSocket through
  return async function* (last, signal) {
    const release = await connection();
    if (!release && hasSocket) {
      hasSocket = yield* socket(last, signal);
      return;
    }
    try {
      yield* sse(last, signal);
    } finally {
      release?.();
    }
  };
}
