// Runs that write the site's files: shows how far they are, and loads the page again when there is another atlas or build,
// or another run, or none. Without this the page loads itself again.
(function () {
  "use strict";
  const place = document.querySelector("[data-runs]");
  if (!place) return;
  const cards = Array.from(place.querySelectorAll("[data-run]"));
  const shown = cards.map((card) => [card.dataset.run, card.dataset.slug]);
  const builds = JSON.parse(place.dataset.builds);
  const BETWEEN = 2000;

  function same(one, other) {
    const names = Object.keys(one);
    return names.length === Object.keys(other).length && names.every((name) => one[name] === other[name]);
  }

  function show(card, run) {
    for (const out of card.querySelectorAll("[data-out]")) {
      out.textContent = run[out.dataset.out];
      out.hidden = !run[out.dataset.out];
    }
    const bar = card.querySelector("progress");
    bar.hidden = !run.running;
    if (run.share === null) bar.removeAttribute("value");
    else bar.value = run.share;
  }

  function ask() {
    fetch(place.dataset.runs, { headers: { Accept: "application/json" }, cache: "no-store" })
      .then((answer) => (answer.ok ? answer.json() : Promise.reject(new Error(answer.status))))
      .then(function (said) {
        const found = said.runs.map((run) => [run.file, run.slug || ""]);
        if (String(found) !== String(shown) || !same(said.builds, builds)) {
          location.reload();
          return;
        }
        said.runs.forEach((run, number) => show(cards[number], run));
        setTimeout(ask, BETWEEN);
      })
      .catch(() => setTimeout(ask, 2 * BETWEEN));
  }
  setTimeout(ask, BETWEEN);
})();
