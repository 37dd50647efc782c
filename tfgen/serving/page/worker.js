// Keeps an exported page for visits without a network. The export writes VERSION, PAGE and MODELS.

const cacheName = `${registration.scope} ${VERSION}`;

// On other networks, models are kept when they are used.
const isFast = navigator.connection?.effectiveType === "4g";

addEventListener("install", (event) => event.waitUntil(keep(isFast ? [...PAGE, ...MODELS] : PAGE)));
addEventListener("activate", (event) => event.waitUntil(takeOver()));
addEventListener("fetch", (event) => event.respondWith(answer(event)));

async function keep(files) {
  const cache = await caches.open(cacheName);
  await cache.addAll(files);
  await skipWaiting();
}

/** Ends earlier exports to the same place. */
async function takeOver() {
  const isOlder = (name) => name.startsWith(`${registration.scope} `) && name !== cacheName;
  const names = await caches.keys();
  await Promise.all(names.filter(isOlder).map((name) => caches.delete(name)));
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
