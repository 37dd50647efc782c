// Keeps an exported page for visits without a network. The export writes VERSION, PAGE and MODELS.

const cacheName = `${registration.scope} ${VERSION}`;

addEventListener("install", (event) => {
  // Elsewhere models are kept when they are used.
  const isFast = navigator.connection?.effectiveType === "4g";
  event.waitUntil(keep(isFast ? [...PAGE, ...MODELS] : PAGE));
});
addEventListener("activate", (event) => event.waitUntil(takeOver()));
addEventListener("fetch", (event) => event.respondWith(answer(event)));

async function keep(files) {
  const cache = await caches.open(cacheName);
  await cache.addAll(files);
  await skipWaiting();
}

/** Ends earlier exports to the same place. */
async function takeOver() {
  const names = await caches.keys();
  const older = names.filter((name) => name.startsWith(`${registration.scope} `));
  await Promise.all(older.filter((name) => name !== cacheName).map((name) => caches.delete(name)));
  await clients.claim();
}

async function answer(event) {
  const { request } = event;
  const cache = await caches.open(cacheName);
  const known = await cache.match(request);
  if (known) return known;
  const fetched = await fetch(request);
  if (fetched.status === 200) event.waitUntil(cache.put(request, fetched.clone()));
  return fetched;
}
