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

  const carried = (figure) => JSON.parse(figure.querySelector("script[type='application/json']").textContent);

  // The rows of a chart, which its page carries as columns.
  function rows(columns, sparse) {
    const named = Object.entries(columns);
    const there = (place) => named.filter(([name, values]) => values[place] !== null || !sparse.includes(name));
    return (named[0]?.[1] || []).map((_, place) => Object.fromEntries(there(place).map(([name, values]) => [name, values[place]])));
  }

  // Vega takes a second to load and start: it comes when the first chart is near.
  let vega = null;
  function loaded() {
    vega ||= new Promise(function (resolve, reject) {
      const script = document.createElement("script");
      script.src = document.querySelector("link[rel=vega]").href;
      script.addEventListener("load", resolve);
      script.addEventListener("error", () => reject(new Error("Vega did not load")));
      document.head.append(script);
    });
    return vega;
  }

  function draw(figure) {
    const target = figure.querySelector(".drawing");
    const { title, columns, sparse, ...spec } = carried(figure);
    spec.datasets = { rows: rows(columns, sparse) };
    spec.description = title; // the page has headings; files have the title
    const chosen = figure.chosen || {};
    spec.params = (spec.params || []).map((one) => (one.name in chosen ? { ...one, value: chosen[one.name] } : one));
    const colours = config();
    if (figure.querySelector(".series")) colours.legend.disable = true;
    return loaded()
      .then(() => window.vegaEmbed(target, spec, {
        actions: false, ast: true, config: colours, defaultStyle: false, renderer: "svg",
        tooltip: { disableDefaultStyle: true },
      }))
      .then(function (result) {
        if (figure.view) figure.view.finalize();
        figure.view = result.view;
        figure.dataset.drawn = "yes";
        figure.dataset.scheme = dark() ? "dark" : "light"; // on paper the style sheet turns dark ones round
        figure.dispatchEvent(new Event("drawn"));
      })
      .catch(function (error) {
        figure.dataset.drawn = "no";
        console.error("A chart could not be drawn:", error);
      });
  }

  // The room that the drawing will take: its plot, and the activation axis with its title.
  function reserve(figure) {
    const { height } = carried(figure);
    if (Number.isInteger(height)) figure.querySelector(".drawing").style.minHeight = `${height + 47}px`;
  }

  // The key of a chart whose lines can be switched on and off: its links become buttons; one line is always drawn.
  function switches(figure) {
    const shown = carried(figure).params?.find((one) => one.name === "shown")?.value;
    const key = figure.querySelector(".series");
    if (!key || !shown) return;
    figure.chosen = { shown, more: false };
    function choose(name, value) {
      figure.chosen[name] = value;
      if (figure.view) figure.view.signal(name, value).runAsync();
    }
    const lines = Array.from(key.children).filter((one) => !one.matches("label"));
    if (lines.length > 1) {
      lines.forEach(function (line) {
        const button = document.createElement("button");
        const label = line.textContent;
        button.type = "button";
        button.className = line.className;
        button.textContent = label;
        button.setAttribute("aria-pressed", shown.includes(label));
        button.addEventListener("click", function () {
          const on = figure.chosen.shown;
          const next = on.includes(label) ? on.filter((other) => other !== label) : [...on, label];
          if (!next.length) return;
          button.setAttribute("aria-pressed", next.includes(label));
          choose("shown", next);
        });
        line.replaceWith(button);
      });
    }
    key.querySelector("[data-more]")?.addEventListener("change", (event) => choose("more", event.target.checked));
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
    place.querySelectorAll("figure[data-chart]").forEach(function (figure) {
      reserve(figure);
      switches(figure);
      waiting.observe(figure);
    });
  }
  function redraw() {
    document.querySelectorAll("figure[data-drawn]").forEach(draw);
  }
  watch(document);
  document.addEventListener("loaded", (event) => watch(event.detail));
  document.addEventListener("themechange", redraw);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
})();
