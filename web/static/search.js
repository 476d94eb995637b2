// Turns every search box into a combobox (WAI-ARIA, list autocomplete): suggestions while one types, chosen with the
// arrow keys and Enter or with the pointer. Without an address to go to, Enter searches as it does without this script.
(function () {
  "use strict";

  const PAUSE = 80; // milliseconds after a key before anything is asked

  function enhance(form, number) {
    const input = form.querySelector("input[name='q']");
    if (!input) return;
    const list = document.createElement("ul");
    list.id = "suggestions-" + number;
    list.className = "suggestions";
    list.hidden = true;
    list.setAttribute("role", "listbox");
    list.setAttribute("aria-label", "Suggestions");
    const box = document.createElement("span");
    box.className = "combobox";
    input.replaceWith(box);
    box.append(input, list);
    for (const [name, value] of Object.entries({
      role: "combobox", "aria-autocomplete": "list", "aria-controls": list.id, "aria-expanded": "false",
    })) input.setAttribute(name, value);

    let active = -1;
    let timer = 0;
    let asking = null;

    function highlight(place) {
      active = place;
      Array.from(list.children).forEach((option, at) => option.setAttribute("aria-selected", String(at === place)));
      const option = list.children[place];
      if (option) {
        input.setAttribute("aria-activedescendant", option.id);
        option.scrollIntoView({ block: "nearest" });
      } else {
        input.removeAttribute("aria-activedescendant");
      }
    }

    function close() {
      window.clearTimeout(timer);
      if (asking) asking.abort();
      asking = null;
      list.hidden = true;
      input.setAttribute("aria-expanded", "false");
      highlight(-1);
    }

    function part(name, text) {
      const span = document.createElement("span");
      span.className = name;
      span.textContent = text;
      return span;
    }

    function show(suggestions) {
      list.replaceChildren(...suggestions.map(function (suggestion, place) {
        const option = document.createElement("li");
        option.id = list.id + "-" + place;
        option.setAttribute("role", "option");
        option.dataset.url = suggestion.url;
        option.append(part(["layer", "neuron"].includes(suggestion.kind) ? "unit" : "chip", suggestion.label));
        option.append(part("detail", suggestion.detail));
        return option;
      }));
      highlight(-1);
      list.hidden = suggestions.length === 0;
      input.setAttribute("aria-expanded", String(!list.hidden));
    }

    function ask() {
      if (asking) asking.abort();
      const mine = (asking = new AbortController());
      const query = new URLSearchParams({ q: input.value });
      const atlas = form.querySelector("input[name='atlas']");
      if (atlas) query.set("atlas", atlas.value);
      fetch(new URL(form.getAttribute("action"), document.baseURI).pathname + "/suggest.json?" + query, { signal: mine.signal })
        .then((response) => (response.ok ? response.json() : { suggestions: [] }))
        .then((answer) => { if (mine === asking) show(answer.suggestions); })
        .catch((error) => { if (error.name !== "AbortError") close(); });
    }

    input.addEventListener("input", function () {
      close();
      if (input.value) timer = window.setTimeout(ask, PAUSE);
      else list.replaceChildren();
    });
    input.addEventListener("keydown", function (event) {
      const n = list.children.length;
      if (event.key === "Escape" && !list.hidden) {
        event.preventDefault(); // the first Escape closes; the next one empties the box, as browsers do
        close();
      } else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && n) {
        event.preventDefault();
        const step = event.key === "ArrowDown" ? 1 : -1;
        const from = active < 0 && step < 0 ? n : active;
        list.hidden = false;
        input.setAttribute("aria-expanded", "true");
        highlight((from + step + n) % n);
      } else if (event.key === "Enter" && !list.hidden && active >= 0) {
        event.preventDefault();
        window.location.assign(list.children[active].dataset.url);
      }
    });
    input.addEventListener("blur", close);
    list.addEventListener("pointerdown", (event) => event.preventDefault()); // or the box would lose focus, and close
    list.addEventListener("click", function (event) {
      const option = event.target.closest("[role='option']");
      if (option) window.location.assign(option.dataset.url);
    });
  }

  document.querySelectorAll("form[role='search']").forEach(enhance);
})();
