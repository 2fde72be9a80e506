// Helpers for elements and texts.

export const byId = (id) => document.getElementById(id);
export const format = (count) => count.toLocaleString("en");
export const photoCount = (count) => `${format(count)} ${count === 1 ? "photo" : "photos"}`;

/** Return a new element. Texts among `children` are never parsed as HTML. */
export function element(tag, properties = {}, ...children) {
  const created = Object.assign(document.createElement(tag), properties);
  created.append(...children);
  return created;
}

/** Set the text of `target`, unless it is the same: a screen reader would announce it again. */
export function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

/** Let the browser save `blob` as a file. */
export function download(blob, name) {
  const url = URL.createObjectURL(blob);
  element("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
