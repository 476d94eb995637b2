// What every page can do with scripts: the theme switch, keys, parts that come after the page.
(function () {
  "use strict";
  const root = document.documentElement;

  // --- theme
  function isDark() {
    return root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  }
  const button = document.querySelector("[data-theme-switch]");
  button.hidden = false;
  button.addEventListener("click", function () {
    root.dataset.theme = isDark() ? "light" : "dark";
    try { localStorage.setItem("theme", root.dataset.theme); } catch { /* it holds for this page only */ }
    document.dispatchEvent(new Event("themechange"));
  });

  // --- keys: elements say which key follows them
  const help = document.querySelector("dialog.help");
  document.querySelector("[data-help]").hidden = false;
  document.querySelector("[data-help]").addEventListener("click", () => help.showModal());
  help.addEventListener("click", (event) => event.target === help && help.close());
  document.addEventListener("keydown", function (event) {
    const typing = event.target.closest("input, select, textarea, [contenteditable]");
    if (typing || event.ctrlKey || event.metaKey || event.altKey || help.open) return;
    if (event.key === "/") {
      event.preventDefault();
      document.querySelector("input[type=search]").focus();
    } else if (event.key === "?") {
      help.showModal();
    } else {
      const target = document.querySelector(`a[data-key="${CSS.escape(event.key)}"]`);
      if (target) target.click();
    }
  });

  // --- an anchor that is a fold opens it
  function unfold() {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target && target.tagName === "DETAILS") target.open = true;
  }
  addEventListener("hashchange", unfold);
  unfold();

  // --- links to SQL show when one points at their part; a switch shows all of them
  const links = document.querySelector("[data-sql-switch]");
  links.hidden = !document.querySelector(".sql-link");
  function showLinks(on) {
    root.classList.toggle("show-sql", on);
    links.setAttribute("aria-pressed", String(on));
    document.querySelectorAll(".sql-link").forEach((link) => { link.tabIndex = on ? 0 : -1; });
  }
  try { showLinks(localStorage.getItem("sql") === "shown"); } catch { showLinks(false); }
  links.addEventListener("click", function () {
    showLinks(!root.classList.contains("show-sql"));
    try { localStorage.setItem("sql", root.classList.contains("show-sql") ? "shown" : ""); } catch { /* this page only */ }
  });

  // --- what can be copied has a button for it
  if (navigator.clipboard) {
    const toClipboard = function (button, text) {
      const words = button.textContent;
      navigator.clipboard.writeText(text).then(function () {
        button.textContent = "Copied";
        setTimeout(() => (button.textContent = words), 1500);
      });
    };
    document.querySelectorAll("[data-copy]").forEach(function (copy) {
      copy.hidden = false;
      copy.addEventListener("click", () => toClipboard(copy, copy.dataset.copy));
    });
    const addCopies = (place) => place.querySelectorAll(".citation").forEach(function (citation) {
      const copy = document.createElement("button");
      copy.type = "button";
      copy.textContent = "Copy";
      copy.setAttribute("aria-label", "Copy: " + citation.querySelector("h3, .head").textContent);
      copy.addEventListener("click", () => toClipboard(copy, citation.querySelector("code").textContent));
      citation.querySelector("h3, .head").append(" ", copy);
    });
    addCopies(document);
    document.addEventListener("loaded", (event) => addCopies(event.detail));
  }

  // --- parts that come after the page: the main part of another page, put in place of the link to it
  function load(place) {
    return fetch(place.dataset.src)
      .then((response) => (response.ok ? response.text() : Promise.reject(new Error(response.statusText))))
      .then(function (text) {
        const other = new DOMParser().parseFromString(text, "text/html");
        const part = other.querySelector("main [data-part]");
        if (!part) throw new Error("the page has no such part");
        place.replaceChildren(document.adoptNode(part));
        place.classList.add("loaded");
        place.querySelectorAll(".lazy[data-src]").forEach((inner) => waiting.observe(inner));
        document.dispatchEvent(new CustomEvent("loaded", { detail: place }));
      })
      .catch(function () {
        place.classList.add("failed"); // the link to the page is still there
      });
  }
  const waiting = new IntersectionObserver(
    function (entries) {
      entries.filter((entry) => entry.isIntersecting).forEach(function (entry) {
        waiting.unobserve(entry.target);
        load(entry.target);
      });
    },
    { rootMargin: "400px" },
  );
  document.querySelectorAll(".lazy[data-src]").forEach((place) => waiting.observe(place));
  // A fold opens when its parts are there, so that nothing moves when they come.
  document.addEventListener("click", function (event) {
    const fold = event.target.closest("summary")?.parentElement;
    if (!fold || fold.open || event.target.closest("a, button")) return;
    const shut = (place) => place.parentElement.closest("details") !== fold || place.matches(".loaded, .failed");
    const places = [...fold.querySelectorAll(".lazy[data-src]")].filter((place) => !shut(place));
    if (!places.length) return;
    event.preventDefault();
    if (fold.classList.contains("waiting")) return;
    fold.classList.add("waiting");
    places.forEach((place) => waiting.unobserve(place));
    Promise.all(places.map(load)).then(function () {
      fold.classList.remove("waiting");
      fold.open = true;
    });
  });

  // --- tables wider than their place: no column is cut in the middle; a button leads to those that do not fit
  function isLast(place, heads) {
    return heads.at(-1).getBoundingClientRect().right <= place.getBoundingClientRect().right + 1;
  }
  function fit(place) {
    const table = place.querySelector("table");
    if (!table || !place.parentElement.clientWidth) return;
    place.style.maxWidth = "";
    const heads = [...table.querySelectorAll("thead tr:last-child > *")];
    const wide = table.offsetWidth > place.clientWidth + 1 && heads.length > 1;
    if (!wide) place.style.paddingRight = "";
    place.classList.toggle("fitted", wide);
    if (wide) {
      const left = place.getBoundingClientRect().left;
      const stick = heads.find((head) => head.classList.contains("stick"));
      place.style.scrollPaddingLeft = stick ? stick.offsetWidth + "px" : "";
      const ends = heads.map((head) => head.getBoundingClientRect().right - left);
      const whole = Math.max(...ends.filter((end) => end <= place.clientWidth + 1));
      // At the end a whole column stands first: it has the room behind the last one that this takes, and no later
      // column draws the table on.
      const stuck = stick ? stick.offsetWidth : 0;
      const far = table.offsetWidth - place.clientWidth;
      const start = (head) => (head === stick ? 0 : head.offsetLeft - stuck);
      const end = Math.min(...heads.map(start).filter((left) => left >= far));
      place.style.paddingRight = end < Infinity ? end - far + "px" : "";
      heads.forEach((head) => (head.style.scrollSnapAlign = start(head) > end ? "none" : ""));
      if (whole > 0) place.style.maxWidth = whole + "px";
    }
    let button = place.previousElementSibling;
    if (!button || !button.classList.contains("more-columns")) {
      if (!wide) return;
      button = document.createElement("button");
      button.type = "button";
      button.className = "more-columns";
      button.addEventListener("click", function () {
        place.scrollTo({ left: isLast(place, heads) ? 0 : place.scrollLeft + place.clientWidth * 0.6 });
      });
      place.before(button);
    }
    button.hidden = !wide;
    button.textContent = isLast(place, heads) ? "← first columns" : "more columns →";
  }
  const sizes = new ResizeObserver(function (entries) {
    entries.forEach((entry) => entry.target.querySelectorAll(".scroll").forEach(fit));
  });
  function watchTables(root) {
    root.querySelectorAll(".scroll").forEach(function (place) {
      place.addEventListener("scrollend", () => fit(place));
      sizes.observe(place.parentElement);
    });
  }
  watchTables(document);
  document.addEventListener("loaded", (event) => watchTables(event.detail));
})();
