// Filters the photos of the page, and copies the ids of those that it shows. The page works without it.
const bar = document.querySelector("#filter");
const photos = [...document.querySelectorAll("#pictures li[data-id]")];
const ids = document.querySelector("#ids");
const text = (node) => node.dataset.text.toLowerCase();
function filter() {
  const words = bar.elements.words.value.toLowerCase().split(/\s+/).filter(Boolean);
  const source = bar.elements.source.value, finding = bar.elements.finding.value;
  const active = words.length || source || finding;
  const shown = photos.filter((node) => {
    const fits = words.every((word) => text(node).includes(word)) && (!source || node.dataset.source === source)
      && (!finding || node.dataset.findings.split(" ").includes(finding));
    node.hidden = !fits;
    return fits;
  });
  for (const sheet of document.querySelectorAll("#pictures details.sheet")) {
    sheet.hidden = !sheet.querySelector("li:not([hidden])");
    if (active) sheet.open = !sheet.hidden;
  }
  ids.value = shown.map((node) => node.dataset.id).join("\n");
  document.querySelector("#shown").textContent = `${shown.length} of ${photos.length} photos on this page`;
}
if (bar) {
  bar.hidden = false;
  bar.addEventListener("input", filter);
  bar.addEventListener("submit", (event) => event.preventDefault());
  document.querySelector("#copy").addEventListener("click", async () => {
    ids.select();
    try { await navigator.clipboard.writeText(ids.value) } catch { document.execCommand("copy") }
  });
  filter();
}
