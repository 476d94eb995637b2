// Draws the page's charts: each figure[data-chart] carries its Vega-Lite specification as JSON. Colours come from the
// style sheet's custom properties, so a chart follows light and dark. Vega runs in `ast` mode: no eval, no inline style.
(function () {
  "use strict";

  function colours() {
    const style = getComputedStyle(document.documentElement);
    const names = ["paper", "ink", "dim", "rule", "pos", "neg", "zero", "accent", "counts"];
    return Object.fromEntries(names.map((name) => [name, style.getPropertyValue("--" + name).trim()]));
  }

  function config() {
    const c = colours();
    const font = getComputedStyle(document.body).fontFamily;
    return {
      background: null,
      font: font,
      autosize: { type: "fit-x", contains: "padding" },
      view: { stroke: null },
      axis: {
        domainColor: c.rule, tickColor: c.rule, gridColor: c.rule, gridOpacity: 0.6, labelColor: c.dim, titleColor: c.dim,
        titleFontWeight: "normal", labelFontSize: 11, titleFontSize: 11, tickSize: 3,
      },
      legend: { labelColor: c.dim, labelFontSize: 11, symbolType: "stroke", padding: 0, offset: 2 },
      line: { strokeWidth: 1.6 },
      point: { size: 18, filled: true },
      style: { counts: { color: c.counts }, accent: { color: c.accent } },
      range: { diverging: [c.neg, c.zero, c.pos], category: [c.accent, c.dim] },
    };
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
      })
      .catch(function (error) {
        figure.dataset.drawn = "no";
        console.error("A chart could not be drawn:", error);
      });
  }

  const figures = Array.from(document.querySelectorAll("figure[data-chart]"));
  document.documentElement.classList.add("scripted");
  const waiting = new IntersectionObserver(
    function (entries) {
      entries.filter((entry) => entry.isIntersecting).forEach(function (entry) {
        waiting.unobserve(entry.target);
        draw(entry.target);
      });
    },
    { rootMargin: "800px" },
  );
  figures.forEach((figure) => waiting.observe(figure));
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", function () {
    figures.filter((figure) => figure.dataset.drawn).forEach(draw);
  });
})();
