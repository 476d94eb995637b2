// The threshold explorer: a line in the curve's chart that one drags, or moves with the arrow keys, over the edges that
// the form offers. Right is a higher threshold, as on the axis.
(function () {
  "use strict";

  function start(form) {
    const figure = document.querySelector("figure[data-threshold]");
    const select = form.querySelector("select");
    const columns = Object.entries(JSON.parse(form.querySelector("script[type='application/json']").textContent));
    const rows = columns[0][1].map((_, place) => Object.fromEntries(columns.map(([name, values]) => [name, values[place]])));
    const line = document.createElement("div");
    const word = document.createElement("span");
    const slider = {
      role: "slider", tabindex: "0", class: "threshold-line", "aria-label": select.getAttribute("aria-label"),
      "aria-valuemin": rows[0].value, "aria-valuemax": rows.at(-1).value,
    };
    Object.entries(slider).forEach(([name, value]) => line.setAttribute(name, value));
    line.append(word);

    // The left edge of the chart's drawing and of its plot, in the window; the place of an activation in the plot.
    const left = () => figure.querySelector(".drawing svg").getBoundingClientRect().left + figure.view.origin()[0];
    const across = (row) => figure.view.scale("x")(Number(row.value));

    function place() {
      const box = figure.getBoundingClientRect();
      const svg = figure.querySelector(".drawing svg")?.getBoundingClientRect();
      if (!svg) return; // it is being drawn anew
      const x = across(rows[select.selectedIndex]);
      line.style.left = `${left() - box.left + x}px`;
      line.style.top = `${svg.top - box.top + figure.view.origin()[1]}px`;
      line.style.height = `${figure.view.height()}px`;
      line.classList.toggle("late", x > figure.view.width() / 2);
    }
    function choose(index) {
      select.selectedIndex = Math.max(0, Math.min(rows.length - 1, index));
      const row = rows[select.selectedIndex];
      form.querySelectorAll("[data-out]").forEach((out) => (out.textContent = row[out.dataset.out]));
      word.textContent = `${row.edge}: ${row.precision} of ${row.n}`;
      line.setAttribute("aria-valuenow", row.value);
      line.setAttribute("aria-valuetext", word.textContent);
      if (figure.view) place();
    }
    function remember() {
      const query = new URLSearchParams(new FormData(form)).toString();
      history.replaceState(null, "", form.getAttribute("action").split(/[?#]/)[0] + "?" + query + "#threshold");
      document.querySelectorAll(".handing [data-copy]").forEach(function (copy) {
        copy.dataset.copy = copy.dataset.copy.split("?")[0] + "?" + query;
      });
    }

    const steps = {
      ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 4, PageDown: -4, Home: -Infinity, End: Infinity,
    };
    line.addEventListener("keydown", function (event) {
      if (!(event.key in steps) || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      choose(select.selectedIndex + steps[event.key]);
      remember();
    });
    line.addEventListener("pointerdown", function (event) {
      line.setPointerCapture(event.pointerId);
      line.focus({ preventScroll: true });
      event.preventDefault();
    });
    line.addEventListener("pointermove", function (event) {
      if (!line.hasPointerCapture(event.pointerId)) return;
      const far = rows.map((row) => Math.abs(across(row) - (event.clientX - left())));
      choose(far.indexOf(Math.min(...far)));
    });
    line.addEventListener("lostpointercapture", remember);
    select.addEventListener("change", function () {
      choose(select.selectedIndex);
      remember();
    });
    form.querySelector("button").hidden = true;
    const watcher = new ResizeObserver(place);
    function attach() {
      if (!line.isConnected) figure.append(line);
      watcher.disconnect();
      watcher.observe(figure.querySelector(".drawing svg"));
    }
    // A server's page opens with the threshold of the address; that of a copy is told here.
    const asked = new URLSearchParams(location.search);
    const same = !asked.has("token") || asked.get("token") === form.elements.token.value;
    const index = same && asked.has("threshold") ? rows.findIndex((row) => Number(row.value) === Number(asked.get("threshold"))) : -1;
    choose(index < 0 ? select.selectedIndex : index);
    figure.addEventListener("drawn", attach);
    if (figure.dataset.drawn === "yes") attach();
  }

  const within = (place) => place.querySelectorAll("form.threshold").forEach(start);
  within(document);
  document.addEventListener("loaded", (event) => within(event.detail));
})();
