// Pages of a published copy (`atlas publish`): starts the worker that opens packed pages, and lists what a search finds.
(async function () {
  "use strict";
  const base = new URL("..", document.currentScript.src).pathname.replace(/\/$/, ""); // the copy's folder on this host
  // Hosts lead from /x to /x/, the folder of its file; the site's own address has no slash.
  if (location.pathname.length > base.length + 1 && location.pathname.endsWith("/")) {
    history.replaceState(history.state, "", location.pathname.replace(/\/+$/, "") + location.search + location.hash);
  }
  if (!("serviceWorker" in navigator)) return;
  sessionStorage.removeItem("opened " + location.href);
  if (!navigator.serviceWorker.controller) {
    await navigator.serviceWorker.register(base + "/worker.js");
    await navigator.serviceWorker.ready;
    if (!navigator.serviceWorker.controller) {
      await new Promise(function (resolve) {
        navigator.serviceWorker.addEventListener("controllerchange", resolve, { once: true });
        setTimeout(resolve, 2000); // after a forced reload the browser keeps the worker out
      });
    }
    // A host does not look at what stands behind `?`: the worker has the page that was asked for.
    if (location.search && location.pathname !== base + "/search" && navigator.serviceWorker.controller) return location.reload();
    // The worker has not seen what this page was made of: once more, so that it opens offline too.
    const files = [...document.querySelectorAll("script[src], link[rel~=stylesheet], link[rel~=icon]")];
    await Promise.allSettled([location.href, ...files.map((file) => file.src || file.href)].map((url) => fetch(url)));
  }
  document.documentElement.dataset.worker = "ready";

  // --- the page of a search
  const parameters = new URLSearchParams(location.search);
  if (location.pathname !== base + "/search" || !parameters.get("q")) return;
  const main = document.getElementById("main");
  const query = parameters.get("q");
  main.querySelector("input[name=q]").value = query;
  parameters.set("most", "60");
  const { suggestions } = await (await fetch(base + "/search/suggest.json?" + parameters)).json();
  main.querySelector(".lede")?.remove();
  const made = (tag, values) => Object.assign(document.createElement(tag), values);
  const list = made("ul", { className: "results" });
  for (const item of suggestions) {
    const line = made("li");
    const className = ["layer", "neuron"].includes(item.kind) ? "unit" : "chip";
    line.append(made("a", { href: item.url, className, textContent: item.label }), " ", made("span", { className: "dim", textContent: item.detail }));
    list.append(line);
  }
  const note = made("p", { className: "note" });
  note.textContent = (suggestions.length ? "" : `No neuron, layer or token is called “${query}”. `)
    + "This copy finds neurons, layers and tokens; words of the texts are found where atlas serve runs.";
  main.append(list, note);
})();
