// Types that a correction can name, found by a few letters or digits of their name or of their ICAO or IATA code.

const MAX_MATCHES = 6;
const squash = (text) => text.toUpperCase().replace(/[^A-Z0-9]/g, "");

/** Return the types that match a text, the best first; `types` are in the order of their frequency. */
export function matches(types, text) {
  const query = squash(text);
  if (!query) return [];
  const scored = types.map((type) => ({ type, score: Math.min(...type.keys.map((key) => score(key, query))) }));
  return scored.filter(({ score }) => score < Infinity).sort((a, b) => a.score - b.score).slice(0, MAX_MATCHES).map(({ type }) => type);
}

/** Return how well a key matches: 0 the same, then its start, a part of it, its letters in their order. */
function score(key, query) {
  if (key === query) return 0;
  if (key.startsWith(query)) return 1;
  if (key.includes(query)) return 2;
  let at = 0;
  for (const letter of key) if (letter === query[at]) at += 1;
  return at === query.length ? 3 : Infinity;
}
