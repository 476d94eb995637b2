// Draws the page's charts: each figure[data-chart] carries its Vega-Lite specification as JSON. Colours come from the
// style sheet's custom properties, so a chart follows light and dark. Vega runs in `ast` mode: no eval, no inline style.
(function () {
  "use strict";

  // A custom property holds light-dark(...): only a property that takes a colour says which of the two it is.
  const probe = document.createElement("span");
  probe.hidden = true;
  document.body.append(probe);
  function colour(name) {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  }

  function config() {
    const known = { "$font": getComputedStyle(document.documentElement).getPropertyValue("--sans") };
    function fill(value) {
      if (Array.isArray(value)) return value.map(fill);
      if (value && typeof value === "object") {
        return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, fill(item)]));
      }
      if (typeof value !== "string" || !value.startsWith("$")) return value;
      if (!(value in known)) known[value] = colour(value.slice(1));
      return known[value];
    }
    return fill(JSON.parse(document.getElementById("chart-config").textContent));
  }

  function dark() {
    const chosen = document.documentElement.dataset.theme;
    return chosen ? chosen === "dark" : window.matchMedia("(prefers-color-scheme: dark)").matches;
  }

  function draw(figure) {
    const target = figure.querySelector(".drawing");
    const spec = JSON.parse(figure.querySelector("script[type='application/json']").textContent);
    return window
      .vegaEmbed(target, spec, {
        actions: false, ast: true, config: config(), defaultStyle: false, renderer: "svg",
        tooltip: { disableDefaultStyle: true },
      })
      .then(function (result) {
        if (figure.view) figure.view.finalize();
        figure.view = result.view;
        figure.dataset.drawn = "yes";
        figure.dataset.scheme = dark() ? "dark" : "light"; // on paper the style sheet turns dark ones round
        if (figure.dataset.threshold) result.view.signal("threshold", Number(figure.dataset.threshold)).runAsync();
      })
      .catch(function (error) {
        figure.dataset.drawn = "no";
        console.error("A chart could not be drawn:", error);
      });
  }

  const waiting = new IntersectionObserver(
    function (entries) {
      entries.filter((entry) => entry.isIntersecting).forEach(function (entry) {
        waiting.unobserve(entry.target);
        draw(entry.target);
      });
    },
    { rootMargin: "800px" },
  );
  function watch(place) {
    place.querySelectorAll("figure[data-chart]").forEach((figure) => waiting.observe(figure));
  }
  function redraw() {
    document.querySelectorAll("figure[data-drawn]").forEach(draw);
  }
  watch(document);
  document.addEventListener("loaded", (event) => watch(event.detail));
  document.addEventListener("themechange", redraw);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
})();
